"""What the lessons show: grids of small pictures, curves, and a curve's points as a table for `dvc plots`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from posegan.files import atomic_path, write_atomically

Curves = Mapping[str, Sequence[tuple[float, float]]]  # a line's name: its points (x, y)


def save_grid(path: Path, images: npt.NDArray[np.uint8], columns: int, scale: int = 2) -> None:
    """Pictures `(n, h, w)` or `(n, h, w, 3)` row by row, `columns` to a row, each pixel `scale` wide, as a PNG."""
    gap = 2
    height, width = images.shape[1] + gap, images.shape[2] + gap
    rows = -(-len(images) // columns)
    sheet = np.full((rows * height + gap, columns * width + gap, *images.shape[3:]), 96, np.uint8)
    for number, image in enumerate(images):
        top, left = gap + number // columns * height, gap + number % columns * width
        sheet[top : top + images.shape[1], left : left + images.shape[2]] = image
    picture = Image.fromarray(sheet)
    # 64 greys are plenty, and a third of the file.
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).quantize(
        64 if images.ndim == 3 else 256
    )
    with atomic_path(path) as temporary:
        picture.save(temporary, "PNG", optimize=True)


def save_curves(path: Path, curves: Curves, x: str, y: str, logarithmic: bool = False) -> None:
    """All lines in one chart, a PNG of 640 x 360, and their points beside it as .csv, a column a line."""
    figure = Figure(figsize=(6.4, 3.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "", linewidth=1.5, label=name)
    axes.set(xlabel=x, ylabel=y, xscale="log" if logarithmic else "linear")
    if not logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there are no half epochs
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    places = sorted({at for points in curves.values() for at, _ in points})
    columns = [dict(points) for points in curves.values()]
    rows = [",".join([f"{at:.6g}", *(f"{column[at]:.6g}" if at in column else "" for column in columns)]) for at in places]
    write_atomically(path.with_suffix(".csv"), "\n".join([",".join([x, *curves]), *rows]) + "\n")
