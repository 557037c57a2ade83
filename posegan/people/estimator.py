"""People's joints from images: the only file that knows ultralytics.

Importing ultralytics changes the process it lands in (it replaces `PIL.Image.open` and `torch.save`, sets the
thread count, looks for the network, installs packages by itself); `import_yolo` does it late and puts things back.

Legend: N people in one image; K = 18 joints; boxes are x left, y top, x right, y bottom in pixels.
"""

import atexit
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from posegan.config import PoseConfig
from posegan.device import choose_device
from posegan.errors import PoseGANError
from posegan.files import check_sha256, sha256_of
from posegan.skeleton import COCO_JOINTS, from_coco

# Released by ultralytics under these names, and fetched by its own loader.
OFFICIAL = re.compile(r"yolo(v8|11|26)[nsmlx]-pose\.pt")
_PACKAGED = "posegan/weights/"
_OVERLAP = 0.7  # IoU above which two boxes are one person; ultralytics' default for its suppression of doubles


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
        self._device = choose_device(config.device)
        self._dtype: torch.dtype = getattr(torch, config.precision)
        if self._dtype == torch.float16 and self._device.type != "cuda":
            raise PoseGANError(f"pose.precision: float16 needs a CUDA device, this is {self._device}; take float32 or bfloat16")
        self._model = _load(verified_weights(config.weights, config.sha256, config.trust_unpinned), config.weights)
        self._network = self._model.model.to(self._device).eval().requires_grad_(False)
        self._network.fuse(verbose=False)
        self._network.to(memory_format=torch.channels_last)  # the pixels' own order: 1.6 times as many images a second on a CPU
        self._stride = int(self._network.stride.max())
        if self._dtype != torch.float32:
            _lower_precision(self._network, self._dtype)

    def estimate(self, images: Sequence[Image.Image | npt.NDArray[np.uint8]]) -> list[PersonPose | None]:
        """Find the person in each RGB image (Pillow, or uint8 (H, W, 3)); None where there is none.

        The result has the images' order and length. Images of one shape are batched together, because the
        detector pads a mixed batch to a common shape, and a result must not depend on an image's neighbours.
        """
        arrays = [np.asarray(image, dtype=np.uint8) for image in images]
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for position, array in enumerate(arrays):
            by_shape[array.shape].append(position)
        people: dict[int, PersonPose | None] = {}
        for positions in by_shape.values():
            for start in range(0, len(positions), self._config.batch_size):
                chunk = positions[start : start + self._config.batch_size]
                people.update(zip(chunk, self._detect([arrays[position] for position in chunk]), strict=True))
        return [people[position] for position in range(len(arrays))]

    def _detect(self, arrays: list[npt.NDArray[np.uint8]]) -> list[PersonPose | None]:
        """One person an image, from images of one shape. Nothing is done by image but to make it the network's size."""
        from ultralytics.data.augment import LetterBox
        from ultralytics.utils import ops

        letterbox = LetterBox((self._config.image_size,) * 2, auto=True, stride=self._stride)
        pixels = torch.from_numpy(np.stack([letterbox(image=array) for array in arrays])).to(self._device)
        padded, shape = tuple(pixels.shape[1:3]), arrays[0].shape[:2]
        with torch.inference_mode():
            found = self._network(pixels.permute(0, 3, 1, 2).float().div_(255).to(self._dtype))
            candidates = self._candidates(found[0] if isinstance(found, tuple | list) else found)
            boxes = ops.scale_boxes(padded, candidates.boxes, shape)
            chosen = choose_person(boxes, candidates.confidences, *shape)
            rows = torch.arange(len(arrays), device=chosen.device)
            joints = ops.scale_coords(padded, candidates.joints[rows, chosen], shape)
            joints[..., :2] -= 0.5  # ultralytics counts from the image's edge, we from the first pixel's centre
            joints[joints[..., 2] < self._config.joint_confidence] = 0
            people = (joints, candidates.confidences[rows, chosen], boxes[rows, chosen])
        found_people = zip(*(each.float().cpu().numpy() for each in people), strict=True)
        return [
            PersonPose(from_coco(coco), float(confidence), box) if confidence > self._config.person_confidence else None
            for coco, confidence, box in found_people
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


def _lower_precision(network: Any, precision: torch.dtype) -> None:
    """Compute in `precision` up to the head, and there in float32.

    What the head puts out are places in pixels, of which bfloat16 has steps of half a pixel at 64.
    """
    network.to(precision)
    network.model[-1].float().register_forward_pre_hook(lambda _, features: ([each.float() for each in features[0]], *features[1:]))


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


def _area(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def verified_weights(weights: str, sha256: str, trust_unpinned: bool = False) -> Path:
    """The file that `pose.weights` names, checked; an official name that is not there is downloaded.

    A relative path counts from the working directory; `posegan/weights/...` is also found in the installed package.

    Raises:
        PoseGANError: no such file, another SHA-256, or neither a SHA-256 nor an official name nor `trust_unpinned`: a .pt
            file is a pickle, which may run any program when it is opened, so its content must be vouched for.
    """
    packaged = Path(__file__).parents[2] / weights
    path = Path(weights)
    if not path.is_file() and weights.startswith(_PACKAGED) and packaged.is_file():
        path = packaged
    if not path.is_file() and OFFICIAL.fullmatch(weights):
        return _official(weights, sha256)
    if not path.is_file():
        raise PoseGANError(f"pose.weights: {weights}: no such file; name a file, or an official model such as yolo11n-pose.pt")
    if not sha256 and trust_unpinned:
        return path.resolve()
    if not sha256:
        raise PoseGANError(
            f"pose.weights: {weights} is a pickle without a pinned SHA-256, which could run any program when opened; "
            f"if you trust where it comes from, set pose.sha256 to {sha256_of(path)}, or pose.trust_unpinned to true"
        )
    check_sha256(path, sha256, "get the right weights, or correct pose.sha256")
    return path.resolve()


def _official(name: str, sha256: str) -> Path:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = caches / "posegan" / "weights" / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        import_yolo()
        from ultralytics.utils.downloads import attempt_download_asset

        try:
            attempt_download_asset(path)
        except (OSError, RuntimeError) as error:
            path.unlink(missing_ok=True)
            raise PoseGANError(f"pose.weights: {name} could not be downloaded ({error}); put the file here and set pose.sha256") from error
    if not path.is_file():
        raise PoseGANError(f"pose.weights: {name} could not be downloaded; check the network, or put the file here and set pose.sha256")
    if sha256:
        check_sha256(path, sha256, f"delete {path} to download it again, or correct pose.sha256")
    return path


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


@cache
def import_yolo() -> Any:
    """Import ultralytics offline, mute and without side effects on this process; give its YOLO class."""
    settings_folder = tempfile.mkdtemp(prefix="posegan-ultralytics-")
    atexit.register(shutil.rmtree, settings_folder, ignore_errors=True)
    os.environ.update(
        YOLO_OFFLINE="1",  # no analytics, no look for updates; a download that was asked for still works
        YOLO_AUTOINSTALL="0",
        YOLO_VERBOSE="False",
        YOLO_CONFIG_DIR=settings_folder,
        ULTRALYTICS_SAFE_LOAD="1",
    )
    omp, threads, cv_threads = (os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads(), cv2.getNumThreads())
    os.environ["OMP_NUM_THREADS"] = omp or str(threads)  # it would set 1
    image_open, torch_save, print_options = (Image.open, torch.save, np.get_printoptions())
    try:
        from ultralytics import YOLO, settings

        settings.update({"sync": False})
    except ImportError as error:
        raise PoseGANError(f"ultralytics cannot be imported ({error}); run `make repro` to build the environment") from error
    finally:
        Image.open, torch.save = image_open, torch_save
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)
        np.set_printoptions(**print_options)
        if omp is None:
            del os.environ["OMP_NUM_THREADS"]
    return YOLO
