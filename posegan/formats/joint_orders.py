"""The orders in which programs list the joints of a person: known by their number, or by the names that a file has for them.

Legend: N joints of the file, K = 18 of ours.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

from posegan.formats.annotation import Keypoints
from posegan.skeleton import COCO_JOINTS, JOINT_COUNT, JOINTS, LEFT_SHOULDER, MIRROR, NECK, RIGHT_SHOULDER, TORSO, from_coco

COCO, OPENPOSE_COCO, HALPE, MEDIAPIPE, WHOLE_BODY, HALPE_FULL, BODY_25 = 17, 18, 26, 33, 133, 136, 25
# Halpe's and COCO-WholeBody's longer lists begin with COCO's 17 joints.
COCO_LIKE = (COCO, HALPE, MEDIAPIPE, WHOLE_BODY, HALPE_FULL)
OPENPOSE_LIKE = (BODY_25, OPENPOSE_COCO, COCO)
# Where each of the 18 joints stands in BODY_25, which has the middle of the hips between arms and legs, and feet at the end.
BODY_25_PLACES = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
# Where each of COCO's 17 stands among MediaPipe's 33 landmarks.
_MEDIAPIPE_PLACES = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
_ALIKE = 0.85  # of two names' letters: left_sholder and left_shoulder are, left_heel and left_knee are not
_KNOWN_COUNTS = {
    14: "CrowdPose, LSP or AI Challenger", 15: "OpenPose's MPI", 16: "MPII", COCO: "COCO", OPENPOSE_COCO: "OpenPose's COCO", 21: "a hand",
    BODY_25: "OpenPose's BODY_25", HALPE: "Halpe", MEDIAPIPE: "MediaPipe", 68: "a face", WHOLE_BODY: "COCO-WholeBody", HALPE_FULL: "Halpe",
}  # fmt: skip


def by_count(points: Keypoints, orders: Sequence[int]) -> Keypoints | None:
    """Joints (N, 3) as the 18 (K, 3), by their number; None when it is none of `orders`."""
    count = len(points)
    if count not in orders:
        return None
    if count == OPENPOSE_COCO:
        return points
    if count == BODY_25:
        return points[list(BODY_25_PLACES)]
    return from_coco(points[list(_MEDIAPIPE_PLACES)] if count == MEDIAPIPE else points[: len(COCO_JOINTS)])


def by_names(points: Keypoints, names: Sequence[str]) -> Keypoints | None:
    """Joints (N, 3) as the 18 (K, 3), by their N names; None when these are not N, or name no joint of ours.

    A joint without a name is missing, but for the neck, which is then the middle of the shoulders.
    """
    places = {_plain(name): place for place, name in reversed(list(enumerate(names)))}
    found = [next((places[spelling] for spelling in _SPELLINGS[joint] if spelling in places), None) for joint in JOINTS]
    if len(names) != len(points) or all(place is None for place in found):
        return None
    joints = np.zeros((JOINT_COUNT, 3), np.float32)
    for joint, place in enumerate(found):
        if place is not None:
            joints[joint] = points[place]
    if found[NECK] is None and (joints[[RIGHT_SHOULDER, LEFT_SHOULDER], 2] > 0).all():
        shoulders = joints[[RIGHT_SHOULDER, LEFT_SHOULDER]]
        joints[NECK] = (*shoulders[:, :2].mean(axis=0), shoulders[:, 2].min())
    return joints


def names_fault(names: Sequence[str], count: int) -> str:
    """Why the names that a file has for its joints cannot be those of `count` joints, and the way out; empty where they can be.

    Fewer or more names than joints are right only where they begin as COCO's, whose order then holds.
    """
    known = [_JOINT_OF.get(_plain(name), "") for name in names]
    if not any(known):
        return ""
    if len(names) != count:
        as_coco = known[: len(COCO_JOINTS)] == list(COCO_JOINTS)
        return "" if as_coco else f"its file names {len(names)} joints, and {count} stand here; name as many as there are"
    if twice := next((joint for joint in JOINTS if known.count(joint) > 1), ""):
        return f"its file has two joints called {twice}; name each joint once"
    torso = [JOINTS[joint] for joint in TORSO if JOINTS[joint] not in known]
    if len(torso) == len(TORSO):
        return f"its file names no {', '.join(torso)} ({', '.join(names[:3])}, ...); name them so"
    unknown = [name for name, joint in zip(names, known, strict=True) if not joint]
    for joint, other in zip(JOINTS, MIRROR, strict=True):
        near = get_close_matches(_plain(joint), map(_plain, unknown), 1, _ALIKE)
        if joint not in known and (near or JOINTS[other] in known):
            meant = next((name for name in unknown if [_plain(name)] == near), "")
            return f"its file names no {joint}, but {f'{meant!r}' if meant else JOINTS[other]}; name it so"
    return f"its file names no {', '.join(torso)}, without which nobody is drawn; name them so" if torso else ""


def are_numbers(names: Sequence[str]) -> bool:
    """Whether joints have numbers for names, such as 1 or keypoint_01, as labelling tools call those that nobody named."""
    return all(re.fullmatch(r"[a-z]*\d+", _plain(name)) for name in names)


def wanted(count: int, orders: Sequence[int]) -> str:
    """What an error says of `count` joints that are none of `orders`."""
    whose = f" ({_KNOWN_COUNTS[count]})" if count in _KNOWN_COUNTS else ""
    return f"{count} joints{whose}, {3 * count} numbers, expected {' or '.join(map(str, sorted(orders)))}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _spellings(joint: str) -> tuple[str, ...]:
    """left_shoulder is written left shoulder, LShoulder, shoulder.l, ...; case and what stands between mean nothing."""
    side, _, part = joint.partition("_")
    return (side + part, side[0] + part, part + side, part + side[0]) if part else (joint,)


_SPELLINGS = {joint: _spellings(joint) for joint in JOINTS}
_JOINT_OF = {spelling: joint for joint, spellings in _SPELLINGS.items() for spelling in spellings}
