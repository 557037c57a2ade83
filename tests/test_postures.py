"""What a pose shows, on bodies whose posture is known."""

import math

import numpy as np
import pytest

from posegan.people.body import draw_build, draw_posture, pose_body, view
from posegan.people.postures import BACK, FRONT, LEFT, RIGHT, UNCLEAR, arm_angles, leg_angles, views
from posegan.skeleton import (
    HEAD,
    JOINT_COUNT,
    LEFT_ANKLE,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    MIRROR,
    RIGHT_ANKLE,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)


def drawn(yaw: float, count: int = 40) -> np.ndarray:
    """Bodies of the drawn sample, turned by `yaw` degrees (0: face the camera, 90: towards the image's right)."""
    generator, people = np.random.default_rng(0), []
    for _ in range(count):
        build, posture = draw_build(generator), draw_posture(generator, math.radians(yaw))
        body = pose_body(build, posture)
        middle = (body.shoulders[0] + body.shoulders[1]) / 2
        right, left = ([body.shoulders[i], body.elbows[i], body.wrists[i], body.hips[i], body.knees[i], body.ankles[i]] for i in (0, 1))
        points = [body.nose, middle, *right[:3], *left[:3], *right[3:], *left[3:], *body.eyes, *body.ears]
        seen = np.array([view(point, posture.yaw, 0.1) for point in points])
        people.append(np.stack([60 + 100 * seen[:, 0], 120 - 100 * seen[:, 1], np.ones(JOINT_COUNT)], axis=1))
    return np.array(people, np.float32)


@pytest.mark.parametrize(
    ("yaw", "expected"),
    [(0, FRONT), (45, FRONT), (-45, FRONT), (180, BACK), (135, BACK), (225, BACK), (75, RIGHT), (90, RIGHT), (270, LEFT)],
)
def test_drawn_bodies_are_seen_from_where_they_were_drawn(yaw: float, expected: int) -> None:
    assert (views(drawn(yaw)) == expected).mean() > 0.95


@pytest.mark.parametrize("yaw", range(0, 360, 30))
def test_the_mirrored_image_shows_the_mirrored_side(yaw: float) -> None:
    people = drawn(yaw)
    mirrored = people[:, MIRROR].copy()
    mirrored[..., 0] = 127 - mirrored[..., 0]
    other = {FRONT: FRONT, BACK: BACK, LEFT: RIGHT, RIGHT: LEFT, UNCLEAR: UNCLEAR}
    assert [other[side] for side in views(people).tolist()] == views(mirrored).tolist()


def test_size_and_place_do_not_matter() -> None:
    people = np.concatenate([drawn(yaw, 5) for yaw in (0, 90, 180, 270)])
    moved = people * np.array([3, 3, 1], np.float32) + np.array([500, -20, 0], np.float32)
    assert np.array_equal(views(people), views(moved))
    assert np.allclose(arm_angles(people), arm_angles(moved), atol=0.01)
    assert np.allclose(leg_angles(people), leg_angles(moved), atol=0.01)


def test_without_a_torso_or_a_profiles_face_the_side_is_unclear() -> None:
    (front,) = drawn(0, 1)
    front[LEFT_HIP] = 0
    (side,) = drawn(90, 1)
    side[list(HEAD)] = 0
    (nobody,) = np.zeros((1, JOINT_COUNT, 3), np.float32)
    assert views(np.stack([front, side, nobody])).tolist() == [UNCLEAR] * 3
    assert views(np.zeros((0, JOINT_COUNT, 3), np.float32)).shape == (0,)


def standing() -> np.ndarray:
    joints = np.zeros((1, JOINT_COUNT, 3), np.float32)
    for joint, place in {RIGHT_SHOULDER: (20, 30), LEFT_SHOULDER: (40, 30), RIGHT_HIP: (25, 60), LEFT_HIP: (35, 60)}.items():
        joints[0, joint] = (*place, 1)
    return joints


def test_arms_down_are_0_level_90_and_up_180_degrees() -> None:
    joints = standing()
    assert np.isnan(arm_angles(joints)).all()
    for wrist, expected in (((20, 50), 0), ((0, 30), 90), ((20, 5), 180), ((30, 40), 45)):
        joints[0, RIGHT_WRIST] = (*wrist, 1)
        assert arm_angles(joints) == pytest.approx(expected)
    joints[0, LEFT_WRIST] = (40, 50, 1)
    assert arm_angles(joints) == pytest.approx(45 / 2)


def test_the_angle_between_the_legs() -> None:
    joints = standing()
    joints[0, RIGHT_ANKLE] = (25, 100, 1)
    assert np.isnan(leg_angles(joints)).all()
    joints[0, LEFT_ANKLE] = (35, 90, 1)
    assert leg_angles(joints) == pytest.approx(0)
    joints[0, LEFT_ANKLE] = (65, 90, 1)
    assert leg_angles(joints) == pytest.approx(45)
    joints[0, RIGHT_ANKLE] = (-5, 90, 1)
    assert leg_angles(joints) == pytest.approx(90)
