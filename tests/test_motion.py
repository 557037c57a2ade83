"""Laws of pose sequences: lines across gaps, constants kept, curves through their points, one scale."""

import numpy as np
import pytest

from posegan.errors import PoseGANError
from posegan.people.placing import between, fill_gaps, place_sequence, smooth
from posegan.people.pose_library import library_pose, walk
from posegan.skeleton import LEFT_HIP, LEFT_WRIST, RIGHT_HIP


def line(count: int = 9) -> np.ndarray:
    """A standing pose that moves on a straight line."""
    poses = np.stack([library_pose("standing/front", 128, 64)] * count)
    poses[..., 0] += 3 * np.arange(count)[:, None]
    poses[..., 1] -= np.arange(count)[:, None]
    return poses


def test_a_gap_in_a_line_is_filled_with_the_line() -> None:
    poses, whole = line(), line()
    poses[3:6, LEFT_WRIST] = 0
    np.testing.assert_allclose(fill_gaps(poses, 3), whole, atol=1e-4)
    assert np.array_equal(fill_gaps(poses, 2), poses)
    poses[:2, LEFT_WRIST] = 0
    assert (fill_gaps(poses, 9)[:2, LEFT_WRIST] == 0).all()


def test_smoothing_keeps_what_does_not_move_and_reduces_noise() -> None:
    still = np.stack([library_pose("sitting/left", 128, 64)] * 12)
    np.testing.assert_allclose(smooth(still, 2.0), still, atol=1e-4)
    noisy = still + np.random.default_rng(0).normal(0, 1, still.shape).astype(np.float32) * (1, 1, 0) * (still[..., 2:] > 0)
    smoothed = smooth(noisy.astype(np.float32), 2.0)
    assert np.abs(smoothed - still).mean() < 0.6 * np.abs(noisy - still).mean()
    assert np.array_equal(smooth(noisy.astype(np.float32), 0), noisy.astype(np.float32))
    missing = still.copy()
    missing[4, LEFT_WRIST] = 0
    assert (smooth(missing, 2.0)[4, LEFT_WRIST] == 0).all()


def test_curves_pass_through_the_given_poses_and_lines_stay_lines() -> None:
    keys = line(4)
    curve = between(keys, 5, loop=False)
    assert len(curve) == 3 * 5 + 1
    np.testing.assert_allclose(curve[::5], keys, atol=1e-4)
    np.testing.assert_allclose(curve[5:11, :, 0], np.linspace(keys[1, :, 0], keys[2, :, 0], 6), atol=1e-4)
    cycle = between(walk("left", 8, 128, 64), 4, loop=True)
    assert len(cycle) == 32
    # A curve through every fourth pose of a finer walk is close to that walk.
    both = (cycle[..., 2:] > 0) & (walk("left", 32, 128, 64)[..., 2:] > 0)
    assert np.abs((cycle - walk("left", 32, 128, 64)) * both)[..., :2].max() < 1.5


def test_a_joint_is_between_two_poses_only_if_both_show_it() -> None:
    keys = line(3)
    keys[1, LEFT_WRIST] = 0
    curve = between(keys, 2, loop=False)
    assert (curve[1:4, LEFT_WRIST] == 0).all()
    assert curve[0, LEFT_WRIST, 2] == 1


def test_a_placed_sequence_follows_the_person_at_one_scale() -> None:
    poses = line(12) * np.array([3, 3, 1], np.float32)
    placed = place_sequence(poses, 128, 64, steadiness=0.0)
    np.testing.assert_allclose(placed, np.broadcast_to(placed[0], placed.shape), atol=0.01)
    seen = placed[0][placed[0, :, 2] > 0, :2]
    assert (seen >= 0).all()
    assert (seen <= (63, 127)).all()
    walked = walk("right", 8, 640, 640)
    placed = place_sequence(walked, 128, 64)
    ratio = np.linalg.norm(placed[:, RIGHT_HIP, :2] - placed[:, LEFT_HIP, :2], axis=1) / np.linalg.norm(
        walked[:, RIGHT_HIP, :2] - walked[:, LEFT_HIP, :2], axis=1
    )
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)


def test_a_pose_without_a_torso_cannot_be_placed() -> None:
    poses = line(3)
    poses[1, LEFT_HIP] = 0
    with pytest.raises(PoseGANError, match="fill the gaps first"):
        place_sequence(poses, 128, 64)
