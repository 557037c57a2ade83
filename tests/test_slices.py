"""Kinds of pairs: every pair in exactly one, means of the right rows, extremes in order."""

from itertools import pairwise

import numpy as np

from pipeline.evaluate.slices import Column, extremes, pose_change, slice_table, steps, turns
from tests.support.judged import pose


def poses(*sides: tuple[str, str]) -> np.ndarray:
    return np.stack([np.stack([pose(side).numpy() for side in pair]) for pair in sides])


def test_turns_name_where_a_pair_goes_and_hold_every_pair_once() -> None:
    ends = poses(("front", "back"), ("front", "back"), ("back", "front"), ("right", "right"))
    ends = np.concatenate([ends, np.zeros_like(ends[:1])])
    kinds = turns(pose_change(ends))
    assert {name: rows.tolist() for name, rows in kinds.items()} == {
        "front to back": [0, 1],
        "back to front": [2],
        "right to right": [3],
        "a view is unclear": [4],
    }
    assert next(iter(kinds)) == "front to back"


def test_steps_are_in_order_and_hold_every_pair_once() -> None:
    ends = np.repeat(poses(("front", "front")), 12, axis=0)
    ends[:, 1, 0, 0] += np.random.default_rng(0).permutation(12)  # the noses move apart
    change = pose_change(ends)
    parts = list(steps(change).values())
    assert sorted(np.concatenate(parts).tolist()) == list(range(12))
    assert len(parts) == 5
    for lower, higher in pairwise(parts):
        assert change.difference[lower].max() <= change.difference[higher].min()


def test_a_shifted_pose_is_no_difference() -> None:
    ends = poses(("front", "front"))
    ends[:, 1, :, :2] += 5
    assert pose_change(ends).difference.max() < 1e-5


def test_means_leave_out_what_is_not_finite() -> None:
    values = np.array([1.0, 3.0, np.inf, np.nan, 10.0])
    table = slice_table("", {"first": np.array([0, 1, 2, 3]), "none": np.array([2, 3])}, [Column("score", 1, values)])
    assert table.rows == [["first", "4", "2.0"], ["none", "2", "-"]]


def test_extremes_are_the_best_and_the_worst_in_order() -> None:
    values = np.array([0.5, np.nan, 0.9, 0.1, 0.9])
    best, worst = extremes(values, 3, best_is_high=True)
    assert (best.tolist(), worst.tolist()) == ([2, 4, 0], [3, 0, 2])
    best, worst = extremes(values, 1, best_is_high=False)
    assert (best.tolist(), worst.tolist()) == ([3], [2])
