"""A stage's processes begin clean, and end when it does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.processes import all_cores
from tests.support.tiny_run import ROOT

# A stage whose processes, whose numbers it prints, have work for a minute. They are light: what they import is what Python has.
BUSY = """
import os, time
from pipeline.processes import all_cores
with all_cores() as pool:
    print(pool.submit(os.getpid).result())
    waiting = [pool.submit(time.sleep, 60) for _ in range(2)]
    while not waiting[0].running():
        time.sleep(0.01)
    print("busy", flush=True)
    time.sleep(60)
"""


def test_a_pool_is_no_fork_of_the_process_and_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "a_mark_of_this_process", True, raising=False)
    with all_cores() as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        assert not pool.submit(eval, "hasattr(__import__('os'), 'a_mark_of_this_process')").result()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_end_with_their_stage(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, env=environment, text=True) as stage:
        assert stage.stdout is not None
        process = Path("/proc", stage.stdout.readline().strip())
        assert stage.stdout.readline() == "busy\n"
        assert process.exists()
        stage.send_signal(number)
    deadline = time.monotonic() + 10
    while process.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not process.exists()
