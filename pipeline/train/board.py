"""TensorBoard's log of a training, for whoever watches it there: `tensorboard --logdir state`.

It lies beside the run's states and not among DVC's outputs, because its files are named after time and host, and hold times.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from posegan.errors import PoseGANError

FOLDER = "tensorboard"
_SECONDS = 10  # until what was logged can be seen


class Board:
    """A log that begins empty: a run that goes on tells all again, so that it has one curve without gaps and doublings.

    Args:
        folder: of this log alone; what lies in it is removed.
        run: what the run's name stands for, shown as the text `run`.

    Raises:
        PoseGANError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        check_installed()
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer: Any = SummaryWriter(str(folder), flush_secs=_SECONDS)
        self._writer.add_text("run", f"```\n{json.dumps(run, indent=1, sort_keys=True)}\n```")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Log scalars under their own names."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def grid(self, step: int, grid: Image) -> None:
        """Log a sample grid as the image `samples`."""
        self._writer.add_image("samples", np.asarray(grid.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()


def check_installed() -> None:
    """Raise PoseGANError where the extra `tensorboard` is missing."""
    try:
        import tensorboard  # noqa: F401  # asked for before the work
    except ImportError:
        raise PoseGANError(
            'train.tensorboard: needs tensorboard; install it with pip install "posegan[tensorboard]", or set it to false'
        ) from None
