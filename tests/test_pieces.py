import tracemalloc
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.shard.plan import SPLITS, PairRows, Piece, plan_pieces, read_pair_rows
from pipeline.tables import PAIRS_SCHEMA, read_pairs, write_table
from posegan.errors import PoseGANError
from posegan.formats.table import read_keypoints
from tests.support.small_market import Prepared


def people(sizes: list[int]) -> np.ndarray:
    """The identity of each image."""
    return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)


def all_pairs(identity: np.ndarray, split: str = "train") -> PairRows:
    rows = [(a, b) for person in np.unique(identity) for a, b in permutations(np.flatnonzero(identity == person), 2)]
    source, target = np.array(rows, dtype=np.int32).T
    return PairRows(source, target, np.full(len(rows), SPLITS.index(split), np.int8))


def pairs_of(pieces: list[Piece]) -> list[tuple[int, int]]:
    return [(int(piece.images[source]), int(piece.images[target])) for piece in pieces for source, target in piece.pairs]


@pytest.mark.parametrize("cap", [2, 3, 4, 7, 64])
def test_every_pair_stands_in_exactly_one_piece_under_the_cap(cap: int) -> None:
    identity = people([2, 5, 9, 13])
    rows = all_pairs(identity)
    pieces = list(plan_pieces(rows, identity, cap))
    assert sorted(pairs_of(pieces)) == list(zip(rows.source.tolist(), rows.target.tolist(), strict=True))
    assert max(len(piece.images) for piece in pieces) <= cap
    assert len({piece.key for piece in pieces}) == len(pieces)
    assert not any(set(one.images) <= set(other.images) for one, other in permutations(pieces, 2))  # none is superfluous


def test_an_identity_under_the_cap_is_one_piece_with_each_image_once() -> None:
    pieces = list(plan_pieces(all_pairs(people([2, 5, 9])), people([2, 5, 9]), 9))
    assert [piece.images.tolist() for piece in pieces] == [[0, 1], list(range(2, 7)), list(range(7, 16))]


@pytest.mark.parametrize("cap", [4, 64])
def test_the_order_of_the_rows_does_not_matter_and_is_remembered(cap: int) -> None:
    identity = people([6, 3, 7, 2])
    rows = all_pairs(identity)
    rows = rows._replace(split=(identity[rows.source] % 3).astype(np.int8))
    shuffled = np.random.default_rng(0).permutation(len(rows.source))
    mixed = PairRows(*(column[shuffled] for column in rows))
    for one, other in zip(plan_pieces(rows, identity, cap), plan_pieces(mixed, identity, cap), strict=True):
        assert (one.key, one.images.tolist(), one.pairs.tolist()) == (other.key, other.images.tolist(), other.pairs.tolist())
        assert (shuffled[other.listed] == one.listed).all()
        assert (one.images[one.pairs[:, 0]] == rows.source[one.listed]).all()


def test_pieces_come_by_split_then_identity_then_number() -> None:
    identity = people([3, 3, 3, 3])
    rows = all_pairs(identity)._replace(split=np.repeat(np.array([2, 0, 1, 0], np.int8), 6))
    places = [(SPLITS.index(piece.split), piece.identity, piece.number) for piece in plan_pieces(rows, identity, 2)]
    assert places == sorted(places)
    assert [split for split, _, _ in places[::3]] == [0, 0, 1, 2]


def test_a_listed_pair_may_stand_twice() -> None:
    rows = PairRows(np.array([0, 1, 0], np.int32), np.array([1, 2, 1], np.int32), np.full(3, 2, np.int8))
    (piece,) = plan_pieces(rows, people([3]), 64)
    assert piece.pairs.tolist() == [[0, 1], [0, 1], [1, 2]]
    assert piece.listed.tolist() == [0, 2, 1]


def test_no_pair_is_no_piece() -> None:
    nothing = PairRows(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int8))
    assert list(plan_pieces(nothing, people([3]), 64)) == []


def test_planning_needs_no_more_memory_for_more_pairs_of_an_identity_than_the_pairs_themselves() -> None:
    peaks = []
    for count in (100, 1000):
        identity = people([20] * count)
        rows = all_pairs(identity[:20])
        rows = PairRows(
            *(np.concatenate([column + 20 * number for number in range(count)]) for column in rows[:2]), np.zeros(380 * count, np.int8)
        )
        tracemalloc.start()
        assert sum(len(piece.pairs) for piece in plan_pieces(rows, identity, 64)) == 380 * count
        peaks.append(tracemalloc.get_traced_memory()[1] / (380 * count))
        tracemalloc.stop()
    assert peaks[1] < 12  # bytes a pair, beside the 9 of its rows


def test_names_become_rows(prepared: Prepared) -> None:
    table = read_keypoints(prepared.keypoints).table
    names, rows = table["image"].to_pylist(), read_pair_rows(prepared.pairs, table)
    pairs = read_pairs(prepared.pairs).to_pylist()
    assert [(names[source], names[target], SPLITS[split]) for source, target, split in zip(*rows, strict=True)] == [
        (row["source"], row["target"], row["split"]) for row in pairs
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"source": "0000/000.jpg"}, r"0000/000.jpg: .*run pair again"),
        ({"identity": 4}, "run pair again"),
        ({"split": "dev"}, "unknown splits"),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(
    prepared: Prepared, tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    rows = read_pairs(prepared.pairs).to_pylist()
    write_table(tmp_path / "pairs.parquet", pa.Table.from_pylist([*rows, {**rows[0], **change}], schema=PAIRS_SCHEMA))
    with pytest.raises(PoseGANError, match=complaint):
        read_pair_rows(tmp_path / "pairs.parquet", read_keypoints(prepared.keypoints).table)
