"""Image bytes in, RGB pixels out: one decoder for every stage, the fit to the network's size, skeleton drawings.

Legend: H, W height and width in pixels; K = 18 joints. Pixel coordinates have their origin at the
centre of the top-left pixel, so a pixel's area reaches half a pixel to either side.
"""

import io
import struct
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from posegan.errors import PoseGANError
from posegan.skeleton import SHOULDER_HIP_SIDES, TORSO

Picture = npt.NDArray[np.uint8]  # (H, W, 3)


MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
Reason = Literal["unreadable", "too_large"]

# What Pillow's decoders raise on damaged input; seen by cutting and flipping bytes of valid files.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# The person's frame, in shoulder-hip lengths: around the joints, and from the torso's middle up and down an upright body.
MARGIN, ABOVE, BELOW = 0.5, 1.8, 2.8


class ImageError(PoseGANError):
    """Bytes that are no usable image. `reason` is `unreadable` or `too_large`; the message says why."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class Fit(NamedTuple):
    """How an image was placed: fitted position = scale * original position + (left, top)."""

    scale: float
    left: float
    top: float


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Decode bytes of one of Pillow's `formats` into a loaded RGB image, turned upright as its EXIF tag says.

    Transparent parts become white; of several pictures in a file, the first is taken. The size is checked before any
    pixel is decoded: a file of a few kilobytes may claim gigapixels.

    Raises:
        ImageError: empty, cut, damaged, of another format, or above `max_pixels` pixels.
    """
    if not data:
        raise ImageError("the file is empty", "unreadable")
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        if image.width * image.height > max_pixels:
            raise ImageError(f"{image.width} x {image.height} pixels, more than the {max_pixels:,} allowed", "too_large")
        image.load()
        return _as_rgb(ImageOps.exif_transpose(image))
    except _BOMBS:
        raise ImageError(f"more pixels than the {max_pixels:,} allowed", "too_large") from None
    except UnidentifiedImageError:
        known = "an image in a format that Pillow reads" if len(formats) > len(FORMATS) else "a JPEG, PNG, WebP or BMP image"
        raise ImageError(f"not {known}", "unreadable") from None
    except _DECODER_ERRORS as error:
        raise ImageError(f"damaged image ({error})", "unreadable") from error


def encode_jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """RGB pixels (H, W, 3) as a JPEG whose loss does not show: quality 95, colours at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":  # 16-bit grey, which Pillow would clip instead of scale
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))  # without a second RGBA image of up to 256 MB
        return white
    return image.convert("RGB")


def fit_image(image: Image.Image, height: int, width: int) -> tuple[npt.NDArray[np.uint8], Fit]:
    """Scale an image into `height` x `width`, keeping its aspect, centred, with edges repeated outwards.

    Returns:
        The uint8 (H, W, 3) pixels and the `Fit` that moves keypoints along; an image that has the
        size already is returned as it is.
    """
    if image.size == (width, height):
        return np.asarray(image, dtype=np.uint8), Fit(1.0, 0.0, 0.0)
    scale = min(height / image.height, width / image.width)
    # Whole pixels of the fitted image; the sliver of the original beyond them (below one fitted pixel)
    # is cut evenly from both sides, which keeps the scale of x and y exactly equal.
    inner_width, inner_height = (max(1, int(side * scale + 1e-6)) for side in image.size)
    used_width, used_height = (min(image.width, inner_width / scale), min(image.height, inner_height / scale))
    cut_left, cut_top = (image.width - used_width) / 2, (image.height - used_height) / 2
    box = (cut_left, cut_top, cut_left + used_width, cut_top + used_height)
    pixels = np.asarray(image.resize((inner_width, inner_height), Image.Resampling.BICUBIC, box=box), dtype=np.uint8)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    margins = ((top, height - inner_height - top), (left, width - inner_width - left), (0, 0))
    half = (scale - 1) / 2  # pixel centres: fitted + 1/2 = scale * (original + 1/2 - cut) + margin
    return np.pad(pixels, margins, mode="edge"), Fit(scale, left - scale * cut_left + half, top - scale * cut_top + half)


def fit_person(image: Image.Image, keypoints: npt.NDArray[np.float32], height: int, width: int) -> tuple[npt.NDArray[np.uint8], Fit]:
    """As `fit_image`, of the part of an image in which its person with `keypoints` (K, 3) about fills the picture."""
    if image.size == (width, height):
        return fit_image(image, height, width)
    left, top, right, bottom = person_frame(keypoints, image.size, width / height)
    pixels, fit = fit_image(image.crop((left, top, right, bottom)), height, width)
    return pixels, Fit(fit.scale, fit.left - fit.scale * left, fit.top - fit.scale * top)


def person_frame(keypoints: npt.NDArray[np.float32], size: tuple[int, int], aspect: float) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of an image of `size` (width, height) that shows its person whole.

    In shoulder-hip lengths of the pose, it leaves `MARGIN` around the visible joints, and room for an upright body's hair
    and feet, whether or not they were found. It has `aspect` (width / height) where the image is large enough; all of the
    image where the person fills it, or a joint of the torso is missing.
    """
    everything = (0, 0, *size)
    if (keypoints[TORSO, 2] <= 0).any():
        return everything
    points = keypoints[keypoints[:, 2] > 0, :2] + 0.5  # from the image's edge
    sides = np.array([keypoints[hip, :2] - keypoints[shoulder, :2] for shoulder, hip in SHOULDER_HIP_SIDES])
    length = float(np.sqrt((sides**2).sum(axis=1).mean()))
    x, y = (keypoints[TORSO, :2] + 0.5).mean(axis=0)
    low = np.minimum(points.min(axis=0) - MARGIN * length, (x, y - ABOVE * length))
    high = np.maximum(points.max(axis=0) + MARGIN * length, (x, y + BELOW * length))
    spans = high - low
    spans = np.maximum(spans, (spans[1] * aspect, spans[0] / aspect)).clip(max=size)
    starts = ((low + high - spans) / 2).clip(0, np.array(size) - spans)  # moved inside before anything is cut off
    left, top = np.floor(starts + 1e-3).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(starts + spans - 1e-3), size).astype(int).tolist()
    return left, top, right, bottom


def fit_keypoints(keypoints: npt.NDArray[np.float32], fit: Fit) -> npt.NDArray[np.float32]:
    """Move keypoints `(..., K, 3)` of the original image onto the fitted one; missing joints stay zero."""
    moved = keypoints.astype(np.float32)
    moved[..., :2] = moved[..., :2] * np.float32(fit.scale) + np.array([fit.left, fit.top], np.float32)
    moved[moved[..., 2] <= 0] = 0
    return moved
