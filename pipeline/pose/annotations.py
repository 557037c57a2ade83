"""Keypoints from elsewhere: which format a file is in, and which image of the archive an annotation means."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import click
import numpy as np

from pipeline.photo_table import Photo
from pipeline.raw_archive import FOLDERS
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation, in_pixels, nobody
from posegan.formats.annotation import Keypoints as Joints
from posegan.formats.detect import CALLED_AFTER, detect_format, read_format
from posegan.formats.names import OwnNames
from posegan.formats.plausible import refuse_unsaid_shares
from posegan.formats.table import MENDED, Keypoints, read_keypoints
from posegan.orientation import UPRIGHT, is_turned


class Matched(NamedTuple):
    """The annotation of each image that has one, and the names of those that mean no image."""

    people: dict[str, Annotation]  # by member name
    absent: list[str]


def read_annotations(path: Path, form: str = "") -> list[Annotation]:
    """Read keypoints in any of READ_FORMATS; without `form`, the one that the content shows.

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
    refuse_unsaid_shares(path, annotations)
    if others := told_others(annotations):
        click.echo(f"{path}: {others}")
    if form == "coco" and annotations and not any(map(shown, annotations)):
        others = f"; {others}" if others else ""
        raise PoseGANError(f"{path}: no annotation shows a joint: there is none, or every joint is -1 or of confidence 0{others}")
    return annotations


def told_others(annotations: Iterable[Annotation]) -> str:
    """How many entries were left out, since they are of other classes than people's, and of which; empty where none was."""
    counts = Counter(other for annotation in annotations for other in annotation.others)
    classes = ", ".join(name for name, _ in counts.most_common(5)) + (", ..." if len(counts) > 5 else "")
    entries = "1 entry" if counts.total() == 1 else f"{counts.total():,} entries"
    return f"{entries} of other classes than people's left out ({classes})" if counts else ""


def way_to_names(path: Path, name: str, form: str = "") -> str:
    """What to do about a file of keypoints of which `name` means no image."""
    if name.isdecimal():
        return f"{name} is a number, as programs write names of digits without their leading zeros; it is looked up among images (--raw)"
    if kind := CALLED_AFTER.get(form or detect_format(path)):
        return f"{kind} name no image: call each file after its own (<image>{path.suffix or '.json'}), or take COCO or predictions.json"
    return "give the annotations these names"


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
    """Give each annotation to the members that its name means, by the rule of `posegan.formats.names`.

    Own `photos` are found by the names that they had, first; their joints are pixels of the photo as it came, unless the file says
    another size.

    Raises:
        PoseGANError: two annotations mean the same member, a number means two, or a name means several photos.
    """
    own = {photo.image: photo for photo in photos}
    names = OwnNames(members, {image: photo.file for image, photo in own.items()})
    matched = Matched({}, [])
    for annotation in annotations:
        found = photos_called = names.photos(annotation.image)
        if len(found) > 1:
            several = " and ".join(names.called(position) for position in found[:2])
            raise PoseGANError(f"{annotation.image}: means {len(found):,} photos, such as {several}; name the folder too")
        found = found or names.find(annotation.image)
        if photos and not found:  # of a person who was on the other side of the split; a photo's file name is its own
            found = names.find(file_name(annotation.image))
        for member in (members[position] for position in found):
            if member in matched.people:
                other = matched.people[member].image
                raise PoseGANError(f"{member}: annotated twice, as {other} and as {annotation.image}; remove one of them")
            matched.people[member] = _of_photo(annotation, own[member], bool(photos_called)) if member in own else annotation
        if not found:
            matched.absent.append(annotation.image)
    return matched


def _of_photo(annotation: Annotation, photo: Photo, as_it_came: bool) -> Annotation:
    """An annotation of an own photo; without a size its joints are pixels of the photo `as_it_came`, or else of the archive's."""
    if not (photo.width and photo.height):
        return annotation
    came = photo.width, photo.height
    if annotation.size is None:
        return annotation._replace(size=came) if as_it_came else annotation
    orientation = photo.orientation or UPRIGHT
    return in_pixels(annotation, came, orientation) if is_turned(annotation.size, came, orientation) else annotation


def file_name(name: str) -> str:
    """A name without its folders."""
    return PurePosixPath(name.replace("\\", "/")).name


def meant_name(name: str) -> str:
    """An annotation's image as `folder/file` where the folder is one of Market-1501's, else as the file alone."""
    path = PurePosixPath(name.replace("\\", "/"))
    return f"{path.parent.name}/{path.name}" if path.parent.name in FOLDERS else path.name


def shown(annotation: Annotation) -> bool:
    """Whether any joint is visible."""
    return bool(np.any(annotation.keypoints[:, 2] > 0))


def without_doubtful(people: Mapping[str, Annotation], confidence: float) -> dict[str, Annotation]:
    """The annotations by member, in which joints below `confidence` are missing, as they are where a detector finds them."""

    def kept(keypoints: Joints) -> Joints:
        return np.where(keypoints[:, 2:] < np.float32(confidence), np.float32(0), keypoints)

    return {member: annotation._replace(keypoints=kept(annotation.keypoints)) for member, annotation in people.items()}
