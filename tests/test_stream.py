import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.tables import read_pairs
from posegan.data import MarketPoseDataset, PairBatch, to_float
from posegan.data.index import ShardIndex
from posegan.data.reader import decode_images
from posegan.data.streams import ListedStream, TrainStream
from posegan.errors import PoseGANError
from tests.support.small_market import Prepared


def train_stream(
    prepared: Prepared, split: str = "test", seed: int = 0, pool: int = 2, per_image: int = 2, batch_size: int = 5
) -> TrainStream:
    return TrainStream(ShardIndex.load(prepared.shards), split, prepared.image, batch_size, seed, pool, per_image)


def equal(one: PairBatch, other: PairBatch) -> bool:
    tensors = all(torch.equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
    return tensors and (one.sources, one.targets) == (other.sources, other.targets)


def pairs_in(batches: list[PairBatch]) -> list[tuple[str, str]]:
    return [both for batch in batches for both in zip(batch.sources, batch.targets, strict=True)]


def listed(prepared: Prepared, split: str) -> list[tuple[str, str]]:
    rows = read_pairs(prepared.pairs).to_pylist()
    return [(row["source"], row["target"]) for row in rows if row["split"] == split]


@pytest.mark.parametrize("pool", [1, 2, 3, 100])
def test_batch_i_is_the_same_wherever_the_iteration_begins(prepared: Prepared, pool: int) -> None:
    whole = list(islice(train_stream(prepared, pool=pool).batches(0), 23))
    for start in (1, 6, 13, 22):
        again = train_stream(prepared, pool=pool).batches(start)
        assert all(equal(one, other) for one, other in zip(whole[start:], again, strict=False))


def test_a_stream_can_be_iterated_twice(prepared: Prepared) -> None:
    stream = train_stream(prepared, pool=100)
    assert all(equal(one, other) for one, other in zip(islice(stream.batches(3), 9), stream.batches(3), strict=False))


def test_another_seed_is_another_order_and_epochs_differ(prepared: Prepared) -> None:
    epoch = 4 * 8  # four identities of four images, two pairs an image
    first = pairs_in(list(islice(train_stream(prepared, batch_size=epoch).batches(0), 3)))
    assert first[:epoch] != first[epoch : 2 * epoch] != first[2 * epoch :]
    assert first != pairs_in(list(islice(train_stream(prepared, seed=1, batch_size=epoch).batches(0), 3)))


def test_each_epoch_draws_other_pairs_of_an_identity(prepared: Prepared) -> None:
    epochs = islice(train_stream(prepared, split="val", batch_size=8).batches(0), 4)  # one identity: 8 of its 12 pairs
    assert len({frozenset(pairs_in([epoch])) for epoch in epochs}) > 1


@pytest.mark.parametrize("pool", [1, 2, 100])
def test_an_epoch_takes_each_identitys_share_of_its_listed_pairs_once(prepared: Prepared, pool: int) -> None:
    for batch in islice(train_stream(prepared, pool=pool, batch_size=32).batches(0), 3):
        drawn = pairs_in([batch])
        assert len(set(drawn)) == 32
        assert set(drawn) <= set(listed(prepared, "test"))
        assert set(Counter(source.split("/")[1][:4] for source, _ in drawn).values()) == {8}


def test_all_pairs_come_when_more_are_asked_for_than_there_are(prepared: Prepared) -> None:
    (batch,) = islice(train_stream(prepared, per_image=99, batch_size=48).batches(0), 1)
    assert sorted(pairs_in([batch])) == listed(prepared, "test")


def test_identities_of_a_pool_are_mixed(prepared: Prepared) -> None:
    batches = list(islice(train_stream(prepared, pool=4, batch_size=8).batches(0), 8))
    assert all(len({source.split("/")[1][:4] for source in batch.sources}) > 1 for batch in batches)


def test_the_dataset_gives_what_the_streams_give(prepared: Prepared) -> None:
    dataset = MarketPoseDataset(prepared.keypoints, prepared.pairs, prepared.raw, prepared.image, split="test")
    number = {both: row for row, both in enumerate(zip(dataset.sources, dataset.targets, strict=True))}
    for batch in islice(train_stream(prepared).batches(0), 3):
        for row, both in enumerate(pairs_in([batch])):
            item = dataset[number[both]]
            assert torch.equal(item.source_image, to_float(batch.source_images[row]))
            assert torch.equal(item.target_image, to_float(batch.target_images[row]))
            assert torch.equal(dataset.fitted(both[0])[1], batch.source_keypoints[row])
            assert torch.equal(dataset.fitted(both[1])[1], batch.target_keypoints[row])


def test_a_listed_stream_gives_all_pairs_in_order(prepared: Prepared) -> None:
    stream = ListedStream(ShardIndex.load(prepared.shards), "test", prepared.image, 7, 10**6, 0)
    batches = list(stream)
    assert pairs_in(batches) == listed(prepared, "test")
    assert [len(batch.sources) for batch in batches] == [7] * 6 + [6]
    assert len(stream) == 48


def test_a_subset_is_fixed_by_its_seed_and_keeps_the_order(prepared: Prepared) -> None:
    streams = [ListedStream(ShardIndex.load(prepared.shards), "test", prepared.image, 4, 10, seed) for seed in (0, 0, 1)]
    chosen = [pairs_in(list(stream)) for stream in streams]
    assert chosen[0] == chosen[1] == pairs_in(list(streams[0])) != chosen[2]
    assert len(chosen[0]) == len(set(chosen[0])) == len(streams[0]) == 10
    order = [listed(prepared, "test").index(both) for both in chosen[0]]
    assert all(one < other for one, other in pairwise(order))


def rejoined(parts: Sequence[PairBatch]) -> PairBatch:
    tensors = [torch.cat([part[field] for part in parts]) for field in range(4)]
    names = [tuple(name for part in parts for name in part[field]) for field in (4, 5)]
    return PairBatch(*tensors, *names)


@pytest.mark.parametrize("world", [1, 2, 3, 6])
@pytest.mark.parametrize("pool", [1, 3, 100])
def test_the_ranks_parts_in_turn_are_the_batch_of_a_single_process(prepared: Prepared, world: int, pool: int) -> None:
    index = ShardIndex.load(prepared.shards)
    alone = train_stream(prepared, pool=pool, batch_size=12).batches(2)
    ranks = [TrainStream(index, "test", prepared.image, 12, 0, pool, 2, rank=rank, world_size=world).batches(2) for rank in range(world)]
    for whole, *parts in islice(zip(alone, *ranks, strict=False), 9):
        assert {len(part.sources) for part in parts} == {12 // world}
        assert equal(rejoined(parts), whole)


@pytest.mark.parametrize("world", [1, 2, 5, 8])
def test_the_ranks_parts_of_a_list_in_turn_are_the_list(prepared: Prepared, world: int) -> None:
    index = ShardIndex.load(prepared.shards)
    alone = ListedStream(index, "test", prepared.image, 7, 10**6, 0)  # batches of 7, the last of 6
    ranks = [ListedStream(index, "test", prepared.image, 7, 10**6, 0, rank=rank, world_size=world) for rank in range(world)]
    for whole, *parts in zip(alone, *ranks, strict=True):
        assert equal(rejoined(parts), whole)


def test_a_batch_that_the_ranks_cannot_share_evenly_is_refused(prepared: Prepared) -> None:
    index = ShardIndex.load(prepared.shards)
    with pytest.raises(PoseGANError, match="batch size 5: expected a multiple of the 2 processes"):
        TrainStream(index, "test", prepared.image, 5, 0, 1, 1, rank=0, world_size=2)
    with pytest.raises(ValueError, match="expected 0 .. 1 of 2 processes, got 2"):
        TrainStream(index, "test", prepared.image, 4, 0, 1, 1, rank=2, world_size=2)


@pytest.fixture
def damaged(prepared: Prepared, tmp_path: Path) -> tuple[Path, int]:
    """Shards in which a bit of an identity of the test split is flipped, and that identity."""
    folder = Path(shutil.copytree(prepared.shards, tmp_path / "shards"))
    sample = ShardIndex.load(folder).split("test")[1]
    content = bytearray((folder / sample.shard).read_bytes())
    content[sample.offset + sample.size // 2] ^= 1
    (folder / sample.shard).write_bytes(content)
    return folder, sample.identity


def stream_over(folder: Path, prepared: Prepared, pool: int = 2, batch_size: int = 6, **options: Any) -> TrainStream:
    return TrainStream(ShardIndex.load(folder), "test", prepared.image, batch_size, 0, pool, 2, **options)


def identities(batches: Iterable[PairBatch]) -> set[int]:
    return {int(source.split("/")[1][:4]) for batch in batches for source in batch.sources}


@pytest.mark.parametrize("pool", [1, 3, 100])
def test_the_number_of_threads_changes_no_batch(prepared: Prepared, pool: int) -> None:
    streams = [stream_over(prepared.shards, prepared, pool, threads=threads).batches(3) for threads in (1, 2, 7)]
    for one, *others in islice(zip(*streams, strict=False), 12):
        assert all(equal(one, other) for other in others)


@pytest.mark.parametrize("pool", [1, 3, 100])
def test_a_damaged_sample_is_an_error_that_names_the_shard_and_the_identity(
    damaged: tuple[Path, int], prepared: Prepared, pool: int
) -> None:
    folder, identity = damaged
    with pytest.raises(PoseGANError, match=rf"test-\d+\.tar\.gz: identity {identity} .* is damaged"):
        list(islice(stream_over(folder, prepared, pool).batches(0), 20))
    with pytest.raises(PoseGANError, match=f"identity {identity} "):
        list(ListedStream(ShardIndex.load(folder), "test", prepared.image, 7, 10**6, 0))


@pytest.mark.parametrize("pool", [2, 3, 100])
def test_a_skipped_sample_is_counted_once_and_its_pairs_are_replaced(damaged: tuple[Path, int], prepared: Prepared, pool: int) -> None:
    folder, identity = damaged
    stream = stream_over(folder, prepared, pool, corrupt="skip")
    batches = list(islice(stream.batches(0), 20))
    whole = list(islice(stream_over(prepared.shards, prepared, pool).batches(0), 20))
    assert {len(batch.sources) for batch in batches} == {6}
    assert identities(whole) - identities(batches) == {identity}
    for mended, batch in zip(pairs_in(batches), pairs_in(whole), strict=True):
        assert mended == batch or int(batch[0].split("/")[1][:4]) == identity
    assert len(stream.skipped) == 1
    assert stream.skipped.summary().startswith(f"1 damaged sample (4 images, 12 pairs): identity {identity} in test/")


@pytest.mark.parametrize("pool", [2, 3, 100])
def test_order_resume_threads_and_ranks_hold_with_a_skipped_sample(damaged: tuple[Path, int], prepared: Prepared, pool: int) -> None:
    whole = list(islice(stream_over(damaged[0], prepared, pool, corrupt="skip").batches(0), 12))
    again = stream_over(damaged[0], prepared, pool, corrupt="skip", threads=5).batches(5)
    assert all(equal(one, other) for one, other in zip(whole[5:], again, strict=False))
    ranks = [stream_over(damaged[0], prepared, pool, corrupt="skip", rank=rank, world_size=3).batches(0) for rank in range(3)]
    assert all(equal(batch, rejoined(parts)) for batch, *parts in zip(whole, *ranks, strict=False))


def test_a_list_leaves_a_skipped_sample_out(damaged: tuple[Path, int], prepared: Prepared) -> None:
    folder, identity = damaged
    whole = list(ListedStream(ShardIndex.load(prepared.shards), "test", prepared.image, 7, 10**6, 0))
    stream = ListedStream(ShardIndex.load(folder), "test", prepared.image, 7, 10**6, 0, corrupt="skip")
    for batch, mended in zip(whole, stream, strict=True):
        assert pairs_in([mended]) == [both for both in pairs_in([batch]) if identity not in identities([batch._replace(sources=both)])]
    assert len(stream.skipped) == 1


def test_a_shard_cut_short_loses_only_what_was_cut_off(prepared: Prepared, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(prepared.shards, tmp_path / "shards"))
    last = ShardIndex.load(folder).split("test")[-1]
    (folder / last.shard).write_bytes((folder / last.shard).read_bytes()[: last.offset + 10])
    with pytest.raises(PoseGANError, match="bytes, expected"):
        stream_over(folder, prepared)
    found = identities(islice(stream_over(folder, prepared, corrupt="skip").batches(0), 20))
    assert found == identities(islice(stream_over(prepared.shards, prepared).batches(0), 20)) - {last.identity}


def test_each_image_is_decoded_once_a_visit(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = Counter[bytes]()

    def counting(files: list[bytes], out: Any) -> Any:
        decoded.update(files)
        return decode_images(files, out)

    monkeypatch.setattr("posegan.data.reader.decode_images", counting)
    epoch = 4 * 8
    list(islice(stream_over(prepared.shards, prepared, pool=1, batch_size=epoch).batches(0), 1))
    assert max(decoded.values()) <= 2  # by now the next epoch is being read
    decoded.clear()
    list(islice(stream_over(prepared.shards, prepared, pool=2, batch_size=epoch).batches(0), 9))
    assert set(decoded.values()) == {1}  # all samples fit into two pools and stay
    decoded.clear()
    list(ListedStream(ShardIndex.load(prepared.shards), "test", prepared.image, 7, 10**6, 0))
    assert set(decoded.values()) == {1}


def test_only_images_that_are_asked_for_are_decoded(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr("posegan.data.reader.decode_images", lambda files, out: (decoded.extend(files), decode_images(files, out))[1])
    (batch,) = ListedStream(ShardIndex.load(prepared.shards), "test", prepared.image, 7, 3, 0)
    assert len(decoded) == len({*batch.sources, *batch.targets}) <= 6
