"""Own photographs, one folder a person, as raw.zip: Market-1501's folders and names, and a table of what became of each file.

A person is a folder at the top; what lies in folders below it is that person's too. All photos are from camera 1, under numbers
that follow from the person's name and the photo's bytes (`people`). Nothing is written into the photos' folder.
"""

import hashlib
import io
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from pipeline.download.folders import list_files
from pipeline.download.people import archive_names, check_folders, counted_people, merge_people, test_people, warnings_about
from pipeline.download.spool import Spool, open_spool
from pipeline.near_duplicates import Hashes, near_pairs, perceptual_hash
from pipeline.photo_table import TABLE, USED, Photo, photos_csv
from pipeline.processes import all_cores
from pipeline.raw_archive import FOLDERS, MEMBER_BYTES, SUFFIXES, named_like, normalised_names, write_archive
from posegan.config import PeopleConfig
from posegan.errors import PoseGANError
from posegan.files import write_atomically
from posegan.images import ImageError, encode_jpeg, photo_formats
from posegan.orientation import UPRIGHT, orientation_of
from posegan.photos import is_deep, read_photo

_AS_THEY_ARE = {"JPEG": ".jpg", "PNG": ".png"}


class Stored(NamedTuple):
    """What the archive keeps of a photo."""

    data: bytes
    suffix: str
    size: tuple[int, int]  # width, height in pixels of the upright photo as it came
    orientation: int  # EXIF's
    looks: Hashes  # (4,) its perceptual hash


def store_photo(data: bytes, maximum_side: int) -> Stored:
    """Bytes of an image file in any format that Pillow reads, as a photo of the archive.

    A JPEG or PNG in RGB or grey of 8 bits that stands upright and is no larger than `maximum_side` pixels stays byte for byte, unless
    it has more bytes than a member of the archive may have. Of anything else, the upright picture is shrunk to that side, where it is
    larger, and stored as a JPEG without metadata.

    Raises:
        ImageError: no image, damaged, or too large to be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damage that the picture can do without, such as in its EXIF
        return _stored(data, read_photo(data), maximum_side)


def _stored(data: bytes, image: Image.Image, maximum_side: int) -> Stored:
    with Image.open(io.BytesIO(data), formats=photo_formats()) as header:
        plain = header.mode in ("RGB", "L") and not is_deep(header)
        orientation = orientation_of(header)
        small = max(image.size) <= maximum_side and len(data) <= MEMBER_BYTES
        if header.format in _AS_THEY_ARE and plain and orientation == UPRIGHT and small:
            return Stored(data, _AS_THEY_ARE[header.format], image.size, orientation, perceptual_hash(image))
    size = image.size
    image.thumbnail((maximum_side, maximum_side), Image.Resampling.BICUBIC)
    return Stored(encode_jpeg(np.asarray(image)), ".jpg", size, orientation, perceptual_hash(image))


# Why a file was not used, the first that applies.
REASONS = ("hidden", "link", "no_file", "no_person", "too_large", "unreadable", "duplicate")
MAXIMUM_BYTES = 256 << 20  # of one photo


class Album(NamedTuple):
    """What a folder of photos became: a row for each file, and what its user should look at."""

    table: list[Photo]
    warnings: list[str]


class Prepared(NamedTuple):
    """What reading a file gave: its hash and what to store, or why not."""

    sha256: str
    stored: Stored | None
    status: str
    detail: str


def holds_people(folder: Path) -> bool:
    """Whether `folder` is own photos and no unpacked Market-1501 or the like, whatever its folders are called."""
    if not folder.is_dir() or any((folder / name).is_dir() for name in FOLDERS):
        return False
    images = [path.relative_to(folder).as_posix() for path in list_files(folder) if path.suffix.lower() in SUFFIXES]
    named = sum(bool(named_like(name)) for name in images)
    return 2 * named <= len(images) or not normalised_names(images)


class _Kept(NamedTuple):
    """What reads the bytes to store of a photo, and what else is known of it."""

    read: Callable[[], bytes]
    suffix: str
    sha256: str  # of the file as it came
    size: tuple[int, int]
    orientation: int
    looks: Hashes


def from_people(folder: Path, out: Path, config: PeopleConfig) -> Album:
    """Write `out` and the table beside it; gives the table, one row for every file of the folder.

    Raises:
        PoseGANError: a folder cannot be read, is no person's, holds too many people, or photos of too few people to split.
    """
    files = [_sorted_out(folder, path) for path in list_files(folder)]
    found = [file for file in files if file.status == USED]
    check_folders(folder, found)
    candidates = merge_people(found)
    with open_spool(out.parent) as spool:
        rows, kept, copies = _prepare(folder, candidates, config.maximum_side, spool)
        tested = test_people(_with_partner(rows), config.test_share, config.seed)
        _check_people(folder, rows, tested, config)
        used = [row for row in rows if row.status == USED]
        names = archive_names(
            used, {file: photo.sha256 for file, photo in kept.items()}, {file: photo.suffix for file, photo in kept.items()}
        )
        stored = [_stored_row(row, names[row.file], tested, kept[row.file]) for row in used]
        table = sorted([file for file in files if file.status != USED] + [row for row in rows if row.status != USED] + stored)
        photos = {row.image: kept[row.file].read for row in sorted(stored, key=lambda row: row.image)}
        write_archive(out, {**photos, TABLE: lambda: photos_csv(table)})
    write_atomically(out.with_name(TABLE), photos_csv(table))
    return Album(
        table, warnings_about(found, table) + _copied(rows, copies) + _shared(used, [kept[row.file].looks for row in used], tested)
    )


def summarise_people(table: Sequence[Photo], out: Path) -> str:
    """One line: every file counted, used or by its reason, and who the people are."""
    counts = Counter(file.status for file in table)
    used = [file for file in table if file.status == USED]
    splits, people = [], []
    for split, start in (("train", "bounding_box_train/"), ("test", "bounding_box_test/")):
        counted, names = counted_people([file for file in used if file.image.startswith(start)])
        splits.append(counted.replace(" of ", f" {split} of ", 1))
        people += [f"{split}: {names}"] if names else []
    lost = ", ".join(f"{counts[reason]:,} {reason}" for reason in REASONS if counts[reason])
    single = sum(photos == 1 for photos in Counter(file.person for file in used).values())
    lines = f"{len(table):,} files in: {counts[USED]:,} images ({', '.join(splits)})" + (f", {lost}" if lost else "")
    lines += f"; {single:,} people with a single photo, which makes no pair" if single else ""
    return f"{lines}; {', '.join(people)}; each file's fate is in {out.with_name(TABLE)}"


def _sorted_out(folder: Path, path: Path) -> Photo:
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
    return Photo(path.relative_to(folder).as_posix(), person, "", status, detail)


def _prepare(
    folder: Path, candidates: Sequence[Photo], maximum_side: int, spool: Spool
) -> tuple[list[Photo], dict[str, _Kept], dict[str, Photo]]:
    """Read all files on all cores; their final status, the used ones, which wait in `spool`, and whose copy each duplicate is."""
    rows: list[Photo] = []
    kept: dict[str, _Kept] = {}
    first: dict[str, Photo] = {}
    copies: dict[str, Photo] = {}
    with all_cores() as pool:
        prepared = pool.map(partial(_read, maximum_side), (folder / file.file for file in candidates), chunksize=4)
        for file, result in zip(candidates, tqdm(prepared, "photos", len(candidates), unit="file", disable=None), strict=True):
            status, detail = result.status, result.detail
            if status == USED and first.setdefault(result.sha256, file) != file:
                copies[file.file] = first[result.sha256]
                status, detail = "duplicate", f"the same bytes as {first[result.sha256].file}"
            elif result.stored is not None:
                kept[file.file] = _Kept(spool.add(result.stored.data), result.stored.suffix, result.sha256, *result.stored[2:])
            rows.append(file._replace(status=status, detail=detail))
    return rows, kept, copies


def _read(maximum_side: int, path: Path) -> Prepared:
    try:
        data = path.read_bytes()
        return Prepared(hashlib.sha256(data).hexdigest(), store_photo(data, maximum_side), USED, "")
    except ImageError as error:
        return Prepared("", None, error.reason, str(error))
    except OSError as error:
        return Prepared("", None, "unreadable", error.strerror or str(error))


def _copied(rows: Sequence[Photo], copies: Mapping[str, Photo]) -> list[str]:
    """A warning of photos whose bytes stand in another person's folder as well, if there are any: nobody knows whom they show."""
    other = [row for row in rows if row.file in copies and copies[row.file].person != row.person]
    if not other:
        return []
    lie, count = ("photo lies", "counts") if len(other) == 1 else ("photos lie", "count")
    return [
        f"{len(other):,} {lie} in the folders of two people, such as {other[0].file} and {copies[other[0].file].file}, "
        f"and {count} as the latter's; remove the one that is wrong"
    ]


def _shared(used: Sequence[Photo], looks: Sequence[Hashes], tested: set[str]) -> list[str]:
    """A warning of photos of two people that are almost the same, if there are any: a name too many, or a leak."""
    pairs = [
        (used[one], used[other])
        for near in near_pairs(np.array(looks))
        for one, other in zip(near.first.tolist(), near.second.tolist(), strict=True)
        if used[one].person != used[other].person
    ]
    if not pairs:
        return []
    leaks = sum((one.person in tested) != (other.person in tested) for one, other in pairs)
    return [
        f"{len(pairs):,} pairs of photos of two people are almost the same, such as {pairs[0][0].file} and {pairs[0][1].file}; "
        f"{leaks:,} of them are of a train and a test person"
    ]


def _with_partner(rows: Sequence[Photo]) -> list[str]:
    """People with at least two photos in use: the others make no pair."""
    photos = Counter(row.person for row in rows if row.status == USED)
    return sorted(person for person, count in photos.items() if count > 1)


def _check_people(folder: Path, rows: Sequence[Photo], tested: set[str], config: PeopleConfig) -> None:
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


def _stored_row(row: Photo, name: str, tested: set[str], kept: _Kept) -> Photo:
    split = "bounding_box_test" if row.person in tested else "bounding_box_train"
    return row._replace(image=f"{split}/{name}", width=kept.size[0], height=kept.size[1], orientation=kept.orientation)
