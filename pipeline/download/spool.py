"""Bytes that wait in a nameless file of the disk until the archive is written, since all of them may not fit into memory."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO


class Spool:
    """Takes pieces of bytes, and gives them back as often as they are asked for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, data: bytes) -> Callable[[], bytes]:
        """Keep `data`; what is returned reads it, as `write_archive` wants it."""
        start = self._file.seek(0, 2)
        self._file.write(data)
        return partial(self._read, start, len(data))

    def _read(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)


@contextmanager
def open_spool(folder: Path) -> Iterator[Spool]:
    """A spool on the disk of `folder`, which is made; gone after the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield Spool(file)
