"""One training at a time in a folder of states: two would interleave their logs, and overwrite each other's model."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from posegan.errors import PoseGANError

_LOCK, _HOLDER = "train.lock", "train.process"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` during the block; the system releases it when this process dies, however it does.

    Raises:
        PoseGANError: another process holds it; its number is named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / _LOCK, blocking=False), folder / _HOLDER
    try:
        lock.acquire()
    except Timeout:
        process = "unknown"
        with contextlib.suppress(OSError):
            process = holder.read_text(encoding="utf-8").strip() or process
        raise PoseGANError(
            f"{folder}: another training of this folder runs (process {process}); wait for it or end it, or give this one "
            "--state, --live, --samples, --out, --best and --card of its own"
        ) from None
    try:
        holder.write_text(f"{os.getpid()}\n", encoding="utf-8")  # not into the lock itself, which is emptied when it is asked for
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
