"""`python -m lessons NAME`: run one lesson, make the data, or run all lessons with three seeds for a table of means."""

import importlib
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import click

from lessons.data import Kind, Source, load, obtain, save
from posegan.cli import ProgramGroup
from posegan.config import parse_section, read_values
from posegan.errors import PoseGANError
from posegan.files import atomic_folder, contents, note, noted, write_atomically
from posegan.places import FILE, WORKING_FOLDER

HERE = Path(__file__).parent
LESSONS: dict[str, str] = {
    "lesson1": "lessons.lesson1_numpy_network",
    "lesson2": "lessons.lesson2_optimisers",
    "lesson3": "lessons.lesson3_pytorch_digits",
    "lesson4": "lessons.lesson4_objects_cnn",
    "lesson5": "lessons.lesson5_gan",
    "lesson6": "lessons.lesson6_conditional_gan",
}
KINDS: tuple[Kind, ...] = ("digits", "objects")
READER = ("lesson3", "lesson5", "lesson6")  # the first leaves a CNN that reads digits, the others have it read what they draw
TABLE_SEEDS = (0, 1, 2)

_PARAMS = click.option("--params", "params_path", type=FILE, default=HERE / "params.yaml", help="Parameters.")
_DATA = click.option("--data", "data_folder", type=WORKING_FOLDER, default=HERE / "data", help="Folder of digits.npz and objects.npz.")
_RESULTS = click.option("--results", type=WORKING_FOLDER, default=HERE / "results", help="Folder that gets a folder a lesson.")


@click.group(cls=ProgramGroup)
def cli() -> None:
    """The six lessons of docs/lessons.md. `make lessons` runs them all."""


@cli.command()
@_PARAMS
@_DATA
def data(params_path: Path, data_folder: Path) -> None:
    """Draw, fetch or read the pictures that the lessons learn from."""
    values = sections(params_path)
    for kind in KINDS:
        source = parse_section(Source, values[kind], f"{params_path}: {kind}")
        images = obtain(kind, source)
        save(images, data_folder / f"{kind}.npz")
        click.echo(f"{kind}: {len(images.train)} to learn from, {len(images.test)} to judge on ({source.source})")


@cli.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice(list(LESSONS)))
@_PARAMS
@_DATA
@_RESULTS
def run(names: tuple[str, ...], params_path: Path, data_folder: Path, results: Path) -> None:
    """Run lessons and write their numbers, curves and pictures."""
    values = sections(params_path)
    for name in names:
        metrics = run_lesson(name, values, values["seed"], str(params_path), data_folder, results)
        click.echo(f"{name}: {', '.join(f'{key} {value:.4g}' for key, value in metrics.items())}; see {results / name}")


@cli.command()
@_PARAMS
@_DATA
@_RESULTS
def table(params_path: Path, data_folder: Path, results: Path) -> None:
    """Run every lesson with three seeds; print means and ranges, and write them to table.md."""
    values = sections(params_path)
    lines = [f"| lesson | number | mean of seeds {', '.join(map(str, TABLE_SEEDS))} | range |", "|---|---|---|---|"]
    for name in LESSONS:
        measured = []
        for seed in TABLE_SEEDS:
            measured.append(run_lesson(name, values, seed, str(params_path), data_folder, results / f"seed-{seed}"))
            click.echo(f"{name}, seed {seed}: {measured[-1]['seconds']:.0f} s", err=True)
        for key in measured[0]:
            numbers = [metrics[key] for metrics in measured]
            lines.append(f"| {name} | {key} | {statistics.mean(numbers):.4g} | {max(numbers) - min(numbers):.2g} |")
    write_atomically(results / "table.md", "\n".join(lines) + "\n")
    click.echo("\n".join(lines))


def sections(params_path: Path) -> dict[str, Any]:
    """The file's sections, all there and no others; what stands in them is checked where it is used."""
    values, expected = read_values(params_path), {"seed", *KINDS, *LESSONS}
    if not isinstance(values, dict) or set(values) != expected:
        got = sorted(map(str, values)) if isinstance(values, dict) else type(values).__name__
        raise PoseGANError(f"{params_path}: expected the sections {', '.join(sorted(expected))}, got {got}")
    if type(values["seed"]) is not int or not 0 <= values["seed"] < 2**31:
        raise PoseGANError(f"{params_path}: seed: expected a whole number from 0, got {values['seed']!r}")
    return values


def run_lesson(name: str, values: dict[str, Any], seed: int, origin: str, data_folder: Path, results: Path) -> dict[str, float]:
    """Run one lesson into `results/name`: pictures/, and metrics.json with its numbers and `seconds` of processor time.

    Raises:
        PoseGANError: its settings or the data cannot be used, or that folder holds something that no lesson wrote.
    """
    lesson = importlib.import_module(LESSONS[name])
    settings = parse_section(lesson.Settings, values[name], f"{origin}: {name}")
    images = load(data_folder / ("objects.npz" if name == "lesson4" else "digits.npz"))
    with atomic_folder(results / name, noted) as out:  # anew: pictures of an earlier, longer run would stay among the new ones
        before = _processor_seconds()
        reader = ((out if name == READER[0] else results / READER[0]) / "cnn.safetensors",) if name in READER else ()
        metrics: dict[str, float] = {
            key: round(value, 4) for key, value in lesson.run(images, settings, seed, out / "pictures", *reader).items()
        }
        metrics["seconds"] = round(_processor_seconds() - before, 1)
        write_atomically(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
        note(out, contents(out))
    return metrics


def _processor_seconds() -> float:
    return os.times().user


if __name__ == "__main__":
    sys.exit(cli(prog_name="python -m lessons"))
