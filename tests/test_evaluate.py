"""The evaluation as a whole: our generator and other people's images on the same ground, an exact ceiling, honest gaps."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from torch.nn.functional import adaptive_avg_pool2d

from pipeline.evaluate import networks
from pipeline.evaluate.metrics import METRICS
from pipeline.evaluate.report import Evaluation, facts, render
from pipeline.evaluate.scores import flat_metrics
from pipeline.evaluate.stage import Places, doubt, judge, judging_detector, open_stream, other_images, own_images, summary_table
from pipeline.evaluate.stage import evaluate as command
from posegan.config import Params
from posegan.errors import PoseGANError
from posegan.frozen.inception import CLASSES, FEATURES
from posegan.frozen.weights import Weights
from posegan.model.generator_file import save_generator
from posegan.model.networks import Generator
from posegan.people.detectors import shipped
from posegan.people.estimator import PersonPose
from tests.support.random_weights import random_state, save_weights
from tests.support.small_market import Prepared
from tests.support.tiny_run import HEIGHT, WIDTH, random_batch, tiny_params

STAND_INS = [name for name, metric in METRICS.items() if metric.stands_in]


class OneDetector:
    """Finds the same person in every image."""

    def estimate(self, images: Sequence[object]) -> list[PersonPose | None]:
        keypoints = random_batch(5).target_keypoints[0].numpy()
        return [PersonPose(keypoints, 0.9, np.array([0, 0, WIDTH, HEIGHT], np.float32)) for _ in images]


def save_model(path: Path, **changes: dict[str, int]) -> Path:
    params = tiny_params(**changes)
    torch.manual_seed(0)
    save_generator(path, Generator(params.model, params.image), params.model, params.image, {"features": "none"})
    return path


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))  # whoever runs this may have weights there


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "generator.safetensors")


def evaluated(params: Params, prepared: Prepared, model: Path, folder: Path, save: Path | None = None) -> Evaluation:
    places = Places(prepared.shards, folder / "weights", folder / "downloads", folder / "state")
    subject = own_images(params, open_stream(params, prepared.shards, None), model, save)
    return judge(params, subject, OneDetector(), places)[0]


def judged(params: Params, prepared: Prepared, images: Path, listed: list[tuple[str, str]] | None, folder: Path) -> Evaluation:
    places = Places(prepared.shards, folder / "weights", folder / "downloads", folder / "state")
    subject = other_images(params, open_stream(params, prepared.shards, listed), images, listed)
    return judge(params, subject, OneDetector(), places)[0]


@pytest.fixture(scope="module")
def evaluation(prepared: Prepared, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluated(tiny_params(), prepared, model, tmp_path_factory.mktemp("own"))


def test_each_pair_has_a_row_and_the_summary_is_its_mean(evaluation: Evaluation) -> None:
    table, summary = evaluation.table, evaluation.summary
    assert len(table) == 5
    assert table["source"].str.startswith("bounding_box_test").all()
    assert table["file"].isna().all()
    assert (table["identity"] % 2 == 1).all()
    for name in ("ssim", "ssim_paper", "mask_ssim", "mask_ssim_paper", "l1", "l1_paper", "psnr", "ds", "found"):
        assert summary["generated"][name] == pytest.approx(table[f"generated_{name}"].mean())
    assert summary["copy_source"]["pck"] == table["copy_source_joints_hit"].sum() / table["copy_source_joints"].sum()
    assert summary["generated"]["l1_paper"] == pytest.approx(2 * summary["generated"]["l1"], abs=1e-5)
    for prefix in ("source_pose", "target_pose", "generated_found_pose"):
        assert table.filter(like=prefix).shape[1] == 54
    missing = table["target_pose_left_ear_confidence"] == 0  # the fake detector's joint 17
    assert (table["target_pose_left_ear_x"].isna() == missing).all()


def test_the_ceiling_is_exact(evaluation: Evaluation) -> None:
    real = evaluation.summary["real_target"]
    assert [real[name] for name in ("ssim", "ssim_paper", "mask_ssim", "mask_ssim_paper", "l1", "psnr")] == [1, 1, 1, 1, 0, math.inf]
    assert real["ds"] == pytest.approx(0.9)
    assert real["found"] == 1


def test_a_detector_that_does_not_see_the_real_images_is_doubted(evaluation: Evaluation) -> None:
    assert doubt(evaluation.scores._replace(values={"real_target": {"found": 1.0, "pck": 0.94}}), "a.pt") == ""
    blind = doubt(evaluation.scores._replace(values={"real_target": {"found": 0.98, "pck": 0.47}}), "weights/drawn.pt")
    assert blind.startswith("warning: on the real images drawn.pt finds 98% of the people and 47% of their joints")
    assert "evaluate.detector.weights" in blind


def test_the_judge_is_a_parameter_of_its_own() -> None:
    params = tiny_params()
    assert judging_detector(params).weights == str(shipped().path)
    named = tiny_params(evaluate={"detector": {"weights": "yolo11x-pose.pt", "sha256": "", "image_size": 320}})
    judge = judging_detector(named)
    assert (judge.weights, judge.image_size, judge.source) == ("yolo11x-pose.pt", 320, "detector")
    assert (judge.person_confidence, named.pose.weights) == (params.pose.person_confidence, params.pose.weights)


def test_the_report_says_what_is_so(evaluation: Evaluation) -> None:
    told = dict(facts(evaluation))
    assert "of the split test, drawn with seed 0" in told["Data"]
    assert "What the generator draws for pairs of the people held out" in render(evaluation, [])
    annotated = evaluation.params.model_copy(update={"pose": evaluation.params.pose.model_copy(update={"source": "annotations"})})
    other = evaluation._replace(card=None, listed=True, params=annotated)
    page = render(other, [])
    assert "Images of another program for pairs that somebody listed" in page
    assert "the joints to find are the published ones" in page
    assert "drawn with seed" not in dict(facts(other))["Data"]


def test_numbered_files_want_their_list(prepared: Prepared, tmp_path: Path) -> None:
    for number in range(5):
        PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / f"{number}.png")
    params = tiny_params()
    with pytest.raises(PoseGANError, match="its files have numbers, which are rows of a list of pairs; name that list with --pairs"):
        other_images(params, open_stream(params, prepared.shards, None), tmp_path, None)


def test_batches_do_not_matter(evaluation: Evaluation, tmp_path: Path, prepared: Prepared, model: Path) -> None:
    other = evaluated(tiny_params(evaluate={"batch_size": 5}), prepared, model, tmp_path)
    pd.testing.assert_frame_equal(other.table, evaluation.table, atol=0.02)
    assert np.array_equal(other.pictures.poses, evaluation.pictures.poses)
    for number, (source, target) in enumerate(zip(other.table["source"], other.table["target"], strict=True)):
        assert np.array_equal(other.pictures.row(number, source, target)[0], evaluation.pictures.row(number, source, target)[0])


def test_without_weights_there_is_no_number_and_a_reason(evaluation: Evaluation) -> None:
    numbers = json.loads(json.dumps(flat_metrics(evaluation.scores, 5), allow_nan=False))
    for name in ("lpips", "mask_lpips", "lpips_vgg", "fid", "kid", "is", "is_paper", "mask_is", "mask_is_paper", "identity_similarity"):
        assert numbers[name] is None
        assert any(reason.startswith(f"{name}: no weights of") for reason in numbers["reasons"])
    assert numbers["pairs"] == 5
    assert set(METRICS) <= set(numbers)
    assert not {"copy_lpips", "copy_mask_lpips", "copy_lpips_vgg"} & set(numbers)
    low, high = numbers["intervals"]["ssim"]
    assert low <= numbers["ssim"] <= high
    text = summary_table(evaluation)
    assert f"{numbers['ssim']:.4f}" in text
    assert "fid: no weights of Inception" in text


def test_random_filters_are_named_in_all_that_they_touched(evaluation: Evaluation) -> None:
    numbers = flat_metrics(evaluation.scores, 5)
    for name in STAND_INS:
        assert 0 < numbers[name] < 10  # type: ignore[operator]
        assert numbers[f"copy_{name}"] == pytest.approx(evaluation.table[f"copy_source_{name}"].mean(), abs=1e-6)
        assert (evaluation.table[f"real_target_{name}"] == 0).all()
        assert f"{name} " in summary_table(evaluation)
    assert ("Weights: alexnet", "AlexNet, random filters (seed 0)") in facts(evaluation)


class FewFilters:
    """In the place of Inception, which takes seconds for ten images (one goes through it below): mixtures of sixteen mean colours."""

    def __init__(self, weights: Weights, device: torch.device) -> None:
        assert weights.description.startswith("inception")
        self._mixtures = torch.randn(48, FEATURES + CLASSES, generator=torch.Generator().manual_seed(0))

    def __call__(self, images: torch.Tensor) -> npt.NDArray[np.float32]:
        return (adaptive_avg_pool2d(images / 255, 4).flatten(1) @ self._mixtures).numpy()


def test_with_weights_every_metric_has_a_number(prepared: Prepared, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "InceptionNetwork", FewFilters)
    chosen = {name: str(tmp_path / f"{name}.pth") for name in ("inception", "alexnet", "vgg16", "reid")}
    for name, path in chosen.items():
        save_weights(Path(path), random_state(name))
    params = tiny_params(evaluate={"weights": chosen, "pairs": 10, "batch_size": 10})
    first = evaluated(params, prepared, model, tmp_path)
    numbers = flat_metrics(first.scores, 10)
    assert [name for name in METRICS if name not in STAND_INS and numbers[name] is None] == []
    assert not any("random_filters" in name for name in (*numbers, *first.table, *first.summary["generated"]))
    assert "random" not in summary_table(first)
    few = "of 10 images: too high by an unknown amount below 2,048; see kid, which is not"
    assert numbers["reasons"] == [f"fid: {few}", f"fid_train: {few}"]
    assert numbers["identity_similarity"] <= 1  # type: ignore[operator]
    assert numbers["is"] >= 1  # type: ignore[operator]
    assert all("not the official file" in description for _, description in first.weights)
    assert len(first.weights) == 4
    assert first.summary["real_target"]["lpips"] == 0
    assert first.table["generated_lpips"].between(1e-9, 10).all()
    before = {path: path.read_bytes() for path in (tmp_path / "state").iterdir()}
    assert len(before) == 2  # the real images' features, and the train set's moments
    assert flat_metrics(evaluated(params, prepared, model, tmp_path).scores, 10) == numbers  # with features of the first run
    assert {path: path.read_bytes() for path in (tmp_path / "state").iterdir()} == before


def test_our_images_in_files_score_as_they_do_in_memory(evaluation: Evaluation, prepared: Prepared, model: Path, tmp_path: Path) -> None:
    saved = evaluated(tiny_params(), prepared, model, tmp_path, tmp_path / "images")
    assert saved.table["file"].tolist() == [path for path in saved.table["file"] if (tmp_path / "images" / path).is_file()]
    foreign = judged(tiny_params(), prepared, tmp_path / "images", None, tmp_path)
    pd.testing.assert_frame_equal(foreign.table, saved.table)
    assert flat_metrics(foreign.scores, 5) == flat_metrics(saved.scores, 5)
    assert saved.scores.values == evaluation.scores.values
    assert foreign.card is None


def test_a_list_is_judged_in_its_own_order(evaluation: Evaluation, prepared: Prepared, model: Path, tmp_path: Path) -> None:
    evaluated(tiny_params(), prepared, model, tmp_path, tmp_path / "images")
    rows = evaluation.table.iloc[[3, 0, 4, 0]].reset_index(drop=True)  # one pair twice
    listed = [(Path(source).name, Path(target).stem) for source, target in zip(rows["source"], rows["target"], strict=True)]
    found = judged(tiny_params(), prepared, tmp_path / "images", listed, tmp_path)
    pd.testing.assert_frame_equal(found.table.drop(columns="file"), rows.drop(columns="file"), atol=0.02)


def test_one_pair_is_enough(evaluation: Evaluation, prepared: Prepared, model: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "inception.pth", random_state("inception"))
    weights = {"inception": str(tmp_path / "inception.pth"), "alexnet": "", "vgg16": "", "reid": ""}
    one = evaluated(tiny_params(evaluate={"pairs": 1, "weights": weights}), prepared, model, tmp_path)
    numbers = flat_metrics(one.scores, 1)
    assert numbers["ssim"] == pytest.approx(one.table["generated_ssim"].iloc[0])
    assert "ssim" not in numbers["intervals"]  # type: ignore[operator]
    assert numbers["fid"] is numbers["kid"] is numbers["is_paper"] is None
    assert numbers["is"] == pytest.approx(1)
    assert any(str(reason).startswith("fid: a covariance needs at least 2 images") for reason in numbers["reasons"])  # type: ignore[union-attr]


def test_a_model_of_another_size_is_refused(tmp_path: Path, prepared: Prepared) -> None:
    model = save_model(tmp_path / "generator.safetensors", image={"height": 64, "width": 64})
    with pytest.raises(PoseGANError, match="draws images of 64 x 64, params ask for 128 x 64"):
        evaluated(tiny_params(), prepared, model, tmp_path)


def test_weights_that_are_named_must_be_good(prepared: Prepared, model: Path, tmp_path: Path) -> None:
    (tmp_path / "alexnet.pth").write_bytes(b"nothing")
    weights = {"inception": "", "alexnet": str(tmp_path / "alexnet.pth"), "vgg16": "", "reid": ""}
    with pytest.raises(PoseGANError, match=r"evaluate\.weights\.alexnet: .*not a readable state dict"):
        evaluated(tiny_params(evaluate={"weights": weights}), prepared, model, tmp_path)


def test_lists_that_cannot_be_judged_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    PIL.Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images" / "a_2_b.png")
    with pytest.raises(PoseGANError, match="holds no pair"):
        judged(tiny_params(), prepared, tmp_path / "images", [], tmp_path)
    absent = r"1 of 1 listed pairs are not two images of one person .* a and b; no image there is called a, .*set pair\.test_pairs"
    with pytest.raises(PoseGANError, match=absent):
        judged(tiny_params(), prepared, tmp_path / "images", [("a", "b")], tmp_path)
    with pytest.raises(PoseGANError, match=r"5 of 5 pairs have no image|\d of \d pairs have no image, the first .*expected .*_2_.*\.png"):
        judged(tiny_params(), prepared, tmp_path / "images", None, tmp_path)


def test_the_command_names_options_that_exclude_each_other(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--images", str(tmp_path), "--save-images", str(tmp_path)])
    assert isinstance(result.exception, PoseGANError)
    assert "--save-images" in str(result.exception)
