"""What the page can ask for, as functions from JSON to JSON.

Legend: K = 18 joints, H, W height and width in pixels of the generator's pictures; keypoints are in that frame, but for those of a photo.
"""

import base64
import binascii
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from posegan.errors import PoseGANError
from posegan.formats.keypoint_csv import read_keypoint_csv
from posegan.images import Fit, decode_image, decode_photo, fit_keypoints, person_frame
from posegan.inference.origins import Origins
from posegan.inference.transfer import Fitted, PoseTransfer
from posegan.people.detection import Keypoints, Named, Posed, checked_keypoints, read_image, torso_of
from posegan.people.estimator import PersonPose
from posegan.people.pose_library import POSES, SIDES, library_pose, pose_names, walk
from posegan.skeleton import BONES, JOINTS, SHOULDER_HIP_SIDES

LARGEST_IMAGE = 24_000_000  # pixels
STEPS = 16  # pictures of a whole walk
FRAMES = 4  # drawn by one question: what a visitor who asks meanwhile has to wait for
_PEOPLE = Path(__file__).parent / "people"
_AROUND = 0.5  # of the person's frame: how much of a photo is shown about it
_CLOSE_UP = 768  # pixels: the longer side of a photo as it is shown; the generator's frame is about half of it


class Studio:
    """The generators and the detector behind the page.

    Args:
        transfer: what finds people, and draws those of photographs.
        for_drawn: what draws the people that come with the page; None: `transfer` does. Both draw pictures of one size.
        blind: why there is no detector, in a sentence; "": there is one.
    """

    def __init__(self, transfer: PoseTransfer, for_drawn: PoseTransfer | None = None, blind: str = "") -> None:
        self._transfer, self._blind = transfer, blind
        self._for_drawn = for_drawn or transfer
        self._generators = {each.name: each for each in (self._for_drawn, transfer)}

    def described(self) -> dict[str, Any]:
        """What the page needs to know at its start: size, joints, bones, generators, poses, walks and the people that come with it."""
        height, width = self._transfer.size
        return {
            "height": height,
            "width": width,
            "joints": [name.replace("_", " ") for name in JOINTS],
            "bones": BONES,
            "generators": {name: each.origin for name, each in self._generators.items()},
            "postures": POSES,
            "sides": SIDES,
            "poses": {name: _rounded(library_pose(name, height, width)) for name in pose_names()},
            "walks": {side: [_rounded(pose) for pose in walk(side, STEPS, height, width)] for side in SIDES},
            "frames": FRAMES,
            "people": [self._person_of(path, keypoints) for path, keypoints in built_in_people()],
        }

    def find(self, data: bytes) -> dict[str, Any]:
        """The person in an image file: `image` (PNG of H x W, as a data URL), `keypoints`, which `generator` is for such people.

        Beside them `photo`, the person's surroundings in the picture, `photo_keypoints` in its pixels, which `detector` looked, if it can
        be told, and how sure it is (`confidence`).

        Raises:
            PoseGANError: not a usable image, too large, or nobody whole in it; or there is no detector.
        """
        if self._blind:
            raise PoseGANError(self._blind)
        image = decode_photo(data, LARGEST_IMAGE)
        detector = self._transfer.detector
        [person] = detector.estimate([image])
        keypoints = torso_of(person, "the picture")
        photo, seen = _close_up(image, keypoints, self._transfer.size)
        return {
            **self._fitted(Posed(image, keypoints)),
            "photo": _data_url(np.asarray(photo)),
            "photo_keypoints": _rounded(seen),
            "detector": detector.looks_with(image) if isinstance(detector, Named) else "",
            "confidence": round(person.confidence, 3) if person else 0.0,
            "generator": self._transfer.name,
        }

    def fit(self, request: Any) -> dict[str, Any]:
        """The person of `photo` with other joints, `photo_keypoints` in its pixels: `image` and `keypoints`.

        Raises:
            PoseGANError: the request is not of that form, or lacks a joint of the torso.
        """
        _expect(request, "photo and photo_keypoints")
        image = decode_image(_decoded(request.get("photo"), "photo"), LARGEST_IMAGE)
        joints = _joints(request.get("photo_keypoints"), "photo_keypoints")
        keypoints = torso_of(PersonPose(joints, 1.0, np.zeros(4, np.float32)), "the picture")
        if min(np.hypot(*(keypoints[hip] - keypoints[shoulder])[:2]) for shoulder, hip in SHOULDER_HIP_SIDES) < 1:
            raise PoseGANError("the picture: a shoulder lies on its hip; drag them apart")
        return self._fitted(Posed(image, keypoints))

    def draw(self, request: Any) -> dict[str, Any]:
        """The person of `image` with `keypoints`, as `find` gave them, in the pose `target`, drawn by `generator` or else the first.

        `result` and `milliseconds`; `warped`, the source moved by its parts alone; and where it can be told, `copied` and `invented`, the
        two halves of the result, each as clear as it has no part in it, with the copied share of the body and of the ground.

        Raises:
            PoseGANError: the request is not of that form.
        """
        _expect(request, "image, keypoints and target")
        transfer, source = self._generator(request), self._source(request)
        target = _joints(request.get("target"), "target")
        started = time.perf_counter()
        picture, warped, origins = transfer.explain(source, target)
        taken = time.perf_counter() - started
        drawn = {"result": _data_url(picture), "warped": _data_url(warped), "milliseconds": round(1000 * taken)}
        return drawn | ({} if origins is None else _told(origins))

    def animate(self, request: Any) -> dict[str, Any]:
        """As `draw`, in each of at most `FRAMES` poses `targets`: `results`.

        Raises:
            PoseGANError: the request is not of that form.
        """
        _expect(request, "image, keypoints and targets")
        transfer, source = self._generator(request), self._source(request)
        targets = request.get("targets")
        if not isinstance(targets, list) or not 1 <= len(targets) <= FRAMES:
            raise PoseGANError(f"targets: expected 1 to {FRAMES} poses")
        poses = [_joints(target, "targets") for target in targets]
        drawn = transfer.draw([source] * len(poses), poses).permute(0, 2, 3, 1).numpy()
        return {"results": [_data_url(picture) for picture in drawn]}

    def _person_of(self, path: Path, keypoints: Keypoints) -> dict[str, Any]:
        return {"generator": self._for_drawn.name, **self._fitted(Posed(read_image(path), keypoints))}

    def _fitted(self, posed: Posed) -> dict[str, Any]:
        fitted = self._transfer.fit(posed)
        return {"image": _data_url(fitted.pixels), "keypoints": _rounded(fitted.keypoints)}

    def _generator(self, request: dict[str, Any]) -> PoseTransfer:
        name = request.get("generator", next(iter(self._generators)))
        if not isinstance(name, str) or name not in self._generators:
            raise PoseGANError(f"generator: expected one of {', '.join(self._generators)}")
        return self._generators[name]

    def _source(self, request: dict[str, Any]) -> Fitted:
        image = decode_image(_decoded(request.get("image"), "image"), LARGEST_IMAGE)
        if (image.height, image.width) != self._transfer.size:
            raise PoseGANError(f"image: expected {self._transfer.size[0]} x {self._transfer.size[1]} pixels, reload the page")
        return Fitted(np.asarray(image, dtype=np.uint8), _joints(request.get("keypoints"), "keypoints"), Fit(1.0, 0.0, 0.0))


def built_in_people() -> list[tuple[Path, Keypoints]]:
    """The pictures of the drawn people that come with the page, and their joints `(K, 3)`, which need no detector."""
    return [(_PEOPLE / each.image, each.keypoints) for each in read_keypoint_csv(_PEOPLE / "keypoints.csv")]


def _close_up(image: PIL.Image.Image, keypoints: Keypoints, size: tuple[int, int]) -> tuple[PIL.Image.Image, Keypoints]:
    """The surroundings of a person in a photo, at most `_CLOSE_UP` on a side, and the joints in its pixels.

    A photo of the generator's `size` (height, width) stays whole, as it does where people are cut out.
    """
    if image.size == size[::-1]:
        return image, keypoints
    frame = person_frame(keypoints, image.size, size[1] / size[0])
    across, down = (_AROUND * (frame[2 + axis] - frame[axis]) for axis in (0, 1))
    left, top = max(0, int(frame[0] - across)), max(0, int(frame[1] - down))
    box = (left, top, min(image.width, int(frame[2] + across)), min(image.height, int(frame[3] + down)))
    photo = image.crop(box)
    scale = min(1.0, _CLOSE_UP / max(photo.size))
    photo = photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))), PIL.Image.Resampling.LANCZOS)
    half = (scale - 1) / 2  # pixel centres: shown + 1/2 = scale * (original + 1/2 - corner)
    return photo, fit_keypoints(keypoints, Fit(scale, half - scale * left, half - scale * top))


def _told(origins: Origins) -> dict[str, Any]:
    share = origins.share.cpu().numpy()
    return {
        "copied": _data_url(_with_opacity(origins.copied.cpu().numpy(), share)),
        "invented": _data_url(_with_opacity(origins.invented.cpu().numpy(), 1 - share)),
        "body_share": round(origins.body_share, 3),
        "ground_share": round(origins.ground_share, 3),
    }


def _with_opacity(colours: npt.NDArray[np.float32], opacity: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Colours (3, H, W) in [-1, 1] and how much of them there is (H, W) in [0, 1] as RGBA (H, W, 4)."""
    layers = np.concatenate([(colours + 1) / 2, opacity[None]])
    pixels: npt.NDArray[np.uint8] = np.rint(255 * layers.clip(0, 1)).astype(np.uint8)
    return pixels.transpose(1, 2, 0)


def _expect(request: Any, what: str) -> None:
    if not isinstance(request, dict):
        raise PoseGANError(f"request: expected {what}")


def _decoded(url: Any, name: str) -> bytes:
    """The bytes of a picture that the page got as a data URL and sends back."""
    mark, _, encoded = url.partition(",") if isinstance(url, str) else ("", "", "")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not mark.startswith("data:image/") or not data:
        raise PoseGANError(f"{name}: expected a picture as the page got it")
    return data


def _joints(value: Any, name: str) -> Keypoints:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):  # the last of a whole number of 400 digits
        array = np.zeros(0)
    if array.ndim != 2 or np.abs(np.nan_to_num(array, nan=np.inf)).max(initial=0) > 1e5:
        raise PoseGANError(f"{name}: expected {len(JOINTS)} times x, y, confidence")
    joints = checked_keypoints(array, name)
    joints[joints[:, 2] <= 0] = 0
    return joints


def _rounded(keypoints: Keypoints) -> list[list[float]]:
    return [[round(float(value), 2) for value in joint] for joint in keypoints]


def _data_url(pixels: npt.NDArray[np.uint8]) -> str:
    """A picture (H, W, 3), or one with opacity (H, W, 4)."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
