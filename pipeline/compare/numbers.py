"""Two evaluations of the same pairs, compared pair by pair.

Legend: N common pairs of G people, M metrics.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.evaluate.album import Pictures
from pipeline.evaluate.metrics import FOR_PEOPLE
from pipeline.evaluate.report import FACTS, PAIRS, PICTURES
from pipeline.evaluate.scores import Floats, fractions
from pipeline.pair.rules import Ints
from pipeline.raw_archive import parse_name
from posegan.errors import PoseGANError

RESAMPLES = 2000
_SEED = 0


class Judged(NamedTuple):
    """An evaluation's folder, read."""

    folder: Path
    table: pd.DataFrame
    facts: dict[str, str]
    summary: dict[str, dict[str, float | None]]  # method -> metric -> value
    pictures: Pictures


class Difference(NamedTuple):
    """One metric of what was generated, in the first and the second evaluation, over the common pairs."""

    name: str
    first: float
    second: float
    low: float  # 95 % interval of second - first; NaN where there is none
    high: float


def read_evaluation(folder: Path) -> Judged:
    """Read what the evaluate stage left in a folder.

    Raises:
        PoseGANError: one of its files is missing or damaged.
    """
    try:
        table = pd.read_parquet(folder / PAIRS)
        told = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        facts, summary = dict(told["facts"]), dict(told["summary"])
    except FileNotFoundError as error:
        missing_file = error.filename or folder / PAIRS  # pandas does not say it
        raise PoseGANError(f"{missing_file}: no such file; name the folder of an evaluation, such as reports/evaluation") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise PoseGANError(f"{folder}: not a whole evaluation ({str(error).splitlines()[0]}); evaluate again") from error
    if missing := {"source", "target"} - set(table):
        raise PoseGANError(f"{folder / PAIRS}: columns missing: {', '.join(sorted(missing))}; evaluate again")
    pictures = Pictures(folder / PICTURES)
    if len(pictures) != len(table):
        raise PoseGANError(f"{folder}: {len(table):,} pairs with {len(pictures):,} pictures; evaluate again")
    return Judged(folder, table, facts, summary, pictures)


def common_rows(first: pd.DataFrame, second: pd.DataFrame) -> tuple[Ints, Ints]:
    """The rows (N,), (N,) of the pairs that both tables have, in the first one's order; a pair listed twice meets its like."""
    keyed = []
    for table in (first, second):
        pairs = table[["source", "target"]]
        keyed.append(pairs.assign(turn=pairs.groupby(["source", "target"]).cumcount(), row=np.arange(len(pairs))))
    merged = keyed[0].merge(keyed[1], on=["source", "target", "turn"], suffixes=("", "_second")).sort_values("row")
    return merged["row"].to_numpy(dtype=np.int64), merged["row_second"].to_numpy(dtype=np.int64)


def people_of(table: pd.DataFrame) -> Ints:
    """Whose each pair is (N,), by the names of the sources; names that say nothing count as a person each."""
    parsed = [parse_name(name) for name in table["source"]]
    people = [name if said is None else str(said.identity) for said, name in zip(parsed, table["source"], strict=True)]
    return np.unique(people, return_inverse=True)[1].astype(np.int64)


def differences(first: pd.DataFrame, second: pd.DataFrame) -> list[Difference]:
    """Every metric that both tables (of the same N pairs, row by row) have, with its paired bootstrap interval.

    Whole people are drawn with replacement, the same ones from both tables, because a person's pairs share images and a look:
    percentiles 2.5 and 97.5 of `RESAMPLES` draws, none for fewer than two people. A pair without a finite score in either
    table counts in neither.
    """
    names, parts = [], []
    for name in (metric.name for metric in FOR_PEOPLE):
        ours, theirs = (fractions(table, "generated", name) for table in (first, second))
        if ours is not None and theirs is not None:
            there = (ours[1] > 0) & (theirs[1] > 0)
            names.append(name)
            parts.append(np.stack([np.where(there, part, 0) for part in (*ours, *theirs)]))
    if not names or not len(first):
        return []
    people = people_of(first)
    sums = np.zeros((people.max() + 1, len(names), 4))  # (G, M, 4): above and below the line, first and second
    np.add.at(sums, people, np.moveaxis(np.stack(parts), -1, 0))
    whole, drawn = sums.sum(axis=0), _resampled(sums)
    before, after = _ratio(whole[..., :2]), _ratio(whole[..., 2:])
    if len(sums) > 1:
        low, high = np.quantile(_ratio(drawn[..., 2:]) - _ratio(drawn[..., :2]), (0.025, 0.975), axis=0)
    else:
        low = high = np.full(len(names), np.nan)
    columns = (before, after, low, high)
    return [Difference(name, *(float(column[number]) for column in columns)) for number, name in enumerate(names)]


def _resampled(sums: Floats) -> Floats:
    """The sums of people (G, M, 4) over each of the draws: (RESAMPLES, M, 4)."""
    people = len(sums)
    times = np.random.default_rng(_SEED).multinomial(people, np.full(people, 1 / people), RESAMPLES)  # how often each was drawn
    drawn: Floats = np.tensordot(times.astype(float), sums, axes=1)
    return drawn


def _ratio(parts: Floats) -> Floats:
    """Above over below the line, of (..., 2); NaN where nothing is below."""
    ratios: Floats = np.divide(parts[..., 0], parts[..., 1], out=np.full(parts.shape[:-1], np.nan), where=parts[..., 1] > 0)
    return ratios
