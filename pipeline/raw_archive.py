"""raw.zip: Market-1501's folders, its names and those of other data sets, one reader and one writer.

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

MARKET, DEEPFASHION = "Market-1501", "DeepFashion"
# 0002_c1s1_000451_03.jpg: identity, camera, sequence, frame, number of the box in the frame. DukeMTMC-reID has the frame alone
# (0002_c1_f0044158.jpg); CUHK03 a number (0002_c1_21.png), or pair of cameras, person there, view and number (1_002_1_05.png).
# DeepFashion, as the lists of pose transfer name its in-shop benchmark, has an item's eight digits, its colour's two and the shot
# (fashionWOMENDressesid0000000202_1front.jpg). An item in one colour is worn by one person, and is what pairs are made of.
GRAMMARS = {
    MARKET: r"(?P<identity>-1|\d{4})_c(?P<camera>\d)s(?P<sequence>\d)_(?P<frame>\d{6})_(?P<box>\d{2})",
    "DukeMTMC-reID": r"(?P<identity>-1|\d{4})_c(?P<camera>\d)_f(?P<frame>\d{7})",
    "CUHK03": r"(?P<identity>\d{4})_c(?P<camera>\d)_(?P<frame>\d{1,4})",
    "CUHK03, by pairs of cameras": r"(?P<pair>[1-9])_(?P<identity>\d{3})_(?P<camera>[12])_(?P<frame>\d{2})",
    DEEPFASHION: r"fashion(?:MEN|WOMEN)[A-Z_]+id0(?P<identity>\d{9})_(?P<frame>\d{1,2})[A-Z]+",
}
_NAMES = {
    # Eighteen images of the original's test folder end in .jpg.jpg. ASCII: the digits of other scripts would give one image two names.
    of: re.compile(grammar + r"(?:\.(?:jpe?g|png)){1,2}", re.IGNORECASE | re.ASCII)
    for of, grammar in GRAMMARS.items()
}
# What other programs' guides rename the folders to. They lie together, hold nothing but named images, perhaps in a folder an identity.
_RENAMED = {"train_all": "bounding_box_train", "train": "bounding_box_train", "val": "bounding_box_train"}
_RENAMED |= {"gallery": "bounding_box_test", "test": "bounding_box_test"}
_IDENTITY_FOLDER = re.compile(r"-1|\d{3,4}", re.ASCII)
# What zipfile raises on a damaged archive; seen by flipping bytes of valid ones. RuntimeError: encrypted.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)


class ImageName(NamedTuple):
    """What the name of an image says; None where its data set's names say nothing, camera 1 where they tell none."""

    identity: int
    camera: int
    sequence: int | None
    frame: int
    box: int | None


def parse_name(name: str) -> ImageName | None:
    """The parts of an image's file name, folders ignored; None when it follows none of the grammars."""
    for grammar in _NAMES.values():
        if found := grammar.fullmatch(PurePosixPath(name).name):
            said = {part: int(digits) for part, digits in found.groupdict().items()}
            identity = 1000 * said.get("pair", 0) + said["identity"]
            return ImageName(identity, said.get("camera", 1), said.get("sequence"), said["frame"], said.get("box"))
    return None


def named_like(name: str) -> str:
    """The data set whose names an image's is like; "" for none."""
    return next((of for of, grammar in _NAMES.items() if grammar.fullmatch(PurePosixPath(name).name)), "")


def image_name(identity: int, camera: int, frame: int, box: int, suffix: str = ".jpg") -> str:
    """The inverse of `parse_name`, in Market-1501's grammar and of sequence 1.

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
    if path.is_dir():
        raise PoseGANError(f"{path}: a folder, not a zip archive; run the download stage again")
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; run the download stage first") from None
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
    """Which names of a Market-1501 copy, or of a data set like it, are its images: {name as found: name in raw.zip}, sorted by the latter.

    Backslashes are folders, as programs on Windows write them, and the case of the folders' names means nothing.
    A copy may hold its folders at the top or under other folders; the outermost place that has a train folder, or else
    a test folder, counts, so that a `__MACOSX/` shadow or a nested second copy does not. Where folders of the original's
    names are nowhere, those that guides rename them to (train, test, gallery, ...) count, and the images in them whose names are known.

    Raises:
        PoseGANError: two names mean the same image.
    """
    listed = list(names)
    placed = _placed(listed)
    if not any(place.folder != "query" for place in placed):
        placed = _placed_in_renamed(listed)
    visible = [place for place in placed if "__MACOSX" not in place.root.parts]
    roots = {place.root for place in visible if place.folder == "bounding_box_train"}
    roots = roots or {place.root for place in visible if place.folder == "bounding_box_test"}
    if not roots:
        return {}
    root = min(roots, key=lambda path: (len(path.parts), str(path)))
    chosen: dict[str, str] = {}
    for place in placed:
        if place.root == root:
            target = f"{place.folder}/{_path(place.name).name}"
            if target in chosen:
                raise PoseGANError(f"{target}: stands twice in the archive, so what it shows is undecided; get a clean copy")
            chosen[target] = place.name
    return {chosen[target]: target for target in sorted(chosen)}


class _Place(NamedTuple):
    """An image as it was found, the folder above its data set's folders, and which of FOLDERS it is in."""

    name: str
    root: PurePosixPath
    folder: str


def _placed(names: Iterable[str]) -> list[_Place]:
    paths = ((name, _path(name)) for name in names)
    return [_Place(name, path.parent.parent, path.parent.name) for name, path in paths if _is_image(path)]


def _path(name: str) -> PurePosixPath:
    """A name as a path, the folder of its image in lower case where that is one of the known folders."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part.lower() if part.lower() in (*FOLDERS, *_RENAMED) else part for part in path.parent.parts]
    return PurePosixPath(*parts, path.name)


def _placed_in_renamed(names: Iterable[str]) -> list[_Place]:
    """Images of known names in folders that guides rename Market-1501's to, or in a folder an identity below these."""
    found = []
    for name in names:
        path = _path(name)
        folder = path.parent.parent if _IDENTITY_FOLDER.fullmatch(path.parent.name) else path.parent
        if (folder.name in _RENAMED or folder.name in FOLDERS) and parse_name(path.name) and not path.name.startswith("."):
            found.append(_Place(name, folder.parent, folder.name))
    whole = {place.root for place in found if place.folder == "train_all"}  # train and val together
    return [
        place._replace(folder=_RENAMED.get(place.folder, place.folder))
        for place in found
        if place.root not in whole or place.folder not in ("train", "val")
    ]


def _is_image(path: PurePosixPath) -> bool:
    hidden = path.name.startswith(".")  # such as macOS's ._0002_c1s1_000451_03.jpg
    return not hidden and path.suffix.lower() in SUFFIXES and path.parent.name in FOLDERS
