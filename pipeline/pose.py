"""Stage pose: every image of raw.zip with its person's joints, one row an image, failures included.

The joints come from the pose detector, or from annotations that others made.
"""

import time
import zipfile
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

import click
import numpy as np
import pyarrow as pa
from PIL import Image
from tqdm import tqdm

import posegan
from pipeline.annotations import Matched, match_annotations, read_annotations, shown
from pipeline.formats.annotation import Annotation, Keypoints
from pipeline.market1501 import ImageName, image_members, open_archive, parse_name, read_member
from pipeline.pose_parts import PoseParts, fingerprint_of
from pipeline.pose_weights import with_local_weights
from pipeline.tables import KEYPOINTS_SCHEMA, joint_columns, write_table
from posegan.config import PoseConfig, load_params
from posegan.errors import PoseGANError
from posegan.estimator import PersonPose, PoseEstimator, verified_weights
from posegan.images import decode_image
from posegan.skeleton import JOINT_COUNT

IMAGES_A_PART = 2048  # of a run that can go on: seconds to minutes of work
_CHUNKS_AHEAD = 2
_CODE = [Path(__file__), *(Path(posegan.__file__).parent / f"{name}.py" for name in ("estimator", "images", "skeleton"))]

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
    return estimate_members(archive, image_members(archive), estimator, chunk)


def estimate_members(archive: zipfile.ZipFile, members: Sequence[tuple[str, str]], estimator: Estimator, chunk: int) -> Iterator[Row]:
    """As `estimate_archive`, for some members (name, split); the next chunks are decoded while the detector works."""
    for images in _decoded_ahead(archive, members, chunk):
        ready = [item for item in images if item.image is not None and item.status == "ok"]
        found = estimator.estimate([item.image for item in ready if item.image is not None])
        people = dict(zip((item.member for item in ready), found, strict=True))
        yield from (_row(item, people.get(item.member), "the detector found no person") for item in images)


def _decoded_ahead(archive: zipfile.ZipFile, members: Sequence[tuple[str, str]], chunk: int) -> Iterator[list[_Decoded]]:
    with ThreadPoolExecutor(1, "decoder") as decoder:
        waiting: deque[Future[list[_Decoded]]] = deque()
        for start in range(0, len(members), chunk):
            waiting.append(decoder.submit(lambda part: [_decode(archive, *member) for member in part], members[start : start + chunk]))
            if len(waiting) > _CHUNKS_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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


def estimate_in_parts(
    archive: zipfile.ZipFile, members: Sequence[tuple[str, str]], config: PoseConfig, parts: PoseParts, size: int = IMAGES_A_PART
) -> pa.Table:
    """The table of all images, `size` at a time; parts that an earlier, stopped run finished are taken as they are."""
    tables, estimator = [], None
    with tqdm(desc="pose", total=len(members), unit="image", mininterval=0.5, disable=None) as bar:
        for start in range(0, len(members), size):
            some = members[start : start + size]
            table = parts.read(start // size, [member for member, _ in some])
            if table is None:
                estimator = estimator or PoseEstimator(config)
                table = keypoints_table(list(_counted(estimate_members(archive, some, estimator, config.batch_size), bar)))
                parts.write(start // size, table)
            else:
                bar.update(len(some))
            tables.append(table)
    return pa.concat_tables(tables).combine_chunks()


def _counted(rows: Iterator[Row], bar: "tqdm[NoReturn]") -> Iterator[Row]:
    for row in rows:
        yield row
        bar.update()


def write_keypoints(out: Path, table: pa.Table, absent: Sequence[str] = ()) -> str:
    """Write keypoints.parquet with its counts, and give the summary; `absent` are annotations that mean no image."""
    statuses, details = Counter(table["status"].to_pylist()), Counter(table["detail"].to_pylist())
    counts = {status: statuses[status] for status in STATUSES}
    counts["unannotated"] = details[UNANNOTATED]
    counts["annotations_without_image"] = len(absent)
    write_table(out, table, counts)
    summary = f"{len(table):,} images in: " + ", ".join(f"{counts[status]:,} {status}" for status in STATUSES)
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
@click.option(
    "--downloads",
    type=click.Path(path_type=Path),
    default=Path("data/downloads"),
    show_default=True,
    help="For weights that are fetched.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    default=Path("state/pose"),
    show_default=True,
    help="What a stopped run has done.",
)
def pose(params_path: Path, raw: Path, out: Path, downloads: Path, state: Path) -> None:
    """Find the person and the 18 joints in every image (parameters: pose).

    Asks the detector or, with pose.source: annotations, the files of pose.annotations. Reads the images inside
    the archive without unpacking it, and writes one row an image: its name's parts, its size, a status (ok,
    no_person, unreadable, bad_name) with the reason, and x, y, confidence of each joint. Stopped at any moment, the
    next run goes on.
    """
    started = time.monotonic()
    config = load_params(params_path).pose
    parts, absent = None, list[str]()
    with open_archive(raw) as archive:
        members = image_members(archive)
        if config.source == "annotations":
            people, absent = read_people([Path(path) for path in config.annotations], [member for member, _ in members])
            bar = tqdm(annotate_archive(archive, people), "pose", len(members), unit="image", mininterval=0.5, disable=None)
            table = keypoints_table(list(bar))
        else:
            config = with_local_weights(config, downloads)
            weights = verified_weights(config.weights, config.sha256, config.trust_unpinned)
            parts = PoseParts(state, fingerprint_of(archive, config.model_dump_json(), [weights, *_CODE]))
            table = estimate_in_parts(archive, members, config, parts)
    if len(table) != len(members):
        raise RuntimeError(f"{len(members)} images went in and {len(table)} came out")
    summary = write_keypoints(out, table, absent)
    if parts is not None:
        parts.clear()
    click.echo(f"pose: {summary}; {time.monotonic() - started:.1f} s")
