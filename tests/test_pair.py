from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import compute

from pipeline.exchange import rows_without_archive
from pipeline.pair.rules import KEPT, REASONS, count_reasons, first_reasons, ordered_pairs, pose_differences, validation_identities
from pipeline.pair.stage import REJECTIONS, SPLITS, Lists, check_counts, make_pairs, pair_blocks, write_pairs
from pipeline.pose.annotations import read_annotations
from pipeline.pose.rows import keypoints_table
from pipeline.raw_archive import parse_name
from pipeline.tables import read_counts, read_pairs, write_table
from posegan.config import PairConfig
from posegan.errors import PoseGANError
from posegan.formats.keypoint_csv import read_keypoint_csv, write_keypoint_csv
from posegan.formats.pair_csv import ListedPair, read_pair_csv
from posegan.formats.table import KEYPOINT_COLUMNS, KEYPOINTS_SCHEMA, Keypoints, joint_columns, read_keypoints
from posegan.skeleton import TORSO
from tests.support.small_market import Prepared, pair_config

PUBLISHED = Path(__file__).parents[2] / "shared" / "market1501"


def usable_images(keypoints: Keypoints, config: PairConfig) -> tuple[np.ndarray, dict[str, int]]:
    """Which images may be paired, and the count of each first reason not to."""
    first = first_reasons(keypoints, config)
    return first == KEPT, count_reasons(first)


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


LAW_FILTERS: list[dict[str, object]] = [
    {},
    {"require_torso": False, "minimum_joints": 1},
    {"minimum_joints": 12, "minimum_joint_confidence": 0.05},
    {"minimum_person_height": 90.0, "cameras": "same"},
    {"minimum_pose_difference": 30.0, "cameras": "different"},
    {"minimum_pose_difference": 25.0, "maximum_pairs_per_identity": 5, "minimum_person_confidence": 0.5},
]


def varied_people() -> Keypoints:
    """Random poses of 12 train and 7 test identities and a distractor, of 1 to 7 images, joints missing at random."""
    generator = np.random.default_rng(0)
    split_of = {identity: "train" if identity > 7 else "test" for identity in range(20)}
    numbers = [
        (f"bounding_box_{split}/{identity:04d}_c{n % 3 + 1}s1_{n:06d}_00.jpg", split)
        for identity, split in split_of.items()
        for n in range(identity % 7 + 1)
    ]
    joints = generator.uniform(0.01, 1, (len(numbers), 18, 3)).astype(np.float32) * np.array([64, 128, 1], np.float32)
    joints[generator.random(joints.shape[:2]) < 0.02] = 0
    parts = [
        table_of([name for name, of in numbers if of == split], joints[[of == split for _, of in numbers]], split)
        for split in ("test", "train")
    ]
    confidence = pa.array(generator.uniform(0.3, 1, len(numbers)).astype(np.float32))
    table = pa.concat_tables([part.table for part in parts])
    table = table.set_column(table.schema.get_field_index("person_confidence"), KEYPOINTS_SCHEMA.field("person_confidence"), confidence)
    return Keypoints(table, np.concatenate([part.joints for part in parts]))


@pytest.mark.parametrize("filters", LAW_FILTERS, ids=str)
def test_every_image_and_every_pair_went_somewhere_whatever_the_filters(filters: dict[str, object]) -> None:
    keypoints = varied_people()
    table, counts = make_pairs(keypoints, pair_config(**filters))  # it checks the sums of its counts, see below
    assert counts["pairs"] == table.num_rows == sum(counts[f"{split}_pairs"] for split in SPLITS)
    assert counts["candidate_pairs"] == counts["pairs"] + sum(counts[name] for name in REJECTIONS)
    assert counts["images"] == sum(counts[name] for name in (*REASONS, "kept"))
    assert as_set(table) <= as_set(make_pairs(keypoints, pair_config(require_torso=False, minimum_joints=1)).table)


def test_counts_that_do_not_add_up_are_a_fault_of_the_program() -> None:
    counts = make_pairs(people([3]), pair_config()).counts
    for name in ("kept", "candidate_pairs"):
        with pytest.raises(RuntimeError, match="do not add up"):
            check_counts({**counts, name: counts[name] + 1})


@pytest.mark.parametrize("filters", LAW_FILTERS, ids=str)
@pytest.mark.parametrize("block", [1, 7, 50])
def test_the_size_of_the_blocks_does_not_matter(filters: dict[str, object], block: int) -> None:
    keypoints, config = varied_people(), pair_config(**filters)
    names = [name for name in keypoints.table["image"].to_pylist() if "_test/0006" in name]
    for rows in (None, listed(*permutations(names, 2))):
        whole = make_pairs(keypoints, config, Lists(rows))
        counts: dict[str, int] = {}
        blocks = list(pair_blocks(keypoints, config, counts, Lists(rows), block))
        assert len(blocks) > 1 or block > 1
        assert pa.concat_tables(blocks).combine_chunks().equals(whole.table.combine_chunks())
        assert counts == whole.counts


def test_filters_at_zero_let_all_pass_and_each_rejects_what_it_names() -> None:
    keypoints = people([3])
    keypoints.joints[..., 1] = np.linspace(10, 60, 18)
    keypoints.joints[1, :, 1] = np.linspace(10, 59, 18)
    keypoints.joints[2, TORSO[0], 2] = 0.4
    assert usable_images(keypoints, pair_config())[1]["kept"] == 3
    assert usable_images(keypoints, pair_config(minimum_person_height=49.5))[0].tolist() == [True, False, True]
    assert usable_images(keypoints, pair_config(minimum_person_height=49.5))[1]["small_person"] == 1
    assert usable_images(keypoints, pair_config(minimum_joint_confidence=0.5))[1]["low_joint_confidence"] == 1
    assert usable_images(keypoints, pair_config(minimum_joint_confidence=0.5, require_torso=False))[1]["kept"] == 3
    keypoints.joints[0, TORSO[1]] = 0
    assert usable_images(keypoints, pair_config(require_torso=False))[1]["torso_missing"] == 0


def test_the_pose_difference_is_a_distance_that_ignores_where_the_person_stands() -> None:
    poses = varied_people().joints
    first, second, third = poses[:10], poses[10:20], poses[20:30]
    complete = (first[..., 2] > 0) & (second[..., 2] > 0) & (third[..., 2] > 0)
    first, second, third = (np.where(complete[..., None], pose, 0) for pose in (first, second, third))
    distance = pose_differences(first, second)
    assert np.allclose(distance, pose_differences(second, first))
    assert (distance <= pose_differences(first, third) + pose_differences(third, second) + 1e-3).all()
    shifted = second + np.array([5, -3, 0], np.float32)
    assert np.allclose(pose_differences(first, shifted), distance, atol=1e-4)
    assert np.allclose(pose_differences(second, shifted), 0, atol=1e-4)
    apart = np.zeros((1, 18, 3), np.float32)
    apart[0, :2] = [(0, 0, 1), (0, 4, 1)]
    assert pose_differences(apart, apart * np.array([1, 2, 1], np.float32)).tolist() == [2]  # 4 px more between the two: 2 px each
    assert pose_differences(apart, np.zeros_like(apart)).tolist() == [0]


def test_a_minimum_pose_difference_keeps_the_pairs_that_reach_it() -> None:
    keypoints = varied_people()
    rows = {name: row for row, name in enumerate(keypoints.table["image"].to_pylist())}
    expected = {
        (source, target)
        for source, target in as_set(make_pairs(keypoints, pair_config()).table)
        if pose_differences(keypoints.joints[[rows[source]]], keypoints.joints[[rows[target]]])[0] >= 30
    }
    assert as_set(make_pairs(keypoints, pair_config(minimum_pose_difference=30.0)).table) == expected


def listed(*rows: tuple[str, str]) -> list[ListedPair]:
    return [ListedPair(f"list.csv, line {number}", source, target) for number, (source, target) in enumerate(rows, start=2)]


def test_listed_test_pairs_stay_row_for_row_and_the_rule_makes_the_rest() -> None:
    keypoints = varied_people()
    by_rule = make_pairs(keypoints, pair_config()).table
    is_test = compute.equal(by_rule["split"], "test")
    rows = list(zip(by_rule.filter(is_test)["source"].to_pylist(), by_rule.filter(is_test)["target"].to_pylist(), strict=True))
    order = np.random.default_rng(1).integers(0, len(rows), 30)  # some twice
    chosen = [rows[row] for row in order]
    bare = listed(*((source.split("/")[1], target.split("/")[1]) for source, target in chosen))
    pairs = make_pairs(keypoints, pair_config(cameras="same"), Lists(bare))  # a rule for pairs does not touch the list
    table = pairs.table.filter(compute.equal(pairs.table["split"], "test"))
    assert list(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True)) == chosen
    assert [f"{identity:04d}" for identity in table["identity"].to_pylist()] == [source.split("/")[1][:4] for source, _ in chosen]
    alone = make_pairs(keypoints, pair_config(cameras="same")).table
    assert pairs.table.slice(0, pairs.table.num_rows - 30).equals(alone.filter(compute.not_equal(alone["split"], "test")))


def test_of_the_rules_train_pairs_those_of_a_list_are_kept() -> None:
    keypoints = varied_people()
    config = pair_config(maximum_pairs_per_identity=6)
    free = make_pairs(keypoints, pair_config())
    trained = free.table.filter(compute.not_equal(free.table["split"], "test"))
    rows = list(zip(trained["source"].to_pylist(), trained["target"].to_pylist(), strict=True))
    chosen = [rows[row] for row in np.random.default_rng(1).permutation(len(rows))[: len(rows) // 2]]
    lists = Lists(train=listed(*((Path(source).name, Path(target).name) for source, target in [*chosen, chosen[0]])))  # one twice
    pairs = make_pairs(keypoints, pair_config(), lists)
    is_test = compute.equal(pairs.table["split"], "test")
    assert as_set(pairs.table.filter(compute.invert(is_test))) == set(chosen)
    assert pairs.table.filter(is_test).equals(free.table.filter(compute.equal(free.table["split"], "test")))
    assert pairs.counts["unlisted"] == len(rows) - len(chosen)
    assert (pairs.counts["listed_train_pairs"], free.counts.get("unlisted")) == (len(chosen) + 1, None)
    capped = make_pairs(keypoints, config, lists)  # a cap draws among the listed ones
    assert as_set(capped.table.filter(compute.not_equal(capped.table["split"], "test"))) <= set(chosen)


def test_a_list_of_train_pairs_of_which_most_is_lost_is_refused_and_of_which_some_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "k.parquet", keypoints_file(people([3, 2])))
    one, two, three, *_ = people([3, 2]).table["image"].to_pylist()
    path, config = tmp_path / "list.csv", pair_config(train_pairs=str(tmp_path / "list.csv"), validation_identities=0.0)
    path.write_text(f"from,to\n{one},{two}\nz.jpg,{one}\nz.jpg,{two}\n")
    with pytest.raises(PoseGANError, match=r"2 of its 3 pairs cannot be used .*2 listed_train_absent.*no train image is called z\.jpg"):
        write_pairs(tmp_path / "p.parquet", tmp_path / "k.parquet", config, Path("params.yaml"))
    path.write_text(f"from,to\n{one},{two}\n{three},{one}\nz.jpg,{two}\n")
    counts = write_pairs(tmp_path / "p.parquet", tmp_path / "k.parquet", config, Path("params.yaml"))
    assert (counts["train_pairs"], counts["unlisted"], counts["listed_train_absent"]) == (2, 6, 1)
    assert "1 pairs of" in (said := capsys.readouterr().err) and "no train image is called z.jpg" in said


def test_listed_pairs_that_are_lost_are_counted_by_reason() -> None:
    keypoints = people([3, 2], "test")
    keypoints.joints[1, TORSO[0]] = 0
    one, two, three, other, _ = keypoints.table["image"].to_pylist()
    rows = listed((one, three), (one, two), (two, three), ("nosuch.jpg", one), (three, one))
    counts = make_pairs(keypoints, pair_config(), Lists(rows)).counts
    assert (counts["listed_pairs"], counts["listed_absent"], counts["listed_torso_missing"], counts["test_pairs"]) == (5, 1, 2, 2)
    for bad in ((one, other), (one, one)):
        with pytest.raises(PoseGANError, match=r"list\.csv, line 2: .* not two images of one identity"):
            make_pairs(keypoints, pair_config(), Lists(listed(bad)))


@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda name: Path(name).stem,
        lambda name: f"/data/Market/bounding_box_test/{Path(name).name}",
        lambda name: f"bounding_box_test\\{Path(name).name}",
        lambda name: f"test/{Path(name).name}",
        lambda name: str(Path(name).with_suffix(".JPG")),
    ],
)
def test_listed_names_mean_what_annotations_names_mean(spell: Callable[[str], str]) -> None:
    keypoints = people([3, 2], "test")
    one, two, three, *_ = keypoints.table["image"].to_pylist()
    rows = [(one, two), (three, one), (one, two)]
    table = make_pairs(keypoints, pair_config(), Lists(listed(*((spell(source), spell(target)) for source, target in rows)))).table
    assert list(zip(table["source"].to_pylist(), table["target"].to_pylist(), strict=True)) == rows


def test_a_list_of_which_most_is_lost_is_refused_and_of_which_some_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keypoints = varied_people()
    write_table(tmp_path / "k.parquet", keypoints_file(keypoints))
    by_rule = make_pairs(keypoints, pair_config()).table
    good = by_rule.filter(compute.equal(by_rule["split"], "test")).slice(0, 2).to_pylist()
    rows = [f"{row['source']},{row['target']}" for row in good]
    path, config = tmp_path / "list.csv", pair_config(test_pairs=str(tmp_path / "list.csv"))
    path.write_text("\n".join(["from,to", *rows, "bounding_box_train/x.jpg,y.jpg", "z.jpg,y.jpg", "z.jpg,x.jpg"]))
    with pytest.raises(
        PoseGANError, match=r"3 of its 5 pairs cannot be used .*no test image is called bounding_box_train/x\.jpg; .*such as"
    ):
        write_pairs(tmp_path / "p.parquet", tmp_path / "k.parquet", config, Path("params.yaml"))
    assert not (tmp_path / "p.parquet").exists()
    path.write_text("\n".join(["from,to", *rows, "z.jpg,y.jpg"]))
    counts = write_pairs(tmp_path / "p.parquet", tmp_path / "k.parquet", config, Path("params.yaml"))
    assert (counts["listed_absent"], counts["test_pairs"]) == (1, 2)
    assert (
        "1 pairs of" in (said := capsys.readouterr().err)
        and "are lost: no test image is called z.jpg; test images are called such as" in said
    )


def test_the_stage_writes_blocks_with_counts_and_refuses_a_list_of_strangers(tmp_path: Path) -> None:
    keypoints = varied_people()
    write_table(tmp_path / "k.parquet", keypoints_file(keypoints))
    (tmp_path / "list.csv").write_text("from,to\nnosuch.jpg,nosuch.jpg\n")
    with pytest.raises(
        PoseGANError,
        match=r"list\.csv: 1 of its 1 pairs cannot be used .*1 listed_absent.*called nosuch\.jpg; .*such as bounding_box_test/",
    ):
        write_pairs(tmp_path / "p.parquet", tmp_path / "k.parquet", pair_config(test_pairs=str(tmp_path / "list.csv")), Path("params.yaml"))
    with pytest.raises(PoseGANError, match=r"no training pair is left .*low_person_confidence.*loosen pair\.\*"):
        write_pairs(tmp_path / "p.parquet", tmp_path / "k.parquet", pair_config(minimum_person_confidence=1.0), Path("params.yaml"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.parquet", "list.csv"]
    counts = write_pairs(tmp_path / "p.parquet", tmp_path / "k.parquet", pair_config(), Path("params.yaml"))
    table = read_pairs(tmp_path / "p.parquet")
    assert read_counts(table) == counts == make_pairs(keypoints, pair_config()).counts
    assert table.schema.metadata[b"split"] == b"train, val, test"
    assert table.equals(make_pairs(read_keypoints(tmp_path / "k.parquet"), pair_config()).table)


def keypoints_file(keypoints: Keypoints) -> pa.Table:
    """The table with the joints that stand beside it, as the pose stage would write them."""
    others = {name: keypoints.table[name] for name in KEYPOINTS_SCHEMA.names if name not in KEYPOINT_COLUMNS}
    return pa.table({**others, **joint_columns(keypoints.joints, np.ones(len(keypoints.joints), bool))}, schema=KEYPOINTS_SCHEMA)


def published(name: str) -> Keypoints:
    rows = rows_without_archive(read_annotations(PUBLISHED / f"market-annotation-{name}.csv"), (64, 128), name)
    table = keypoints_table(rows)
    joints = {row.member: np.zeros((18, 3), np.float32) if row.person is None else row.person.keypoints for row in rows}
    return Keypoints(table, np.stack([joints[image] for image in table["image"].to_pylist()]))


needs_published = pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published annotations are not at hand")


@needs_published
@pytest.mark.parametrize(("name", "images", "kept", "pairs"), [("train", 12_936, 12_116, 263_632), ("test", 19_732, 12_344, 257_198)])
def test_the_published_annotations_give_the_published_counts(name: str, images: int, kept: int, pairs: int) -> None:
    counts = (made := make_pairs(published(name), pair_config(validation_identities=0.0))).counts
    assert (counts["images"], counts["kept"], counts[f"{name}_pairs"]) == (images, kept, pairs)
    if name == "train":
        assert len(set(made.table["identity"].to_pylist())) + counts["without_partner"] == 745


@needs_published
def test_the_published_test_pairs_stay_row_for_row() -> None:
    pairs = read_pair_csv(PUBLISHED / "market-pairs-test.csv")
    table, counts = make_pairs(published("test"), pair_config(), Lists(pairs))
    assert (counts["listed_pairs"], counts["test_pairs"], table.num_rows) == (12_000, 12_000, 12_000)
    names = [[name.split("/")[1] for name in table[column].to_pylist()] for column in ("source", "target")]
    assert list(zip(*names, strict=True)) == [(pair.source, pair.target) for pair in pairs]


@needs_published
@pytest.mark.parametrize("name", ["train", "test"])
def test_the_published_annotations_come_back_line_for_line(name: str, tmp_path: Path) -> None:
    path = PUBLISHED / f"market-annotation-{name}.csv"
    write_keypoint_csv(tmp_path / "again.csv", read_keypoint_csv(path))
    assert (tmp_path / "again.csv").read_text() == path.read_text()
