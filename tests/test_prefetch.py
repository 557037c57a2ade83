import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest
import torch

from posegan.data.batches import PairBatch
from posegan.data.index import ShardIndex
from posegan.data.prefetch import DevicePrefetcher
from posegan.data.streams import ListedStream
from tests.support.small_market import Prepared
from tests.test_stream import equal, train_stream


def test_the_prefetcher_gives_every_batch_in_order_and_ends(prepared: Prepared) -> None:
    stream = ListedStream(ShardIndex.load(prepared.shards), "test", prepared.image, 7, 48, 0)
    with DevicePrefetcher(stream, torch.device("cpu")) as batches:
        assert all(equal(one, other) for one, other in zip(batches, stream, strict=True))
        assert next(batches, None) is None
        assert batches.waited > 0


def test_the_readers_exception_reaches_the_consumer_after_the_batches_before_it(prepared: Prepared) -> None:
    def broken() -> Iterator[PairBatch]:
        yield from islice(train_stream(prepared).batches(0), 2)
        raise ZeroDivisionError("reader")

    batches = DevicePrefetcher(broken(), torch.device("cpu"))
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(ZeroDivisionError, match="reader"):
        next(batches)
    batches.close()


def test_close_stops_an_endless_reader_and_its_threads(prepared: Prepared) -> None:
    before = threading.active_count()
    batches = DevicePrefetcher(train_stream(prepared).batches(0), torch.device("cpu"))
    next(batches)
    batches.close()
    batches.close()
    assert next(batches, None) is None
    assert threading.active_count() == before


def test_reading_goes_on_while_the_consumer_works() -> None:
    empty = torch.zeros(1)
    batch = PairBatch(empty, empty, empty, empty, ("a",), ("b",))

    def slow() -> Iterator[PairBatch]:
        for _ in range(3):
            time.sleep(0.05)
            yield batch

    with DevicePrefetcher(slow(), torch.device("cpu")) as batches:
        next(batches)
        before = batches.waited
        time.sleep(0.2)
        next(batches)
        assert batches.waited - before < 0.04
