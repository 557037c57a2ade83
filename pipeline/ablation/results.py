"""What DVC experiments left, read by their names from git and DVC's cache, and the recipes' metrics as a Markdown table.

The workspace stays as it is; the table says what was measured on what.
"""

import io
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import yaml
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException

from pipeline.evaluate.album import Pictures
from pipeline.evaluate.metrics import FOR_PEOPLE
from pipeline.repository import place_in_git
from posegan.errors import PoseGANError
from posegan.recipes import FROM_RECIPE

Read = Callable[[str], bytes]  # the content of a file, by its path in the project
COLUMNS = {metric.name: f"{metric.heading} {metric.arrow}" for metric in FOR_PEOPLE if metric.headline}
# What is said below the table about all runs, and so has to be the same in all.
FACTS = (
    "dataset.sample.train_identities", "dataset.sample.test_identities", "image.height", "image.width",
    "model.generator_channels", "model.discriminator_channels", "train.iterations", "train.batch_size",
)  # fmt: skip
Summary = Mapping[str, tuple[float, float]]  # metric -> mean, half the range
_RANDOM = "random filters"


class Experiment(NamedTuple):
    """An experiment's numbers, and the pairs that they were taken on."""

    metrics: Mapping[str, Any]  # metrics.json
    params: Mapping[str, Any]  # params.yaml, nested
    pairs: pd.DataFrame  # a row a judged pair: source, target, identity


def reader(name: str) -> Read:
    """Reads the files of an experiment as it ended; asks no network unless a DVC remote is set up and the cache lacks a file.

    Raises:
        PoseGANError: by what it gives: no such experiment, or a file that neither git nor the cache has.
    """
    files = DVCFileSystem(".", rev=name, subrepos=True)
    project = place_in_git()

    def read(path: str) -> bytes:
        try:
            content: bytes = files.cat_file(f"/{project}{path}")
        except (DvcException, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PoseGANError(f"experiment {name}: {path}: {reason}; `dvc exp remove {name}`, then run again") from error
        return content

    return read


def read_experiment(read: Read) -> Experiment:
    """Numbers, parameters and pairs of an experiment."""
    pairs = pd.read_parquet(io.BytesIO(read("reports/evaluation/pairs.parquet")), columns=["source", "target", "identity"])
    return Experiment(json.loads(read("metrics.json")), yaml.safe_load(read("params.yaml")), pairs)


def read_pictures(read: Read) -> Pictures:
    """What was generated for each of its pairs, with the real images.

    Raises:
        PoseGANError: a damaged album.
    """
    return Pictures(io.BytesIO(read("reports/evaluation/pictures.zip")))


def value_of(params: Mapping[str, Any], key: str) -> Any:
    """What stands in params.yaml at `section.key`; None where nothing does."""
    value: Any = params
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def has_random_filters(params: Mapping[str, Any]) -> bool:
    """Whether a loss of this training looks through a VGG-19 whose filters are random."""
    weights = [_decided(params, f"loss.{name}") for name in ("perceptual", "nearest_neighbour")]
    return value_of(params, "features.weights") == "random" and any(weight > 0 for weight in weights)


def _decided(params: Mapping[str, Any], key: str) -> Any:
    """The value of a key, the recipe's where it says `recipe`."""
    value = value_of(params, key)
    return value_of(params, f"recipes.{params['recipe']}.{key}") if value == FROM_RECIPE else value


def row_title(recipe: str, experiment: Experiment) -> str:
    """The recipe, and whether its losses looked through random filters."""
    return f"{recipe} ({_RANDOM})" if has_random_filters(experiment.params) else recipe


def summarise(titles: Sequence[str], metrics: Sequence[Mapping[str, float | None]]) -> dict[str, Summary]:
    """Mean and half the range over the seeds, by title; floor and ceiling are the last.

    Args:
        titles: of each run's row; runs of one row have one title.
        metrics: metrics.json of each run; a metric that one run of a row lacks, the row lacks.
    """
    rows: dict[str, list[Mapping[str, float | None]]] = {}
    for title, values in zip(titles, metrics, strict=True):
        rows.setdefault(title, []).append(values)
    table = {title: _summary(found, "") for title, found in rows.items()}
    given = {"warp the source": "warp_", "copy the source": "copy_", "the real target": "real_"}
    return {**table, **{title: _summary(metrics, prefix) for title, prefix in given.items()}}


def _summary(found: Sequence[Mapping[str, float | None]], prefix: str) -> Summary:
    summary = {}
    for metric in COLUMNS:
        values = [each.get(prefix + metric) for each in found]
        present = [value for value in values if value is not None]
        if len(present) == len(values):
            summary[metric] = (statistics.fmean(present), (max(present) - min(present)) / 2)
    return summary


def markdown(table: Mapping[str, Summary], below: str) -> str:
    """The means as a Markdown table, `mean ± half the range`, and what is said below it."""
    metrics = [metric for metric in COLUMNS if any(metric in summary for summary in table.values())]
    lines = ["| | " + " | ".join(COLUMNS[metric] for metric in metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    lines += [f"| {title} | " + " | ".join(_cell(summary.get(metric)) for metric in metrics) + " |" for title, summary in table.items()]
    return "\n".join([*lines, "", below, ""])


def _cell(number: tuple[float, float] | None) -> str:
    if number is None:
        return "-"
    mean, spread = number
    return f"{mean:.3f}" + (f" ± {spread:.3f}" if spread >= 0.0005 else "")


def budget(recipes: int, seeds: int, experiments: Sequence[Experiment], shared: Sequence[str]) -> str:
    """What was measured on what, in a paragraph of Markdown.

    Args:
        recipes: how many were run.
        seeds: how many runs each had.
        experiments: the runs, of equal FACTS.
        shared: what params.yaml was changed to for all of them, each KEY=VALUE.
    """
    first = experiments[0]
    train, test, height, width, generator, discriminator, iterations, batch = (value_of(first.params, key) for key in FACTS)
    sentences = [
        f"{_counted(recipes * seeds, 'run')}: {_counted(recipes, 'recipe')} with {_counted(seeds, 'seed')} each"
        + (", means ± half the range, where that is 0.001 or more." if seeds > 1 else "."),
        f"Drawn people, {height}x{width} pixels: {train:,} identities to train on, {test:,} held out, of whose pairs {len(first.pairs):,}"
        " are judged, the same for all.",
        f"Each run: {_counted(iterations, 'iteration')} of {_counted(batch, 'pair')}, first level of {generator} channels (generator) and"
        f" {discriminator} (discriminator).",
    ]
    if any(has_random_filters(experiment.params) for experiment in experiments):
        sentences.append(f"({_RANDOM}): the VGG-19 that these losses look through has random filters, not trained ones.")
    return " ".join([*sentences, f"Set for all: {', '.join(f'`{change}`' for change in shared)}."])


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("s" if number != 1 else "")
