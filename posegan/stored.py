"""One sample of a shard: from the bytes that stand in the file to images, keypoints and pairs, nothing decoded yet.

Legend: n images and m pairs of a sample, K = 18 joints.
"""

import json
import zlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from posegan.skeleton import JOINT_COUNT

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
