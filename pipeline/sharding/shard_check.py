"""Whether a folder of shards is what was written: every byte of every file, and what the index says of it."""

from collections import defaultdict
from pathlib import Path

from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.shards import CHECKSUMS, INDEX, CorruptSampleError, ShardIndex, read_checksums
from posegan.stored import Sample

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
    faults += [f"{folder / name}: other bytes than were written" for name in sorted(changed) if name.endswith(".parquet")]
    if INDEX in changed or INDEX not in found:
        faults += [f"{folder / name}: other bytes than were written" for name in sorted(changed) if not name.endswith(".parquet")]
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
