"""Batches on the device, read and moved by a thread of its own."""

import contextlib
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple, Self

import torch
from torch import Tensor

from posegan.data.batches import PairBatch


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
