"""Pairs that somebody else lists by name, read from the shards, so that every model is judged on the same pixels."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch

from posegan.config import ImageConfig
from posegan.data.batches import PairBatch
from posegan.data.index import ShardIndex
from posegan.data.reader import Pool, Reader
from posegan.errors import PoseGANError
from posegan.formats.names import ImageNames

Ints = npt.NDArray[np.int64]


class NamedStream:
    """Batches of listed pairs, identity by identity, each image decoded once.

    Args:
        index: the shards.
        split: which of their splits.
        image: the size that images are fitted to.
        batch_size: pairs a batch at most.
        pairs: names of source and target; what they mean is said in `posegan.formats.names`.

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
    images = [  # sample, image, name; a large identity stands in several pieces, and with it a name
        (number, row, name) for number, sample in enumerate(index.split(split)) for row, name in enumerate(index.read(sample).names)
    ]
    names = ImageNames(name for _, _, name in images)
    places = {text: [images[position][:2] for position in names.find(text)] for text in dict.fromkeys(chain.from_iterable(pairs))}
    found: dict[int, list[tuple[int, int, int]]] = {}
    absent: list[tuple[str, str]] = []
    for position, (source, target) in enumerate(pairs):
        targets = dict(places[target])
        shown = next(((number, row, targets[number]) for number, row in places[source] if number in targets), None)
        if shown is None:
            absent.append((source, target))
        else:
            found.setdefault(shown[0], []).append((position, *shown[1:]))
    if absent:
        source, target = absent[0]
        unknown = next((text for text in chain.from_iterable(absent) if not places[text]), None)
        missing = f"; no image there is called {unknown}, they are named such as {images[0][2]}" if unknown and images else ""
        raise PoseGANError(
            f"{len(absent):,} of {len(pairs):,} listed pairs are not two images of one person in the shards, the first {source} and "
            f"{target}{missing}; set pair.test_pairs to the list, then run dvc repro up to shard"
        )
    arrays = {number: np.array(rows, dtype=np.int64) for number, rows in sorted(found.items())}
    return [(number, rows[:, 0], rows[:, 1:]) for number, rows in arrays.items()]


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
