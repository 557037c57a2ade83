"""Stage pose: every image of raw.zip through the pose detector, one row an image, failures included."""

import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import click
import numpy as np
import pyarrow as pa
from PIL import Image
from tqdm import tqdm

from pipeline.market1501 import ImageName, image_members, open_archive, parse_name
from pipeline.tables import KEYPOINTS_SCHEMA, joint_columns, write_table
from posegan.config import load_params
from posegan.estimator import PersonPose, PoseEstimator
from posegan.images import ImageError, decode_image
from posegan.skeleton import JOINT_COUNT

STATUSES = ("ok", "no_person", "unreadable", "bad_name")


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
    person: PersonPose | None


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
        yield from (_row(item, people.get(item.member)) for item in images)


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
        image = decode_image(archive.read(member))
    except (ImageError, zipfile.BadZipFile) as error:
        return _Decoded(member, split, name, None, "unreadable", str(error))
    if name is None:
        return _Decoded(member, split, None, image, "bad_name", "expected a name such as 0002_c1s1_000451_03.jpg")
    return _Decoded(member, split, name, image, "ok", None)


def _row(item: _Decoded, person: PersonPose | None) -> Row:
    size = None if item.image is None else item.image.size
    if item.status == "ok" and person is None:
        return Row(item.member, item.split, item.name, size, "no_person", "the detector found no person", None)
    return Row(item.member, item.split, item.name, size, item.status, item.detail, person)


@click.command()
@click.option(
    "--params", "params_path", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True, help="Parameters."
)
@click.option("--raw", type=click.Path(path_type=Path), default=Path("data/raw.zip"), show_default=True, help="The archive of images.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("data/keypoints.parquet"), show_default=True, help="Table to write.")
def pose(params_path: Path, raw: Path, out: Path) -> None:
    """Find the person and the 18 joints in every image (parameters: pose).

    Reads the images inside the archive without unpacking it, and writes one row an image: its name's parts, its
    size, a status (ok, no_person, unreadable, bad_name) with the reason, and x, y, confidence of each joint.
    """
    started = time.monotonic()
    config = load_params(params_path).pose
    with open_archive(raw) as archive:
        total = len(image_members(archive))
        estimator = PoseEstimator(config)
        rows = list(
            tqdm(estimate_archive(archive, estimator, config.batch_size), "pose", total, unit="image", mininterval=0.5, disable=None)
        )
    counts = Counter(row.status for row in rows)
    if sum(counts[status] for status in STATUSES) != total:
        raise RuntimeError(f"{total} images went in and {dict(counts)} came out")
    write_table(out, keypoints_table(rows), {status: counts[status] for status in STATUSES})
    outcome = ", ".join(f"{counts[status]:,} {status}" for status in STATUSES)
    click.echo(f"pose: {total:,} images in: {outcome}; {time.monotonic() - started:.1f} s")
