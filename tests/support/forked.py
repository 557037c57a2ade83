"""Python programs in processes of their own that need not import torch again: they are forked from one that has (conftest names it)."""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from tests.support.tiny_run import ROOT

_PATIENCE = 600.0  # seconds; a machine may be busy
_OURS = ("posegan", "pipeline", "lessons")  # are imported by each program itself, from where it finds them


class Program:
    """`python LINE` that runs, as `subprocess.Popen` has it; LINE begins with -m or -c. It hears Ctrl-C, whatever started the tests."""

    def __init__(self, line: Sequence[str], cwd: Path, env: Mapping[str, str], folder: Path) -> None:
        self.output, self.errors = folder / "out", folder / "err"
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(target=_run, args=(list(line), cwd, dict(env), self.output, self.errors))
        self._process.start()

    @property
    def pid(self) -> int:
        """As of `subprocess.Popen`."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As of `subprocess.Popen`; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """As of `subprocess.Popen`."""
        os.kill(self.pid, number)

    def communicate(self) -> tuple[str, str]:
        """What it wrote until its end."""
        self.wait()
        return self.output.read_text(), self.errors.read_text()

    def wait(self) -> None:
        """Until it ended, which it has to in `_PATIENCE` seconds."""
        self._process.join(_PATIENCE)
        assert self.returncode is not None, f"still running after {_PATIENCE} s: {self.errors.read_text()}"

    def first_line(self) -> str:
        """The first line that it prints."""
        deadline = time.monotonic() + _PATIENCE
        while not (self.output.exists() and "\n" in self.output.read_text()):
            assert self.returncode is None and time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.01)
        return self.output.read_text().splitlines()[0]

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def started(*line: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    """A program that is killed at the end of the block, if it still runs then."""
    with tempfile.TemporaryDirectory() as folder:
        program = Program(line, cwd, os.environ if env is None else env, Path(folder))
        try:
            yield program
        finally:
            program.kill()


def run(*line: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of `python LINE`, whose output is captured."""
    with started(*line, cwd=cwd, env=env) as program:
        output, errors = program.communicate()
        assert program.returncode is not None
        return subprocess.CompletedProcess(list(line), program.returncode, output, errors)


def _run(line: list[str], folder: Path, environment: dict[str, str], output: Path, errors: Path) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in ((sys.stdout, output), (sys.stderr, errors)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if threads := environment.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
    sys.path[:0] = [str(folder), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    way, what, *arguments = line
    sys.argv = [what if way == "-m" else way, *arguments]
    if way == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
