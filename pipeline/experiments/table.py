"""The recipes' metrics as a Markdown table that says what was measured on what."""

import statistics
from collections.abc import Mapping, Sequence

from pipeline.experiments.results import Experiment, has_random_filters, value_of

COLUMNS = {
    "ssim": "SSIM ↑",
    "mask_ssim": "mask-SSIM ↑",
    "l1": "L1 ↓",
    "lpips": "LPIPS ↓",
    "lpips_random_filters": "LPIPS' stand-in, random filters ↓",
    "pck": "PCK ↑",
    "ds": "DS ↑",
}
# What is said below the table about all runs, and so has to be the same in all.
FACTS = (
    "dataset.sample.train_identities", "dataset.sample.test_identities", "image.height", "image.width",
    "model.generator_channels", "model.discriminator_channels", "train.iterations", "train.batch_size",
)  # fmt: skip
Summary = Mapping[str, tuple[float, float]]  # metric -> mean, half the range
_RANDOM = "random filters"


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
    return {**table, "copy the source": _summary(metrics, "copy_"), "the real target": _summary(metrics, "real_")}


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
