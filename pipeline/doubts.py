"""What in a table of keypoints is hard to believe: counted, with the first example by name, and told where tables come in.

Nothing here changes a joint. Legend: N images, K = 18 joints.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.raw_archive import FOLDERS, parse_name
from posegan.errors import PoseGANError
from posegan.formats.plausible import are_shares, joints_outside, refuse_shares
from posegan.formats.table import MENDED, Keypoints, row_name
from posegan.skeleton import JOINTS, LEFT_EYE, LEFT_HIP, LEFT_SHOULDER, NOSE, RIGHT_EYE, RIGHT_HIP, RIGHT_SHOULDER, TORSO

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
_ENOUGH = 8  # people, before how most of them stand says something
_CORNER, _LEFT, _ENOUGH_FOR_CORNER = 0.6, 0.7, 20
# In lengths of the torso: narrower shoulders, hips and eyes have no clear order.
_SHOULDERS, _HIPS, _EYES = 0.2, 0.1, 0.02
# Right and left joints whose order a frontal person shows.
_SIDES = ((RIGHT_SHOULDER, LEFT_SHOULDER), (RIGHT_HIP, LEFT_HIP), (RIGHT_EYE, LEFT_EYE))


class Doubt(NamedTuple):
    """One thing that was looked at."""

    name: str
    images: Bools  # (N,) those that it was found in
    looked_at: Bools  # (N,) those that could show it
    told: bool  # in a summary; a page shows all
    hint: str = ""
    show: Callable[[int], Sequence[tuple[int, int]]] = lambda row: ()  # the joints and axes that show it in the image of a row

    def example(self, keypoints: Keypoints) -> str:
        """The first image of it, by row, name and columns, as a refusal names them."""
        row = int(np.flatnonzero(self.images)[0])
        return ", ".join([row_name(keypoints.table, row), *(_value(keypoints, row, *place) for place in self.show(row))])


def doubts(keypoints: Keypoints) -> list[Doubt]:
    """Everything that is looked at, found or not."""
    joints = keypoints.joints
    sizes = image_sizes(keypoints)
    visible = joints[..., 2] > 0
    people: Bools = np.asarray(visible.any(axis=1), dtype=bool)
    shares = are_shares(joints)
    beyond = joints_outside(joints, sizes)
    outside: Bools = np.asarray(beyond.any(axis=(1, 2)), dtype=bool)
    lying, upside_down, whole = _attitudes(joints)
    exchanged, frontal = exchanged_sides(joints)
    nowhere = visible & (joints[..., 0] == joints[..., 1]) & (joints[..., 0] <= 0)  # or -2, -2: as programs write what they did not find
    renamed = _unlike_names(keypoints)
    many = whole.sum() >= _ENOUGH
    corner, left = _only_corner(joints, sizes)

    def first(there: Bools) -> Callable[[int], Sequence[tuple[int, int]]]:
        """The first of the joints and axes (N, K, 2) of a row that are `there`."""
        return lambda row: [tuple(place.tolist()) for place in np.argwhere(there[row])[:1]]

    def torso(axis: int) -> Callable[[int], Sequence[tuple[int, int]]]:
        return lambda row: ((RIGHT_SHOULDER, axis), (RIGHT_HIP, axis))

    return [
        Doubt("coordinates within 0..1, as shares of the image", shares, people, bool(shares.any()), "multiply them by width and height",
              first(np.repeat(visible[..., None], 2, axis=2))),
        Doubt("joints outside of the image", outside, people, bool(outside.any()), _outside_hint(keypoints, beyond, sizes, lying),
              first(beyond)),
        Doubt("bodies that lie", lying, whole, many and lying.sum() > whole.sum() / 2, "are x and y exchanged?", torso(0)),
        Doubt("shoulders below the hips", upside_down, whole, many and upside_down.sum() > whole.sum() / 2,
              "is y counted from the image's lower edge?", torso(1)),
        Doubt("joints in the image's upper left corner only", corner, people, bool(corner.any()), "are they those of smaller images?"),
        Doubt("joints in the image's left part only", left, people, bool(left.any()), "are they those of narrower images?"),
        Doubt("split or identity unlike the name's", renamed, np.ones(len(joints), dtype=bool), bool(renamed.any()),
              "the columns are what pairs are made by; correct them, or let them be if you meant it"),
        Doubt("joints at 0, 0", nowhere.any(axis=1), people, bool(nowhere.any()), "are they missing? write confidence 0, or -1 in a CSV",
              lambda row: [(int(np.flatnonzero(nowhere[row])[0]), 0)]),
        Doubt("left and right exchanged", exchanged, frontal, bool(exchanged.any()),
              "the face looks ahead, and right joints are on the right",
              lambda row: [(joint, 0) for joint in _wrong_pair(joints[row])]),
    ]  # fmt: skip


def told(keypoints: Keypoints) -> str:
    """What a summary says of the doubts: each that was found, as `; ...` to append; empty where there is none."""
    lines = []
    for doubt in doubts(keypoints):
        if doubt.told:
            count, of = int(doubt.images.sum()), int(doubt.looked_at.sum())
            lines.append(f"{doubt.name}: {count:,} of {of:,} images ({count / of:.1%}), such as {doubt.example(keypoints)} ({doubt.hint})")
    if mended := (keypoints.table.schema.metadata or {}).get(MENDED):
        lines.append(mended.decode())
    return "".join(f"; {line}" for line in lines)


def refuse_unbelievable(what: str, keypoints: Keypoints) -> None:
    """Raise `PoseGANError` where no person of a table can be believed: all within 0..1, or all outside of their images."""
    refuse_shares(what, keypoints.joints)
    sizes, visible = image_sizes(keypoints), keypoints.joints[..., 2] > 0
    known = visible.any(axis=1) & ~np.isnan(sizes[:, 0])
    beyond = joints_outside(keypoints.joints, sizes)
    out: Bools = np.asarray(beyond.any(axis=2), dtype=bool)
    if known.any() and out[known].sum() == visible[known].sum():
        row = int(np.flatnonzero(known)[0])
        joint, axis = np.argwhere(beyond[row])[0].tolist()
        example = f"{row_name(keypoints.table, row)}, {_value(keypoints, row, joint, axis)} of {_size(sizes[row])}"
        raise PoseGANError(f"{what}: every joint lies outside of its image, such as {example}; name the images that it was made of")


def image_sizes(keypoints: Keypoints) -> Floats:
    """Width and height of each image (N, 2); NaN where they are not known."""
    columns = [keypoints.table[name].to_numpy().astype(np.float64) for name in ("width", "height")]
    return np.stack(columns, axis=1)


def exchanged_sides(joints: npt.NDArray[np.float32]) -> tuple[Bools, Bools]:
    """Which people (N,) have left and right exchanged, of those (N,) that can tell: who shows nose, both eyes and a broad torso.

    Whoever shows the face looks at the camera, and has the right eye, shoulder and hip left of the left ones. Exchanged are all of a
    person's joints, the head's or the body's alone.
    """
    x, visible = joints[..., 0].astype(np.float64), joints[..., 2] > 0
    length = _torso(joints)[1]
    with np.errstate(invalid="ignore"):
        shoulders, hips, eyes = (x[:, left] - x[:, right] for right, left in _SIDES)
        broad = (np.abs(shoulders) > _SHOULDERS * length) & (np.abs(hips) > _HIPS * length) & (np.abs(eyes) > _EYES * length)
    frontal: Bools = visible[:, (NOSE, RIGHT_EYE, LEFT_EYE, *TORSO)].all(axis=1) & broad & (length > 0)
    return frontal & ((shoulders < 0) | (hips < 0) | (eyes < 0)), frontal


def _unlike_names(keypoints: Keypoints) -> Bools:
    """Which rows (N,) have another split or identity than their image's name says, as after a slip of the hand; a name may say nothing."""
    unlike = []
    for image, split, identity in zip(*(keypoints.table[name].to_pylist() for name in ("image", "split", "identity")), strict=True):
        name = parse_name(image)
        unlike.append(FOLDERS.get(image.partition("/")[0], split) != split or (name is not None and identity not in (None, name.identity)))
    return np.array(unlike, dtype=bool)


def _wrong_pair(joints: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Right and left of the first pair of a person's joints (K, 3) whose right one is not left of the other."""
    return next(pair for pair in _SIDES if joints[pair[0], 0] > joints[pair[1], 0])


def _torso(joints: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """From the middle of the shoulders to that of the hips (N, 2), and its length (N,)."""
    places = joints[..., :2].astype(np.float64)
    line = places[:, (RIGHT_HIP, LEFT_HIP)].mean(axis=1) - places[:, (RIGHT_SHOULDER, LEFT_SHOULDER)].mean(axis=1)
    return line, np.hypot(*line.T)


def _attitudes(joints: npt.NDArray[np.float32]) -> tuple[Bools, Bools, Bools]:
    """Whose torso (N,) lies, stands on its head, and is there at all."""
    whole: Bools = np.asarray((joints[:, TORSO, 2] > 0).all(axis=1), dtype=bool)
    line = _torso(joints)[0]
    lying = np.abs(line[:, 0]) > np.abs(line[:, 1])
    return whole & lying, whole & ~lying & (line[:, 1] < 0), whole


def _only_corner(joints: npt.NDArray[np.float32], sizes: Floats) -> tuple[Bools, Bools]:
    """Everybody (N,), where none of many people has a joint beyond the upper left; everybody, where none has one on the right.

    The latter where what is free on the right is more than twice of what is free on the left: people may be narrow, in the middle.
    """
    visible = (joints[..., 2] > 0) & ~np.isnan(sizes[:, :1])
    people: Bools = np.asarray(visible.any(axis=1) & ~are_shares(joints), dtype=bool)
    nobody = np.zeros(len(joints), dtype=bool)
    if people.sum() < _ENOUGH_FOR_CORNER:
        return nobody, nobody
    share = joints[..., :2] / sizes[:, None]
    rightmost, lowest = np.where(visible[..., None], share, 0).max(axis=(0, 1)).tolist()
    if max(rightmost, lowest) < _CORNER:
        return people, nobody
    leftmost = float(np.where(visible, share[..., 0], 1).min())
    return nobody, people if rightmost < _LEFT and 2 * leftmost < 1 - rightmost else nobody


def _outside_hint(keypoints: Keypoints, beyond: Bools, sizes: Floats, lying: Bools) -> str:
    rows = beyond.any(axis=(1, 2))
    if not rows.any():
        return ""
    first = sizes[rows][0]
    if joints_outside(keypoints.joints[rows], sizes[rows][:, ::-1]).any():
        return f"of {_size(first)}; are they those of images of another size?"
    if lying[rows].sum() > rows.sum() / 2:
        return f"of {_size(first)}; are x and y exchanged?"
    return f"of {_size(first)}; are width and height exchanged? {_size(first[::-1])} would hold them"


def _value(keypoints: Keypoints, row: int, joint: int, axis: int) -> str:
    return f"{JOINTS[joint]}_{'xy'[axis]}: {float(keypoints.joints[row, joint, axis]):g}"


def _size(size: Floats) -> str:
    return "x".join(map(str, size.astype(int).tolist()))


def by_camera(doubt: Doubt, keypoints: Keypoints) -> list[list[str]]:
    """Rows of a table: camera, images, of how many that could show it, share."""
    camera = keypoints.table["camera"].fill_null(-1).to_numpy()
    rows = []
    for number in np.unique(camera[doubt.looked_at]).tolist():
        here = (camera == number) & doubt.looked_at
        count, of = int((here & doubt.images).sum()), int(here.sum())
        rows.append([str(number), f"{count:,}", f"{of:,}", f"{count / of:.1%}"])
    return rows
