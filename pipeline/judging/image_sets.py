"""The metrics that compare sets of images: FID, KID, and Inception Scores of whole images and of people cut out of them.

Legend: B images of a batch, N in all, F and C Inception's features and classes.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from posegan.inception import FEATURES, PAPER_SPLITS, Moments, frechet_distance, inception_score, kernel_distance

Floats = npt.NDArray[np.float32]
REAL = "real_target"


class ImageSet(NamedTuple):
    """What is kept of all images of one method: 12 kB an image."""

    moments: Moments
    features: list[Floats]  # (B, F) each
    logits: list[Floats]  # (B, C) each
    masked_logits: list[Floats]  # none for the source, which the target's mask does not fit

    def add(self, rows: Floats, masked_rows: Floats | None) -> None:
        """Add Inception's rows (B, F + C) of images, and of the same images outside of their masks black."""
        self.moments.add(rows[:, :FEATURES])
        self.features.append(rows[:, :FEATURES].copy())
        self.logits.append(rows[:, FEATURES:].copy())
        if masked_rows is not None:
            self.masked_logits.append(masked_rows[:, FEATURES:].copy())


def new_set() -> ImageSet:
    """A set without images."""
    return ImageSet(Moments(), [], [], [])


def set_metrics(sets: Mapping[str, ImageSet], seed: int) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """FID and KID to the real targets, Inception Scores, by method; and by metric why it has none.

    `seed` is of KID's subsets and of the splits' order.
    """
    values: dict[str, dict[str, float]] = {}
    reasons: dict[str, str] = {}
    for method, images in sets.items():
        values[method] = {}
        for name, compute in _wanted(method, images, sets[REAL], seed).items():
            try:
                values[method][name] = compute()
            except ValueError as error:  # too few images
                reasons[name] = str(error)
    return values, reasons


def _wanted(method: str, images: ImageSet, real: ImageSet, seed: int) -> dict[str, Callable[[], float]]:
    wanted: dict[str, Callable[[], float]] = {}
    for prefix, parts in (("", images.logits), ("mask_", images.masked_logits)):
        if parts:
            logits = np.concatenate(parts)
            wanted[f"{prefix}is"] = partial(inception_score, logits, 1, seed)
            wanted[f"{prefix}is_paper"] = partial(inception_score, logits, PAPER_SPLITS, seed)
    if method != REAL:
        wanted["fid"] = partial(frechet_distance, images.moments, real.moments)
        wanted["kid"] = partial(kernel_distance, np.concatenate(images.features), np.concatenate(real.features), seed)
    return wanted
