"""The evaluation: means of the per-pair scores, an exact floor and ceiling, the right rows in the grids."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Prepared
from tiny_run import HEIGHT, WIDTH, random_batch, tiny_params

from pipeline.evaluate import Judge, flat_metrics, judge_generator, summarise
from pipeline.report import Evaluation
from pipeline.stopwatch import Stopwatch
from pipeline.tables import read_keypoints
from posegan.checkpoint import save_generator
from posegan.errors import PoseGANError
from posegan.estimator import PersonPose
from posegan.networks import Generator


class ScriptedDetector:
    """Hands out the given people, one an image, over and over."""

    def __init__(self, people: Sequence[PersonPose | None]) -> None:
        self.people = people

    def estimate(self, images: Sequence[object]) -> list[PersonPose | None]:
        assert len(images) == len(self.people)
        return list(self.people)


class OneDetector:
    """Finds the same person in every image."""

    def estimate(self, images: Sequence[object]) -> list[PersonPose | None]:
        return [person(random_batch(5).target_keypoints[0], 0.9) for _ in images]


def person(keypoints: torch.Tensor, confidence: float) -> PersonPose:
    return PersonPose(keypoints.numpy(), confidence, np.array([0, 0, WIDTH, HEIGHT], np.float32))


def save_model(path: Path, **changes: dict[str, int]) -> Path:
    params = tiny_params(**changes)
    torch.manual_seed(0)
    save_generator(path, Generator(params.model, params.image), params.model, params.image, {"features": "none"})
    return path


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Evaluation:
    model = save_model(tmp_path_factory.mktemp("model") / "generator.safetensors")
    return judge_generator(tiny_params(), prepared.shards, model, OneDetector())


def test_each_pair_has_a_row_and_the_summary_is_its_mean(evaluation: Evaluation) -> None:
    table, summary = evaluation.table, evaluation.summary
    assert len(table) == 5
    assert table["source"].str.startswith("bounding_box_test").all()
    for name in ("ssim", "mask_ssim", "l1", "psnr", "ds", "found"):
        assert summary["generated"][name] == pytest.approx(table[f"generated_{name}"].mean())
    assert summary["copy_source"]["pck"] == table["copy_source_joints_hit"].sum() / table["copy_source_joints"].sum()


def test_the_ceiling_is_exact(evaluation: Evaluation) -> None:
    real = evaluation.summary["real_target"]
    assert (real["ssim"], real["mask_ssim"], real["l1"], real["psnr"]) == pytest.approx((1, 1, 0, math.inf))
    assert real["ds"] == pytest.approx(0.9)
    assert real["found"] == 1


def test_batches_do_not_matter(evaluation: Evaluation, tmp_path: Path, prepared: Prepared) -> None:
    model = save_model(tmp_path / "generator.safetensors")
    other = judge_generator(tiny_params(evaluate={"batch_size": 5}), prepared.shards, model, OneDetector())
    pd.testing.assert_frame_equal(other.table, evaluation.table, atol=0.02)
    assert np.array_equal(other.pictures.poses, evaluation.pictures.poses)
    for number, (source, target) in enumerate(zip(other.table["source"], other.table["target"], strict=True)):
        assert np.array_equal(other.pictures.row(number, source, target)[0], evaluation.pictures.row(number, source, target)[0])


def test_metrics_are_flat_numbers_that_json_has(evaluation: Evaluation) -> None:
    numbers = flat_metrics(evaluation)
    own = ["ssim", "mask_ssim", "l1", "psnr", "ds", "pck"]
    assert list(numbers) == [*own, *(f"copy_{name}" for name in own), "real_ds", "real_pck", "pairs"]
    assert numbers["pairs"] == 5
    json.dumps(numbers, allow_nan=False)
    perfect = evaluation._replace(summary={**evaluation.summary, "copy_source": evaluation.summary["real_target"]})
    assert "copy_psnr" not in flat_metrics(perfect)


def test_detection_is_scored_against_the_target_pose() -> None:
    batch = random_batch(0)
    target = batch.target_keypoints
    height = target[:, :, 1].amax(dim=1) - target[:, :, 1].amin(dim=1)
    off = target.clone()
    off[0, :9, 0] += 0.11 * height[0]  # just beyond the threshold of 0.1
    off[0, 9:, 0] += 0.09 * height[0]
    judge = Judge(ScriptedDetector([person(off[0], 0.8), None]), tiny_params().evaluate, Stopwatch())
    judge.add(batch, batch.target_images)
    summary = summarise(judge.table())["generated"]
    assert summary["pck"] == 9 / 36
    assert summary["ds"] == pytest.approx(0.4)
    assert summary["found"] == 0.5


def test_the_album_has_each_pairs_pictures_and_poses(evaluation: Evaluation, prepared: Prepared) -> None:
    assert len(evaluation.pictures) == len(evaluation.table)
    keypoints = read_keypoints(prepared.keypoints)
    names = keypoints.table["image"].to_pylist()
    for number, (source, target) in enumerate(zip(evaluation.table["source"], evaluation.table["target"], strict=True)):
        shown, _, generated, real = evaluation.pictures.row(number, source, target)
        assert shown.shape == generated.shape == real.shape == (HEIGHT, WIDTH, 3)
        for end, name in enumerate((source, target)):
            confidence = keypoints.joints[names.index(name)][:, 2]
            assert np.allclose(evaluation.pictures.poses[number, end, :, 2], confidence, atol=1e-3)


def test_the_time_of_each_part_is_heard_of(prepared: Prepared, tmp_path: Path) -> None:
    watch = Stopwatch()
    judge_generator(tiny_params(), prepared.shards, save_model(tmp_path / "generator.safetensors"), OneDetector(), watch)
    assert {"generate", "similarity", "detector", "pictures"} <= set(watch.seconds)
    assert min(watch.seconds.values()) > 0


def test_a_model_of_another_size_is_refused(tmp_path: Path, prepared: Prepared) -> None:
    model = save_model(tmp_path / "generator.safetensors", image={"height": 64, "width": 64})
    with pytest.raises(PoseGANError, match="draws images of 64 x 64, params ask for 128 x 64"):
        judge_generator(tiny_params(), prepared.shards, model, OneDetector())
