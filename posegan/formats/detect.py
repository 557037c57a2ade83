"""Which format a file of keypoints is in."""

from pathlib import Path

from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation
from posegan.formats.coco import read_coco
from posegan.formats.keypoint_csv import read_keypoint_csv
from posegan.formats.openpose import read_openpose

FORMATS = ("table", "csv", "coco", "openpose")


def detect_format(path: Path) -> str:
    """The format of a file or folder: OpenPose is a folder, a table starts with Parquet's mark, JSON with a bracket."""
    if path.is_dir():
        return "openpose"
    try:
        with path.open("rb") as file:
            start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise PoseGANError(f"{path}: no file or folder of keypoints ({error.strerror}); check the path") from None
    if start.startswith(b"PAR1"):
        return "table"
    return "coco" if start.startswith((b"{", b"[")) else "csv"


def read_format(path: Path, form: str) -> list[Annotation]:
    """Every image of a file in one of FORMATS but `table`.

    Raises:
        PoseGANError: no such file, or its content is not as the format asks.
    """
    return {"csv": read_keypoint_csv, "coco": read_coco, "openpose": read_openpose}[form](path)
