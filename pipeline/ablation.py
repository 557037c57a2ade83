"""The recipes against each other: one budget, the same drawn people, several seeds, one table.

`python -m pipeline ablation` runs one DVC experiment a recipe and seed, beside the workspace, and writes the means
of their metrics as a Markdown table. An experiment that is there already is not run again, so a stopped ablation
goes on where it was.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml

from posegan.config import load_params
from posegan.errors import PoseGANError
from posegan.files import write_atomically

COLUMNS = {"ssim": "SSIM ↑", "mask_ssim": "mask-SSIM ↑", "l1": "L1 ↓", "pck": "PCK ↑", "ds": "DS ↑"}
Summary = Mapping[str, tuple[float, float]]  # metric -> mean, half the range
# `dvc exp run` commits: where git knows nobody, it is nobody who does.
_IDENTITY = {
    f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "posegan"), ("EMAIL", "posegan@localhost"))
}


class Run(NamedTuple):
    """One experiment: a recipe, trained with a seed."""

    recipe: str
    seed: int
    name: str  # of the DVC experiment

    @property
    def overrides(self) -> list[str]:
        """What params.yaml is changed to, beside what all runs share."""
        return [f"recipe={self.recipe}", f"train.seed={self.seed}"]


class Experiment(NamedTuple):
    """What DVC knows of an experiment."""

    metrics: Mapping[str, float]  # metrics.json
    params: Mapping[str, Any]  # params.yaml, nested


@click.command()
@click.option("--recipes", default="", help="Which of params.yaml's recipes, as a,b,c.  [default: all]")
@click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Trainings a recipe, with train.seed 0, 1, ...")
@click.option(
    "--identities", type=click.IntRange(min=2), default=500, show_default=True, help="Drawn train identities; a fifth as many for test."
)
@click.option("--iterations", type=click.IntRange(min=1), default=1000, show_default=True, help="Of each training.")
@click.option(
    "-S", "--set-param", "changes", multiple=True, metavar="KEY=VALUE", help="Any other parameter, for all runs; may be repeated."
)
@click.option("--name", default="ablation", show_default=True, help="Beginning of the experiments' names; a new budget wants a new one.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports/ablation.md"), show_default=True, help="Table to write.")
def ablation(recipes: str, seeds: int, identities: int, iterations: int, changes: tuple[str, ...], name: str, out: Path) -> None:
    """Train every recipe with the same budget on a larger drawn set, and compare them in a table."""
    known = list(load_params(Path("params.yaml")).recipes)
    runs = plan(recipes.split(",") if recipes else known, known, seeds, name)
    shared = [
        "dataset.source=sample",
        f"dataset.sample.train_identities={identities}",
        f"dataset.sample.test_identities={max(identities // 5, 1)}",
        f"train.iterations={iterations}",
        *changes,
    ]
    present = set(_dvc("exp", "list", "--name-only", "--all-commits").split())
    for number, run in enumerate(runs, 1):
        click.echo(f"ablation: {number} of {len(runs)}: {run.name}{' is there' if run.name in present else ''}")
        if run.name not in present:
            settings = [part for change in (*shared, *run.overrides) for part in ("-S", change)]
            _dvc("exp", "run", "--temp", "--name", run.name, *settings, shown=True)
    experiments = read_experiments(json.loads(_dvc("exp", "show", "--json", "--all-commits")))
    for run in runs:
        check_budget(run.name, experiments[run.name], [*shared, *run.overrides])
    table = markdown(summarise(runs, [experiments[run.name].metrics for run in runs]), shared)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, table.encode())
    click.echo(table)
    click.echo(f"ablation: wrote {out}")


def plan(recipes: Sequence[str], known: Sequence[str], seeds: int, name: str) -> list[Run]:
    """All runs, every recipe with its first seed before any with its second.

    Raises:
        PoseGANError: a recipe is not among the `known` ones.
    """
    for recipe in recipes:
        if recipe not in known:
            raise PoseGANError(f"--recipes: {recipe!r} is none of params.yaml's: {', '.join(known)}")
    return [Run(recipe, seed, f"{name}-{recipe}-{seed}") for seed in range(seeds) for recipe in recipes]


def summarise(runs: Sequence[Run], metrics: Sequence[Mapping[str, float]]) -> dict[str, Summary]:
    """Mean and half the range over the seeds, by recipe; floor and ceiling are the last.

    Args:
        runs: as from `plan`.
        metrics: metrics.json of each run; a metric that one run of a recipe lacks, the recipe lacks.
    """
    by_recipe: dict[str, list[Mapping[str, float]]] = {}
    for run, values in zip(runs, metrics, strict=True):
        by_recipe.setdefault(run.recipe, []).append(values)
    table = {recipe: _summary(found, "") for recipe, found in by_recipe.items()}
    return {**table, "copy the source": _summary(metrics, "copy_"), "the real target": _summary(metrics, "real_")}


def _summary(found: Sequence[Mapping[str, float]], prefix: str) -> Summary:
    summary = {}
    for metric in COLUMNS:
        values = [each.get(prefix + metric) for each in found]
        present = [value for value in values if value is not None]
        if len(present) == len(values):
            summary[metric] = (statistics.fmean(present), (max(present) - min(present)) / 2)
    return summary


def markdown(table: Mapping[str, Summary], shared: Sequence[str]) -> str:
    """The means as a Markdown table, `mean ± half the range`, with what all runs share below it."""
    metrics = [metric for metric in COLUMNS if any(metric in summary for summary in table.values())]
    lines = ["| | " + " | ".join(COLUMNS[metric] for metric in metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    lines += [f"| {title} | " + " | ".join(_cell(summary.get(metric)) for metric in metrics) + " |" for title, summary in table.items()]
    return "\n".join([*lines, "", "All runs: " + ", ".join(f"`{change}`" for change in shared) + ".", ""])


def _cell(number: tuple[float, float] | None) -> str:
    if number is None:
        return "-"
    mean, spread = number
    return f"{mean:.3f}" + (f" ± {spread:.3f}" if spread >= 0.0005 else "")


def read_experiments(listing: Any) -> dict[str, Experiment]:
    """Every experiment by its name, out of what `dvc exp show --json` prints."""
    found: dict[str, Experiment] = {}
    for baseline in listing:
        for each in baseline["experiments"] or []:
            data = each["revs"][0]["data"]
            files = {**(data["metrics"] or {}), **(data["params"] or {})}
            found[each["name"]] = Experiment(*(files.get(file, {}).get("data") or {} for file in ("metrics.json", "params.yaml")))
    return found


def check_budget(name: str, experiment: Experiment, changes: Sequence[str]) -> None:
    """Make sure that an experiment ran with `changes`, each KEY=VALUE.

    Raises:
        PoseGANError: it ran with other values, as one of an earlier ablation may have.
    """
    for key, _, text in (change.partition("=") for change in changes):
        value: Any = experiment.params
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value != yaml.safe_load(text):
            raise PoseGANError(f"experiment {name} ran with {key}={value}, not {text}; take another --name, or `dvc exp remove {name}`")


def _dvc(*arguments: str, shown: bool = False) -> str:
    """Run dvc in this environment; its output, which `shown` lets through to the terminal instead."""
    environment = {**_IDENTITY, **os.environ}
    result = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], env=environment, text=True, check=False, stdout=None if shown else subprocess.PIPE
    )
    if result.returncode:
        raise PoseGANError(f"dvc {' '.join(arguments[:2])} failed with exit code {result.returncode}; its message is above")
    return result.stdout or ""
