"""Where a training tells how it goes: numbers to DVCLive, sample grids to files, and both to TensorBoard where that is asked for."""

import contextlib
import io
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import PIL.Image
from dvclive.live import Live
from PIL.Image import Image

from pipeline.train.board import Board
from posegan.files import check_replaceable, contents, write_atomically
from posegan.training.progress import Record, SampleRecord

_GRID, _LOG = re.compile(r"step-\d{8}\.png"), re.compile(r"metrics\.json|plots(/metrics(/\w+\.tsv)?)?")


class Logs:
    """The open logs of one training.

    Args:
        live: of `open_live`.
        samples: where the grids go.
        board: TensorBoard's log, where it is asked for.
    """

    def __init__(self, live: Live, samples: "SampleFolder", board: Board | None) -> None:
        self._live, self._samples, self._board = live, samples, board

    def repeat(self, history: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Tell what the run told before it was stopped: its numbers; the grids lie in their folder already."""
        for step, values in history:
            self._numbers(step, values)
        if self._board is not None:
            for step, grid in self._samples.grids():
                self._board.grid(step, grid)

    def write(self, record: Record) -> None:
        """Log one record."""
        if isinstance(record, SampleRecord):
            self._samples.write(record.step, record.grid)
            if self._board is not None:
                self._board.grid(record.step, record.grid)
        else:
            self._numbers(record.step, record.values)

    def end(self) -> None:
        """Finish DVCLive's summary; TensorBoard's log is closed by whoever opened it."""
        self._live.end()  # type: ignore[no-untyped-call]

    def _numbers(self, step: int, values: Mapping[str, float]) -> None:
        self._live.step = step
        for name, value in values.items():
            self._live.log_metric(name, value)
        self._live.make_summary()  # type: ignore[no-untyped-call]
        if self._board is not None:
            self._board.numbers(step, values)


def open_live(folder: Path) -> Live:
    """A DVCLive that writes into `folder` and nowhere else.

    It is made in an empty working directory, because on starting it looks for a repository around that: in one
    without a commit it raises, and in a git repository without DVC it would create one. Nothing here needs it:
    DVC learns of the logs through dvc.yaml.
    """
    folder = folder.absolute()
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):
        return Live(dir=str(folder), save_dvc_exp=False, dvcyaml=None)


def sample_files(folder: Path) -> set[str]:
    """The sample grids of a folder."""
    return set(filter(_GRID.fullmatch, contents(folder)))


def log_files(folder: Path) -> set[str]:
    """DVCLive's logs in a folder: it removes old ones when it starts."""
    return set(filter(_LOG.fullmatch, contents(folder)))


class SampleFolder:
    """The sample grids: kept beside the state, since DVC deletes a stage's outputs before it runs, and copied out."""

    def __init__(self, folder: Path, kept: Path, step: int) -> None:
        """Fill `folder` with the grids that a run up to `step` had made."""
        self.folder, self.kept = folder, kept
        check_replaceable(folder, sample_files)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in sorted(kept.glob("step-*.png")):
            if _step(path) <= step:
                write_atomically(folder / path.name, path.read_bytes())

    def write(self, step: int, grid: Image) -> None:
        """Write one grid to both places."""
        buffer = io.BytesIO()
        grid.save(buffer, "PNG")
        for folder in (self.kept, self.folder):
            write_atomically(folder / f"step-{step:08d}.png", buffer.getvalue())

    def grids(self) -> Iterator[tuple[int, Image]]:
        """The grids of the folder with their steps, in order."""
        for path in sorted(self.folder.glob("step-*.png")):
            with PIL.Image.open(path) as grid:
                yield _step(path), grid


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
