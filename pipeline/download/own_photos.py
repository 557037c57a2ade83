"""Own photographs, one folder a person, as raw.zip: Market-1501's folders and names, and a table of what became of each file.

A person is a folder at the top; what lies in folders below it is that person's too. People are numbered in the order
of their folders' names, their photos in the order of theirs, all from camera 1. Nothing is written into the photos' folder.
"""

import csv
import hashlib
import io
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from pipeline.processes import all_cores
from pipeline.raw_archive import FOLDERS, image_name, write_archive
from posegan.config import PeopleConfig
from posegan.errors import PoseGANError
from posegan.files import write_atomically
from posegan.images import ImageError, decode_photo, encode_jpeg, photo_formats

_AS_THEY_ARE = {"JPEG": ".jpg", "PNG": ".png"}
_ORIENTATION, _UPRIGHT = 0x0112, 1  # EXIF


class Stored(NamedTuple):
    """What the archive keeps of a photo."""

    data: bytes
    suffix: str


def store_photo(data: bytes, maximum_side: int) -> Stored:
    """Bytes of an image file in any format that Pillow reads, as a photo of the archive.

    A JPEG or PNG in RGB or grey that stands upright and is no larger than `maximum_side` pixels stays byte for byte. Of
    anything else, the upright picture is shrunk to that side, where it is larger, and stored as a JPEG without metadata.

    Raises:
        ImageError: no image, damaged, or too large to be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damage that the picture can do without, such as in its EXIF
        image = decode_photo(data)
        return _stored(data, image, maximum_side)


def _stored(data: bytes, image: Image.Image, maximum_side: int) -> Stored:
    with Image.open(io.BytesIO(data), formats=photo_formats()) as header:
        upright = header.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
        if header.format in _AS_THEY_ARE and header.mode in ("RGB", "L") and upright and max(image.size) <= maximum_side:
            return Stored(data, _AS_THEY_ARE[header.format])
    image.thumbnail((maximum_side, maximum_side), Image.Resampling.BICUBIC)
    return Stored(encode_jpeg(np.asarray(image)), ".jpg")


TABLE = "photos.csv"  # in the archive, and beside it
USED = "used"
# Why a file was not used, the first that applies.
REASONS = ("hidden", "link", "no_file", "no_person", "too_large", "unreadable", "duplicate")
MAXIMUM_BYTES = 256 << 20  # of one photo
MAXIMUM_PEOPLE, MAXIMUM_PHOTOS = 9_999, 999_999  # what the names' digits can tell apart


class File(NamedTuple):
    """A file of the folder: a row of the table."""

    file: str  # path below the folder
    person: str  # "" when it lies in nobody's folder
    image: str  # member of the archive, "" when not used
    status: str  # USED or one of REASONS
    detail: str


class Prepared(NamedTuple):
    """What reading a file gave: its hash and what to store, or why not."""

    sha256: str
    stored: Stored | None
    status: str
    detail: str


def holds_people(folder: Path) -> bool:
    """Whether `folder` is own photos and not an unpacked Market-1501."""
    return folder.is_dir() and not any((folder / name).is_dir() for name in FOLDERS)


def from_people(folder: Path, out: Path, config: PeopleConfig) -> list[File]:
    """Write `out` and the table beside it; returns the table, one row for every file of the folder.

    Raises:
        PoseGANError: a folder cannot be read, holds too many people or photos, or photos of too few people to split.
    """
    files = [_sorted_out(folder, path) for path in list_files(folder)]
    candidates = [file for file in files if file.status == USED]
    numbers = _numbers(folder, candidates)
    with tempfile.TemporaryFile(dir=_made(out.parent)) as spool:
        rows, places = _prepare(folder, candidates, config.maximum_side, spool)
        tested = test_people(_with_partner(rows), config.test_share, config.seed)
        _check_people(folder, rows, tested, config)
        named = [row._replace(image=_member(row, numbers[row.file], tested, places)) for row in rows]
        table = sorted([file for file in files if file.status != USED] + named)
        _write(out, {row.image: places[row.file] for row in named if row.status == USED}, spool, _csv(table))
    write_atomically(out.with_name(TABLE), _csv(table))
    return table


def list_files(folder: Path) -> list[Path]:
    """Everything below `folder` that is no folder, links to folders included, sorted by path.

    Raises:
        PoseGANError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise PoseGANError(f"{error.filename}: could not be read ({error.strerror}); make it readable, or move it away")

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        found += [Path(parent, name) for name in names]
        found += [path for name in folders if (path := Path(parent, name)).is_symlink()]
    return sorted(found)


def test_people(people: Sequence[str], share: float, seed: int) -> set[str]:
    """The `share` of `people` that is held out: at least one where there are two, and never all.

    People are ranked by a hash of seed and name, so that one more person moves at most one other.
    """
    if share == 0 or len(people) < 2:
        return set()
    ranked = sorted(people, key=lambda person: hashlib.sha256(f"{seed}/{person}".encode("utf-8", "surrogateescape")).digest())
    return set(ranked[: min(max(1, round(share * len(people))), len(people) - 1)])


def summarise_people(table: Sequence[File], out: Path) -> str:
    """One line: every file counted, used or by its reason."""
    counts = Counter(file.status for file in table)
    used = [file for file in table if file.status == USED]
    splits = []
    for split, start in (("train", "bounding_box_train/"), ("test", "bounding_box_test/")):
        images = [file for file in used if file.image.startswith(start)]
        splits.append(f"{len(images):,} {split} of {len({file.person for file in images}):,} people")
    lost = ", ".join(f"{counts[reason]:,} {reason}" for reason in REASONS if counts[reason])
    single = sum(photos == 1 for photos in Counter(file.person for file in used).values())
    lines = f"{len(table):,} files in: {counts[USED]:,} images ({', '.join(splits)})" + (f", {lost}" if lost else "")
    lines += f"; {single:,} people with a single photo, which makes no pair" if single else ""
    return f"{lines}; each file's fate is in {out.with_name(TABLE)}"


def _sorted_out(folder: Path, path: Path) -> File:
    """A file that may be a photo (status used, so far), or why it is none without a look inside."""
    parts = path.relative_to(folder).parts
    person = parts[0] if len(parts) > 1 else ""
    status, detail = USED, ""
    if any(part.startswith((".", "@eaDir", "__MACOSX")) or part in ("Thumbs.db", "desktop.ini") for part in parts):
        status, detail = "hidden", "a hidden file, or one that a program left"
    elif path.is_symlink():
        status, detail = "link", "a symbolic link; copy the file itself"
    elif not path.is_file():
        status, detail = "no_file", "a device, pipe or socket"
    elif not person:
        status, detail = "no_person", "not in the folder of a person"
    elif (size := path.stat().st_size) > MAXIMUM_BYTES:
        status, detail = "too_large", f"{size:,} bytes, more than the {MAXIMUM_BYTES:,} allowed"
    return File(path.relative_to(folder).as_posix(), person, "", status, detail)


def _numbers(folder: Path, candidates: Sequence[File]) -> dict[str, tuple[int, int]]:
    """Identity and frame of each file, both from 1."""
    people = {person: number for number, person in enumerate(sorted({file.person for file in candidates}), 1)}
    photos: Counter[str] = Counter()
    numbers = {}
    for file in candidates:
        photos[file.person] += 1
        numbers[file.file] = (people[file.person], photos[file.person])
    if len(people) > MAXIMUM_PEOPLE or max(photos.values(), default=0) > MAXIMUM_PHOTOS:
        raise PoseGANError(f"{folder}: more than {MAXIMUM_PEOPLE:,} people, or {MAXIMUM_PHOTOS:,} photos of one; make several data sets")
    return numbers


def _prepare(
    folder: Path, candidates: Sequence[File], maximum_side: int, spool: IO[bytes]
) -> tuple[list[File], dict[str, tuple[int, int, str]]]:
    """Read all files on all cores; their final status, and where in `spool` (start, end, suffix) the used ones stand."""
    rows: list[File] = []
    places: dict[str, tuple[int, int, str]] = {}
    first: dict[str, str] = {}
    with all_cores() as pool:
        prepared = pool.map(partial(_read, maximum_side), (folder / file.file for file in candidates), chunksize=4)
        for file, result in zip(candidates, tqdm(prepared, "photos", len(candidates), unit="file", disable=None), strict=True):
            status, detail = result.status, result.detail
            if status == USED and first.setdefault(result.sha256, file.file) != file.file:
                status, detail = "duplicate", f"the same bytes as {first[result.sha256]}"
            elif result.stored is not None:
                start = spool.tell()
                spool.write(result.stored.data)
                places[file.file] = (start, spool.tell(), result.stored.suffix)
            rows.append(file._replace(status=status, detail=detail))
    return rows, places


def _read(maximum_side: int, path: Path) -> Prepared:
    try:
        data = path.read_bytes()
        return Prepared(hashlib.sha256(data).hexdigest(), store_photo(data, maximum_side), USED, "")
    except ImageError as error:
        return Prepared("", None, error.reason, str(error))
    except OSError as error:
        return Prepared("", None, "unreadable", error.strerror or str(error))


def _with_partner(rows: Sequence[File]) -> list[str]:
    """People with at least two photos in use: the others make no pair."""
    photos = Counter(row.person for row in rows if row.status == USED)
    return sorted(person for person, count in photos.items() if count > 1)


def _check_people(folder: Path, rows: Sequence[File], tested: set[str], config: PeopleConfig) -> None:
    people = _with_partner(rows)
    if not people:
        raise PoseGANError(
            f"{folder}: no person has two photos that can be read; expected one folder a person, with at least two photos in it"
        )
    if config.test_share > 0 and not tested:
        raise PoseGANError(
            f"{folder}: only {people[0]!r} has two photos that can be read; add people, of whom one is held out for the test, "
            f"or set dataset.people.test_share to 0.0 and leave the evaluate stage out"
        )


def _member(row: File, number: tuple[int, int], tested: set[str], places: dict[str, tuple[int, int, str]]) -> str:
    if row.status != USED:
        return ""
    split = "bounding_box_test" if row.person in tested else "bounding_box_train"
    return f"{split}/{image_name(number[0], 1, number[1], 0, places[row.file][2])}"


def _csv(table: Sequence[File]) -> bytes:
    """The table as UTF-8; bytes of a name that are no text are written as \\xff."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(File._fields)
    writer.writerows(table)
    return text.getvalue().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").encode()


def _write(out: Path, members: dict[str, tuple[int, int, str]], spool: IO[bytes], table: bytes) -> None:
    def part(start: int, end: int) -> bytes:
        spool.seek(start)
        return spool.read(end - start)

    photos = {name: partial(part, *members[name][:2]) for name in sorted(members)}
    write_archive(out, {**photos, TABLE: lambda: table})


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
