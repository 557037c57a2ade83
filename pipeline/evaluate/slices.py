"""Pairs of an evaluation by how their two poses differ: tables of means, and which pairs stand for a kind.

Legend: N pairs, K = 18 joints.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.pages.page import Table, shown
from pipeline.pair.rules import Ints, pose_differences
from posegan.people.postures import UNCLEAR, VIEWS, views

_PARTS = 5  # of the pairs by their pose difference, of about equal size


class Column(NamedTuple):
    """A column of numbers to average: its heading, its decimals, and the numbers (N,)."""

    heading: str
    places: int
    values: npt.NDArray[np.floating]


class PoseChange(NamedTuple):
    """What each pair asks for."""

    source_view: Ints  # (N,) positions in VIEWS
    target_view: Ints
    difference: npt.NDArray[np.float32]  # (N,) pixels, the centres of the common joints laid on each other


def pose_change(poses: npt.NDArray[np.float32]) -> PoseChange:
    """How the source's pose differs from the target's, of pairs (N, 2, K, 3)."""
    return PoseChange(views(poses[:, 0]), views(poses[:, 1]), pose_differences(poses[:, 0], poses[:, 1]))


def turns(change: PoseChange) -> dict[str, Ints]:
    """The rows of the pairs that go from one side to another, as `front to back`, the most frequent first; unclear ones last."""
    kinds = {}
    for source, first in enumerate(VIEWS[:UNCLEAR]):
        for target, second in enumerate(VIEWS[:UNCLEAR]):
            kinds[f"{first} to {second}"] = np.flatnonzero((change.source_view == source) & (change.target_view == target))
    kinds = dict(sorted(kinds.items(), key=lambda kind: -len(kind[1])))
    kinds["a view is unclear"] = np.flatnonzero((change.source_view == UNCLEAR) | (change.target_view == UNCLEAR))
    return {name: rows for name, rows in kinds.items() if len(rows)}


def steps(change: PoseChange) -> dict[str, Ints]:
    """The rows in `_PARTS` parts by pose difference, the smallest first, as `0.5 to 3.2 px`."""
    order = np.argsort(change.difference, kind="stable")
    parts = [part for part in np.array_split(order, _PARTS) if len(part)]
    return {f"{change.difference[part[0]]:.1f} to {change.difference[part[-1]]:.1f} px": part for part in parts}


def slice_table(caption: str, kinds: dict[str, Ints], columns: Sequence[Column]) -> Table:
    """Means of the columns over the rows of each kind; numbers that are not finite do not count."""
    rows = [
        [name, f"{len(rows):,}", *(shown(_mean(column.values[rows]), column.places) for column in columns)] for name, rows in kinds.items()
    ]
    return Table(caption, ["", "pairs", *(column.heading for column in columns)], rows)


def _mean(values: npt.NDArray[np.floating]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def extremes(values: npt.NDArray[np.floating], most: int, best_is_high: bool) -> tuple[Ints, Ints]:
    """Rows of the best and of the worst values, best and worst first; equal ones by their place, missing ones in neither."""
    known = np.flatnonzero(~np.isnan(values))
    rising, falling = (known[np.argsort(sign * values[known], kind="stable")][:most] for sign in (1, -1))
    return (falling, rising) if best_is_high else (rising, falling)
