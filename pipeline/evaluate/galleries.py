"""Pairs of an evaluation as strips of pictures: at random, the best and the worst, by pose difference and by view.

Legend: N pairs.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.evaluate.album import Pictures
from pipeline.evaluate.metrics import FOR_PEOPLE
from pipeline.evaluate.own_names import caption
from pipeline.evaluate.scores import Floats, pair_scores
from pipeline.evaluate.slices import PoseChange, extremes, turns
from pipeline.pages.page import Gallery, Tile, data_uri, shown
from pipeline.pair.rules import Ints
from posegan.images import Picture

STRIP = "source, target pose, generated, real"
_HEIGHT = 160  # pixels; larger pictures are shrunk to it
_GAP = 3
_QUALITY = 82
_VIEWS_A_KIND = 2
_SAID = ("ssim", "lpips", "ds", "pck")  # under every strip


class MakeStrip(Protocol):
    """Makes the strip of the pair at a row; `lines` stand above its names."""

    def __call__(self, row: int, *lines: str) -> Tile:
        """One tile."""
        ...


def strip(pictures: Sequence[Picture]) -> str:
    """Pictures of one size side by side, as a data URI."""
    height, width = pictures[0].shape[:2]
    scale = min(1.0, _HEIGHT / height)
    height, width = round(height * scale), round(width * scale)
    canvas = Image.new("RGB", (len(pictures) * (width + _GAP) - _GAP, height), "white")
    for column, picture in enumerate(pictures):
        image = Image.fromarray(picture)
        canvas.paste(image if scale == 1 else image.resize((width, height), Image.Resampling.LANCZOS), (column * (width + _GAP), 0))
    return data_uri(canvas, "JPEG", _QUALITY)


def strip_maker(table: pd.DataFrame, pictures: Pictures, change: PoseChange) -> MakeStrip:
    """Makes the strip of the pair at a row, with lines of the caller's, its names, its scores and how far its poses are apart."""
    scores = [(metric, values) for metric in FOR_PEOPLE if metric.name in _SAID and (values := _scores(table, metric.name)) is not None]

    def make(row: int, *lines: str) -> Tile:
        source, target = table["source"].iloc[row], table["target"].iloc[row]
        said = ", ".join(f"{metric.heading} {shown(float(values[row]), metric.places)}" for metric, values in scores)
        return Tile(
            strip(pictures.row(row, source, target)), [*lines, caption(table, row), f"{said}; poses {change.difference[row]:.1f} px apart"]
        )

    return make


def galleries(table: pd.DataFrame, change: PoseChange, make: MakeStrip, chosen: Ints, most: int) -> list[Gallery]:
    """All strips of a report: the `chosen` ones, and at most `most` of every other kind, half best and half worst; most are folded."""
    half = max(1, most // 2)
    by_metric: list[Gallery] = []
    for metric in FOR_PEOPLE:
        scores = _scores(table, metric.name)
        if metric.name != "found" and not metric.is_reading and scores is not None and not np.isnan(scores).all():
            best, worst = extremes(scores, half, metric.better == "higher")
            tiles = [
                make(int(row), f"{kind}: {shown(float(scores[row]), metric.places)}")
                for kind, rows in (("best", best), ("worst", worst))
                for row in rows
            ]
            by_metric.append(Gallery(f"By {metric.heading}: the best, then the worst", tiles, wide=True, folded=bool(by_metric)))
    far, near = extremes(change.difference, half, best_is_high=True)
    apart = [make(int(row), "near") for row in near] + [make(int(row), "far") for row in far]
    generator = np.random.default_rng(0)
    turned = [
        make(int(row), name)
        for name, rows in turns(change).items()
        for row in np.sort(generator.choice(rows, min(_VIEWS_A_KIND, len(rows)), replace=False))
    ]
    return [
        Gallery("Drawn at random", [make(int(row)) for row in chosen], wide=True),
        *by_metric,
        Gallery("By pose difference: the least, then the most", apart, wide=True, folded=True),
        Gallery(f"By view: {_VIEWS_A_KIND} of each kind at random, the most frequent kind first", turned, wide=True, folded=True),
    ]


def _scores(table: pd.DataFrame, metric: str) -> Floats | None:
    return pair_scores(table, "generated", metric)
