"""Keypoints from elsewhere: which format a file is in, and which image of the archive an annotation means."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from pipeline.photo_table import Photo
from pipeline.pose.photo_names import PhotoNames
from pipeline.raw_archive import FOLDERS
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation, nobody
from posegan.formats.detect import detect_format, read_format
from posegan.formats.table import Keypoints, read_keypoints


class Matched(NamedTuple):
    """The annotation of each image that has one, and the names of those that mean no image."""

    people: dict[str, Annotation]  # by member name
    absent: list[str]


def read_annotations(path: Path, form: str = "") -> list[Annotation]:
    """Read keypoints in any of FORMATS; without `form`, the one that the content shows.

    Raises:
        PoseGANError: no such file, or its content is not as the format asks.
    """
    form = form or detect_format(path)
    if form == "table":
        return table_annotations(read_keypoints(path))
    return read_format(path, form)


def table_annotations(keypoints: Keypoints) -> list[Annotation]:
    """The images of a keypoints.parquet whose status is ok or no_person."""
    names, statuses, confidences = (keypoints.table[name].to_pylist() for name in ("image", "status", "person_confidence"))
    sizes = zip(*(keypoints.table[name].to_pylist() for name in ("width", "height")), strict=True)
    return [
        (Annotation(name, joints, confidence) if status == "ok" else nobody(name))._replace(size=size if all(size) else None)
        for name, status, confidence, joints, size in zip(names, statuses, confidences, keypoints.joints, sizes, strict=True)
        if status in ("ok", "no_person")
    ]


def match_annotations(annotations: Iterable[Annotation], members: Sequence[str], photos: Sequence[Photo] = ()) -> Matched:
    """Give each annotation to the members it names: by path, by file name, or by either without its suffix.

    A name without one of Market-1501's folders means every member of that name, whatever other folders it has. Own `photos` are
    found by the names that they had, first; their joints are pixels of the photo as it came, unless the file says another size.

    Raises:
        PoseGANError: two annotations mean the same member, or a name means several photos.
    """
    own = PhotoNames(photos)
    exact: dict[str, list[str]] = {}
    without_suffix: dict[str, list[str]] = {}
    for member in members:
        for name in {member, PurePosixPath(member).name}:
            exact.setdefault(name, []).append(member)
            without_suffix.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(member)
    matched = Matched({}, [])
    for annotation in annotations:
        if (photo := own.find(annotation.image)) is not None:
            came = (photo.width, photo.height) if photo.width and photo.height else None
            meant, annotation = [photo.image], annotation._replace(size=annotation.size or came)
        else:
            name = meant_name(annotation.image)
            meant = exact.get(name) or without_suffix.get(name, [])
            if photos and not meant:  # of a person who was on the other side of the split; a photo's file name is its own
                meant = exact.get(PurePosixPath(name).name, [])
        for member in meant:
            if (other := matched.people.setdefault(member, annotation)) is not annotation:
                raise PoseGANError(f"{member}: annotated twice, as {other.image} and as {annotation.image}; remove one of them")
        if not meant:
            matched.absent.append(annotation.image)
    return matched


def meant_name(name: str) -> str:
    """An annotation's image as `folder/file` where the folder is one of Market-1501's, else as the file alone."""
    path = PurePosixPath(name.replace("\\", "/"))
    return f"{path.parent.name}/{path.name}" if path.parent.name in FOLDERS else path.name


def shown(annotation: Annotation) -> bool:
    """Whether any joint is visible."""
    return bool(np.any(annotation.keypoints[:, 2] > 0))
