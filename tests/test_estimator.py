import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.download.sample import write_sample
from pipeline.raw_archive import image_members
from posegan.config import PoseConfig, SampleConfig, load_params
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.images import decode_image
from posegan.people.detectors import CROP_SIZE, SCENE_SIZE, scene_size, settled, verified_weights
from posegan.people.estimator import PersonPose, PoseEstimator, choose_person, letterboxed, lower_precision
from posegan.people.yolo import import_yolo
from posegan.skeleton import NECK, from_coco
from tests.support import forked
from tests.support.small_market import jpeg

ROOT = Path(__file__).parents[1]

# The detector is a small one of random weights, made in a process of its own: what importing ultralytics does to a
# process is what some tests below are about. Its confidences are tiny and of no meaning, so that the threshold is 0.
MAKE = """
import sys, torch
from posegan.people.yolo import import_yolo
torch.manual_seed(0)
yolo = import_yolo()("yolo11n-pose.yaml", task="pose")
with torch.no_grad():
    for name, value in yolo.model.named_parameters():
        if value.dim() == 4:  # large enough that what the image shows reaches the output through untrained layers
            torch.nn.init.kaiming_normal_(value, nonlinearity="relu")
            value.mul_(1.7)
yolo.save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    made = forked.run("-c", MAKE, str(path))
    assert made.returncode == 0, made.stderr
    return path


def config_of(weights: Path, **changes: object) -> PoseConfig:
    values: dict[str, object] = {
        "weights": str(weights),
        "sha256": sha256_of(weights) if weights.is_file() else "",
        "image_size": 64,
        "batch_size": 3,
        "source": "detector",
        "annotations": [],
        "person_confidence": 0.0,
        "joint_confidence": 0.5,
        "trust_unpinned": False,
        "precision": "float32",
        "device": "cpu",
        "engine": "local",
        "ray": {"address": "", "workers": 0, "cpus": 1.0, "gpus": 0.0},
    }
    return PoseConfig.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def estimator(weights: Path) -> PoseEstimator:
    return PoseEstimator(config_of(weights))


def crops() -> list[Image.Image]:
    sizes = [(64, 32), (64, 32), (48, 40), (64, 32), (48, 40), (64, 32), (64, 32)]
    return [decode_image(jpeg(seed, *size)) for seed, size in enumerate(sizes)]


def test_each_result_is_that_of_its_own_image_whatever_its_neighbours(estimator: PoseEstimator) -> None:
    together = estimator.estimate(crops())
    for image, person in zip(crops(), together, strict=True):
        (alone,) = estimator.estimate([image])
        assert alone is not None
        assert person is not None
        assert np.allclose(alone.box, person.box, atol=1e-2)
        assert np.allclose(alone.keypoints, person.keypoints, atol=1e-2)
    assert len({person.keypoints.tobytes() for person in together if person is not None}) == 7


def test_the_results_are_those_of_ultralytics_own_way(estimator: PoseEstimator) -> None:
    """Its `predict`, which batches images of one shape as we do; it counts pixels from the image's edge."""
    for image, person in zip(crops(), estimator.estimate(crops()), strict=True):
        (shown,) = estimator._model.predict(image, imgsz=64, conf=1e-6, device="cpu", verbose=False)
        assert person is not None
        chosen = int(choose_person(shown.boxes.xyxy, shown.boxes.conf, *shown.orig_shape))
        assert np.allclose(person.box, shown.boxes.xyxy[chosen].numpy(), atol=0.02)
        theirs = from_coco(shown.keypoints.data[chosen].numpy() - np.array([0.5, 0.5, 0], np.float32))
        seen = (person.keypoints[:, 2] > 0) & (theirs[:, 2] > 0.501)
        assert np.allclose(person.keypoints[seen], theirs[seen], atol=0.02)


def test_arrays_and_pillow_images_mean_the_same(estimator: PoseEstimator) -> None:
    for from_image, from_array in zip(estimator.estimate(crops()), estimator.estimate([np.asarray(crop) for crop in crops()]), strict=True):
        assert from_image is not None
        assert from_array is not None
        assert np.array_equal(from_image.keypoints, from_array.keypoints)


def test_the_detector_sees_the_colours_that_its_own_loader_would_show_it(estimator: PoseEstimator) -> None:
    (person,) = estimator.estimate(crops()[:1])
    (shown,) = estimator._model.predict(crops()[:1], imgsz=64, conf=1e-6, device="cpu", verbose=False)
    assert person is not None
    assert person.box.tolist() in shown.boxes.xyxy.tolist()


def test_on_apple_s_processor_the_cpu_finds_the_joints_and_says_so(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    [person] = PoseEstimator(config_of(weights, device="mps")).estimate(crops()[:1])
    assert person is not None
    assert caplog.messages == ["joints are found on the CPU: YOLO's pose models place them wrongly on mps"]


def test_the_same_images_give_the_same_bits(estimator: PoseEstimator) -> None:
    first, second = estimator.estimate(crops()), estimator.estimate(crops())
    assert all(np.array_equal(a.keypoints, b.keypoints) for a, b in zip(first, second, strict=True) if a is not None and b is not None)


def test_keypoints_are_18_joints_in_pixels_with_weak_ones_zeroed(estimator: PoseEstimator, weights: Path) -> None:
    for person in estimator.estimate(crops()):
        assert person is not None
        assert person.keypoints.shape == (18, 3)
        assert person.keypoints.dtype == np.float32
        confidence = person.keypoints[:, 2]
        assert ((confidence == 0) | (confidence >= 0.5)).all()
        assert not person.keypoints[confidence == 0].any()
    strict = PoseEstimator(config_of(weights, joint_confidence=1.0)).estimate(crops()[:1])[0]
    assert strict is not None
    assert not strict.keypoints[NECK].any()


def test_no_person_is_none_and_no_image_no_result(weights: Path) -> None:
    assert PoseEstimator(config_of(weights, person_confidence=1.0)).estimate(crops()[:2]) == [None, None]
    assert PoseEstimator(config_of(weights)).estimate([]) == []


def test_importing_the_detector_leaves_the_process_as_it_was(weights: Path) -> None:
    program = """
import os, sys, torch, PIL.Image
torch.set_num_threads(2)
before = PIL.Image.open, torch.save, torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
from posegan.config import PoseConfig, RayConfig
from posegan.people.estimator import PoseEstimator
from posegan.files import sha256_of
from pathlib import Path
config = PoseConfig(source="detector", annotations=[], weights=sys.argv[1], sha256=sha256_of(Path(sys.argv[1])), image_size=64,
                    batch_size=3, person_confidence=0.0, joint_confidence=0.5, trust_unpinned=False, precision="float32", device="cpu",
                    engine="local", ray=RayConfig(address="", workers=0, cpus=1.0, gpus=0.0))
PoseEstimator(config).estimate([PIL.Image.new("RGB", (32, 64))])
assert before == (PIL.Image.open, torch.save, torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")), "changed"
from ultralytics import SETTINGS
from ultralytics.utils import ONLINE, AUTOINSTALL
assert (ONLINE, AUTOINSTALL, SETTINGS["sync"]) == (False, False, False), "talkative"
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(weights)], env=environment, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_weights_are_vouched_for_or_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = sha256_of(weights)
    assert verified_weights(str(weights), right) == weights.resolve()
    with pytest.raises(PoseGANError, match=f"pickle without a pinned SHA-256.* set pose.sha256 to {right}"):
        verified_weights(str(weights), "")
    assert verified_weights(str(weights), "", trust_unpinned=True) == weights.resolve()
    for trust in (False, True):
        with pytest.raises(PoseGANError, match="or set pose.sha256 to the file's own"):
            verified_weights(str(weights), "0" * 64, trust)
    with pytest.raises(PoseGANError, match="no such file; name a file, an official model such as .*, or auto"):
        verified_weights("nowhere.pt", "")
    monkeypatch.chdir(weights.parent)
    assert verified_weights("random.pt", right) == weights.resolve()


def test_an_official_name_is_taken_from_the_cache(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = tmp_path / "posegan" / "weights" / "yolo11n-pose.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(weights.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert verified_weights("yolo11n-pose.pt", "") == cached
    with pytest.raises(PoseGANError, match="SHA-256"):
        verified_weights("yolo11n-pose.pt", "0" * 64)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    """Sixty drawn people, such as the shipped weights are for."""
    path = tmp_path_factory.mktemp("drawn") / "raw.zip"
    sample = SampleConfig(train_identities=8, test_identities=1, images_per_identity=7, distractors=0, broken_files=0, seed=5)
    write_sample(path, sample, progress=False)
    with zipfile.ZipFile(path) as archive:
        return [decode_image(archive.read(name)) for name, split in image_members(archive) if split != "query"][:60]


def test_with_the_shipped_weights_neither_batches_nor_threads_move_a_joint(drawn: list[Image.Image]) -> None:
    params, results = load_params(ROOT / "params.yaml").pose, []
    threads = torch.get_num_threads()
    try:
        for batch_size, using in ((64, 2), (7, 1), (1, 2)):
            torch.set_num_threads(using)
            config = settled(params, [(128, 64)]).model_copy(update={"batch_size": batch_size, "device": "cpu"})
            results.append(PoseEstimator(config).estimate(drawn))
    finally:
        torch.set_num_threads(threads)
    first, *others = results
    assert sum(person is not None for person in first) >= 55
    alone = [PoseEstimator(config).estimate([image])[0] for image in drawn[:10]]
    for other in (*others, alone):
        for person, same in zip(first[: len(other)], other, strict=True):
            assert (person is None) == (same is None)
            if person is not None and same is not None:
                assert np.abs(person.keypoints - same.keypoints).max() < 1e-3


def test_the_shape_that_a_picture_has_to_the_network_is_known_before_it_has_it() -> None:
    from ultralytics.data.augment import LetterBox

    rng = np.random.default_rng(0)
    for size, stride in ((64, 32), (100, 32), (640, 32)):
        for height, width in [(1, 900), (900, 1), *rng.integers(1, 900, (60, 2)).tolist()]:
            boxed = LetterBox((size, size), auto=True, stride=stride)(image=np.zeros((height, width, 3), np.uint8))
            assert letterboxed((height, width), size, stride) == boxed.shape[:2]


def test_small_pictures_go_together_to_the_number_of_pixels_of_large_ones(
    weights: Path, estimator: PoseEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect, together = PoseEstimator._detect, list[tuple[int, ...]]()

    def telling(self: PoseEstimator, boxed: np.ndarray, shapes: list[tuple[int, int]]) -> list[PersonPose | None]:
        together.append(boxed.shape[:3])
        return detect(self, boxed, shapes)

    monkeypatch.setattr(PoseEstimator, "_detect", telling)
    crop = crops()[0]
    assert len(estimator.estimate([crop] * 100)) == 100  # three at once, were they as large as 256 x 256
    PoseEstimator(config_of(weights, image_size=320)).estimate([decode_image(jpeg(0, 320, 320))] * 4)
    assert together == [(96, 64, 32), (4, 64, 32), (3, 320, 320), (1, 320, 320)]


def test_what_is_no_pose_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(PoseGANError, match="not a YOLO pose model"):
        PoseEstimator(config_of(path))


def test_a_pickle_that_runs_a_program_does_not_run_it(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/owned",)

    torch.save({"model": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(PoseGANError, match="not a YOLO pose model"):
        PoseEstimator(config_of(tmp_path / "evil.pt"))
    assert not (tmp_path / "owned").exists()


def test_float16_wants_cuda(weights: Path) -> None:
    with pytest.raises(PoseGANError, match="float16 needs a CUDA device"):
        PoseEstimator(config_of(weights, precision="float16"))


def test_bfloat16_finds_the_same_people_in_the_same_places(drawn: list[Image.Image]) -> None:
    """By the shipped weights: the random ones' confidences are so small that bfloat16 rounds them to 0 on some processors."""
    exact = settled(load_params(ROOT / "params.yaml").pose, [(128, 64)]).model_copy(update={"device": "cpu"})
    rough = exact.model_copy(update={"precision": "bfloat16"})
    steps = []
    for person, same in zip(PoseEstimator(exact).estimate(drawn), PoseEstimator(rough).estimate(drawn), strict=True):
        assert (person is None) == (same is None)
        if person is not None and same is not None:
            assert abs(person.confidence - same.confidence) < 0.03
            both = (person.keypoints[:, 2] > 0) & (same.keypoints[:, 2] > 0)
            steps.extend(np.linalg.norm(person.keypoints[both, :2] - same.keypoints[both, :2], axis=1))
    assert len(steps) > 800
    assert np.quantile(steps, 0.95) < 0.5


@pytest.mark.parametrize("architecture", ["yolov8n-pose", "yolo11n-pose", "yolo26n-pose"])
def test_in_bfloat16_only_what_gives_places_stays_exact(architecture: str) -> None:
    network = import_yolo()(f"{architecture}.yaml", task="pose").model.eval().requires_grad_(False)
    network.fuse(verbose=False)
    exact, rough = set[str](), set[str]()
    lower_precision(network, torch.bfloat16)
    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda _, __, out, name=name: (exact if out.dtype == torch.float32 else rough).add(name))
    with torch.inference_mode():
        found = network(torch.zeros(1, 3, 64, 64, dtype=torch.bfloat16))
    assert (found[0] if isinstance(found, tuple) else found).dtype == torch.float32
    assert exact and all(name.startswith(f"model.{len(network.model) - 1}.") for name in exact)
    assert all(name.endswith(".conv") for name in rough)  # with an activation behind them
    assert not any(name.endswith(".conv") for name in exact - {f"model.{len(network.model) - 1}.dfl.conv"})


def test_a_missing_device_is_named(weights: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(PoseGANError, match=r"device.*cuda"):
        PoseEstimator(config_of(weights, device="cuda:7"))


def box(x: float, y: float, size: float = 10) -> list[float]:
    return [x - size, y - size, x + size, y + size]


def test_of_equal_confidences_the_central_person_is_chosen() -> None:
    boxes = torch.tensor([box(5, 64), box(30, 60), box(60, 10)])
    assert choose_person(boxes, torch.full((3,), 0.8), 128, 64) == 1


def test_at_equal_places_the_surer_person_is_chosen_and_of_twins_the_first() -> None:
    boxes = torch.tensor([box(32, 64)] * 3)
    assert choose_person(boxes, torch.tensor([0.3, 0.9, 0.9]), 128, 64) == 1


def test_a_faint_ghost_in_the_middle_does_not_beat_a_sure_person_beside_it() -> None:
    boxes = torch.tensor([box(32, 64), box(22, 60)])
    assert choose_person(boxes, torch.tensor([0.3, 0.9]), 128, 64) == 1


def test_of_boxes_around_one_person_the_surest_is_taken_though_another_is_more_central() -> None:
    """17 of 20 columns are shared: an IoU of 0.74. With 16, they are two people, and the central one is chosen."""
    assert choose_person(torch.tensor([box(32, 64), box(35, 64)]), torch.tensor([0.80, 0.81]), 128, 64) == 1
    assert choose_person(torch.tensor([box(32, 64), box(36, 64)]), torch.tensor([0.80, 0.81]), 128, 64) == 0


def test_a_box_without_area_can_be_chosen() -> None:
    assert choose_person(torch.tensor([box(32, 64, 0)]), torch.tensor([0.9]), 128, 64) == 0


def test_the_choice_does_not_depend_on_left_and_right() -> None:
    boxes = torch.tensor([box(20, 50), box(50, 70), box(33, 100)])
    mirrored = boxes.clone()
    mirrored[:, [0, 2]] = 64 - boxes[:, [2, 0]]
    confidences = torch.tensor([0.5, 0.7, 0.6])
    assert choose_person(boxes, confidences, 128, 64) == choose_person(mirrored, confidences, 128, 64)


def test_many_images_at_once_are_each_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(50, 12, 2, generator=generator) * torch.tensor([40, 90])
    boxes = torch.cat([corners, corners + 10 + 30 * torch.rand(50, 12, 2, generator=generator)], dim=-1)
    confidences = torch.rand(50, 12, generator=generator)
    together = choose_person(boxes, confidences, 128, 64)
    assert together.tolist() == [int(choose_person(*each, 128, 64)) for each in zip(boxes, confidences, strict=True)]
    assert len(set(together.tolist())) > 5


def test_photographs_of_many_sizes_share_the_network_s_batches(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the network sees decides: sizes of one shape after scaling go together, and each result is that of the image alone."""
    estimator = PoseEstimator(config_of(weights, batch_size=8))
    images = [Image.fromarray(np.asarray(crop.resize((size, 2 * size)))) for crop, size in zip(crops(), range(31, 38), strict=True)]
    batches: list[int] = []
    detect = estimator._detect
    monkeypatch.setattr(estimator, "_detect", lambda boxed, shapes: (batches.append(len(boxed)), detect(boxed, shapes))[1])
    together = estimator.estimate(images)
    assert batches == [7]
    for image, person in zip(images, together, strict=True):
        (alone,) = estimator.estimate([image])
        assert person is not None and alone is not None
        assert np.allclose(alone.keypoints, person.keypoints, atol=1e-2)


def test_in_a_photograph_a_person_is_found_and_then_looked_at_closer(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = PoseEstimator(config_of(weights, image_size="auto"))
    looked: list[tuple[int, tuple[int, ...]]] = []
    look = estimator._look

    def telling(arrays: list[np.ndarray], size: int) -> list[PersonPose | None]:
        looked.extend((size, array.shape[:2]) for array in arrays)
        return look(arrays, size)

    monkeypatch.setattr(estimator, "_look", telling)
    photograph = decode_image(jpeg(1, 700, 900))
    crop, person = estimator.estimate([crops()[0], photograph])
    assert crop is not None and person is not None
    assert [size for size, _ in looked] == [CROP_SIZE, SCENE_SIZE, CROP_SIZE]
    assert scene_size((300, 220), 32) == 320
    assert looked[2][1][0] <= 700 and looked[2][1][1] <= 900
    (again,) = estimator.estimate([crops()[0]])
    assert again is not None and np.array_equal(again.keypoints, crop.keypoints)


def test_the_shipped_weights_say_that_a_photograph_is_of_another_kind(caplog: pytest.LogCaptureFixture) -> None:
    estimator = PoseEstimator(settled(load_params(ROOT / "params.yaml").pose, [(128, 64)]).model_copy(update={"device": "cpu"}))
    estimator.estimate([crops()[0]])
    assert not caplog.records
    photograph = Image.new("RGB", (640, 480), "teal")
    estimator.estimate([photograph])
    estimator.estimate([photograph])
    [record] = caplog.records
    assert "an image of 640 x 480 pixels is of another kind" in record.getMessage()
