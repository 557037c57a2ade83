"""What a training run tells on its way: losses, validation, pictures."""

from typing import NamedTuple

import PIL.Image


class LossRecord(NamedTuple):
    """Mean weighted losses since the last record, each named `loss_<term>`, and the speed over that time."""

    step: int
    values: dict[str, float]
    images_per_second: float
    waiting: float  # share of the time in which the loop waited for data


class ValidationRecord(NamedTuple):
    """`val_l1` (0 .. 1) and `val_ssim` of the EMA weights on the fixed validation pairs."""

    step: int
    values: dict[str, float]


class SampleRecord(NamedTuple):
    """A grid source | target pose | generated | real of the EMA weights at fixed pairs."""

    step: int
    grid: PIL.Image.Image


Record = LossRecord | ValidationRecord | SampleRecord
