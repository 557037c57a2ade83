"""Stage download: raw.zip, one verified archive in one layout, wherever the images come from.

Everything is untrusted: an archive is only read member by member in memory, by a whitelist of folders and
suffixes, under caps; nothing is ever unpacked to disk. Members of raw.zip are stored uncompressed (JPEGs do not
shrink), sorted and dated 1980, so that the same images give the same bytes.
"""

import stat
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
from tqdm import tqdm

from pipeline.market1501 import FOLDERS, is_link, normalised_names
from pipeline.people import TABLE, from_people, holds_people, summarise_people
from pipeline.synthetic import write_sample
from posegan.config import DatasetConfig, load_params
from posegan.errors import PoseGANError
from posegan.files import atomic_path, check_sha256

REQUIRED = ("bounding_box_train", "bounding_box_test")


class Limits(NamedTuple):
    """How much a source may claim before it is refused."""

    members: int = 200_000
    member_bytes: int = 32 << 20
    total_bytes: int = 16 << 30
    ratio: int = 100  # uncompressed / compressed; JPEGs stay near 1
    download_bytes: int = 4 << 30
    deadline: float = 3600.0  # seconds for a whole download
    silence: float = 30.0  # seconds without a byte


class Outcome(NamedTuple):
    """What became of a source: images kept in raw.zip, and what else it held."""

    images: int
    ignored: int


def from_archive(source: Path, out: Path, sha256: str, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - immutable
    """Verify a local zip of Market-1501 and write its images to `out` in raw.zip's layout.

    Raises:
        PoseGANError: missing, another SHA-256 (checked when given), not a zip, damaged, above a limit, or
            without Market-1501's folders.
    """
    if sha256:
        check_sha256(source, sha256, "get the archive again, or correct dataset.sha256")
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            _check_limits(source, members, limits)
            names = normalised_names(member.filename for member in members if not member.is_dir())
            _require_folders(source, names)
            for member in members:  # what is left out is read as well: damage anywhere means a bad copy
                if member.filename not in names and not member.is_dir():
                    _member(source, archive, member.filename)
            _write({target: partial(_member, source, archive, name) for name, target in names.items()}, out)
            return Outcome(len(names), sum(not member.is_dir() for member in members) - len(names))
    except FileNotFoundError:
        raise PoseGANError(f"{source}: no such file; set dataset.path to the Market-1501 zip") from None
    except zipfile.BadZipFile as error:
        raise PoseGANError(f"{source}: not a whole zip archive ({error}); get a fresh copy") from error


def from_folder(source: Path, out: Path, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - immutable
    """Write the images of an unpacked Market-1501 folder to `out`.

    Raises:
        PoseGANError: no such folder, no Market-1501 folders in it, or a file above the limits.
    """
    if not source.is_dir():
        raise PoseGANError(f"{source}: no such folder; set dataset.path to the folder that holds {' and '.join(REQUIRED)}")
    files = sorted(path for folder in FOLDERS for path in (source / folder).glob("*") if path.is_file() and not path.is_symlink())
    names = normalised_names(path.relative_to(source).as_posix() for path in files)
    _require_folders(source, names)
    large = [path for path in files if path.stat().st_size > limits.member_bytes]
    if large or len(files) > limits.members:
        raise PoseGANError(f"{large[0] if large else source}: too large for a person crop data set; is this Market-1501?")
    _write({target: (source / name).read_bytes for name, target in names.items()}, out)
    return Outcome(len(names), len(files) - len(names))


def from_url(url: str, out: Path, sha256: str, limits: Limits = Limits()) -> Outcome:  # noqa: B008 - immutable
    """Download an archive, check its SHA-256, then go on as `from_archive`.

    Raises:
        PoseGANError: no answer, an error status, a stalled, endless or cut transfer, or the wrong content.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download.", dir=out.parent) as folder:
        path = Path(folder) / "archive.zip"
        fetch(url, path, limits)
        check_sha256(path, sha256, f"{url} gave something else (damaged, or not the archive): try again, or correct dataset.sha256")
        return from_archive(path, out, "", limits)


def fetch(url: str, path: Path, limits: Limits) -> None:
    """Stream `url` (http or https) to `path` under the limits; errors as `from_url`."""
    if not url.startswith(("http://", "https://")):
        raise PoseGANError(f"dataset.url: expected http:// or https://, got '{url}'; for a local file set dataset.source to archive")
    deadline = time.monotonic() + limits.deadline
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "posegan"})
        with urllib.request.urlopen(request, timeout=limits.silence) as answer, path.open("wb") as file:
            length = int(answer.headers.get("Content-Length") or 0)
            if length > limits.download_bytes:
                raise PoseGANError(f"{url}: claims {length:,} bytes, more than the {limits.download_bytes:,} allowed; check dataset.url")
            with tqdm(total=length or None, desc="download", unit="B", unit_scale=True, mininterval=0.5, disable=None) as bar:
                while block := answer.read1(1 << 18):
                    bar.update(file.write(block))
                    _check_transfer(url, file.tell(), deadline, limits)
            if length and file.tell() != length:
                raise PoseGANError(f"{url}: the transfer broke off after {file.tell():,} of {length:,} bytes; try again")
    except urllib.error.HTTPError as error:
        raise PoseGANError(f"{url}: the server answered {error.code} {error.reason}; check dataset.url, or try later") from error
    except (TimeoutError, urllib.error.URLError, ConnectionError, ValueError) as error:
        raise PoseGANError(f"{url}: no connection ({getattr(error, 'reason', error)}); check the network and dataset.url") from error


def _check_transfer(url: str, received: int, deadline: float, limits: Limits) -> None:
    if received > limits.download_bytes:
        raise PoseGANError(f"{url}: more than the {limits.download_bytes:,} bytes allowed; check dataset.url")
    if time.monotonic() > deadline:
        raise PoseGANError(f"{url}: not finished within {limits.deadline:g} s ({received:,} bytes came); try again or download by hand")


def _check_limits(source: Path, members: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(members) > limits.members:
        raise PoseGANError(f"{source}: holds {len(members):,} members, more than the {limits.members:,} allowed; is this Market-1501?")
    for member in members:
        if is_link(member) or stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise PoseGANError(f"{source}: {member.filename} is a link or a device, not an image; get a clean copy")
        if member.flag_bits & 1:
            raise PoseGANError(f"{source}: {member.filename} is encrypted; make an archive without a password")
        inflated = member.file_size > 1 << 20 and member.file_size > limits.ratio * max(member.compress_size, 1)
        if member.file_size > limits.member_bytes or inflated:
            raise PoseGANError(
                f"{source}: {member.filename} claims {member.file_size:,} bytes from {member.compress_size:,}, "
                f"which no person crop has; get a clean copy"
            )
    if sum(member.file_size for member in members) > limits.total_bytes:
        raise PoseGANError(f"{source}: claims more than {limits.total_bytes:,} bytes in all; is this Market-1501?")


def _require_folders(source: Path, names: Mapping[str, str]) -> None:
    present = {target.split("/")[0] for target in names.values()}
    if missing := [folder for folder in REQUIRED if folder not in present]:
        raise PoseGANError(f"{source}: holds no image in {' or '.join(missing)}; expected Market-1501's folders {', '.join(FOLDERS)}")


def _member(source: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)  # checks the CRC-32
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise PoseGANError(f"{source}: {name} is damaged ({error}); get a fresh copy of the archive") from error


def _write(contents: Mapping[str, Callable[[], bytes]], out: Path) -> None:
    """Write members (name -> a function that reads its bytes) as raw.zip: stored, in this order, dated 1980."""
    bar = tqdm(contents.items(), "download", unit="image", mininterval=0.5, disable=None)
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in bar:
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system, member.external_attr = (3, (stat.S_IFREG | 0o644) << 16)  # Unix, whatever wrote it
            archive.writestr(member, content())


@click.command()
@click.option(
    "--params", "params_path", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True, help="Parameters."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("data/raw.zip"), show_default=True, help="Archive to write.")
def download(params_path: Path, out: Path) -> None:
    """Get the images and verify them (parameters: dataset).

    dataset.source says from where: sample (drawn people, no network), archive (a local Market-1501 zip, with or
    without a top folder), folder (own photos, one folder a person, or an unpacked Market-1501), or url (with its
    SHA-256). Of Market-1501, files outside the folders bounding_box_train, bounding_box_test and query are ignored and
    counted; of own photos, photos.csv beside the archive and in it names every file, with its image or the reason.
    """
    started = time.monotonic()
    config = load_params(params_path).dataset
    out.with_name(TABLE).unlink(missing_ok=True)  # of other photos
    summary = _obtain(config, out)
    click.echo(f"download: {config.source}: {summary}; {out.stat().st_size / 1e6:.1f} MB; {time.monotonic() - started:.1f} s")


def _obtain(config: DatasetConfig, out: Path) -> str:
    if config.source == "sample":
        with atomic_path(out) as temporary:
            counts = write_sample(temporary, config.sample, progress=sys.stderr.isatty())
        return ", ".join(f"{count:,} {name}" for name, count in counts.items())
    if config.source == "folder" and holds_people(Path(config.path)):
        return summarise_people(from_people(Path(config.path), out, config.people), out)
    if config.source == "archive":
        outcome = from_archive(Path(config.path), out, config.sha256)
    elif config.source == "folder":
        outcome = from_folder(Path(config.path), out)
    else:
        outcome = from_url(config.url, out, config.sha256)
    return f"{outcome.images + outcome.ignored:,} files in: {outcome.images:,} images, {outcome.ignored:,} ignored"
