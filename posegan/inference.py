"""Pose transfer for people: images in, image out.

Keypoints are `(18, 3)` float32 `x, y, confidence` in pixels of their image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch

from posegan.batches import PairBatch
from posegan.checkpoint import load_generator, read_generator_card
from posegan.device import choose_device
from posegan.errors import PoseGANError
from posegan.estimator import PersonPose
from posegan.images import ImageError, decode_image, draw_skeleton, fit_keypoints, fit_person, image_grid
from posegan.samples import Picture, generate, on_device, pictures
from posegan.skeleton import JOINTS, TORSO

Keypoints = npt.NDArray[np.float32]
Image = PIL.Image.Image | Picture


class Detector(Protocol):
    """What finds people; `posegan.estimator.PoseEstimator` does."""

    def estimate(self, images: Sequence[PIL.Image.Image | npt.NDArray[np.uint8]]) -> list[PersonPose | None]:
        """One pose, or None, for each image, in order."""


class Posed(NamedTuple):
    """An image with the pose of the person in it."""

    image: PIL.Image.Image
    keypoints: Keypoints


class PoseTransfer:
    """A trained generator, loaded once: draws the person of one image in the pose of another.

    Args:
        model: `models/generator.safetensors`, or another file that `save_generator` wrote.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        PoseGANError: the model is missing or not a PoseGAN generator; the device is not there.
    """

    def __init__(self, model: Path, device: str = "auto") -> None:
        self.card = read_generator_card(model)
        self.device = choose_device(device)
        self.generator = load_generator(model, self.device)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the images that the generator draws."""
        return self.card.image.height, self.card.image.width

    def __call__(self, source: Image, source_keypoints: Keypoints, target_keypoints: Keypoints) -> PIL.Image.Image:
        """The person of `source` in the target pose.

        `source`, of any size, is cut to its person's surroundings and fitted into the generator's size with its keypoints.
        `target_keypoints` are pixels of the result, whose size is `size`.

        Raises:
            PoseGANError: keypoints of another shape, or with a number that is not finite.
        """
        joints = _checked(source_keypoints, "source_keypoints")
        fitted, fit = fit_person(_as_image(source), joints, *self.size)
        joints = fit_keypoints(joints, fit)
        target = torch.from_numpy(_checked(target_keypoints, "target_keypoints"))[None]
        image = torch.from_numpy(fitted.transpose(2, 0, 1).copy())[None]
        # The batch's target image is what training compares with; nothing reads it here.
        batch = PairBatch(image, image, torch.from_numpy(joints)[None], target, ("source",), ("target",))
        return PIL.Image.fromarray(pictures(generate(self.generator, on_device(batch, self.device)))[0])

    def transfer(self, source: Posed, target: Posed) -> PIL.Image.Image:
        """The person of `source` in the pose of `target`; both may be of any size."""
        return self(source.image, source.keypoints, self.fitted(target).keypoints)

    def fitted(self, posed: Posed) -> Posed:
        """Image and pose in the generator's size."""
        pixels, fit = fit_person(posed.image, posed.keypoints, *self.size)
        return Posed(PIL.Image.fromarray(pixels), fit_keypoints(posed.keypoints, fit))

    def grid(self, source: Posed, target: Posed, generated: PIL.Image.Image) -> PIL.Image.Image:
        """The four pictures side by side: source, target pose, generated, target."""
        (source_image, _), (target_image, keypoints) = self.fitted(source), self.fitted(target)
        row = (np.asarray(source_image), draw_skeleton(keypoints, *self.size), np.asarray(generated), np.asarray(target_image))
        return image_grid([row], ("source", "target pose", "generated", "target"))


def read_posed(path: Path, detector: Detector) -> Posed:
    """Read an image file and find the person in it.

    Raises:
        PoseGANError: the file is missing or no image, nobody is found, or a joint of the torso, on
            which every transform rests, is not visible.
    """
    try:
        image = decode_image(path.read_bytes())
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file") from None
    except ImageError as error:
        raise PoseGANError(f"{path}: not a usable image: {error}") from error
    except OSError as error:
        raise PoseGANError(f"{path}: could not be read ({error.strerror or error})") from error
    [person] = detector.estimate([image])
    if person is None:
        raise PoseGANError(f"{path}: no person found; use a picture in which one person is seen whole")
    hidden = [JOINTS[joint].replace("_", " ") for joint in TORSO if person.keypoints[joint, 2] <= 0]
    if hidden:
        raise PoseGANError(f"{path}: the torso is not visible (missing: {', '.join(hidden)}); both shoulders and both hips are needed")
    return Posed(image, person.keypoints)


def _as_image(image: Image) -> PIL.Image.Image:
    if isinstance(image, PIL.Image.Image):
        return image.convert("RGB")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise PoseGANError(f"source: expected a uint8 array (H, W, 3), got {image.dtype} {image.shape}")
    return PIL.Image.fromarray(image)


def _checked(keypoints: Keypoints, name: str) -> Keypoints:
    if keypoints.shape != (len(JOINTS), 3) or not np.isfinite(keypoints).all():
        raise PoseGANError(f"{name}: expected finite numbers of shape ({len(JOINTS)}, 3), got shape {keypoints.shape}")
    return keypoints.astype(np.float32)
