"""Untrusted archives (zip, tar, tar.gz), read member by member in memory.

No name from an archive is ever used as a path, and nothing is unpacked. Every size that an archive claims is held against
`Limits` before memory is given to it, and what no honest copy holds (links, devices, passwords, absolute
names) is refused. Archives inside an archive stay closed: they are members like any other.
"""

import contextlib
import gzip
import io
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from posegan.errors import PoseGANError

NESTED_SUFFIXES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")

_ZIP_DIRECTORY = 32 << 20  # bytes read to list a zip; Market-1501's takes 8 MB
_TAR_HEADER = 16 << 10  # bytes read to find the next member of a tar; an extended header with a long name takes 4 KiB
_SMALL = 1 << 20  # bytes below which any compression ratio is harmless
_BLOCK = 512  # of a tar
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
    OverflowError,
)


class Limits(NamedTuple):
    """How much an archive may claim before it is refused."""

    members: int = 200_000
    member_bytes: int = 32 << 20
    total_bytes: int = 16 << 30
    ratio: int = 100  # uncompressed / compressed; JPEGs stay near 1


class Member(NamedTuple):
    """A regular file of an archive; `read` gives its bytes, or raises `PoseGANError` when they are damaged."""

    name: str
    size: int  # bytes, uncompressed
    read: Callable[[], bytes]


@contextlib.contextmanager
def open_members(source: Path, limits: Limits = Limits()) -> Iterator[list[Member]]:  # noqa: B008 - immutable
    """List the regular files of an archive, in the archive's order; they can be read inside the block.

    The content decides whether it is a zip, a tar or a tar.gz, not the name. A tar.gz is first decompressed to
    a nameless temporary file, since its members could not be read in another order.

    Raises:
        PoseGANError: missing, none of the three, damaged or cut short, above a limit, or with a member that is a
            link, a device, encrypted, or has an absolute name or `..` in it.
    """
    if not source.is_file():
        raise PoseGANError(f"{source}: no such file; set dataset.path to a zip, tar or tar.gz of Market-1501")
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(source.open("rb", buffering=0))
            members = _list(source, file, limits, stack)
        except _DAMAGE as error:
            raise PoseGANError(f"{source}: damaged ({error or type(error).__name__}); get a fresh copy") from error
        yield members


def _list(source: Path, file: IO[bytes], limits: Limits, stack: contextlib.ExitStack) -> list[Member]:
    magic = file.read(4)
    if magic.startswith(b"PK"):
        return _zip_members(source, stack.enter_context(_open_zip(source, file, magic)), limits)
    if magic.startswith(b"\x1f\x8b"):
        file = stack.enter_context(_gunzip(source, file, limits))
    return _tar_members(source, file, limits)


class _Guarded(io.BufferedReader):
    """A file that refuses to be read beyond an allowance: readers of archives believe the sizes that they find."""

    allowance = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file: at most `size` bytes, or all that is left."""
        most = self.allowance + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) > self.allowance:
            raise ValueError(f"a header asks for more than {self.allowance:,} bytes")
        self.allowance -= len(data)
        return data


class _GuardedZip(zipfile.ZipFile):
    """A zip whose file is guarded, so that each read can be given its allowance."""

    def __init__(self, guard: _Guarded) -> None:
        self.guard = guard
        guard.allowance = _ZIP_DIRECTORY
        super().__init__(guard)


def _open_zip(source: Path, file: IO[bytes], magic: bytes) -> _GuardedZip:
    try:
        return _GuardedZip(_Guarded(io.FileIO(file.fileno(), closefd=False)))
    except zipfile.BadZipFile as error:
        what = "cut short, the directory at its end is missing" if magic == b"PK\x03\x04" else str(error)
        raise PoseGANError(f"{source}: not a whole zip archive ({what}); get a fresh copy") from error


def _zip_members(source: Path, archive: _GuardedZip, limits: Limits) -> list[Member]:
    found = archive.infolist()
    for member in found:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.flag_bits & 1:
            raise PoseGANError(f"{source}: {member.filename} is encrypted; make an archive without a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise PoseGANError(f"{source}: {member.filename} is compressed in a rare way; make a zip with plain deflate")
        _check_member(source, member.orig_filename, kind in (0, stat.S_IFREG, stat.S_IFDIR), member.file_size, limits, member.compress_size)
    packed = sum(member.compress_size for member in found)
    if packed > source.stat().st_size:
        raise PoseGANError(f"{source}: its members claim more bytes than the file has, so they overlap; get a clean copy")
    files = [member for member in found if not member.is_dir()]
    _check_total(source, len(found), sum(member.file_size for member in files), limits)
    return [Member(member.filename, member.file_size, partial(_read_zipped, source, archive, member)) for member in files]


def _read_zipped(source: Path, archive: _GuardedZip, member: zipfile.ZipInfo) -> bytes:
    archive.guard.allowance = member.compress_size + _SMALL  # beside the content: its own header, read in blocks
    try:
        with archive.open(member) as content:
            data = content.read(member.file_size + 1)  # a bound: without one, a lying member inflates at will; checks the CRC-32
        if len(data) != member.file_size:
            raise ValueError(f"{len(data):,} bytes, {member.file_size:,} claimed")
        return data
    except (*_DAMAGE, OSError) as error:  # a place before the file's beginning is an OSError
        raise PoseGANError(
            f"{source}: {member.filename} is damaged ({error or type(error).__name__}); get a fresh copy of the archive"
        ) from error


@contextlib.contextmanager
def _gunzip(source: Path, file: IO[bytes], limits: Limits) -> Iterator[IO[bytes]]:
    """The tar inside a tar.gz, as a nameless temporary file."""
    size = os.fstat(file.fileno()).st_size
    allowed = min(limits.total_bytes, max(_SMALL, limits.ratio * size))
    file.seek(0)
    with tempfile.TemporaryFile() as tar:
        with gzip.open(file) as stream:
            while block := stream.read(_SMALL):  # checks the CRC-32 at the end
                tar.write(block)
                if tar.tell() > allowed:
                    raise PoseGANError(f"{source}: {size:,} bytes that unpack to more than {allowed:,}; is this Market-1501?")
        tar.flush()
        yield tar


def _tar_members(source: Path, file: IO[bytes], limits: Limits) -> list[Member]:
    guard = _Guarded(io.FileIO(file.fileno(), closefd=False))
    guard.seek(0)
    members: list[Member] = []
    count = total = 0
    try:
        guard.allowance = _TAR_HEADER
        archive = tarfile.open(fileobj=guard, mode="r:", encoding="utf-8")  # noqa: SIM115 - holds nothing but `guard`
    except tarfile.ReadError as error:
        raise PoseGANError(f"{source}: not a zip, a tar or a tar.gz ({error}); get a fresh copy") from error
    while member := archive.next():
        guard.allowance = _TAR_HEADER
        _check_member(source, member.name, (member.isreg() and not member.issparse()) or member.isdir(), member.size, limits)
        count, total = count + 1, total + member.size
        _check_total(source, count, total, limits)
        if member.isreg():
            read = partial(_read_tarred, source, file, member.name, member.offset_data, member.size)
            members.append(Member(member.name, member.size, read))
    if _read_at(file, archive.offset, _BLOCK) != bytes(_BLOCK):  # tarfile ends at whatever is no header
        raise PoseGANError(f"{source}: not a whole tar (no end after {count:,} members); get a fresh copy")
    return members


def _read_tarred(source: Path, file: IO[bytes], name: str, offset: int, size: int) -> bytes:
    data = _read_at(file, offset, size)
    if len(data) != size:
        raise PoseGANError(f"{source}: {name} is cut short; get a fresh copy of the archive")
    return data


def _read_at(file: IO[bytes], offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _check_member(source: Path, name: str, plain: bool, size: int, limits: Limits, packed: int | None = None) -> None:
    """Refuse a member by what its header says; `packed` is its compressed size where it has one of its own, in bytes."""
    if not plain:
        raise PoseGANError(f"{source}: {name!r} is a link, a device or the like, not an image; get a clean copy")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
        raise PoseGANError(f"{source}: {name!r} points out of the archive; get a clean copy")
    inflated = packed is not None and size > _SMALL and size > limits.ratio * max(packed, 1)
    if inflated or not 0 <= size <= limits.member_bytes or (packed or 0) > limits.member_bytes:
        origin = "" if packed is None else f" from {packed:,}"
        raise PoseGANError(f"{source}: {name!r} claims {size:,} bytes{origin}, which no person crop has; get a clean copy")


def _check_total(source: Path, members: int, total: int, limits: Limits) -> None:
    if members > limits.members:
        raise PoseGANError(f"{source}: holds more than the {limits.members:,} members allowed; is this Market-1501?")
    if total > limits.total_bytes:
        raise PoseGANError(f"{source}: claims more than {limits.total_bytes:,} bytes in all; is this Market-1501?")
