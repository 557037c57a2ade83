"""COCO keypoint JSON: images with file names, and people with 17 joints (https://cocodataset.org/#format-data).

Also read: a bare list of people whose `image_id` is the file name, as several detectors write it. The third number of a
joint is a visibility (0, 1, 2) in hand-made files and a confidence in a detector's; both are 0 for a missing
joint and count as at most 1. Written are visibilities, as the format has it, 0 or 2, and the confidences beside them as
`keypoint_scores`, which are read in their place. COCO has no neck: `from_coco` derives it, and writing leaves it out.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from posegan.formats.annotation import Annotation, Keypoints, damaged, extent, flat, is_number, nobody, read_json, triples
from posegan.skeleton import COCO_JOINTS, JOINTS, from_coco

_SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11),
    (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
_INDEX = [JOINTS.index(name) for name in COCO_JOINTS]


class _Person(NamedTuple):
    keypoints: Keypoints  # (18, 3)
    score: float | None
    area: float


def read_coco(path: Path) -> list[Annotation]:
    """Every image of the file with its one person: the highest score where all have one, else the largest box.

    Raises:
        PoseGANError: no such file, not JSON, or an entry that is not COCO's; file and entry are named.
    """
    content = read_json(path)
    if isinstance(content, list):
        names, people = _named_people(path, content)
    else:
        names, people = _images_and_people(path, content)
    return [_annotation(name, people.get(image, [])) for image, name in names.items()]


def write_coco(path: Path, annotations: Iterable[Annotation], sizes: Mapping[str, tuple[int, int] | None]) -> None:
    """Write the annotations to `path`; `sizes` are the (width, height) of the images, where known."""
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for number, annotation in enumerate(annotations, start=1):
        size = sizes.get(annotation.image)
        images.append({"id": number, "file_name": annotation.image, **({"width": size[0], "height": size[1]} if size else {})})
        if annotation.keypoints.any():
            people.append(_entry(number, annotation))
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": COCO_JOINTS, "skeleton": _SKELETON}
    content = {"images": images, "annotations": people, "categories": [category]}
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _entry(number: int, annotation: Annotation) -> dict[str, Any]:
    joints = annotation.keypoints[_INDEX]
    box = [round(value, 3) for value in extent(joints)]
    points = flat(joints)
    scores = points[2::3]
    points[2::3] = [2 * (score > 0) for score in scores]  # 2: labelled and visible; nobody knows here who is only hidden (1)
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": box,
        "area": round(box[2] * box[3], 3),
        "num_keypoints": sum(score > 0 for score in scores),
        "keypoints": points,
        "keypoint_scores": scores,
        "score": round(annotation.confidence, 3),
    }


def _images_and_people(path: Path, content: Any) -> tuple[dict[Any, str], dict[Any, list[_Person]]]:
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in ("images", "annotations")):
        raise damaged(path, "top level", "expected COCO's lists images and annotations")
    names: dict[Any, str] = {}
    for number, image in enumerate(content["images"]):
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or not isinstance(image.get("id"), int | str):
            raise damaged(path, f"images[{number}]", "expected an id and a file_name")
        if image["id"] in names:
            raise damaged(path, f"images[{number}]", f"id {image['id']} stands twice")
        names[image["id"]] = image["file_name"]
    people: dict[Any, list[_Person]] = {}
    for number, entry in enumerate(content["annotations"]):
        if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), int | str) or entry["image_id"] not in names:
            raise damaged(path, f"annotations[{number}]", "expected the image_id of one of images")
        people.setdefault(entry["image_id"], []).extend(_people(path, f"annotations[{number}]", entry))
    return names, people


def _named_people(path: Path, entries: list[Any]) -> tuple[dict[Any, str], dict[Any, list[_Person]]]:
    people: dict[Any, list[_Person]] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), str):
            raise damaged(path, f"entry {number}", "expected an image_id that is a file name (a list alone has no images to look it up in)")
        people.setdefault(entry["image_id"], []).extend(_people(path, f"entry {number}", entry))
    return {name: name for name in people}, people


def _people(path: Path, where: str, entry: dict[str, Any]) -> list[_Person]:
    """The entry's person; none for a crowd, for a thing without joints, and where no joint is visible."""
    if entry.get("iscrowd") or "keypoints" not in entry:
        return []
    points = triples(_scored(path, where, entry), len(COCO_JOINTS))
    if points is None:
        raise damaged(path, where, f"keypoints: expected {len(COCO_JOINTS)} times x, y, visibility or confidence (0 or more)")
    score, box = entry.get("score"), entry.get("bbox")
    if score is not None and not is_number(score):
        raise damaged(path, where, f"score: expected a number, got {score!r}")
    if box is not None and not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        raise damaged(path, where, f"bbox: expected x, y, width, height, got {box!r}")
    joints = from_coco(points)
    _, _, width, height = extent(joints) if box is None else box
    return [_Person(joints, score, width * height)] if joints.any() else []


def _scored(path: Path, where: str, entry: dict[str, Any]) -> Any:
    """The entry's list of keypoints, each with its confidence where the entry has them."""
    points, scores = entry["keypoints"], entry.get("keypoint_scores")
    if scores is None or not isinstance(points, list):
        return points
    if not isinstance(scores, list) or 3 * len(scores) != len(points) or not all(is_number(score) and score >= 0 for score in scores):
        raise damaged(path, where, "keypoint_scores: expected a confidence (0 or more) for each of keypoints")
    # A joint that somebody took out by hand has its visibility 0, one that was put in has no score yet.
    confidences = [seen and (score or seen) for score, seen in zip(scores, points[2::3], strict=True)]
    return [value for x, y, c in zip(points[::3], points[1::3], confidences, strict=True) for value in (x, y, c)]


def _annotation(name: str, people: list[_Person]) -> Annotation:
    if not people:
        return nobody(name)
    scores = [person.score for person in people if person.score is not None]
    if len(scores) == len(people):
        chosen = people[scores.index(max(scores))]
        return Annotation(name, chosen.keypoints, min(max(*scores, 0.0), 1.0))
    areas = [person.area for person in people]
    chosen = people[areas.index(max(areas))]
    return Annotation(name, chosen.keypoints, 1.0)
