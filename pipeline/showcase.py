"""The pairs that the grids show: some at random, the best and the worst."""

import heapq
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from posegan.samples import Picture

Row = tuple[Picture, ...]


class _Ranked(NamedTuple):
    order: float
    position: int  # unique: the rows themselves are never compared
    row: Row


class RowKeeper:
    """Keeps a few rows of many as they come by: drawn at random beforehand, and those of the extreme scores."""

    def __init__(self, pairs: int, rows: int, seed: int) -> None:
        self._rows = rows
        self._chosen = set(np.random.default_rng(seed).choice(pairs, min(rows, pairs), replace=False).tolist())
        self._random: list[Row] = []
        self._best: list[_Ranked] = []
        self._worst: list[_Ranked] = []
        self._count = 0

    def add(self, rows: Iterable[Row], scores: Iterable[float]) -> None:
        """Look at the next rows and their scores, higher is better."""
        for row, score in zip(rows, scores, strict=True):
            if self._count in self._chosen:
                self._random.append(row)
            # Equal scores are told apart by position, so that the choice is one of the list, not of the batches.
            for heap, order in ((self._best, score), (self._worst, -score)):
                heapq.heappush(heap, _Ranked(order, -self._count, row))
                if len(heap) > self._rows:
                    heapq.heappop(heap)
            self._count += 1

    def kept(self) -> tuple[list[Row], list[Row], list[Row]]:
        """Random rows in listed order, the best from the best on, the worst from the worst on."""
        best, worst = sorted(self._best, reverse=True), sorted(self._worst, reverse=True)
        return self._random, [each.row for each in best], [each.row for each in worst]
