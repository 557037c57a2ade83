"""Batches from the shards, in an order that is planned from the index alone.

An identity's images are decoded together, wait in a pool of many identities, and give several pairs each before
they are dropped. Batch i is a pure function of (shards, seed, i): which pairs it holds follows from the counts in
index.parquet, so a run resumes at any step without reading what came before.

Legend: B batch, H and W height and width in pixels, K = 18 joints; S samples (rows of the index), N decoded
images of a pool, D pairs drawn from a pool.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from posegan.config import ImageConfig
from posegan.data import PairBatch
from posegan.errors import PoseGANError
from posegan.shards import Sample, ShardIndex, read_sample
from posegan.skeleton import JOINT_COUNT

__all__ = ["DevicePrefetcher", "ListedStream", "ShardIndex", "TrainStream"]

Ints = npt.NDArray[np.int64]
_THREADS = 2  # Pillow releases the GIL while it decodes; more threads wait for one another


class _Pool(NamedTuple):
    """Decoded samples laid end to end.

    NumPy, since a torch operation in the reading thread would open a second pool of OpenMP threads; from then on
    there are more of them than cores, they stop spinning between operations, and a training step on the CPU takes
    a third longer.
    """

    images: npt.NDArray[np.uint8]  # (N, 3, H, W)
    keypoints: npt.NDArray[np.float32]  # (N, K, 3)
    pairs: list[Ints]  # for each sample (m, 2) rows of the N
    names: list[str]


class _Draw(NamedTuple):
    """Pairs to take from a pool, in order."""

    pool: _Pool
    sources: Ints  # (D,) rows of the pool
    targets: Ints


def _decode(folder: Path, samples: list[Sample], image: ImageConfig) -> _Pool:
    total = sum(sample.images for sample in samples)
    images, keypoints = (np.empty((total, 3, image.height, image.width), np.uint8), np.empty((total, JOINT_COUNT, 3), np.float32))
    pairs: list[Ints] = []
    names: list[str] = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for decoded in threads.map(partial(read_sample, folder, image=image), samples):
            first, last = len(names), len(names) + len(decoded.names)
            images[first:last], keypoints[first:last] = (decoded.images, decoded.keypoints)
            pairs.append(decoded.pairs.astype(np.int64) + first)
            names += decoded.names
    return _Pool(images, keypoints, pairs, names)


def _gather(parts: list[_Draw]) -> PairBatch:
    """The pairs of all `parts` as one batch."""
    source_images, source_keypoints, sources = _taken([(part.pool, part.sources) for part in parts])
    target_images, target_keypoints, targets = _taken([(part.pool, part.targets) for part in parts])
    return PairBatch(source_images, target_images, source_keypoints, target_keypoints, sources, targets)


def _taken(places: list[tuple[_Pool, Ints]]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    images, keypoints = [pool.images[rows] for pool, rows in places], [pool.keypoints[rows] for pool, rows in places]
    names = tuple(pool.names[row] for pool, rows in places for row in rows)
    return torch.from_numpy(_joined(images)), torch.from_numpy(_joined(keypoints)), names


def _joined(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


class Share(NamedTuple):
    """Which part of every batch one of several processes takes: of `world_size` consecutive parts, number `rank`."""

    rank: int
    world_size: int

    def of(self, parts: list[_Draw]) -> list[_Draw]:
        """The rows of a batch, given as draws, that belong to this rank; the ranks' rows in turn are the whole batch."""
        total = sum(len(part.sources) for part in parts)
        first, stop = (total * rank // self.world_size for rank in (self.rank, self.rank + 1))
        taken, start = [], 0
        for part in parts:
            low, high = max(0, first - start), max(0, stop - start)
            taken.append(_Draw(part.pool, part.sources[low:high], part.targets[low:high]))
            start += len(part.sources)
        return taken


def _share(rank: int, world_size: int) -> Share:
    if not 0 <= rank < world_size:
        raise ValueError(f"rank: expected 0 .. {world_size - 1} of {world_size} processes, got {rank}")
    return Share(rank, world_size)


def _batches(draws: Iterator[_Draw], batch_size: int, share: Share) -> Iterator[PairBatch]:
    """Cut a sequence of draws into batches, and these into shares; a batch may reach over several draws, the last one may be short."""
    parts: list[_Draw] = []
    missing = batch_size
    for draw in draws:
        start = 0
        while start < len(draw.sources):
            stop = start + missing
            part = _Draw(draw.pool, draw.sources[start:stop], draw.targets[start:stop])
            parts.append(part)
            start, missing = start + len(part.sources), missing - len(part.sources)
            if missing == 0:
                yield _gather(share.of(parts))
                parts, missing = [], batch_size
    if parts:
        yield _gather(share.of(parts))


class TrainStream:
    """Endless shuffled batches of one split.

    In each epoch the samples come in a new seeded order and are cut into pools of about `pool_identities`; from
    a pool, each sample gives `images * pairs_per_image` of its pairs (or all, if it has fewer), drawn without
    repetition and shuffled over the whole pool. While one pool is used, the next is decoded; so two are held in
    memory. When all samples fit one pool, they are decoded once and stay.

    Args:
        index: the shards.
        split: which of their splits.
        image: the size that images are fitted to.
        batch_size: pairs a batch.
        seed: of the whole order.
        pool_identities: samples whose images wait together. Below about 400 the batches become alike.
        pairs_per_image: pairs drawn for each decoded image; more mean fewer decodes and more alike batches.
        rank, world_size: this process's number and how many there are; each takes its consecutive part of every
            batch, so that the ranks' parts, one after the other, are the batch of a single process.

    Raises:
        PoseGANError: `batch_size` is no multiple of `world_size`; the split is empty, or a shard is missing or damaged.
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
    ) -> None:
        if batch_size % world_size:
            raise PoseGANError(f"batch size {batch_size}: expected a multiple of the {world_size} processes that share each batch")
        self._share = _share(rank, world_size)
        self._folder, self._image, self._batch_size, self._seed = (index.folder, image, batch_size, seed)
        self._samples = index.split(split)
        counts = np.array([(sample.images, sample.pairs) for sample in self._samples], dtype=np.int64)
        self._draws = np.minimum(counts[:, 0] * pairs_per_image, counts[:, 1])  # (S,) pairs of a sample in an epoch
        self._pools = -(-len(self._samples) // pool_identities)
        self._resident: _Pool | None = None

    def batches(self, start: int) -> Iterator[PairBatch]:
        """Batches number `start`, `start` + 1, ... without end; batch i is the same wherever the iteration began.

        Raises:
            PoseGANError: a sample cannot be read; names the shard and the identity.
        """
        return _batches(self._drawn(start * self._batch_size), self._batch_size, self._share)

    def _drawn(self, position: int) -> Iterator[_Draw]:
        plan = self._plan(position)
        with ThreadPoolExecutor(1) as ahead:
            coming = self._submit(ahead, plan)
            while True:
                (epoch, number, samples, skip), future = coming
                pool = future.result()
                coming = self._submit(ahead, plan)
                sources, targets = self._shuffled(epoch, number, samples, pool)
                yield _Draw(pool, sources[skip:], targets[skip:])

    def _plan(self, position: int) -> Iterator[tuple[int, int, Ints, int]]:
        """From the pair at `position` on: (epoch, pool, its samples, pairs of it to skip)."""
        epoch, skip = divmod(position, int(self._draws.sum()))
        while True:
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self._samples))
            for number, samples in enumerate(np.array_split(order, self._pools)):
                held = int(self._draws[samples].sum())
                if skip < held:
                    yield epoch, number, samples, skip
                skip = max(0, skip - held)
            epoch += 1

    def _submit(
        self, ahead: ThreadPoolExecutor, plan: Iterator[tuple[int, int, Ints, int]]
    ) -> tuple[tuple[int, int, Ints, int], Future[_Pool]]:
        step = next(plan)
        return step, ahead.submit(self._pool, step[2])

    def _pool(self, samples: Ints) -> _Pool:
        if self._pools > 1:
            return _decode(self._folder, [self._samples[sample] for sample in samples], self._image)
        if self._resident is None:
            self._resident = _decode(self._folder, self._samples, self._image)
        pairs = [self._resident.pairs[sample] for sample in samples]
        return self._resident._replace(pairs=pairs)

    def _shuffled(self, epoch: int, number: int, samples: Ints, pool: _Pool) -> tuple[Ints, Ints]:
        generator = np.random.default_rng((self._seed, epoch, number + 1))
        draws = zip(pool.pairs, self._draws[samples], strict=True)
        chosen = np.concatenate([pairs[generator.choice(len(pairs), count, replace=False)] for pairs, count in draws])
        chosen = chosen[generator.permutation(len(chosen))]
        return np.ascontiguousarray(chosen[:, 0]), np.ascontiguousarray(chosen[:, 1])


class ListedStream:
    """The pairs of one split in listed order, once a pass: all, or a seeded subset that is the same in every pass.

    Args:
        index: the shards.
        split: which of their splits.
        image: the size that images are fitted to.
        batch_size: pairs a batch; the last batch may be short.
        pairs: how many pairs; all when the split holds no more.
        seed: of the subset.
        rank, world_size: as of `TrainStream`; parts of a short batch may differ by a pair and may be empty, so that all
            ranks count the same batches.
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
    ) -> None:
        self._share = _share(rank, world_size)
        self._folder, self._image, self._batch_size = index.folder, image, batch_size
        samples = index.split(split)
        ends = np.cumsum([sample.pairs for sample in samples])
        self._chosen = np.sort(np.random.default_rng(seed).choice(ends[-1], min(pairs, int(ends[-1])), replace=False))
        parts = np.split(self._chosen, np.searchsorted(self._chosen, ends[:-1]))
        starts = ends - [sample.pairs for sample in samples]
        self._visits = [(sample, part - start) for sample, part, start in zip(samples, parts, starts, strict=True) if len(part)]

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Iterator[PairBatch]:
        return _batches(self._drawn(), self._batch_size, self._share)

    def _drawn(self) -> Iterator[_Draw]:
        for sample, chosen in self._visits:
            pool = _decode(self._folder, [sample], self._image)
            pairs = pool.pairs[0][chosen]
            yield _Draw(pool, np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]))


class _End(NamedTuple):
    """The reader has nothing more: because the batches ended, or because of `error`."""

    error: BaseException | None


class DevicePrefetcher:
    """Batches on the device, the next one under way while the present one is used.

    A background thread reads; on CUDA it also pins the memory and copies on a stream of its own, so that neither
    the decoding nor the bus waits for the step.

    Args:
        batches: where the batches come from; read by the background thread only.
        device: where they go.

    Attributes:
        waited: seconds that the consumer has waited for batches; near 0 when reading keeps up.
    """

    def __init__(self, batches: Iterable[PairBatch], device: torch.device) -> None:
        self.waited = 0.0
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._ready: queue.Queue[tuple[PairBatch, torch.cuda.Event | None] | _End] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(iter(batches),), name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[PairBatch]:
        return self

    def __next__(self) -> PairBatch:
        """The next batch; an exception of the reader is raised here."""
        if self._stop.is_set():
            raise StopIteration
        started = time.perf_counter()
        item = self._ready.get()
        self.waited += time.perf_counter() - started
        if isinstance(item, _End):
            self._stop.set()
            if item.error is not None:
                raise item.error
            raise StopIteration
        batch, copied = item
        if copied is not None:
            step = torch.cuda.current_stream(self._device)
            step.wait_event(copied)
            for tensor in batch[:4]:  # the allocator must not reuse them before this stream is done with them
                tensor.record_stream(step)
        return batch

    def close(self) -> None:
        """Stop the reader and wait for it; iteration ends. Safe to call twice."""
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _read(self, batches: Iterator[PairBatch]) -> None:
        end = _End(None)
        try:
            while not self._stop.is_set() and (batch := next(batches, None)) is not None:
                self._hand_over(self._moved(batch))
        except BaseException as error:  # whatever it is belongs to the consumer, who would otherwise wait for ever
            end = _End(error)
        finally:
            if isinstance(batches, Generator):
                batches.close()  # here, where it ran: its own threads end with it
        self._hand_over(end)

    def _hand_over(self, item: tuple[PairBatch, torch.cuda.Event | None] | _End) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):  # look at the stop sign now and then
                self._ready.put(item, timeout=0.05)
                return

    def _moved(self, batch: PairBatch) -> tuple[PairBatch, torch.cuda.Event | None]:
        if self._copies is None:
            return _on(batch, [tensor.to(self._device) for tensor in batch[:4]]), None
        with torch.cuda.stream(self._copies):  # torch's allocator reuses a pinned block only after its copy
            moved = _on(batch, [tensor.pin_memory().to(self._device, non_blocking=True) for tensor in batch[:4]])
            return moved, self._copies.record_event()


def _on(batch: PairBatch, tensors: list[Tensor]) -> PairBatch:
    return PairBatch(tensors[0], tensors[1], tensors[2], tensors[3], batch.sources, batch.targets)
