import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import Prepared, pair_config

from pipeline.market1501 import parse_name
from pipeline.pair import make_pairs
from pipeline.pair_rules import ordered_pairs, usable_images, validation_identities
from pipeline.tables import KEYPOINTS_SCHEMA, Keypoints, joint_columns, read_keypoints
from posegan.skeleton import TORSO

PUBLISHED = Path(__file__).parents[2] / "shared" / "market1501"


def table_of(names: list[str], joints: np.ndarray, split: str, confidence: float = 1.0) -> Keypoints:
    parsed = [parse_name(name) for name in names]
    rows = len(names)
    columns = {
        "image": names,
        "split": [split] * rows,
        **{part: [getattr(name, part) for name in parsed] for part in ("identity", "camera", "sequence", "frame", "box")},
        "width": [64] * rows,
        "height": [128] * rows,
        "status": ["ok"] * rows,
        "detail": [None] * rows,
        "person_confidence": [confidence] * rows,
        **joint_columns(joints, np.ones(rows, bool)),
    }
    return Keypoints(pa.table({name: columns[name] for name in KEYPOINTS_SCHEMA.names}, schema=KEYPOINTS_SCHEMA), joints)


def people(sizes: list[int], split: str = "train") -> Keypoints:
    names = [f"{identity:04d}_c{n % 3 + 1}s1_{n:06d}_00.jpg" for identity, size in enumerate(sizes, start=1) for n in range(size)]
    return table_of(names, np.ones((len(names), 18, 3), np.float32), split)


def as_set(table: pa.Table) -> set[tuple[str, str]]:
    return set(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))


def test_ordered_pairs_are_the_permutations_of_each_group() -> None:
    groups = np.array([5, 3, 5, 9, 3, 5], dtype=np.int64)
    source, target, singles = ordered_pairs(groups)
    expected = {(a, b) for a, b in permutations(range(6), 2) if groups[a] == groups[b]}
    assert set(zip(source.tolist(), target.tolist(), strict=True)) == expected
    assert len(source) == len(expected)
    assert singles == 1


@pytest.mark.parametrize("cameras", ["any", "same", "different"])
def test_the_camera_rule_agrees_with_a_plain_loop(cameras: str) -> None:
    keypoints = people([5, 1, 7, 2])
    names = keypoints.table["image"].to_pylist()
    camera = {name: name.split("_")[1] for name in names}
    allowed = {"any": (True, False), "same": (True,), "different": (False,)}[cameras]
    expected = {(a, b) for a, b in permutations(names, 2) if a[:4] == b[:4] and (camera[a][:2] == camera[b][:2]) in allowed}
    pairs = make_pairs(keypoints, pair_config(cameras=cameras))
    assert as_set(pairs.table) == expected
    assert pairs.counts["camera_rule"] == 5 * 4 + 7 * 6 + 2 - len(expected)
    assert pairs.counts["without_partner"] == 1


def test_a_cap_keeps_that_many_of_the_larger_and_all_of_the_smaller() -> None:
    pairs = make_pairs(people([5, 2, 7]), pair_config(maximum_pairs_per_identity=6))
    identities = pairs.table["identity"].to_pylist()
    assert [identities.count(identity) for identity in (1, 2, 3)] == [6, 2, 6]
    assert pairs.counts["over_cap"] == 20 + 42 - 12
    assert as_set(pairs.table) <= as_set(make_pairs(people([5, 2, 7]), pair_config()).table)
    assert as_set(pairs.table) != as_set(make_pairs(people([5, 2, 7]), pair_config(maximum_pairs_per_identity=6, seed=1)).table)


def test_the_order_of_the_rows_does_not_matter() -> None:
    keypoints = people([5, 3, 7])
    order = np.random.default_rng(0).permutation(keypoints.table.num_rows)
    shuffled = Keypoints(keypoints.table.take(pa.array(order)), keypoints.joints[order])
    config = pair_config(maximum_pairs_per_identity=6)
    assert make_pairs(shuffled, config).table.equals(make_pairs(keypoints, config).table)


def test_pairs_are_sorted_and_never_of_an_image_with_itself() -> None:
    table = make_pairs(people([5, 3]), pair_config()).table
    rows = list(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True))
    assert rows == sorted(rows)
    assert all(source != target for source, target in rows)


@pytest.mark.parametrize("joint", TORSO)
def test_an_image_needs_each_torso_joint(joint: int) -> None:
    keypoints = people([3])
    keypoints.joints[1, joint] = 0
    kept, counts = usable_images(keypoints, pair_config())
    assert kept.tolist() == [True, False, True]
    assert counts["torso_missing"] == 1


def test_each_filter_has_its_own_count() -> None:
    keypoints = people([3])
    keypoints.joints[0, [0, 1, 14, 15]] = 0
    assert usable_images(keypoints, pair_config(minimum_joints=15))[1]["few_joints"] == 1
    names = ["-1_c1s1_000001_00.jpg", "0000_c1s1_000001_00.jpg", "0001_c1s1_000001_00.jpg"]
    joints = np.ones((3, 18, 3), np.float32)
    counts = usable_images(table_of(names, joints, "test"), pair_config())[1]
    assert (counts["junk"], counts["distractor"], counts["kept"]) == (1, 1, 1)
    assert usable_images(table_of(names, joints, "query"), pair_config())[1]["query"] == 3
    assert usable_images(table_of(names[2:], joints[2:], "test", 0.2), pair_config())[1]["low_person_confidence"] == 1


def test_counts_of_the_small_archive_add_up(prepared: Prepared) -> None:
    counts = make_pairs(read_keypoints(prepared.keypoints), pair_config()).counts
    reasons = ("query", "bad_name", "unreadable", "no_person", "junk", "distractor")
    assert [counts[reason] for reason in reasons] == [1] * 6
    assert (counts["images"], counts["kept"]) == (38, 32)
    assert (counts["train_pairs"], counts["val_pairs"], counts["test_pairs"]) == (3 * 12, 12, 4 * 12)


def test_validation_holds_whole_identities_out() -> None:
    table = make_pairs(people([3] * 20), pair_config(validation_identities=0.3)).table
    splits: dict[int, set[str]] = {}
    for identity, split in zip(table["identity"].to_pylist(), table["split"].to_pylist(), strict=True):
        splits.setdefault(identity, set()).add(split)
    assert all(len(split) == 1 for split in splits.values())
    assert sum(split == {"val"} for split in splits.values()) == 6


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.001, 1), (0.5, 5), (0.999, 9)])
def test_the_share_of_validation_identities(share: float, count: int) -> None:
    identities = np.arange(10, 20)
    held_out = validation_identities(identities, pair_config(validation_identities=share))
    assert len(set(held_out.tolist())) == count
    assert set(held_out.tolist()) <= set(identities.tolist())


def published(name: str, split: str) -> Keypoints:
    lines = (PUBLISHED / f"market-annotation-{name}.csv").read_text().splitlines()[1:]
    rows = [line.split(":") for line in lines]
    rows = [row for row in rows if parse_name(row[0]) is not None]
    assert len(rows) == len(lines)
    y, x = (np.array([json.loads(row[column]) for row in rows], np.float32) for column in (1, 2))
    joints = np.stack([x, y, ((x >= 0) & (y >= 0)).astype(np.float32)], axis=-1)
    joints[joints[..., 2] == 0] = 0
    return table_of([row[0] for row in rows], joints, split)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published annotations are not at hand")
@pytest.mark.parametrize(("name", "images", "kept", "pairs"), [("train", 12_936, 12_116, 263_632), ("test", 19_732, 12_344, 257_198)])
def test_the_published_annotations_give_the_published_counts(name: str, images: int, kept: int, pairs: int) -> None:
    counts = (made := make_pairs(published(name, name), pair_config(validation_identities=0.0))).counts
    assert (counts["images"], counts["kept"], counts[f"{name}_pairs"]) == (images, kept, pairs)
    if name == "train":
        assert len(set(made.table["identity"].to_pylist())) + counts["without_partner"] == 745
