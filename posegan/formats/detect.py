"""Which format a file of keypoints is in, by its content."""

from pathlib import Path
from typing import Any

from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation, files_below, read_json
from posegan.formats.coco import read_coco
from posegan.formats.keypoint_csv import read_keypoint_csv
from posegan.formats.openpose import SUFFIX, has_openposes_name, is_openpose, read_openpose
from posegan.formats.results import is_results, read_results
from posegan.formats.yolo import is_yolo, read_yolo

FORMATS = ("table", "csv", "coco", "openpose")  # that are read and written
READ_FORMATS = (*FORMATS, "yolo", "results")
# Of files that are called after their image and name none; what an error calls them.
CALLED_AFTER = {
    "openpose": "OpenPose's or ControlNet's JSON",
    "yolo": "YOLO's labels",
    "results": "results of mmpose, ultralytics (Results.to_json) or MediaPipe",
}
_READERS = {"csv": read_keypoint_csv, "coco": read_coco, "openpose": read_openpose, "yolo": read_yolo, "results": read_results}
_AS_COCO = "export it as COCO keypoints"
# Formats that are known and not read: by the first bytes of a file, and by a key of its JSON.
_BYTES = {
    b"PK": ("a zip archive, NumPy's .npz or Excel's .xlsx", "unpack it, or write its keypoints as COCO"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"ARROW1": ("Arrow's IPC or Feather", "write it as Parquet (pandas: to_parquet)"),
    b"SQLite format 3": ("an SQLite database", "write its keypoints as COCO"),
    b"\x93NUMPY": ("NumPy's .npy", "write its keypoints as COCO, with the images' names"),
    b"\x80": ("a pickle, which could run any program", "write its keypoints as COCO"),
    b"\x89HDF": ("HDF5, perhaps DeepLabCut's", _AS_COCO),
    b"<?xml": ("XML, perhaps CVAT's or Pascal VOC's", _AS_COCO),
    b"<annotations": ("CVAT's XML", _AS_COCO),
}
_KEYS = {
    "shapes": ("labelme's JSON", _AS_COCO),
    "keypoint_annotations": ("AI Challenger's JSON, of 14 joints", "write it as COCO, with the joints' names in its categories"),
    "joints": ("MPII's JSON, of 16 joints", "write it as COCO, with the joints' names in its categories"),
    "_via_img_metadata": ("VIA's JSON", _AS_COCO),
    "animals": ("ControlNet's JSON of animals", "take a pose of a person"),
    "result": ("Label Studio's JSON", _AS_COCO),
    "data": ("perhaps Label Studio's JSON", _AS_COCO),
    "pose_world_landmarks": ("MediaPipe's landmarks in metres", "write its pose_landmarks, which are fractions of the image"),
    "predictions": ("what mmpose's inferencer returns", "write what stands in predictions, the people of an image, into a file of its own"),
    "info": ("JSON of COCO's kind without images or annotations", "name person_keypoints_*.json"),
}


def detect_format(path: Path) -> str:
    """One of READ_FORMATS: a table starts with Parquet's mark, JSON and folders tell by what stands in them.

    Raises:
        PoseGANError: no such file, or a format that is not read; it is named with the way out.
    """
    if path.is_dir():
        return _folder_format(path)
    try:
        with path.open("rb") as file:
            raw = file.read(64)
    except OSError as error:
        raise PoseGANError(f"{path}: no file or folder of keypoints ({error.strerror}); check the path") from None
    if raw.startswith(b"PAR1"):
        return "table"
    start = raw.removeprefix(b"\xef\xbb\xbf").lstrip()
    for mark, (name, way_out) in _BYTES.items():
        if start.startswith(mark):
            raise PoseGANError(f"{path}: {name}, which is not read; {way_out}")
    if start.startswith((b"{", b"[")):
        return _json_format(path, read_json(path))
    return "yolo" if path.suffix.lower() == ".txt" and _is_label(path) else "csv"


def read_format(path: Path, form: str) -> list[Annotation]:
    """Every image of a file in one of READ_FORMATS but `table`.

    Raises:
        PoseGANError: no such file, or its content is not as the format asks.
    """
    return _READERS[form](path)


def _folder_format(folder: Path) -> str:
    files = sorted(files_below(folder, ".json"), key=lambda file: not has_openposes_name(file))
    if files:  # an empty list is an image of nobody, and tells nothing of the format
        path, content = next(((file, content) for file in files if (content := read_json(file))), (files[0], []))
        form = _json_format(path, content) if content else "openpose" if has_openposes_name(path) else "results"
        if form == "coco" and _is_coco(content):
            raise PoseGANError(f"{folder}: holds COCO's JSON, such as {path.name}; name the file itself")
        if form == "coco":
            raise PoseGANError(f"{path}: JSON of no program that is known; docs/annotations.md lists what is read, or write it as COCO")
        return form
    if any(map(_is_label, files_below(folder, ".txt")[:100])):
        return "yolo"
    raise PoseGANError(
        f"{folder}: holds no file <image>{SUFFIX} (OpenPose), no <image>.json (ControlNet, mmpose), and no <image>.txt with joints (YOLO); "
        "name the folder that holds them, or a file"
    )


def _json_format(path: Path, content: Any) -> str:
    if is_openpose(content):
        return "openpose"
    if is_results(content):
        return "results"
    first = content[0] if isinstance(content, list) and content else content
    if isinstance(first, dict) and not {"images", "keypoints"} & first.keys():
        for key, (name, way_out) in _KEYS.items():
            if key in first:
                raise PoseGANError(f"{path}: {name}, which is not read; {way_out}")
    return "coco"


def _is_coco(content: Any) -> bool:
    """Whether images are named in it, as in COCO's files and in results in its manner."""
    first = next(filter(None, content), None) if isinstance(content, list) else content
    return isinstance(first, dict) and bool({"images", "annotations", "image_id"} & first.keys())


def _is_label(path: Path) -> bool:
    """Whether a file is YOLO's; an empty one is, of an image of nobody."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False
    return not text.strip() or is_yolo(text)
