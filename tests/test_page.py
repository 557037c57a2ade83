"""What all pages share."""

import base64
import io
from pathlib import Path

import jinja2
import numpy as np
import pytest
from PIL import Image

from pipeline.pages.page import data_uri, render_page, shown


def test_numbers_that_are_not_finite_are_shown() -> None:
    assert [shown(value, 2) for value in (0.125, float("inf"), float("nan"), 12345.678)] == ["0.12", "∞", "-", "12,345.68"]


def test_a_picture_comes_back_from_the_page() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    kind, data = data_uri(Image.fromarray(pixels)).split(",")
    assert kind == "data:image/png;base64"
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == pixels).all()


def test_values_are_escaped_and_must_be_there() -> None:
    assert "<title>&lt;script&gt;</title>" in render_page(Path("page.html.jinja"), {"title": "<script>"})
    with pytest.raises(jinja2.UndefinedError):
        render_page(Path("page.html.jinja"), {})
