"""Rows of keypoints.parquet: an image's bytes and a detector, or an annotation, in; one row out, whatever the image is."""

import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from PIL import Image

from pipeline.pose.annotations import shown
from pipeline.raw_archive import ImageName, image_members, parse_name, read_member
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation, Keypoints, in_pixels
from posegan.formats.table import KEYPOINTS_SCHEMA, joint_columns
from posegan.images import decode_image
from posegan.orientation import stored_orientation
from posegan.people.estimator import Detector
from posegan.skeleton import JOINT_COUNT

Members = Sequence[tuple[str, str]]  # name and split of images
Reader = Callable[[str], bytes]  # the bytes of the member of a name; a PoseGANError says why there are none
_CHUNKS_AHEAD = 2
# For each image that is asked for at once, a chunk may hold so many, or so many pixels, whichever is reached first.
_IMAGES, _PIXELS = 8, 2**20

# Details of a row that is not ok.
BAD_NAME = "expected a name such as 0002_c1s1_000451_03.jpg"
UNANNOTATED = "no annotation names this image"
NO_JOINT = "the annotation shows no joint"
OTHER_CLASS = "the annotation shows nobody, but other classes than people's: "


class Person(Protocol):
    """What a row keeps of a person, whoever found it."""

    @property
    def keypoints(self) -> Keypoints:
        """(18, 3) x, y in pixels of the image, confidence; 0, 0, 0 = missing."""
        ...

    @property
    def confidence(self) -> float:
        """0 .. 1."""
        ...


class Row(NamedTuple):
    """One image of the archive, on its way to a row of keypoints.parquet."""

    member: str
    split: str
    name: ImageName | None
    size: tuple[int, int] | None  # width, height; None when it could not be decoded
    status: str
    detail: str | None
    person: Person | None


class _Decoded(NamedTuple):
    member: str
    split: str
    name: ImageName | None
    image: Image.Image | None
    status: str
    detail: str | None


def estimate_archive(archive: zipfile.ZipFile, estimator: Detector, chunk: int) -> Iterator[Row]:
    """The rows of all images of raw.zip, in sorted order, with the joints that `estimator` finds."""
    return estimate_members(partial(read_member, archive), image_members(archive), estimator, chunk)


def annotate_archive(archive: zipfile.ZipFile, people: Mapping[str, Annotation]) -> Iterator[Row]:
    """As `estimate_archive`, with the joints of `people`, by member name; nothing else is asked of an image than to decode.

    Raises:
        PoseGANError: joints that were made on an image of another shape.
    """
    for member, split in image_members(archive):
        person = people.get(member)
        detail = UNANNOTATED if person is None else unseen(person)
        item = _decode(partial(read_member, archive), member, split)
        seen = person if person is not None and shown(person) and item.image is not None else None
        if seen is not None and item.image is not None and seen.size not in (None, item.image.size):
            seen = in_pixels(seen, item.image.size, stored_orientation(read_member(archive, member)))
        yield _row(item, seen, detail)


def unseen(annotation: Annotation) -> str:
    """The detail of an image whose annotation shows nobody."""
    return OTHER_CLASS + ", ".join(sorted(set(annotation.others))) if annotation.others else NO_JOINT


def estimate_members(read: Reader, members: Members, estimator: Detector, chunk: int) -> Iterator[Row]:
    """Run `estimator` over images in the order of `members`; the next ones are decoded while it works.

    It gets `chunk` images of a megapixel at a time, of larger ones fewer, of smaller ones up to eight times as many. A member that
    cannot be read, is no image, or whose name does not follow the grammar is a row of its own kind and never reaches the detector.
    """
    for images in _decoded_ahead(read, members, chunk):
        ready = [item for item in images if item.image is not None and item.status == "ok"]
        found = estimator.estimate([item.image for item in ready if item.image is not None])
        people = dict(zip((item.member for item in ready), found, strict=True))
        yield from (_row(item, people.get(item.member), "the detector found no person") for item in images)


def _decoded_ahead(read: Reader, members: Members, chunk: int) -> Iterator[list[_Decoded]]:
    images = (_decode(read, *member) for member in members)  # one thread alone takes from it
    with ThreadPoolExecutor(1, "decoder") as decoder:
        waiting = deque(decoder.submit(_next_chunk, images, chunk) for _ in range(_CHUNKS_AHEAD + 1))
        while some := waiting.popleft().result():
            yield some
            waiting.append(decoder.submit(_next_chunk, images, chunk))


def _next_chunk(images: Iterator[_Decoded], chunk: int) -> list[_Decoded]:
    """The next images, none after the last."""
    some, pixels = list[_Decoded](), 0
    for item in images:
        some.append(item)
        pixels += item.image.width * item.image.height if item.image is not None else 0
        if len(some) == _IMAGES * chunk or pixels >= _PIXELS * chunk:
            break
    return some


def keypoints_table(rows: Sequence[Row]) -> pa.Table:
    """Rows, sorted by image, as the table of keypoints.parquet; coordinates rounded to 3 decimals."""
    rows = sorted(rows)
    joints = np.zeros((len(rows), JOINT_COUNT, 3), np.float32)
    for number, row in enumerate(rows):
        if row.person is not None:
            joints[number] = row.person.keypoints
    known = np.array([row.person is not None for row in rows], dtype=bool)
    columns = {
        "image": [row.member for row in rows],
        "split": [row.split for row in rows],
        **{part: [None if row.name is None else getattr(row.name, part) for row in rows] for part in ImageName._fields},
        "width": [None if row.size is None else row.size[0] for row in rows],
        "height": [None if row.size is None else row.size[1] for row in rows],
        "status": [row.status for row in rows],
        "detail": [row.detail for row in rows],
        "person_confidence": [None if row.person is None else round(row.person.confidence, 3) for row in rows],
        **joint_columns(joints, known),
    }
    return pa.table({name: columns[name] for name in KEYPOINTS_SCHEMA.names}, schema=KEYPOINTS_SCHEMA)


def _decode(read: Reader, member: str, split: str) -> _Decoded:
    name = parse_name(member)
    try:
        image = decode_image(read(member))
    except PoseGANError as error:
        return _Decoded(member, split, name, None, "unreadable", str(error))
    if name is None:
        return _Decoded(member, split, None, image, "bad_name", BAD_NAME)
    return _Decoded(member, split, name, image, "ok", None)


def _row(item: _Decoded, person: Person | None, nobody: str) -> Row:
    """`nobody` says why there is no person, where an image is fine and there is none."""
    size = None if item.image is None else item.image.size
    if item.status != "ok":
        return Row(item.member, item.split, item.name, size, item.status, item.detail, None)
    if person is None:
        return Row(item.member, item.split, item.name, size, "no_person", nobody, None)
    return Row(item.member, item.split, item.name, size, "ok", None, person)
