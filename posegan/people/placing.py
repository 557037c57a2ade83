"""Poses in the generator's frame without their images: one, or a sequence with gaps filled, jitter smoothed and steps between.

Legend: T poses, K = 18 joints, H, W height and width in pixels of the picture. Poses are `(T, K, 3)` float32 `x, y, confidence`.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageChops, ImageFilter

from posegan.errors import PoseGANError
from posegan.images import Fit, fit_keypoints, person_frame
from posegan.skeleton import TORSO

Poses = npt.NDArray[np.float32]
_FAR = 8192  # pixels around a pose whose image is unknown: more than any frame reaches
_EDGELESS = (2 * _FAR, 2 * _FAR)  # width, height
_FEATHER = 0.04  # of the pasted picture's width


def place_keypoints(keypoints: npt.NDArray[np.float32], size: tuple[int, int] | None, height: int, width: int) -> npt.NDArray[np.float32]:
    """Keypoints (K, 3) of an image of `size` (width, height) as those of a picture of H x W that shows its person.

    The frame is the one that `images.fit_person` cuts; without a known size, that of an image without an edge.
    """
    if size == (width, height):
        return keypoints.astype(np.float32)
    moved = keypoints.astype(np.float32)
    if size is None:
        moved, size = _far_from_edges(moved), _EDGELESS
    return fit_keypoints(moved, frame_fit(person_frame(moved, size, width / height), height, width))


def frame_fit(frame: tuple[int, int, int, int], height: int, width: int) -> Fit:
    """The `Fit` that lays a frame (left, top, right, bottom) into the middle of H x W, as large as it goes."""
    left, top, right, bottom = frame
    scale = min(height / (bottom - top), width / (right - left))
    half = (scale - 1) / 2  # pixel centres: placed + 1/2 = scale * (original + 1/2 - left) + margin
    across, down = (width - scale * (right - left)) / 2, (height - scale * (bottom - top)) / 2
    return Fit(scale, across - scale * left + half, down - scale * top + half)


def paste_back(photo: PIL.Image.Image, generated: PIL.Image.Image, fit: Fit) -> PIL.Image.Image:
    """The generated picture laid over the place of `photo` that it was made from, with soft edges.

    `fit` is the one that made the generator's source of `photo`.
    """
    half = (fit.scale - 1) / 2  # from pixel centres to edges, which is how Pillow counts
    coefficients = (fit.scale, 0.0, fit.left - half, 0.0, fit.scale, fit.top - half)
    soft = max(1.0, _FEATHER * generated.width)
    edge = round(2 * soft)
    mask = PIL.Image.new("L", generated.size)
    mask.paste(255, (edge, edge, generated.width - edge, generated.height - edge))
    mask = mask.filter(ImageFilter.GaussianBlur(soft))
    there = [
        layer.transform(photo.size, PIL.Image.Transform.AFFINE, coefficients, PIL.Image.Resampling.BICUBIC) for layer in (generated, mask)
    ]
    inside = there[1].point(lambda value: 255 if value else 0)
    pasted = photo.copy()
    pasted.paste(there[0], mask=ImageChops.darker(there[1], inside))
    return pasted


def fill_gaps(poses: Poses, longest: int) -> Poses:
    """Joints that are missing for at most `longest` poses, on the straight line between where they were seen before and after."""
    filled = poses.astype(np.float32)
    for joint in range(poses.shape[1]):
        seen = np.flatnonzero(poses[:, joint, 2] > 0)
        for before, after in pairwise(seen):
            if 1 < after - before <= longest + 1:
                share = (np.arange(before + 1, after) - before)[:, None] / (after - before)
                filled[before + 1 : after, joint] = (1 - share) * poses[before, joint] + share * poses[after, joint]
    return filled


def smooth(poses: Poses, sigma: float) -> Poses:
    """A Gaussian mean over time, `sigma` in poses, of each joint where it is seen; what is missing stays missing."""
    if sigma <= 0:
        return poses.astype(np.float32)
    times = np.arange(len(poses))
    weights = np.exp(-((times[:, None] - times) ** 2) / (2 * sigma**2))  # (T, T)
    seen = (poses[..., 2] > 0).astype(np.float64)  # (T, K)
    total = weights @ seen
    mean = np.einsum("ts,sk,skc->tkc", weights, seen, poses.astype(np.float64)) / np.maximum(total, 1e-12)[..., None]
    return np.where(seen[..., None] > 0, mean, 0).astype(np.float32)


def between(poses: Poses, steps: int, loop: bool) -> Poses:
    """`steps` poses for each of the given ones, on smooth curves (Catmull and Rom, 1974) through them.

    Every `steps`-th pose is a given one; with `loop` the last goes on to the first, else the last given one ends it. A joint is there
    between two poses that both show it; a neighbour that does not show it counts as the nearer of the two.
    """
    last = len(poses) if loop else len(poses) - 1
    curves = []
    for start in range(last):
        at = [start - 1, start, start + 1, start + 2]
        chosen = [index % len(poses) if loop else min(max(index, 0), len(poses) - 1) for index in at]
        before, first, second, after = (poses[index].astype(np.float64) for index in chosen)
        before = np.where(before[:, 2:] > 0, before, first)
        after = np.where(after[:, 2:] > 0, after, second)
        both = (first[:, 2:] > 0) & (second[:, 2:] > 0)
        curves.append(poses[start].astype(np.float64)[None])
        for step in range(1, steps):
            t = step / steps
            curve = first + t / 2 * (
                second - before + t * (2 * before - 5 * first + 4 * second - after + t * (3 * (first - second) + after - before))
            )
            curve[:, 2] = np.minimum(first[:, 2], second[:, 2])
            curves.append(np.where(both, curve, 0)[None])
    if not loop:
        curves.append(poses[-1:].astype(np.float64))
    return np.concatenate(curves).astype(np.float32)


def place_sequence(poses: Poses, height: int, width: int, steadiness: float = 2.0) -> Poses:
    """The poses of one person, of a camera's pictures, in pictures of H x W that follow the person at one scale.

    Args:
        poses: in pixels of the camera's pictures; each shows the torso.
        steadiness: over how many poses the movement of the middle of the torso is smoothed.

    Raises:
        PoseGANError: a pose without a whole torso.
    """
    if (poses[:, TORSO, 2] <= 0).any():
        raise PoseGANError("poses: expected both shoulders and both hips in every one; fill the gaps first")
    middles = poses[:, TORSO, :2].mean(axis=1)  # (T, 2)
    followed = smooth(np.concatenate([middles, np.ones((len(poses), 1))], axis=1)[:, None].astype(np.float32), steadiness)[:, 0, :2]
    centred = [_far_from_edges(pose, x, y) for pose, (x, y) in zip(poses, followed, strict=True)]
    frames = [person_frame(pose, _EDGELESS, width / height) for pose in centred]
    low, high = np.min(frames, axis=0)[:2], np.max(frames, axis=0)[2:]
    fit = frame_fit((int(low[0]), int(low[1]), int(high[0]), int(high[1])), height, width)
    return np.stack([fit_keypoints(pose, fit) for pose in centred])


def _far_from_edges(pose: npt.NDArray[np.float32], x: float = 0.0, y: float = 0.0) -> npt.NDArray[np.float32]:
    """The pose with the place x, y in the middle of an image so large that no frame is cut by its edges."""
    return fit_keypoints(pose, Fit(1.0, _FAR - x, _FAR - y))
