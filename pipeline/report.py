"""The report of an evaluation: one HTML page that opens offline, a grid, and tables.

Nothing here depends on the time of day: equal evaluations give equal bytes.
"""

import csv
import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.page import data_uri, render_page, shown
from pipeline.scores import Summary
from posegan.checkpoint import GeneratorCard
from posegan.config import Params
from posegan.files import atomic_path
from posegan.images import image_grid
from posegan.samples import GRID_HEADER, Picture

# Name, heading, decimals, and which way is better; docs/metrics.md defines them.
METRICS = (
    ("ssim", "SSIM", 3, "higher"),
    ("mask_ssim", "mask-SSIM", 3, "higher"),
    ("l1", "L1 (0..1)", 4, "lower"),
    ("psnr", "PSNR (dB)", 2, "higher"),
    ("lpips", "LPIPS (AlexNet)", 3, "lower"),
    ("mask_lpips", "mask-LPIPS", 3, "lower"),
    ("lpips_vgg", "LPIPS (VGG-16)", 3, "lower"),
    ("fid", "FID", 2, "lower"),
    ("kid", "KID", 4, "lower"),
    ("is", "IS", 3, "higher"),
    ("mask_is", "mask-IS", 3, "higher"),
    ("ds", "DS", 3, "higher"),
    ("found", "person found", 3, "higher"),
    ("pck", "PCK", 3, "higher"),
    ("pckh", "PCKh", 3, "higher"),
    ("identity_similarity", "identity, similarity", 3, "higher"),
    ("identity_consistency", "identity, consistency", 3, "higher"),
    ("ssim_paper", "SSIM, paper's", 3, "higher"),
    ("mask_ssim_paper", "mask-SSIM, paper's", 3, "higher"),
    ("l1_paper", "L1, paper's (0..2)", 4, "lower"),
    ("is_paper", "IS, paper's", 3, "higher"),
    ("mask_is_paper", "mask-IS, paper's", 3, "higher"),
    ("pckh_paper", "PCKh, PATN's", 3, "higher"),
)
METHODS = {"generated": "generated", "copy_source": "source image copied (floor)", "real_target": "real image (ceiling)"}
_PACKAGES = ("torch", "torchvision", "torchmetrics", "torch-fidelity", "ultralytics-opencv-headless", "numpy", "pillow")
_BINS = np.linspace(0, 1, 41)
_CURVE_WIDTH, _CURVE_HEIGHT = 320, 120  # units of the SVG's view box

Rows = Sequence[Sequence[Picture]]


class Showcase(NamedTuple):
    """Rows of pictures (source, target pose, generated, real): drawn at random, and the extremes by SSIM."""

    random: Rows
    best: Rows
    worst: Rows


class Evaluation(NamedTuple):
    """All that a report tells."""

    table: pd.DataFrame  # a row a pair
    summary: dict[str, dict[str, float]]  # method -> metric -> value
    showcase: Showcase
    card: GeneratorCard | None  # None where the images are another program's
    params: Params
    scores: Summary = Summary({}, {}, {})  # the summary with its intervals, and why numbers are missing
    weights: tuple[tuple[str, str], ...] = ()  # the metrics' networks and their files


class Curve(NamedTuple):
    """One logged number over the steps, as a line in an SVG of `_CURVE_WIDTH` x `_CURVE_HEIGHT`."""

    name: str
    points: str
    first: str
    last: str
    lowest: str
    highest: str
    steps: int


def write_report(folder: Path, evaluation: Evaluation, live: Path) -> None:
    """Write index.html, grid.png, pairs.parquet and ssim.csv into `folder`, all or nothing.

    `live` holds DVCLive's logs; without them the page says that there are no curves.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        grid = image_grid(evaluation.showcase.random, GRID_HEADER)
        grid.save(temporary / "grid.png")
        pq.write_table(pa.Table.from_pandas(evaluation.table, preserve_index=False), temporary / "pairs.parquet", compression="zstd")
        ssim_histogram(evaluation.table).to_csv(temporary / "ssim.csv", index=False, lineterminator="\n")
        (temporary / "index.html").write_text(render(evaluation, read_curves(live)), encoding="utf-8")


def render(evaluation: Evaluation, curves: Sequence[Curve]) -> str:
    """The page: images are data URIs, curves inline SVG, no script, no address."""
    values = {
        "title": "PoseGAN evaluation",
        "pairs": len(evaluation.table),
        "identities": evaluation.table["source"].str.split("/").str[-1].str.split("_").str[0].nunique(),
        "methods": list(METHODS.values()),
        "metrics": [
            (
                heading,
                "↑" if better == "higher" else "↓",
                [shown(evaluation.summary[method].get(name, math.nan), places) for method in METHODS],
            )
            for name, heading, places, better in METRICS
        ],
        "reasons": _grouped(evaluation.scores.reasons),
        "grids": [(title, data_uri(image_grid(rows, GRID_HEADER))) for title, rows in _grids(evaluation.showcase)],
        "curves": curves,
        "curve_size": (_CURVE_WIDTH, _CURVE_HEIGHT),
        "facts": facts(evaluation),
        "threshold": evaluation.params.evaluate.pck_threshold,
    }
    return render_page("report.html.jinja", values)


def facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What was measured, on what, with which seeds and versions."""
    params, card = evaluation.params, evaluation.card
    evaluated = f"{len(evaluation.table):,} pairs of the test identities, drawn with seed {params.evaluate.seed}"
    network = [] if card is None else [("Network", ", ".join(f"{name} {value}" for name, value in card.model.model_dump().items()))]
    provenance = [] if card is None else sorted(card.provenance.items())
    detector = f"{params.pose.weights}, input {params.pose.image_size} px, joints from confidence {params.pose.joint_confidence}"
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
    """How many pairs score how much, in steps of 0.025: `ssim` (the bin's middle), `generated`, `copy_source`."""
    counts = {method: np.histogram(table[f"{method}_ssim"].clip(0, 1), _BINS)[0] for method in ("generated", "copy_source")}
    return pd.DataFrame({"ssim": ((_BINS[:-1] + _BINS[1:]) / 2).round(4), **counts})


def read_curves(live: Path) -> list[Curve]:
    """DVCLive's numbers, one curve for each with at least two points, in the order of their names."""
    curves = []
    for path in sorted((live / "plots" / "metrics").glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
        steps, values = [int(row["step"]) for row in rows], [float(row[path.stem]) for row in rows]
        if len(rows) > 1:
            curves.append(curve(path.stem, steps, values))
    return curves


def curve(name: str, steps: Sequence[int], values: Sequence[float]) -> Curve:
    """Scale a series into the view box: step 0 at the left edge, the lowest value at the bottom."""
    lowest, highest = min(values), max(values)
    span = (highest - lowest) or 1.0
    places = zip(
        (step / steps[-1] * _CURVE_WIDTH for step in steps), ((highest - value) / span * _CURVE_HEIGHT for value in values), strict=True
    )
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return Curve(name, points, f"{values[0]:.4g}", f"{values[-1]:.4g}", f"{lowest:.4g}", f"{highest:.4g}", steps[-1])


def _grids(showcase: Showcase) -> list[tuple[str, Rows]]:
    return [("Drawn at random", showcase.random), ("Best by SSIM", showcase.best), ("Worst by SSIM, worst first", showcase.worst)]
