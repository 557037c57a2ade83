"""Stage pose: every image of raw.zip with its person's joints, one row an image, failures included.

The joints come from the pose detector, or from annotations that others made.
"""

import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import click
import numpy as np
import pyarrow as pa
from PIL import Image
from tqdm import tqdm

from pipeline.annotations import Matched, match_annotations, read_annotations, shown
from pipeline.formats.annotation import Annotation, Keypoints
from pipeline.market1501 import ImageName, image_members, open_archive, parse_name, read_member
from pipeline.tables import KEYPOINTS_SCHEMA, joint_columns, write_table
from posegan.config import load_params
from posegan.errors import PoseGANError
from posegan.estimator import PersonPose, PoseEstimator
from posegan.images import decode_image
from posegan.skeleton import JOINT_COUNT

STATUSES = ("ok", "no_person", "unreadable", "bad_name")
# Details of a row that is not ok.
BAD_NAME = "expected a name such as 0002_c1s1_000451_03.jpg"
UNANNOTATED = "no annotation names this image"
NO_JOINT = "the annotation shows no joint"


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


class Estimator(Protocol):
    """What this stage asks of a detector: the person in each image, in order."""

    def estimate(self, images: Sequence[Image.Image]) -> list[PersonPose | None]:
        """One entry an image; None where no person is found."""
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


def estimate_archive(archive: zipfile.ZipFile, estimator: Estimator, chunk: int) -> Iterator[Row]:
    """Run `estimator` over the images of an archive in sorted order, `chunk` at a time.

    A member that cannot be read, is no image, or whose name does not follow the grammar is a row of its own
    kind and never reaches the detector.
    """
    decoded = (_decode(archive, member, split) for member, split in image_members(archive))
    while images := list(islice(decoded, chunk)):
        ready = [item for item in images if item.image is not None and item.status == "ok"]
        found = estimator.estimate([item.image for item in ready if item.image is not None])
        people = dict(zip((item.member for item in ready), found, strict=True))
        yield from (_row(item, people.get(item.member), "the detector found no person") for item in images)


def annotate_archive(archive: zipfile.ZipFile, people: Mapping[str, Annotation]) -> Iterator[Row]:
    """As `estimate_archive`, with the joints of `people`, by member name; nothing else is asked of an image than to decode."""
    for member, split in image_members(archive):
        person = people.get(member)
        detail = UNANNOTATED if person is None else NO_JOINT
        yield _row(_decode(archive, member, split), person if person is not None and shown(person) else None, detail)


def read_people(paths: Sequence[Path], members: Sequence[str], form: str = "") -> Matched:
    """Read annotations (format `form`, or the one each file shows) and find the images they mean.

    Raises:
        PoseGANError: a file is missing or damaged, an image is annotated twice, or none of them is annotated.
    """
    matched = match_annotations([annotation for path in paths for annotation in read_annotations(path, form)], members)
    if not matched.people:
        named = f"such as {matched.absent[0]}" if matched.absent else "which name none at all"
        raise PoseGANError(f"{', '.join(map(str, paths))}: annotate none of the images, {named}; images are named such as {members[0]}")
    return matched


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


def _decode(archive: zipfile.ZipFile, member: str, split: str) -> _Decoded:
    name = parse_name(member)
    try:
        image = decode_image(read_member(archive, member))
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


def write_keypoints(out: Path, rows: Sequence[Row], absent: Sequence[str] = ()) -> str:
    """Write keypoints.parquet with its counts, and give the summary; `absent` are annotations that mean no image."""
    counts = {status: sum(row.status == status for row in rows) for status in STATUSES}
    counts["unannotated"] = sum(row.detail == UNANNOTATED for row in rows)
    counts["annotations_without_image"] = len(absent)
    write_table(out, keypoints_table(rows), counts)
    summary = f"{len(rows):,} images in: " + ", ".join(f"{counts[status]:,} {status}" for status in STATUSES)
    if counts["unannotated"]:
        summary += f"; {counts['unannotated']:,} of no_person without an annotation"
    if absent:
        summary += f"; {len(absent):,} annotations without an image, such as {absent[0]}"
    return summary


@click.command()
@click.option(
    "--params", "params_path", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True, help="Parameters."
)
@click.option("--raw", type=click.Path(path_type=Path), default=Path("data/raw.zip"), show_default=True, help="The archive of images.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("data/keypoints.parquet"), show_default=True, help="Table to write.")
def pose(params_path: Path, raw: Path, out: Path) -> None:
    """Find the person and the 18 joints in every image (parameters: pose).

    Asks the detector or, with pose.source: annotations, the files of pose.annotations. Reads the images inside
    the archive without unpacking it, and writes one row an image: its name's parts, its size, a status (ok,
    no_person, unreadable, bad_name) with the reason, and x, y, confidence of each joint.
    """
    started = time.monotonic()
    config = load_params(params_path).pose
    with open_archive(raw) as archive:
        members = [member for member, _ in image_members(archive)]
        absent: list[str] = []
        if config.source == "annotations":
            people, absent = read_people([Path(path) for path in config.annotations], members)
            found = annotate_archive(archive, people)
        else:
            found = estimate_archive(archive, PoseEstimator(config), config.batch_size)
        rows = list(tqdm(found, "pose", len(members), unit="image", mininterval=0.5, disable=None))
    if len(rows) != len(members):
        raise RuntimeError(f"{len(members)} images went in and {len(rows)} came out")
    summary = write_keypoints(out, rows, absent)
    click.echo(f"pose: {summary}; {time.monotonic() - started:.1f} s")
