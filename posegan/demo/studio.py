"""What the page can ask for, as functions from JSON to JSON.

Legend: K = 18 joints, H, W height and width in pixels of the generator's pictures; all keypoints are in that frame.
"""

import base64
import binascii
import io
import time
from typing import Any

import numpy as np
import PIL.Image

from posegan.errors import PoseGANError
from posegan.images import Fit, Picture, decode_image
from posegan.inference.transfer import Fitted, PoseTransfer
from posegan.people.detection import Keypoints, Posed, checked_keypoints, torso_of
from posegan.people.pose_library import library_pose, pose_names
from posegan.photos import read_photo
from posegan.skeleton import BONES, JOINTS


class Studio:
    """The generator and the detector behind the page.

    Args:
        transfer: what draws and finds.
    """

    def __init__(self, transfer: PoseTransfer) -> None:
        self._transfer = transfer

    def described(self) -> dict[str, Any]:
        """What the page needs to know at its start: size, joints, bones and the built-in poses."""
        height, width = self._transfer.size
        poses = {name: _rounded(library_pose(name, height, width)) for name in pose_names()}
        return {"height": height, "width": width, "joints": JOINTS, "bones": BONES, "poses": poses}

    def find(self, data: bytes) -> dict[str, Any]:
        """The person in an image file: `image` (PNG of H x W, as a data URL) and `keypoints`.

        Raises:
            PoseGANError: not a usable image, too large, or nobody whole in it.
        """
        image = read_photo(data, LARGEST_IMAGE)
        [person] = self._transfer.detector.estimate([image])
        fitted = self._transfer.fit(Posed(image, torso_of(person, "the picture")))
        return {"image": _data_url(fitted.pixels), "keypoints": _rounded(fitted.keypoints)}

    def draw(self, request: Any) -> dict[str, Any]:
        """The person of `image` with `keypoints`, as `find` gave them, in the pose `target`: `result`, `warped` and `milliseconds`.

        Raises:
            PoseGANError: the request is not of that form.
        """
        if not isinstance(request, dict):
            raise PoseGANError("request: expected image, keypoints and target")
        source = Fitted(self._pixels(request.get("image")), _joints(request.get("keypoints"), "keypoints"), Fit(1.0, 0.0, 0.0))
        target = _joints(request.get("target"), "target")
        started = time.perf_counter()
        result = self._transfer.draw([source], [target])[0].permute(1, 2, 0).numpy()
        taken = time.perf_counter() - started
        warped = self._transfer.move_appearance(source, target)
        return {"result": _data_url(result), "warped": _data_url(warped), "milliseconds": round(1000 * taken)}

    def _pixels(self, url: Any) -> Picture:
        mark, _, encoded = url.partition(",") if isinstance(url, str) else ("", "", "")
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if not mark.startswith("data:image/") or not data:
            raise PoseGANError("image: expected a picture as the page got it")
        image = decode_image(data, LARGEST_IMAGE)
        if (image.height, image.width) != self._transfer.size:
            raise PoseGANError(f"image: expected {self._transfer.size[0]} x {self._transfer.size[1]} pixels, reload the page")
        return np.asarray(image, dtype=np.uint8)


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


def _data_url(pixels: Picture) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


LARGEST_IMAGE = 24_000_000  # pixels
