"""Files of keypoints of every program: the same person comes out of each, and what is not read is named with the way out."""

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.__main__ import cli
from pipeline.pose.annotations import match_annotations, read_annotations, without_doubtful
from pipeline.pose.rows import annotate_archive, keypoints_table
from pipeline.pose.stage import write_keypoints
from posegan.errors import PoseGANError
from posegan.formats.annotation import FRACTIONS, Annotation, in_pixels
from posegan.formats.detect import detect_format
from posegan.inference.pose_texts import read_row
from posegan.skeleton import COCO_JOINTS, JOINTS, LEFT_SHOULDER, MIRROR, NECK, from_coco
from tests.support.small_market import market

NAME = "0002_c1s1_000451_03"
WIDTH, HEIGHT = 64, 128
COCO = np.array([[3 * joint + 1, 5 * joint + 2, 0.5] for joint in range(17)], np.float32)  # another place for each joint
OURS = from_coco(COCO)
BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
MEDIAPIPE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)


def flat(points: np.ndarray) -> list[float]:
    return [float(value) for value in points.ravel()]


def doubled(joints: np.ndarray) -> np.ndarray:
    """The same places in an image of twice the width and height, whose first pixel's centre lies nearer to the edge."""
    return np.hstack([joints[:, :2] * 2 + 0.5, joints[:, 2:]])


def body_25() -> list[float]:
    body = np.zeros((25, 3), np.float32)
    body[list(BODY_25)] = OURS
    return flat(body)


def fractions() -> np.ndarray:
    return COCO / np.array([WIDTH, HEIGHT, 1], np.float32)


def landmarks() -> list[dict[str, float]]:
    points = [{"x": 0.9, "y": 0.9, "z": 0.0, "visibility": 0.9} for _ in range(33)]
    for place, (x, y, confidence) in zip(MEDIAPIPE, fractions().tolist(), strict=True):
        points[place] = {"x": x, "y": y, "z": 0.1, "visibility": confidence}
    return points


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode())
    return path


def person(**more: object) -> dict[str, object]:
    return {"image_id": f"{NAME}.jpg", "category_id": 1, "keypoints": flat(COCO), "score": 0.9, **more}


def coco(**more: object) -> dict[str, object]:
    entry = {**person(), "image_id": 7, **more}
    return {"images": [{"id": 7, "file_name": f"{NAME}.jpg", "width": WIDTH, "height": HEIGHT}], "annotations": [entry]}


def named(names: Sequence[str]) -> dict[str, object]:
    """COCO's file, its joints called so."""
    return {**coco(), "categories": [{"id": 1, "name": "person", "keypoints": list(names)}]}


def mmpose(**more: object) -> dict[str, object]:
    return {"keypoints": COCO[:, :2].tolist(), "keypoint_scores": COCO[:, 2].tolist(), "bbox": [[1, 2, 30, 100]], "bbox_score": 0.9, **more}


def ultralytics(**more: object) -> dict[str, object]:
    x, y, visible = COCO.T.tolist()
    return {"name": "person", "class": 0, "confidence": 0.9, "box": {"x1": 1}, "keypoints": {"x": x, "y": y, "visible": visible}, **more}


OPENPOSE = {"people": [{"pose_keypoints_2d": body_25()}]}
CONTROLNET = {"people": [{"pose_keypoints_2d": flat(OURS)}], "canvas_width": WIDTH, "canvas_height": HEIGHT}
DOUBLED = {
    "people": [{"pose_keypoints_2d": flat(doubled(OURS))}],
    "canvas_width": 2 * WIDTH,
    "canvas_height": 2 * HEIGHT,
}
AS_FRACTIONS = {**CONTROLNET, "people": [{"pose_keypoints_2d": flat(OURS / np.array([WIDTH, HEIGHT, 1]))}]}
LABEL = "0 .5 .5 .9 .9 " + " ".join(map(str, flat(fractions())))
FILES = {
    "COCO": ("x.json", coco()),
    "COCO of twice the size": ("x.json", coco(keypoints=flat(doubled(COCO)))),
    "predictions.json": ("predictions.json", [person(category_id=0, file_name=f"{NAME}.jpg", image_id=NAME)]),
    "AlphaPose": ("alphapose-results.json", [person(score=2.7, box=[1.0, 2.0, 30.0, 100.0], idx=[0.0])]),
    "a list with scores": ("x.json", [person(keypoint_scores=COCO[:, 2].tolist())]),
    "categories in words": ("x.json", [person(category_id="person"), person(category_id="dog", score=1.0, keypoints=[1.0, 1.0, 1.0] * 17)]),
    "categories as floats": ("x.json", [person(category_id=1.0), person(category_id=2.0, score=1.0, keypoints=[1.0, 1.0, 1.0] * 17)]),
    "no category": ("x.json", [person(category_id=None), person(category_id=1, score=0.1, keypoints=[1.0, 1.0, 1.0] * 17)]),
    "Halpe": ("x.json", [person(keypoints=flat(COCO) + [1.0, 1.0, 0.9] * 9)]),
    "whole body": ("x.json", [person(keypoints=flat(COCO) + [1.0, 1.0, 0.9] * 116)]),
    "nested": ("x.json", [person(keypoints=COCO.tolist())]),
    "OpenPose": (f"o/{NAME}_keypoints.json", OPENPOSE),
    "OpenPose before 1.2": (f"o/{NAME}_keypoints.json", {"people": [{"pose_keypoints": flat(OURS)}]}),
    "AlphaPose as OpenPose": ("x.json", {f"{NAME}.jpg": {"version": "AlphaPose v0.3", "people": [{"pose_keypoints_2d": flat(OURS)}]}}),
    "AlphaPose as CMU": (f"o/{NAME}.json", {"version": "AlphaPose v0.3", "bodies": [{"joints": flat(OURS)}]}),
    "ControlNet": (f"o/{NAME}.json", CONTROLNET),
    "ControlNet's list": (f"o/{NAME}.json", [CONTROLNET]),
    "ControlNet, twice the size": (f"o/{NAME}.json", [DOUBLED]),
    "ControlNet in fractions": (f"o/{NAME}.json", AS_FRACTIONS),
    "YOLO": (f"o/{NAME}.txt", LABEL),
    "YOLO's predictions": (f"o/{NAME}.txt", f"{LABEL} 0.9\n"),
    "mmpose": (f"o/{NAME}.json", [mmpose()]),
    "mmpose's demo": (f"o/results_{NAME}.json", {"meta_info": {}, "instance_info": [mmpose()]}),
    "mmpose's video": (f"o/{NAME}.json", {"instance_info": [{"frame_id": 0, "instances": [mmpose()]}]}),
    "ultralytics": (f"o/{NAME}.json", [ultralytics()]),
    "MediaPipe": (f"o/{NAME}.json", landmarks()),
    "MediaPipe's people": (f"o/{NAME}.json", {"pose_landmarks": [landmarks()]}),
}


@pytest.mark.parametrize("program", FILES)
def test_the_same_person_comes_out_of_every_programs_file(tmp_path: Path, program: str) -> None:
    name, content = FILES[program]
    path = write(tmp_path / name, content)
    if program == "COCO of twice the size":
        text = path.read_text().replace(f'"width": {WIDTH}, "height": {HEIGHT}', f'"width": {2 * WIDTH}, "height": {2 * HEIGHT}')
        path.write_text(text)
    for place in {path, path.parent if path.parent != tmp_path else path}:
        [annotation] = read_annotations(place)
        found = in_pixels(annotation, (WIDTH, HEIGHT))
        np.testing.assert_allclose(found.keypoints, OURS, rtol=0, atol=2e-4)
        assert list(match_annotations([annotation], [f"bounding_box_train/{NAME}.jpg"]).people)


@pytest.mark.parametrize(
    "spell",
    [
        str,
        str.upper,
        lambda name: name.replace("_", " "),
        lambda name: name.replace("left_", "L").replace("right_", "R"),
        lambda name: f"{name.split('_')[1]}.{name[0]}" if "_" in name else name,
    ],
)
def test_categories_decide_the_order_whatever_it_is(tmp_path: Path, spell: Callable[[str], str]) -> None:
    order = np.random.default_rng(0).permutation(17)
    names = [spell(COCO_JOINTS[joint]) for joint in order]
    content = {**coco(keypoints=flat(COCO[order])), "categories": [{"id": 1, "name": "person", "keypoints": names}]}
    np.testing.assert_allclose(read_annotations(write(tmp_path / "x.json", content))[0].keypoints, OURS, atol=1e-4)


def test_categories_may_have_a_neck_and_lack_joints(tmp_path: Path) -> None:
    names = ["top_head", "neck", "left_shoulder", "right_shoulder", "left_hip", "right_hip"]
    points = np.arange(18, dtype=np.float32).reshape(6, 3) + 1
    category = {"id": 1, "name": "person", "keypoints": names}
    joints = read_annotations(write(tmp_path / "x.json", {**coco(keypoints=flat(points)), "categories": [category]}))[0].keypoints
    assert joints[NECK].tolist() == [4, 5, 1] and joints[LEFT_SHOULDER].tolist() == [7, 8, 1]
    assert (joints[:, 2] > 0).sum() == 5
    category["keypoints"] = [f"point {number}" for number in range(6)]
    path = write(tmp_path / "y.json", {**coco(keypoints=flat(points)), "categories": [category]})
    with pytest.raises(PoseGANError, match="6 joints, 18 numbers, expected 17 or .*name left_shoulder and the like in its category"):
        read_annotations(path)


def test_categories_decide_who_is_a_person(tmp_path: Path) -> None:
    dog = {**person(image_id=7, category_id=18, score=1.0), "keypoints": flat(COCO + 1)}
    content = {**coco(), "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "Person"}]}
    content["annotations"] = [dog, *content["annotations"]]  # type: ignore[misc]
    np.testing.assert_allclose(read_annotations(write(tmp_path / "x.json", content))[0].keypoints, OURS, atol=1e-4)
    content["categories"] = [{"id": 18, "name": "dog"}, {"id": 1, "name": "cat"}]
    with pytest.raises(PoseGANError, match=r"none is called person \(cat, dog\)"):
        read_annotations(write(tmp_path / "y.json", content))
    [found] = read_annotations(write(tmp_path / "z.json", [{**dog, "image_id": f"{NAME}.jpg"}, person()]))
    assert found.confidence == pytest.approx(0.9)


@pytest.mark.parametrize(
    "nose", [(1e9, 0, 0), (float("nan"), float("nan"), 0), (None, None, 0), (-1, -1, -1), (None, None, None), (None, 3, 2)]
)
def test_what_stands_beside_a_missing_joint_is_not_looked_at(tmp_path: Path, nose: tuple[float, ...]) -> None:
    [found] = read_annotations(write(tmp_path / "x.json", coco(keypoints=[*nose, *flat(COCO[1:])])))
    assert not found.keypoints[0].any()
    assert np.array_equal(found.keypoints[1:], OURS[1:])


@pytest.mark.parametrize("nose", [(float("nan"), 3, 2), ("1", 3, 2), (1e9, 3, 2), (True, 3, 2), (1, 3, "2")])
def test_what_stands_in_a_visible_joint_is(tmp_path: Path, nose: tuple[object, ...]) -> None:
    with pytest.raises(PoseGANError, match=r"annotations\[0\]: keypoints: expected 17 times"):
        read_annotations(write(tmp_path / "x.json", coco(keypoints=[*nose, *flat(COCO[1:])])))


@pytest.mark.parametrize("empty", [None, {}, {"pose_keypoints_2d": None}, {"pose_keypoints_2d": []}])
def test_nobody_is_nobody(tmp_path: Path, empty: object) -> None:
    folder = write(tmp_path / "o" / f"{NAME}_keypoints.json", {"people": [empty]}).parent
    assert not read_annotations(folder)[0].keypoints.any()
    write(folder / f"{NAME}_keypoints.json", {"people": [empty, *OPENPOSE["people"]]})
    np.testing.assert_array_equal(read_annotations(folder)[0].keypoints, OURS)
    write(folder / f"{NAME}_keypoints.json", {"people": None})
    assert not read_annotations(folder)[0].keypoints.any()
    labels = write(tmp_path / "l" / "b.txt", "").parent
    write(labels / f"{NAME}.txt", LABEL)
    write(labels / "classes.txt", "person")
    assert [(one.image, bool(one.keypoints.any())) for one in read_annotations(labels)] == [(NAME, True), ("b", False)]


def test_mmposes_names_of_joints_come_before_their_number(tmp_path: Path) -> None:
    """Human3.6M's are 17, in another order than COCO's."""
    order = np.random.default_rng(0).permutation(17)
    content = {
        "meta_info": {"keypoint_id2name": {str(number): COCO_JOINTS[joint] for number, joint in enumerate(order)}},
        "instance_info": [None, mmpose(keypoints=COCO[order, :2].tolist(), keypoint_scores=COCO[order, 2].tolist())],
    }
    [found] = read_annotations(write(tmp_path / "o" / "a.json", content).parent)
    np.testing.assert_allclose(found.keypoints, OURS, atol=1e-4)
    content["meta_info"] = {"keypoint_id2name": {str(number): f"left_{number}" for number in range(16)} | {"16": "nose"}}
    with pytest.raises(PoseGANError, match="person 1: its file names no right_shoulder"):
        read_annotations(write(tmp_path / "o" / "a.json", content))


def test_a_folder_of_unknown_json_says_so(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"landmark": landmarks()})
    with pytest.raises(PoseGANError, match=r"a\.json: JSON of no program that is known; docs/annotations\.md lists what is read"):
        read_annotations(tmp_path)


def test_a_list_of_nobody_is_an_image_of_a_folder_of_results(tmp_path: Path) -> None:
    folder = write(tmp_path / "r" / "a.json", []).parent
    assert [one.image for one in read_annotations(folder)] == ["a"]
    write(folder / "b.json", [mmpose()])
    assert [(one.image, bool(one.keypoints.any())) for one in read_annotations(folder)] == [("a", False), ("b", True)]


def test_yolos_classes_and_joints_without_visibility(tmp_path: Path) -> None:
    places = fractions()[:, :2].copy()
    places[0] = 0
    labels = write(tmp_path / "l" / f"{NAME}.txt", "3 .5 .5 .9 .9 " + " ".join(map(str, flat(places)))).parent
    joints = read_annotations(labels)[0].keypoints
    assert not joints[0].any() and (joints[1:, 2] == 1).all()
    write(labels / "other.txt", LABEL)  # now 3 is another thing's class
    assert [bool(one.keypoints.any()) for one in read_annotations(labels)] == [False, True]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", coco(keypoints=[1.0, 2.0, 2.0] * 14), r"14 joints \(CrowdPose.*\), 42 numbers, expected 17 or .*categories"),
        ("x.json", coco(keypoints=[1.0, 2.0, 2.0] * 16), r"16 joints \(MPII\), 48 numbers, expected 17"),
        ("x.json", [person(keypoints=[1.0, 2.0, 2.0] * 21)], r"21 joints \(a hand\), 63 numbers, expected 17"),
        ("x.json", {"people": [{"pose_keypoints_2d": [1.0] * 45}]}, r"15 joints \(OpenPose's MPI\), 45 numbers, expected 17 or 18 or 25"),
        ("x.json", [mmpose(keypoints=[[1, 2]] * 14, keypoint_scores=[1] * 14)], r"14 joints .*export them as COCO"),
        ("x.txt", "0 .5 .5 .9 .9\n", "line 1: a YOLO label of 5 numbers: a box without joints; take a pose model's"),
        ("x.txt", "0 .5 .5 .9 .9" + " .5" * 42, r"a YOLO label of 47 numbers: 14 joints"),
        ("x.json", {**coco(), "annotations": [{"image_id": 7, "bbox": [1, 2, 3, 4]}]}, r"is it instances_\*\.json instead"),
        ("x.json", [{"image_id": "a.jpg", "bbox": [1, 2, 3, 4], "score": 0.5}], "no entry has keypoints"),
        ("x.json", {"shapes": [], "imagePath": "a.jpg"}, "labelme's JSON, which is not read; export it as COCO keypoints"),
        ("x.json", [{"image_id": "a", "keypoint_annotations": {}}], "AI Challenger's JSON, of 14 joints, which is not read"),
        ("x.json", [{"joints": [], "image": "a.jpg"}], "MPII's JSON, of 16 joints, which is not read"),
        ("x.json", [{"id": 1, "data": {}, "annotations": []}], "Label Studio's JSON, which is not read"),
        ("x.xml", "<?xml version='1.0'?><annotations/>", "XML, perhaps CVAT's or Pascal VOC's, which is not read"),
        ("x.npz", "PK\x03\x04", r"a zip archive, NumPy's \.npz or Excel's \.xlsx, which is not read"),
        ("x.json.gz", b"\x1f\x8b\x08", "a gzip archive, which is not read; unpack it"),
        ("x.feather", "ARROW1\0\0", r"Arrow's IPC or Feather, which is not read; write it as Parquet"),
        ("x.db", "SQLite format 3\0", "an SQLite database, which is not read"),
        ("x.json", {**coco(), "categories": [{"id": 1, "name": "person", "keypoints": ["nez"] * 17}]}, r"none of the joints' names .*nez"),
        ("x.txt", "0 32 64 64 128" + " 20 30 2" * 17, r"line 1: expected fractions of the image, 0 \.\. 1, got a box of 32 64 64 128"),
        ("x.json", coco(keypoints=[-1] * 51), "no annotation shows a joint: there is none, or every joint is -1 or of confidence 0"),
        ("x.jsonl", '{"image_id": "a.jpg"}\n{"image_id": "b.jpg"}\n', r"x\.jsonl, line 2: not JSON .*; of JSON lines, .* make one list"),
        ("x.json", {**named(COCO_JOINTS), **coco(category_id=[1])}, r"annotations\[0\]: category_id \[1\] is none of categories \(1\)"),
        ("x.json", {**named(COCO_JOINTS), **coco(category_id=2)}, r"annotations\[0\]: category_id 2 is none of categories"),
        ("x.json", {**coco(), "categories": [{"id": [1], "name": "person"}]}, r"categories\[0\]: expected an id"),
        ("x.json", named([*COCO_JOINTS[::-1], "neck"]), "its file names 18 joints, and 17 stand here; name as many as there are"),
        ("x.json", named(["nose", "l_sho", *"abcdefghijklmno"]), r"its file names no right_shoulder, .* \(nose, l_sho, a, \.\.\.\)"),
        ("x.json", named([name.replace("t_should", "t_shold") for name in COCO_JOINTS]), "names no right_shoulder, but 'right_sholder'"),
        ("x.json", named([name.replace("wrist", "wirst") for name in COCO_JOINTS]), "names no right_wrist, but 'right_wirst'; name it so"),
        ("x.json", named(["x" if name == "left_knee" else name for name in COCO_JOINTS]), "names no left_knee, but right_knee; name it so"),
        ("x.json", named([name.replace("hip", "pelvis") for name in COCO_JOINTS]), "names no right_hip, left_hip, without which nobody"),
        ("x.txt", LABEL + " 3", r"line 1: expected a confidence, 0 \.\. 1, at the end, got 3; of tracks, leave the number out"),
        ("x.json", named([*COCO_JOINTS[:6], "LShoulder", *COCO_JOINTS[7:]]), "its file has two joints called left_shoulder"),
        ("x.json", [mmpose(keypoints=[[1, 2, 0]] * 17)], r"person 0: expected keypoints of numbers, x and y in pixels"),
        ("x.json", {"pose_world_landmarks": [landmarks()]}, "MediaPipe's landmarks in metres, which is not read; write its pose_landmarks"),
        ("x.json", {"predictions": [[mmpose()]]}, "what mmpose's inferencer returns, which is not read"),
        ("x.json", [{"name": "person", "class": 0, "box": {"x1": 1}}], "no entry has keypoints; name the results of a pose model"),
        ("x.csv", "image,split,nose_x,nose_y\n", r"a table of keypoints as a CSV; save it as Parquet \(pandas: to_parquet\)"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_named_with_the_way_out(tmp_path: Path, name: str, content: object, message: str) -> None:
    with pytest.raises(PoseGANError, match=message):
        read_annotations(write(tmp_path / name, content))


def test_a_folder_of_a_whole_coco_file_and_an_empty_one_say_so(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match=r"holds no file <image>_keypoints\.json \(OpenPose\), no .*ControlNet.*YOLO"):
        detect_format(tmp_path)
    write(tmp_path / "x.json", coco())
    with pytest.raises(PoseGANError, match=r"holds COCO's JSON, such as x\.json; name the file itself"):
        detect_format(tmp_path)


def test_every_file_of_a_folder_counts_whatever_its_name_ends_in(tmp_path: Path) -> None:
    """OpenPose's names beside ControlNet's, suffixes in capitals; what macOS leaves beside a file is none."""
    openpose = {"people": [{"pose_keypoints_2d": body_25()}]}
    write(tmp_path / "o" / "a_keypoints.json", openpose)
    write(tmp_path / "o" / "b.JSON", openpose)
    write(tmp_path / "o" / "settings.json", {"net_resolution": "-1x368"})
    write(tmp_path / "o" / "._a_keypoints.json", b"\0\5\x16\7")
    write(tmp_path / "y" / "a.txt", LABEL)
    write(tmp_path / "y" / "b.TXT", LABEL)
    write(tmp_path / "y" / "__MACOSX" / "a.txt", b"\0\5\x16\7")
    write(tmp_path / "r" / "a.JSON", [mmpose()])
    write(tmp_path / "r" / "._a.json", b"\0\5\x16\7")
    images = {kind: [one.image for one in read_annotations(tmp_path / kind)] for kind in "oyr"}
    assert images == {"o": ["a", "b"], "y": ["a", "b"], "r": ["a"]}


def test_cocos_own_name_is_no_openpose(tmp_path: Path) -> None:
    write(tmp_path / "person_keypoints.json", coco())
    with pytest.raises(PoseGANError, match=r"holds COCO's JSON, such as person_keypoints\.json; name the file itself"):
        read_annotations(tmp_path)


def test_labels_of_classes_none_of_which_is_0_say_so(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / f"{number}.txt", f"{number}{LABEL[1:]}")
    with pytest.raises(PoseGANError, match=r"labels of the classes 1, 2, and none of 0, which is the people's; write 0 for people"):
        read_annotations(tmp_path)


def test_halpes_joints_without_visibility_are_not_taken_for_cocos_with_a_score(tmp_path: Path) -> None:
    """Both are 57 numbers; what lies between shoulders and hips tells them apart."""
    body = from_coco(np.hstack([fractions()[:, :2], np.ones((17, 1), np.float32)]))
    middles = [body[NECK, :2], fractions()[11:13, :2].mean(axis=0)]
    halpe = np.vstack([fractions()[:, :2], [(0.5, 0.1)], middles, np.full((6, 2), 0.9)])
    write(tmp_path / "l" / f"{NAME}.txt", "0 .5 .5 .9 .9 " + " ".join(map(str, flat(halpe))))
    with pytest.raises(PoseGANError, match="labels of 57 numbers, Halpe's 26 joints without visibility; write a 1 behind each x and y"):
        read_annotations(tmp_path / "l")
    for number in range(2):  # one among many may lie so by chance
        write(tmp_path / "l" / f"{number}.txt", f"{LABEL} 0.9")
    assert len(read_annotations(tmp_path / "l")) == 3


@pytest.mark.parametrize("form", ["coco", "results", "yolo"])
def test_other_classes_than_peoples_are_counted_and_said(tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One image shows a person and a dog, another one a dog alone."""
    raw = market(tmp_path / "raw.zip", identities=1, images=2)
    with zipfile.ZipFile(raw) as archive:
        both, alone = [row.member for row in annotate_archive(archive, {}) if row.status == "no_person"][:2]
    shows = [(both, 1), (both, 2), (alone, 2)]
    size = {"width": WIDTH, "height": HEIGHT}
    if form == "yolo":
        for image, kind in shows:
            file = tmp_path / "x" / f"{Path(image).stem}.txt"
            write(file, (file.read_text() if file.exists() else "") + f"{kind - 1}{LABEL[1:]}\n")
    elif form == "results":
        write(tmp_path / "x", [person(image_id=image, category_id=kind) for image, kind in shows])
    else:
        entries = [person(image_id=image, category_id=kind) for image, kind in shows]
        images = [{"id": image, "file_name": image, **size} for image in (both, alone)]
        write(
            tmp_path / "x",
            {"images": images, "annotations": entries, "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]},
        )
    called = {"coco": "dog", "results": "category_id 2", "yolo": "class 1"}[form]
    annotations = read_annotations(tmp_path / "x")
    assert f"x: 2 entries of other classes than people's left out ({called})" in capsys.readouterr().out
    with zipfile.ZipFile(raw) as archive:
        people = match_annotations(annotations, [both, alone]).people
        rows = {row.member: row for row in annotate_archive(archive, people)}
    detail = f"the annotation shows nobody, but other classes than people's: {called}"
    assert rows[both].status == "ok" and (rows[alone].status, rows[alone].detail) == ("no_person", detail)
    assert f"; 1 of no_person where {detail}" in write_keypoints(tmp_path / "k.parquet", keypoints_table(list(rows.values())))


def test_a_file_of_other_classes_alone_says_so(tmp_path: Path) -> None:
    content = {**coco(category_id=2), "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]}
    with pytest.raises(PoseGANError, match=r"no annotation shows a joint: .*; 1 entry of other classes than people's left out \(dog\)"):
        read_annotations(write(tmp_path / "x.json", content))


def test_ids_and_sizes_as_pandas_and_text_have_them_are_read(tmp_path: Path) -> None:
    """1.0 for 1, where a column had gaps; widths in quotes; joints that have numbers for names, in COCO's order."""
    content = coco(image_id=7.0)
    content["images"] = [{"id": 7.0, "file_name": f"{NAME}.jpg", "width": str(2 * WIDTH), "height": str(2 * HEIGHT)}]
    content["categories"] = [{"id": 1, "name": "person", "keypoints": [str(number) for number in range(1, 18)]}]
    [read] = read_annotations(write(tmp_path / "x.json", content))
    assert read.size == (2 * WIDTH, 2 * HEIGHT)
    assert read.keypoints[0, :2].tolist() == COCO[0, :2].tolist()
    [listed] = read_annotations(write(tmp_path / "y.json", [person(image_id=12.0)]))
    assert listed.image == "12"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "r.json",
            [ultralytics()],
            r"r\.json: no name .*\(r, not 0002.*ultralytics \(Results\.to_json\).*<image>\.json\), or take COCO or predictions",
        ),
        ("x.json", [CONTROLNET], "ControlNet's JSON name no image: call each file after its own"),
        ("l.txt", LABEL, r"YOLO's labels name no image: call each file after its own \(<image>\.txt\)"),
        ("int.json", [person(image_id=12)], "12 is a number, as programs write names of digits without their leading zeros"),
    ],
)
def test_files_without_names_say_how_to_call_them(tmp_path: Path, name: str, content: object, message: str) -> None:
    arguments = [
        "import-keypoints",
        str(write(tmp_path / name, content)),
        "--size",
        f"{WIDTH}x{HEIGHT}",
        "--out",
        str(tmp_path / "k.parquet"),
    ]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1 and re.search(message, result.output), result.output
    assert not (tmp_path / "k.parquet").exists()


def test_joints_are_scaled_to_the_image_and_refused_on_another_shape(tmp_path: Path) -> None:
    raw = market(tmp_path / "raw.zip", identities=1, images=2)
    with zipfile.ZipFile(raw) as archive:
        rows = {row.member: row for row in annotate_archive(archive, {})}
        member, (width, height) = next((row.member, row.size) for row in rows.values() if row.size and row.status == "no_person")
        joints = np.full((18, 3), 0.5, np.float32)  # the middle
        large = (10 * width, 10 * height)
        middle = np.array([width, height, 1], np.float32) / 2
        made = {FRACTIONS: joints, large: np.tile([(10 * width - 1) / 2, (10 * height - 1) / 2, 0.5], (18, 1)).astype(np.float32)}
        expected = {FRACTIONS: middle, large: middle - (0.5, 0.5, 0)}
        for size, keypoints in made.items():
            [row] = [row for row in annotate_archive(archive, {member: Annotation(member, keypoints, 1.0, size)}) if row.person is not None]
            assert row.person is not None
            np.testing.assert_allclose(row.person.keypoints, np.tile(expected[size], (18, 1)), rtol=1e-5)
        with pytest.raises(PoseGANError, match=f"says {height}x{width} pixels .*the image has {width}x{height}"):
            list(annotate_archive(archive, {member: Annotation(member, joints, 1.0, (height, width))}))


def test_a_row_brings_the_size_that_its_file_says(tmp_path: Path) -> None:
    assert read_row(write(tmp_path / "x.json", coco()), f"bounding_box_test/{NAME}").size == (WIDTH, HEIGHT)
    assert read_row(write(tmp_path / "l" / f"{NAME}.txt", LABEL), "").size == FRACTIONS
    assert read_row(write(tmp_path / "y.json", CONTROLNET), "y.jpg").size == (WIDTH, HEIGHT)


def test_doubtful_joints_of_annotations_are_missing_as_a_detectors_are() -> None:
    keypoints = np.full((18, 3), (5, 6, 0.9), np.float32)
    keypoints[NECK, 2], keypoints[0, 2] = 0.29, 0.3
    kept = without_doubtful({"a": Annotation("a", keypoints, 0.5)}, 0.3)["a"].keypoints
    assert not kept[NECK].any()
    assert np.array_equal(kept[0], keypoints[0]) and keypoints[NECK].any()


def test_mirrored_names_are_other_joints(tmp_path: Path) -> None:
    names = [name.replace("left", "x").replace("right", "left").replace("x", "right") for name in COCO_JOINTS]
    content = {**coco(), "categories": [{"id": 1, "name": "person", "keypoints": names}]}
    found = read_annotations(write(tmp_path / "x.json", content))[0].keypoints
    np.testing.assert_allclose(found, OURS[list(MIRROR)], atol=1e-4)
    assert len(JOINTS) == len(found)
