"""The 18 joints, their limbs and the ten body parts that deformable skips move.

Legend: K = 18 joints, P = 10 parts. Keypoints are `(..., K, 3)` float32 arrays of
`x, y, confidence` in pixels of the image, origin at the centre of the top-left pixel;
confidence 0 means that the joint is missing, and then its x and y mean nothing.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# OpenPose's COCO order, as in the published Market-1501 annotations.
JOINTS = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
JOINT_COUNT = len(JOINTS)
NOSE, NECK = 0, 1
RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST = 2, 3, 4
LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST = 5, 6, 7
RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE = 8, 9, 10
LEFT_HIP, LEFT_KNEE, LEFT_ANKLE = 11, 12, 13
RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR = 14, 15, 16, 17

TORSO = (RIGHT_SHOULDER, LEFT_SHOULDER, RIGHT_HIP, LEFT_HIP)
HEAD = (NOSE, RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR)
SHOULDER_HIP_SIDES = ((RIGHT_SHOULDER, RIGHT_HIP), (LEFT_SHOULDER, LEFT_HIP))

# MIRROR[j] is the joint on the other side of the body (nose and neck are their own).
MIRROR = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)

# Lines to draw a skeleton with: 17 bones.
BONES = (
    (NECK, NOSE),
    (NOSE, RIGHT_EYE),
    (NOSE, LEFT_EYE),
    (RIGHT_EYE, RIGHT_EAR),
    (LEFT_EYE, LEFT_EAR),
    (NECK, RIGHT_SHOULDER),
    (RIGHT_SHOULDER, RIGHT_ELBOW),
    (RIGHT_ELBOW, RIGHT_WRIST),
    (NECK, LEFT_SHOULDER),
    (LEFT_SHOULDER, LEFT_ELBOW),
    (LEFT_ELBOW, LEFT_WRIST),
    (NECK, RIGHT_HIP),
    (RIGHT_HIP, RIGHT_KNEE),
    (RIGHT_KNEE, RIGHT_ANKLE),
    (NECK, LEFT_HIP),
    (LEFT_HIP, LEFT_KNEE),
    (LEFT_KNEE, LEFT_ANKLE),
)


class LimbPart(NamedTuple):
    """A part spanned by two joints. `reach` is how far its mask extends past `end`, in lengths.

    The paper's code has 0.1 and 0.5 of a length that it has grown backwards by 0.1 before.
    """

    name: str
    start: int
    end: int
    reach: float


# Parts 2 .. 9 of the paper's ten; part 0 is the torso, part 1 the head.
LIMBS = (
    LimbPart("right_thigh", RIGHT_HIP, RIGHT_KNEE, 0.11),
    LimbPart("left_thigh", LEFT_HIP, LEFT_KNEE, 0.11),
    LimbPart("right_shin", RIGHT_KNEE, RIGHT_ANKLE, 0.55),
    LimbPart("left_shin", LEFT_KNEE, LEFT_ANKLE, 0.55),
    LimbPart("right_upper_arm", RIGHT_SHOULDER, RIGHT_ELBOW, 0.11),
    LimbPart("left_upper_arm", LEFT_SHOULDER, LEFT_ELBOW, 0.11),
    LimbPart("right_forearm", RIGHT_ELBOW, RIGHT_WRIST, 0.55),
    LimbPart("left_forearm", LEFT_ELBOW, LEFT_WRIST, 0.55),
)
PARTS = ("torso", "head", *(limb.name for limb in LIMBS))
PART_COUNT = len(PARTS)
# MIRROR_LIMB[i] is the index in LIMBS of the same limb on the other side.
MIRROR_LIMB = (1, 0, 3, 2, 5, 4, 7, 6)

# The 23 pairs whose 4 px wide lines make the mask of mask-SSIM (Ma et al., 2017, PG2).
MASK_PAIRS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (1, 16), (1, 17), (8, 11), (11, 5), (8, 2), (16, 17),
)  # fmt: skip

COCO_JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
# Where each of the 18 joints but the neck stands in COCO-17 (the neck's entry is a placeholder).
_COCO_INDEX = tuple(COCO_JOINTS.index(name) if name in COCO_JOINTS else 0 for name in JOINTS)


def from_coco(keypoints: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """COCO-17 keypoints `(..., 17, 3)` as the 18 joints `(..., 18, 3)`.

    The neck, which COCO lacks, is the midpoint of the shoulders, with the smaller of their
    confidences (measured on the published Market-1501 annotations: 0.0 +- 0.7 px from OpenPose's).
    A joint of confidence 0 comes out as all zeros.

    Raises:
        ValueError: the last two axes are not (17, 3).
    """
    if keypoints.shape[-2:] != (len(COCO_JOINTS), 3):
        raise ValueError(f"keypoints: expected shape (..., 17, 3), got {keypoints.shape}")
    joints = keypoints[..., _COCO_INDEX, :].astype(np.float32)
    right, left = joints[..., RIGHT_SHOULDER, :], joints[..., LEFT_SHOULDER, :]
    joints[..., NECK, :2] = (right[..., :2] + left[..., :2]) / 2
    joints[..., NECK, 2] = np.minimum(right[..., 2], left[..., 2])
    joints[joints[..., 2] <= 0] = 0
    return joints


def person_heights(keypoints: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Pixels from the highest to the lowest visible joint of poses (N, K, 3): (N,), 0 where none is visible."""
    y, visible = keypoints[..., 1], keypoints[..., 2] > 0
    lowest, highest = (np.where(visible, y, -np.inf).max(axis=1), np.where(visible, y, np.inf).min(axis=1))
    return np.where(visible.any(axis=1), lowest - highest, 0).astype(np.float32)
