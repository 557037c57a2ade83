"""Temperatures of the joints' confidences."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from pipeline.pose_model.calibration import Judged, cool, judged, measured_temperatures, temperatures
from pipeline.pose_model.crops import Crop
from pipeline.pose_model.drawings import CALIBRATING
from pipeline.pose_model.labels import COCO_MIRROR
from pipeline.pose_model.measure import JOINT_CONFIDENCE, Known, estimator_of, known_drawings, person_bins
from pipeline.pose_model.training import save_weights
from posegan.config import load_params
from posegan.people.detectors import shipped
from posegan.people.estimator import PersonPose
from posegan.people.yolo import import_yolo
from posegan.skeleton import COCO_JOINTS, LEFT_KNEE, NOSE
from tests.support.small_market import jpeg
from tests.support.tiny_run import ROOT

BOX = np.array([0, 0, 64, 128], np.float32)
NOSE_COCO = COCO_JOINTS.index("nose")


def seen(confidence: float) -> npt.NDArray[np.float32]:
    """18 joints on a diagonal."""
    return np.stack([np.arange(18), np.arange(18), np.full(18, confidence)], axis=1).astype(np.float32)


def chances(logits: npt.NDArray[np.float64], true: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    """Confidences whose logits are above JOINT_CONFIDENCE's by so much, after division by `true`."""
    odds = JOINT_CONFIDENCE / (1 - JOINT_CONFIDENCE) * np.exp(logits / true)
    return np.asarray(odds / (1 + odds))


def test_a_joint_is_right_where_it_is_known_and_near() -> None:
    truth, found = seen(1), seen(JOINT_CONFIDENCE)
    truth[NOSE, 2] = 0
    found[LEFT_KNEE, 0] += 7
    [first] = judged([Known(Image.new("RGB", (64, 128)), truth)], [PersonPose(found, 0.9, BOX)], 6.4).right
    assert [name for name, right in zip(COCO_JOINTS, first, strict=True) if not right] == ["left_knee"]
    both = judged([Known(Image.new("RGB", (64, 128)), truth)] * 2, [None, PersonPose(found, 0.9, BOX)], 6.4)
    assert both.known.shape == (1, 17)
    assert not both.known[0, NOSE_COCO]
    np.testing.assert_allclose(both.logits, 0, atol=1e-6)
    nobody = judged([Known(Image.new("RGB", (64, 128)), truth)], [None], 6.4)
    assert np.array_equal(temperatures([nobody]), np.ones(17))


def test_temperatures_are_those_that_the_answers_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(2, 3, (20_000, 17))
    true = np.linspace(0.5, 3, 17)
    true = (true + true[COCO_MIRROR]) / 2
    right = rng.random(logits.shape) < chances(logits, true)
    known = np.ones(logits.shape, bool)
    known[:, NOSE_COCO] = False
    found = temperatures([Judged(logits, right, known)])
    true[NOSE_COCO] = 1  # of which nothing is known
    np.testing.assert_allclose(found, true, rtol=0.05)
    assert np.array_equal(found, found[COCO_MIRROR])


def test_each_kind_of_pictures_weighs_the_same_however_many_there_are() -> None:
    rng = np.random.default_rng(0)
    logits, known = rng.normal(2, 3, (6_000, 17)), np.ones((6_000, 17), bool)
    sure, unsure = (Judged(logits, rng.random(logits.shape) < chances(logits, true), known) for true in (1.0, 4.0))
    fewer = Judged(unsure.logits[::3], unsure.right[::3], unsure.known[::3])
    np.testing.assert_allclose(temperatures([sure, fewer]), temperatures([sure, unsure]), rtol=0.1)


@pytest.mark.filterwarnings("ignore")  # torch's and ultralytics' own
def test_cooled_weights_divide_the_joints_logits_and_move_nothing() -> None:
    torch.manual_seed(0)
    network = import_yolo()("yolov8n-pose.yaml", task="pose").model.eval()
    picture = torch.rand(1, 3, 128, 64)
    by_joint = np.linspace(0.5, 3, 17, dtype=np.float32)
    with torch.no_grad():
        before = network(picture)[0].clone()
        cool(network, by_joint)
        after = network(picture)[0]
    joints, cooled = before[:, 5:].unflatten(1, (17, 3)), after[:, 5:].unflatten(1, (17, 3))
    stays = torch.logit(torch.tensor(JOINT_CONFIDENCE, dtype=torch.float64))
    expected = torch.sigmoid(stays + (torch.logit(joints[:, :, 2].double()) - stays) / torch.from_numpy(by_joint)[:, None])
    assert torch.allclose(cooled[:, :, 2].double(), expected, atol=1e-5)
    assert torch.equal(cooled[:, :, :2], joints[:, :, :2])
    assert torch.equal(after[:, :5], before[:, :5])


def test_of_the_shipped_weights_joints_are_the_more_often_right_the_surer_they_are() -> None:
    measured = json.loads(shipped().path.with_suffix(".json").read_text())["measured"]
    assert {"crops", "drawings", "vivid_drawings"} <= set(measured)
    for kind, figures in measured.items():
        right = [part["right"] for part in figures["right_by_confidence"]["joints"]]
        assert len(right) == 5
        assert right == sorted(set(right)), kind


@pytest.mark.filterwarnings("ignore")  # torch's and ultralytics' own
def test_what_is_found_by_default_stays_found_in_the_file_too(tmp_path: Path) -> None:
    assert load_params(ROOT / "params.yaml").pose.joint_confidence == JOINT_CONFIDENCE
    known = known_drawings(20, 0, 0.0, CALIBRATING)
    by_joint = np.linspace(0.5, 2, 17, dtype=np.float32)
    save_weights(shipped().path, tmp_path / "as-it-was.pt")
    save_weights(shipped().path, tmp_path / "cooled.pt", by_joint=by_joint)
    before, after = (estimator_of(tmp_path / name, 256).estimate([each.image for each in known]) for name in ("as-it-was.pt", "cooled.pt"))
    some = 0
    for person, same in zip(before, after, strict=True):
        assert person is not None and same is not None
        clear = np.abs(person.keypoints[:, 2] - JOINT_CONFIDENCE) > 0.01  # half precision rounds
        assert np.array_equal(person.keypoints[clear, 2] > JOINT_CONFIDENCE, same.keypoints[clear, 2] > JOINT_CONFIDENCE)
        np.testing.assert_allclose(person.keypoints[:, :2], same.keypoints[:, :2], atol=1e-3)
        some += int((np.abs(person.keypoints[:, 2] - same.keypoints[:, 2]) > 0.01).sum())
    assert some > 20


@pytest.mark.filterwarnings("ignore")  # torch's and ultralytics' own
def test_temperatures_are_measured_on_both_kinds_of_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.pose_model.calibration.DRAWINGS", 30)
    crops = [Crop(str(number), jpeg(number, 128, 64), seen(1)) for number in range(3)]  # nobody is in them
    by_joint = measured_temperatures(shipped().path, 256, crops, 0)
    assert by_joint.shape == (17,)
    assert np.array_equal(by_joint, by_joint[COCO_MIRROR])
    assert (by_joint != 1).all()


def test_people_are_put_in_order_by_somebody_being_there_or_by_their_joints() -> None:
    known = [Known(Image.new("RGB", (64, 128)), seen(1))] * 10
    people = [PersonPose(seen(number / 20 + 0.4), 1 - number / 20, BOX) for number in range(10)]
    for number in range(5):  # the five whose joints are unsure are wrong
        people[number].keypoints[:, 0] += 20
        people[-1 - number].keypoints[NOSE, 2] = 0.2  # a joint that would not be found counts for nothing
    assert [each.right for each in person_bins(known, people, 6.4)] == [1, 1, 0.5, 0, 0]
    assert [each.right for each in person_bins(known, people, 6.4, by_joints=True)] == [0, 0, 0.5, 1, 1]
    nobody = [PersonPose(seen(0.2), 0.9, BOX)]
    assert [each.low for each in person_bins(known[:1], nobody, 6.4, by_joints=True)] == [0]
