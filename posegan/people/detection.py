"""Who is in a picture: the person and the pose that everything else starts from.

Legend: K = 18 joints. Keypoints are `(K, 3)` float32 `x, y, confidence` in pixels of their image.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import PIL.Image

from posegan.config import AUTO, PoseConfig
from posegan.errors import PoseGANError
from posegan.formats.plausible import refuse_shares
from posegan.images import ImageError
from posegan.people.detectors import CROP_SIDE, is_crop, settled, shipped
from posegan.photos import read_photo
from posegan.skeleton import JOINTS, TORSO

if TYPE_CHECKING:
    from posegan.people.estimator import Detector, PersonPose

logger = logging.getLogger(__name__)

Keypoints = npt.NDArray[np.float32]

# The detector of a program that has no params.yaml; tests/test_detection.py holds the two together.
DEFAULTS: dict[str, object] = {
    "source": "detector",
    "annotations": [],
    "weights": AUTO,
    "sha256": "",
    "trust_unpinned": False,
    "image_size": AUTO,
    "batch_size": 64,
    "person_confidence": 0.25,
    "joint_confidence": 0.3,
    "precision": "float32",
    "device": "auto",
    "engine": "local",
    "ray": {"address": "", "workers": 0, "cpus": 1.0, "gpus": 0.0},
}


class Posed(NamedTuple):
    """An image with the pose of the person in it."""

    image: PIL.Image.Image
    keypoints: Keypoints  # (K, 3)


@runtime_checkable
class Named(Protocol):
    """A detector that can tell whose weights look at a picture."""

    def looks_with(self, image: PIL.Image.Image) -> str:
        """The weights that look at this picture, in words."""
        ...


def load_detector(config: PoseConfig | None = None, device: str = "auto") -> "Detector":
    """A detector: of `config`, or for its `weights: auto`, as without one, the right one for each picture. This imports ultralytics.

    It is `Named`, too.

    Raises:
        PoseGANError: its weights are missing or not as pinned, or ultralytics is not installed.
    """
    config = config or PoseConfig.model_validate({**DEFAULTS, "device": device})
    return _ForEveryPicture(config) if config.weights != AUTO else _ForEachPicture(config)


class _ForEveryPicture:
    """The weights that somebody named."""

    def __init__(self, config: PoseConfig) -> None:
        from posegan.people.estimator import PoseEstimator

        self._weights = config.weights
        self._estimator = PoseEstimator(config)

    def estimate(self, images: Sequence[PIL.Image.Image | npt.NDArray[np.uint8]]) -> "list[PersonPose | None]":
        """One pose, or None, for each image, in order."""
        return self._estimator.estimate(images)

    def looks_with(self, image: PIL.Image.Image) -> str:
        """Its file."""
        return Path(self._weights).name


class _ForEachPicture:
    """The shipped detector for crops, the official one for photographs; where that cannot be had, the shipped one, which says so."""

    def __init__(self, config: PoseConfig) -> None:
        self._config = config
        self._detectors: dict[bool, Detector] = {True: self._load((1, 1))}

    def looks_with(self, image: PIL.Image.Image) -> str:
        """The file, and what it is made for; after the picture was looked at, also whether it stands in for another."""
        crop = is_crop(image.size)
        chosen = Path(settled(self._config, [image.size]).weights).name
        if crop:
            return f"{chosen}, which comes with PoseGAN, for small crops of people"
        if self._detectors.get(crop) is self._detectors[True]:
            return f"{shipped().path.name}, which comes with PoseGAN, for small crops, since {chosen} could not be had"
        return f"{chosen}, an official one for photographs"

    def estimate(self, images: Sequence[PIL.Image.Image | npt.NDArray[np.uint8]]) -> "list[PersonPose | None]":
        """One pose, or None, for each image, in order."""
        people: list[PersonPose | None] = [None] * len(images)
        for crops in (True, False):
            numbers = [number for number, image in enumerate(images) if is_crop(_size(image)) == crops]
            if numbers and crops not in self._detectors:
                self._detectors[crops] = self._for_photographs()
            for number, person in zip(
                numbers, self._detectors[crops].estimate([images[n] for n in numbers]) if numbers else [], strict=True
            ):
                people[number] = person
        return people

    def _for_photographs(self) -> "Detector":
        try:
            return self._load((CROP_SIDE + 1, 1))
        except PoseGANError as error:
            logger.warning("%s", error)
            return self._detectors[True]

    def _load(self, size: tuple[int, int]) -> "Detector":
        from posegan.people.estimator import PoseEstimator

        return PoseEstimator(settled(self._config, [size]))


def _size(image: PIL.Image.Image | npt.NDArray[np.uint8]) -> tuple[int, int]:
    return image.size if isinstance(image, PIL.Image.Image) else (image.shape[0], image.shape[1])


def read_image(path: Path) -> PIL.Image.Image:
    """An image file in any format that Pillow reads, as upright RGB.

    Raises:
        PoseGANError: the file is missing, no image, damaged or above 64 megapixels.
    """
    try:
        if path.is_dir():
            raise PoseGANError(f"{path}: a folder, where an image file was expected")
        return read_photo(path.read_bytes())
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file") from None
    except ImageError as error:
        raise PoseGANError(f"{path}: not a usable image: {error}") from error
    except OSError as error:
        raise PoseGANError(f"{path}: could not be read ({error.strerror or error})") from error


def torso_of(person: "PersonPose | None", name: str) -> Keypoints:
    """The keypoints of a person that was found in the image called `name`, and whose torso can be seen.

    Raises:
        PoseGANError: nobody was found, or a joint of the torso, on which every transform rests, is not visible.
    """
    if person is None:
        raise PoseGANError(
            f"{name}: no person found; use a picture in which one person is seen whole, or a larger detector, such as "
            '--detector yolo11x-pose.pt (in params.yaml: pose.weights, with pose.sha256: "" and pose.image_size: auto)'
        )
    hidden = [JOINTS[joint].replace("_", " ") for joint in TORSO if person.keypoints[joint, 2] <= 0]
    if hidden:
        raise PoseGANError(f"{name}: the torso is not visible (missing: {', '.join(hidden)}); both shoulders and both hips are needed")
    return person.keypoints


def checked_keypoints(keypoints: npt.NDArray[np.generic], name: str) -> Keypoints:
    """Keypoints `(K, 3)` or `(N, K, 3)` as float32.

    Raises:
        PoseGANError: another shape, a number that is not finite, or all coordinates within 0..1, as shares of an image.
    """
    if keypoints.shape[-2:] != (len(JOINTS), 3) or keypoints.ndim > 3 or not np.isfinite(keypoints.astype(np.float64)).all():
        raise PoseGANError(f"{name}: expected finite numbers of shape ({len(JOINTS)}, 3) or (N, {len(JOINTS)}, 3), got {keypoints.shape}")
    checked = keypoints.astype(np.float32)
    refuse_shares(name, checked.reshape(-1, len(JOINTS), 3))
    return checked
