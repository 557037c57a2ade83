"""The shards on disk: what index.parquet says of them, and one sample read from its place in a tar.

Legend: n images and m pairs of a sample, H and W height and width in pixels, K = 18 joints.
"""

import json
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from posegan.config import ImageConfig
from posegan.errors import PoseGANError
from posegan.files import check_sha256, sha256_of
from posegan.images import Fit, ImageError, decode_image, fit_image, fit_keypoints
from posegan.skeleton import JOINT_COUNT

_COLUMNS = ("split", "shard", "key", "identity", "offset", "size", "images", "pairs", "shard_sha256", "shard_bytes")


class Sample(NamedTuple):
    """A row of index.parquet: one identity, or a piece of a large one."""

    split: str
    shard: str
    key: str
    identity: int
    offset: int
    size: int
    images: int
    pairs: int
    shard_sha256: str
    shard_bytes: int


class ShardIndex:
    """What a folder of shards holds."""

    def __init__(self, folder: Path, samples: list[Sample], sha256: str) -> None:
        self.folder, self.samples, self.sha256 = folder, samples, sha256

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `folder`/index.parquet; `.sha256` stands for all content, as the index holds each shard's hash.

        Raises:
            PoseGANError: no such file, or not an index.
        """
        path = folder / "index.parquet"
        try:
            table = pq.read_table(path, columns=list(_COLUMNS))
        except FileNotFoundError:
            raise PoseGANError(f"{path}: no such file; run the shard stage first") from None
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
            raise PoseGANError(f"{path}: not an index of shards ({str(error).splitlines()[0]}); run the shard stage again") from error
        rows = zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)
        return cls(folder, [Sample(*row) for row in rows], sha256_of(path))

    def split(self, split: str) -> list[Sample]:
        """Samples of one split, in listed order, after a check of their shards' bytes against the index.

        Raises:
            PoseGANError: the split is empty, or a shard is missing or damaged.
        """
        samples = [sample for sample in self.samples if sample.split == split]
        if not samples:
            raise PoseGANError(f"{self.folder}: holds no sample of split '{split}'; pairing left none, see pair.* in params.yaml")
        for shard, sha256 in {sample.shard: sample.shard_sha256 for sample in samples}.items():
            check_sha256(self.folder / shard, sha256, "the shard is damaged: delete the folder and run the shard stage again")
        return samples


class DecodedSample(NamedTuple):
    """A sample in memory, fitted to the image size."""

    images: npt.NDArray[np.uint8]  # (n, 3, H, W)
    keypoints: npt.NDArray[np.float32]  # (n, K, 3)
    pairs: npt.NDArray[np.int32]  # (m, 2) positions in the images: source, target
    names: list[str]


def read_sample(folder: Path, sample: Sample, image: ImageConfig) -> DecodedSample:
    """Read and decode one sample by its place in the shard.

    Raises:
        PoseGANError: a member is missing or damaged; names the shard and the identity.
    """
    try:
        members = _members(folder, sample)
        about = json.loads(members["json"])
        original = read_npy(members["keypoints.npy"], "<f4", (JOINT_COUNT, 3))
        pairs = read_npy(members["pairs.npy"], "<i4", (2,))
        files = [members[name] for name in sorted(name for name in members if name[0].isdigit())]
        if not (len(files) == len(original) == len(about["images"]) == sample.images and pairs.shape == (sample.pairs, 2)):
            raise ValueError(f"expected {sample.images} images and {sample.pairs} pairs, got {len(files)} and {len(pairs)}")
        images = np.empty((len(files), 3, image.height, image.width), np.uint8)
        keypoints = np.empty((len(files), JOINT_COUNT, 3), np.float32)
        fits: dict[Fit, list[int]] = defaultdict(list)  # mostly one: moving joints image by image took a tenth of the time
        for row, data in enumerate(files):
            pixels, fit = fit_image(decode_image(data), image.height, image.width)
            images[row] = pixels.transpose(2, 0, 1)
            fits[fit].append(row)
        for fit, rows in fits.items():
            keypoints[rows] = fit_keypoints(original[rows], fit)
    except (OSError, tarfile.TarError, KeyError, ValueError, ImageError) as error:
        where = f"{folder / sample.shard}: identity {sample.identity} (sample {sample.key})"
        raise PoseGANError(f"{where} cannot be read: {error}; delete the folder and run the shard stage again") from error
    return DecodedSample(images, keypoints, pairs, about["images"])


def read_names(folder: Path, sample: Sample) -> list[str]:
    """Names of a sample's images in the archive, without decoding one; errors as `read_sample`."""
    try:
        names: list[str] = json.loads(_members(folder, sample)["json"])["images"]
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        where = f"{folder / sample.shard}: identity {sample.identity} (sample {sample.key})"
        raise PoseGANError(f"{where} cannot be read: {error}; delete the folder and run the shard stage again") from error
    return names


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


def _members(folder: Path, sample: Sample) -> dict[str, bytes]:
    with (folder / sample.shard).open("rb") as file:
        file.seek(sample.offset)
        data = file.read(sample.size)
    members, position = {}, 0
    while position < len(data):  # tarfile's own loop over a file object takes twice as long
        member = tarfile.TarInfo.frombuf(data[position : position + tarfile.BLOCKSIZE], "utf-8", "strict")
        start = position + tarfile.BLOCKSIZE
        if not member.isreg() or not member.name.startswith(f"{sample.key}."):
            raise ValueError(f"the index points to another member, {member.name}")
        members[member.name.removeprefix(f"{sample.key}.")] = data[start : start + member.size]
        position = start + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return members
