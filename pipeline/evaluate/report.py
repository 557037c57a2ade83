"""The report of an evaluation: one HTML page that opens offline, tables, and the pictures behind them.

Nothing here depends on the time of day: equal evaluations give equal bytes.
"""

import csv
import json
import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.evaluate.album import Pictures
from pipeline.evaluate.galleries import STRIP, galleries, strip_maker
from pipeline.evaluate.metrics import FOR_PEOPLE, METHODS, METRICS, Metric
from pipeline.evaluate.scores import Summary, pair_scores
from pipeline.evaluate.slices import Column, pose_change, slice_table, steps, turns
from pipeline.pages.charts import curve, histogram
from pipeline.pages.page import Chart, Section, render_page, shown
from pipeline.pair.rules import Ints
from posegan.config import Params, PoseConfig
from posegan.files import atomic_folder, contents
from posegan.images import Picture
from posegan.model.generator_file import GeneratorCard
from posegan.pictures import image_grid
from posegan.training.samples import GRID_HEADER

_PACKAGES = ("torch", "torchvision", "torchmetrics", "torch-fidelity", "ultralytics-opencv-headless", "numpy", "pillow")
_BINS = np.linspace(0, 1, 41)
FACTS, PAIRS, PICTURES = "facts.json", "pairs.parquet", "pictures.zip"
PAGE, GRID, HISTOGRAM = "index.html", "grid.png", "ssim.csv"


class Evaluation(NamedTuple):
    """All that a report tells."""

    table: pd.DataFrame  # a row a pair
    summary: dict[str, dict[str, float]]  # method -> metric -> value
    pictures: Pictures  # in the order of the table
    card: GeneratorCard | None  # None where the images are another program's
    params: Params
    scores: Summary = Summary({}, {}, {})  # the summary with its intervals, and why numbers are missing
    weights: tuple[tuple[str, str], ...] = ()  # the metrics' networks and their files
    listed: bool = False  # whether somebody listed the pairs; else they were drawn by seed
    detector: PoseConfig | None = None  # that judged; None: the pose stage's


def write_report(folder: Path, evaluation: Evaluation, live: Path) -> None:
    """Write index.html, grid.png, pairs.parquet, pictures.zip, facts.json and ssim.csv into `folder`, all or nothing.

    `live` holds DVCLive's logs; without them the page says that there are no curves.
    """
    with atomic_folder(folder, report_files) as temporary:
        rows = [_row(evaluation, int(number)) for number in random_pairs(evaluation)]
        image_grid(rows, GRID_HEADER).save(temporary / GRID)
        pq.write_table(pa.Table.from_pandas(evaluation.table, preserve_index=False), temporary / PAIRS, compression="zstd")
        ssim_histogram(evaluation.table).to_csv(temporary / HISTOGRAM, index=False, lineterminator="\n")
        evaluation.pictures.save(temporary / PICTURES)
        told = {"facts": dict(facts(evaluation)), "summary": _finite(evaluation.summary)}
        (temporary / FACTS).write_text(json.dumps(told, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        (temporary / PAGE).write_text(render(evaluation, read_curves(live)), encoding="utf-8")


def report_files(folder: Path) -> set[str]:
    """The files of a folder that `write_report` wrote: it writes all of them, so some alone are somebody else's."""
    names = {FACTS, PAIRS, PICTURES, PAGE, GRID, HISTOGRAM}
    return names if names <= contents(folder) else set()


def render(evaluation: Evaluation, curves: list[Chart]) -> str:
    """The page: images are data URIs, charts inline SVG, no script, no address."""
    values = {
        "title": "PoseGAN evaluation",
        "pairs": len(evaluation.table),
        "judged": judged(evaluation),
        "joints": "the published ones" if evaluation.params.pose.source == "annotations" else "those that the pose stage's detector found",
        "identities": evaluation.table["source"].str.split("/").str[-1].str.split("_").str[0].nunique(),
        "methods": [method.title for method in METHODS.values()],
        "metrics": [
            (metric.heading, metric.arrow, [_value(evaluation, method, metric) for method in METHODS])
            for metric in FOR_PEOPLE
            if not all(math.isnan(evaluation.summary[method].get(metric.name, math.nan)) for method in METHODS)
        ],
        "stands_in": any(METRICS[name].stands_in for name in evaluation.summary["generated"]),
        "reasons": _grouped(evaluation.scores.reasons),
        "sections": [*pair_sections(evaluation), training_section(curves)],
        "facts": facts(evaluation),
        "threshold": evaluation.params.evaluate.pck_threshold,
    }
    return render_page(Path(__file__).with_name("report.html.jinja"), values)


def judged(evaluation: Evaluation) -> str:
    """Whose images of which pairs, in words that are so."""
    whose = "Images of another program" if evaluation.card is None else "What the generator draws"
    return f"{whose} for pairs that somebody listed" if evaluation.listed else f"{whose} for pairs of the people held out for the test"


def pair_sections(evaluation: Evaluation) -> list[Section]:
    """How the scores spread, on which pairs they are good, and pictures of pairs of every kind."""
    table, pictures = evaluation.table, evaluation.pictures
    change = pose_change(pictures.poses)
    columns, charts = [], []
    for metric in FOR_PEOPLE:
        ours, floor = (pair_scores(table, method, metric.name) for method in ("generated", "warped"))
        if ours is None or metric.is_reading or np.isnan(ours).all():
            continue
        columns.append(Column(metric.heading, metric.places, ours))
        both = ours if floor is None else np.concatenate([ours, floor])
        if metric.name != "found" and np.isfinite(both).any():
            charts.append(Chart(f"Pairs by {metric.heading}", histogram(ours, _edges(both[np.isfinite(both)]), floor)))
    if (floor := pair_scores(table, "warped", "ssim")) is not None:
        columns.append(Column("SSIM of the floor", 3, floor))
    slices = [
        slice_table("By pose difference (mean distance of the common joints, centres laid on each other)", steps(change), columns),
        slice_table("By the side that the camera sees (left, right: where the person faces in the image)", turns(change), columns),
    ]
    strips = galleries(table, change, strip_maker(table, pictures, change), random_pairs(evaluation), evaluation.params.evaluate.grid_rows)
    return [
        Section("Pairs", [f"Each strip: {STRIP}."], galleries=strips),
        Section("Where it does well", ["Means of what was generated."], tables=slices),
        Section("Distributions", ["Columns: generated. Line: the source image warped by parts, the floor."], charts=charts),
    ]


def training_section(curves: list[Chart]) -> Section:
    """The curves of the training logs, or that there are none."""
    return Section("Training", [] if curves else ["No training logs were found, so there are no curves."], charts=curves)


def random_pairs(evaluation: Evaluation) -> Ints:
    """The rows of the pairs that the grid shows, drawn with `evaluate.seed`."""
    config, pairs = evaluation.params.evaluate, len(evaluation.table)
    return np.random.default_rng(config.seed).choice(pairs, min(config.grid_rows, pairs), replace=False)


def facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What was measured, on what, with which seeds and versions."""
    params, card = evaluation.params, evaluation.card
    drawn = "listed by the user" if evaluation.listed else f"of the split test, drawn with seed {params.evaluate.seed}"
    evaluated = f"{len(evaluation.table):,} pairs, {drawn}"
    network = [] if card is None else [("Network", ", ".join(f"{name} {value}" for name, value in card.model.model_dump().items()))]
    provenance = [] if card is None else sorted(card.provenance.items())
    judge = evaluation.detector or params.pose
    detector = f"{Path(judge.weights).name}, input {judge.image_size} px, joints from confidence {judge.joint_confidence}"
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return [
        ("Data", f"{evaluated}; dataset.source is {params.dataset.source}"),
        ("Image size", f"{params.image.height} x {params.image.width}"),
        *(network or [("Images", "of another program")]),
        *((f"Training: {name}", value) for name, value in provenance),
        ("Detector", detector),
        *((f"Weights: {name}", value) for name, value in evaluation.weights),
        ("Versions", f"python {platform.python_version()}, {versions}"),
    ]


def _grouped(reasons: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each reason once, with the metrics that it is the reason for."""
    metrics: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        metrics.setdefault(reason, []).append(name)
    return [(", ".join(names), reason) for reason, names in metrics.items()]


def ssim_histogram(table: pd.DataFrame) -> pd.DataFrame:
    """How many pairs score how much, in steps of 0.025: `ssim` (the bin's middle), `generated`, `warped`."""
    counts = {method: np.histogram(table[f"{method}_ssim"].clip(0, 1), _BINS)[0] for method in ("generated", "warped")}
    return pd.DataFrame({"ssim": ((_BINS[:-1] + _BINS[1:]) / 2).round(4), **counts})


def read_curves(live: Path) -> list[Chart]:
    """DVCLive's numbers, one curve for each with at least two points, in the order of their names."""
    curves = []
    for path in sorted((live / "plots" / "metrics").glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
        steps, values = [int(row["step"]) for row in rows], [float(row[path.stem]) for row in rows]
        if len(rows) > 1:
            caption = f"{path.stem}: {values[0]:.4g} to {values[-1]:.4g} ({min(values):.4g} .. {max(values):.4g}, {steps[-1]:,} steps)"
            curves.append(Chart(caption, curve(steps, values)))
    return curves


def _value(evaluation: Evaluation, method: str, metric: Metric) -> tuple[str, str]:
    """A number of the table, and its 95 % interval where one is known."""
    low, high = evaluation.scores.intervals.get(method, {}).get(metric.name, (math.nan, math.nan))
    interval = f"{shown(low, metric.places)} .. {shown(high, metric.places)}" if math.isfinite(low) and method != "real_target" else ""
    return shown(evaluation.summary[method].get(metric.name, math.nan), metric.places), interval


def _row(evaluation: Evaluation, number: int) -> tuple[Picture, ...]:
    pair = evaluation.table.iloc[number]
    return evaluation.pictures.row(number, pair["source"], pair["target"])


def _edges(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Forty columns from the lowest to the highest value; scores within 0 .. 1 keep those ends."""
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1 and high > 0.5:
        low, high = 0.0, 1.0
    return np.linspace(low, high if high > low else low + 1, 41)


def _finite(summary: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """The summary as JSON can hold it: what is not finite is null."""
    return {method: {name: value if math.isfinite(value) else None for name, value in values.items()} for method, values in summary.items()}
