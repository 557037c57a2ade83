"""raw.zip: Market-1501's folders and names, one reader and one writer.

From the download stage on, every image is a member of it, whatever place or program it came from.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tqdm import tqdm

from posegan.errors import PoseGANError
from posegan.files import atomic_path

# Folder -> split. `query` shows the test identities again, to search with; it takes no part in pairing.
FOLDERS = {"bounding_box_train": "train", "bounding_box_test": "test", "query": "query"}
SUFFIXES = (".jpg", ".jpeg", ".png")
MEMBER_BYTES = 32 << 20  # as much as the download stage lets in; a person crop has a few kilobytes
JUNK, DISTRACTOR = (-1, 0)  # identities of boxes that show no whole person, and of people outside the 1,501

# 0002_c1s1_000451_03.jpg: identity, camera, sequence, frame, number of the box in the frame. Eighteen images of
# the original's test folder end in .jpg.jpg.
_NAME = re.compile(
    r"(?P<identity>-1|\d{4})_c(?P<camera>\d)s(?P<sequence>\d)_(?P<frame>\d{6})_(?P<box>\d{2})(?:\.(?:jpe?g|png)){1,2}",
    re.IGNORECASE | re.ASCII,  # else the digits of other scripts would give one image two names
)
# What zipfile raises on a damaged archive; seen by flipping bytes of valid ones. RuntimeError: encrypted.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


class ImageName(NamedTuple):
    """What the name of an image says."""

    identity: int
    camera: int
    sequence: int
    frame: int
    box: int


def parse_name(name: str) -> ImageName | None:
    """The parts of an image's file name, folders ignored; None when it does not follow the grammar."""
    found = _NAME.fullmatch(PurePosixPath(name).name)
    return ImageName(*map(int, found.groups())) if found else None


def image_name(identity: int, camera: int, frame: int, box: int, suffix: str = ".jpg") -> str:
    """The inverse of `parse_name`, of sequence 1.

    Raises:
        PoseGANError: a number that the grammar's digits cannot hold. Identities run from 1; 0 and -1 mean distractor and junk.
    """
    name = f"{identity if identity < 0 else f'{identity:04d}'}_c{camera}s1_{frame:06d}_{box:02d}{suffix}"
    if parse_name(name) != (identity, camera, 1, frame, box):
        raise PoseGANError(f"{name}: more people, cameras or images than Market-1501's names can tell apart; make several data sets")
    return name


def open_archive(path: Path) -> zipfile.ZipFile:
    """Open raw.zip for reading.

    Raises:
        PoseGANError: no such file, or not a zip archive.
    """
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; run the download stage first") from None
    except IsADirectoryError:
        raise PoseGANError(f"{path}: a folder, not a zip archive; run the download stage again") from None
    except _DAMAGE as error:
        raise PoseGANError(f"{path}: not a zip archive ({error}); run the download stage again") from error


def image_members(archive: zipfile.ZipFile) -> list[tuple[str, str]]:
    """Members of a `raw.zip` that are images of a known folder, as (member, split), sorted by member.

    Raises:
        PoseGANError: there is none, or one stands twice.
    """
    members = sorted(name for name in archive.namelist() if _is_image(PurePosixPath(name)) and name.count("/") == 1)
    if twice := next((name for name, after in pairwise(members) if name == after), None):
        raise PoseGANError(f"{archive.filename}: {twice} stands twice in it; run the download stage again")
    if not members:
        raise PoseGANError(f"{archive.filename}: holds no image in {', '.join(FOLDERS)}; run the download stage again")
    return [(name, FOLDERS[name.split("/")[0]]) for name in members]


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member of raw.zip, at most `MEMBER_BYTES`.

    Raises:
        PoseGANError: damaged, encrypted, larger, or inflating to more than it claims. The message does not repeat the name.
    """
    member = archive.getinfo(name)
    if member.file_size > MEMBER_BYTES:
        raise PoseGANError(f"claims {member.file_size:,} bytes, more than the {MEMBER_BYTES:,} allowed")
    try:
        with archive.open(member) as content:
            data = content.read(member.file_size + 1)  # a bound: without one, a lying member inflates at will
    except (*_DAMAGE, OSError) as error:  # a place before the file's beginning is an OSError
        raise PoseGANError(f"damaged in the archive ({error or type(error).__name__})") from error
    if len(data) != member.file_size:
        raise PoseGANError(f"damaged in the archive ({len(data):,} bytes, {member.file_size:,} claimed)")
    return data


def write_archive(path: Path, contents: Mapping[str, Callable[[], bytes]], kind: int = stat.S_IFREG) -> None:
    """Write members (name -> a function that reads its bytes) as raw.zip, whole or not at all: stored, in this order, dated 1980.

    JPEGs do not shrink; the same members give the same bytes, whatever system writes them. `kind` is Unix' file type in each member's mode.
    """
    bar = tqdm(contents.items(), "raw.zip", unit="image", mininterval=0.5, disable=None)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in bar:
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr = 3, (kind | 0o644) << 16  # Unix, whatever wrote it
            archive.writestr(member, content())


def normalised_names(names: Iterable[str]) -> dict[str, str]:
    """Which names of a Market-1501 copy are its images: {name as found: name in raw.zip}, sorted by the latter.

    A copy may hold its folders at the top or under other folders; the outermost place that has a train folder
    counts, so that a `__MACOSX/` shadow or a nested second copy does not.

    Raises:
        PoseGANError: two names mean the same image.
    """
    images = [name for name in names if _is_image(PurePosixPath(name))]
    roots = {PurePosixPath(name).parent.parent for name in images if PurePosixPath(name).parent.name == "bounding_box_train"}
    visible = [root for root in roots if "__MACOSX" not in root.parts]
    if not visible:
        return {}
    root = min(visible, key=lambda path: (len(path.parts), str(path)))
    chosen: dict[str, str] = {}
    for name in images:
        path = PurePosixPath(name)
        if path.parent.parent == root:
            target = f"{path.parent.name}/{path.name}"
            if target in chosen:
                raise PoseGANError(f"{target}: stands twice in the archive, so what it shows is undecided; get a clean copy")
            chosen[target] = name
    return {chosen[target]: target for target in sorted(chosen)}


def _is_image(path: PurePosixPath) -> bool:
    hidden = path.name.startswith(".")  # such as macOS's ._0002_c1s1_000451_03.jpg
    return not hidden and path.suffix.lower() in SUFFIXES and path.parent.name in FOLDERS
