"""Finished parts of a pose run on disk, so that a killed one goes on where it was.

A part is the table of some thousand images. Parts stand in a folder named after everything that decides their content:
the archive's members, the parameters, the weights and the code; another run never meets them.
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.tables import KEYPOINTS_SCHEMA, write_table


class PoseParts:
    """The parts of one run, by number."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._root, self.folder = folder, folder / fingerprint[:16]

    def read(self, number: int, members: Sequence[str]) -> pa.Table | None:
        """The part, or None when it is not there, or not whole, or not of these members."""
        try:
            table = pq.read_table(self.folder / f"{number:06d}.parquet")
        except (OSError, pa.ArrowInvalid):
            return None
        same = table.schema.equals(KEYPOINTS_SCHEMA) and table["image"].to_pylist() == list(members)
        return table if same else None

    def write(self, number: int, table: pa.Table) -> None:
        """Keep a finished part."""
        write_table(self.folder / f"{number:06d}.parquet", table)

    def clear(self) -> None:
        """Remove all parts, those of runs that were given up too: the table is whole."""
        shutil.rmtree(self._root, ignore_errors=True)


def fingerprint_of(archive: zipfile.ZipFile, settings: str, files: Sequence[Path]) -> str:
    """SHA-256 of what decides the rows: name, size and CRC-32 of each member, the parameters as text, the files (weights, code)."""
    digest = hashlib.sha256(settings.encode())
    members = sorted((member.filename, member.file_size, member.CRC) for member in archive.infolist())
    digest.update(json.dumps(members).encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
