"""DeepFashion's in-shop benchmark, from a copy of the user's own: under the names of pose transfer's lists, by one of its splits.

The benchmark's `WOMEN/Dresses/id_00000002/02_1_front.jpg` (gender, kind, item, colour, shot) is
`fashionWOMENDressesid0000000202_1front.jpg` in PATN's lists and those of its successors. An item in one colour is a person here: what
pairs are made of, and what the splits of pose transfer are drawn by. Images may come under either name, in a folder or an archive.

Published joints are pixels of images that are 256 high: of the benchmark's square ones, or of these without 40 pixels on either side.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from pipeline.download.archives import Limits, Member, open_members
from pipeline.download.folders import folder_members
from pipeline.download.spool import Spool, open_spool
from pipeline.processes import all_cores
from pipeline.raw_archive import DEEPFASHION, FOLDERS, named_like, parse_name, write_archive
from posegan.config import DeepFashionConfig
from posegan.errors import PoseGANError
from posegan.images import ImageError, decode_image, encode_jpeg

TRAIN, TEST = tuple(FOLDERS)[:2]
SIDE, EDGE = 256, 40  # pixels of the square images, and of what is cut on either side of them
_STRETCH = 0.02  # the larger images, 750 x 1101, are scaled to 176 x 256, as those who use them do, though they are 1 % too narrow
_COLOURS = 100  # of an item: the last two digits of an identity
_READ_TOGETHER = 256  # images
_EXAMPLE = "WOMEN/Dresses/id_00000002/02_1_front.jpg"
_PLACE = re.compile(r"(?:.*/)?(MEN|WOMEN)/([A-Z_]+)/id_(0\d{7})/(\d{2})_(\d{1,2})_([A-Z]+)\.(jpe?g|png)", re.IGNORECASE | re.ASCII)

Sides = Mapping[str, str]  # the name of an image -> TRAIN or TEST


class Benchmark(NamedTuple):
    """What became of a copy: its files, and how they were split."""

    files: int
    placed: Sequence[str]  # the images' names in raw.zip
    unlisted: int  # images that the split does not name
    odd: int  # of another shape
    absent: int  # names in the split without an image

    def summary(self) -> str:
        """One line: every file counted, and who the people are."""
        sides = {side: [name for name in self.placed if name.startswith(f"{side}/")] for side in (TRAIN, TEST)}
        people = {side: {_identity(name) for name in names} for side, names in sides.items()}
        items = {side: {identity // _COLOURS for identity in identities} for side, identities in people.items()}
        counted = [f"{len(names):,} {FOLDERS[side]} of {len(people[side]):,} people" for side, names in sides.items()]
        lost = [f"{self.unlisted:,} not in the split", f"{self.odd:,} of another shape"]
        ignored = self.files - len(self.placed) - self.unlisted - self.odd
        line = f"{self.files:,} files in: {len(self.placed):,} images ({', '.join(counted)}), {', '.join(lost)}, {ignored:,} ignored"
        line += f"; {self.absent:,} images of the split are not there" if self.absent else ""
        both = items[TRAIN] & items[TEST]
        return line + (f"; {len(both):,} of {len(items[TEST]):,} test items are train items in another colour" if both else "")


def from_deepfashion(source: Path, out: Path, config: DeepFashionConfig, limits: Limits = Limits()) -> Benchmark:  # noqa: B008 - immutable
    """Write the images of a copy that a split names to `out`, in the frame of `config.width`.

    Raises:
        PoseGANError: no such copy, refused by `open_members`, without images of the benchmark or without the split's files, an image that
            stands twice, a person on both sides, or nothing that the split names.
    """
    with _members(source, limits) as members:
        images = _named(source, members, limits)
        sides = _SPLITS[config.split](source, members)
        placed = {f"{sides[name]}/{name}": member for name, member in sorted(images.items()) if name in sides}
        if not placed:
            first = next(iter(images))
            raise PoseGANError(f"{source}: the split names none of {len(images):,} images, such as {first}; set dataset.deepfashion.split")
        _check_sides(source, placed)
        with open_spool(out.parent) as spool:
            kept = _framed(placed, config.width, spool)
            if not kept:
                raise PoseGANError(
                    f"{source}: {_shapes(config.width)}, of which none of {len(placed):,} images is; see docs/deepfashion.md"
                )
            write_archive(out, dict(sorted(kept.items())))
    return Benchmark(len(members), sorted(kept), len(images) - len(placed), len(placed) - len(kept), len(sides.keys() - images.keys()))


def field_name(path: str) -> str | None:
    """The name that pose transfer's lists give an image, from its place in the benchmark; None where it is none of it."""
    if found := _PLACE.fullmatch(path):
        gender, kind, item, colour, shot, view, suffix = found.groups()
        return f"fashion{gender}{kind}id{item}{colour}_{shot}{view}.{suffix}"
    return PurePosixPath(path).name if named_like(path) == DEEPFASHION else None


def in_frame(data: bytes, width: int) -> bytes | None:
    """An image in the frame that joints are published in: `width` (176 or 256) x 256 pixels; None where its shape is another.

    What has that size, and what cannot be read, stays as it is, byte for byte: the pose stage reports the latter.
    """
    try:
        image = decode_image(data)
    except ImageError:
        return data
    if image.size == (width, SIDE):
        return data
    if width == SIDE:
        return None
    if image.size == (SIDE, SIDE):
        return encode_jpeg(np.asarray(image.crop((EDGE, 0, SIDE - EDGE, SIDE))))
    if abs(image.width * SIDE / (image.height * width) - 1) > _STRETCH:
        return None
    return encode_jpeg(np.asarray(image.resize((width, SIDE), Image.Resampling.BICUBIC)))


@contextmanager
def _members(source: Path, limits: Limits) -> Iterator[Sequence[Member]]:
    if not source.exists():
        raise PoseGANError(f"{source}: no such folder or archive; set dataset.path to your copy of DeepFashion's in-shop benchmark")
    if source.is_dir():
        yield folder_members(source)
        return
    with open_members(source, limits) as members:
        yield members


def _named(source: Path, members: Sequence[Member], limits: Limits) -> dict[str, Member]:
    """The images of the benchmark by their names in the lists."""
    images: dict[str, Member] = {}
    for member in members:
        if name := field_name(member.name):
            if (other := images.setdefault(name, member)) is not member:
                raise PoseGANError(
                    f"{source}: {other.name} and {member.name} are one image; keep one of their folders, move the other away"
                )
            if member.size > limits.member_bytes:
                raise PoseGANError(f"{source}: {member.name} has {member.size:,} bytes, which no image of the benchmark has")
    if not images:
        raise PoseGANError(
            f"{source}: holds no image of DeepFashion's in-shop benchmark, such as {_EXAMPLE}; set dataset.path to your copy"
        )
    return images


def _listed(source: Path, members: Sequence[Member]) -> Sides:
    """By train.lst and test.lst: a name a line."""
    sides: dict[str, str] = {}
    for file, side in (("train.lst", TRAIN), ("test.lst", TEST)):
        for line in _lines(source, members, file):
            name = field_name(line.strip()) or PurePosixPath(line.strip()).name
            if name and sides.setdefault(name, side) != side:
                raise PoseGANError(f"{source}: {name} stands in train.lst and in test.lst; get the lists again")
    return sides


def _partition(source: Path, members: Sequence[Member]) -> Sides:
    """By list_eval_partition.txt: a number, a heading, then `img/.../02_1_front.jpg id_00000002 train` a line."""
    sides, file = dict[str, str](), "list_eval_partition.txt"
    meant = {"train": TRAIN, "query": TEST, "gallery": TEST}
    for number, line in enumerate(_lines(source, members, file), start=1):
        words = line.split()
        if number > 2 and words:
            name = field_name(words[0])
            if len(words) != 3 or words[2] not in meant or name is None:
                raise PoseGANError(
                    f"{source}: {file}, line {number}: expected an image, its item and {', '.join(meant)}, got {line[:60]!r}"
                )
            sides[name] = meant[words[2]]
    return sides


def _in_folders(source: Path, members: Sequence[Member]) -> Sides:
    """By the innermost of the folders train and test that an image lies in."""
    meant = {"train": TRAIN, "test": TEST}
    sides: dict[str, str] = {}
    for member in members:
        side = next((meant[part] for part in reversed(PurePosixPath(member.name).parts[:-1]) if part in meant), None)
        if side and (name := field_name(member.name)):
            sides[name] = side
    return sides


_SPLITS: Mapping[str, Callable[[Path, Sequence[Member]], Sides]] = {"lists": _listed, "partition": _partition, "folders": _in_folders}


def _lines(source: Path, members: Sequence[Member], file: str) -> list[str]:
    """The lines of the outermost file of that name."""
    found = sorted((member.name.count("/"), number) for number, member in enumerate(members) if PurePosixPath(member.name).name == file)
    if not found:
        raise PoseGANError(f"{source}: holds no {file}; put it beside the images, or set dataset.deepfashion.split")
    try:
        return members[found[0][1]].read().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise PoseGANError(f"{source}: {file} is no text; get it again") from None


def _check_sides(source: Path, placed: Mapping[str, Member]) -> None:
    people: dict[str, set[int]] = {side: {_identity(name) for name in placed if name.startswith(f"{side}/")} for side in (TRAIN, TEST)}
    if both := people[TRAIN] & people[TEST]:
        raise PoseGANError(f"{source}: {len(both):,} people are train and test, such as {min(both):010d}; get the lists of one split")


def _framed(placed: Mapping[str, Member], width: int, spool: Spool) -> dict[str, Callable[[], bytes]]:
    """Those that have the shape, in their frame, by name: what reads them."""
    kept: dict[str, Callable[[], bytes]] = {}
    names = list(placed)
    with all_cores() as pool, tqdm(total=len(names), desc="images", unit="image", disable=None) as bar:
        for start in range(0, len(names), _READ_TOGETHER):
            here = names[start : start + _READ_TOGETHER]
            made = pool.map(partial(in_frame, width=width), [placed[name].read() for name in here], chunksize=16)
            kept |= {name: spool.add(data) for name, data in zip(here, made, strict=True) if data is not None}
            bar.update(len(here))
    return kept


def _shapes(width: int) -> str:
    square = f"dataset.deepfashion.width {width} takes images of {SIDE}x{SIDE}"
    return square if width == SIDE else f"{square}, of {width}x{SIDE} and of its shape, such as 750x1101"


def _identity(name: str) -> int:
    parsed = parse_name(name)
    assert parsed is not None
    return parsed.identity
