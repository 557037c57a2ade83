"""`python -m pipeline.generators train NAME` makes a shipped generator again; `measure` tells how good one is."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from pipeline.generators.card import figures, pack, save_mean, write_card
from pipeline.generators.plans import PLANS, Changes, Market, changed, data_of
from posegan.cli import ProgramGroup
from posegan.errors import PoseGANError
from posegan.files import atomic_path, sha256_of, write_atomically
from posegan.inference.shipped import CARD, FOLDER, GENERATOR
from posegan.model.generator_file import DISCRIMINATOR
from posegan.places import FILE, WORKING_FOLDER

ROOT = Path(__file__).parents[2]
DATA = ("download", "pose", "pair", "shard")
_SHIPPED_DETECTOR = "the detector that comes with the program"

_Command = Callable[..., Any]


def _options(command: _Command) -> _Command:
    options = [
        click.argument("name", type=click.Choice(list(PLANS))),
        click.option(
            "--work", type=WORKING_FOLDER, default=Path("build/generators"), show_default=True, help="Folder for data, states and reports."
        ),
        click.option("--real", type=FILE, help="Market-1501's zip, whole or in part."),
        click.option("--annotations", type=FILE, help="Folder of the published market-annotation-train.csv and -test.csv."),
        click.option("--pairs", type=FILE, help="List of real test pairs.  [default: market-pairs-test.csv in that folder]"),
        click.option(
            "--vgg", type=FILE, help="VGG-19's weights for stretches that look at features.  [default: torchvision's official ones]"
        ),
        click.option("--judge", default="", help="Weights of the detector behind DS and PCK of real people.  [default: the shipped ones]"),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=ProgramGroup)
def main() -> None:
    """Train or measure the generators that ship with the project."""


@main.command()
@_options
@click.option(
    "--trained",
    type=FILE,
    multiple=True,
    help="Take the finished training in this folder (params.yaml, models/) as a last stretch; in order.",
)
def train(
    name: str, work: Path, real: Path | None, annotations: Path | None, pairs: Path | None, vgg: Path | None, judge: str,
    trained: tuple[Path, ...],
) -> None:  # fmt: skip
    """Train the generator NAME by the pipeline's own stages, pack it into posegan/generators/, and measure it.

    Stopped, the same command goes on. Market-1501 is for research only: so is what `real` makes of it.
    """
    market = _market(real, annotations, pairs, judge, vgg)
    plan = PLANS[name]
    stretches = [_sections(changed(_params(), stretch)) for stretch in plan.stretches]
    if trained:
        if len(trained) > len(stretches):
            raise PoseGANError(f"--trained: expected up to {len(stretches)} folders, one a stretch, got {len(trained)}")
        done = [_sections(yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))) for folder in trained]
        stretches = [*_shipped_stretches(name, stretches)[: -len(done)], *done]
        starts = [Path(stretch["train"]["initial"]).parent for stretch in done if stretch["train"]["initial"]]
        ends = [*starts, trained[-1] / "models"]
        if len(ends) < plan.averaged[-1]:
            raise PoseGANError(f"--trained: the mean is one of {plan.averaged[-1]} weights, and these folders have {len(ends)}; name more")
    else:
        folder = work / f"train-{name}"
        prepare(folder, data_of(name, market))
        ends = train_stretches(folder, stretches, plan.averaged)
    pack(name, ends[-plan.averaged[-1] :], FOLDER / name, stretches)
    measure_all(name, work, market)


@main.command()
@_options
def measure(name: str, work: Path, real: Path | None, annotations: Path | None, pairs: Path | None, vgg: Path | None, judge: str) -> None:
    """Judge the shipped generator NAME on drawn test people, and on real ones where --real names them; write its card."""
    measure_all(name, work, _market(real, annotations, pairs, judge, vgg))


def train_stretches(folder: Path, stretches: Sequence[dict[str, dict[str, Any]]], averaged: Sequence[int]) -> list[Path]:
    """Train in `folder` with each stretch's sections in turn, from what the one before came to; gives the folders of their models.

    A stretch comes to the mean of `averaged` weights, as `Plan` has it; the last one's folder holds its end alone. The sections
    `train` are given the address of what they start from.
    """
    ends: list[Path] = []
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    for number, (stretch, count) in enumerate(zip(stretches, averaged, strict=True), 1):
        if ends:
            start = ends[-1] / GENERATOR
            stretch["train"].update(initial=str(start.absolute()), initial_sha256=sha256_of(start))
        write_atomically(folder / "params.yaml", yaml.safe_dump({**params, **stretch}, sort_keys=False))
        run(folder, "train")
        ends.append(folder / f"stretch-{number}")
        for name in (GENERATOR, DISCRIMINATOR):
            with atomic_path(ends[-1] / name) as temporary:
                shutil.copyfile(folder / "models" / name, temporary)
        if count > 1 and number < len(stretches):
            save_mean(ends[-1] / GENERATOR, [end / GENERATOR for end in ends[-count:]])
    return ends


def measure_all(name: str, work: Path, market: Market | None) -> None:
    """Measure on each kind of test pairs that is at hand, and write the card; figures of a kind that is not stay."""
    card = json.loads((FOLDER / name / "card.json").read_text(encoding="utf-8"))
    measured = dict(card["measured"])
    for kind in ("drawn", *(["real"] if market else [])):
        folder = work / f"judge-{kind}"
        prepare(folder, data_of(kind, market))
        report = Path("reports") / name
        run(
            folder, "evaluate", "--model", str((FOLDER / name / GENERATOR).absolute()), "--report", str(report), "--metrics", f"{name}.json"
        )
        detector = Path(market.judge).stem if kind == "real" and market and market.judge else _SHIPPED_DETECTOR
        measured[kind] = figures(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), detector)
    write_card(FOLDER / name, {"measured": measured})
    click.echo(f"generators: wrote {FOLDER / name}; {FOLDER / 'README.md'} has the figures")


def prepare(folder: Path, changes: Changes) -> None:
    """Write params.yaml into `folder` and run the stages up to the shards, unless that was done with the same values."""
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(changed(_params(), changes), sort_keys=False)
    path, done = folder / "params.yaml", folder / "data.done"
    if not (done.is_file() and done.read_text(encoding="utf-8") == text):
        write_atomically(path, text)
        for stage in DATA:
            run(folder, stage)
        write_atomically(done, text)


def run(folder: Path, stage: str, *arguments: str) -> None:
    """Run a stage in `folder`.

    Raises:
        PoseGANError: it failed; its own message is above.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    line = [sys.executable, "-m", "pipeline", stage, *arguments]
    if code := subprocess.run(line, cwd=folder, env=environment, check=False).returncode:
        raise PoseGANError(f"{stage} in {folder} failed with exit code {code}; its message is above")


def _sections(params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: dict(params[name]) for name in ("train", "loss")}


def _shipped_stretches(name: str, planned: Sequence[dict[str, dict[str, Any]]]) -> list[dict[str, dict[str, Any]]]:
    """The sections that the shipped generator's stretches had, and the plan's where it had fewer."""
    path = FOLDER / name / CARD
    card = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"train": [], "loss": []}
    had = [{"train": train, "loss": loss} for train, loss in zip(card["train"], card["loss"], strict=True)]
    return [*had[: len(planned)], *planned[len(had) :]]


def _params() -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return params


def _market(real: Path | None, annotations: Path | None, pairs: Path | None, judge: str, vgg: Path | None) -> Market | None:
    if (real is None) != (annotations is None):
        raise PoseGANError("--real and --annotations belong together: the zip of Market-1501 and the folder of its published joints")
    return None if real is None or annotations is None else Market(real, annotations, pairs, judge, vgg).checked()
