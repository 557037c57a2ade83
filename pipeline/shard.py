"""Stage shard: the paired images as WebDataset tars, one sample an identity, each image once.

Market-1501's 263,632 training pairs show only 12,116 images; a record for each pair would store every image
about 44 times. So a sample holds an identity's images, their keypoints, and which of them form pairs.

This is also the one place where images are brought to the size that the networks take, with their keypoints: once, so that
training decodes small images, and late, so that the detector saw them as they were. An image of that size stays as it is,
byte for byte.
"""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tqdm import tqdm
from webdataset import TarWriter

from pipeline.market1501 import open_archive
from pipeline.tables import INDEX_SCHEMA, Keypoints, read_keypoints, read_pairs, write_table
from posegan.config import ImageConfig, load_params
from posegan.errors import PoseGANError
from posegan.files import atomic_path
from posegan.images import ImageError, decode_image, encode_jpeg, fit_keypoints, fit_person

SPLITS = ("train", "val", "test")
MEGABYTE = 1_000_000


class Piece(NamedTuple):
    """What becomes one sample: an identity, or a part of a large one."""

    split: str
    identity: int
    number: int
    images: tuple[str, ...]  # member names, sorted
    pairs: npt.NDArray[np.int32]  # (m, 2) positions in `images`: source, target

    @property
    def key(self) -> str:
        """Name of the sample; without dots, which end a key in WebDataset."""
        return f"{self.split}-{self.identity:04d}-{self.number:02d}"


class Material(NamedTuple):
    """What samples are made of; images are fitted to the size `image`, or left as they are where that is None."""

    archive: zipfile.ZipFile
    keypoints: Keypoints
    rows: dict[str, int]  # of an image in the table of keypoints
    image: ImageConfig | None


class Place(NamedTuple):
    """Where a sample landed: a row of index.parquet but for what is only known of a finished shard."""

    split: str
    shard: str
    key: str
    identity: int
    offset: int
    size: int
    images: int
    pairs: int


def plan_pieces(pairs: pa.Table, maximum_images: int) -> list[Piece]:
    """Group pairs.parquet into samples, in order of split, identity and number.

    An identity of more than `maximum_images` images is cut into blocks of half that size, and every two blocks
    make a piece, so that each pair stands in exactly one piece; only such an identity's images are stored more
    than once.
    """
    columns = [pairs[name].to_numpy() for name in ("split", "identity", "source", "target")]
    groups: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for split, identity, source, target in zip(*columns, strict=True):
        groups.setdefault((split, int(identity)), []).append((source, target))
    order = sorted(groups, key=lambda group: (SPLITS.index(group[0]), group[1]))
    return [piece for split, identity in order for piece in _pieces(split, identity, groups[split, identity], maximum_images)]


def _pieces(split: str, identity: int, pairs: list[tuple[str, str]], maximum_images: int) -> Iterator[Piece]:
    images = sorted({name for both in pairs for name in both})
    blocks = 1 if len(images) <= maximum_images else -(-len(images) // (maximum_images // 2))
    block_of = {name: number * blocks // len(images) for number, name in enumerate(images)}
    chosen: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for source, target in sorted(pairs):
        low, high = sorted((block_of[source], block_of[target]))
        if low == high and blocks > 1:  # pairs within a block go with the first piece that holds it
            low, high = (0, 1) if high == 0 else (0, high)
        chosen.setdefault((low, high), []).append((source, target))
    for number, key in enumerate(sorted(chosen)):
        members = sorted({name for both in chosen[key] for name in both})
        position = {name: index for index, name in enumerate(members)}
        table = np.array([(position[source], position[target]) for source, target in chosen[key]], np.int32)
        yield Piece(split, identity, number, tuple(members), table)


def write_shards(
    folder: Path,
    pieces: list[Piece],
    keypoints: Keypoints,
    archive: zipfile.ZipFile,
    target_bytes: float,
    image: ImageConfig | None = None,
) -> pa.Table:
    """Write the tars under `folder` and return index.parquet's table.

    A shard ends with the first sample that takes it to `target_bytes`. Images that do not have the size `image` are
    fitted to it, and so are their keypoints; without it, all are stored as they are.

    Raises:
        PoseGANError: the tables name an image that the archive, or the table of keypoints, lacks.
    """
    rows = {name: row for row, name in enumerate(keypoints.table["image"].to_pylist())}
    material = Material(archive, keypoints, rows, image)
    places: list[Place] = []
    with tqdm(total=len(pieces), desc="shard", unit="sample", mininterval=0.5, disable=None) as bar:
        for split in SPLITS:
            waiting, number = [piece for piece in pieces if piece.split == split], 0
            while waiting:
                written = _write_shard(folder, f"{split}/{split}-{number:06d}.tar", waiting, material, target_bytes)
                bar.update(len(written))
                places += written
                waiting, number = waiting[len(written) :], number + 1
    return _index(folder, places)


def _write_shard(folder: Path, name: str, pieces: list[Piece], material: Material, target_bytes: float) -> list[Place]:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    places = []
    with (folder / name).open("wb") as file, TarWriter(file, "posegan", "posegan", 0o644, encoder=False, mtime=0) as tar:
        for piece in pieces:
            start = tar.tarstream.offset
            for part in _sample(piece, material):
                tar.write({"__key__": piece.key, **part})
            size = tar.tarstream.offset - start
            places.append(Place(piece.split, name, piece.key, piece.identity, start, size, len(piece.images), len(piece.pairs)))
            if start + size >= target_bytes:
                break
    return places


def _sample(piece: Piece, material: Material) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The members of a sample; the writer sorts each of the two dicts, so two keep the images last."""
    if unknown := [name for name in piece.images if name not in material.rows]:
        raise PoseGANError(f"{unknown[0]}: stands in the table of pairs but not in that of keypoints; run pair again")
    about = {"split": piece.split, "identity": piece.identity, "piece": piece.number, "images": piece.images}
    images, joints = zip(*(_stored(name, material) for name in piece.images), strict=True)
    head = {"json": json.dumps(about).encode(), "keypoints.npy": _npy(np.stack(joints)), "pairs.npy": _npy(piece.pairs)}
    return head, {f"{number:03d}{suffix}": data for number, (data, suffix) in enumerate(images)}


def _stored(name: str, material: Material) -> tuple[tuple[bytes, str], npt.NDArray[np.float32]]:
    """An image's bytes with their suffix, and its joints, both at the size of the shards."""
    table, row, size = material.keypoints.table, material.rows[name], material.image
    data, joints = _read(material.archive, name), material.keypoints.joints[row]
    if size is None or (table["height"][row].as_py(), table["width"][row].as_py()) == (size.height, size.width):
        return (data, PurePosixPath(name).suffix.lower()), joints
    try:
        pixels, fit = fit_person(decode_image(data), joints, size.height, size.width)
    except ImageError as error:
        raise PoseGANError(f"{material.archive.filename}: {name}: {error}; run the pose stage again for this archive") from error
    return (encode_jpeg(pixels), ".jpg"), fit_keypoints(joints, fit)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except KeyError:
        raise PoseGANError(f"{archive.filename}: has no member {name}, which the table of pairs names; run pose and pair again") from None
    except zipfile.BadZipFile as error:
        raise PoseGANError(f"{archive.filename}: {name} is damaged ({error}); run the download stage again") from error


def _npy(array: npt.NDArray[np.float32] | npt.NDArray[np.int32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _index(folder: Path, places: list[Place]) -> pa.Table:
    contents = {name: (folder / name).read_bytes() for name in dict.fromkeys(place.shard for place in places)}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    columns = {field: [getattr(place, field) for place in places] for field in Place._fields}
    columns["shard_sha256"] = [hashes[place.shard] for place in places]
    columns["shard_bytes"] = [len(contents[place.shard]) for place in places]
    return pa.table(columns, schema=INDEX_SCHEMA)


@click.command()
@click.option(
    "--params", "params_path", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True, help="Parameters."
)
@click.option("--raw", type=click.Path(path_type=Path), default=Path("data/raw.zip"), show_default=True, help="The archive of images.")
@click.option(
    "--keypoints",
    type=click.Path(path_type=Path),
    default=Path("data/keypoints.parquet"),
    show_default=True,
    help="Table of the pose stage.",
)
@click.option(
    "--pairs",
    "pairs_path",
    type=click.Path(path_type=Path),
    default=Path("data/pairs.parquet"),
    show_default=True,
    help="Table of the pair stage.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("data/shards"), show_default=True, help="Folder to write.")
def shard(params_path: Path, raw: Path, keypoints: Path, pairs_path: Path, out: Path) -> None:
    """Pack the paired images into WebDataset tars with an index (parameters: image, shard).

    One sample holds one identity: each of its images once, their keypoints, and which of them form pairs. Images of
    another size than image.height x image.width are cut to the person's surroundings where there is much else, scaled
    into that size with their keypoints, and padded.
    The folder appears only when all of it is written.
    """
    started = time.monotonic()
    params = load_params(params_path)
    pairs = read_pairs(pairs_path)
    pieces = plan_pieces(pairs, params.shard.maximum_images_per_sample)
    with open_archive(raw) as archive, atomic_path(out) as temporary:
        target_bytes = params.shard.target_megabytes * MEGABYTE
        index = write_shards(temporary, pieces, read_keypoints(keypoints), archive, target_bytes, params.image)
        if sum(index["pairs"].to_pylist()) != pairs.num_rows:
            raise RuntimeError(f"{pairs.num_rows} pairs went in and {sum(index['pairs'].to_pylist())} came out")
        write_table(temporary / "index.parquet", index)
    shards, images = (len(set(index["shard"].to_pylist())), sum(index["images"].to_pylist()))
    written = f"{shards:,} shards, {index.num_rows:,} samples, {images:,} images"
    click.echo(f"shard: {pairs.num_rows:,} pairs in: {written}; {time.monotonic() - started:.1f} s")
