"""Samples into shards, the index, the listed order and the checksums."""

import io
import itertools
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
import pyarrow as pa
from tqdm import tqdm

from pipeline.raw_archive import read_member
from pipeline.shard.plan import SPLITS, Ints, Piece
from pipeline.tables import INDEX_SCHEMA, ORDER_SCHEMA, write_table
from posegan.config import ImageConfig
from posegan.data.index import CHECKSUMS, INDEX, ORDER
from posegan.data.packed_tar import PackedTar, Sample
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.formats.table import Keypoints, other_size
from posegan.images import ImageError, decode_image, encode_jpeg, fit_keypoints, fit_person

SHARD = ".tar.gz"  # ends its name


class Material(NamedTuple):
    """What samples are made of; images are fitted to the size `image`, or left as they are where that is None."""

    archive: zipfile.ZipFile
    keypoints: Keypoints
    image: ImageConfig | None


def write_shards(folder: Path, pieces: Iterable[Piece], material: Material, target_bytes: float, pairs: int | None = None) -> pa.Table:
    """Write all of a folder of shards, and return index.parquet's table.

    A shard ends with the first sample that takes it to `target_bytes`.

    Args:
        folder: where to write.
        pieces: in order of their splits.
        material: what their rows mean.
        target_bytes: of a shard.
        pairs: how many there are, for the progress bar.

    Raises:
        PoseGANError: the archive lacks an image, or holds a damaged one.
    """
    samples: list[Sample] = []
    orders = {split: _Order() for split in SPLITS[1:]}  # nothing reads train in its listed order
    with tqdm(total=pairs, desc="shard", unit="pair", unit_scale=True, mininterval=0.5, disable=None) as bar:
        for split, waiting in itertools.groupby(pieces, lambda piece: piece.split):
            for number, rest in enumerate(_shards(waiting)):
                name = f"{split}/{split}-{number:06d}{SHARD}"
                for piece, sample in _write_shard(folder, name, rest, material, target_bytes):
                    samples.append(sample)
                    if split in orders:
                        orders[split].add(piece.listed)
                    bar.update(len(piece.pairs))
    index = _index(folder, samples)
    write_table(folder / INDEX, index)
    for split, order in orders.items():
        if (table := order.table()) is not None:
            write_table(folder / split / ORDER, table)
    _write_checksums(folder)
    return index


def _shards(pieces: Iterator[Piece]) -> Iterator[Iterator[Piece]]:
    """The same iterator again and again, until it has nothing more; each time, a shard's worth is taken from it."""
    for first in pieces:
        yield itertools.chain([first], pieces)


def _write_shard(
    folder: Path, name: str, pieces: Iterator[Piece], material: Material, target_bytes: float
) -> Iterator[tuple[Piece, Sample]]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        tar = PackedTar(file)
        for piece in pieces:
            span = tar.add(_members(piece, material))
            sample = Sample(
                piece.split, name, piece.key, piece.identity, *span[:3], len(piece.images), len(piece.pairs), span.sha256, "", 0
            )
            yield piece, sample
            if tar.size >= target_bytes:
                break
        tar.close()


def _members(piece: Piece, material: Material) -> Iterator[tuple[str, bytes]]:
    """The members of a sample, name and content; those that are small and always needed stand first."""
    names = [material.keypoints.table["image"][row].as_py() for row in piece.images.tolist()]
    images, joints = zip(*(_stored(name, row, material) for name, row in zip(names, piece.images.tolist(), strict=True)), strict=True)
    about = {"split": piece.split, "identity": piece.identity, "piece": piece.number, "images": names}
    yield f"{piece.key}.json", json.dumps(about).encode()
    yield f"{piece.key}.keypoints.npy", _npy(np.stack(joints))
    yield f"{piece.key}.pairs.npy", _npy(piece.pairs)
    for number, (data, suffix) in enumerate(images):
        yield f"{piece.key}.{number:03d}{suffix}", data


def _stored(name: str, row: int, material: Material) -> tuple[tuple[bytes, str], npt.NDArray[np.float32]]:
    """An image's bytes with their suffix, and its joints, both at the size of the shards."""
    table, size = material.keypoints.table, material.image
    data, joints = _read(material.archive, name), material.keypoints.joints[row]
    known = (table["width"][row].as_py(), table["height"][row].as_py())
    _refuse_other_size(material.archive, name, data, known)
    if size is None or known == (size.width, size.height):
        return (data, PurePosixPath(name).suffix.lower()), joints
    try:
        pixels, fit = fit_person(decode_image(data), joints, size.height, size.width)
    except ImageError as error:
        raise PoseGANError(f"{material.archive.filename}: {name}: {error}; run the pose stage again for this archive") from error
    return (encode_jpeg(pixels), ".jpg"), fit_keypoints(joints, fit)


def _refuse_other_size(archive: zipfile.ZipFile, name: str, data: bytes, known: tuple[int, int]) -> None:
    """Raise `PoseGANError` where the table's joints are those of an image of another (width, height)."""
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:  # the header alone, for nearly all
            if image.size == known or (found := decode_image(data).size) == known:
                return
    except (OSError, ImageError, PIL.Image.DecompressionBombError):
        return  # whoever decodes it says what is wrong with it
    raise other_size(str(archive.filename), name, found, known)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return read_member(archive, name)
    except KeyError:
        raise PoseGANError(f"{archive.filename}: has no member {name}, which the table of pairs names; run pose and pair again") from None
    except PoseGANError as error:
        raise PoseGANError(f"{archive.filename}: {name}: {error}; run the download stage again") from error


def _npy(array: npt.NDArray[np.float32] | npt.NDArray[np.int32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


class _Order:
    """Where each pair of a split, in listed order, landed."""

    def __init__(self) -> None:
        self._listed: list[Ints] = []

    def add(self, listed: Ints) -> None:
        """Take note of the next sample's pairs, by their rows in pairs.parquet."""
        self._listed.append(listed)

    def table(self) -> pa.Table | None:
        """order.parquet, or None where the samples have the pairs in listed order."""
        listed = np.concatenate(self._listed) if self._listed else np.empty(0, np.int64)
        if (np.diff(listed) > 0).all():
            return None
        counts = [len(each) for each in self._listed]
        sample, pair = np.repeat(np.arange(len(counts)), counts), np.concatenate([np.arange(count) for count in counts])
        order = np.argsort(listed)
        return pa.table([sample[order].astype(np.int32), pair[order].astype(np.int32)], schema=ORDER_SCHEMA)


def _index(folder: Path, samples: list[Sample]) -> pa.Table:
    finished = {name: (sha256_of(folder / name), (folder / name).stat().st_size) for name in {sample.shard for sample in samples}}
    rows = [sample._replace(shard_sha256=finished[sample.shard][0], shard_bytes=finished[sample.shard][1]) for sample in samples]
    return pa.table([list(column) for column in zip(*rows, strict=True)] or None, schema=INDEX_SCHEMA)


def _write_checksums(folder: Path) -> None:
    """SHA256SUMS of all files, as `sha256sum -c` reads it."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    listing = "".join(f"{sha256_of(folder / file)}  {file}\n" for file in files)
    (folder / CHECKSUMS).write_text(listing, encoding="utf-8", newline="\n")
