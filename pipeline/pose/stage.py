"""Stage pose: every image of raw.zip with its person's joints, one row an image, failures included.

The joints come from the pose detector, or from annotations that others made. Finished parts of the table lie on disk, so that a killed
run goes on where it was: a part is the table of some thousand images, in a folder named after everything that decides its content, the
archive's members, the parameters, the weights and the code; another run never meets it.
"""

import contextlib
import hashlib
import json
import re
import shutil
import statistics
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline.doubts import refuse_unbelievable, told
from pipeline.photo_table import Photo, read_photos
from pipeline.pose.annotations import Matched, match_annotations, read_annotations, way_to_names, without_doubtful
from pipeline.pose.ray import estimate_on_ray
from pipeline.pose.rows import NO_JOINT, OTHER_CLASS, UNANNOTATED, Members, Reader, annotate_archive, estimate_members, keypoints_table
from pipeline.pose.weights import with_local_weights
from pipeline.raw_archive import image_members, open_archive, read_member
from pipeline.stage_code import stage_code
from pipeline.tables import write_table
from pipeline.unchanged import StageCommand
from posegan.cli import params_option
from posegan.config import AUTO, PoseConfig, load_params
from posegan.errors import PoseGANError
from posegan.formats.table import KEYPOINTS_SCHEMA, STATUSES, keypoints_of, with_photo_files
from posegan.images import decode_image
from posegan.people.detectors import settled, verified_weights
from posegan.people.estimator import PoseEstimator
from posegan.places import FILE, OUTPUT, WORKING_FOLDER

_RUN = re.compile(r"[0-9a-f]{16}")  # a folder of parts, named after what decides them


class PoseParts:
    """The parts of one run, by number."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._root, self.folder = folder, folder / fingerprint[:16]

    def read(self, number: int, members: Sequence[str]) -> pa.Table | None:
        """The part, or None when it is not there, or not whole, or not of these members."""
        try:
            table = pq.read_table(self.folder / f"{number:06d}.parquet")
        except (OSError, pa.ArrowInvalid):
            return None
        same = table.schema.equals(KEYPOINTS_SCHEMA) and table["image"].to_pylist() == list(members)
        return table if same else None

    def write(self, number: int, table: pa.Table) -> None:
        """Keep a finished part."""
        write_table(self.folder / f"{number:06d}.parquet", table)

    def clear(self) -> None:
        """Remove all parts, those of runs that were given up too, and nothing else: the table is whole."""
        for path in self._root.glob("*"):
            if _RUN.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds something else, or was never made
            self._root.rmdir()


def fingerprint_of(archive: zipfile.ZipFile, settings: str, files: Sequence[Path]) -> str:
    """SHA-256 of what decides the rows: name, size and CRC-32 of each member, the parameters as text, the files (weights, code)."""
    digest = hashlib.sha256(settings.encode())
    members = sorted((member.filename, member.file_size, member.CRC) for member in archive.infolist())
    digest.update(json.dumps(members).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


_PROBED = 200  # images whose sizes decide for pose.weights: auto
IMAGES_A_PART = 2048  # of a run that can go on: seconds to minutes of work


def read_people(paths: Sequence[Path], members: Sequence[str], form: str = "", photos: Sequence[Photo] = ()) -> Matched:
    """Read annotations (format `form`, or the one each file shows) and find the images they mean, own `photos` by their own names.

    Raises:
        PoseGANError: a file is missing or damaged, an image is annotated twice, none of them is annotated, or most annotations mean
            no image while most images have none.
    """
    annotations = [annotation for path in paths for annotation in read_annotations(path, form)]
    matched = match_annotations(annotations, members, photos)
    files = ", ".join(map(str, paths))
    named = f"such as {matched.absent[0]}" if matched.absent else "which name none at all"
    most_lost = 2 * len(matched.absent) > len(annotations) and 2 * len(matched.people) < len(members)
    if matched.people and not most_lost:
        return matched
    example = photos[0].file if photos else next(iter(members), "")
    called = f"images are named such as {example}" if example else "there is no image"
    way_out = way_to_names(paths[0], matched.absent[0], form) if matched.absent else "write annotations into them"
    if not matched.people:
        raise PoseGANError(f"{files}: annotate none of the images, {named}; {called}; {way_out}")
    lost = f"{len(matched.absent):,} of {len(annotations):,} annotations mean no image, {named}"
    bare = f"{len(members) - len(matched.people):,} of {len(members):,} images have none"
    raise PoseGANError(f"{files}: {lost}, and {bare}; {called}; {way_out}")


def estimate_in_parts(
    archive: zipfile.ZipFile, members: Members, config: PoseConfig, parts: PoseParts, size: int = IMAGES_A_PART
) -> pa.Table:
    """The table of all images, `size` at a time; parts that an earlier, stopped run finished are taken as they are."""
    cut = {number: members[start : start + size] for number, start in enumerate(range(0, len(members), size))}
    tables = {number: table for number, some in cut.items() if (table := parts.read(number, [member for member, _ in some]))}
    missing = {number: some for number, some in cut.items() if number not in tables}
    done = sum(map(len, tables.values()))
    with tqdm(desc="pose", total=len(members), initial=done, unit="image", mininterval=0.5, disable=None) as bar:
        read, report = partial(read_member, archive), bar.update
        for number, table in _estimated(read, missing, config, report):
            parts.write(number, table)
            tables[number] = table
    return pa.concat_tables([tables[number] for number in sorted(tables)]).combine_chunks()


def _estimated(
    read: Reader, parts: Mapping[int, Members], config: PoseConfig, report: Callable[[int], object]
) -> Iterator[tuple[int, pa.Table]]:
    """The table of each part, by number; `report` hears of images that are done."""
    if not parts:
        return
    if config.engine == "ray":
        for number, table in estimate_on_ray(read, parts, config):
            report(len(table))
            yield number, table
        return
    estimator = PoseEstimator(config)
    for number, members in parts.items():
        rows = []
        for row in estimate_members(read, members, estimator, config.batch_size):
            rows.append(row)
            report(1)
        yield number, keypoints_table(rows)


def write_keypoints(out: Path, table: pa.Table, absent: Sequence[str] = (), photos: Sequence[Photo] = (), origin: str = "") -> str:
    """Write keypoints.parquet with its counts and the names of own `photos`, and give the summary.

    `absent` are annotations that mean no image, `origin` is what an error calls the files that the joints came from.

    Raises:
        PoseGANError: no person of the table can be believed.
    """
    statuses, details = Counter(table["status"].to_pylist()), Counter(table["detail"].to_pylist())
    counts = {status: statuses[status] for status in STATUSES}
    counts["unannotated"] = details[UNANNOTATED]
    counts["annotations_without_image"] = len(absent)
    table = with_photo_files(table, {photo.image: photo.file for photo in photos})
    keypoints = keypoints_of(table)
    refuse_unbelievable(origin or str(out), keypoints)
    write_table(out, table, counts)
    summary = f"{len(table):,} images in: " + ", ".join(f"{counts[status]:,} {status}" for status in STATUSES)
    if len(table) and not counts["ok"]:
        summary += f"; nobody is left, mostly because {details.most_common(1)[0][0]}"
    if counts["unannotated"]:
        summary += f"; {counts['unannotated']:,} of no_person without an annotation"
    if others := {detail: count for detail, count in details.items() if detail and detail.startswith(OTHER_CLASS)}:
        summary += f"; {sum(others.values()):,} of no_person where {min(others)}"
    if absent:
        called = f" (images are named such as {table['image'][0]})" if len(table) else ""
        summary += f"; {len(absent):,} annotations without an image, such as {absent[0]}{called}"
    return summary + told(keypoints)


_REMEDIES = {
    "bad_name": "docs/own-photos.md says how photos are named, or put into folders",
    "unreadable": "get whole copies of them",
    "no_person": "look at the pictures, or name another detector in pose.weights",
    NO_JOINT: "every joint is missing, -1 or of confidence 0: look at how the annotations were written",
    OTHER_CLASS: "give people category_id 1, or class 0 in YOLO's labels",
    UNANNOTATED: "name the annotations of these images in pose.annotations",
}


def refuse_nobody(raw: Path, table: pa.Table) -> None:
    """Raise `PoseGANError` where no row of the table is ok: with the counts, the first image's reason, and what helps."""
    statuses = Counter(table["status"].to_pylist())
    if not len(table) or statuses["ok"]:
        return
    status, _ = statuses.most_common(1)[0]
    image, detail = next(
        (image, detail)
        for image, kind, detail in zip(*(table[name].to_pylist() for name in ("image", "status", "detail")), strict=True)
        if kind == status
    )
    counts = ", ".join(f"{count:,} {name}" for name, count in statuses.most_common())
    remedy = next((_REMEDIES[key] for key in (NO_JOINT, OTHER_CLASS, UNANNOTATED) if (detail or "").startswith(key)), _REMEDIES[status])
    raise PoseGANError(f"{raw}: no image has a person with joints ({counts}), such as {image}: {detail}; {remedy}")


def _settled(config: PoseConfig, archive: zipfile.ZipFile, members: Members) -> PoseConfig:
    """The weights for `pose.weights: auto`, chosen by the images' sizes and told; one detector for all of them."""
    if config.weights != AUTO:
        return config
    spaced = members[:: max(1, len(members) // _PROBED)]
    sizes = [size for member, _ in spaced if (size := _size(archive, member))]
    config = settled(config, sizes)
    longest = statistics.median(map(max, sizes)) if sizes else 0
    click.echo(
        f"pose: pose.weights: auto is {Path(config.weights).name} here: the longer side of the images is {longest:g} pixels (median)"
    )
    return config


def _size(archive: zipfile.ZipFile, member: str) -> tuple[int, int] | None:
    """Width and height of an image; None for what is none, which becomes a row with the reason."""
    try:
        return decode_image(read_member(archive, member)).size
    except PoseGANError:
        return None


@click.command(cls=StageCommand)
@params_option()
@click.option("--raw", type=FILE, default=Path("data/raw.zip"), show_default=True, help="The archive of images.")
@click.option("--out", type=OUTPUT, default=Path("data/keypoints.parquet"), show_default=True, help="Table to write.")
@click.option(
    "--downloads",
    type=WORKING_FOLDER,
    default=Path("data/downloads"),
    show_default=True,
    help="For weights that are fetched.",
)
@click.option(
    "--state",
    type=WORKING_FOLDER,
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
    parts, absent, origin = None, list[str](), ""
    with open_archive(raw) as archive:
        members, photos = image_members(archive), read_photos(archive)
        if config.source == "annotations":
            paths = [Path(path) for path in config.annotations]
            origin = ", ".join(config.annotations)
            people, absent = read_people(paths, [member for member, _ in members], photos=photos)
            people = without_doubtful(people, config.joint_confidence)
            bar = tqdm(annotate_archive(archive, people), "pose", len(members), unit="image", mininterval=0.5, disable=None)
            table = keypoints_table(list(bar))
        else:
            config = with_local_weights(_settled(config, archive, members), downloads)
            weights = verified_weights(config.weights, config.sha256, config.trust_unpinned)
            parts = PoseParts(
                state, fingerprint_of(archive, config.model_dump_json(exclude={"engine", "ray"}), [weights, *stage_code(__name__)])
            )
            table = estimate_in_parts(archive, members, config, parts)
    if len(table) != len(members):
        raise RuntimeError(f"{len(members)} images went in and {len(table)} came out")
    refuse_nobody(raw, table)
    summary = write_keypoints(out, table, absent, photos, origin)
    if parts is not None:
        parts.clear()
    click.echo(f"pose: {summary}; {time.monotonic() - started:.1f} s")
