"""Files and folders that are whole or absent: write beside, fsync, rename; what a folder holds that is not ours; SHA-256."""

import contextlib
import errno
import glob
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path

from posegan.errors import PoseGANError

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]  # a folder may be shared by computers


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    The block writes a file there, which is fsynced before the rename. When the block raises, the temporary
    is removed and `path` keeps what it had. Temporaries of killed processes are removed too.

    Raises:
        PoseGANError: the disk is full or the folder cannot be written; the message names `path`.
    """
    with _temporary(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # what the user's umask leaves; some libraries write files for their owner alone
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)
        publish(temporary, path)


@contextlib.contextmanager
def atomic_folder(path: Path, ours: Callable[[Path], Set[str]]) -> Iterator[Path]:
    """As `atomic_path`, for a folder: yields a new one beside `path`.

    Args:
        path: where it goes. A folder that stands there is replaced if all that it holds is `ours`.
        ours: what of a folder's `contents` this program wrote.

    Raises:
        PoseGANError: as `atomic_path`; or something else stands at `path`, which is said before anything is done.
    """
    check_replaceable(path, ours)
    with _temporary(path) as temporary:
        temporary.mkdir()
        yield temporary
        check_replaceable(path, ours)  # the work may have taken hours
        _replace_folder(temporary, path)
        _fsync_folder(path.parent)


def check_replaceable(folder: Path, ours: Callable[[Path], Set[str]]) -> None:
    """Raise `PoseGANError` unless nothing stands at `folder`, or a folder whose `contents` are all `ours`."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise PoseGANError(f"{folder}: a file; choose a folder's name")
    found = contents(folder)
    if found and (others := found - ours(folder)):
        raise PoseGANError(f"{folder}: holds other files, such as {min(others)}; choose a new folder, or remove this one first")


def contents(folder: Path) -> set[str]:
    """All that a folder holds, at any depth, by its place in it; a folder only where it is empty. Not what file managers leave."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir() or not any(path.iterdir()))
    return {path.relative_to(folder).as_posix() for path in paths if path.name not in _OF_FILE_MANAGERS}


_OF_FILE_MANAGERS = (".DS_Store", "Thumbs.db", "desktop.ini")
NOTE = ".posegan-files"  # in a folder whose files have names that anybody's could have: those that are ours


def note(folder: Path, names: Iterable[str]) -> None:
    """Add to a folder's note the files that are ours, by their places in it: before they are written, as a kill may come between."""
    new = sorted({*names, NOTE} - noted(folder))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NOTE).open("a", encoding="utf-8") as lines:
        lines.writelines(f"{name}\n" for name in new)


def noted(folder: Path) -> set[str]:
    """The names in a folder's note."""
    try:
        return set((folder / NOTE).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return set()


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A path beside `path` for this process alone, that is gone in the end; what the disk refuses becomes one line."""
    if path.name in ("", ".."):
        raise PoseGANError(f"{str(path)!r}: expected the name of something to write")
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(path)
        yield temporary
    except Exception as error:
        reason = _disks_reason(error, path.parent)
        if not reason:
            raise
        raise PoseGANError(f"{path}: could not be written ({reason}); free some space or choose another place, then run again") from error
    finally:
        if os.path.lexists(temporary):
            _remove(temporary)


_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOTHING = 1 << 16  # bytes left of a disk that a library has filled


def _disks_reason(error: Exception, folder: Path) -> str:
    """Why something could not be written into `folder`, if that is what an error says; libraries have errors of their own for it."""
    if isinstance(error, OSError):
        elsewhere = error.filename is not None and not str(error.filename).startswith(str(folder))
        # A copy that finds no room names the file that it copies.
        return "" if elsewhere and error.errno not in _FULL else error.strerror or str(error)
    if number := re.search(r"\(os error (\d+)\)", str(error)):  # as libraries in Rust say it, such as safetensors
        return os.strerror(int(number[1]))
    if isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < _NOTHING:  # torch's says at which byte, and not why
        return os.strerror(errno.ENOSPC)
    return ""


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file of the same folder its real name, so that even a power cut leaves it whole or absent."""
    _fsync(temporary)
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
    if os.name == "nt":  # where signal 0 is Ctrl-C; what a kill leaves stays there
        return True
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
            _fsync(file)
    old = _beside(path)
    if os.path.lexists(path):  # a folder cannot be renamed over a full one
        path.replace(old)
    temporary.replace(path)
    if os.path.lexists(old):
        _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fsync(file: Path) -> None:
    with file.open("r+b") as handle:  # Windows flushes only what may be written
        os.fsync(handle.fileno())


def _fsync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # as Windows answers for every folder
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
