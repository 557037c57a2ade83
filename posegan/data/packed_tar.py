"""A .tar.gz in which every sample can be read alone, and no JPEG is compressed a second time.

A tar spends a header of 512 bytes and on average 256 of padding on each file: on a person crop of 2.9 kB more than a quarter of
it. Deflate takes them away, and with them what the JPEGs of a sample repeat (their tables, 600 bytes each). Coded pixels
do not shrink any more; they are passed on as stored blocks, which are read at the speed of a copy.

Deflate allows all this within one stream: each run of bytes ends at a byte (a sync flush), and a sample refers to nothing before
it. So any program reads the file as what its name says, and who knows where a sample stands inflates that one only.

Legend: n images and m pairs of a sample, K = 18 joints.
"""

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from posegan.skeleton import JOINT_COUNT

# RFC 1952: deflate, no name, no time, slowest compression, unknown system.
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
_WINDOW = 32768  # bytes that deflate can refer back to
_JPEG = b"\xff\xd8\xff"
_START_OF_SCAN = b"\xda"


class Span(NamedTuple):
    """Where a sample stands in the file: its compressed bytes, their hash, and how many they inflate to."""

    offset: int
    size: int
    unpacked: int
    sha256: str


class PackedTar:
    """Writes a .tar.gz sample by sample; the same samples give the same bytes (with the same zlib)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._crc, self._unpacked = file, 0, 0
        self._position = file.write(_GZIP_HEADER)

    @property
    def size(self) -> int:
        """Bytes of the file so far."""
        return self._position

    def add(self, members: Iterable[tuple[str, bytes]]) -> Span:
        """Write the members (name, content) of a sample."""
        packer = _Packer()
        for name, content in members:
            packer.squeeze(_tar_header(name, len(content)))
            scan = _scan_start(content)
            packer.squeeze(content[:scan])
            packer.store(content[scan:])
            packer.squeeze(bytes(-len(content) % tarfile.BLOCKSIZE))
        packed, unpacked = packer.finish()
        self._crc, self._unpacked = zlib.crc32(unpacked, self._crc), self._unpacked + len(unpacked)
        span = Span(self._position, len(packed), len(unpacked), hashlib.sha256(packed).hexdigest())
        self._position += self._file.write(packed)
        return span

    def close(self) -> None:
        """Write the end of the tar and of the gzip."""
        end = bytes(2 * tarfile.BLOCKSIZE)
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        total = (self._unpacked + len(end)) % 2**32
        trailer = zlib.crc32(end, self._crc).to_bytes(4, "little") + total.to_bytes(4, "little")
        self._position += self._file.write(deflate.compress(end) + deflate.flush() + trailer)


class _Packer:
    """Deflates one sample; what was written last is the dictionary of what comes next."""

    def __init__(self) -> None:
        self._packed, self._unpacked, self._waiting = bytearray(), bytearray(), bytearray()

    def squeeze(self, data: bytes) -> None:
        self._waiting += data  # until the next stored run: fewer, longer runs

    def store(self, data: bytes) -> None:
        if data:
            self._flush()
            self._write(zlib.compressobj(0, zlib.DEFLATED, -15), data)

    def finish(self) -> tuple[bytes, bytes]:
        """The sample's packed and unpacked bytes."""
        self._flush()
        return bytes(self._packed), bytes(self._unpacked)

    def _flush(self) -> None:
        if self._waiting:
            past = bytes(self._unpacked[-_WINDOW:])
            self._write(zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, past), bytes(self._waiting))
            self._waiting.clear()

    def _write(self, deflate: "zlib._Compress", data: bytes) -> None:
        self._packed += deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
        self._unpacked += data


def _tar_header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.uname, member.gname = size, 0o644, "posegan", "posegan"
    return member.tobuf(tarfile.USTAR_FORMAT)


def _scan_start(content: bytes) -> int:
    """Where the coded pixels of a JPEG begin; 0 for another image (all of it is coded), the end for anything else."""
    if content[:1] in (b"{", b"\x93"):  # JSON, NumPy
        return len(content)
    if not content.startswith(_JPEG):
        return 0
    position = 2
    while content[position : position + 1] == b"\xff" and content[position + 1 : position + 2] != _START_OF_SCAN:
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return min(position, len(content))


_BLOCK = 512  # of a tar
_LARGEST = 1 << 30  # bytes of a sample in memory; an index from elsewhere may claim anything


class Sample(NamedTuple):
    """A row of index.parquet: one identity, or a piece of a large one."""

    split: str
    shard: str
    key: str
    identity: int
    offset: int
    size: int
    unpacked: int
    images: int
    pairs: int
    sha256: str
    shard_sha256: str
    shard_bytes: int


class StoredSample(NamedTuple):
    """A sample as it is stored."""

    names: list[str]  # of the images in the archive
    files: list[bytes]  # the n images, undecoded
    keypoints: npt.NDArray[np.float32]  # (n, K, 3)
    pairs: npt.NDArray[np.int32]  # (m, 2) positions in the images: source, target


def read_npy(data: bytes, dtype: str, tail: tuple[int, ...]) -> npt.NDArray[Any]:
    """An array `(any, *tail)` from the bytes of an .npy file of version 1.0.

    `np.load` parses the header with `ast`, which in CPython 3.11 fails now and then when several threads
    do so at once ("AST constructor recursion depth mismatch"); samples are read by threads.

    Raises:
        ValueError: another format, dtype or shape.
    """
    start = 10 + int.from_bytes(data[8:10], "little")
    header = data[10:start].decode("latin1")
    if data[:8] != b"\x93NUMPY\x01\x00" or f"'descr': '{dtype}'" not in header or "'fortran_order': False" not in header:
        raise ValueError(f"expected an array of {dtype} in .npy format 1.0, got {header[:80] or data[:8]!r}")
    return np.frombuffer(data, dtype, offset=start).reshape(-1, *tail)


def unpack(data: bytes, sample: Sample) -> StoredSample:
    """Inflate a sample and take it apart.

    Raises:
        ValueError, KeyError, zlib.error: another sample, or none.
    """
    if sample.unpacked > _LARGEST:
        raise ValueError(f"would inflate to {sample.unpacked:,} bytes, more than the {_LARGEST:,} allowed")
    unpacked = zlib.decompressobj(-15).decompress(data, sample.unpacked + 1)
    if len(unpacked) != sample.unpacked:
        raise ValueError(f"inflates to {len(unpacked):,} bytes, expected {sample.unpacked:,}")
    members = _members(unpacked, f"{sample.key}.")
    about = json.loads(members["json"])
    keypoints = read_npy(members["keypoints.npy"], "<f4", (JOINT_COUNT, 3))
    pairs = read_npy(members["pairs.npy"], "<i4", (2,))
    files = [members[name] for name in sorted(name for name in members if name[0].isdigit())]
    if (about["split"], about["identity"]) != (sample.split, sample.identity):
        raise ValueError(f"holds identity {about['identity']} of split {about['split']}")
    if not (len(files) == len(keypoints) == len(about["images"]) == sample.images and pairs.shape == (sample.pairs, 2)):
        raise ValueError(f"expected {sample.images} images and {sample.pairs} pairs, got {len(files)} and {len(pairs)}")
    return StoredSample(about["images"], files, keypoints, pairs)


def _members(tar: bytes, prefix: str) -> dict[str, bytes]:
    """Members of a sample by their names after the key; tarfile's own loop takes longer than the decoding of small images."""
    members, position = {}, 0
    while position < len(tar):
        name = tar[position : position + 100].split(b"\0", 1)[0].decode()
        size = int(tar[position + 124 : position + 135], 8)
        if not name.startswith(prefix):
            raise ValueError(f"the index points to another member, {name}")
        position += _BLOCK
        members[name.removeprefix(prefix)] = tar[position : position + size]
        position += -(-size // _BLOCK) * _BLOCK
    return members
