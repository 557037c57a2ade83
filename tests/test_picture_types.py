"""Pictures of every kind, there and back; everything else is named."""

from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from posegan.errors import PoseGANError
from posegan.inference.picture_types import give_pictures, open_pictures

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
