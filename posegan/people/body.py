"""The body: build, posture, and where its joints stand in space.

The person's frame: x to their left, y up, z forward, in units of their own stature, the ground at
y = 0. `view` turns it by the yaw (0 = faces the camera, pi = seen from behind) and tips it by the
camera's pitch; the result is x to the image's right, y up, and z towards the camera.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from posegan.skeleton import JOINT_COUNT, LEFT_EAR, LEFT_EYE, NOSE, RIGHT_EAR, RIGHT_EYE

Floats = npt.NDArray[np.float64]


class Build(NamedTuple):
    """Proportions of one identity, as factors of an average adult's (but `stature`: see `scene`)."""

    stature: float
    shoulders: float
    hips: float
    bulk: float
    head: float
    legs: float


class Posture(NamedTuple):
    """Angles in radians. Pairs are (right, left); swing is forward, spread is sideways."""

    yaw: float
    head_yaw: float
    lean: float
    thigh_swing: tuple[float, float]
    thigh_spread: tuple[float, float]
    knee_bend: tuple[float, float]
    arm_swing: tuple[float, float]
    arm_spread: tuple[float, float]
    elbow_bend: tuple[float, float]
    forearm_turn: tuple[float, float]


def draw_build(rng: np.random.Generator) -> Build:
    """A random adult or, rarely, a child (larger head, shorter legs)."""
    child = rng.random() < 0.06
    return Build(
        stature=rng.uniform(0.88, 0.93) if child else rng.uniform(0.92, 1.0),
        shoulders=rng.normal(1.0, 0.07),
        hips=rng.normal(1.0, 0.08),
        bulk=float(np.clip(rng.normal(1.0, 0.14), 0.75, 1.45)),
        head=rng.uniform(1.15, 1.3) if child else rng.uniform(0.95, 1.1),
        legs=rng.uniform(0.92, 0.97) if child else rng.uniform(0.97, 1.03),
    )


def draw_posture(rng: np.random.Generator, yaw: float) -> Posture:
    """A random walking (two in three) or standing posture, seen from about `yaw`."""
    walking = rng.random() < 0.67
    stride = rng.uniform(0.2, 0.55) if walking else rng.uniform(0.0, 0.12)
    phase = rng.uniform(0, 2 * math.pi)
    swing = stride * math.sin(phase)
    lifted = stride * max(0.0, math.cos(phase)) * rng.uniform(1.0, 2.2)
    arms = [_arm(rng, -swing * rng.uniform(0.6, 1.2)), _arm(rng, swing * rng.uniform(0.6, 1.2))]
    return Posture(
        yaw=yaw,
        head_yaw=rng.normal(0, 0.25),
        lean=rng.normal(0.04 if walking else 0.0, 0.05),
        thigh_swing=(swing + rng.normal(0, 0.04), -swing + rng.normal(0, 0.04)),
        thigh_spread=(rng.uniform(0.0, 0.1), rng.uniform(0.0, 0.1)),
        # The leg behind the body lifts its foot on its way forward.
        knee_bend=(max(0.0, -swing) * 0.9 + lifted * (swing <= 0), max(0.0, swing) * 0.9 + lifted * (swing > 0)),
        arm_swing=(arms[0][0], arms[1][0]),
        arm_spread=(arms[0][1], arms[1][1]),
        elbow_bend=(arms[0][2], arms[1][2]),
        forearm_turn=(arms[0][3], arms[1][3]),
    )


def _arm(rng: np.random.Generator, swing: float) -> tuple[float, float, float, float]:
    """Swing, spread, elbow bend and inward turn of one arm: hanging, carrying, at the phone, raised."""
    kind = rng.random()
    if kind < 0.68:
        return swing, rng.uniform(0.04, 0.22), rng.uniform(0.05, 0.5), rng.normal(0.1, 0.15)
    if kind < 0.82:  # carrying something, a hand in a pocket, both hands at a strap
        return rng.normal(0.1, 0.2), rng.uniform(0.05, 0.3), rng.uniform(1.0, 1.9), rng.uniform(0.0, 1.0)
    if kind < 0.91:  # at the ear
        return rng.normal(0.4, 0.2), rng.uniform(0.1, 0.4), rng.uniform(2.1, 2.5), rng.normal(0.1, 0.2)
    if kind < 0.96:  # a hand on the hip
        return rng.normal(-0.3, 0.1), rng.uniform(0.5, 0.8), rng.uniform(1.2, 1.7), rng.uniform(0.9, 1.3)
    return rng.uniform(-0.3, 2.6), rng.uniform(0.2, 1.2), rng.uniform(0.1, 1.0), rng.normal(0.0, 0.4)


class Body(NamedTuple):
    """Points `(3,)` of a posed body, in the person's frame. Pairs are (right, left)."""

    pelvis: Floats
    chest: Floats
    neck: Floats
    head: Floats  # its centre
    shoulders: tuple[Floats, Floats]
    elbows: tuple[Floats, Floats]
    wrists: tuple[Floats, Floats]
    fingers: tuple[Floats, Floats]
    hips: tuple[Floats, Floats]
    knees: tuple[Floats, Floats]
    ankles: tuple[Floats, Floats]
    toes: tuple[Floats, Floats]
    nose: Floats
    eyes: tuple[Floats, Floats]
    ears: tuple[Floats, Floats]


# Lengths and heights in statures, after the usual tables of human proportions.
HIP_HEIGHT, SHOULDER_HEIGHT, HEAD_HEIGHT = 0.52, 0.815, 0.93
HIP_HALF, SHOULDER_HALF = 0.055, 0.105
THIGH, SHIN, FOOT, UPPER_ARM, FOREARM, HAND = 0.24, 0.24, 0.11, 0.165, 0.145, 0.07
HEAD_RADIUS = 0.052


def pose_body(build: Build, posture: Posture) -> Body:
    """Place every joint; the lower foot ends on the ground."""
    hips = [np.array([side * HIP_HALF * build.hips, 0.0, 0.0]) for side in (-1, 1)]
    knees, ankles, toes = [], [], []
    for i, side in enumerate((-1, 1)):
        swing, spread = posture.thigh_swing[i], side * posture.thigh_spread[i]
        knees.append(hips[i] + THIGH * build.legs * _direction(swing, spread))
        ankles.append(knees[i] + SHIN * build.legs * _direction(swing - posture.knee_bend[i], spread))
        tip = 0.55 * (swing - posture.knee_bend[i])
        toes.append(ankles[i] + FOOT * np.array([side * 0.25, -0.25 + math.sin(tip) * 0.8, math.cos(tip)]))

    up = np.array([0.0, math.cos(posture.lean), math.sin(posture.lean)])
    trunk = SHOULDER_HEIGHT - HIP_HEIGHT
    chest = trunk * up
    neck = chest + 0.045 * up
    head = neck + (HEAD_HEIGHT - SHOULDER_HEIGHT - 0.045) * build.head * up + np.array([0.0, 0.0, 0.012])
    shoulders, elbows, wrists, fingers = [], [], [], []
    for i, side in enumerate((-1, 1)):
        shoulder = chest + np.array([side * SHOULDER_HALF * build.shoulders, 0.0, 0.0])
        swing, spread = posture.arm_swing[i], side * posture.arm_spread[i]
        elbow = shoulder + UPPER_ARM * _direction(swing, spread)
        turn = spread - side * posture.forearm_turn[i] * min(1.0, posture.elbow_bend[i])
        fore = _direction(swing + posture.elbow_bend[i], turn)
        shoulders.append(shoulder)
        elbows.append(elbow)
        wrists.append(elbow + FOREARM * fore)
        fingers.append(elbow + (FOREARM + HAND) * fore)

    radius = HEAD_RADIUS * build.head
    sin, cos = math.sin(posture.head_yaw), math.cos(posture.head_yaw)

    def on_head(x: float, y: float, z: float) -> Floats:
        turned: Floats = head + radius * np.array([x * cos + z * sin, y, z * cos - x * sin])
        return turned

    lowest = min(float(point[1]) for point in (*ankles, *toes))
    raise_by = np.array([0.0, 0.035 - lowest, 0.0])
    body = Body(
        pelvis=np.zeros(3), chest=chest, neck=neck, head=head,
        shoulders=_pair(shoulders), elbows=_pair(elbows), wrists=_pair(wrists), fingers=_pair(fingers),
        hips=_pair(hips), knees=_pair(knees), ankles=_pair(ankles), toes=_pair(toes),
        nose=on_head(0.0, -0.12, 1.2), eyes=(on_head(-0.36, 0.14, 0.95), on_head(0.36, 0.14, 0.95)),
        ears=(on_head(-0.95, 0.0, -0.05), on_head(0.95, 0.0, -0.05)),
    )  # fmt: skip
    return Body(*(_raised(point, raise_by) for point in body))


def view(point: Floats, yaw: float, pitch: float) -> Floats:
    """A point of the person's frame as the camera sees it: right, up, towards the camera."""
    x, y, z = point
    right = x * math.cos(yaw) + z * math.sin(yaw)
    near = z * math.cos(yaw) - x * math.sin(yaw)
    return np.array([right, y * math.cos(pitch) - near * math.sin(pitch), near * math.cos(pitch) + y * math.sin(pitch)])


# How much nearer than the head's centre, in statures, a joint of the face must be to be on the side that the camera sees.
_FACING = {NOSE: 0.0, RIGHT_EYE: 0.005, LEFT_EYE: 0.005, RIGHT_EAR: -0.02, LEFT_EAR: -0.02}


def joint_points(body: Body) -> list[Floats]:
    """The 18 joints in order; the neck is the midpoint of the shoulders, as the detector's."""
    middle = (body.shoulders[0] + body.shoulders[1]) / 2
    right, left = ([body.shoulders[i], body.elbows[i], body.wrists[i], body.hips[i], body.knees[i], body.ankles[i]] for i in (0, 1))
    return [body.nose, middle, *right[:3], *left[:3], *right[3:], *left[3:], body.eyes[0], body.eyes[1], body.ears[0], body.ears[1]]


def faces_camera(nearness: Floats) -> npt.NDArray[np.bool_]:
    """Which joints `(18,)` are not on the far side of the head, from how much nearer they are than its centre, in statures."""
    facing = np.ones(JOINT_COUNT, np.bool_)
    for joint, limit in _FACING.items():
        facing[joint] = nearness[joint] > limit
    return facing


def _raised(point: Any, by: Floats) -> Any:
    """A point of the body, or a pair of them, moved by `by`."""
    return (point[0] + by, point[1] + by) if isinstance(point, tuple) else point + by


def _direction(swing: float, spread: float) -> Floats:
    """Unit vector of a hanging limb swung forward and spread to the left (negative: right)."""
    return np.array([math.sin(spread), -math.cos(swing) * math.cos(spread), math.sin(swing) * math.cos(spread)])


def _pair(points: list[Floats]) -> tuple[Floats, Floats]:
    return points[0], points[1]
