"""Pairs that somebody else lists by name, read from the shards, so that every model is judged on the same pixels."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import torch

from posegan.config import ImageConfig
from posegan.data.batches import PairBatch
from posegan.data.index import ShardIndex
from posegan.data.reader import Pool, Reader
from posegan.errors import PoseGANError

Ints = npt.NDArray[np.int64]


class NamedStream:
    """Batches of listed pairs, identity by identity, each image decoded once.

    Args:
        index: the shards.
        split: which of their splits.
        image: the size that images are fitted to.
        batch_size: pairs a batch at most.
        pairs: names of source and target, as in the archive or without folder, with or without suffix.

    Attributes:
        order: (N,) the place in `pairs` of each pair that the batches hold, in their order.

    Raises:
        PoseGANError: no pairs, or one whose images the split does not hold in one identity.
    """

    def __init__(self, index: ShardIndex, split: str, image: ImageConfig, batch_size: int, pairs: Sequence[tuple[str, str]]) -> None:
        if not pairs:
            raise PoseGANError("the list holds no pair; name one image pair a line below the header from,to")
        self._index, self._split, self._image, self._batch_size = index, split, image, batch_size
        self._visits = _visits(index, split, pairs)
        self.order: Ints = np.concatenate([positions for _, positions, _ in self._visits])

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[PairBatch]:
        with ThreadPoolExecutor(1, "decode") as thread:
            reader = Reader(self._index, self._index.split(self._split), self._image, thread, None)
            for sample, _, rows in self._visits:
                numbers = np.array([sample])
                pool = reader.decode(numbers, reader.read(numbers))
                for start in range(0, len(rows), self._batch_size):
                    yield _batch(pool, rows[start : start + self._batch_size])


def _visits(index: ShardIndex, split: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, Ints, Ints]]:
    """For each sample that is needed, by its row in the split: which pairs (m,) it shows, and at which of its images (m, 2)."""
    places: dict[str, list[tuple[int, int]]] = {}  # every way to write a name -> (sample, image), in several pieces of a large identity
    samples = index.split(split)
    for number, sample in enumerate(samples):
        for row, name in enumerate(index.read(sample).names):
            for spelling in _spellings(name):
                places.setdefault(spelling, []).append((number, row))
    found: dict[int, list[tuple[int, int, int]]] = {}
    absent: list[tuple[str, str]] = []
    for position, (source, target) in enumerate(pairs):
        targets = dict(places.get(target, []))
        shown = next(((number, row, targets[number]) for number, row in places.get(source, []) if number in targets), None)
        if shown is None:
            absent.append((source, target))
        else:
            found.setdefault(shown[0], []).append((position, *shown[1:]))
    if absent:
        source, target = absent[0]
        raise PoseGANError(
            f"{len(absent):,} of {len(pairs):,} listed pairs are not two images of one person in the shards, the first {source} and "
            f"{target}; set pair.test_pairs to the list, then run dvc repro up to shard"
        )
    arrays = {number: np.array(rows, dtype=np.int64) for number, rows in sorted(found.items())}
    return [(number, rows[:, 0], rows[:, 1:]) for number, rows in arrays.items()]


def _spellings(name: str) -> set[str]:
    path = PurePosixPath(name)
    return {name, path.name, str(path.with_suffix("")), path.stem}


def _batch(pool: Pool, rows: Ints) -> PairBatch:
    source, target = rows.T
    return PairBatch(
        torch.from_numpy(pool.images[source]),
        torch.from_numpy(pool.images[target]),
        torch.from_numpy(pool.keypoints[source]),
        torch.from_numpy(pool.keypoints[target]),
        tuple(pool.names[row] for row in source),
        tuple(pool.names[row] for row in target),
    )
