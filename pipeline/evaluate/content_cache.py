"""What was computed from an image, remembered by the image's content: many pairs share few images.

Legend: N images, F numbers for each.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from torch import Tensor

from posegan.errors import PoseGANError
from posegan.files import atomic_path

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
_DIGEST = 16  # bytes


class ContentCache:
    """A function of image batches that computes each distinct image once.

    Args:
        compute: uint8 `(N, 3, H, W)` to float32 `(N, F)`; what it makes of an image must not depend on the others.
        path: a file to start from and to `save` to; one that is missing or damaged is an empty one.

    Attributes:
        computed: how many images were computed, not remembered.
    """

    def __init__(self, compute: Callable[[Tensor], Floats], path: Path | None = None) -> None:
        self.computed = 0
        self._compute, self._path = compute, path
        self._rows: dict[bytes, Floats] = {}
        self._stored = _load(path) if path else {}

    def __call__(self, images: Tensor) -> Floats:
        """`(N, F)`, computed or remembered."""
        keys = [hashlib.blake2b(image.tobytes(), digest_size=_DIGEST).digest() for image in images.cpu().numpy()]
        new: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            if key in self._stored:
                self._rows[key] = self._stored[key]
            elif key not in self._rows:
                new.setdefault(key, position)
        if new:
            self.computed += len(new)
            rows = self._compute(images[list(new.values())])
            self._rows |= dict(zip(new, rows, strict=True))
        return np.stack([self._rows[key] for key in keys])

    def save(self) -> None:
        """Keep what was asked for in this run, and nothing older: the file grows no larger than one run's images."""
        if self._path is None or not self.computed:
            return
        keys = sorted(self._rows)
        digests = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, _DIGEST)
        rows = np.stack([self._rows[key] for key in keys])
        try:
            with atomic_path(self._path) as temporary:
                safetensors.numpy.save_file({"digests": digests, "rows": rows}, temporary)
        except PoseGANError as error:  # the numbers are all there; only the next run takes longer
            logger.warning("%s", error)


def _load(path: Path) -> dict[bytes, Floats]:
    if not path.is_file():
        return {}
    try:
        stored = safetensors.numpy.load_file(path)
        digests, rows = stored["digests"], stored["rows"]
        return {digest.tobytes(): row for digest, row in zip(digests, rows, strict=True)}
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        logger.warning("%s: not readable (%s); its features are computed again", path, error)
        return {}
