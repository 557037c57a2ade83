"""Skeletons and grids: what keypoints and images look like side by side.

Legend: H, W height and width in pixels; K = 18 joints.
"""

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from posegan.skeleton import BONES, JOINT_COUNT

LARGE = 256  # pixels of height from which a grid needs no enlargement


_GROUND = (24, 24, 28)


def draw_skeleton(keypoints: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw one person's keypoints (K, 3) as coloured bones on a dark ground: uint8 (H, W, 3).

    Every bone has its own hue, so that left and right can be told apart; bones with a missing end are left out.
    """
    return _with_bones(Image.new("RGB", (width, height), _GROUND), keypoints, max(1, round(height / 64)))


def draw_skeleton_over(picture: npt.NDArray[np.uint8], keypoints: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """As `draw_skeleton`, with finer lines over a copy of an image (H, W, 3) that the keypoints belong to."""
    return _with_bones(Image.fromarray(picture), keypoints, max(1, round(len(picture) / 128)))


def _with_bones(canvas: Image.Image, keypoints: npt.NDArray[np.float32], thickness: int) -> npt.NDArray[np.uint8]:
    draw = ImageDraw.Draw(canvas)
    for number, (start, end) in enumerate(BONES):
        if keypoints[start, 2] > 0 and keypoints[end, 2] > 0:
            ends = [(float(keypoints[joint, 0]), float(keypoints[joint, 1])) for joint in (start, end)]
            draw.line(ends, fill=_hue(number / len(BONES)), width=thickness)
    for joint in range(JOINT_COUNT):
        x, y, confidence = (float(value) for value in keypoints[joint])
        if confidence > 0:
            draw.ellipse((x - thickness, y - thickness, x + thickness, y + thickness), fill=_hue(joint / JOINT_COUNT))
    return np.asarray(canvas, dtype=np.uint8)


def _hue(fraction: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(fraction, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def image_grid(rows: Sequence[Sequence[npt.NDArray[np.uint8]]], header: Sequence[str] | None = None, scale: int = 0) -> Image.Image:
    """Lay uint8 (H, W, 3) images of one size out as rows, enlarged `scale` times, with a heading over each column.

    Scale 0: twice, but images of 256 pixels and more as they are; such a grid is large enough.

    Raises:
        ValueError: no image, or images of unequal sizes.
    """
    sizes = {image.shape for row in rows for image in row}
    if len(sizes) != 1:
        raise ValueError(f"rows: expected images of one shape, got {sorted(sizes)}")
    height, width, _ = sizes.pop()
    scale = scale or (1 if height >= LARGE else 2)
    height, width = scale * height, scale * width
    gap, columns = 4, max(len(row) for row in rows)
    top = 20 if header else gap
    grid = Image.new("RGB", (gap + columns * (width + gap), top + len(rows) * (height + gap)), "white")
    draw = ImageDraw.Draw(grid)
    for column, text in enumerate(header or ()):
        draw.text((gap + column * (width + gap) + width / 2, top / 2), text, fill="black", font=ImageFont.load_default(11), anchor="mm")
    for row_number, row in enumerate(rows):
        for column, image in enumerate(row):
            tile = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            grid.paste(tile, (gap + column * (width + gap), top + row_number * (height + gap)))
    return grid
