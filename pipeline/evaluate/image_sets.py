"""What is kept of all images of one method, for the metrics that compare sets of images: FID, KID, Inception Scores.

Legend: B images of a batch, N in all, F and C Inception's features and classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from posegan.frozen.inception import FEATURES, Moments, inception_score

Floats = npt.NDArray[np.float32]


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

    @property
    def all_features(self) -> Floats:
        """(N, F)."""
        return np.concatenate(self.features)


def new_set() -> ImageSet:
    """A set without images."""
    return ImageSet(Moments(), [], [], [])


def inception_score_of(logits: Sequence[Floats], splits: int, seed: int) -> float:
    """`inception_score` of logits that came in batches (B, C)."""
    return inception_score(np.concatenate(logits), splits, seed)
