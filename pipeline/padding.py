"""How much of the pictures that the networks take is repeated edge, and which size would have less.

Legend: N images, K = 18 joints.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from posegan.config import ImageConfig
from posegan.images import padded_share

_LOOKED_AT = 1000  # images, evenly spaced
_MUCH = 0.1  # a share below it needs no other size
_MULTIPLE, _NARROWEST = 16, 48  # pixels: widths that the networks take


def padding_note(sizes: Sequence[tuple[int, int]], joints: npt.NDArray[np.float32], image: ImageConfig) -> str:
    """One clause on the mean padded share of images of `sizes` (width, height), N of them, with the `joints` (N, K, 3) of their people.

    Where much is padded, the width with the least of it at the same height is named.
    """
    rows = np.linspace(0, len(sizes) - 1, min(_LOOKED_AT, len(sizes))).round().astype(int).tolist()
    if not rows:
        return "no picture"

    def mean(width: int) -> float:
        return float(np.mean([padded_share(sizes[row], joints[row], image.height, width) for row in rows]))

    share = mean(image.width)
    note = f"{share:.0%} of a picture is padding (repeated edge)"
    if share < _MUCH:
        return note
    best = min(range(_NARROWEST, 2 * image.height + 1, _MULTIPLE), key=mean)
    return f"{note}; {image.height}x{best} would have {mean(best):.0%}" if best != image.width else note
