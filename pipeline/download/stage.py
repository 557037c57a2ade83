"""Stage download: raw.zip, one verified archive in one layout, wherever the images come from.

Members of raw.zip are stored uncompressed (JPEGs do not shrink), sorted and dated 1980, so that the same images
give the same bytes.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, assert_never

import click

from pipeline.download.archives import NESTED_SUFFIXES, Limits, open_members
from pipeline.download.deepfashion import from_deepfashion
from pipeline.download.folders import folder_members
from pipeline.download.mirrors import address_of, obtain_original
from pipeline.download.own_photos import from_people, holds_people, summarise_people
from pipeline.download.sample import write_sample
from pipeline.http.transfer import Limits as TransferLimits
from pipeline.http.transfer import fetch
from pipeline.photo_table import TABLE
from pipeline.raw_archive import FOLDERS, GRAMMARS, MARKET, named_like, normalised_names, write_archive
from pipeline.unchanged import StageCommand
from posegan.cli import params_option
from posegan.config import DatasetConfig, load_params
from posegan.errors import PoseGANError
from posegan.files import check_sha256, sha256_of
from posegan.places import OUTPUT, WORKING_FOLDER

REQUIRED = ("bounding_box_train", "bounding_box_test")  # one of them: test images alone are enough to evaluate


class Outcome(NamedTuple):
    """What became of a source: images kept in raw.zip, and what else it held, archives among it; and how the images are named."""

    images: int
    ignored: int
    nested: int = 0
    naming: str = ""  # "" where every name is Market-1501's


def from_archive(source: Path, out: Path, sha256: str, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - immutable
    """Verify a local zip, tar or tar.gz of Market-1501 and write its images to `out` in raw.zip's layout.

    Raises:
        PoseGANError: missing, another SHA-256 (checked when given), refused by `open_members`, damaged, or without
            Market-1501's folders.
    """
    if sha256:
        check_sha256(source, sha256, "get the archive again, or correct dataset.sha256")
    with open_members(source, limits) as members:
        names = _images(source, (member.name for member in members))
        for member in members:  # what is left out is read as well: damage anywhere means a bad copy
            if member.name not in names:
                member.read()
        readers = {member.name: member.read for member in members}
        write_archive(out, {target: readers[name] for name, target in names.items()})
        nested = sum(member.name.lower().endswith(NESTED_SUFFIXES) for member in members)
        return Outcome(len(names), len(members) - len(names), nested, _naming(source, names))


def from_folder(source: Path, out: Path, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - immutable
    """Write the images of an unpacked Market-1501 folder, or of a data set like it, to `out`.

    Raises:
        PoseGANError: no such folder, no Market-1501 folders in it, or a file above the limits.
    """
    if not source.is_dir():
        raise PoseGANError(f"{source}: no such folder; set dataset.path to the folder that holds {' and '.join(REQUIRED)}")
    files = {file.name: file for file in folder_members(source)}
    names = _images(source, files)
    large = [name for name in names if files[name].size > limits.member_bytes]
    if large or len(names) > limits.members:
        raise PoseGANError(f"{source / large[0] if large else source}: too large for a person crop data set; is this Market-1501?")
    write_archive(out, {target: files[name].read for name, target in names.items()})
    return Outcome(len(names), len(files) - len(names), naming=_naming(source, names))


def from_url(url: str, out: Path, sha256: str, downloads: Path, limits: TransferLimits = TransferLimits()) -> Outcome:  # noqa: B008 - immutable
    """Fetch an archive into `downloads`, unless it is there already, check its SHA-256, then go on as `from_archive`.

    Raises:
        PoseGANError: as `fetch` and `from_archive`, or the wrong content.
    """
    path = downloads / f"{sha256[:16]}.archive"

    def verify(part: Path) -> None:
        check_sha256(part, sha256, f"{url} gave something else (damaged, or not the archive): try again, or correct dataset.sha256")

    if not (path.is_file() and sha256_of(path) == sha256):
        fetch(address_of(url), path, verify, limits)
    return from_archive(path, out, "")


def _images(source: Path, names: Iterable[str]) -> dict[str, str]:
    """Names of the images of a source: {name as found: name in raw.zip}."""
    listed = list(names)
    images = normalised_names(listed)
    present = {target.split("/")[0] for target in images.values()}
    if not present.intersection(REQUIRED):
        nested = next((f"; unpack {name!r} in it first" for name in listed if name.lower().endswith(NESTED_SUFFIXES)), "")
        raise PoseGANError(
            f"{source}: holds no image in {' or '.join(REQUIRED)}; expected Market-1501's folders {', '.join(FOLDERS)}{nested}"
        )
    if odd := [target for target in images.values() if not target.isprintable()]:
        raise PoseGANError(f"{source}: {odd[0]!r} has characters in its name that cannot be shown; get a clean copy")
    return images


def _naming(source: Path, names: dict[str, str]) -> str:
    """How the images are named, where not all are as Market-1501's.

    Raises:
        PoseGANError: none has a name of a known grammar, so nobody could be told from another.
    """
    counts = Counter(named_like(target) for target in names.values())
    if not counts.keys() - {""}:
        raise PoseGANError(
            f"{source}: none of {len(names):,} names is like those of {', '.join(GRAMMARS)}, such as "
            f"{next(iter(names)).rpartition('/')[2]}; rename the images as 0002_c1s1_000451_03.jpg"
        )
    told = [f"{count:,} named as {of}'s" if of else f"{count:,} of no known name" for of, count in counts.items()]
    return "" if counts.keys() == {MARKET} else ", ".join(sorted(told))


@click.command(cls=StageCommand)
@params_option()
@click.option("--out", type=OUTPUT, default=Path("data/raw.zip"), show_default=True, help="Archive to write.")
@click.option("--downloads", type=WORKING_FOLDER, default=Path("data/downloads"), show_default=True, help="Folder for what is fetched.")
@click.option(
    "--record",
    type=OUTPUT,
    default=Path("data/market1501.json"),
    show_default=True,
    help="Note of the first good copy of Market-1501.",
)
def download(params_path: Path, out: Path, downloads: Path, record: Path) -> None:
    """Get the images and verify them (parameters: dataset).

    dataset.source says from where: sample (drawn people, no network), market1501 (the mirrors in turn), deepfashion (a copy of its
    in-shop benchmark), archive (a local zip, tar or tar.gz of Market-1501, with or without a top folder), folder (own photos, one folder
    a person, or an unpacked Market-1501), or url (with its SHA-256). DukeMTMC-reID's and CUHK03's names are known as well, and folders
    that were renamed to train, test, gallery and the like. What was fetched in part is gone on with. Of Market-1501, files
    outside the folders bounding_box_train, bounding_box_test and query are ignored and counted; of own photos,
    photos.csv beside the archive and in it names every file, with its image or the reason.
    """
    started = time.monotonic()
    config = load_params(params_path).dataset
    _remove_table(out)
    summary = _obtain(config, out, downloads, record)
    click.echo(f"download: {config.source}: {summary}; {out.stat().st_size / 1e6:.1f} MB; {time.monotonic() - started:.1f} s")


def _remove_table(out: Path) -> None:
    """Remove the table of the photos of another time; its archive may be gone, as DVC removes a stage's outputs.

    Raises:
        PoseGANError: a folder of its name, or a file with other columns, which so is somebody else's.
    """
    table = out.with_name(TABLE)
    if not table.exists():
        return
    if table.is_dir():
        raise PoseGANError(f"{table}: a folder; move it away, since a table of that name is written there")
    with table.open("rb") as file:
        columns = file.readline(1000).decode(errors="replace").strip().split(",")
    if not {"file", "image", "status"} <= set(columns):
        raise PoseGANError(f"{table}: not a table that this stage wrote; move it away, since one of that name is written there")
    table.unlink()


def _obtain(config: DatasetConfig, out: Path, downloads: Path, record: Path) -> str:
    if config.source == "sample":
        counts = write_sample(out, config.sample, progress=sys.stderr.isatty())
        return ", ".join(f"{count:,} {name}" for name, count in counts.items())
    if config.source == "folder" and holds_people(Path(config.path)):
        album = from_people(Path(config.path), out, config.people)
        for warning in album.warnings:
            click.echo(f"download: {config.path}: {warning}", err=True)
        return summarise_people(album.table, out)
    if config.source == "deepfashion":
        return from_deepfashion(Path(config.path), out, config.deepfashion).summary()
    if config.source == "market1501":
        outcome = from_archive(obtain_original(config.mirrors, downloads, record), out, "")
    elif config.source == "archive":
        outcome = from_archive(Path(config.path), out, config.sha256)
    elif config.source == "folder":
        outcome = from_folder(Path(config.path), out)
    elif config.source == "url":
        outcome = from_url(config.url, out, config.sha256, downloads)
    else:
        assert_never(config.source)
    nested = f" ({outcome.nested:,} archives among them)" if outcome.nested else ""
    naming = f" ({outcome.naming})" if outcome.naming else ""
    return f"{outcome.images + outcome.ignored:,} files in: {outcome.images:,} images{naming}, {outcome.ignored:,} ignored{nested}"
