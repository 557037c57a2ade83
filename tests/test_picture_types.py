"""Pictures of every kind, there and back; everything else is named."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from pipeline.download.own_photos import store_photo
from posegan.errors import PoseGANError
from posegan.images import decode_image
from posegan.inference.picture_types import give_pictures, open_pictures
from posegan.people.detection import read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 4, 3), dtype=np.uint8)
DRAWN = torch.from_numpy(PIXELS.copy()).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "value",
    [
        PIXELS, PIXELS[0], DRAWN, DRAWN[0], DRAWN.float() / 255, DRAWN[0].half() / 255,
        PIL.Image.fromarray(PIXELS[0]), [PIL.Image.fromarray(one) for one in PIXELS], (PIL.Image.fromarray(PIXELS[0]),),
    ],
)  # fmt: skip
def test_there_and_back(value: Any) -> None:
    pictures, kind = open_pictures(value, "image")
    for picture, pixels in zip(pictures, PIXELS, strict=False):
        assert np.abs(np.asarray(picture, int) - pixels).max() <= (1 if getattr(value, "dtype", None) == torch.float16 else 0)
    back = give_pictures(DRAWN[: len(pictures)], kind)
    if isinstance(value, np.ndarray):
        assert np.array_equal(back, value)
    elif isinstance(value, torch.Tensor):
        assert back.dtype == value.dtype
        torch.testing.assert_close(back, value)
    elif isinstance(value, PIL.Image.Image):
        assert np.array_equal(np.asarray(back), PIXELS[0])
    else:
        assert isinstance(back, list)
        assert len(back) == len(value)


def test_one_picture_drawn_in_several_ways_is_several() -> None:
    _, kind = open_pictures(PIXELS[0], "image")
    assert give_pictures(DRAWN, kind).shape == (2, 6, 4, 3)


def test_a_grey_or_transparent_pillow_image_becomes_rgb() -> None:
    for mode in ("L", "RGBA", "P", "1"):
        [picture], _ = open_pictures(PIL.Image.new(mode, (4, 6)), "image")
        assert picture.mode == "RGB"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PIXELS.astype(np.float32), "expected a uint8 array"), (PIXELS[..., :2], "expected a uint8 array"), (PIXELS[0, 0], "uint8 array"),
        (np.zeros((0, 4, 3), np.uint8), "expected a uint8 array"), (DRAWN.int(), "expected a tensor"), (DRAWN[:, :2], "expected a tensor"),
        (DRAWN.float(), r"floating tensor in \[0, 1\]"), (DRAWN.float() * torch.nan, r"in \[0, 1\]"), ([], "got an empty sequence"),
        ("photo.jpg", "got str"), (None, "got NoneType"), ([1, 2], "got list"),
    ],
)  # fmt: skip
def test_everything_else_is_named(value: Any, expected: str) -> None:
    with pytest.raises(PoseGANError, match=expected):
        open_pictures(value, "image")


def photo_files() -> dict[str, bytes]:
    """The same photo as files of which each needs something: opacity, a palette, 16 bits, floats, a turn."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    colours = PIL.Image.fromarray(PIXELS[0]).resize((40, 60))
    clear = colours.copy()
    clear.putalpha(PIL.Image.linear_gradient("L").resize(colours.size))
    grey = np.asarray(colours.convert("L"))
    images = {
        "opacity.png": (clear, {}),
        "palette.gif": (colours.quantize(16), {"transparency": 3}),
        "sixteen.png": (PIL.Image.fromarray(grey.astype(np.uint16) * 257), {}),
        "twelve.tif": (PIL.Image.fromarray(grey.astype(np.uint16) * 16), {}),
        "eight.png": (PIL.Image.fromarray(grey.astype(np.uint16)), {}),
        "float.tif": (PIL.Image.fromarray(grey.astype(np.float32) / 255), {}),
        "whole.tif": (PIL.Image.fromarray(grey.astype(np.int32)), {}),
        "turned.jpg": (colours, {"exif": exif}),
        "cmyk.tif": (colours.convert("CMYK"), {}),
    }
    files = {}
    for name, (image, options) in images.items():
        buffer = io.BytesIO()
        image.save(buffer, PIL.Image.registered_extensions()[f".{name.split('.')[1]}"], **options)
        files[name] = buffer.getvalue()
    return files


@pytest.mark.parametrize("name", sorted(photo_files()))
def test_a_photo_has_the_same_pixels_whichever_way_it_comes(name: str, tmp_path: Path) -> None:
    data = photo_files()[name]
    path = tmp_path / name
    path.write_bytes(data)
    expected = np.asarray(read_image(path))
    with PIL.Image.open(path) as opened:
        [lazy], _ = open_pictures(opened, "image")
        [loaded], _ = open_pictures(opened, "image")
        arrays = np.asarray(opened) if "palette" not in name and "turned" not in name and "cmyk" not in name else expected
    [given], kind = open_pictures(arrays, "image")
    stored = decode_image(store_photo(data, 64).data)
    assert np.array_equal(np.asarray(lazy), expected)
    assert np.array_equal(np.asarray(loaded), expected)
    assert np.array_equal(np.asarray(given), expected)
    assert kind.container == "numpy"
    assert np.abs(np.asarray(stored, int) - expected).mean() < 3  # a JPEG of it, or the file itself
    assert expected.max() > 200
    assert expected.shape == ((40, 60, 3) if name == "turned.jpg" else (60, 40, 3))


def test_a_damaged_pillow_image_is_one_line() -> None:
    with pytest.raises(PoseGANError, match="image: not a usable image: damaged"):
        open_pictures(PIL.Image.open(io.BytesIO(photo_files()["opacity.png"][:300])), "image")
    with pytest.raises(PoseGANError, match="image: not a usable image: some of its pixels are not finite"):
        open_pictures(PIL.Image.fromarray(np.full((40, 40), np.nan, np.float32)), "image")
