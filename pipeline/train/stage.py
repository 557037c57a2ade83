"""Stage train: the generator and the discriminator, from the shards to `models/generator.safetensors`."""

import contextlib
import copy
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click
import torch
from torch import nn
from tqdm import tqdm

from pipeline.stage_code import hash_of, stage_code
from pipeline.train.board import FOLDER as BOARD
from pipeline.train.board import Board, check_installed
from pipeline.train.lock import alone
from pipeline.train.logs import Logs, SampleFolder, log_files, open_live, sample_files
from pipeline.train.model_card import LEFT_OUT, counts, model_card, trained_on
from pipeline.unchanged import StageCommand
from posegan.cli import INTERRUPTED, params_option
from posegan.config import Params, load_params
from posegan.data.index import CACHE, ShardIndex
from posegan.device import keep_freed_memory
from posegan.files import check_replaceable, write_atomically
from posegan.model.generator_file import DISCRIMINATOR, save_generator
from posegan.places import OUTPUT, OUTPUT_FOLDER, WORKING_FOLDER
from posegan.training import data as training_data
from posegan.training import loop
from posegan.training.checkpoints import CheckpointFolder
from posegan.training.data import open_training_data
from posegan.training.initial import DISCRIMINATOR_SHA256, save_discriminator
from posegan.training.loop import StoppedError
from posegan.training.progress import LossRecord
from posegan.training.ranks import joined
from posegan.training.run_name import passed_over, record_run, run_content, run_name
from posegan.training.state import TrainingState


@click.command(cls=StageCommand)
@params_option()
@click.option(
    "--shards", default="data/shards", show_default=True, help="Folder of the shard stage, or the address of a copy (https://, s3://)."
)
@click.option(
    "--out", type=OUTPUT, default=Path("models/generator.safetensors"), show_default=True, help="Generator to write (EMA weights)."
)
@click.option(
    "--best",
    type=OUTPUT,
    default=Path("models/best/generator.safetensors"),
    show_default=True,
    help="The same, of the highest val_quality.",
)
@click.option("--card", type=OUTPUT, default=Path("models/generator.md"), show_default=True, help="Model card to write.")
@click.option("--live", type=OUTPUT_FOLDER, default=Path("dvclive"), show_default=True, help="Folder for DVCLive's metrics.")
@click.option("--samples", type=OUTPUT_FOLDER, default=Path("reports/samples"), show_default=True, help="Folder for sample grids.")
@click.option(
    "--state", type=WORKING_FOLDER, default=Path("state"), show_default=True, help="Folder for the state that a stopped run resumes from."
)
@click.option("--cache", type=WORKING_FOLDER, default=CACHE, show_default=True, help="Folder for shards fetched from an address.")
def train(params_path: Path, shards: str, out: Path, best: Path, card: Path, live: Path, samples: Path, state: Path, cache: Path) -> None:
    """Train the generator and the discriminator (parameters: image, model, loss, features, train).

    Stopped at any moment, by Ctrl-C, a kill or a power cut, the same command goes on from the last saved state
    and ends where an uninterrupted run would have ended. A finished run is only exported again. After SIGTERM
    the state is saved and the exit code is 0; after Ctrl-C it is 130, and under DVC 1, as the outputs are not there.
    """
    started = time.monotonic()
    keep_freed_memory()
    with joined() as ranks, stop_on_signals() as stop, contextlib.ExitStack() as held:
        check_replaceable(live, log_files)  # now, and not when the data was read
        check_replaceable(samples, sample_files)
        if ranks.is_first:
            held.enter_context(alone(state))
        params = load_params(params_path)
        if params.train.tensorboard:
            check_installed()
        data, shards_sha256 = open_training_data(shards, params, cache, rank=ranks.rank, world_size=ranks.world_size)
        content = run_content(params, shards_sha256, hash_of(training_code()))
        folder = state / run_name(content)
        checkpoints = CheckpointFolder(folder, params.train.keep_checkpoints)
        run = loop.start(params, data, checkpoints, ranks.choose_device(params.train.device), ranks)
        if ranks.is_first:
            _announce(run, passed_over(state, content))
            record_run(folder, content)
        try:
            if not ranks.is_first:
                for _ in loop.train(run, stop):
                    pass
                return
            board = held.enter_context(contextlib.closing(Board(folder / BOARD, content))) if params.train.tensorboard else None
            speed = follow(run, Logs(open_live(live), SampleFolder(samples, folder / "samples", run.state.step), board), stop)
        except StoppedError as stopped:
            if "DVC_STAGE" in os.environ:  # with 0, DVC would take the stage for done and complain of its outputs
                raise
            if ranks.is_first:
                click.echo(f"train: {stopped}")
            raise SystemExit(INTERRUPTED if stop.number == signal.SIGINT else 0) from None
        left_out = data.left_out(run.state.skipped)
        if left_out:
            click.echo(f"train: left out {left_out.summary()}")
        judge = save_discriminator(out.with_name(DISCRIMINATOR), run.state.discriminator, params.model)
        index = ShardIndex.load(shards, cache)
        origin = provenance(params, shards_sha256, _features(run)) | {DISCRIMINATOR_SHA256: judge, "trained_on": trained_on(index)}
        if left_out:
            origin[LEFT_OUT] = left_out.summary()
        save_generator(out, run.state.ema, params.model, params.image, origin | {"step": str(run.state.step)})
        step, generator = _best(run.state)
        save_generator(best, generator, params.model, params.image, origin | {"step": str(step)})
        files = {_from(card.parent, path): made for path, made in ((out, run.state.step), (best, step))}
        write_atomically(card, model_card(params, origin, counts(index), run.state.history, files))
    click.echo(f"train: {_summary(run.state)}; {speed}{time.monotonic() - started:.1f} s; wrote {out}")


def training_code() -> list[Path]:
    """What decides the weights; not how a run is logged, exported and described, which a finished run does again in seconds."""
    return stage_code(loop.__name__, training_data.__name__)


def _from(folder: Path, path: Path) -> str:
    """The way from a folder to a file, with slashes; the file's own on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return path.as_posix()


def _best(state: TrainingState) -> tuple[int, nn.Module]:
    """The generator that validation liked most and its step; without validation the last one."""
    if state.best is None:
        return state.step, state.ema
    generator = copy.deepcopy(state.ema)
    generator.load_state_dict(state.best.weights)
    return state.best.step, generator


def _announce(run: loop.Run, others: str) -> None:
    if not run.data.validation:
        click.echo("train: the split val holds no pair that can be read: nothing is validated, and the samples show training pairs")
    if run.began:
        click.echo(f"train: {run.began}")
    if run.losses.features is not None:
        click.echo(f"train: the feature losses look through {_features(run)}")
    if run.ranks.world_size > 1:
        click.echo(f"train: {run.ranks.world_size} processes share each batch of {run.params.train.batch_size} pairs")
    if not run.state.step and others:
        click.echo(f"train: {others}")
    if run.state.step:
        click.echo(f"train: goes on from step {run.state.step} of {run.params.train.iterations}, found in {run.checkpoints.folder}")


def follow(run: loop.Run, logs: Logs, stop: threading.Event) -> str:
    """Train to the end with a progress bar, and log what happens.

    Returns the mean speed as words for the summary. Speed is shown and not logged: the logs of
    two runs of one seed are equal, so DVC sees equal outputs.
    """
    logs.repeat(run.state.history)
    speeds: list[float] = []
    iterations = run.params.train.iterations
    bar = tqdm(total=iterations, initial=run.state.step, desc="train", unit="step", mininterval=0.5, disable=None)
    with bar:
        for record in loop.train(run, stop):
            logs.write(record)
            if isinstance(record, LossRecord):
                speeds.append(record.images_per_second)
                bar.update(record.step - bar.n)
                bar.set_postfix_str(_line(record))
    logs.end()
    return f"{sum(speeds) / len(speeds):.0f} images/s; " if speeds else ""


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
        "recipe": params.recipe,
        "loss": params.loss.model_dump_json(),
        "initial_sha256": params.train.initial_sha256 or "none",
        "features": features,
        "shards_sha256": shards_sha256,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _line(record: LossRecord) -> str:
    losses = ", ".join(f"{name} {value:.3g}" for name, value in record.values.items())
    return f"{losses}, {record.images_per_second:.0f} images/s, {record.waiting:.0%} waiting"


def _summary(state: TrainingState) -> str:
    last: dict[str, float] = {}
    for _, values in state.history:
        last |= values
    return f"{state.step:,} iterations, " + ", ".join(f"{name} {value:.4g}" for name, value in last.items())


def _features(run: loop.Run) -> str:
    return run.losses.features.description if run.losses.features is not None else "none"
