"""Keypoints from elsewhere: each format comes back as it went, means the right image, and is named where it is damaged."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline.__main__ import EXCHANGE, STAGES, cli
from pipeline.exchange import bare_names, rows_without_archive, write_annotations
from pipeline.pose.annotations import match_annotations, read_annotations
from pipeline.pose.rows import annotate_archive, keypoints_table
from pipeline.pose.stage import read_people
from pipeline.tables import read_counts, read_pairs
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation, nobody
from posegan.formats.coco import read_coco, write_coco
from posegan.formats.detect import FORMATS, detect_format
from posegan.formats.keypoint_csv import HEADER, read_keypoint_csv, write_keypoint_csv
from posegan.formats.openpose import read_openpose, write_openpose
from posegan.formats.pair_csv import read_pair_csv, write_pair_csv
from posegan.formats.table import read_keypoints
from posegan.skeleton import JOINTS, NECK, from_coco
from tests.support.small_market import Prepared, market

ROOT = Path(__file__).parents[1]
WRITTEN = [form for form in FORMATS if form != "table"]
NAMES = [f"bounding_box_test/{identity:04d}_c1s1_{identity:06d}_00.jpg" for identity in range(6)]


def people(decimals: int = 3) -> list[Annotation]:
    """Joints in and a little outside the image, some missing, one image without anybody."""
    generator = np.random.default_rng(0)
    points = generator.uniform(0, 1, (len(NAMES), 18, 3)) * (70, 140, 0.99) + (0, 0, 0.01)
    points[..., :2] = points[..., :2].round(decimals)
    points[..., 2] = points[..., 2].round(3)
    points[generator.random(points.shape[:2]) < 0.2] = 0
    joints = points.astype(np.float32)
    found = [Annotation(name, person, 0.75) for name, person in zip(NAMES, joints, strict=True)]
    return [*found[:-1], nobody(NAMES[-1])]


def with_derived_neck(joints: np.ndarray) -> np.ndarray:
    coco = [JOINTS.index(name) for name in JOINTS if name != "neck"]
    assert len(coco) == 17
    derived = joints.copy()
    right, left = joints[2], joints[5]
    derived[NECK] = (*(right[:2] + left[:2]) / 2, min(right[2], left[2])) if min(right[2], left[2]) > 0 else 0
    return derived


def test_csv_comes_back_in_whole_pixels(tmp_path: Path) -> None:
    whole = people(decimals=0)
    write_keypoint_csv(tmp_path / "a.csv", whole)
    for before, after in zip(whole, read_keypoint_csv(tmp_path / "a.csv"), strict=True):
        visible = before.keypoints[:, 2] > 0
        assert after.image == before.image
        assert np.array_equal(after.keypoints[:, 2] > 0, visible)
        assert np.array_equal(after.keypoints[visible, :2], before.keypoints[visible, :2])
        assert after.confidence == (1 if visible.any() else 0)
    write_keypoint_csv(tmp_path / "b.csv", read_keypoint_csv(tmp_path / "a.csv"))
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_a_joint_outside_the_image_is_not_written_as_missing(tmp_path: Path) -> None:
    keypoints = np.full((18, 3), (-0.7, -40.0, 0.5), np.float32)
    write_keypoint_csv(tmp_path / "a.csv", [Annotation("x.jpg", keypoints, 1.0)])
    assert (read_keypoint_csv(tmp_path / "a.csv")[0].keypoints == (0, 0, 1)).all()


def test_coco_comes_back_exactly_but_for_the_neck(tmp_path: Path) -> None:
    write_coco(tmp_path / "a.json", people(), {NAMES[0]: (64, 128)})
    for before, after in zip(people(), read_coco(tmp_path / "a.json"), strict=True):
        assert (after.image, after.confidence) == (before.image, before.confidence)
        assert np.allclose(after.keypoints, with_derived_neck(before.keypoints), atol=1e-5)
        others = [joint for joint in range(18) if joint != NECK]
        assert np.array_equal(after.keypoints[others], before.keypoints[others])
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["images"][0] == {"id": 1, "file_name": NAMES[0], "width": 64, "height": 128}
    for entry in written["annotations"]:
        visibilities, scores = entry["keypoints"][2::3], entry["keypoint_scores"]
        assert visibilities == [2 if score else 0 for score in scores]
        assert entry["num_keypoints"] == sum(visibility > 0 for visibility in visibilities)
    write_coco(tmp_path / "b.json", read_coco(tmp_path / "a.json"), {NAMES[0]: (64, 128)})
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_coco_corrected_by_hand_counts_by_its_visibilities(tmp_path: Path) -> None:
    points, scores = [20, 20, 0, 24, 18, 1, 16, 18, 2, *[0] * 42], [0.9, 0.0, 0.5, *[0.0] * 14]
    (tmp_path / "a.json").write_text(json.dumps([{"image_id": "a.jpg", "keypoints": points, "keypoint_scores": scores}]))
    (person,) = read_coco(tmp_path / "a.json")
    found = {JOINTS[joint]: person.keypoints[joint].tolist() for joint in np.flatnonzero(person.keypoints[:, 2])}
    assert found == {"left_eye": [24, 18, 1], "right_eye": [16, 18, 0.5]}  # the nose was taken out, the left eye put in
    for wrong in ([0.5], "high", [0.9, "high", *scores[2:]], [0.9, 0.0, 1e9, *scores[3:]]):
        (tmp_path / "a.json").write_text(json.dumps([{"image_id": "a.jpg", "keypoints": points, "keypoint_scores": wrong}]))
        with pytest.raises(PoseGANError, match="entry 0: keypoint_scores: expected a confidence"):
            read_coco(tmp_path / "a.json")


def test_openpose_comes_back_exactly_under_names_without_suffix(tmp_path: Path) -> None:
    write_openpose(tmp_path, people())
    for before, after in zip(people(), read_openpose(tmp_path), strict=True):
        assert after.image + ".jpg" == before.image
        assert np.array_equal(after.keypoints, before.keypoints)


def test_openpose_knows_two_bodies_and_the_middle_of_the_hips(tmp_path: Path) -> None:
    (person,) = people()[:1]
    (tmp_path / "x_keypoints.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": person.keypoints.ravel().tolist()}]}))
    assert np.array_equal(read_openpose(tmp_path)[0].keypoints, person.keypoints)
    everywhere = np.arange(54, dtype=np.float32).reshape(18, 3)
    everywhere[:, 2] = 0.5
    write_openpose(tmp_path, [Annotation("x.jpg", everywhere, 1.0)])
    body = np.array(json.loads((tmp_path / "x_keypoints.json").read_text())["people"][0]["pose_keypoints_2d"]).reshape(25, 3)
    assert np.array_equal(body[8, :2], (body[9, :2] + body[12, :2]) / 2)
    assert not body[19:].any()


BODY_25 = (
    "Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip", "RHip", "RKnee", "RAnkle", "LHip",
    "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar", "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
)  # fmt: skip


def test_openpose_joints_are_ours_by_name(tmp_path: Path) -> None:
    values = [value for joint in range(25) for value in (joint, joint, 1)]
    (tmp_path / "x_keypoints.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": values}]}))
    places = read_openpose(tmp_path)[0].keypoints[:, 0].astype(int)
    long = {"R": "right_", "L": "left_"}
    for place, joint in zip(places, JOINTS, strict=True):
        name = BODY_25[place]
        assert joint == (name.lower() if name in ("Nose", "Neck") else long[name[0]] + name[1:].lower())


def coco_person(image: int | str, scale: float, **more: object) -> dict[str, object]:
    points = [value for joint in range(17) for value in (joint * scale, joint * scale, 2)]
    return {"image_id": image, "keypoints": points, "category_id": 1, **more}


def test_one_person_an_image_the_best_scored_else_the_largest(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": 3, "file_name": "c.jpg"}]
    entries = [
        coco_person(1, 1.0, score=0.9), coco_person(1, 3.0, score=0.2),
        coco_person(2, 1.0), coco_person(2, 3.0), coco_person(2, 9.0, iscrowd=1),
        {"image_id": 3, "bbox": [0, 0, 9, 9]}, {"image_id": 3, "keypoints": [0] * 51, "bbox": [0, 0, 99, 99]},
    ]  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": entries}))
    first, second, third = read_coco(tmp_path / "a.json")
    assert (first.keypoints[10, 0], first.confidence) == (16, 0.9)  # the right ankle: the last of COCO, 10 of ours
    assert (second.keypoints[10, 0], second.confidence) == (48, 1.0)
    assert third.confidence == 0
    (tmp_path / "b.json").write_text(json.dumps([coco_person("a.jpg", 1.0, score=2.5)]))
    assert [(one.image, one.confidence) for one in read_coco(tmp_path / "b.json")] == [("a.jpg", 1.0)]
    big, small = ([value for joint in range(25) for value in (joint * scale, joint, 0.5)] for scale in (3, 1))
    folder = tmp_path / "openpose"
    folder.mkdir()
    (folder / "a_keypoints.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": small}, {"pose_keypoints_2d": big}]}))
    assert read_openpose(folder)[0].keypoints[16, 0] == 17 * 3


def test_a_visibility_of_0_is_missing_whatever_its_place_says(tmp_path: Path) -> None:
    entry = coco_person("a.jpg", 1.0)
    points = np.array(entry["keypoints"]).reshape(17, 3)
    points[5] = (7, 7, 0)  # left shoulder, and with it the neck
    (tmp_path / "a.json").write_text(json.dumps([{**entry, "keypoints": points.ravel().tolist()}]))
    joints = read_coco(tmp_path / "a.json")[0].keypoints
    assert not joints[5].any() and not joints[NECK].any()
    assert np.array_equal(joints, from_coco(np.where(points[:, 2:] > 0, np.minimum(points, (99, 99, 1)), 0).astype(np.float32)))


Y = "[" + ", ".join(["1"] * 18) + "]"


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.csv", "name,y,x\n", "line 1: expected the header"),
        ("a.csv", "", "line 1: expected the header"),
        ("a.csv", f"a.jpg: {Y}: {Y}\n", r"line 1: expected the header .*a row already; put that header above it"),
        ("a.csv", f"{HEADER}\na.jpg: {Y}: {Y}\nb.jpg: {Y}\n", r"line 3: expected name:\[y"),
        ("a.csv", f"{HEADER}\na.jpg: {Y}: [1, 2]\n", "line 2: expected a list of 18 numbers"),
        ("a.csv", f"{HEADER}\na.jpg: {Y}: {Y.replace('1', 'nan')}\n", "line 2: expected a list of 18 numbers"),
        ("a.csv", f"{HEADER}\na.jpg: {Y}: [__import__('os').abort()]\n", "line 2: expected a list of 18 numbers"),
        ("a.csv", f"{HEADER}\na.jpg: {Y}: {Y}\na.jpg: {Y}: {Y}\n", "line 3: a.jpg stands in line 2 already"),
        ("a.json", '{"images": [],\n"annotations": [}', "line 2: not JSON"),
        ("a.json", '{"images": []}', "top level: expected COCO"),
        ("a.json", '{"images": [{"id": 1}], "annotations": []}', r"images\[0\]: expected an id and a file_name"),
        ("a.json", '{"images": [], "annotations": [{"image_id": 4}]}', r"annotations\[0\]: expected the image_id"),
        ("a.json", '[{"image_id": 4.5, "keypoints": []}]', "entry 0: expected an image_id that is a file name"),
        ("a.json", '[{"image_id": "a.jpg", "keypoints": [1, 2]}]', "entry 0: keypoints: expected 17 times"),
        ("a.json", json.dumps([coco_person("a.jpg", 1.0, score="high")]), "entry 0: score: expected a number"),
        ("a.json", json.dumps([coco_person("a.jpg", 1.0, score=float("nan"))]), "entry 0: score: expected a number"),
        ("a.json", json.dumps([coco_person("a.jpg", 1.0, bbox=[1])]), "entry 0: bbox: expected"),
        ("o/x_keypoints.json", '{"people": [{"pose_keypoints_2d": [1, 2]}]}', r"people\[0\]: pose_keypoints_2d: expected"),
        ("o/x_keypoints.json", '{"people": [7]}', r"people\[0\]: expected a person"),
        ("o/x_keypoints.json", "[]", "top level: expected OpenPose"),
        ("a.txt", "0 .5 .5 .9 .9 " + "1 " * 51 + "\n0 .5 .5 .9 high " + "1 " * 51, "line 2: expected a YOLO label"),
        ("r/x.json", '[{"keypoints": {"x": [1], "y": []}}]', "person 0: expected keypoints of numbers"),
    ],
)
def test_a_damaged_file_is_named_with_its_place(tmp_path: Path, name: str, content: str, place: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(PoseGANError, match=rf"{path.name}, {place}.*; mend or remove"):
        read_annotations(path.parent if path.parent != tmp_path else path)


@pytest.mark.parametrize("content", ["[" * 100_000, json.dumps([coco_person("a.jpg", 10**400)])], ids=["deep", "huge"])
def test_what_no_program_writes_is_damage_too(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(PoseGANError, match=r"a\.json, (top level: lists within lists|entry 0: keypoints: expected 17 times)"):
        read_coco(tmp_path / "a.json")


def test_formats_are_known_by_their_content(prepared: Prepared, tmp_path: Path) -> None:
    for form in WRITTEN:
        write_annotations(tmp_path / form, read_keypoints(prepared.keypoints), form, "train")
        assert detect_format(tmp_path / form) == form
    assert detect_format(prepared.keypoints) == "table"
    with pytest.raises(PoseGANError, match="no file or folder"):
        detect_format(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoseGANError, match=r"holds no file <image>_keypoints\.json"):
        read_annotations(tmp_path / "empty")


def test_an_annotation_means_its_path_or_every_image_of_its_name() -> None:
    members = ["bounding_box_test/a.jpg", "bounding_box_train/a.jpg", "bounding_box_train/b.jpg.jpg"]
    assert sorted(match_annotations([nobody("a.jpg")], members).people) == members[:2]
    assert sorted(match_annotations([nobody("bounding_box_train/a.jpg"), nobody("b.jpg")], members).people) == members[1:]
    assert sorted(match_annotations([nobody("bounding_box_test/a")], members).people) == members[:1]
    assert sorted(match_annotations([nobody("/home/me/images/a.jpg")], members).people) == members[:2]
    assert sorted(match_annotations([nobody("D:\\market\\bounding_box_train\\a.jpg")], members).people) == members[1:2]
    assert match_annotations([nobody("query/a.jpg")], members).absent == ["query/a.jpg"]
    assert match_annotations([nobody("c.jpg"), nobody("a.jpg")], members).absent == ["c.jpg"]
    with pytest.raises(PoseGANError, match="annotated twice, as a.jpg and as bounding_box_test/a.jpg"):
        match_annotations([nobody("a.jpg"), nobody("bounding_box_test/a.jpg")], members)


@pytest.mark.parametrize("form", ["table", *WRITTEN])
def test_the_table_comes_back_through_every_format(prepared: Prepared, tmp_path: Path, form: str) -> None:
    before = read_keypoints(prepared.keypoints)
    source = prepared.keypoints
    if form != "table":
        write_annotations(source := tmp_path / form, before, form, "all")
    with zipfile.ZipFile(prepared.raw) as archive:
        people, absent = read_people([source], before.table["image"].to_pylist())
        after = keypoints_table(list(annotate_archive(archive, people)))
    assert not absent
    for column in ("image", "split", "identity", "camera", "width", "height", "status"):
        assert after[column].to_pylist() == before.table[column].to_pylist()
    x = after["left_knee_x"].to_numpy(zero_copy_only=False)
    expected = before.joints[:, JOINTS.index("left_knee"), 0]
    known = expected > 0
    assert np.array_equal(x[known], np.rint(expected[known]) if form == "csv" else expected[known])


def test_images_and_annotations_without_each_other_are_counted_and_never_lost(tmp_path: Path) -> None:
    raw = market(tmp_path / "raw.zip", identities=2, images=2)
    with zipfile.ZipFile(raw) as archive:
        images = [name for name in archive.namelist() if name.endswith("0002_c1s1_000000_01.jpg")]
    write_keypoint_csv(tmp_path / "a.csv", [people()[0]._replace(image=images[0].split("/")[1]), nobody("elsewhere.jpg")])
    result = run("import-keypoints", tmp_path / "a.csv", "--raw", raw, "--out", tmp_path / "k.parquet")
    assert result.exit_code == 0, result.output
    assert "1 annotations without an image, such as elsewhere.jpg" in result.output
    table = read_keypoints(tmp_path / "k.parquet").table
    counts = read_counts(table)
    assert counts["annotations_without_image"] == 1
    assert sum(counts[status] for status in ("ok", "no_person", "unreadable", "bad_name")) == table.num_rows == 10
    assert (counts["ok"], counts["unannotated"]) == (1, counts["no_person"])
    write_keypoint_csv(tmp_path / "b.csv", [nobody("elsewhere.jpg")])
    result = run("import-keypoints", tmp_path / "b.csv", "--raw", raw, "--out", tmp_path / "never.parquet")
    assert result.exit_code == 1
    assert "annotate none of the images, such as elsewhere.jpg" in result.output
    assert not (tmp_path / "never.parquet").exists()


def test_annotations_of_other_names_are_refused_where_most_is_lost(tmp_path: Path) -> None:
    members = [f"bounding_box_train/{number}.jpg" for number in "abcdefgh"]
    names = ["a.jpg", "b.jpg", "x.jpg", "y.jpg", "z.jpg"]
    write_keypoint_csv(tmp_path / "a.csv", map(nobody, names))
    with pytest.raises(
        PoseGANError, match=r"3 of 5 annotations mean no image, such as x\.jpg, and 6 of 8 images have none; .*train/a\.jpg"
    ):
        read_people([tmp_path / "a.csv"], members)
    assert len(read_people([tmp_path / "a.csv"], members[:4]).absent) == 3  # most images are annotated, by a file of more
    write_keypoint_csv(tmp_path / "b.csv", map(nobody, names[:3]))
    assert len(read_people([tmp_path / "b.csv"], members).absent) == 1  # most annotations mean an image, of an archive of more
    (tmp_path / "c.json").write_text(json.dumps([coco_person(12, 1.0)]))
    with pytest.raises(PoseGANError, match=r"annotate none .*such as 12; .*train/a\.jpg; 12 is a number, .*leading zeros"):
        read_people([tmp_path / "c.json"], members)
    assert list(read_people([tmp_path / "c.json"], [*members, "query/000012.jpg"]).people) == ["query/000012.jpg"]


def test_the_pose_stage_takes_annotations_instead_of_a_detector(prepared: Prepared, tmp_path: Path) -> None:
    params = (ROOT / "params.yaml").read_text().replace("source: detector ", "source: annotations ")
    params = params.replace("annotations: [] ", f"annotations: [{prepared.keypoints}] ").replace("posegan/weights/", "no/such/folder/")
    (tmp_path / "params.yaml").write_text(params)
    result = run("pose", "--params", tmp_path / "params.yaml", "--raw", prepared.raw, "--out", tmp_path / "k.parquet")
    assert result.exit_code == 0, result.output
    assert "38 images in: 35 ok, 1 no_person, 1 unreadable, 1 bad_name" in result.output
    before = read_keypoints(prepared.keypoints).joints
    doubtful = before[..., 2:] < np.float32(0.3)  # pose.joint_confidence
    assert 0 < doubtful.sum() < doubtful.size
    assert np.array_equal(read_keypoints(tmp_path / "k.parquet").joints, np.where(doubtful, 0, before))


def test_without_the_images_a_size_and_the_names_make_the_rows(tmp_path: Path) -> None:
    table = keypoints_table(rows_without_archive([*people(), nobody("0007_c1s1_000000_00"), nobody("odd.jpg")], (64, 128), "train"))
    assert table["image"].to_pylist() == [*NAMES, "bounding_box_train/0007_c1s1_000000_00.jpg", "bounding_box_train/odd.jpg"]
    assert table["split"].to_pylist() == ["test"] * 6 + ["train"] * 2
    assert table["status"].to_pylist() == ["ok"] * 5 + ["no_person", "no_person", "bad_name"]
    assert set(table["height"].to_pylist()) == {128}
    write_keypoint_csv(tmp_path / "a.csv", people())
    result = run("import-keypoints", tmp_path / "a.csv", "--size", "64x128", "--out", tmp_path / "k.parquet")
    assert "6 images in: 5 ok, 1 no_person" in result.output
    assert run("import-keypoints", tmp_path / "a.csv", "--size", "64", "--out", tmp_path / "k.parquet").exit_code == 2
    with pytest.raises(PoseGANError, match="annotated twice"):
        rows_without_archive([nobody("a.jpg"), nobody("bounding_box_train/a.jpg")], (64, 128), "train")


def test_exported_names_are_bare_and_must_differ(prepared: Prepared, tmp_path: Path) -> None:
    result = run("export-keypoints", tmp_path / "a.csv", "--format", "csv", "--keypoints", prepared.keypoints, "--split", "train")
    assert result.exit_code == 0, result.output
    names = [annotation.image for annotation in read_keypoint_csv(tmp_path / "a.csv")]
    assert len(names) == 17 and not any("/" in name for name in names)
    with pytest.raises(PoseGANError, match="same file name"):
        bare_names(["bounding_box_test/a.jpg", "query/a.jpg"])


def test_pairs_are_exported_in_the_tables_order_and_come_back(prepared: Prepared, tmp_path: Path) -> None:
    result = run("export-pairs", tmp_path / "a.csv", "--pairs", prepared.pairs)
    assert result.exit_code == 0, result.output
    table = read_pairs(prepared.pairs).to_pandas().query("split == 'test'")
    pairs = read_pair_csv(tmp_path / "a.csv")
    assert [pair.source for pair in pairs] == table.source.str.split("/").str[1].tolist()
    assert [pair.target for pair in pairs] == table.target.str.split("/").str[1].tolist()
    write_pair_csv(tmp_path / "b.csv", [(pair.source, pair.target) for pair in pairs])
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


@pytest.mark.parametrize(
    ("content", "place"), [("one,two\n", "line 1: expected the header"), ("from,to\na,b\na\n", "line 3: expected two names")]
)
def test_a_damaged_list_of_pairs_is_named_with_its_place(tmp_path: Path, content: str, place: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(PoseGANError, match=rf"a\.csv, {place}.*; mend"):
        read_pair_csv(tmp_path / "a.csv")
    with pytest.raises(PoseGANError, match="no such file"):
        read_pair_csv(tmp_path / "b.csv")
    with pytest.raises(PoseGANError, match="could not be read"):
        read_pair_csv(tmp_path)


def test_the_exchange_is_listed_under_its_own_heading() -> None:
    output = run().output
    heading = output.index("to and from other programs")
    assert all(output.index(f"\n  {stage} ") < heading for stage in STAGES)
    assert all(output.index(f"\n  {command} ") > heading for command in EXCHANGE)
    for command in EXCHANGE:
        assert run(command, "--help").exit_code == 0


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])
