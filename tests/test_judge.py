"""The judge: detection against the target pose, and the right rows in the grids."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from pipeline.evaluate.judge import Judge
from pipeline.evaluate.networks import Networks
from pipeline.evaluate.scores import METHODS, summarise
from posegan.frozen.lpips import RandomFilterDistance
from posegan.metrics.pose_masks import masked, pose_masks
from posegan.people.estimator import PersonPose
from tests.support.tiny_run import HEIGHT, WIDTH, random_batch, tiny_params

NO_NETWORKS = Networks(None, None, None, None, None, {}, {}, {})


class ScriptedDetector:
    """Hands out the given people for each image of a batch, by the image's first pixel."""

    def __init__(self, people: dict[int, PersonPose | None]) -> None:
        self.people = people
        self.seen = 0

    def estimate(self, images: Sequence[object]) -> list[PersonPose | None]:
        self.seen += len(images)
        return [self.people.get(int(np.asarray(image)[0, 0, 0])) for image in images]


def person(keypoints: torch.Tensor, confidence: float) -> PersonPose:
    return PersonPose(keypoints.numpy(), confidence, np.array([0, 0, WIDTH, HEIGHT], np.float32))


def test_detection_is_scored_against_the_target_pose() -> None:
    batch = random_batch(0)
    target = batch.target_keypoints
    height = target[:, :, 1].amax(dim=1) - target[:, :, 1].amin(dim=1)
    off = target.clone()
    off[0, :9, 0] += 0.11 * height[0]  # just beyond the threshold of 0.1
    off[0, 9:, 0] += 0.09 * height[0]
    generated = batch.target_images.clone()
    generated[0, :, 0, 0], generated[1, :, 0, 0] = 1, 2
    batch.source_images[:, :, 0, 0] = batch.target_images[:, :, 0, 0] = 3
    judge = Judge(ScriptedDetector({1: person(off[0], 0.8)}), NO_NETWORKS, tiny_params().evaluate)
    judge.add(batch, generated)
    values = summarise(judge.table(), {}, {}, 100, 0).values
    assert values["generated"]["pck"] == 9 / 36
    assert values["generated"]["ds"] == pytest.approx(0.4)
    assert values["generated"]["found"] == 0.5
    assert values["copy_source"]["found"] == 0


def test_a_real_image_of_many_pairs_is_looked_at_once() -> None:
    batch = random_batch(0)
    detector = ScriptedDetector({})
    judge = Judge(detector, NO_NETWORKS, tiny_params().evaluate)
    for _ in range(3):
        judge.add(batch, batch.target_images)
    assert detector.seen == 3 * 2 * 2 + 4  # generated and warped each time, sources and targets once
    assert len(judge.table()) == 6
    assert "detector" in str(judge.watch)


def test_lpips_has_a_stand_in_under_its_own_name() -> None:
    batch, distance = random_batch(0), RandomFilterDistance(torch.device("cpu"))
    without, standing_in = NO_NETWORKS, NO_NETWORKS._replace(random_filters=distance)
    tables = []
    for networks in (without, standing_in):
        judge = Judge(ScriptedDetector({}), networks, tiny_params().evaluate)
        judge.add(batch, batch.source_images.flip(3))
        tables.append(judge.table())
    assert set(tables[1]) - set(tables[0]) == {
        f"{method}_{name}" for method in METHODS for name in ("lpips_random_filters", "mask_lpips_random_filters")
    }
    masks = pose_masks(batch.target_keypoints, HEIGHT, WIDTH)
    for method, images in (("generated", batch.source_images.flip(3)), ("copy_source", batch.source_images)):
        whole, inside = (tables[1][f"{method}_{name}"].to_numpy() for name in ("lpips_random_filters", "mask_lpips_random_filters"))
        np.testing.assert_allclose(whole, distance(images, batch.target_images), atol=1e-6)
        np.testing.assert_allclose(inside, distance(masked(images, masks), masked(batch.target_images, masks)), atol=1e-6)
    assert (tables[1].filter(regex="^real_target_.*random_filters") == 0).all(axis=None)
