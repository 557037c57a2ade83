"""Pose transfer for people: pictures in, pictures out.

Legend: B pictures, K = 18 joints, H, W height and width in pixels of the generator's pictures. Keypoints are `(K, 3)` float32
`x, y, confidence`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
from torch import Tensor

from posegan.config import PoseConfig
from posegan.data.batches import to_float, to_uint8
from posegan.device import choose_device
from posegan.errors import PoseGANError
from posegan.formats.plausible import refuse_outside
from posegan.images import Fit, Picture, fit_keypoints, fit_person
from posegan.inference.model_names import named_model
from posegan.inference.origins import Origins, draw_with_origins
from posegan.inference.picture_types import Pictures, give_pictures, open_pictures
from posegan.inference.shipped import DEFAULT, shipped_generators
from posegan.model.copying import warp_image
from posegan.model.generator_file import generator_file, load_generator, read_generator_card
from posegan.people.detection import Keypoints, Posed, checked_keypoints, load_detector, torso_of
from posegan.people.estimator import Detector
from posegan.people.pose_library import library_pose
from posegan.pictures import draw_skeleton, image_grid

BATCH_SIZE = 32  # pictures drawn at once; more in one call are drawn in turn

# A pose: the name of a built-in one; keypoints, in pixels of the result; or pictures in which it is found.
Target = str | npt.NDArray[np.generic] | Tensor | PIL.Image.Image | Posed
Targets = Target | list[Target] | tuple[Target, ...]  # a sequence would include a name


class Fitted(NamedTuple):
    """A person as the generator takes it."""

    pixels: Picture  # (H, W, 3)
    keypoints: Keypoints
    fit: Fit  # where the picture came from


class Explained(NamedTuple):
    """A drawing, and how it came about."""

    picture: Picture  # (H, W, 3)
    warped: Picture  # (H, W, 3): the source moved by its ten parts, before any network touches it
    origins: Origins | None  # what of the picture is copied and what is invented, where that can be told


class PoseTransfer:
    """A trained generator, loaded once: draws the person of one picture in another pose.

    Args:
        model: the name of a generator that comes with the program, `real` or `drawn`; `models/generator.safetensors` or another file
            that training wrote; a folder that `posegan export` wrote; or `user/model` on the Hugging Face hub (`posegan[hub]`).
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        detector: what finds people where no keypoints are given, or the section `pose` of params.yaml that describes it, or None for
            the shipped one; both are loaded when they are first needed.

    Raises:
        PoseGANError: the model is missing or not a PoseGAN generator; the device is not there.
    """

    def __init__(self, model: str | Path = DEFAULT, device: str = "auto", detector: Detector | PoseConfig | None = None) -> None:
        path = generator_file(named_model(model))
        self.name = str(model)
        self.card = read_generator_card(path)
        self.device = choose_device(device)
        self.generator = load_generator(path, self.device)
        self._detector = detector

    @classmethod
    def from_pretrained(cls, model: str | Path = DEFAULT, device: str = "auto", detector: Detector | PoseConfig | None = None) -> Self:
        """The same as the constructor, under the name that other libraries have for it."""
        return cls(model, device, detector)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the pictures that the generator draws."""
        return self.card.image.height, self.card.image.width

    @property
    def origin(self) -> str:
        """Where the generator comes from and what it learned from, in words."""
        if shipped := shipped_generators().get(self.name):
            return f"comes with posegan, trained on {shipped.trained_on}. {shipped.terms}"
        provenance = self.card.provenance
        return f"trained for {provenance.get('iterations', 'unknown')} iterations on {provenance.get('trained_on', 'unknown images')}"

    @property
    def detector(self) -> Detector:
        """What finds people."""
        if self._detector is None or isinstance(self._detector, PoseConfig):
            self._detector = load_detector(self._detector, str(self.device))
        return self._detector

    @overload
    def __call__(self, image: PIL.Image.Image, target: Target, source_keypoints: Any = None) -> PIL.Image.Image: ...
    @overload
    def __call__(
        self, image: PIL.Image.Image, target: list[Target] | tuple[Target, ...], source_keypoints: Any = None
    ) -> list[PIL.Image.Image]: ...
    @overload
    def __call__(self, image: npt.NDArray[np.uint8], target: Targets, source_keypoints: Any = None) -> npt.NDArray[np.uint8]: ...
    @overload
    def __call__(self, image: Tensor, target: Targets, source_keypoints: Any = None) -> Tensor: ...
    @overload
    def __call__(self, image: Sequence[PIL.Image.Image], target: Targets, source_keypoints: Any = None) -> list[PIL.Image.Image]: ...

    def __call__(self, image: Pictures, target: Targets, source_keypoints: Any = None) -> Any:
        """The person of `image` in the pose `target`.

        Args:
            image: one picture or many, of any size, Pillow, NumPy or tensor (`picture_types`); each is cut to its person's
                surroundings and fitted into the generator's size.
            target: one pose for all, or as many as pictures: the name of a built-in pose, such as `walking-3/left`, keypoints
                `(K, 3)` or `(B, K, 3)` in pixels of the result, or pictures, in which the pose is found.
                With one picture, many poses give many results.
            source_keypoints: `(K, 3)` or `(B, K, 3)` in pixels of `image`; None: they are found.

        Returns:
            Drawn pictures of the kind of `image`, one or many, of the generator's `size`.

        Raises:
            PoseGANError: pictures or keypoints of no known kind, numbers that do not match, or nobody whole in a picture.
        """
        pictures, kind = open_pictures(image, "image")
        joints = self._joints(pictures, source_keypoints)
        poses, several = self._targets(target)
        count = max(len(pictures), len(poses))
        if {len(pictures), len(poses)} - {1, count}:
            raise PoseGANError(f"target: expected one pose, or one for each of the {len(pictures)} images, got {len(poses)}")
        sources = [self.fit(Posed(picture, points)) for picture, points in zip(pictures, joints, strict=True)]
        drawn = self.draw(sources * (count // len(sources)), poses * (count // len(poses)))
        return give_pictures(drawn, kind._replace(many=kind.many or several))

    def draw(self, sources: Sequence[Fitted], targets: Sequence[Keypoints]) -> Tensor:
        """Each source in its target pose, keypoints in pixels of the result: uint8 `(B, 3, H, W)` on the CPU."""
        drawn = [
            self._draw(sources[start : start + BATCH_SIZE], targets[start : start + BATCH_SIZE])
            for start in range(0, len(sources), BATCH_SIZE)
        ]
        return torch.cat(drawn)

    def transfer(self, source: Posed, target: Posed) -> PIL.Image.Image:
        """The person of `source` in the pose of `target`; both may be of any size."""
        drawn = self.draw([self.fit(source)], [self.fit(target).keypoints])
        return PIL.Image.fromarray(drawn[0].permute(1, 2, 0).numpy())

    def fit(self, posed: Posed) -> Fitted:
        """A person cut out and scaled to the generator's size."""
        keypoints = checked_keypoints(posed.keypoints, "keypoints")
        pixels, fit = fit_person(posed.image, keypoints, *self.size)
        return Fitted(pixels, fit_keypoints(keypoints, fit), fit)

    def explain(self, source: Fitted, target: Keypoints) -> Explained:
        """Draw the source in the target pose, keypoints in pixels of the result, and tell how the drawing came about."""
        pixels, start, end = self._on_device([source], [target])
        drawing, origins = draw_with_origins(self.generator, pixels, start, end)
        moved = to_uint8(warp_image(pixels, start, end))[0]
        return Explained(_as_picture(to_uint8(drawing)), _as_picture(moved), origins)

    def grid(self, source: Posed, target: Posed, generated: PIL.Image.Image) -> PIL.Image.Image:
        """The four pictures side by side: source, target pose, generated, target."""
        aim = self.fit(target)
        row = (self.fit(source).pixels, draw_skeleton(aim.keypoints, *self.size), np.asarray(generated), aim.pixels)
        return image_grid([row], ("source", "target pose", "generated", "target"))

    @torch.no_grad()
    def _draw(self, sources: Sequence[Fitted], targets: Sequence[Keypoints]) -> Tensor:
        return to_uint8(self.generator(*self._on_device(sources, targets)).image).cpu()

    def _on_device(self, sources: Sequence[Fitted], targets: Sequence[Keypoints]) -> tuple[Tensor, Tensor, Tensor]:
        """Images `(B, 3, H, W)` in [-1, 1], their keypoints and the target poses, `(B, K, 3)` each."""
        images = torch.from_numpy(np.stack([source.pixels for source in sources])).permute(0, 3, 1, 2).to(self.device)
        starts = torch.from_numpy(np.stack([source.keypoints for source in sources])).to(self.device)
        return to_float(images.contiguous()), starts, torch.from_numpy(np.stack(targets)).to(self.device)

    def _joints(self, pictures: list[PIL.Image.Image], keypoints: Any) -> list[Keypoints]:
        if keypoints is None:
            people = self.detector.estimate(pictures)
            names = ["image"] if len(pictures) == 1 else [f"image {number}" for number in range(len(pictures))]
            return [torso_of(person, name) for person, name in zip(people, names, strict=True)]
        joints = checked_keypoints(_as_array(keypoints), "source_keypoints")
        joints = joints if joints.ndim == 3 else joints[None]
        if len(joints) != len(pictures):
            raise PoseGANError(f"source_keypoints: expected those of {len(pictures)} images, got {len(joints)}")
        for picture, points in zip(pictures, joints, strict=True):
            refuse_outside("source_keypoints", points, picture.size)
        return list(joints)

    def _targets(self, target: Any) -> tuple[list[Keypoints], bool]:
        """Poses in the generator's frame, and whether the caller gave a row of them."""
        if isinstance(target, str):
            return [library_pose(target, *self.size)], False
        if isinstance(target, Posed):
            return [self.fit(target).keypoints], False
        if isinstance(target, np.ndarray | Tensor) and tuple(target.shape[-2:]) == (18, 3) and _as_array(target).dtype.kind == "f":
            joints = checked_keypoints(_as_array(target), "target")
            return list(joints if joints.ndim == 3 else joints[None]), joints.ndim == 3
        if isinstance(target, list | tuple) and target and not all(isinstance(item, PIL.Image.Image) for item in target):
            rows = [self._targets(item)[0] for item in target]
            if any(len(row) != 1 for row in rows):
                raise PoseGANError("target: expected a list of single poses, got one that holds several; use a list of them")
            return [row[0] for row in rows], True
        pictures, kind = open_pictures(target, "target")
        return [
            self.fit(Posed(picture, joints)).keypoints for picture, joints in zip(pictures, self._found(pictures), strict=True)
        ], kind.many

    def _found(self, pictures: list[PIL.Image.Image]) -> list[Keypoints]:
        return [torso_of(person, "target") for person in self.detector.estimate(pictures)]


def _as_array(value: Any) -> npt.NDArray[np.generic]:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _as_picture(image: Tensor) -> Picture:
    """`(3, H, W)` uint8 as `(H, W, 3)`."""
    return image.permute(1, 2, 0).cpu().numpy()
