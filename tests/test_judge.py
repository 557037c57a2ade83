"""The judge: detection against the target pose, and the right rows in the grids."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tiny_run import HEIGHT, WIDTH, random_batch, tiny_params

from pipeline.judge import Judge
from pipeline.metric_networks import Networks
from pipeline.scores import summarise
from posegan.estimator import PersonPose

NO_NETWORKS = Networks(None, None, None, None, {}, {}, {})


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
    assert detector.seen == 3 * 2 + 4
    assert len(judge.table()) == 6
    assert "detector" in str(judge.watch)
