"""Joints' confidences that say how often a joint is right.

Training asks whether a joint is in the picture, not how near its place is: a knee of a real crop came out at 0.98 on average, and 86 % of
knees were near; a nose at 0.92, and 97 %. So knees were among the surest and the least right. Each joint's logit is divided by a
temperature of its own (Guo et al., 2017, On calibration of modern neural networks), about the logit of the confidence below which a joint
is missing, so that those that were found stay found. No place moves.

Legend: J = 17 joints in COCO's order, N people found.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pipeline.pose_model.crops import Crop
from pipeline.pose_model.drawings import CALIBRATING
from pipeline.pose_model.labels import COCO_MIRROR, COCO_TO_JOINT
from pipeline.pose_model.measure import (
    CROP_PIXELS,
    DRAWING_PIXELS,
    JOINT_CONFIDENCE,
    Floats,
    Known,
    estimator_of,
    known_crops,
    known_drawings,
)
from posegan.people.estimator import PersonPose
from posegan.skeleton import JOINTS

CROPS, DRAWINGS = 2_000, 1_000  # to set temperatures by
_LOWEST, _HIGHEST = 0.05, 20.0  # temperatures
_HALVINGS = 60
_NEAR_ONE = 1e-6  # how near to 0 or 1 a confidence counts: a 1 of float32 has no logit
_PIVOT = math.log(JOINT_CONFIDENCE / (1 - JOINT_CONFIDENCE))  # the logit that stays


class Judged(NamedTuple):
    """Joints found in pictures of one kind."""

    logits: Floats  # (N, J) of their confidences, less that of the confidence at which a joint is found
    right: npt.NDArray[np.bool_]  # (N, J) whether found near where it is
    known: npt.NDArray[np.bool_]  # (N, J) whether that is known; the others count for nothing


def measured_temperatures(weights: Path, image_size: int, crops: Sequence[Crop], seed: int) -> npt.NDArray[np.float32]:
    """The temperatures for `weights`, by some of the real crops of training and by drawings that neither training nor measuring sees."""
    estimator = estimator_of(weights, image_size)
    kinds = [
        (known_crops([crops[int(place)] for place in np.linspace(0, len(crops) - 1, min(CROPS, len(crops)))]), CROP_PIXELS),
        (known_drawings(DRAWINGS, seed, 0.5, CALIBRATING), DRAWING_PIXELS),
    ]
    return temperatures([judged(known, estimator.estimate([each.image for each in known]), pixels) for known, pixels in kinds])


def judged(known: Sequence[Known], people: Sequence[PersonPose | None], pixels: float) -> Judged:
    """Compare joints with where they are known to be; a joint within `pixels` is right."""
    seen = [(each.joints, person.keypoints) for each, person in zip(known, people, strict=True) if person is not None]
    truth, found = np.array(seen, dtype=float).reshape(-1, 2, len(JOINTS), 3)[:, :, COCO_TO_JOINT].swapaxes(0, 1)
    confidences = found[..., 2].clip(_NEAR_ONE, 1 - _NEAR_ONE)
    near = np.linalg.norm(found[..., :2] - truth[..., :2], axis=-1) <= pixels
    return Judged(np.log(confidences / (1 - confidences)) - _PIVOT, near & (found[..., 2] > 0), truth[..., 2] > 0)


def temperatures(kinds: Sequence[Judged]) -> npt.NDArray[np.float32]:
    """One temperature a joint, `(J,)`, left and right the same: that of least cross-entropy, each kind of pictures weighing the same."""
    result = np.ones(len(COCO_MIRROR), np.float32)
    for joint, other in enumerate(COCO_MIRROR):
        sides = [joint, other] if joint != other else [joint]
        parts = [(kind.logits[:, sides][kind.known[:, sides]], kind.right[:, sides][kind.known[:, sides]]) for kind in kinds]
        result[joint] = _temperature([(logits, right) for logits, right in parts if len(logits)])
    return result


def _temperature(kinds: Sequence[tuple[Floats, npt.NDArray[np.bool_]]]) -> float:
    """The loss is convex in 1 / temperature, so its slope only rises, and the place where that is zero is found by halving."""
    if not kinds:
        return 1.0
    low, high = 1 / _HIGHEST, 1 / _LOWEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        slope = sum(float(((1 / (1 + np.exp(-_PIVOT - middle * logits)) - right) * logits).mean()) for logits, right in kinds)
        low, high = (middle, high) if slope < 0 else (low, middle)
    return 1 / low


def cool(network: torch.nn.Module, by_joint: npt.NDArray[np.float32]) -> None:
    """Divide the joints' logits by temperatures `(J,)`, in the weights of the last layers, which give x, y and logit of each joint."""
    divisors = torch.ones(len(by_joint), 3)
    divisors[:, 2] = torch.from_numpy(by_joint)
    stays = torch.tensor([0.0, 0.0, _PIVOT]).repeat(len(by_joint))
    with torch.no_grad():
        for branch in network.model[-1].cv4:  # type: ignore[index, union-attr]  # one of each stride
            last = branch[-1]
            last.weight.div_(divisors.to(last.weight).view(-1, 1, 1, 1))
            last.bias.sub_(stays).div_(divisors.to(last.bias).view(-1)).add_(stays)
