"""What is said about padding: the share, and the width that has the least."""

import numpy as np

from pipeline.padding import padding_note
from posegan.config import ImageConfig

NOBODY = np.zeros((3, 18, 3), np.float32)
TALL = [(320, 640)] * 3


def test_a_square_for_tall_photos_is_half_padding_and_the_size_that_fits_is_named() -> None:
    note = padding_note(TALL, NOBODY, ImageConfig(height=256, width=256))
    assert note == "50% of a picture is padding (repeated edge); 256x128 would have 0%"


def test_a_size_that_fits_is_left_alone() -> None:
    assert padding_note(TALL, NOBODY, ImageConfig(height=256, width=128)) == "0% of a picture is padding (repeated edge)"
    assert padding_note([], NOBODY[:0], ImageConfig(height=256, width=128)) == "no picture"
