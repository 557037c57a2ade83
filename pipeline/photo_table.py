"""photos.csv: what became of each file of a folder of own photos; its one writer and one reader.

The table of all files stands in raw.zip and beside it, that of the photos that are in the shards beside these.
"""

import csv
import io
import zipfile
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.raw_archive import read_member
from posegan.errors import PoseGANError

TABLE = "photos.csv"
USED = "used"

_NUMBERS = ("width", "height", "orientation")


class Photo(NamedTuple):
    """A file of the folder: a row of the table."""

    file: str  # path below the folder
    person: str  # "" when it lies in nobody's folder
    image: str  # member of the archive, "" when not used
    status: str  # USED, or why not
    detail: str
    width: int | None = None  # pixels of the upright photo as it came, None when not used
    height: int | None = None
    orientation: int | None = None  # EXIF's of the file, 1 .. 8: how its pixels had to be turned to be upright; 1: not at all


def photos_csv(table: Iterable[Photo]) -> bytes:
    """The table as UTF-8; bytes of a name that are no text are written as \\xff."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Photo._fields)
    writer.writerows(table)
    return text.getvalue().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").encode()


def read_photos(archive: zipfile.ZipFile) -> list[Photo]:
    """The used photos of a raw.zip; none where it holds no own photos.

    Raises:
        PoseGANError: the table is damaged, or of an older version.
    """
    if TABLE not in archive.namelist():
        return []
    try:
        return parse_photos(read_member(archive, TABLE))
    except PoseGANError as error:
        raise PoseGANError(f"{archive.filename}: its {TABLE} is not one of this version ({error}); run the download stage again") from None


def parse_photos(table: bytes) -> list[Photo]:
    """The used photos of a table.

    Raises:
        PoseGANError: it is damaged, or of an older version.
    """
    try:
        return [
            Photo(row["file"], row["person"], row["image"], row["status"], row["detail"], *(int(row[name]) for name in _NUMBERS))
            for row in csv.DictReader(io.StringIO(table.decode("utf-8"), newline=""))
            if row["status"] == USED
        ]
    except (UnicodeDecodeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise PoseGANError(f"{type(error).__name__}: {error}") from error
