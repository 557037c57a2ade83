"""The original Market-1501 zip, from whichever place still has it, and the note of what it was.

No SHA-256 of the zip is published. So the first good copy, that is one with the numbers of images below, all of them whole, is
written down in a small file for git (data/market1501.json), and from then on every copy has to be that one.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from pipeline.download.archives import Limits as ArchiveLimits
from pipeline.download.archives import open_members
from pipeline.http.transfer import Limits, fetch
from pipeline.raw_archive import FOLDERS, MARKET, named_like, normalised_names
from posegan.config import Mirror, Section
from posegan.errors import PoseGANError
from posegan.files import check_sha256, sha256_of, write_atomically

logger = logging.getLogger(__name__)

# Google Drive's own page for a large file leads here, past its question whether to skip the virus scan (confirm=t).
_DRIVE = "https://drive.usercontent.google.com/download?id={}&export=download&confirm=t"

ORIGINAL = "Market-1501-v15.09.15.zip"
# Images of each split: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015.
COUNTS = {"train": 12_936, "test": 19_732, "query": 3_368}


class Record(Section):
    """The copy that was found good first."""

    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: int  # bytes
    url: str  # where it came from


def address_of(place: str) -> str:
    """The http(s) address of a place as params.yaml names it: itself, or that of `gdrive:<id>` or `gdrive:<id>/<resource key>`."""
    kind, _, identifier = place.partition(":")
    if kind != "gdrive":
        return place
    name, _, key = identifier.partition("/")  # files shared before September 2021 may have a key beside their id
    return _DRIVE.format(name) + (f"&resourcekey={key}" if key else "")


def obtain_original(
    mirrors: Sequence[Mirror],
    folder: Path,
    record: Path,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    counts: dict[str, int] = COUNTS,
) -> Path:
    """The path of a verified original in `folder`, which is used as it is when it is there, else fetched from the mirrors in turn.

    Args:
        mirrors: places and what their copies must be.
        folder: for downloads.
        record: the note of the first good copy; written when it is not there.
        limits: of each mirror.
        counts: images of each split that the archive must have under names of Market-1501's grammar.

    Raises:
        PoseGANError: no place gave a good copy; every place's reason is named.
    """
    path, known = folder / ORIGINAL, read_record(record)
    here = [Mirror.model_construct(url=str(path))] if path.exists() else []
    reasons = []
    for mirror in [*here, *mirrors]:
        verify = partial(_verify, mirror=mirror, known=known, record=record, counts=counts)
        try:
            if mirror in here:
                verify(path)
            else:
                fetch(address_of(mirror.url), path, verify, limits)
        except PoseGANError as error:
            reasons.append(f"- {mirror.url}: {str(error).removeprefix(f'{address_of(mirror.url)}: ')}")
            logger.warning("%s", reasons[-1])
        else:
            if known is None:
                _write_record(record, path, mirror.url)
            return path
    places = "\n".join(reasons) or "dataset.mirrors is empty"
    raise PoseGANError(f"Market-1501 could not be had; try later, or put {ORIGINAL} into {folder}/ by hand:\n{places}")


def read_record(record: Path) -> Record | None:
    """What is known of the original; None before the first good copy.

    Raises:
        PoseGANError: the file is there but not understood.
    """
    if not record.exists():
        return None
    try:
        return Record.model_validate_json(record.read_bytes())
    except ValidationError as error:
        raise PoseGANError(f"{record}: not understood ({error.errors()[0]['msg']}); restore it with git, or delete it") from error


def _write_record(record: Path, path: Path, url: str) -> None:
    written = Record(file=ORIGINAL, sha256=sha256_of(path), size=path.stat().st_size, url=url)
    write_atomically(record, written.model_dump_json(indent=1) + "\n")
    logger.warning("%s: written; put it under git, and every later copy has to be this one", record)


def _verify(path: Path, mirror: Mirror, known: Record | None, record: Path, counts: dict[str, int]) -> None:
    if known:
        if path.stat().st_size != known.size:
            size = path.stat().st_size
            raise PoseGANError(f"{path}: has {size:,} bytes, {record} expects {known.size:,}; {_remedy(record)}")
        check_sha256(path, known.sha256, f"{record} expects that; {_remedy(record)}")
    if mirror.sha256:
        check_sha256(path, mirror.sha256, "it is damaged or another copy than dataset.mirrors says: try again, or correct that")
    if mirror.md5:
        _check_md5(path, mirror.md5)
    check_content(path, counts)


def _remedy(record: Path) -> str:
    return f"get the copy that was recorded, or delete {record} to trust another one"


def _check_md5(path: Path, expected: str) -> None:
    """MD5 tells damage, not malice: what it accepts is counted and recorded as any other."""
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if actual != expected:
        raise PoseGANError(
            f"{path}: its MD5 is {actual}, expected {expected}: it is damaged or repacked; try again, or correct dataset.mirrors"
        )


def check_content(path: Path, counts: dict[str, int], limits: ArchiveLimits = ArchiveLimits()) -> None:  # noqa: B008 - immutable
    """Read every member of an archive, and count its images.

    Raises:
        PoseGANError: damaged, or another number of well-named images in a split than `counts` says.
    """
    with open_members(path, limits) as members:
        targets = normalised_names(member.name for member in members).values()
        found = Counter(FOLDERS[target.split("/")[0]] for target in targets if named_like(target) == MARKET)
        if found != counts:
            listed = ", ".join(f"{found[split]:,} of {count:,} {split}" for split, count in counts.items())
            raise PoseGANError(f"{path}: holds {listed} images; get a complete copy of Market-1501")
        for member in members:
            member.read()
