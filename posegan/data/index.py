"""The shards: what index.parquet says of them, and one sample read and verified from its place.

Legend: S samples, M pairs of a split.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from posegan.data.packed_tar import Sample, StoredSample, unpack
from posegan.data.stores import LocalStore, RemoteStore, Store, is_address
from posegan.errors import PoseGANError

INDEX, ORDER, CHECKSUMS = "index.parquet", "order.parquet", "SHA256SUMS"
CACHE = Path("state/shards")
_AGAIN = "delete the folder and run the shard stage again"

Ints = npt.NDArray[np.int64]


class CorruptSampleError(PoseGANError):
    """A sample whose bytes are not those of the index; the message names the shard and the identity."""


class Samples(Sequence[Sample]):
    """Rows of the index, kept as columns: a million images have 60,000 rows, and each shard's hash stands in many."""

    def __init__(self, table: pa.Table) -> None:
        self._columns = [table[name].combine_chunks() for name in Sample._fields]
        self.identities, self.images, self.pairs = (np.asarray(table[name], dtype=np.int64) for name in ("identity", "images", "pairs"))

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, row: int) -> Sample: ...
    @overload
    def __getitem__(self, row: slice) -> list[Sample]: ...
    def __getitem__(self, row: int | slice) -> Sample | list[Sample]:
        """The sample of a row, or those of several."""
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return Sample(*(column[row % len(self)].as_py() for column in self._columns))

    def shards(self, rows: Ints | None = None) -> Iterator[tuple[str, str, int]]:
        """Name, SHA-256 and bytes of each shard that holds one of them, or one of those in `rows`."""
        columns = [self._columns[Sample._fields.index(name)] for name in ("shard", "shard_sha256", "shard_bytes")]
        if rows is not None:
            columns = [column.take(pa.array(rows)) for column in columns]
        yield from dict.fromkeys(zip(*(column.to_pylist() for column in columns), strict=True))


class ShardIndex:
    """What a folder of shards holds, here or at an address.

    Attributes:
        sha256: stands for all content, as SHA256SUMS has the hash of every file.
    """

    def __init__(self, store: Store, table: pa.Table, checksums: dict[str, str], sha256: str) -> None:
        self._store, self._table, self._checksums, self.sha256 = store, table, checksums, sha256

    @classmethod
    def load(cls, place: Path | str, cache: Path = CACHE) -> Self:
        """Read SHA256SUMS and index.parquet of a folder, or of an address that fsspec knows (https://, s3://, ...).

        Args:
            place: the folder or address.
            cache: folder in which files from an address are kept, under their hashes.

        Raises:
            PoseGANError: no such file, not an index, or another one than SHA256SUMS says.
        """
        store: Store = RemoteStore(str(place), cache) if is_address(str(place)) else LocalStore(Path(place))
        listing = store.small_file(CHECKSUMS)
        checksums = read_checksums(listing, f"{place}/{CHECKSUMS}")
        return cls(store, _read_table(store, INDEX, checksums, list(Sample._fields)), checksums, hashlib.sha256(listing).hexdigest())

    @property
    def samples(self) -> Samples:
        """Samples of all splits."""
        return Samples(self._table)

    @property
    def splits(self) -> dict[str, int]:
        """The number of samples of each split that has one."""
        return dict(Counter(self._table["split"].to_pylist()))

    def split(self, split: str, check_sizes: bool = True) -> Samples:
        """Samples of one split, after a check that their shards are there and, unless told not to, as long as they were.

        Raises:
            PoseGANError: the split is empty, or a shard is missing or of another length.
        """
        table = self._table.filter(pa.compute.equal(self._table["split"], split))
        if not table.num_rows:
            raise PoseGANError(f"{self._store}: holds no sample of split '{split}'; pairing left none, see pair.* in params.yaml")
        samples = Samples(table)
        for name, _, size in samples.shards():
            self._store.check_file(name, size if check_sizes else None, _AGAIN)
        return samples

    def order(self, split: str) -> tuple[Ints, Ints] | None:
        """The pairs of a split in listed order: rows in `split(...)` (M,), and rows of their pairs (M,).

        None where that is the order in which the samples hold them.

        Raises:
            PoseGANError: order.parquet is missing or damaged.
        """
        name = f"{split}/{ORDER}"
        if name not in self._checksums:
            return None
        table = _read_table(self._store, name, self._checksums, ["sample", "pair"])
        return np.asarray(table["sample"], dtype=np.int64), np.asarray(table["pair"], dtype=np.int64)

    def fetch(self, samples: Samples, rows: Ints) -> None:
        """Make the shards of the samples in `rows` local, where they lie elsewhere; PoseGANError when that fails."""
        self._store.fetch(samples.shards(rows))

    def read(self, sample: Sample) -> StoredSample:
        """Read one sample by its place in the shard; only bytes that have the index's SHA-256 are used.

        Raises:
            CorruptSampleError: other bytes, or not a sample.
            PoseGANError: the shard is not there, or could not be fetched.
        """
        path = self._store.path(sample.shard, sample.shard_sha256, sample.shard_bytes)
        try:
            with path.open("rb") as file:
                file.seek(sample.offset)
                data = file.read(sample.size)
            if (found := hashlib.sha256(data).hexdigest()) != sample.sha256:
                raise ValueError(f"its {len(data):,} bytes have the SHA-256 {found[:12]}..., expected {sample.sha256[:12]}...")
            return unpack(data, sample)
        except FileNotFoundError:
            raise PoseGANError(f"{path}: no such file; {_AGAIN}") from None
        except (OSError, zlib.error, KeyError, ValueError) as error:
            where = f"{path}: identity {sample.identity} (sample {sample.key})"
            raise CorruptSampleError(f"{where} is damaged: {error}; {self._store.remedy(path, _AGAIN)}") from error


def read_checksums(listing: bytes, origin: str) -> dict[str, str]:
    """SHA-256 by file name, from lines as `sha256sum` writes them.

    Raises:
        PoseGANError: something else; the message begins with `origin`.
    """
    try:
        lines = listing.decode().removesuffix("\n").split("\n")
        checksums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        if not listing.endswith(b"\n") or any(len(bytes.fromhex(digest)) != 32 for digest in checksums.values()):
            raise ValueError("cut short")
    except ValueError as error:
        raise PoseGANError(f"{origin}: not a list of SHA-256 sums ({error}); {_AGAIN}") from error
    return checksums


def _read_table(store: Store, name: str, checksums: dict[str, str], columns: list[str]) -> pa.Table:
    if name not in checksums:
        raise PoseGANError(f"{store}: {CHECKSUMS} does not name {name}; {_AGAIN}")
    path = store.verified(name, checksums[name], _AGAIN)
    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise PoseGANError(f"{path}: not an index of shards ({str(error).splitlines()[0]}); {_AGAIN}") from error
