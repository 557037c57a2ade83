"""COCO keypoint JSON: images with file names, and people with 17 joints (https://cocodataset.org/#format-data).

Also read: a bare list of people whose `image_id` is the file name, or the number that it is, as several detectors write it
(ultralytics' predictions.json, AlphaPose, mmpose). `categories` say which entries are people, and the order of their joints;
without names, the order is COCO's. The third number of a joint is a visibility (0, 1, 2) in hand-made files and a confidence in
a detector's; both are 0 for a missing joint and count as at most 1. Written are visibilities, as the format has it, 0 or 2, and
the confidences beside them as `keypoint_scores`, which are read in their place. COCO has no neck: it is derived, and writing
leaves it out.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from posegan.errors import PoseGANError
from posegan.formats.annotation import (
    Annotation,
    Keypoints,
    Person,
    annotation_of,
    damaged,
    extent,
    flat,
    is_number,
    points_of,
    read_json,
    size_of,
)
from posegan.formats.joint_orders import COCO, COCO_LIKE, are_numbers, by_count, by_names, names_fault, wanted
from posegan.skeleton import COCO_JOINTS, JOINTS

_SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11),
    (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
_INDEX = [JOINTS.index(name) for name in COCO_JOINTS]


PERSON = ("person", "people", "human", "pedestrian")


class _Category(NamedTuple):
    """What a category says: whether it is the one of people, and the names of its joints in their order, none when it has none."""

    person: bool
    joints: list[str]
    name: str = ""


def read_coco(path: Path) -> list[Annotation]:
    """Every image of the file with its one person: the highest score where all have one, else the largest box.

    Raises:
        PoseGANError: no such file, not JSON, an entry that is not COCO's, or none with keypoints; file and entry are named.
    """
    content = read_json(path)
    if isinstance(content, list):
        return _named_people(path, content)
    return _images_and_people(path, content)


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


def _images_and_people(path: Path, content: Any) -> list[Annotation]:
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in ("images", "annotations")):
        raise damaged(path, "top level", "expected COCO's lists images and annotations")
    images: dict[Any, tuple[str, tuple[int, int] | None]] = {}  # name and (width, height)
    for number, image in enumerate(content["images"]):
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or not _is_id(image.get("id")):
            raise damaged(path, f"images[{number}]", "expected an id and a file_name")
        if image["id"] in images:
            raise damaged(path, f"images[{number}]", f"id {image['id']} stands twice")
        images[image["id"]] = (image["file_name"], size_of(image.get("width"), image.get("height")))
    categories = _categories(path, content.get("categories"))
    people: dict[Any, list[Person]] = {}
    others: dict[Any, tuple[str, ...]] = {}
    for number, entry in enumerate(content["annotations"]):
        if not isinstance(entry, dict) or not _is_id(entry.get("image_id")) or entry["image_id"] not in images:
            raise damaged(path, f"annotations[{number}]", "expected the image_id of one of images")
        category = _category(path, f"annotations[{number}]", entry.get("category_id"), categories)
        if category.person:
            people.setdefault(entry["image_id"], []).extend(_people(path, f"annotations[{number}]", entry, category.joints))
        else:
            others[entry["image_id"]] = (*others.get(entry["image_id"], ()), category.name)
    if content["annotations"] and not any("keypoints" in entry for entry in content["annotations"]):
        raise PoseGANError(f"{path}: no annotation has keypoints; is it instances_*.json instead of person_keypoints_*.json?")
    return [
        annotation_of(name, people.get(image, []), size)._replace(others=others.get(image, ())) for image, (name, size) in images.items()
    ]


def _categories(path: Path, entries: Any) -> dict[Any, _Category]:
    """The categories by their id. One alone is people, whatever it is called; of several, it is called person.

    Raises:
        PoseGANError: several have keypoints, and none is called so.
    """
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    called = {str(entry.get("name")).strip().lower() for entry in known}
    person = next((name for name in PERSON if name in called), None)
    if len(known) > 1 and person is None:
        raise PoseGANError(f"{path}, categories: none is called person ({', '.join(sorted(called)[:5])}); call the people's so")
    categories = {}
    for number, entry in enumerate(known):
        if not isinstance(entry.get("id"), int | str | float | None):
            raise damaged(path, f"categories[{number}]", f"expected an id, a number or text, got {entry['id']!r}")
        joints = entry.get("keypoints")
        is_person = len(known) == 1 or str(entry.get("name")).strip().lower() == person
        names = list(map(str, joints)) if isinstance(joints, list) else []
        categories[entry.get("id")] = _Category(is_person, names, str(entry.get("name")))
    return categories


def _category(path: Path, where: str, number: object, categories: Mapping[Any, _Category]) -> _Category:
    """The category of an entry; people's where it has none, or the file has none.

    Raises:
        PoseGANError: it is none of the file's, so nobody knows whose joints these are, and in which order.
    """
    if number is None or not categories:
        return _Category(True, [])
    if not isinstance(number, int | str | float) or number not in categories:
        raise damaged(path, where, f"category_id {number!r} is none of categories ({', '.join(map(str, categories))})")
    return categories[number]


def _named_people(path: Path, entries: list[Any]) -> list[Annotation]:
    """Results without images: `image_id` is a file name, or the number that is one. Of several categories the first is people."""
    people: dict[str, list[Person]] = {}
    others: dict[str, tuple[str, ...]] = {}
    if entries and all(isinstance(entry, dict) and "keypoints" not in entry for entry in entries):
        raise PoseGANError(f"{path}: no entry has keypoints; name the results of a pose model, not of one that finds boxes")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not _is_id(entry.get("image_id")):
            raise damaged(path, f"entry {number}", "expected an image_id that is a file name (a list alone has no images to look it up in)")
    kinds = [kind for entry in entries if (kind := entry.get("category_id")) is not None]
    person = _person_among(kinds)
    for number, entry in enumerate(entries):
        image = str(int(entry["image_id"]) if isinstance(entry["image_id"], float) else entry["image_id"])
        found = people.setdefault(image, [])
        if entry.get("category_id") in (None, person):
            found.extend(_people(path, f"entry {number}", entry, []))
        else:
            others[image] = (*others.get(image, ()), f"category_id {entry['category_id']}")
    return [annotation_of(name, found)._replace(others=others.get(name, ())) for name, found in people.items()]


def _person_among(kinds: list[Any]) -> Any:
    """Which category of results is people's: the one that is called so, or the lowest number; the only one, whatever it is."""
    called = next((kind for name in PERSON for kind in kinds if str(kind).strip().lower() == name), None)
    numbers = [kind for kind in kinds if isinstance(kind, int | float)]
    return called or min(numbers, default=kinds[0] if kinds else None)


def _is_id(value: object) -> bool:
    """Whether an image may be known by it: text, or a whole number, which pandas writes as 12.0 where its column has gaps."""
    return isinstance(value, int | str) or (isinstance(value, float) and value.is_integer())


def _people(path: Path, where: str, entry: dict[str, Any], names: list[str]) -> list[Person]:
    """The entry's person; none for a crowd, for a thing without joints, and where no joint is visible."""
    if entry.get("iscrowd") or not entry.get("keypoints"):
        return []
    points = _points(path, where, entry)
    if fault := names_fault(names, len(points)):
        raise PoseGANError(f"{path}, {where}: {fault}")
    joints = by_names(points, names)
    if joints is None and len(names) == len(points) and not are_numbers(names):
        raise PoseGANError(
            f"{path}, {where}: none of the joints' names in its category is known ({', '.join(names[:3])}, ...); "
            "name them left_shoulder and the like"
        )
    if joints is None:
        joints = by_count(points, COCO_LIKE)
    if joints is None:
        way_out = "name them in categories[].keypoints, as COCO does" if not names else "name left_shoulder and the like in its category"
        raise PoseGANError(f"{path}, {where}: keypoints: {wanted(len(points), COCO_LIKE)}; {way_out}")
    score, box = entry.get("score"), entry.get("bbox")
    if score is not None and not is_number(score):
        raise damaged(path, where, f"score: expected a number, got {score!r}")
    if box is not None and not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        raise damaged(path, where, f"bbox: expected x, y, width, height, got {box!r}")
    return [Person(joints, score, None if box is None else box[2] * box[3])] if joints.any() else []


def _points(path: Path, where: str, entry: dict[str, Any]) -> Keypoints:
    """The entry's joints (N, 3), each with its confidence where the entry has them as `keypoint_scores`."""
    points = points_of(entry["keypoints"])
    if points is None:
        raise damaged(path, where, f"keypoints: expected {COCO} times x, y, visibility or confidence (0 or more)")
    scores = entry.get("keypoint_scores")
    if scores is None:
        return points
    scored = points_of(entry["keypoints"], scores)
    if scored is None:
        raise damaged(path, where, "keypoint_scores: expected a confidence (0 or more) for each of keypoints")
    return scored
