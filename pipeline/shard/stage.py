"""Stage shard: the paired images as WebDataset tars, one sample an identity, each image once.

Market-1501's 263,632 training pairs show only 12,116 images; a record for each pair would store every image
about 44 times. So a sample holds an identity's images, their keypoints, and which of them form pairs.

This is also the one place where images are brought to the size that the networks take, with their keypoints: once, so that
training decodes small images, and late, so that the detector saw them as they were. An image of that size stays as it is,
byte for byte.
"""

import time
from collections import defaultdict
from collections.abc import Container, Sequence
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.doubts import refuse_unbelievable
from pipeline.padding import padding_note
from pipeline.photo_table import TABLE, Photo, photos_csv, read_photos
from pipeline.raw_archive import open_archive
from pipeline.shard.plan import SPLITS, plan_pieces, read_pair_rows
from pipeline.shard.writer import SHARD, Material, write_shards
from pipeline.tables import INDEX_SCHEMA
from pipeline.unchanged import StageCommand
from posegan.cli import params_option
from posegan.config import ImageConfig, ShardConfig, load_params
from posegan.data.index import CHECKSUMS, INDEX, CorruptSampleError, ShardIndex, read_checksums
from posegan.data.packed_tar import Sample
from posegan.errors import PoseGANError
from posegan.files import atomic_folder, sha256_of
from posegan.formats.table import read_keypoints
from posegan.places import FILE, OUTPUT_FOLDER

MEGABYTE = 1_000_000


@click.command(cls=StageCommand)
@params_option()
@click.option("--raw", type=FILE, default=Path("data/raw.zip"), show_default=True, help="The archive of images.")
@click.option("--keypoints", type=FILE, default=Path("data/keypoints.parquet"), show_default=True, help="Table of the pose stage.")
@click.option("--pairs", "pairs_path", type=FILE, default=Path("data/pairs.parquet"), show_default=True, help="Table of the pair stage.")
@click.option("--out", type=OUTPUT_FOLDER, default=Path("data/shards"), show_default=True, help="Folder to write, or to verify.")
@click.option(
    "--verify",
    is_flag=True,
    help="Write nothing: hash every byte of the folder, read the shards as other programs do, and name what is not as it was written.",
)
def shard(params_path: Path, raw: Path, keypoints: Path, pairs_path: Path, out: Path, verify: bool) -> None:
    """Pack the paired images into WebDataset tars with an index (parameters: image, shard).

    One sample holds one identity: each of its images once, their keypoints, and which of them form pairs. Images of
    another size than image.height x image.width are cut to the person's surroundings where there is much else, scaled
    into that size with their keypoints, and padded.
    The folder appears only when all of it is written. `--verify` names each damaged shard and the identities in it.
    """
    started = time.monotonic()
    if verify:
        click.echo(f"shard: {verify_shards(out)}; {time.monotonic() - started:.1f} s")
        return
    params = load_params(params_path)
    with atomic_folder(out, shard_files) as temporary:
        written = make_shards(temporary, raw, keypoints, pairs_path, params.shard, params.image)
    click.echo(f"shard: {written}; {time.monotonic() - started:.1f} s")


def make_shards(out: Path, raw: Path, keypoints: Path, pairs: Path, config: ShardConfig, image: ImageConfig | None) -> str:
    """Write the folder `out`, and say what it holds; images of another size than `image` are fitted to it, None: to none.

    Raises:
        PoseGANError: a table or the archive cannot be read, or they do not belong together.
    """
    table = read_keypoints(keypoints)
    refuse_unbelievable(str(keypoints), table)
    rows = read_pair_rows(pairs, table.table)
    pieces = plan_pieces(rows, table.table["identity"].fill_null(-1).to_numpy(), config.maximum_images_per_sample)
    used = np.unique(np.concatenate([rows.source, rows.target]))
    with open_archive(raw) as archive:
        write_photo_names(out, read_photos(archive), set(table.table["image"].take(used).to_pylist()))
        material = Material(archive, table, image)
        index = write_shards(out, pieces, material, config.target_megabytes * MEGABYTE, len(rows.source))
    shards, images, written = len(index["shard"].unique()), sum(index["images"].to_pylist()), sum(index["pairs"].to_pylist())
    if written != len(rows.source):
        raise RuntimeError(f"{len(rows.source)} pairs went in and {written} came out")
    summary = f"{written:,} pairs in: {shards:,} shards, {index.num_rows:,} samples, {images:,} images"
    if image is None:
        return summary
    sizes = list(zip(*(table.table[side].take(used).to_pylist() for side in ("width", "height")), strict=True))
    return f"{summary}; {padding_note(sizes, table.joints[used], image)}"


def write_photo_names(out: Path, photos: Sequence[Photo], images: Container[str]) -> None:
    """Write what the files of own photos are called, of those that are in the shards; nothing where there are none."""
    if kept := [photo for photo in photos if photo.image in images]:
        (out / TABLE).write_bytes(photos_csv(kept))


def shard_files(folder: Path) -> set[str]:
    """The files of a folder that `make_shards` wrote, damaged or lost ones too: none without an index and its checksums."""
    try:
        listed = read_checksums((folder / CHECKSUMS).read_bytes(), str(folder / CHECKSUMS))
        is_index = pq.read_schema(folder / INDEX).equals(INDEX_SCHEMA)
    except (OSError, pa.ArrowInvalid, PoseGANError):
        return set()
    return {CHECKSUMS, *listed, *SPLITS} if is_index else set()


def verify_shards(folder: Path) -> str:
    """Check a folder of shards, print every fault, and say what was checked.

    Raises:
        PoseGANError: there is a fault.
    """
    checked, faults = check_shards(folder)
    faults = faults or format_faults(folder)
    for fault in faults:
        click.echo(f"shard: {fault}")
    if faults:
        raise PoseGANError(
            f"{folder}: {len(faults):,} fault{'s' if len(faults) > 1 else ''}, named above; delete the folder and run the shard stage again"
        )
    return f"{folder}: {checked}, all as they were written"


_GZIP_HEADER = 10  # bytes before the first sample


def check_shards(folder: Path) -> tuple[str, list[str]]:
    """What was checked, in words, and the faults: of each damaged shard, the identities whose bytes are others.

    Raises:
        PoseGANError: there is no list of checksums, or it is damaged.
    """
    try:
        listing = (folder / CHECKSUMS).read_bytes()
    except OSError as error:
        raise PoseGANError(f"{folder / CHECKSUMS}: {(error.strerror or str(error)).lower()}; run the shard stage first") from error
    expected = read_checksums(listing, str(folder / CHECKSUMS))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - {CHECKSUMS}
    changed = {name for name in found & expected.keys() if sha256_of(folder / name) != expected[name]}
    faults = [f"{folder / name}: missing" for name in sorted(expected.keys() - found)]
    faults += [f"{folder / name}: not one of the files that were written" for name in sorted(found - expected.keys())]
    about = {name for name in changed if not name.endswith(SHARD)}
    faults += [f"{folder / name}: other bytes than were written" for name in sorted(about)]
    if INDEX in changed or INDEX not in found:
        faults += [f"{folder / name}: other bytes than were written" for name in sorted(changed - about)]
        return "", faults  # nothing says which identity stands where
    index = ShardIndex.load(folder)
    samples = _by_shard(index)
    for name in sorted(samples.keys() - expected.keys()):
        faults.append(f"{folder / name}: stands in {INDEX} and not in {CHECKSUMS}")
    for name in sorted(found & samples.keys()):
        faults += _shard_faults(index, folder / name, samples[name], name in changed)
    return f"{len(samples):,} shards, {len(index.samples):,} samples, {sum(index.samples.images):,} images", faults


def format_faults(folder: Path) -> list[str]:
    """Where plain `webdataset`, which knows nothing of the index, finds other samples or other numbers of images than that says."""
    from webdataset import tariterators  # it loads torch, which nothing else in this stage needs

    faults = []
    for shard, samples in _by_shard(ShardIndex.load(folder)).items():
        with (folder / shard).open("rb") as stream:  # a `WebDataset` would leave it open
            records = tariterators.group_by_keys(tariterators.tar_file_expander([{"url": shard, "stream": stream}]))
            found = [(record["__key__"], sum(name.endswith(".jpg") for name in record)) for record in records]
        if found != [(sample.key, sample.images) for sample in samples]:
            faults.append(f"{folder / shard}: webdataset reads other samples than {INDEX} says")
    return faults


def _by_shard(index: ShardIndex) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = defaultdict(list)
    for sample in index.samples:
        samples[sample.shard].append(sample)
    return samples


def _shard_faults(index: ShardIndex, path: Path, samples: list[Sample], changed: bool) -> list[str]:
    faults = []
    size = path.stat().st_size
    if size != samples[0].shard_bytes:
        faults.append(f"{path}: {size:,} bytes, {samples[0].shard_bytes:,} were written")
    for sample in samples:
        try:
            index.read(sample)
        except CorruptSampleError as error:
            faults.append(str(error).rsplit("; ", 1)[0])
    end = _GZIP_HEADER
    for sample in samples:
        if sample.offset != end:
            faults.append(f"{path}: {INDEX} has no sample at byte {end:,}")
        end = sample.offset + sample.size
    if changed and not faults:
        faults.append(f"{path}: other bytes than were written, outside of its {len(samples):,} samples")
    return faults
