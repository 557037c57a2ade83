"""The built-in poses: standing, sitting, waving, arms raised and a walk, from eight sides.

They are those of an average adult (`posegan.people.body`), seen slightly from above by a camera without perspective. A side is where the
person looks to in the picture: front is into the camera, left is to the picture's left.

Legend: K = 18 joints, H, W height and width in pixels of the picture.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from posegan.errors import PoseGANError
from posegan.people.body import Build, Posture, faces_camera, joint_points, pose_body, view
from posegan.skeleton import JOINT_COUNT

Keypoints = npt.NDArray[np.float32]

# A profile is seen 15 degrees from the front: in a strict one shoulders and hips lie on a line, and no torso can be moved onto a line.
_YAW = {
    "front": 0.0, "front-right": 45.0, "right": 75.0, "back-right": 135.0, "back": 180.0, "back-left": 225.0, "left": 285.0,
    "front-left": 315.0,
}  # fmt: skip
SIDES = tuple(_YAW)
WALK_PHASES = 8
_BUILD = Build(stature=1.0, shoulders=1.0, hips=1.0, bulk=1.0, head=1.0, legs=1.0)
_PITCH = 0.12  # radians
_STATURE, _GROUND = 0.87, 0.965  # of H: how tall the person is, and where the ground is
_MARGIN = 0.03  # of W left and right, of H above


class _Limbs(NamedTuple):
    """Angles of a posture but its side, as in `Posture`."""

    thigh_swing: tuple[float, float] = (0.0, 0.0)
    thigh_spread: tuple[float, float] = (0.05, 0.05)
    knee_bend: tuple[float, float] = (0.02, 0.02)
    arm_swing: tuple[float, float] = (0.0, 0.0)
    arm_spread: tuple[float, float] = (0.1, 0.1)
    elbow_bend: tuple[float, float] = (0.15, 0.15)
    forearm_turn: tuple[float, float] = (0.1, 0.1)
    lean: float = 0.0


def _walking(phase: float) -> _Limbs:
    """The posture of a walk at `phase` (a whole walk is 1): the right thigh is in front at 0.25, and lifted on its way there."""
    swing, speed = math.sin(2 * math.pi * phase), math.cos(2 * math.pi * phase)
    return _Limbs(
        thigh_swing=(0.42 * swing, -0.42 * swing),
        knee_bend=(0.1 + 0.75 * max(0.0, speed) ** 1.5, 0.1 + 0.75 * max(0.0, -speed) ** 1.5),
        arm_swing=(-0.38 * swing, 0.38 * swing),
        elbow_bend=(0.35 - 0.15 * swing, 0.35 + 0.15 * swing),
        lean=0.04,
    )


_POSTURES: dict[str, _Limbs] = {
    "standing": _Limbs(),
    "sitting": _Limbs(thigh_swing=(1.45, 1.45), knee_bend=(1.45, 1.45), arm_swing=(0.5, 0.5), elbow_bend=(0.7, 0.7)),
    "waving": _Limbs(arm_swing=(0.2, 0.0), arm_spread=(1.0, 0.1), elbow_bend=(2.8, 0.15), forearm_turn=(0.8, 0.1)),
    "arms-raised": _Limbs(arm_swing=(0.0, 0.0), arm_spread=(2.6, 2.6), elbow_bend=(0.1, 0.1)),
    **{f"walking-{number + 1}": _walking(number / WALK_PHASES) for number in range(WALK_PHASES)},
}
POSES = tuple(_POSTURES)


def pose_names() -> list[str]:
    """Every pose's name, such as `standing/front`."""
    return [f"{pose}/{side}" for pose in POSES for side in SIDES]


def library_pose(name: str, height: int, width: int) -> Keypoints:
    """The pose called `name` (`sitting/left`, or `sitting` for its front) in a picture of H x W: `(K, 3)`.

    Raises:
        PoseGANError: no such pose.
    """
    pose, _, side = name.partition("/")
    if pose not in _POSTURES or (side or "front") not in SIDES:
        raise PoseGANError(f"{name}: no such pose; poses are {', '.join(POSES)}, each with one of the sides /{', /'.join(SIDES)}")
    return _seen(_POSTURES[pose], side or "front", height, width)


def walk(side: str, frames: int, height: int, width: int) -> Keypoints:
    """A whole walk in `frames` poses `(frames, K, 3)`, after whose last the first follows.

    Raises:
        PoseGANError: no such side.
    """
    if side not in SIDES:
        raise PoseGANError(f"{side}: no such side; sides are {', '.join(SIDES)}")
    return np.stack([_seen(_walking(frame / frames), side, height, width) for frame in range(frames)])


def _seen(limbs: _Limbs, side: str, height: int, width: int) -> Keypoints:
    yaw = math.radians(_YAW[side])
    posture = Posture(
        yaw=yaw, head_yaw=0.0, lean=limbs.lean, thigh_swing=limbs.thigh_swing, thigh_spread=limbs.thigh_spread, knee_bend=limbs.knee_bend,
        arm_swing=limbs.arm_swing, arm_spread=limbs.arm_spread, elbow_bend=limbs.elbow_bend, forearm_turn=limbs.forearm_turn,
    )  # fmt: skip
    body = pose_body(_BUILD, posture)
    points = np.array([view(point, yaw, _PITCH) for point in joint_points(body)])  # (K, 3) right, up, near, in statures
    facing = faces_camera(points[:, 2] - view(body.head, yaw, _PITCH)[2])
    # On the pelvis, so that a walk does not sway; a pose that reaches far to one side is moved back into the middle.
    left, right = points[:, 0].min(), points[:, 0].max()
    centre = (left + right) / 2 if max(-left, right) > 1.5 * (right - left) / 2 else 0.0
    reach = max(right - centre, centre - left)
    scale = min(_STATURE * height, (0.5 - _MARGIN) * width / reach, (_GROUND - _MARGIN) * height / points[:, 1].max())
    joints = np.zeros((JOINT_COUNT, 3), np.float32)
    joints[:, 0] = (width - 1) / 2 + scale * (points[:, 0] - centre)
    joints[:, 1] = _GROUND * height - scale * points[:, 1]
    joints[:, 2] = facing
    joints[~facing] = 0
    return joints
