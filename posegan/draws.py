"""Pairs drawn from pools of decoded images, cut into batches.

Legend: B batch, D pairs drawn.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from posegan.batches import PairBatch
from posegan.order import Ints
from posegan.pool import Pool


class Draw(NamedTuple):
    """Pairs to take from a pool, in order: of a visit, those that are this rank's."""

    pool: Pool
    sources: Ints  # (D,) rows of the pool
    targets: Ints
    batches: Ints  # (D,) ascending: the batch that each pair belongs to
    stop: int  # position in the stream where the visit's pairs, of all ranks, end


def cut_into_batches(draws: Iterator[Draw], batch_size: int, start: int, total: int | None = None) -> Iterator[PairBatch]:
    """Cut draws into batches from number `start` on; a batch may reach over several draws, the last of `total` pairs may be short."""
    number, parts = start, list[Draw]()
    for draw in draws:
        complete = -(-draw.stop // batch_size) if draw.stop == total else draw.stop // batch_size
        while number < complete:
            yield _gather([*parts, _part(draw, number)])
            number, parts = number + 1, []
        if len((part := _part(draw, number)).sources):  # an empty one would keep the pool in memory
            parts.append(part)


def _part(draw: Draw, number: int) -> Draw:
    first, last = np.searchsorted(draw.batches, [number, number + 1])
    return draw._replace(sources=draw.sources[first:last], targets=draw.targets[first:last])


def _gather(parts: list[Draw]) -> PairBatch:
    """The pairs of all `parts` as one batch."""
    source_images, source_keypoints, sources = _taken([(part.pool, part.sources) for part in parts])
    target_images, target_keypoints, targets = _taken([(part.pool, part.targets) for part in parts])
    return PairBatch(source_images, target_images, source_keypoints, target_keypoints, sources, targets)


def _taken(places: list[tuple[Pool, Ints]]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    images, keypoints = [pool.images[rows] for pool, rows in places], [pool.keypoints[rows] for pool, rows in places]
    names = tuple(pool.names[row] for pool, rows in places for row in rows.tolist())
    return torch.from_numpy(_joined(images)), torch.from_numpy(_joined(keypoints)), names


def _joined(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
