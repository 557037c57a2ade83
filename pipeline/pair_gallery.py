"""Pairs of an evaluation as strips of pictures: at random, the best and the worst, by pose difference and by view.

Legend: N pairs.
"""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from pipeline.album import Pictures
from pipeline.page import Gallery, Tile, data_uri, shown
from pipeline.pair_rules import Ints
from pipeline.pair_scores import METRICS, pair_scores
from pipeline.slices import PoseChange, extremes, turns
from posegan.samples import Picture

STRIP = "source, target pose, generated, real"
_HEIGHT = 160  # pixels; larger pictures are shrunk to it
_GAP = 3
_QUALITY = 82
_VIEWS_A_KIND = 2
_FOLDED_FROM = 1  # metrics whose pictures wait for a click

MakeStrip = Callable[[int], Tile]


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
    """Makes the strip of the pair at a row, with its names, its scores and how far its poses are apart."""
    scores = [(heading, places, values) for name, heading, places, _ in METRICS if (values := _scores(table, name)) is not None]

    def make(row: int) -> Tile:
        source, target = table["source"].iloc[row], table["target"].iloc[row]
        said = ", ".join(f"{heading} {shown(float(values[row]), places)}" for heading, places, values in scores)
        names = f"{PurePosixPath(source).name} → {PurePosixPath(target).name}"
        return Tile(strip(pictures.row(row, source, target)), [names, f"{said}; poses {change.difference[row]:.1f} px apart"])

    return make


def galleries(table: pd.DataFrame, change: PoseChange, make: MakeStrip, chosen: Ints, most: int) -> list[Gallery]:
    """All strips of a report: the `chosen` ones, and at most `most` of every other kind, in halves of best and worst."""
    result = [_gallery("Drawn at random", make, chosen)]
    half = max(1, most // 2)
    for number, (name, heading, _, better) in enumerate(_judged(table)):
        best, worst = extremes(pd.Series(_scores(table, name)), half, better == "higher")
        result.append(_gallery(f"Best by {heading}", make, best, number >= _FOLDED_FROM))
        result.append(_gallery(f"Worst by {heading}, worst first", make, worst, number >= _FOLDED_FROM))
    far, near = extremes(pd.Series(change.difference), half, best_is_high=True)
    result += [_gallery("Poses nearest to each other", make, near), _gallery("Poses farthest from each other", make, far)]
    generator = np.random.default_rng(0)
    for name, rows in turns(change).items():
        some = np.sort(generator.choice(rows, min(_VIEWS_A_KIND, len(rows)), replace=False))
        result.append(_gallery(f"View: {name}, {len(some)} of {len(rows):,}", make, some, folded=True))
    return result


def _judged(table: pd.DataFrame) -> list[tuple[str, str, int, str]]:
    """The metrics by which pairs can be put in order."""
    return [metric for metric in METRICS if metric[0] != "found" and _scores(table, metric[0]) is not None]


def _scores(table: pd.DataFrame, metric: str) -> np.ndarray | None:
    return pair_scores(table, "generated", metric)


def _gallery(caption: str, make: MakeStrip, rows: Ints, folded: bool = False) -> Gallery:
    return Gallery(caption, [make(int(row)) for row in rows], wide=True, folded=folded)
