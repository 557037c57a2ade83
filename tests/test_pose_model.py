"""What the detector is trained on and how it is measured: labels follow pixels, and nothing that is measured was trained on."""

import io
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.pose_model.card import card_of, readme, write_card
from pipeline.pose_model.command import main
from pipeline.pose_model.crops import Crop, box_of, complete, cover, paste, read_crops
from pipeline.pose_model.drawings import HELD_OUT, TRAINING, draw_block, labelled
from pipeline.pose_model.labels import (
    ABSENT,
    COCO_MIRROR,
    COCO_TO_JOINT,
    SEEN,
    UNKNOWN,
    Labelled,
    Person,
    label_line,
    mirrored,
    placed,
)
from pipeline.pose_model.measure import Bin, Known, bins, distances, invented, is_exchanged, known_scenes, score
from pipeline.pose_model.negatives import KINDS, Empty, Kind, draw_empty, kinds_at_hand, photographs, window
from pipeline.pose_model.report import Measured, Report, as_markdown
from pipeline.pose_model.training import (
    Phase,
    blended,
    make_stricter,
    prepared_start,
    presence_loss,
    rate_at,
    rebase_normalisation,
    save_weights,
)
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.images import decode_image
from posegan.people.estimator import PersonPose
from posegan.people.yolo import import_yolo
from posegan.skeleton import COCO_JOINTS, JOINTS, LEFT_WRIST, MIRROR, NECK, NOSE, RIGHT_WRIST, from_coco

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "posegan/weights/yolov8n-pose-people.pt"
SHARED = ROOT.parent / "shared"
BOX = np.array([0, 0, 64, 128], np.float32)

Joints = npt.NDArray[np.float32]


def dotted(seed: int = 0) -> tuple[npt.NDArray[np.uint8], Person]:
    """A dark crop with a bright dot of a colour of its own at each of 17 joints, and their labels."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(8 * 16)[:17]
    joints = np.stack([8 * (places % 8) + 3, 8 * (places // 8) + 3, np.full(17, SEEN)], axis=1).astype(np.float32)
    pixels = np.zeros((128, 64, 3), np.uint8)
    for number, (x, y, _) in enumerate(joints.astype(int)):
        pixels[y - 1 : y + 2, x - 1 : x + 2] = 90 + 9 * number, 255 - 9 * number, 160
    return pixels, Person((0.0, 0.0, 64.0, 128.0), joints)


def as_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def found(joints: Joints, confidence: float = 0.9) -> PersonPose:
    return PersonPose(joints, confidence, BOX)


def upright() -> Joints:
    """18 joints of somebody who faces the camera, all known."""
    joints = np.ones((18, 3), np.float32)
    joints[:, 1] = np.arange(18) * 6
    joints[:, 0] = [32 + 12 * (("left" in name) - ("right" in name)) for name in JOINTS]
    return joints


def test_labels_give_the_joints_back_through_the_17_to_18_map() -> None:
    drawings = draw_block(0, TRAINING, 0, 3, 0.5)[0]
    person = labelled(drawings).people[-1]
    values = np.array(label_line(person, 128, 64).split(), float)
    coco = values[5:].reshape(17, 3)
    pixels = np.concatenate([coco[:, :2] * [64, 128] - 0.5, coco[:, 2:]], axis=1).astype(np.float32)
    pixels[coco[:, 2] == 0] = 0
    known = [joint for joint in COCO_TO_JOINT if drawings[-1].joints[joint, 2] > 0]
    np.testing.assert_allclose(from_coco(pixels)[known], drawings[-1].joints[known], atol=1e-3)
    assert (values[1:5] >= 0).all()
    assert (values[1:5] <= 1).all()


def test_the_mirror_of_cocos_order_swaps_left_and_right() -> None:
    for joint, other in enumerate(COCO_MIRROR):
        assert JOINTS.index(COCO_JOINTS[other]) == MIRROR[JOINTS.index(COCO_JOINTS[joint])]


def test_no_drawing_of_one_seed_is_drawn_by_another_stream() -> None:
    first, second = (draw_block(0, stream, 0, 2, 0.5)[0][0].jpeg for stream in (TRAINING, HELD_OUT))
    assert first != second


def test_what_lies_outside_the_picture_is_no_label() -> None:
    person = Person((-10.0, 20.0, 30.0, 300.0), np.array([[-3, 5, SEEN], [10, 20, UNKNOWN], [5, 6, ABSENT]] + [[0, 0, 0]] * 14, np.float32))
    values = np.array(label_line(person, 100, 50).split(), float)
    np.testing.assert_allclose(values[1:5], [0.3, 0.6, 0.6, 0.8], atol=1e-5)
    assert values[5:8].tolist() == [0, 0, 0]
    np.testing.assert_allclose(values[8:11], [0.21, 0.205, UNKNOWN], atol=1e-5)
    assert values[11:14].tolist() == [0, 0, 0]


def test_the_labels_of_a_mirrored_crop_follow_its_pixels() -> None:
    pixels, person = dotted()
    turned, other = pixels[:, ::-1], mirrored(person, 64)
    for joint, twin in enumerate(COCO_MIRROR):
        (x, y), (u, v) = other.joints[joint, :2].astype(int), person.joints[twin, :2].astype(int)
        assert turned[y, x].tolist() == pixels[v, u].tolist()
    assert mirrored(Person((3.0, 0.0, 20.0, 9.0), person.joints), 64).box == (44.0, 0.0, 61.0, 9.0)
    assert np.array_equal(mirrored(other, 64).joints, person.joints)


def test_the_labels_of_an_enlarged_crop_follow_its_pixels() -> None:
    pixels, person = dotted()
    large = np.zeros((430, 300, 3), np.uint8)
    large[40 : 40 + 3 * 128, 20 : 20 + 3 * 64] = pixels.repeat(3, 0).repeat(3, 1)
    moved = placed(person, 3, 20, 40)
    for before, after in zip(person.joints.astype(int), moved.joints, strict=True):
        x, y = round(float(after[0])), round(float(after[1]))
        assert large[y - 1 : y + 2, x - 1 : x + 2].tolist() == [[pixels[before[1], before[0]].tolist()] * 3] * 3
    assert moved.box == (20.0, 40.0, 212.0, 424.0)


@pytest.mark.parametrize("seed", range(8))
def test_the_labels_of_a_pasted_crop_follow_its_pixels(seed: int) -> None:
    pixels, person = dotted(seed)
    scene = paste(np.random.default_rng(seed), Image.new("RGB", (128, 256)), [Labelled(as_png(pixels), 128, 64, [person])])
    grey = np.asarray(decode_image(scene.jpeg), float).sum(axis=2)
    inside = [(x, y) for x, y, _ in scene.people[0].joints if _away_from_rim(scene.people[0], x, y)]
    assert len(inside) > 5
    background = np.median(grey)
    for x, y in inside:
        around = grey[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2]
        assert around.max() > background + 60


def _away_from_rim(person: Person, x: float, y: float) -> bool:
    left, top, right, bottom = person.box
    return left + 4 < x < right - 5 and top + 4 < y < bottom - 5


def test_who_is_covered_by_another_loses_joints_and_then_the_label() -> None:
    _, person = dotted()
    partly = cover(person, (0.0, 0.0, 64.0, 50.0))
    assert partly is not None
    under = person.joints[:, 1] + 0.5 < 50
    assert (partly.joints[under, 2] == UNKNOWN).all()
    assert (partly.joints[~under, 2] == SEEN).all()
    assert cover(person, (0.0, 0.0, 64.0, 100.0)) is None
    untouched = cover(person, (64.0, 0.0, 99.0, 128.0))
    assert untouched is not None
    assert np.array_equal(untouched.joints, person.joints)


def test_a_published_joint_stays_and_a_missing_one_is_asked_of_the_starting_model() -> None:
    published = upright()
    published[[RIGHT_WRIST, LEFT_WRIST, NOSE]] = 0
    own = upright()
    own[:, :2] += 7
    own[RIGHT_WRIST, 2], own[LEFT_WRIST, 2], own[NOSE, 2] = 0.8, 0.3, 0.05
    joints = complete(published, found(own))
    state = {JOINTS[joint]: (joints[place, 2], joints[place, :2].tolist()) for place, joint in enumerate(COCO_TO_JOINT)}
    assert state["right_wrist"] == (SEEN, own[RIGHT_WRIST, :2].tolist())
    assert state["left_wrist"][0] == UNKNOWN
    assert state["nose"][0] == ABSENT
    assert state["left_hip"] == (SEEN, published[JOINTS.index("left_hip"), :2].tolist())
    assert (complete(published, None)[:, 2] != ABSENT).all()


def test_without_a_box_of_the_starting_model_the_joints_span_one() -> None:
    _, person = dotted()
    left, top, right, bottom = box_of(person.joints, None, 128, 64)
    assert left <= person.joints[:, 0].min()
    assert bottom >= min(128, person.joints[:, 1].max())
    assert (left, top, right, bottom) == (max(0, left), max(0, top), min(64, right), min(128, bottom))


def test_only_joints_that_fit_better_crosswise_are_exchanged() -> None:
    truth = upright()
    assert not is_exchanged(truth, truth)
    assert is_exchanged(truth, truth[list(MIRROR)])
    shifted = truth.copy()
    shifted[:, :2] += 5
    assert not is_exchanged(truth, shifted)
    arms = truth.copy()
    for joint in (RIGHT_WRIST, LEFT_WRIST):
        arms[joint] = truth[MIRROR[joint]]
    assert not is_exchanged(truth, arms)  # one pair of eight
    few = truth.copy()
    few[:, 2] = 0
    few[[RIGHT_WRIST, LEFT_WRIST], 2] = 1
    assert is_exchanged(few, arms)


def test_sides_cannot_be_exchanged_where_only_the_middle_is_known() -> None:
    truth = upright()
    truth[[joint for joint in range(18) if MIRROR[joint] != joint], 2] = 0
    assert not is_exchanged(truth, upright()[list(MIRROR)])


def test_a_person_not_found_and_a_joint_not_found_are_infinitely_far() -> None:
    truth = np.zeros((18, 3), np.float32)
    truth[[0, NECK, 2]] = [[10, 20, 1], [20, 20, 1], [30, 40, 1]]
    assert np.isinf(distances(truth, None)).tolist() == [True, True]
    near = truth.copy()
    near[0, 0] += 3
    near[2, 2] = 0
    assert sorted(distances(truth, near).tolist()) == [pytest.approx(3.0), np.inf]


def test_a_score_counts_the_joints_of_who_was_missed_as_wrong() -> None:
    known = [Known(Image.new("RGB", (64, 128)), upright())] * 4
    off = upright()
    off[:, 0] += 10
    result = score(known, [found(upright()), found(off), None, found(upright()[list(MIRROR)])], 6.4)
    assert (result.people, result.found) == (4, 0.75)
    assert result.right == pytest.approx((17 + 0 + 0 + 1) / 68)
    assert result.exchanged == pytest.approx(1 / 3)


def test_bins_hold_equally_many_from_the_least_to_the_most_confident() -> None:
    confidences = np.random.default_rng(0).permutation(np.arange(103) / 103)
    result = bins(confidences, (confidences > 0.5).astype(float))
    assert sum(each.things for each in result) == 103
    assert max(each.things for each in result) - min(each.things for each in result) <= 1
    assert all(before.high < after.low for before, after in pairwise(result))
    assert [result[0].right, result[-1].right] == [0.0, 1.0]
    assert bins(np.array([0.4]), np.array([1.0])) == [Bin(0.4, 0.4, 0.4, 1, 1.0)]


def test_nothing_that_is_measured_without_people_was_trained_on() -> None:
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names)
    training, held_out = ([kind for kind in KINDS if kind.training == flag] for flag in (True, False))
    assert not {kind.draw for kind in training if kind.draw} & {kind.draw for kind in held_out if kind.draw}
    sources = [[kind.source for kind in kinds if kind.draw is None] for kinds in (training, held_out)]
    assert all(one.split("/")[:4] != other.split("/")[:4] for one in sources[0] for other in sources[1])
    assert all((kind.draw is None) == bool(kind.source) == bool(kind.install) for kind in KINDS)
    assert len(held_out) >= 10


DRAWN = [kind for kind in KINDS if kind.draw is not None]


@pytest.mark.parametrize("kind", DRAWN, ids=[kind.name for kind in DRAWN])
@pytest.mark.parametrize("shape", [(128, 64), (90, 160), (256, 128)])
def test_a_drawn_kind_fills_every_shape_and_the_same_seed_draws_it_again(kind: Kind, shape: tuple[int, int]) -> None:
    one, other = (list(draw_empty([kind], 3, 5, [shape])) for _ in range(2))
    assert [np.asarray(each.image).shape for each in one] == [(*shape, 3)] * 3
    assert [each.image.tobytes() for each in one] == [each.image.tobytes() for each in other]
    assert one[0].image.tobytes() != one[1].image.tobytes()


def test_kinds_and_shapes_come_in_turns() -> None:
    kinds = DRAWN[:2]
    pictures = list(draw_empty(kinds, 6, 0, [(32, 16), (20, 40)]))
    assert [picture.kind for picture in pictures] == [kinds[0].name, kinds[1].name] * 3
    assert [picture.image.size for picture in pictures] == [(16, 32)] * 2 + [(40, 20)] * 2 + [(16, 32)] * 2


def test_photographs_are_those_of_the_package_without_people_and_icons(tmp_path: Path) -> None:
    kind = Kind("walls", False, None, "usr/walls", "apt-get install walls", ("portrait",))
    assert photographs(kind, tmp_path) == []
    noise = np.random.default_rng(0).integers(0, 256, (200, 150, 3), dtype=np.uint8)
    (tmp_path / "usr/walls/deep").mkdir(parents=True)
    for name in ("deep/brick.png", "portrait.png", "tree.png"):
        (tmp_path / "usr/walls" / name).write_bytes(as_png(noise))
    (tmp_path / "usr/walls/icon.png").write_bytes(as_png(noise[:4, :4]))
    assert [path.name for path in photographs(kind, tmp_path)] == ["brick.png", "tree.png"]
    pictures = list(draw_empty([kind], 4, 0, [(64, 32)], tmp_path))
    assert [picture.image.size for picture in pictures] == [(32, 64)] * 4


def test_an_absent_package_is_left_out_and_named(tmp_path: Path) -> None:
    there, absent = kinds_at_hand(True, tmp_path)
    assert {kind.name for kind in there} == {kind.name for kind in DRAWN if kind.training}
    assert all(kind.install for kind in absent)
    assert len(there) + len(absent) == sum(kind.training for kind in KINDS)


def test_a_window_is_a_part_of_its_photograph() -> None:
    rows, columns = np.mgrid[:100, :80]
    photo = Image.fromarray(np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8))
    rng = np.random.default_rng(0)
    for _ in range(20):
        part = np.asarray(window(rng, photo, 40, 20), int)
        assert part.shape == (40, 20, 3)
        assert part[..., 0].max() < 100
        assert (np.diff(part[:, 0, 0]) >= 0).all()


def test_people_are_counted_where_nobody_is() -> None:
    pictures = [Empty("sky", Image.new("RGB", (4, 4)))] * 3 + [Empty("wall", Image.new("RGB", (4, 4)))] * 2
    assert invented(lambda images: [found(upright()), None, None, None, found(upright())], pictures) == {"sky": (1, 3), "wall": (1, 2)}


def test_the_joints_of_a_person_in_a_larger_scene_are_known_there() -> None:
    pixels, person = dotted()
    published = np.zeros((18, 3), np.float32)
    published[COCO_TO_JOINT] = person.joints
    published[:, 2] = published[:, 2] > 0
    (known,) = known_scenes([Crop("a", as_png(pixels), published)], DRAWN[:1], 1, 0, ROOT)
    assert known.image.size == (640, 480)
    assert (known.joints[COCO_TO_JOINT, 2] > 0).all()
    assert known.joints[NECK, 2] == 0


def test_of_a_joint_that_nobody_knows_nothing_is_learned() -> None:
    scores = torch.randn(3, 17, generator=torch.Generator().manual_seed(0), requires_grad=True)
    states = torch.full((3, 17), float(SEEN))
    states[:, 3], states[:, 5] = UNKNOWN, ABSENT
    (gradient,) = torch.autograd.grad(presence_loss(scores, states), scores)
    assert (gradient[:, 3] == 0).all()
    assert (gradient[:, 5] > 0).all()
    assert (gradient[:, 0] < 0).all()
    assert float(presence_loss(scores, torch.full((3, 17), float(UNKNOWN))).detach()) == 0


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the detector's architecture."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "random.pt"
    import_yolo()("yolov8n-pose.yaml", task="pose").save(str(path))
    return path


@pytest.mark.filterwarnings("ignore")  # torch's and ultralytics' own
def test_the_trainings_loss_has_no_part_of_unknown_joints(network: Path) -> None:
    from pipeline.pose_model.training import _known_joints_loss

    model = import_yolo()(str(network), task="pose").model.train()
    from ultralytics.utils import DEFAULT_CFG

    model.args = DEFAULT_CFG
    criterion = _known_joints_loss(model)
    _, person = dotted()
    states: dict[int, dict[str, torch.Tensor]] = {}
    for state in (SEEN, UNKNOWN):
        joints = torch.from_numpy(person.joints / np.array([64, 128, 1], np.float32)).float()
        joints[:, 2] = state
        batch = {
            "img": torch.rand(1, 3, 128, 64), "batch_idx": torch.zeros(1), "cls": torch.zeros(1, 1),
            "bboxes": torch.tensor([[0.5, 0.5, 1.0, 1.0]]), "keypoints": joints[None],
        }  # fmt: skip
        _, states[state] = criterion(model(batch["img"]), batch)
    assert float(states[SEEN]["pose_loss"]) > 0
    assert float(states[SEEN]["kobj_loss"]) > 0
    assert float(states[UNKNOWN]["pose_loss"]) == float(states[UNKNOWN]["kobj_loss"]) == 0


def test_rebased_normalisation_computes_the_same_and_in_training_too() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 3), torch.nn.BatchNorm2d(2)
    )
    for layer in (network[1], network[4]):
        assert isinstance(layer, torch.nn.BatchNorm2d)
        torch.nn.init.uniform_(layer.weight, 0.5, 2)
        torch.nn.init.normal_(layer.bias)
    pictures = torch.rand(8, 3, 12, 12)
    before = network.eval()(pictures)
    rebase_normalisation(network, [pictures])
    assert torch.allclose(network.eval()(pictures), before, atol=1e-4)
    assert torch.allclose(network.train()(pictures), before, atol=1e-2)


def test_the_learning_rate_rises_then_falls_to_the_last() -> None:
    phase = Phase(64, 100, 2, 1e-3, 1e-5)
    rates = [rate_at(phase, progress / 100) for progress in range(101)]
    assert rates[0] == 0
    assert rates.index(max(rates)) == 5
    assert all(before > after for before, after in pairwise(rates[5:]))
    assert rates[-1] == pytest.approx(1e-5)


@pytest.mark.filterwarnings("ignore")  # torch's and ultralytics' own
def test_saved_weights_hold_no_path_and_the_same_network_gives_the_same_bytes(network: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "train").mkdir(parents=True)
    for number in range(2):
        (tmp_path / "images" / "train" / f"{number}.jpg").write_bytes(as_png(dotted(number)[0]))
    start = prepared_start(network, tmp_path, pictures=2)
    save_weights(start, tmp_path / "one.pt")
    save_weights(start, tmp_path / "two.pt")
    assert sha256_of(tmp_path / "one.pt") == sha256_of(tmp_path / "two.pt")
    assert str(tmp_path).encode() not in (tmp_path / "one.pt").read_bytes()


@pytest.mark.filterwarnings("ignore")  # torch's and ultralytics' own
def test_stricter_weights_lower_every_confidence_and_move_no_joint(network: Path) -> None:
    model = import_yolo()(str(network), task="pose").model.eval()
    picture = torch.rand(1, 3, 128, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(picture)[0].clone()
        make_stricter(model, 0.6, 0.25)
        after = model(picture)[0]
    expected = torch.sigmoid(torch.logit(before[:, 4].double()) + torch.logit(torch.tensor(0.25)) - torch.logit(torch.tensor(0.6)))
    assert torch.allclose(after[:, 4].double(), expected, rtol=1e-3)
    assert torch.equal(after[:, :4], before[:, :4])
    assert torch.equal(after[:, 5:], before[:, 5:])


@pytest.mark.filterwarnings("ignore")  # torch's and ultralytics' own
def test_half_way_weights_lie_between(network: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "train").mkdir(parents=True)
    for number in range(2):
        (tmp_path / "images" / "train" / f"{number}.jpg").write_bytes(as_png(dotted(number)[0]))
    other = import_yolo()(str(network), task="pose")
    with torch.no_grad():
        other.model.model[0].conv.weight.add_(1.0)
    other.save(str(tmp_path / "tuned.pt"))
    middle = import_yolo()(str(blended(network, tmp_path / "tuned.pt", 0.25, tmp_path, pictures=2)), task="pose")
    start = import_yolo()(str(network), task="pose")
    difference = middle.model.model[0].conv.weight - start.model.model[0].conv.weight
    assert torch.allclose(difference, torch.full_like(difference, 0.25), atol=2e-3)


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "start.pt").touch()
    for options, told in (
        ([], "--start is missing: name official YOLOv8n-pose weights"),
        (["--start", str(tmp_path / "none.pt")], r"--start: .*none\.pt: no such file or folder; name official"),
        (["--start", str(tmp_path / "start.pt")], "--real is missing: name the zip of Market-1501"),
        (["--start", str(tmp_path / "start.pt"), "--real", str(tmp_path / "start.pt")], "--annotations is missing"),
    ):
        result = CliRunner().invoke(main, ["train", *options])
        assert result.exit_code == 1
        assert re.match(f"error: {told}", result.output)
        assert result.output.count("\n") == 1


def test_a_report_is_readable_and_names_what_was_not_measured() -> None:
    known = [Known(Image.new("RGB", (64, 128)), upright())] * 3
    each = score(known, [found(upright()), None, found(upright())], 6.4)
    joints, people = [Bin(0.1, 0.9, 0.5, 3, 0.5)] * 5, [Bin(0.3, 0.9, 0.6, 2, 1.0)] * 5
    measured = Measured("crops", "real crops", 6.4, {192: each, 256: each}, 256, joints, people, people)
    text = as_markdown(Report([measured], {256: {"sky": (1, 9)}}, {256: 100.0}, ["walls (apt-get install walls)"]))
    assert "| **256** | 66.7% | 0.667 | 0.0 | 0.0% | 0.90 |" in text
    assert "| **all** | **1 of 9** |" in text
    assert "Not measured: walls (apt-get install walls)." in text


def test_a_cards_figures_can_be_written_anew_without_its_provenance(tmp_path: Path) -> None:
    weights = tmp_path / "a.pt"
    write_card(weights, {"name": "a", "terms": "free"})
    write_card(weights, {"terms": "none"})
    assert json.loads(card_of(weights).read_text()) == {"name": "a", "terms": "none"}


def test_a_card_replaces_no_file_of_somebody_else(tmp_path: Path) -> None:
    """Weights may be written anywhere; the page of their cards would be that folder's README.md."""
    weights = tmp_path / "a.pt"
    for name, content in (("README.md", "# My project\n"), ("a.json", '{"mine": 1}'), ("a.json", "[1, 2]")):
        theirs = tmp_path / name
        theirs.write_text(content)
        with pytest.raises(PoseGANError, match=f"{name}: not a"):
            write_card(weights, {"terms": "none"})
        for line in (["train", "--out", str(weights)], ["measure", str(theirs.with_name("a.pt")), "--card"]):
            weights.touch()
            result = CliRunner().invoke(main, line)
            assert (result.exit_code, f"{name}: not a" in result.output) == (1, True), result.output
        assert theirs.read_text() == content
        theirs.unlink()
    (tmp_path / "b.json").write_text('{"mine": 1}')
    write_card(weights, {"terms": "none"})
    assert "mine" not in (tmp_path / "README.md").read_text()


def test_the_page_of_cards_has_a_table_for_each_kind_of_pictures() -> None:
    figure = {"people": 9, "found": 1.0, "right": 0.5, "exchanged": 0.25}
    kind = {"what": "crops", "within_pixels": 6.4, "best_image_size": 256, "image_sizes": {"192": figure, "256": figure}}
    kind["right_by_confidence"] = {"joints": [{"mean": part / 5, "right": part / 4} for part in range(5)]}
    text = readme(
        [
            {
                "file": "a.pt",
                "sha256": "0f",
                "measured": {"crops": kind},
                "without_people": {"256": {"sky": {"pictures": 5, "somebody_found": 1}}},
            }
        ]
    )
    assert "| **256** | 9 | 100.0% | 0.500 | 25.0% |" in text
    assert "| joints, by their confidence | 0.00 -> 0.000 | 0.20 -> 0.250 | 0.40 -> 0.500 | 0.60 -> 0.750 | 0.80 -> 1.000 |" in text
    assert "1 of 5 at 256 px" in text
    assert "started from: random weights" in text


def shipped_card() -> dict[str, object]:
    card: dict[str, object] = json.loads(card_of(WEIGHTS).read_text(encoding="utf-8"))
    return card


def test_the_shipped_weights_are_those_of_their_card() -> None:
    card = shipped_card()
    assert card["sha256"] == sha256_of(WEIGHTS)
    assert card["bytes"] == WEIGHTS.stat().st_size <= 7_000_000
    assert "research" in str(card["terms"])
    assert "Market-1501" in str(card["trained_on"])
    assert {"name", "sha256", "license"} <= set(dict(card["started_from"]))  # type: ignore[call-overload]


def test_a_program_can_look_up_how_good_the_shipped_weights_are_on_what() -> None:
    measured: dict[str, dict[str, object]] = shipped_card()["measured"]  # type: ignore[assignment]
    assert {"crops", "drawings", "scenes"} <= set(measured)
    for each in measured.values():
        sizes: dict[str, dict[str, float]] = each["image_sizes"]  # type: ignore[assignment]
        best = sizes[str(each["best_image_size"])]
        assert best["right"] == max(size["right"] for size in sizes.values())


def test_the_folder_of_weights_tells_their_names_digests_and_terms() -> None:
    text = (WEIGHTS.parent / "README.md").read_text(encoding="utf-8")
    for weights in WEIGHTS.parent.glob("*.pt"):
        assert weights.name in text
        assert sha256_of(weights) in text
    assert "research only" in text


real_data: Callable[[Callable[..., None]], Callable[..., None]] = pytest.mark.skipif(
    not (SHARED / "real" / "market1501-part.zip").is_file(), reason="no real crops of Market-1501 at ../shared/real"
)


@real_data
def test_real_crops_of_the_two_halves_share_no_identity_and_none_is_a_distractor() -> None:
    names = {}
    for folder in ("train", "test"):
        table = SHARED / "market1501" / f"market-annotation-{folder}.csv"
        crops = read_crops(SHARED / "real" / "market1501-part.zip", table, f"bounding_box_{folder}")
        names[folder] = {crop.name.split("_")[0] for crop in crops}
        assert all(crop.published.shape == (18, 3) for crop in crops)
        assert len(crops) > 4000
    assert not names["train"] & names["test"]
    assert not {"0000", "-1"} & (names["train"] | names["test"])
