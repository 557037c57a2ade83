"""People's joints from images, by a YOLO pose model. Only this file and `yolo` know ultralytics.

Legend: N people in one image; K = 18 joints; boxes are x left, y top, x right, y bottom in pixels.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from posegan.config import PoseConfig
from posegan.device import choose_device
from posegan.errors import PoseGANError
from posegan.people.detectors import CROP_SIZE, FOR_PHOTOGRAPHS, is_crop, scene_size, shipped, verified_weights
from posegan.people.yolo import import_yolo
from posegan.skeleton import COCO_JOINTS, from_coco

_USUAL = 256 * 256  # pixels to the network of the pictures that `batch_size` counts; of smaller ones as many more go together
_MARGIN = 0.25  # about a person's box, of its larger side: what a closer look sees
_OVERLAP = 0.7  # IoU above which two boxes are one person; ultralytics' default for its suppression of doubles


logger = logging.getLogger(__name__)


class PersonPose(NamedTuple):
    """The one person that an image is about."""

    keypoints: npt.NDArray[np.float32]  # (K, 3) x, y in pixels of the image, confidence; 0, 0, 0 = missing
    confidence: float
    box: npt.NDArray[np.float32]  # (4,)


class Detector(Protocol):
    """What finds people: `PoseEstimator`, or what a test gives in its place."""

    def estimate(self, images: Sequence[Image.Image | npt.NDArray[np.uint8]]) -> list[PersonPose | None]:
        """One pose, or None, for each image, in order."""
        ...


class _Candidates(NamedTuple):
    """All that the network puts out for B images: people, most of them faint, N an image."""

    boxes: torch.Tensor  # (B, N, 4)
    confidences: torch.Tensor  # (B, N)
    joints: torch.Tensor  # (B, N, 17, 3) of COCO


class PoseEstimator:
    """A YOLO pose model.

    Args:
        config: which weights, at what input size, and the confidences below which a person is not found and a
            joint is missing.

    Raises:
        PoseGANError: the weights are missing, of another SHA-256, of unknown origin, or no pose model of 17 joints.
    """

    def __init__(self, config: PoseConfig) -> None:
        self._config = config
        self._device = _device(config.device)
        self._dtype: torch.dtype = getattr(torch, config.precision)
        if self._dtype == torch.float16 and self._device.type != "cuda":
            raise PoseGANError(f"pose.precision: float16 needs a CUDA device, this is {self._device}; take float32 or bfloat16")
        path = verified_weights(config.weights, config.sha256, config.trust_unpinned)
        self._model = _load(path, config.weights)
        self._network = self._model.model.to(self._device).eval().requires_grad_(False)
        self._network.fuse(verbose=False)
        self._network.to(memory_format=torch.channels_last)  # the pixels' own order: 1.6 times as many images a second on a CPU
        self._stride = int(self._network.stride.max())
        if self._dtype != torch.float32:
            lower_precision(self._network, self._dtype)
        self._is_shipped, self._warned = path == shipped().path.resolve(), False
        self._crop_size = shipped().image_size if self._is_shipped else CROP_SIZE

    def estimate(self, images: Sequence[Image.Image | npt.NDArray[np.uint8]]) -> list[PersonPose | None]:
        """Find the person in each RGB image (Pillow, or uint8 (H, W, 3)); None where there is none.

        The result has the images' order and length, and does not depend on an image's neighbours. With `image_size: auto` a person
        in a photograph is found at a larger size, and then looked at closer: joints are as exact as in a crop.
        """
        arrays = [np.asarray(image, dtype=np.uint8) for image in images]
        photographs = [number for number, array in enumerate(arrays) if not is_crop(array.shape[:2])]
        if photographs and self._is_shipped:
            self._warn(arrays[photographs[0]].shape[:2])
        if isinstance(self._config.image_size, int):
            return self._look(arrays, self._config.image_size)
        looks: dict[int, list[int]] = defaultdict(list)  # input of the network -> images; 0: crops
        for number, array in enumerate(arrays):
            looks[0 if is_crop(array.shape[:2]) else scene_size(array.shape[:2], self._stride)].append(number)
        people: list[PersonPose | None] = [None] * len(arrays)
        for size, numbers in looks.items():
            some = [arrays[number] for number in numbers]
            found = self._look_closer(some, size) if size else self._look(some, self._crop_size)
            for number, person in zip(numbers, found, strict=True):
                people[number] = person
        return people

    def _warn(self, shape: tuple[int, int]) -> None:
        if not self._warned:
            logger.warning(
                "the shipped detector was measured on %s; an image of %d x %d pixels is of another kind, for which pose.weights: %s "
                "(or --detector %s) is made",
                shipped().kinds, shape[1], shape[0], FOR_PHOTOGRAPHS, FOR_PHOTOGRAPHS,
            )  # fmt: skip
        self._warned = True

    def _look_closer(self, arrays: list[npt.NDArray[np.uint8]], size: int) -> list[PersonPose | None]:
        """Find people at `size`, then once more in a cut about each; the first finding stands where the second finds nobody."""
        first = self._look(arrays, size)
        seen = [number for number, person in enumerate(first) if person is not None]
        cuts = [_surroundings(person.box, *arrays[number].shape[:2]) for number, person in enumerate(first) if person is not None]
        closer = self._look([arrays[number][y0:y1, x0:x1] for number, (x0, y0, x1, y1) in zip(seen, cuts, strict=True)], self._crop_size)
        people = list(first)
        for number, (left, top, _, _), person in zip(seen, cuts, closer, strict=True):
            if person is not None:
                there = person.keypoints[:, 2:] > 0
                joints = np.where(there, person.keypoints + np.array([left, top, 0], np.float32), 0).astype(np.float32)
                people[number] = PersonPose(joints, person.confidence, person.box + np.array([left, top, left, top], np.float32))
        return people

    def _look(self, arrays: list[npt.NDArray[np.uint8]], size: int) -> list[PersonPose | None]:
        """One person an image, from images of any shapes; those that are one shape to the network go through it together.

        A batch is never padded to a common shape, as the detector's own loader does: a result must not depend on neighbours.
        """
        from ultralytics.data.augment import LetterBox

        letterbox = LetterBox((size, size), auto=True, stride=self._stride)
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for position, array in enumerate(arrays):
            by_shape[letterboxed(array.shape[:2], size, self._stride)].append(position)
        people: dict[int, PersonPose | None] = {}
        for (height, width), positions in by_shape.items():
            together = self._config.batch_size * max(1, _USUAL // (height * width))
            for start in range(0, len(positions), together):
                chunk = positions[start : start + together]
                pixels = np.stack([letterbox(image=arrays[position]) for position in chunk])
                people.update(zip(chunk, self._detect(pixels, [arrays[position].shape[:2] for position in chunk]), strict=True))
        return [people[position] for position in range(len(arrays))]

    def _detect(self, boxed: npt.NDArray[np.uint8], shapes: Sequence[tuple[int, int]]) -> list[PersonPose | None]:
        """One person an image, from B pictures as the network takes them, whose images have `shapes` (height, width)."""
        pixels = torch.from_numpy(boxed).to(self._device)
        padded = tuple(pixels.shape[1:3])
        with torch.inference_mode():
            found = self._network(pixels.permute(0, 3, 1, 2).float().div_(255).to(self._dtype))
            candidates = self._candidates(found[0] if isinstance(found, tuple | list) else found)
            same: dict[tuple[int, int], list[int]] = defaultdict(list)  # nothing is done by image where they have one shape
            for row, shape in enumerate(shapes):
                same[shape].append(row)
            people: dict[int, PersonPose | None] = {}
            for shape, rows in same.items():
                some = candidates if len(same) == 1 else _Candidates(*(each[rows] for each in candidates))
                people.update(zip(rows, self._chosen(some, padded, shape), strict=True))
        return [people[row] for row in range(len(shapes))]

    def _chosen(self, candidates: _Candidates, padded: tuple[int, ...], shape: tuple[int, int]) -> list[PersonPose | None]:
        """The person of each of B images of one `shape`, back in their pixels."""
        from ultralytics.utils import ops

        boxes = ops.scale_boxes(padded, candidates.boxes, shape)
        chosen = choose_person(boxes, candidates.confidences, *shape)
        rows = torch.arange(len(chosen), device=chosen.device)
        joints = ops.scale_coords(padded, candidates.joints[rows, chosen], shape)
        joints[..., :2] -= 0.5  # ultralytics counts from the image's edge, we from the first pixel's centre
        joints[joints[..., 2] < self._config.joint_confidence] = 0
        people = (joints, candidates.confidences[rows, chosen], boxes[rows, chosen])
        coco, confidences, places = (each.float().cpu().numpy() for each in people)
        return [
            PersonPose(keypoints, float(confidence), box) if confidence > self._config.person_confidence else None
            for keypoints, confidence, box in zip(from_coco(coco), confidences, places, strict=True)
        ]

    def _candidates(self, found: torch.Tensor) -> _Candidates:
        """The network's output by its parts, in pixels of its input: (B, 4 + classes + 51, N), or sorted out by itself, (B, N, 6 + 51)."""
        from ultralytics.utils import ops

        joints = len(COCO_JOINTS) * 3
        if getattr(self._network, "end2end", False):
            boxes, confidences = found[..., :4], found[..., 4]
        else:
            found = found.transpose(1, 2)
            boxes, confidences = ops.xywh2xyxy(found[..., :4]), found[..., 4:-joints].amax(dim=-1)
        return _Candidates(boxes.clone(), confidences, found[..., -joints:].reshape(*confidences.shape, -1, 3))


def _device(name: str) -> torch.device:
    """As `choose_device`; the CPU in place of `mps`, on which ultralytics' pose models place joints wrongly (its issue 4031)."""
    device = choose_device(name)
    if device.type == "mps":
        logger.warning("joints are found on the CPU: YOLO's pose models place them wrongly on mps")
        return torch.device("cpu")
    return device


def letterboxed(shape: tuple[int, ...], size: int, stride: int) -> tuple[int, int]:
    """Height and width to which ultralytics' `LetterBox` brings a picture of `shape`: its longer side `size`, padded to `stride`."""
    scale = min(size / shape[0], size / shape[1])
    height, width = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    return height + (size - height) % stride, width + (size - width) % stride


def lower_precision(network: Any, precision: torch.dtype) -> None:
    """Compute in `precision` up to the last convolutions of the head's branches, and from there on in float32.

    What the head puts out are places in pixels, of which bfloat16 has steps of half a pixel at 64.
    """
    from ultralytics.nn.modules.conv import Conv

    head = network.to(precision).model[-1].float()
    for block in head.modules():
        if isinstance(block, Conv):  # with its activation, so none of the last ones, which are bare
            block.to(precision)
    for layer in head.modules():
        own = next(layer.parameters(recurse=False), None)
        if own is not None:
            layer.register_forward_pre_hook(lambda _, inputs, dtype=own.dtype: tuple(each.to(dtype) for each in inputs))


def choose_person(boxes: torch.Tensor, confidences: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Which of the N people with `boxes` (..., N, 4) and `confidences` (..., N) an image of `height` x `width` is about; (...,) int64.

    The one with the largest confidence * (1 - d), where d is the distance of the box's centre from the image's
    centre as a share of half the diagonal: a crop is centred on its person, and passers-by stand at its rim. Of
    the boxes that are the same person as that one (IoU above 0.7) the most confident. The first of equals.
    """
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    middle = torch.tensor([width / 2, height / 2], device=boxes.device)
    distance = torch.linalg.vector_norm(centres - middle, dim=-1) / (np.hypot(width, height) / 2)
    central = (confidences * (1 - distance.clamp(0, 1))).argmax(dim=-1, keepdim=True)
    chosen = boxes.gather(-2, central.unsqueeze(-1).expand(*central.shape, 4))
    corners = torch.maximum(boxes[..., :2], chosen[..., :2]), torch.minimum(boxes[..., 2:], chosen[..., 2:])
    shared = (corners[1] - corners[0]).clamp(min=0).prod(dim=-1)
    either = _area(boxes) + _area(chosen) - shared
    same = (shared > _OVERLAP * either).scatter(-1, central, True)  # itself, though its area be 0
    return torch.where(same, confidences, -1.0).argmax(dim=-1)


def _surroundings(box: npt.NDArray[np.float32], height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a box with a quarter of its larger side about it, inside an image of `height` x `width`."""
    margin = _MARGIN * float(max(box[2:] - box[:2]))
    left, top = np.floor(box[:2] - margin).clip(0).astype(int).tolist()
    right, bottom = np.ceil(box[2:] + margin).astype(int).tolist()
    return left, top, max(left + 1, min(right, width)), max(top + 1, min(bottom, height))


def _area(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def _load(path: Path, name: str) -> Any:
    yolo = import_yolo()
    try:
        model = yolo(str(path), task="pose")
        joints = list(model.model.kpt_shape)
    except Exception as error:  # whatever an unpickler and a model builder raise on a foreign file
        raise PoseGANError(f"pose.weights: {name}: not a YOLO pose model ({str(error).splitlines()[0][:200]})") from error
    if joints != [len(COCO_JOINTS), 3]:
        raise PoseGANError(f"pose.weights: {name}: expected joints of shape [17, 3] (COCO), got {joints}; take a COCO pose model")
    return model
