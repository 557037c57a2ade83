"""Files that are whole or absent: write beside, fsync, rename; and their SHA-256."""

import contextlib
import glob
import hashlib
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from posegan.errors import PoseGANError

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]  # a folder may be shared by computers


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    The block may write a file or a folder there. A file is fsynced before the rename. When the
    block raises, the temporary is removed and `path` keeps what it had. An existing folder at
    `path` is replaced. Temporaries of killed processes are removed too.

    Raises:
        PoseGANError: the disk is full or the folder cannot be written; the message names `path`.
    """
    temporary = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(path)
        yield temporary
        if temporary.is_dir():
            _replace_folder(temporary, path)
            _fsync_folder(path.parent)
        else:
            publish(temporary, path)
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(path.parent)):
            raise
        raise PoseGANError(
            f"{path}: could not be written ({error.strerror or error}); free some space or choose another place, then run again"
        ) from error
    finally:
        if os.path.lexists(temporary):
            _remove(temporary)


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file of the same folder its real name, so that even a power cut leaves it whole or absent."""
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(path)
    _fsync_folder(path.parent)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` through `atomic_path`; text is UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 lower-case hex digits, read in blocks of bounded size."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, remedy: str) -> None:
    """Raise `PoseGANError` unless the file at `path` has the SHA-256 `expected`.

    `remedy` ends the message: what the user should do about a file with another content.
    """
    if not path.is_file():
        raise PoseGANError(f"{path}: no such file; {remedy}")
    actual = sha256_of(path)
    if actual != expected.lower():
        raise PoseGANError(f"{path}: its SHA-256 is {actual}, expected {expected.lower()}; {remedy}")


def _remove_orphans(path: Path) -> None:
    """Remove temporaries of `path` whose process, on this computer, is no more: a kill leaves them, and they may be large."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{_HOST}-*-*.tmp"):
        process = left.name.split("-")[-2]
        if process.isdigit() and not _is_alive(int(process)):
            _remove(left)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _replace_folder(temporary: Path, path: Path) -> None:
    for file in temporary.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    if path.exists():  # a folder cannot be renamed over a full one
        _remove(path)
    temporary.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
