"""Processes that work for a stage, and end when it does."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.process import BaseProcess

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MOST = 61  # processes that a pool may have on Windows


@contextlib.contextmanager
def all_cores() -> Iterator[ProcessPoolExecutor]:
    """A pool of one process a core; what waits in it is dropped when the block ends, by an error or Ctrl-C as well.

    The processes begin from a clean one, since a fork beside threads may hang.
    """
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    pool = ProcessPoolExecutor(min(os.cpu_count() or 1, _MOST), context, _serve)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def die_with_parent(number: signal.Signals) -> None:
    """Ask Linux to send this process the signal `number` when the thread that started it ends; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the stage deals with it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(stage: BaseProcess) -> None:
    stage.join()  # also where it was killed, when nobody else would tell
    os._exit(1)
