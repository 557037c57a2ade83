"""What a pose's text means, and the same person from every format."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from posegan.commands.transfer import _listed_jobs
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation
from posegan.formats.coco import write_coco
from posegan.formats.keypoint_csv import write_keypoint_csv
from posegan.formats.openpose import write_openpose
from posegan.formats.table import read_keypoints
from posegan.inference.jobs import as_person, read_aim
from posegan.inference.pose_texts import PoseText, Row, _rows, parse_pose, read_row
from posegan.people.detection import read_image
from posegan.people.placing import place_keypoints
from posegan.people.pose_library import library_pose
from posegan.skeleton import COCO_JOINTS, JOINTS


@pytest.fixture
def two() -> list[Annotation]:
    poses = {"0002_c1s1_000451_03.jpg": "walking-1/left", "0007_c2s3_070952_01.jpg": "standing/front"}
    return [Annotation(name, library_pose(pose, 128, 64).round(), 0.9) for name, pose in poses.items()]


def test_a_text_is_a_file_first_and_then_a_built_in_pose(tmp_path: Path) -> None:
    assert parse_pose("sitting/left", tmp_path) == PoseText("sitting/left")
    (tmp_path / "sitting").mkdir()
    assert parse_pose("sitting", tmp_path) == PoseText("sitting")  # a folder of results is called so
    assert parse_pose("./sitting", tmp_path).table == tmp_path / "sitting"
    (tmp_path / "sitting" / "left").write_bytes(b"")
    assert parse_pose("sitting/left", tmp_path).picture == tmp_path / "sitting/left"
    assert parse_pose("absent.jpg", tmp_path).picture == tmp_path / "absent.jpg"
    (tmp_path / "k.csv").write_text("x")
    assert parse_pose("k.csv#a.jpg", tmp_path) == PoseText("k.csv#a.jpg", None, tmp_path / "k.csv", "a.jpg")
    (tmp_path / "k#1.csv").write_text("x")
    assert parse_pose("k#1.csv#Ada/IMG#2.jpg", tmp_path) == PoseText("k#1.csv#Ada/IMG#2.jpg", None, tmp_path / "k#1.csv", "Ada/IMG#2.jpg")
    assert parse_pose("k.csv#IMG#2.jpg", tmp_path).row == "IMG#2.jpg"
    for nowhere in ("", " "):
        with pytest.raises(PoseGANError, match="expected a pose, a picture or FILE#IMAGE, got nothing"):
            parse_pose(nowhere, tmp_path)
    for unusable in ("a" * 300, "a\0b"):
        with pytest.raises(PoseGANError, match="no such file, and no built-in pose"):
            parse_pose(unusable, tmp_path)
    with pytest.raises(PoseGANError, match="flying: no such file, and no built-in pose; poses are standing"):
        parse_pose("flying", tmp_path)


def test_every_format_gives_the_same_row(tmp_path: Path, two: list[Annotation]) -> None:
    write_keypoint_csv(tmp_path / "k.csv", two)
    write_coco(tmp_path / "k.json", two, {})
    (tmp_path / "openpose").mkdir()
    write_openpose(tmp_path / "openpose", two)
    wanted = two[0].keypoints
    for text in ("k.csv#0002_c1s1_000451_03.jpg", "k.json#0002_c1s1_000451_03", "openpose#0002_c1s1_000451_03.jpg"):
        pose = parse_pose(text, tmp_path)
        assert pose.table is not None
        row = read_row(pose.table, pose.row)
        np.testing.assert_allclose(row.keypoints[:, :2], wanted[:, :2], atol=0.51)
        assert row.size is None
    [file] = (tmp_path / "openpose").glob("0007*")
    np.testing.assert_array_equal(read_row(file, "").keypoints[:, :2], two[1].keypoints[:, :2])


def test_a_table_knows_the_size(prepared) -> None:
    keypoints = read_keypoints(prepared.keypoints)
    number = keypoints.table["status"].to_pylist().index("ok")
    name = keypoints.table["image"][number].as_py()
    row = read_row(prepared.keypoints, name)
    np.testing.assert_array_equal(row.keypoints, keypoints.joints[number])
    assert row.size == (32, 64)
    assert np.array_equal(read_row(prepared.keypoints, name.split("/")[1]).keypoints, row.keypoints)


def test_what_is_wrong_with_a_row_is_said(tmp_path: Path, two: list[Annotation]) -> None:
    path = tmp_path / "k.csv"
    write_keypoint_csv(path, two)
    with pytest.raises(PoseGANError, match=r"has no row 9\.jpg; a row is named by its image, such as 0002_c1s1_000451_03\.jpg"):
        read_row(path, "9.jpg")
    with pytest.raises(PoseGANError, match="holds 2 rows; choose one as"):
        read_row(path, "")
    torso = two[0].keypoints.copy()
    torso[2] = 0
    write_keypoint_csv(tmp_path / "cut.csv", [two[0]._replace(keypoints=torso)])
    with pytest.raises(PoseGANError, match="shoulders and hips are not all there"):
        read_row(tmp_path / "cut.csv", "")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(PoseGANError, match="not a table of keypoints"):
        read_row(tmp_path / "broken.parquet", "x")
    (tmp_path / "other.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(PoseGANError, match="expected COCO's lists"):
        read_row(tmp_path / "other.json", "x")


def test_a_list_that_was_made_on_windows_names_files_here(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    (tmp_path / "people" / "ada.jpg").write_bytes(b"")
    (tmp_path / "list.csv").write_text("from,to\npeople\\ada.jpg,standing\npeople/ada.jpg,people\\ada.jpg\n")
    first, second = _listed_jobs(tmp_path / "list.csv", tmp_path / "out", "png")
    assert first.source == second.source == second.pose.picture == tmp_path / "people" / "ada.jpg"


def test_a_list_of_names_that_no_file_can_have_is_said(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(f"from,to\n{'a' * 300}.jpg,{'b' * 300}\n")
    with pytest.raises(PoseGANError, match=r"a{300}: could not be read \(File name too long\)"):
        read_image(tmp_path / ("a" * 300))
    with pytest.raises(PoseGANError, match="line 2: b{300}: no such file, and no built-in pose"):
        list(_listed_jobs(tmp_path / "pairs.csv", tmp_path / "out", "png"))


def test_a_list_names_files_by_the_rule_of_all_names(tmp_path: Path) -> None:
    for name in ("people/ada.JPG", "people/ben.png", "people/ben.jpg", "cy.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "list.csv").write_text("from,to\npeople/ada.jpg,CY.JPG\npeople\\ada,cy\npeople/ben,standing\n")
    first, second, third = _listed_jobs(tmp_path / "list.csv", tmp_path / "out", "png")
    assert (first.source, first.pose.picture) == (
        tmp_path / "people" / "ada.JPG",
        tmp_path / "CY.JPG",
    )  # the case of a name means something
    assert (second.source, second.pose.picture) == (tmp_path / "people" / "ada.JPG", tmp_path / "cy.jpg")
    assert third.source == tmp_path / "people" / "ben"  # two are called so


def test_joints_that_all_lie_outside_of_their_image_are_refused() -> None:
    joints = np.tile(np.float32([500, 20, 1]), (18, 1))
    with pytest.raises(
        PoseGANError, match=r"a\.jpg: every joint lies outside of the image, such as nose_x: 500 of 64x128; give the joints"
    ):
        as_person(Row(joints, None), "a.jpg", (64, 128))
    joints[3] = (30, 30, 1)
    assert as_person(Row(joints, None), "a.jpg", (64, 128)).keypoints[0, 0] == 500


def test_a_row_some_of_whose_joints_lie_outside_of_its_image_is_doubted(tmp_path: Path, two: list[Annotation]) -> None:
    """Width and height exchanged leave the head where it is; where all is outside, nobody can be drawn so."""
    pose, transfer = PoseText("k.json#a", table=tmp_path / "k.json", row=two[0].image), SimpleNamespace(size=(128, 64))

    def aim(size: tuple[int, int]) -> str:
        read_row.cache_clear()
        _rows.cache_clear()
        write_coco(tmp_path / "k.json", two, {two[0].image: size})
        return read_aim(pose, transfer, {}).doubt  # type: ignore[arg-type]

    assert not aim((64, 128))
    found = re.fullmatch(r"(\d+) of its (\d+) joints lie outside of the image, such as \w+_y: [\d.]+ of 128x64; (.*)", aim((128, 64)))
    assert found and int(found[1]) < int(found[2]) and found[3] == "are width and height exchanged? 64x128 would hold them"
    assert "of 60x40" in aim((60, 40)) and "exchanged" not in aim((60, 40))
    with pytest.raises(PoseGANError, match="k.json#a: every joint lies outside of the image"):
        aim((4, 4))


def test_fractions_of_an_image_need_its_size(tmp_path: Path, two: list[Annotation]) -> None:
    joints = from_ours(two[0].keypoints / np.array([64, 128, 1], np.float32))
    (tmp_path / "a.txt").write_text("0 .5 .5 1 1 " + " ".join(map(str, joints.ravel().tolist())))
    pose, transfer = PoseText("a.txt", table=tmp_path / "a.txt"), SimpleNamespace(size=(128, 64))
    with pytest.raises(PoseGANError, match="gives joints in fractions of an image and does not say its size; make a table of it"):
        read_aim(pose, transfer, {})  # type: ignore[arg-type]
    np.testing.assert_allclose(
        as_person(Row(np.full((18, 3), 0.25, np.float32), (1, 1)), "a.jpg", (64, 128)).keypoints,
        np.tile([16, 32, 0.25], (18, 1)),
        rtol=1e-6,
    )
    placed = read_aim(pose, transfer, {}, (64, 128)).keypoints  # type: ignore[arg-type]
    expected = place_keypoints(two[0].keypoints, (64, 128), 128, 64)
    seen = (placed[:, 2] > 0) & (expected[:, 2] > 0)
    assert seen.sum() >= 12
    np.testing.assert_allclose(placed[seen, :2], expected[seen, :2], atol=1)


def from_ours(joints: np.ndarray) -> np.ndarray:
    """The 17 of COCO."""
    return joints[[JOINTS.index(name) for name in COCO_JOINTS]]
