"""Whether joints can be pixels at all, and pixels of an image of some size.

Legend: N people, K = 18 joints, `(N, K, 3)` x, y, confidence.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from posegan.errors import PoseGANError
from posegan.formats.annotation import FRACTIONS, Annotation
from posegan.skeleton import JOINTS

Joints = npt.NDArray[np.float32]
_SHARE = 2.0  # a person whose joints all lie within it has no pixels; shares of an image reach 1, and a little more at its edges
_JOINTS = 3  # fewer say nothing
_MARGIN = 0.1  # of the image's side: so far outside of it detectors put joints that it cuts off


def are_shares(joints: Joints) -> npt.NDArray[np.bool_]:
    """Which people (N,) have coordinates that lie within 0..1, as shares of the image's width and height do."""
    if not len(joints):
        return np.zeros(0, dtype=bool)
    visible = joints[..., 2] > 0
    within = (np.abs(joints[..., :2]) <= _SHARE).all(axis=2) | ~visible
    spread = np.ptp(np.where(visible[..., None], joints[..., :2], joints[:, :1, :2]), axis=1).max(axis=1) > 0
    return np.asarray(within.all(axis=1) & (visible.sum(axis=1) >= _JOINTS) & spread, dtype=bool)


def refuse_unsaid_shares(path: Path, annotations: Iterable[Annotation]) -> None:
    """`refuse_shares` of the annotations of a file, those left out whose format says that they are shares."""
    if pixels := [annotation.keypoints for annotation in annotations if annotation.size != FRACTIONS]:
        refuse_shares(str(path), np.stack(pixels))


def refuse_shares(what: str, joints: Joints) -> None:
    """Raise `PoseGANError` where everybody with joints (N, K, 3) has them within 0..1; `what` names the file."""
    people = joints[(joints[..., 2] > 0).sum(axis=1) >= _JOINTS]
    if len(people) and are_shares(people).all():
        raise PoseGANError(f"{what}: all coordinates lie within 0..1; multiply x by the image's width and y by its height to have pixels")


def joints_outside(joints: Joints, sizes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of x and y of visible joints (N, K, 2) lie beyond their image (N, 2: width, height; NaN: none) by more than a tenth of it."""
    edge = sizes[:, None] * _MARGIN
    beyond: npt.NDArray[np.bool_] = ((joints[..., :2] < -edge) | (joints[..., :2] > sizes[:, None] + edge)) & (joints[..., 2:] > 0)
    return beyond


def outside_doubt(joints: Joints, size: tuple[int, int]) -> str:
    """What is to be said of visible joints (K, 3) some of which lie outside of their image of (width, height); empty where none does."""
    sides = np.array([size], dtype=np.float64)
    outside = joints_outside(joints[None], sides)[0]
    if not outside.any():
        return ""
    exchanged = not joints_outside(joints[None], sides[:, ::-1])[0].any()
    hint = f"; are width and height exchanged? {size[1]}x{size[0]} would hold them" if exchanged else ""
    joint, axis = np.argwhere(outside)[0].tolist()
    count, place = int(outside.any(axis=1).sum()), f"{JOINTS[joint]}_{'xy'[axis]}: {joints[joint, axis]:g} of {size[0]}x{size[1]}"
    return f"{count} of its {int((joints[:, 2] > 0).sum())} joints lie outside of the image, such as {place}{hint}"


def refuse_outside(what: str, joints: Joints, size: tuple[int, int]) -> None:
    """Raise `PoseGANError` where every visible joint (K, 3) lies outside of its image of (width, height); `what` names the image."""
    outside = joints_outside(joints[None], np.array([size], dtype=np.float64))[0]
    seen = joints[:, 2] > 0
    if seen.any() and outside.any(axis=1)[seen].all():
        joint, axis = np.argwhere(outside)[0].tolist()
        place = f"{JOINTS[joint]}_{'xy'[axis]}: {joints[joint, axis]:g} of {size[0]}x{size[1]}"
        raise PoseGANError(f"{what}: every joint lies outside of the image, such as {place}; give the joints of this image, in its pixels")
