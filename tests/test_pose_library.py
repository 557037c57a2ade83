"""Laws of the built-in poses: inside the picture, usable torsos, faces where a face would be seen, a walk that closes."""

import numpy as np
import pytest
import torch

from posegan.errors import PoseGANError
from posegan.model.geometry import part_affines
from posegan.people.pose_library import POSES, SIDES, library_pose, pose_names, walk
from posegan.skeleton import LEFT_ANKLE, LEFT_EYE, LEFT_SHOULDER, MIRROR, NOSE, RIGHT_ANKLE, RIGHT_EYE, RIGHT_SHOULDER, TORSO

SIZES = ((128, 64), (256, 176), (256, 256), (64, 32))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_pose_is_inside_the_picture_with_its_torso(height: int, width: int) -> None:
    for name in pose_names():
        pose = library_pose(name, height, width)
        seen = pose[pose[:, 2] > 0, :2]
        assert (seen >= 0).all(), name
        assert (seen <= (width - 1, height - 1)).all(), name
        assert (pose[TORSO, 2] > 0).all(), name
        assert (pose[pose[:, 2] == 0] == 0).all(), name


def test_poses_are_distinct_and_scale_with_the_picture() -> None:
    poses = {name: library_pose(name, 128, 64) for name in pose_names()}
    assert len(poses) == len(POSES) * len(SIDES)
    assert len({pose.tobytes() for pose in poses.values()}) == len(poses)
    for name, pose in poses.items():
        doubled = library_pose(name, 256, 128)
        np.testing.assert_allclose(np.diff(doubled[pose[:, 2] > 0, :2], axis=0), 2 * np.diff(pose[pose[:, 2] > 0, :2], axis=0), atol=1e-3)


def test_every_pose_can_be_reached_from_every_other() -> None:
    poses = torch.from_numpy(np.stack([library_pose(name, 128, 64) for name in pose_names()]))
    _, valid = part_affines(poses, poses.flip(0))
    assert bool(valid[:, 0].all())


def test_sides_are_what_they_are_called() -> None:
    front, back = library_pose("standing/front", 128, 64), library_pose("standing/back", 128, 64)
    assert front[RIGHT_SHOULDER, 0] < front[LEFT_SHOULDER, 0]
    assert back[RIGHT_SHOULDER, 0] > back[LEFT_SHOULDER, 0]
    assert front[NOSE, 2] > 0
    assert back[[NOSE, RIGHT_EYE, LEFT_EYE], 2].max() == 0
    left, right = library_pose("standing/left", 128, 64), library_pose("standing/right", 128, 64)
    assert left[NOSE, 0] < 31.5 < right[NOSE, 0]
    # One side is the mirror image of the other, with the joints of the other side of the body.
    mirrored = right[list(MIRROR)]
    mirrored[:, 0] = np.where(mirrored[:, 2] > 0, 63 - mirrored[:, 0], 0)
    np.testing.assert_allclose(left, mirrored, atol=1e-3)


def test_a_walk_closes_and_half_a_walk_swaps_the_legs() -> None:
    frames = walk("left", 16, 128, 64)
    steps = np.abs(np.diff(np.concatenate([frames, frames[:1]]), axis=0)[..., :2]).max(axis=(1, 2))
    assert steps.max() < 3 * np.median(steps)
    ahead = frames[:, RIGHT_ANKLE, 0] - frames[:, LEFT_ANKLE, 0]
    assert ahead[4] < 0 < ahead[12]
    assert np.array_equal(walk("left", 8, 128, 64)[2], library_pose("walking-3/left", 128, 64))


@pytest.mark.parametrize("name", ["flying", "standing/above", "", "standing/front/left"])
def test_an_unknown_pose_is_named_with_the_known_ones(name: str) -> None:
    with pytest.raises(PoseGANError, match="no such pose; poses are standing"):
        library_pose(name, 128, 64)
    with pytest.raises(PoseGANError, match="sides are front"):
        walk("above", 4, 128, 64)
