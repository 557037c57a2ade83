"""Keypoints from elsewhere: which format a file is in, and which image of the archive an annotation means."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import click
import numpy as np

from pipeline.raw_archive import FOLDERS
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation, nobody
from posegan.formats.detect import detect_format, read_format
from posegan.formats.plausible import refuse_shares
from posegan.formats.table import MENDED, Keypoints, read_keypoints


class Matched(NamedTuple):
    """The annotation of each image that has one, and the names of those that mean no image."""

    people: dict[str, Annotation]  # by member name
    absent: list[str]


def read_annotations(path: Path, form: str = "") -> list[Annotation]:
    """Read keypoints in any of FORMATS; without `form`, the one that the content shows.

    Raises:
        PoseGANError: no such file, its content is not as the format asks, or its coordinates are no pixels.
    """
    form = form or detect_format(path)
    if form == "table":
        table = read_keypoints(path)
        if mended := (table.table.schema.metadata or {}).get(MENDED):
            click.echo(f"{path}: {mended.decode()}")
        annotations = table_annotations(table)
    else:
        annotations = read_format(path, form)
    if annotations:
        refuse_shares(str(path), np.stack([annotation.keypoints for annotation in annotations]))
    if form == "coco" and annotations and not any(map(shown, annotations)):
        raise PoseGANError(f"{path}: no annotation has keypoints; is it instances_*.json instead of person_keypoints_*.json?")
    return annotations


def table_annotations(keypoints: Keypoints) -> list[Annotation]:
    """The images of a keypoints.parquet whose status is ok or no_person."""
    names, statuses, confidences = (keypoints.table[name].to_pylist() for name in ("image", "status", "person_confidence"))
    return [
        Annotation(name, joints, confidence) if status == "ok" else nobody(name)
        for name, status, confidence, joints in zip(names, statuses, confidences, keypoints.joints, strict=True)
        if status in ("ok", "no_person")
    ]


def match_annotations(annotations: Iterable[Annotation], members: Sequence[str]) -> Matched:
    """Give each annotation to the members it names: by path, by file name, or by either without its suffix.

    A name without one of Market-1501's folders means every member of that name, whatever other folders it has.

    Raises:
        PoseGANError: two annotations mean the same member.
    """
    exact: dict[str, list[str]] = {}
    without_suffix: dict[str, list[str]] = {}
    for member in members:
        for name in {member, PurePosixPath(member).name}:
            exact.setdefault(name, []).append(member)
            without_suffix.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(member)
    matched = Matched({}, [])
    for annotation in annotations:
        name = meant_name(annotation.image)
        meant = exact.get(name) or without_suffix.get(name, [])
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
