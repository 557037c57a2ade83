"""Image bytes in, RGB pixels out: one decoder for every stage, the fit to the network's size, skeleton drawings.

Legend: H, W height and width in pixels; K = 18 joints. Pixel coordinates have their origin at the
centre of the top-left pixel, so a pixel's area reaches half a pixel to either side.
"""

import io
import struct
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from posegan.errors import PoseGANError
from posegan.skeleton import SHOULDER_HIP_SIDES, TORSO

Picture = npt.NDArray[np.uint8]  # (H, W, 3)


MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # of images in archives, which come from anywhere
# Ghostscript and Windows' own renderer would run what an EPS or WMF file says: they are programs, not photographs.
_PROGRAMS = {"EPS", "WMF"}
Reason = Literal["unreadable", "too_large"]

# What Pillow's decoders raise on damaged input; seen by cutting and flipping bytes of valid files.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_DEPTHS = (8, 12, 16, 31)  # bits
_FRACTION = 2  # floats below it are fractions of full brightness, perhaps a little overexposed
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands of its header
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


@cache
def photo_formats() -> tuple[str, ...]:
    """Every format that this Pillow opens, but for those that are programs: of a user's own photographs."""
    Image.init()
    return tuple(sorted(Image.OPEN.keys() - _PROGRAMS))


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Decode bytes of one of Pillow's `formats` into a loaded RGB image, as `upright_rgb` does; of several pictures in a file, the first.

    Raises:
        ImageError: empty, cut, damaged, of another format, or above `max_pixels` pixels.
    """
    if not data:
        raise ImageError("the file is empty", "unreadable")
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except _BOMBS:
        raise ImageError(f"more pixels than the {max_pixels:,} allowed", "too_large") from None
    except UnidentifiedImageError:
        others = ", nor one in a format that Pillow reads" if len(formats) > len(FORMATS) else ""
        raise ImageError(f"not a JPEG, PNG, WebP or BMP image{others}", "unreadable") from None
    except _DECODER_ERRORS as error:
        raise ImageError(f"damaged image ({error})", "unreadable") from error
    return upright_rgb(image, max_pixels)


def decode_photo(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """As `decode_image`, of a file that a user named, in any of `photo_formats`; of HEIC, which is none, says what to do."""
    try:
        return decode_image(data, max_pixels, photo_formats())
    except ImageError as error:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
            raise ImageError("HEIC, as iPhones write it, which Pillow does not read; convert it to JPEG", "unreadable") from None
        raise error


def upright_rgb(image: Image.Image, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A Pillow image of any mode, loaded or not, as the one picture that all of the program sees: RGB, 8 bits, upright.

    Turned as its EXIF tag says; transparent parts become white; deeper pixels become 8 bits as `eight_bits` says. The size
    is checked before any pixel is decoded: a file of a few kilobytes may claim gigapixels.

    Raises:
        ImageError: cut, damaged, of numbers that are no picture, or above `max_pixels` pixels.
    """
    if image.width * image.height > max_pixels:
        raise ImageError(f"{image.width} x {image.height} pixels, more than the {max_pixels:,} allowed", "too_large")
    try:
        halved = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) and len(image.getbands()) > 1
        image.load()
        if halved and _black(image):
            raise ImageError(
                "its colours have 16 bits and use 12 or fewer of them, which Pillow reads as black; save it with 8 bits", "unreadable"
            )
        return _as_rgb(ImageOps.exif_transpose(image))
    except _BOMBS:
        raise ImageError(f"more pixels than the {max_pixels:,} allowed", "too_large") from None
    except _DECODER_ERRORS as error:
        raise ImageError(f"damaged image ({error})", "unreadable") from error


def eight_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Pixels of any depth, in an array of any shape, as 8 bits.

    Floats up to 1 span the range. All else is taken for numbers of 8, 12, 16 or 31 bits, the fewest that hold the largest:
    files of 16 bits often keep 8 or 12, as cameras and scanners give them. What is below 0 counts as 0.

    Raises:
        ImageError: not finite, or beyond 32 bits.
    """
    if not np.isfinite(values).all():
        raise ImageError("some of its pixels are not finite numbers; save it with 8 bits", "unreadable")
    largest = values.max(initial=0)
    if values.dtype.kind == "f" and largest < _FRACTION:
        whole = 1
    else:
        depth = next((bits for bits in _DEPTHS if largest < 2**bits), None)
        if depth is None:
            raise ImageError(f"pixels up to {largest:g}, of no depth that is known; save it with 8 bits", "unreadable")
        whole = 2**depth - 1
    return np.rint(values.clip(0, whole).astype(np.float64) * (255 / whole)).astype(np.uint8)


def encode_jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """RGB pixels (H, W, 3) as a JPEG whose loss does not show: quality 95, colours at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):  # grey, which Pillow would clip instead of scale
        image = Image.fromarray(eight_bits(_unsigned(np.asarray(image))))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))  # without a second RGBA image of up to 256 MB
        return white
    return image.convert("RGB")


def _unsigned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pillow has 32 bits with a sign only, so the upper half of an unsigned file comes as numbers below 0, far from it."""
    wrapped = values.dtype == np.int32 and values.min(initial=0) < -(2**16)
    return values.view(np.uint32) >> 1 if wrapped else values


def _black(image: Image.Image) -> bool:
    """Whether no colour is brighter than the 4 upper bits that 12 of 16 leave."""
    return all(image.getchannel(band).getextrema()[1] < 16 for band in image.getbands() if band != "A")  # type: ignore[operator]


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


def padded_share(size: tuple[int, int], keypoints: npt.NDArray[np.float32], height: int, width: int) -> float:
    """Which share of the picture that `fit_person` makes of an image of `size` (width, height) is repeated edge, 0 .. 1."""
    if size == (width, height):
        return 0.0
    left, top, right, bottom = person_frame(keypoints, size, width / height)
    scale = min(height / (bottom - top), width / (right - left))
    inner_width, inner_height = (max(1, int(side * scale + 1e-6)) for side in (right - left, bottom - top))
    return 1 - inner_width * inner_height / (width * height)


def fit_keypoints(keypoints: npt.NDArray[np.float32], fit: Fit) -> npt.NDArray[np.float32]:
    """Move keypoints `(..., K, 3)` of the original image onto the fitted one; missing joints stay zero."""
    moved = keypoints.astype(np.float32)
    moved[..., :2] = moved[..., :2] * np.float32(fit.scale) + np.array([fit.left, fit.top], np.float32)
    moved[moved[..., 2] <= 0] = 0
    return moved
