"""The recipes against each other: one budget, the same drawn people, several seeds, one table and one picture.

`python -m pipeline ablation` runs one DVC experiment a recipe and seed, beside the workspace, and writes the means
of their metrics as a Markdown table, and what each recipe drew for the same pairs as a picture. An experiment that is
there already is not run again, so a stopped ablation goes on where it was.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import pandas as pd
import PIL.Image
import yaml

from pipeline.ablation.results import (
    FACTS,
    Experiment,
    budget,
    markdown,
    read_experiment,
    read_pictures,
    reader,
    row_title,
    summarise,
    value_of,
)
from pipeline.evaluate.album import Pictures
from pipeline.repository import place_in_git, unknown_to_git
from posegan.config import load_params
from posegan.errors import PoseGANError
from posegan.files import atomic_path, write_atomically
from posegan.pictures import image_grid
from posegan.places import OUTPUT, PlacedCommand

PEOPLE_SHOWN = 6
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


@click.command(cls=PlacedCommand)
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
@click.option("--out", type=OUTPUT, default=Path("reports/ablation.md"), show_default=True, help="Table to write.")
@click.option("--grid", type=OUTPUT, default=Path("reports/ablation.png"), show_default=True, help="Picture to write.")
def ablation(
    recipes: str, seeds: int, identities: int, iterations: int, changes: tuple[str, ...], name: str, out: Path, grid: Path
) -> None:
    """Train every recipe with the same budget on a larger drawn set, and compare them in a table and a picture.

    The picture shows what each recipe's first seed drew for the first judged pair of each of the first six people.
    """
    place_in_git()  # now, and not when the first training has ended
    known = list(load_params(Path("params.yaml")).recipes)
    runs = plan(recipes.split(",") if recipes else known, known, seeds, name)
    shared = [
        "dataset.source=sample",
        f"dataset.sample.train_identities={identities}",
        f"dataset.sample.test_identities={max(identities // 5, 1)}",
        f"train.iterations={iterations}",
        *changes,
    ]
    brought = [f"--copy-paths={path}" for path in unknown_to_git(Path())]  # such as data/weights: the copy has what git has
    present = set(_dvc("exp", "list", "--name-only", "--all-commits").split())
    for number, run in enumerate(runs, 1):
        click.echo(f"ablation: {number} of {len(runs)}: {run.name}{' is there' if run.name in present else ''}")
        if run.name not in present:
            settings = [part for change in (*shared, *run.overrides) for part in ("-S", change)]
            _dvc("exp", "run", "--temp", "--name", run.name, *brought, *settings, shown=True)
    write_comparison(runs, shared, out, grid)


def write_comparison(runs: Sequence[Run], shared: Sequence[str], out: Path, grid: Path) -> None:
    """Write the table and the picture of runs that are there, all seeds in the one and the first in the other.

    Raises:
        PoseGANError: a run has another budget or judged other pairs, or its results are not in DVC's cache.
    """
    readers = [reader(run.name) for run in runs]
    experiments = [read_experiment(read) for read in readers]
    facts = [f"{key}={value_of(experiments[0].params, key)}" for key in FACTS]
    for run, experiment in zip(runs, experiments, strict=True):
        check_budget(run.name, experiment, [*shared, *run.overrides, *facts])
        check_pairs(run.name, experiment, experiments[0])
    titles = [row_title(run.recipe, experiment) for run, experiment in zip(runs, experiments, strict=True)]
    first = [number for number, run in enumerate(runs) if run.seed == 0]
    below = budget(len(first), len(runs) // len(first), experiments, shared)
    table = markdown(summarise(titles, [experiment.metrics for experiment in experiments]), below)
    write_atomically(out, table)
    click.echo(table)
    albums = [read_pictures(readers[number]) for number in first]
    with atomic_path(grid) as temporary:
        draw_grid([titles[number] for number in first], albums, experiments[0].pairs, PEOPLE_SHOWN).save(temporary, "PNG")
    click.echo(f"ablation: wrote {out} and {grid}")


def plan(recipes: Sequence[str], known: Sequence[str], seeds: int, name: str) -> list[Run]:
    """All runs, every recipe with its first seed before any with its second.

    Raises:
        PoseGANError: a recipe is not among the `known` ones.
    """
    for recipe in recipes:
        if recipe not in known:
            raise PoseGANError(f"--recipes: {recipe!r} is none of params.yaml's: {', '.join(known)}")
    return [Run(recipe, seed, f"{name}-{recipe}-{seed}") for seed in range(seeds) for recipe in recipes]


def check_budget(name: str, experiment: Experiment, changes: Sequence[str]) -> None:
    """Make sure that an experiment ran with `changes`, each KEY=VALUE.

    Raises:
        PoseGANError: it ran with other values, as one of an earlier ablation may have.
    """
    for key, _, text in (change.partition("=") for change in changes):
        value = value_of(experiment.params, key)
        if value != yaml.safe_load(text):
            raise PoseGANError(f"experiment {name} ran with {key}={value}, not {text}; take another --name, or `dvc exp remove {name}`")


def check_pairs(name: str, experiment: Experiment, first: Experiment) -> None:
    """Make sure that an experiment judged the pairs of the first one, in their order.

    Raises:
        PoseGANError: it judged others.
    """
    if not experiment.pairs.equals(first.pairs):
        raise PoseGANError(
            f"experiment {name} judged other pairs than the first ({len(experiment.pairs):,} and {len(first.pairs):,}); "
            f"take another --name, or `dvc exp remove {name}`"
        )


def _dvc(*arguments: str, shown: bool = False) -> str:
    """Run dvc in this environment; its output, which `shown` lets through to the terminal instead."""
    environment = {**_IDENTITY, **os.environ}
    result = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], env=environment, text=True, check=False, stdout=None if shown else subprocess.PIPE
    )
    if result.returncode:
        raise PoseGANError(f"dvc {' '.join(arguments[:2])} failed with exit code {result.returncode}; its message is above")
    return result.stdout or ""


def draw_grid(titles: Sequence[str], albums: Sequence[Pictures], pairs: pd.DataFrame, people: int) -> PIL.Image.Image:
    """A row a pair: source, target pose, what each recipe generated, real.

    The pairs are the first one of each of the first so many people in the evaluation's list, which is ordered by person:
    chosen by their place, whatever was drawn for them.

    Args:
        titles: over each recipe's column.
        albums: of each recipe, over the same pairs.
        pairs: those pairs, with columns source, target, identity.
        people: rows, fewer where fewer people were judged.
    """
    rows = []
    for number in first_pairs(pairs, people):
        source, target = pairs["source"].iloc[number], pairs["target"].iloc[number]
        one, pose, first, real = albums[0].row(number, source, target)
        rows.append([one, pose, first, *(album.generated(number) for album in albums[1:]), real])
    return image_grid(rows, ("source", "target pose", *titles, "real"))


def first_pairs(pairs: pd.DataFrame, people: int) -> list[int]:
    """The row of the first pair of each of the first `people` identities."""
    return [int(row) for row in (~pairs["identity"].duplicated()).to_numpy().nonzero()[0][:people]]
