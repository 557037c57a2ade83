"""Which detector: the shipped one where it was measured, an official one for photographs, or a file that its user vouches for.

A .pt file is a pickle, which may run any program when it is opened, so its content is known by a SHA-256 before that.
"""

import json
import os
import re
import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from posegan.config import AUTO, PoseConfig
from posegan.errors import PoseGANError
from posegan.files import check_sha256, sha256_of, write_atomically
from posegan.people.yolo import fetch_official

# Released by ultralytics under these names, and fetched by its own loader.
OFFICIAL_NAMES = r"yolo(v8|11|26)[nsmlx]-pose\.pt"
FOR_PHOTOGRAPHS = "yolo11n-pose.pt"
CROP_SIDE = 256  # pixels: an image whose longer side is no longer is a crop of one person, as the shipped weights were measured on
CROP_SIZE, SCENE_SIZE = 256, 640  # inputs of the network where the card names none: 640 costs a crop a quarter of its joints
_PACKAGED = "posegan/weights/"
_FOLDER = Path(__file__).parents[1] / "weights"


class Shipped(NamedTuple):
    """The weights that come with the program, as their card describes them."""

    path: Path
    sha256: str
    image_size: int  # the network's input at which crops came out best
    kinds: str  # what they were measured on, for people


@cache
def shipped() -> Shipped:
    """The card of the shipped weights, `posegan/weights/*.json`."""
    [path] = _FOLDER.glob("*.json")
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    measured = card["measured"]
    kinds = "; ".join(measured[kind]["what"] for kind in ("crops", "drawings"))
    return Shipped(path.with_name(card["file"]), card["sha256"], int(measured["crops"]["best_image_size"]), kinds)


def is_crop(size: tuple[int, int]) -> bool:
    """Whether an image of this size (two sides in pixels) is a crop, and no photograph."""
    return max(size) <= CROP_SIDE


def scene_size(size: tuple[int, int], stride: int) -> int:
    """The network's input for a photograph of this size: its own longer side, a multiple of `stride`, and at most SCENE_SIZE.

    Not larger than the photograph: people who were enlarged are of a size that the network has seldom seen.
    """
    return min(SCENE_SIZE, -(-max(size) // stride) * stride)


def settled(config: PoseConfig, sizes: Sequence[tuple[int, int]]) -> PoseConfig:
    """`config` with weights for `pose.weights: auto`: the shipped ones if most of the images, of these `sizes`, are crops."""
    if config.weights != AUTO:
        return config
    if not sizes or statistics.median(map(max, sizes)) <= CROP_SIDE:
        return config.model_copy(update={"weights": str(shipped().path), "sha256": shipped().sha256})
    return config.model_copy(update={"weights": FOR_PHOTOGRAPHS})


def verified_weights(weights: str, sha256: str, trust_unpinned: bool = False) -> Path:
    """The file that `pose.weights` names, checked; an official name that is not there is downloaded.

    A relative path counts from the working directory; `posegan/weights/...` is also found in the installed package.

    Raises:
        PoseGANError: no such file, another SHA-256, or neither a SHA-256 nor an official name nor `trust_unpinned`.
    """
    path = Path(weights)
    if not path.is_file() and weights.startswith(_PACKAGED) and (packaged := _FOLDER / weights.removeprefix(_PACKAGED)).is_file():
        path = packaged
    if not path.is_file() and is_official(weights):
        return _official(weights, sha256)
    if not path.is_file():
        raise PoseGANError(f"pose.weights: {weights}: no such file; name a file, an official model such as {FOR_PHOTOGRAPHS}, or auto")
    if path.resolve() == shipped().path.resolve() and not sha256:
        sha256 = shipped().sha256
    if not sha256 and trust_unpinned:
        return path.resolve()
    if not sha256:
        raise PoseGANError(
            f"pose.weights: {weights} is a pickle without a pinned SHA-256, which could run any program when opened; "
            f"if you trust where it comes from, set pose.sha256 to {sha256_of(path)}, or pose.trust_unpinned to true"
        )
    check_sha256(path, sha256, f"get the right weights, or set pose.sha256 to the file's own, {sha256_of(path)}, if you trust it")
    return path.resolve()


def is_official(weights: str) -> bool:
    """Whether ultralytics releases weights under this name."""
    return re.fullmatch(OFFICIAL_NAMES, weights) is not None


def _official(name: str, sha256: str) -> Path:
    """Official weights from the cache, fetched if need be; what came first is what every later run has to find there."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = caches / "posegan" / "weights" / name
    remedy = (
        f"put a copy of {name} into {path.parent}, or set pose.weights to a file of your own, with pose.sha256 (sha256sum FILE) and "
        "pose.image_size (256 for crops of people, 640 for photographs, or auto)"
    )
    if not path.is_file():
        try:
            fetch_official(path)
        except (OSError, RuntimeError) as error:
            path.unlink(missing_ok=True)
            raise PoseGANError(f"pose.weights: {name} could not be downloaded ({error}); {remedy}") from error
    if not path.is_file():
        raise PoseGANError(f"pose.weights: {name} could not be downloaded; check the network, or {remedy}")
    record = path.with_suffix(".sha256")
    if not record.is_file():
        write_atomically(record, sha256_of(path) + "\n")
    check_sha256(path, record.read_text().strip(), f"the copy changed after its first download: delete {path} to fetch it again")
    if sha256:
        check_sha256(path, sha256, f"pose.sha256 belongs to another file: for an official name set it to '' or to {sha256_of(path)}")
    return path
