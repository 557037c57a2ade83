"""The shards and the loader's order at Market-1501's size, with its published annotations; skipped where these are absent."""

import zipfile
from itertools import islice
from pathlib import Path

import numpy as np

from pipeline.pair.stage import Lists, make_pairs
from pipeline.shard.plan import PairRows, plan_pieces
from pipeline.shard.stage import make_shards
from pipeline.tables import write_table
from posegan.config import ImageConfig, ShardConfig
from posegan.data.index import ShardIndex
from posegan.data.order import Counts, TrainOrder
from posegan.data.streams import ListedStream
from posegan.formats.pair_csv import read_pair_csv
from tests.support.small_market import jpeg, pair_config
from tests.test_pair import PUBLISHED, keypoints_file, needs_published, published

pytestmark = needs_published
CAP = 64


def test_train_becomes_one_sample_an_identity_but_for_the_largest() -> None:
    keypoints = published("train")
    table = make_pairs(keypoints, pair_config(validation_identities=0.0)).table
    row_of = {name: row for row, name in enumerate(keypoints.table["image"].to_pylist())}
    identity = keypoints.table["identity"].to_numpy()
    source, target = (np.array([row_of[name] for name in table[side].to_pylist()], np.int32) for side in ("source", "target"))
    pieces = list(plan_pieces(PairRows(source, target, np.zeros(len(source), np.int8)), identity, CAP))
    images = {piece.identity: set[int]() for piece in pieces}
    for piece in pieces:
        images[piece.identity] |= set(piece.images.tolist())
    assert sum(len(piece.pairs) for piece in pieces) == 263_632
    assert len(np.unique(np.concatenate([piece.listed for piece in pieces]))) == 263_632
    assert sum(len(each) for each in images.values()) == len({*source.tolist(), *target.tolist()}) == 12_112
    assert {piece.identity for piece in pieces if piece.number} == {person for person, each in images.items() if len(each) > CAP}

    counts = Counts(*np.array([(piece.identity, len(piece.images), len(piece.pairs)) for piece in pieces]).T)
    order = TrainOrder(counts, "by_identity", seed=0, pool_identities=400, pairs_per_image=4)
    visit = next(order.visits(0))
    person = np.array([piece.identity for piece in pieces])[visit.samples[visit.sample]]
    distinct = [len(set(batch)) for batch in person[: len(person) // 64 * 64].reshape(-1, 64)]
    assert np.mean(distinct) > 52  # of 58 that draws from all identities would show


def test_the_published_test_pairs_are_listed_in_their_order(tmp_path: Path) -> None:
    keypoints = published("test")
    pairs = read_pair_csv(PUBLISHED / "market-pairs-test.csv")
    write_table(tmp_path / "keypoints.parquet", keypoints_file(keypoints))
    write_table(tmp_path / "pairs.parquet", make_pairs(keypoints, pair_config(), Lists(pairs)).table)
    pictures = [jpeg(seed, 128, 64) for seed in range(50)]  # the size that the published joints are of
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for number, name in enumerate(keypoints.table["image"].to_pylist()):
            archive.writestr(name, pictures[number % 50])
    config = ShardConfig(target_megabytes=4.0, maximum_images_per_sample=CAP)
    make_shards(tmp_path / "shards", tmp_path / "raw.zip", tmp_path / "keypoints.parquet", tmp_path / "pairs.parquet", config, None)
    index, size = ShardIndex.load(tmp_path / "shards"), ImageConfig(height=128, width=64)
    stream = ListedStream(index, "test", size, 64, 12_000, 0)
    assert len(stream) == 12_000
    rows = [(source, target) for batch in stream for source, target in zip(batch.sources, batch.targets, strict=True)]
    assert [(source.split("/")[1], target.split("/")[1]) for source, target in rows] == [(pair.source, pair.target) for pair in pairs]
    ranks = [ListedStream(index, "test", size, 64, 12_000, 0, rank=rank, world_size=4) for rank in range(4)]
    for whole, *parts in islice(zip(stream, *ranks, strict=True), 8):
        assert whole.sources == tuple(name for part in parts for name in part.sources)
