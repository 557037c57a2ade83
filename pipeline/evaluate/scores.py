"""From a table of pairs to the numbers of metrics.json: means, pooled shares, their intervals, and reasons for what is missing.

How far a mean could be off, had other people been drawn, a bootstrap over people tells. Pairs of one person share images and a look, so
whole people are drawn anew, not pairs: intervals from pairs alone would be too narrow. docs/metrics.md says what each name means.

Legend: N pairs, M metrics, G people, R resamples.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.evaluate.metrics import BY_KIND, METHODS, METRICS, Metric

Floats = npt.NDArray[np.float64]
_DIGITS = 6
_LEVELS = (2.5, 97.5)  # per cent: the ends of a 95 % interval

Numbers = dict[str, dict[str, float]]  # method -> metric -> value, NaN where there is none


class Summary(NamedTuple):
    """The numbers of an evaluation."""

    values: Numbers  # of every metric, but of stand-ins only those that were measured
    intervals: dict[str, dict[str, tuple[float, float]]]  # method -> metric -> 95 % interval
    reasons: dict[str, str]  # metric, by its flat name -> why it has no number, or not of all pairs


def summarise(
    table: pd.DataFrame, sets: Mapping[str, Mapping[str, float]], reasons: Mapping[str, str], resamples: int, seed: int
) -> Summary:
    """Numbers of all methods.

    Args:
        table: a row a pair, with columns `<method>_<metric>` and `identity`.
        sets: method -> metric of a whole set of images -> value.
        reasons: metric -> why nothing was measured.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    values: Numbers = {}
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    notes = dict(reasons)
    people = table["identity"].to_numpy(np.int64)
    names = [metric.name for metric in BY_KIND if not metric.stands_in or _measured(table, "generated", metric)]
    for method in METHODS:
        parts = {metric.name: _fraction(table, method, metric) for metric in BY_KIND if _measured(table, method, metric)}
        numerators, denominators = (np.stack(part, axis=1) for part in zip(*parts.values(), strict=True))
        means = dict(zip(parts, ratios(numerators, denominators).tolist(), strict=True))
        values[method] = {name: means.get(name, sets.get(method, {}).get(name, math.nan)) for name in names}
        found = bootstrap_intervals(numerators, denominators, people, resamples, seed)
        intervals[method] = {name: (low, high) for name, (low, high) in zip(parts, found.tolist(), strict=True)}
        notes |= {
            METHODS[method].prefix + name: note
            for name, note in _notes(table, method, parts).items()
            if not METRICS[name].is_trivial(method)
        }
    return Summary(values, intervals, notes)


def flat_metrics(summary: Summary, pairs: int) -> dict[str, object]:
    """What metrics.json holds: flat numbers for DVC, then lists, which DVC passes over.

    `ssim` is the generator's, `copy_ssim` the floor's, `real_ds` the ceiling's; what an image scores against itself is left out.
    A generator's metric without a number is null; a stand-in that was not needed is left out. `pairs` is how many were judged,
    `intervals` has the 95 % intervals, `reasons` says why a number is missing.
    """
    numbers: dict[str, object] = {}
    for method, (prefix, _) in METHODS.items():
        for name, value in summary.values[method].items():
            if not METRICS[name].is_trivial(method) and (math.isfinite(value) or not prefix):
                numbers[prefix + name] = _rounded(value)
    intervals = {
        prefix + name: [_rounded(end) for end in ends]
        for method, (prefix, _) in METHODS.items()
        for name, ends in summary.intervals[method].items()
        if not METRICS[name].is_trivial(method) and all(map(math.isfinite, ends))
    }
    return {**numbers, "pairs": pairs, "intervals": intervals, "reasons": [f"{name}: {why}" for name, why in summary.reasons.items()]}


def _rounded(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None


def _measured(table: pd.DataFrame, method: str, metric: Metric) -> bool:
    return f"{method}_{metric.pooled[0] if metric.pooled else metric.name}" in table


def _fraction(table: pd.DataFrame, method: str, metric: Metric) -> tuple[Floats, Floats]:
    """What is summed above and below: hits and joints, or values and ones; a pair for which a value is not defined counts in neither."""
    if metric.pooled:
        above, below = (table[f"{method}_{column}"].to_numpy(np.float64) for column in metric.pooled)
        return above, below
    values = table[f"{method}_{metric.name}"].to_numpy(np.float64)
    defined = ~np.isnan(values)
    return np.where(defined, values, 0), defined.astype(np.float64)


def _notes(table: pd.DataFrame, method: str, parts: Mapping[str, tuple[Floats, Floats]]) -> dict[str, str]:
    """Why a mean is not a number, or not one over all pairs."""
    notes = {}
    for name, (above, below) in parts.items():
        infinite, left_out = int(np.isinf(above).sum()), int((below == 0).sum())
        if infinite:
            notes[name] = f"infinite, because {infinite:,} of {len(table):,} images are identical to their targets"
        elif not below.sum():
            notes[name] = "defined for no pair"
        elif left_out and not METRICS[name].pooled:
            notes[name] = f"not defined for {left_out:,} of {len(table):,} pairs, which are left out"
    return notes


def ratios(numerators: Floats, denominators: Floats) -> Floats:
    """Sums of numerators (N, M) over sums of denominators (N, M): (M,); NaN where nothing is counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = numerators.sum(axis=0) / denominators.sum(axis=0)
    return result


def bootstrap_intervals(
    numerators: Floats, denominators: Floats, people: npt.NDArray[np.int64], resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    """95 % percentile intervals (M, 2) of `ratios`, for R resamples of people with replacement.

    A mean is the ratio of its values' sum to their number. NaN where a column is not finite, nothing is counted, or there are
    fewer than two people.

    Args:
        numerators: (N, M).
        denominators: (N, M).
        people: (N,) whose each pair is.
        resamples: R.
        seed: of the draws; the same draws for every metric.
    """
    _, groups = np.unique(people, return_inverse=True)
    count = int(groups.max(initial=-1)) + 1
    if count < 2:
        return np.full((numerators.shape[1], 2), np.nan)
    sums = np.zeros((2, count, numerators.shape[1]))
    for total, values in zip(sums, (numerators, denominators), strict=True):
        np.add.at(total, groups, values)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)  # (R, G)
    finite = np.isfinite(sums).all(axis=(0, 1))
    top, bottom = drawn @ np.where(finite, sums, 0)  # (R, M) each
    with np.errstate(invalid="ignore", divide="ignore"):
        intervals = np.percentile(top / bottom, _LEVELS, axis=0).T
    intervals[~finite] = np.nan
    result: npt.NDArray[np.float64] = intervals
    return result


def fractions(table: pd.DataFrame, method: str, metric: str) -> tuple[Floats, Floats] | None:
    """What each pair adds above and below the line of a metric (N,), (N,): the metric is sum over sum; None: not in the table.

    A pair without a finite score adds nothing to either.
    """
    above, below = METRICS[metric].pooled or (metric, "")
    if f"{method}_{above}" not in table or (below and f"{method}_{below}" not in table):
        return None
    scores = table[f"{method}_{above}"].to_numpy(dtype=float, na_value=np.nan)
    weights = table[f"{method}_{below}"].to_numpy(dtype=float, na_value=np.nan) if below else np.ones(len(table))
    there = np.isfinite(scores) & np.isfinite(weights)
    return np.where(there, scores, 0), np.where(there, weights, 0)


def pair_scores(table: pd.DataFrame, method: str, metric: str) -> Floats | None:
    """Each pair's own score (N,), NaN where it has none; None: the metric is not in the table."""
    if not METRICS[metric].pooled and f"{method}_{metric}" in table:
        return table[f"{method}_{metric}"].to_numpy(dtype=float, na_value=np.nan)
    if (parts := fractions(table, method, metric)) is None:
        return None
    scores: Floats = np.divide(*parts, out=np.full(len(table), np.nan), where=parts[1] > 0)
    return scores
