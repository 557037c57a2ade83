"""ultralytics, imported with care.

Importing it changes the process it lands in (it replaces `PIL.Image.open` and `torch.save`, sets the thread count, looks for the
network, installs packages by itself); `import_yolo` does it late and puts things back.
"""

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from posegan.errors import PoseGANError

_MISSING = (
    "finding people in pictures needs ultralytics: pip install 'posegan[detect]', or give their joints (--keypoints FILE); "
    "in a checkout `make repro` builds the whole environment"
)


@cache
def import_yolo() -> Any:
    """Import ultralytics offline, mute and without side effects on this process; give its YOLO class."""
    import numpy as np  # these late, too: who only asks for --help waits for none of them
    import torch
    from PIL import Image

    try:
        import cv2
    except ImportError as error:
        raise PoseGANError(_MISSING) from error

    settings_folder = tempfile.mkdtemp(prefix="posegan-ultralytics-")
    atexit.register(shutil.rmtree, settings_folder, ignore_errors=True)
    os.environ.update(
        YOLO_OFFLINE="1",  # no analytics, no look for updates; a download that was asked for still works
        YOLO_AUTOINSTALL="0",
        YOLO_VERBOSE="False",
        YOLO_CONFIG_DIR=settings_folder,
        ULTRALYTICS_SAFE_LOAD="1",
    )
    omp, threads, cv_threads = (os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads(), cv2.getNumThreads())
    os.environ["OMP_NUM_THREADS"] = omp or str(threads)  # it would set 1
    image_open, torch_save, print_options = (Image.open, torch.save, np.get_printoptions())
    try:
        from ultralytics import YOLO, settings

        settings.update({"sync": False})
    except ImportError as error:
        raise PoseGANError(f"{_MISSING} ({error})") from error
    finally:
        Image.open, torch.save = image_open, torch_save
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)
        np.set_printoptions(**print_options)
        if omp is None:
            del os.environ["OMP_NUM_THREADS"]
    return YOLO


def fetch_official(path: Path) -> None:
    """Download official weights, by the name of `path`, to that place.

    Raises:
        OSError, RuntimeError: as ultralytics' loader, which may also leave nothing without a word.
    """
    import_yolo()
    from ultralytics.utils.downloads import attempt_download_asset

    path.parent.mkdir(parents=True, exist_ok=True)
    attempt_download_asset(path)
