"""Batches from the shards, in an order that is planned from the index alone.

An identity's images are decoded together, wait in a pool of many identities, and give several pairs each before
they are dropped. Batch i is a pure function of (shards, seed, i), so a run resumes at any step without reading what came before.

Legend: B batch, V samples (rows of the index) of a visit, N their images, D pairs drawn in a visit.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from posegan.config import ImageConfig
from posegan.data.batches import PairBatch
from posegan.data.index import ShardIndex
from posegan.data.order import Bools, Counts, Ints, ListedOrder, Share, TrainOrder, Visit, replace_unreadable
from posegan.data.packed_tar import StoredSample
from posegan.data.reader import Pool, Reader, Skipped, image_ends
from posegan.errors import PoseGANError


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


Corrupt = Literal["error", "skip"]
_Stored = Sequence[StoredSample | None]
_T = TypeVar("_T")
_THREADS = 2  # decoding releases the GIL


class TrainStream:
    """Endless shuffled batches of one split.

    In each epoch the samples come in a new seeded order and are cut into pools of about `pool_identities`; from a pool, each sample
    gives some of its pairs, as `law` says, drawn without repetition and shuffled over the whole pool. While one pool is used, the
    next is decoded; so two are held in memory. Where two pools hold all samples, these are decoded once and stay.

    Args:
        index: the shards.
        split: which of their splits.
        image: the size that images are fitted to.
        batch_size: pairs a batch, of all ranks together.
        seed: of the whole order.
        pool_identities: samples whose images wait together. Below about 400 the batches become alike.
        pairs_per_image: pairs drawn for each decoded image; more mean fewer decodes and more alike batches.
        rank, world_size: this process's number and how many there are; each takes its consecutive part of every
            batch, so that the ranks' parts, one after the other, are the batch of a single process.
        law: `by_identity`: an identity in proportion to its images; `uniform`: every pair equally often.
        corrupt: `error`, or `skip`: the pairs of a damaged sample are replaced by others of its pool.
        threads: that read and decode; the batches are the same for any number.

    Attributes:
        skipped: the damaged samples met so far.

    Raises:
        PoseGANError: `batch_size` is no multiple of `world_size`; the split is empty, or a shard is missing or cut.
    """

    def __init__(
        self,
        index: ShardIndex,
        split: str,
        image: ImageConfig,
        batch_size: int,
        seed: int,
        pool_identities: int,
        pairs_per_image: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        law: str = "by_identity",
        corrupt: Corrupt = "error",
        threads: int = _THREADS,
    ) -> None:
        if batch_size % world_size:
            raise PoseGANError(f"batch size {batch_size}: expected a multiple of the {world_size} processes that share each batch")
        self._index, self._image, self._batch_size, self._threads = index, image, batch_size, threads
        self._share, self._corrupt, self.skipped = Share(rank, world_size).checked(), corrupt, Skipped()
        self._samples = index.split(split, check_sizes=corrupt == "error")
        counts = Counts(self._samples.identities, self._samples.images, self._samples.pairs)
        self._order = TrainOrder(counts, law, seed, pool_identities, pairs_per_image)
        self._resident: tuple[_Stored, Pool] | None = None

    def batches(self, start: int) -> Iterator[PairBatch]:
        """Batches number `start`, `start` + 1, ... without end; batch i is the same wherever the iteration began.

        Raises:
            PoseGANError: a sample cannot be read; names the shard and the identity.
        """
        return cut_into_batches(self._draws(start * self._batch_size), self._batch_size, start)

    def _draws(self, position: int) -> Iterator[Draw]:
        with ThreadPoolExecutor(self._threads, "decode") as threads:
            reader = Reader(self._index, self._samples, self._image, threads, self.skipped if self._corrupt == "skip" else None)
            draw = self._draw_resident if self._order.pools <= 2 else self._draw
            yield from _ahead(draw(reader, visit) for visit in self._order.visits(position))

    def _draw(self, reader: Reader, visit: Visit) -> Draw:
        stored = reader.read(visit.samples)
        visit, mine = self._settle(visit, stored)
        return _decoded(reader, visit, mine, stored, self._batch_size)

    def _draw_resident(self, reader: Reader, visit: Visit) -> Draw:
        if self._resident is None:
            everything = np.arange(len(self._samples))
            read = reader.read(everything)
            pool = reader.decode(everything, read)
            self._resident = [None if sample is None else sample._replace(files=[]) for sample in read], pool
        stored, pool = self._resident
        visited = [stored[sample] for sample in visit.samples]
        visit, mine = self._settle(visit, visited)
        rows = _rows(visit, mine, visited, image_ends(stored)[visit.samples])
        return _placed(visit, mine, pool, rows, self._batch_size)

    def _settle(self, visit: Visit, stored: _Stored) -> tuple[Visit, Bools]:
        """The visit without damaged samples, and which of its pairs are this rank's (D,)."""
        readable = np.array([sample is not None for sample in stored])
        visit = replace_unreadable(visit, readable, self._samples.pairs[visit.samples])
        return visit, self._share.holds(visit.positions, self._batch_size)


class ListedStream:
    """The pairs of one split in listed order, once a pass: all, or a seeded subset that is the same in every pass.

    Args:
        index: the shards.
        split: which of their splits.
        image: the size that images are fitted to.
        batch_size: pairs a batch, of all ranks together; the last batch may be short.
        pairs: how many pairs; all when the split holds no more.
        seed: of the subset.
        rank, world_size: as of `TrainStream`; parts of a batch may differ by a pair and may be empty, so that all
            ranks count the same batches.
        law: `by_identity`: an identity in proportion to its images; `uniform`: every pair equally often.
        corrupt: `error`, or `skip`: the pairs of a damaged sample are left out, and their batches are short.
        threads: as of `TrainStream`.

    Attributes:
        skipped: the damaged samples met so far.
    """

    def __init__(
        self,
        index: ShardIndex,
        split: str,
        image: ImageConfig,
        batch_size: int,
        pairs: int,
        seed: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        corrupt: Corrupt = "error",
        threads: int = _THREADS,
    ) -> None:
        self._index, self._image, self._batch_size, self._threads = index, image, batch_size, threads
        self._share, self._corrupt, self.skipped = Share(rank, world_size).checked(), corrupt, Skipped()
        self._samples = index.split(split, check_sizes=corrupt == "error")
        self._order = ListedOrder(self._samples.pairs, index.order(split), pairs, seed)

    def __len__(self) -> int:
        """Pairs of all ranks together."""
        return len(self._order)

    def __iter__(self) -> Iterator[PairBatch]:
        return cut_into_batches(self._draws(), self._batch_size, 0, len(self))

    def _draws(self) -> Iterator[Draw]:
        with ThreadPoolExecutor(self._threads, "decode") as threads:
            reader = Reader(self._index, self._samples, self._image, threads, self.skipped if self._corrupt == "skip" else None)
            yield from _ahead(self._draw(reader, visit) for visit in self._order.visits())

    def _draw(self, reader: Reader, visit: Visit) -> Draw:
        stored = reader.read(visit.samples)
        readable = np.array([sample is not None for sample in stored])
        mine = self._share.holds(visit.positions, self._batch_size, len(self)) & readable[visit.sample]
        return _decoded(reader, visit, mine, stored, self._batch_size)


def _decoded(reader: Reader, visit: Visit, mine: Bools, stored: _Stored, batch_size: int) -> Draw:
    """The pairs `mine` (D,) of a visit, with a pool of those images that they need."""
    ends = image_ends(stored)
    rows = _rows(visit, mine, stored, ends)
    needed = np.zeros(ends[-1], dtype=bool)
    needed[rows] = True
    pool = reader.decode(visit.samples, stored, np.flatnonzero(needed))
    return _placed(visit, mine, pool, (np.cumsum(needed) - 1)[rows], batch_size)


def _rows(visit: Visit, mine: Bools, stored: _Stored, ends: Ints) -> Ints:
    """Source and target (D, 2) of the pairs `mine`, as positions where each sample's images end at `ends` (V,)."""
    tables = [np.empty((0, 2), np.int32) if sample is None else sample.pairs for sample in stored]
    first = np.cumsum([0, *(len(table) for table in tables)])
    starts = ends - np.array([0 if sample is None else len(sample.names) for sample in stored])
    sample = visit.sample[mine]
    rows: Ints = np.concatenate(tables)[first[sample] + visit.pair[mine]] + starts[sample][:, None]
    return rows


def _placed(visit: Visit, mine: Bools, pool: Pool, rows: Ints, batch_size: int) -> Draw:
    return Draw(pool, rows[:, 0], rows[:, 1], visit.positions[mine] // batch_size, visit.first + len(visit.pair))


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The same items; the next one is made by another thread while this one is used."""
    with ThreadPoolExecutor(1, "ahead") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
