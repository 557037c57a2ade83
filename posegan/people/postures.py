"""What a pose shows, in words and angles: the side that the camera sees, how far arms and legs are spread.

All of it from one person's joints in an image and free of the image's size. Legend: N people, K = 18 joints.
"""

import numpy as np
import numpy.typing as npt

from posegan.skeleton import (
    LEFT_ANKLE,
    LEFT_EYE,
    LEFT_HIP,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NOSE,
    RIGHT_ANKLE,
    RIGHT_EYE,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    TORSO,
)

Joints = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

# left and right: where the person faces in the image. unclear: a joint of the torso is missing, or a profile shows no face.
VIEWS = ("front", "back", "left", "right", "unclear")
FRONT, BACK, LEFT, RIGHT, UNCLEAR = range(len(VIEWS))
# Width of shoulders and hips, in lengths of the torso, from which a body counts as seen from the front or from behind:
# about 60 degrees off, as drawn bodies of average build show.
BROAD = 0.27


def views(joints: Joints) -> npt.NDArray[np.int64]:
    """The position in VIEWS of each pose (N, K, 3): (N,).

    Seen from the front, the right shoulder and hip stand left of the left ones. A body narrower than `BROAD` is seen
    from the side and faces where its nose and eyes are, against the middle of its shoulders.
    """
    x, visible = joints[..., 0].astype(np.float64), joints[..., 2] > 0
    width = ((x[:, LEFT_SHOULDER] - x[:, RIGHT_SHOULDER]) + (x[:, LEFT_HIP] - x[:, RIGHT_HIP])) / 2
    middle = joints[..., :2].astype(np.float64)
    shoulders, hips = (middle[:, pair].mean(axis=1) for pair in ((RIGHT_SHOULDER, LEFT_SHOULDER), (RIGHT_HIP, LEFT_HIP)))
    length = np.hypot(*(hips - shoulders).T)
    broad = width / np.maximum(length, 1e-6)
    face = visible[:, (NOSE, RIGHT_EYE, LEFT_EYE)]
    ahead = (x[:, (NOSE, RIGHT_EYE, LEFT_EYE)] * face).sum(axis=1) / np.maximum(face.sum(axis=1), 1) - shoulders[:, 0]
    side = np.where(~face.any(axis=1) | (ahead == 0), UNCLEAR, np.where(ahead > 0, RIGHT, LEFT))
    seen = np.where(broad >= BROAD, FRONT, np.where(broad <= -BROAD, BACK, side))
    return np.where(visible[:, TORSO].all(axis=1), seen, UNCLEAR)


def arm_angles(joints: Joints) -> Floats:
    """Degrees between the arms (shoulder to wrist) and straight down, mean of the visible ones (N,): 0 hanging, 180 raised; NaN: no arm."""
    right, left = (_limb(joints, *ends) for ends in ((RIGHT_SHOULDER, RIGHT_WRIST), (LEFT_SHOULDER, LEFT_WRIST)))
    angles = np.stack([np.degrees(np.arctan2(np.abs(arm[:, 0]), arm[:, 1])) for arm in (right, left)])
    there = ~np.isnan(angles)
    mean = np.where(there, angles, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    result: Floats = np.where(there.any(axis=0), mean, np.nan)
    return result


def leg_angles(joints: Joints) -> Floats:
    """Degrees between the two legs (hip to ankle), (N,): 0 side by side; NaN: a leg is not visible."""
    right, left = (_limb(joints, *ends) for ends in ((RIGHT_HIP, RIGHT_ANKLE), (LEFT_HIP, LEFT_ANKLE)))
    turn = right[:, 0] * left[:, 1] - right[:, 1] * left[:, 0]
    angles: Floats = np.degrees(np.abs(np.arctan2(turn, (right * left).sum(axis=1))))
    return angles


def _limb(joints: Joints, start: int, end: int) -> Floats:
    """From one joint to another (N, 2), NaN where one of them is missing."""
    line = (joints[:, end, :2] - joints[:, start, :2]).astype(np.float64)
    line[(joints[:, (start, end), 2] <= 0).any(axis=1)] = np.nan
    return line
