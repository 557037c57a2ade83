"""What is hard to believe in a table of keypoints is counted by name, and what cannot be believed at all is refused."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipeline.__main__ import cli
from pipeline.doubts import doubts, exchanged_sides, refuse_unbelievable, told
from pipeline.inspect.changes import compare_tables, exchanged_between
from pipeline.inspect.command import read_tables
from pipeline.inspect.doubts import doubts_section
from pipeline.pose.rows import Row, keypoints_table
from pipeline.raw_archive import parse_name
from pipeline.tables import write_table
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation
from posegan.formats.keypoint_csv import write_keypoint_csv
from posegan.formats.plausible import are_shares
from posegan.formats.table import Keypoints, keypoints_of, with_photo_files
from posegan.inference.pose_texts import read_row
from posegan.skeleton import HEAD, MIRROR
from tests.support.small_market import pair_config

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 64, 128
X = (32, 32, 22, 20, 18, 42, 44, 46, 26, 26, 26, 38, 38, 38, 30, 34, 28, 36)
Y = (20, 30, 30, 45, 60, 30, 45, 60, 64, 90, 115, 64, 90, 115, 18, 18, 19, 19)
FRONTAL = np.stack([X, Y, np.full(18, 0.9)], axis=1).astype(np.float32)
BODY = [joint for joint in range(18) if joint not in HEAD]


def people(count: int = 24) -> np.ndarray:
    """Frontal people (count, 18, 3), each a little elsewhere."""
    shift = np.random.default_rng(0).uniform(-3, 3, (count, 1, 3)) * (1, 1, 0)
    return (FRONTAL + shift).astype(np.float32)


def name(number: int) -> str:
    return f"bounding_box_train/{number // 2 + 1:04d}_c{number % 2 + 1}s1_{number:06d}_01.jpg"


def keypoints_table_of(joints: np.ndarray, size: tuple[int, int] = (WIDTH, HEIGHT)) -> pa.Table:
    return keypoints_table(
        [
            Row(name(row), "train", parse_name(name(row)), size, "ok", None, Annotation(name(row), person, 0.9))
            for row, person in enumerate(joints)
        ]
    )


def table(joints: np.ndarray, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Keypoints:
    return keypoints_of(keypoints_table_of(joints, size))


def found(keypoints: Keypoints) -> dict[str, int]:
    return {doubt.name.split()[0]: int(doubt.images.sum()) for doubt in doubts(keypoints) if doubt.told}


def mirrored(joints: np.ndarray, part: list[int] | slice = slice(None)) -> np.ndarray:
    result = joints.copy()
    result[:, part] = joints[:, np.array(MIRROR)[part]]
    return result


def test_nothing_is_said_of_good_people_seen_from_any_side() -> None:
    behind = people() * (-1, 1, 1) + (WIDTH, 0, 0)
    behind[:, [0, 14, 15]] = 0  # who turns the back shows no face
    for joints in (people(), behind.astype(np.float32)):
        assert told(table(joints)) == ""
        refuse_unbelievable("k", table(joints))


@pytest.mark.parametrize("part", [slice(None), list(HEAD), BODY])
def test_exchanged_sides_are_found_wherever_they_are(part: list[int] | slice) -> None:
    joints = people()
    joints[::3] = mirrored(joints[::3], part)
    wrong, frontal = exchanged_sides(joints)
    assert frontal.all()
    assert np.flatnonzero(wrong).tolist() == list(range(0, 24, 3))
    text = told(table(joints))
    assert f"left and right exchanged: 8 of 24 images (33.3%), such as row 0 ({name(0)}), right_" in text


def test_the_check_is_of_no_size() -> None:
    for scale in (0.25, 1, 40):
        assert exchanged_sides(mirrored(people() * (scale, scale, 1)))[0].all()


def test_exchange_shows_by_camera_and_against_the_other_table(tmp_path: Path) -> None:
    joints = people()
    joints[1::2] = mirrored(joints[1::2])  # camera 2
    paths = []
    for label, some in (("right", people()), ("wrong", joints)):
        write_table(tmp_path / f"{label}.parquet", keypoints_table_of(some), {})
        paths.append(tmp_path / f"{label}.parquet")
    right, wrong = (read_tables(path, pair_config()) for path in paths)
    assert [list(row) for row in doubts_section(wrong).tables[1].rows] == [["1", "0", "12", "0.0%"], ["2", "12", "12", "100.0%"]]
    assert exchanged_between(wrong, right, compare_tables(wrong, right)).tolist() == [False, True] * 12
    assert not exchanged_between(right, right, compare_tables(right, right)).any()
    out = tmp_path / "page.html"
    arguments = ["inspect", "--params", ROOT / "params.yaml", "--keypoints", paths[1], "--against", paths[0], "--pairs", "none"]
    result = CliRunner().invoke(cli, [*map(str, arguments), "--raw", "none", "--pictures", "0", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "left and right exchanged: 12 of 24 images" in result.output
    assert "Left and right are exchanged between the tables in 12 of 24 images" in out.read_text()


def test_joints_outside_say_what_may_be_exchanged() -> None:
    assert "are x and y exchanged?" in told(table(people()[..., [1, 0, 2]]))
    assert "are width and height exchanged? 64x128 would hold them" in told(table(people(), (HEIGHT, WIDTH)))
    larger = told(table((people() * (2, 2, 1)).astype(np.float32)))
    assert "joints outside of the image: 24 of 24 images" in larger
    assert "are they those of images of another size?" in larger


def test_every_doubt_names_the_first_row_and_its_columns(tmp_path: Path) -> None:
    """As a refusal does: rows from 0, the image, the columns with what stands in them; so too on the page."""
    joints = people()
    joints[3, 13, 1] = 200
    outside = f"row 3 ({name(3)}), left_ankle_y: 200"
    assert f"joints outside of the image: 1 of 24 images (4.2%), such as {outside} (of 64x128; " in told(table(joints))
    write_table(tmp_path / "k.parquet", keypoints_table_of(joints), {})
    assert any(outside in str(row[-1]) for row in doubts_section(read_tables(tmp_path / "k.parquet", pair_config())).tables[0].rows)
    eyes = people().round(3)
    eyes[5] = mirrored(eyes[5:6], list(HEAD))[0]
    right, left = eyes[5, [14, 15], 0]
    assert f"such as row 5 ({name(5)}), right_eye_x: {right:g}, left_eye_x: {left:g} (the face" in told(table(eyes))
    lying = table(people().round()[..., [1, 0, 2]], (HEIGHT, HEIGHT))
    assert f"such as row 0 ({name(0)}), right_shoulder_x: " in told(lying)
    own = Keypoints(with_photo_files(lying.table, {name(0): "Ada/IMG_0001.JPG"}), lying.joints)
    assert f"such as row 0 ({name(0)}, Ada/IMG_0001.JPG), right_shoulder_x: " in told(own)


def test_in_a_square_image_too_bodies_that_lie_or_stand_on_their_head_are_told() -> None:
    square = (HEIGHT, HEIGHT)
    assert found(table(people()[..., [1, 0, 2]], square))["bodies"] == 24
    assert found(table((people() * (1, -1, 1) + (32, HEIGHT, 0)).astype(np.float32), square)) == {"shoulders": 24}
    some = people()
    some[0] = some[0][:, [1, 0, 2]]  # somebody may lie
    assert found(table(some, square)) == {}


def test_joints_of_smaller_images_are_told() -> None:
    assert found(table(people(), (2 * WIDTH, 2 * HEIGHT))) == {"joints": 24}


def test_split_and_identity_that_contradict_the_name_are_told() -> None:
    rows = keypoints_table_of(people())
    for column, value in (("split", "test"), ("identity", 77)):
        values = rows[column].to_pylist()
        values[5] = value
        field = rows.schema.field(column)
        changed = rows.set_column(rows.schema.get_field_index(column), field, pa.array(values, field.type))
        assert "; split or identity unlike the name's: 1 of 24 images (4.2%), such as row 5 (" in told(keypoints_of(changed))


def test_joints_that_others_write_nowhere_are_told() -> None:
    joints = people()
    joints[3, 4, :2], joints[5, 16, :2] = 0, -2
    words = r"; joints at 0, 0: 2 of 24 images \(8\.3%\), such as row 3 .*, right_wrist_x: 0 \(are they missing\? write confidence 0"
    assert re.search(words, told(table(joints)))
    joints[3, 4], joints[5, 16] = 0, 0
    assert found(table(joints)) == {}


def test_shares_are_refused_or_counted() -> None:
    shares = (people() / (WIDTH, HEIGHT, 1)).astype(np.float32)
    assert are_shares(shares).all()
    assert not are_shares(people()).any()
    with pytest.raises(PoseGANError, match=r"k: all coordinates lie within 0\.\.1; multiply"):
        refuse_unbelievable("k", table(shares))
    mixed = np.concatenate([people(23), shares[:1]])
    assert "within 0..1, as shares of the image: 1 of 24 images" in told(table(mixed))
    refuse_unbelievable("k", table(mixed))


def test_a_table_whose_every_joint_is_outside_is_refused() -> None:
    far = people() + np.array([1000, 0, 0], np.float32)
    with pytest.raises(
        PoseGANError, match=r"every joint lies outside of its image, such as row 0 \(.*0001_c1s1_000000_01\.jpg\), nose_x: 103.* of 64x128;"
    ):
        refuse_unbelievable("k", table(far))


def test_shares_are_refused_wherever_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_keypoint_csv(path, [Annotation("0002_c1s1_000451_03.jpg", FRONTAL, 1.0)])
    lines = path.read_text().splitlines()
    first, y, x = lines[1].split(": ")
    y, x = (str([int(value) / side for value in text.strip("[]").split(",")]) for text, side in ((y, HEIGHT), (x, WIDTH)))
    path.write_text("\n".join([lines[0], ": ".join([first, y, x])]))
    with pytest.raises(PoseGANError, match=r"a\.csv: all coordinates lie within 0\.\.1"):
        read_row(path, "")
    result = CliRunner().invoke(cli, ["import-keypoints", str(path), "--size", "64x128", "--out", str(tmp_path / "k.parquet")])
    assert result.exit_code == 1
    assert "all coordinates lie within 0..1" in result.output
    assert not (tmp_path / "k.parquet").exists()


def test_joints_of_narrower_images_stand_in_the_left_part_alone() -> None:
    keypoints = table(people(), (WIDTH + 40, HEIGHT))  # as where the published images were cut and these were not
    (doubt,) = [doubt for doubt in doubts(keypoints) if doubt.told]
    assert (doubt.name, int(doubt.images.sum())) == ("joints in the image's left part only", 24)
    assert "are they those of narrower images?" in told(keypoints)
    assert not found(table(people(12), (WIDTH + 40, HEIGHT)))  # too few to say
    assert not found(table(people()))
    in_the_middle = people() + np.array([40, 0, 0], np.float32)
    assert not found(table(in_the_middle, (WIDTH + 80, HEIGHT)))
