"""Stage train: the generator and the discriminator, from the shards to `models/generator.safetensors`."""

import contextlib
import io
import os
import platform
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click
import torch
from dvclive.live import Live
from PIL.Image import Image
from tqdm import tqdm

from posegan.checkpoint import CheckpointFolder, save_generator
from posegan.cli import INTERRUPTED
from posegan.config import Params, load_params
from posegan.device import choose_device, keep_freed_memory
from posegan.files import write_atomically
from posegan.pool import merged
from posegan.shards import CACHE
from posegan.training import LossRecord, Record, SampleRecord, StoppedError, Trainer, fingerprint, open_training_data

FILE = click.Path(path_type=Path)


@click.command()
@click.option("--params", "params_path", type=FILE, default=Path("params.yaml"), show_default=True, help="Parameters.")
@click.option(
    "--shards", default="data/shards", show_default=True, help="Folder of the shard stage, or the address of a copy (https://, s3://)."
)
@click.option("--out", type=FILE, default=Path("models/generator.safetensors"), show_default=True, help="Generator to write (EMA weights).")
@click.option("--live", type=FILE, default=Path("dvclive"), show_default=True, help="Folder for DVCLive's metrics.")
@click.option("--samples", type=FILE, default=Path("reports/samples"), show_default=True, help="Folder for sample grids.")
@click.option("--state", type=FILE, default=Path("state"), show_default=True, help="Folder for the state that a stopped run resumes from.")
@click.option("--cache", type=FILE, default=CACHE, show_default=True, help="Folder for shards fetched from an address.")
def train(params_path: Path, shards: str, out: Path, live: Path, samples: Path, state: Path, cache: Path) -> None:
    """Train the generator and the discriminator (parameters: image, model, loss, features, train).

    Stopped at any moment, by Ctrl-C, a kill or a power cut, the same command goes on from the last saved state
    and ends where an uninterrupted run would have ended. A finished run is only exported again. After SIGTERM
    the state is saved and the exit code is 0; after Ctrl-C it is 130, and under DVC 1, as the outputs are not there.
    """
    started = time.monotonic()
    keep_freed_memory()
    params = load_params(params_path)
    data, shards_sha256 = open_training_data(shards, params, cache)
    if not data.validation:
        click.echo("train: the split val is empty: nothing is validated, and the samples show training pairs")
    name = fingerprint(params, shards_sha256)
    trainer = Trainer(params, data, CheckpointFolder(state / name, params.train.keep_checkpoints), choose_device(params.train.device))
    if trainer.losses.features is not None:
        click.echo(f"train: the feature losses look through {_features(trainer)}")
    resumed = trainer.resume()
    if resumed:
        click.echo(f"train: goes on from step {resumed} of {params.train.iterations}, found in {state / name}")
    pictures = SampleFolder(samples, state / name / "samples", resumed)
    with stop_on_signals() as stop:
        try:
            speed = follow(trainer, open_live(live), pictures, stop)
        except StoppedError as stopped:
            if "DVC_STAGE" in os.environ:  # with 0, DVC would take the stage for done and complain of its outputs
                raise
            click.echo(f"train: {stopped}")
            raise SystemExit(INTERRUPTED if stop.number == signal.SIGINT else 0) from None
    if skipped := merged(data.skipped):
        click.echo(f"train: left out {skipped.summary()}")
    save_generator(out, trainer.ema, params.model, params.image, provenance(params, shards_sha256, _features(trainer)))
    click.echo(f"train: {_summary(trainer)}; {speed}{time.monotonic() - started:.1f} s; wrote {out}")


def follow(trainer: Trainer, live: Live, pictures: "SampleFolder", stop: threading.Event) -> str:
    """Run the trainer to its end with a progress bar; log numbers to DVCLive, grids to files.

    Returns the mean speed as words for the summary. Speed is shown and not logged: the logs of
    two runs of one seed are equal, so DVC sees equal outputs.
    """
    for step, values in trainer.history:
        _log(live, step, values)
    speeds: list[float] = []
    iterations = trainer.params.train.iterations
    bar = tqdm(total=iterations, initial=trainer.step, desc="train", unit="step", mininterval=0.5, disable=None)
    with bar:
        for record in trainer.run(stop):
            _write(record, live, pictures)
            if isinstance(record, LossRecord):
                speeds.append(record.images_per_second)
                bar.update(record.step - bar.n)
                bar.set_postfix_str(_line(record))
    live.end()  # type: ignore[no-untyped-call]
    return f"{sum(speeds) / len(speeds):.0f} images/s; " if speeds else ""


def open_live(folder: Path) -> Live:
    """A DVCLive that writes into `folder` and nowhere else.

    It is made in an empty working directory, because on starting it looks for a repository around that: in one
    without a commit it raises, and in a git repository without DVC it would create one. Nothing here needs it:
    DVC learns of the logs through dvc.yaml.
    """
    folder = folder.absolute()
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):
        return Live(dir=str(folder), save_dvc_exp=False, dvcyaml=None)


class SampleFolder:
    """The sample grids: kept beside the state, since DVC deletes a stage's outputs before it runs, and copied out."""

    def __init__(self, folder: Path, kept: Path, step: int) -> None:
        """Fill `folder` with the grids that a run up to `step` had made."""
        self.folder, self.kept = folder, kept
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in sorted(kept.glob("step-*.png")):
            if int(path.stem.removeprefix("step-")) <= step:
                write_atomically(folder / path.name, path.read_bytes())

    def write(self, step: int, grid: Image) -> None:
        """Write one grid to both places."""
        buffer = io.BytesIO()
        grid.save(buffer, "PNG")
        for folder in (self.kept, self.folder):
            write_atomically(folder / f"step-{step:08d}.png", buffer.getvalue())


class StopRequest(threading.Event):
    """Set when somebody asked for an end, by the signal `number`."""

    number: int | None = None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """An event that the first Ctrl-C or SIGTERM sets; the second one interrupts at once."""
    stop = StopRequest()
    signals = (signal.SIGINT, signal.SIGTERM)

    def ask(number: int, frame: FrameType | None) -> None:
        stop.number = number
        stop.set()
        for each in signals:
            signal.signal(each, signal.default_int_handler)

    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def provenance(params: Params, shards_sha256: str, features: str) -> dict[str, str]:
    """Where the weights come from, without times: two equal runs write equal files."""
    return {
        "seed": str(params.train.seed),
        "iterations": str(params.train.iterations),
        "loss": params.loss.model_dump_json(),
        "features": features,
        "shards_sha256": shards_sha256,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _write(record: Record, live: Live, pictures: SampleFolder) -> None:
    if isinstance(record, SampleRecord):
        pictures.write(record.step, record.grid)
    else:
        _log(live, record.step, record.values)


def _log(live: Live, step: int, values: dict[str, float]) -> None:
    live.step = step
    for name, value in values.items():
        live.log_metric(name, value)
    live.make_summary()  # type: ignore[no-untyped-call]


def _line(record: LossRecord) -> str:
    losses = ", ".join(f"{name} {value:.3g}" for name, value in record.values.items())
    return f"{losses}, {record.images_per_second:.0f} images/s, {record.waiting:.0%} waiting"


def _summary(trainer: Trainer) -> str:
    last: dict[str, float] = {}
    for _, values in trainer.history:
        last |= values
    return f"{trainer.step:,} iterations, " + ", ".join(f"{name} {value:.4g}" for name, value in last.items())


def _features(trainer: Trainer) -> str:
    return trainer.losses.features.description if trainer.losses.features is not None else "none"
