"""What pose programs write of one image, in a JSON file that is called after it and names no image itself.

| program | content |
|---|---|
| mmpose (`--pred-out-dir`, `--save-predictions`) | people of `keypoints` and `keypoint_scores`, or frames of them in `instance_info` |
| ultralytics (`Results.to_json`) | people of `keypoints`: lists x, y and visible; `confidence` |
| MediaPipe | 33 landmarks of x, y, visibility in fractions of the image, or people of those, also below `landmarks`, `pose_landmarks` |
"""

from pathlib import Path
from typing import Any

from posegan.errors import PoseGANError
from posegan.formats.annotation import (
    FRACTIONS,
    Annotation,
    Keypoints,
    Person,
    annotation_of,
    damaged,
    files_below,
    is_number,
    points_of,
    read_json,
)
from posegan.formats.joint_orders import COCO_LIKE, MEDIAPIPE, by_count, by_names, names_fault, wanted

_LANDMARKS = ("landmarks", "pose_landmarks", "poseLandmarks")


def is_results(content: Any) -> bool:
    """Whether a file's content is of one of these programs."""
    if isinstance(content, dict):
        return "instance_info" in content or any(isinstance(content.get(key), list) for key in _LANDMARKS)
    first = next(filter(None, content), None) if isinstance(content, list) else None  # a person that is null or empty is nobody
    return _is_landmarks(content) or _is_landmarks(first) or (isinstance(first, dict) and _is_person_or_frame(first))


def read_results(path: Path) -> list[Annotation]:
    """The images of a file, or of a folder of such files and the folders in it; they are called as the files, without suffix.

    Raises:
        PoseGANError: no such file, or one that is of none of these programs.
    """
    files = files_below(path, ".json") if path.is_dir() else [path]
    return [annotation for file in files for annotation in _read(file, file.relative_to(path) if path.is_dir() else Path(file.name))]


def _read(path: Path, file: Path) -> list[Annotation]:
    content = read_json(path)
    if content and not is_results(content):
        raise damaged(path, "top level", "expected the people that mmpose, ultralytics or MediaPipe found in an image")
    name, names = file.with_suffix("").as_posix(), list[str]()
    if isinstance(content, dict) and "instance_info" in content:
        names = _names(content.get("meta_info"))
        content = content["instance_info"]
        name = (file.parent / file.stem.removeprefix("results_")).as_posix()  # as mmpose's demos call them
    elif isinstance(content, dict):
        content = next((content[key] for key in _LANDMARKS if key in content), [])
    if not isinstance(content, list):
        raise damaged(path, "top level", "expected a list of people")
    if content and isinstance(content[0], dict) and "instances" in content[0]:
        frames = [frame.get("instances") if isinstance(frame, dict) else None for frame in content]
        images = [name] if len(frames) == 1 else [f"{name}-{number}" for number in range(len(frames))]
        return [_image(path, image, frame or [], names) for image, frame in zip(images, frames, strict=True)]
    return [_image(path, name, [content] if _is_landmarks(content) else content, names)]


def _names(meta: Any) -> list[str]:
    """The joints' names in their order, where mmpose wrote them: its models of 17 joints may be Human3.6M's."""
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if not isinstance(names, dict) or not all(str(number) in names for number in range(len(names))):
        return []
    return [str(names[str(number)]) for number in range(len(names))]


def _image(path: Path, name: str, people: list[Any], names: list[str]) -> Annotation:
    landmarks = _is_landmarks(next(filter(None, people), None))
    found = [_person(path, f"person {number}", entry, names) for number, entry in enumerate(people) if entry]
    return annotation_of(name, [person for person in found if person.keypoints.any()], FRACTIONS if landmarks else None)


def _person(path: Path, where: str, entry: Any, names: list[str]) -> Person:
    points = _points(entry)
    if points is None:
        raise damaged(path, where, "expected keypoints of numbers, x and y in pixels, each with its confidence")
    if fault := names_fault(names, len(points)):
        raise PoseGANError(f"{path}, {where}: {fault}")
    joints = by_names(points, names)
    if joints is None:
        joints = by_count(points, COCO_LIKE)
    if joints is None:
        raise PoseGANError(f"{path}, {where}: {wanted(len(points), COCO_LIKE)}; export them as COCO, with their names in its categories")
    score: object = entry.get("bbox_score", entry.get("confidence")) if isinstance(entry, dict) else None
    if isinstance(score, list) and len(score) == 1:
        score = score[0]
    return Person(joints, float(score) if is_number(score) else None)


def _points(entry: Any) -> Keypoints | None:
    if not isinstance(entry, dict):
        return points_of(entry)
    values, scores = entry.get("keypoints"), entry.get("keypoint_scores")
    if isinstance(values, dict):  # ultralytics: a list an axis
        x, y, scores = (values.get(axis) for axis in ("x", "y", "visible"))
        if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
            return None
        values = [[*place] for place in zip(x, y, strict=True)]
        # Without visibilities, ultralytics writes 0, 0 for a joint that it did not find.
        scores = [float(place != [0, 0]) for place in values] if scores is None else scores
    if scores is not None and isinstance(values, list) and any(isinstance(value, list) and len(value) == 3 for value in values):
        return None  # x, y and z, of which a 0 would be taken for a missing joint
    return points_of(values, scores)


def _is_landmarks(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == MEDIAPIPE
        and all(isinstance(point, dict) and "x" in point and "y" in point for point in value)
    )


def _is_person_or_frame(entry: dict[str, Any]) -> bool:
    if "image_id" in entry:  # a person of COCO's list, who may have `keypoint_scores` too
        return False
    return "instances" in entry or isinstance(entry.get("keypoints"), dict) or ("keypoints" in entry and "keypoint_scores" in entry)
