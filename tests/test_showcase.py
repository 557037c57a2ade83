"""Rows are kept by rank and by draw, however they come in batches."""

import numpy as np
from pipeline.showcase import RowKeeper

SCORES = np.random.default_rng(0).random(50).tolist()
ROWS = [(np.full((1, 1, 3), number, np.uint8),) for number in range(50)]


def kept(batch: int) -> list[list[int]]:
    keeper = RowKeeper(50, 4, 0)
    for start in range(0, 50, batch):
        keeper.add(ROWS[start : start + batch], SCORES[start : start + batch])
    return [[int(row[0][0, 0, 0]) for row in rows] for rows in keeper.kept()]


def test_extremes_are_the_extremes() -> None:
    order = np.argsort(SCORES)
    chosen, best, worst = kept(50)
    assert best == order[::-1][:4].tolist()
    assert worst == order[:4].tolist()
    assert chosen == sorted(chosen)
    assert len(set(chosen)) == 4
    assert kept(7) == [chosen, best, worst]
