"""Command compare: two evaluations side by side as a page: metrics, where they differ, pair by pair, pictures.

Legend: N common pairs.
"""

import contextlib
import json
import time
from pathlib import Path

import click
import numpy as np

from pipeline.compare.numbers import RESAMPLES, Difference, Judged, common_rows, differences, read_evaluation
from pipeline.evaluate.galleries import strip
from pipeline.evaluate.metrics import FOR_PEOPLE, METRICS
from pipeline.evaluate.own_names import caption, names_photos
from pipeline.evaluate.scores import Floats, pair_scores
from pipeline.evaluate.slices import Column, PoseChange, extremes, pose_change, slice_table, steps, turns
from pipeline.pages.charts import histogram, scatter
from pipeline.pages.page import Chart, Gallery, Section, Table, Tile, render_sections, shown
from pipeline.pair.rules import Ints
from posegan.errors import PoseGANError
from posegan.files import write_atomically
from posegan.places import FILE, OUTPUT, PlacedCommand

_SAME_FLOOR = 1e-3  # SSIM


def page_of(first: Judged, second: Judged, by: str, pictures: int) -> str:
    """The whole page: `second` measured against `first`, pictures by the metric `by`."""
    pairs = Pairs(first, second)
    gain = pairs.gain(by)
    if gain is None:
        raise PoseGANError(f"--by {by}: one of the evaluations has no {by} of each pair; choose another metric")
    sections = [table_section(pairs, differences(*pairs.tables)), slices_section(pairs, by), charts_section(pairs)]
    sections += [pictures_section(pairs, gain, by, pictures), facts_section(first, second)]
    lead = f"A: {first.folder}, {len(first.table):,} pairs. B: {second.folder}, {len(second.table):,} pairs. In common: {len(gain):,}."
    return render_sections("PoseGAN: two evaluations", lead, sections)


@click.command("compare", cls=PlacedCommand)
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option(
    "--by",
    type=click.Choice([metric.name for metric in FOR_PEOPLE]),
    default="ssim",
    show_default=True,
    help="Metric that chooses pictures.",
)
@click.option("--pictures", type=click.IntRange(0, 1000), default=16, show_default=True, help="At most so many in a row of pictures.")
@click.option("--out", type=OUTPUT, default=Path("reports/comparison.html"), show_default=True, help="Page to write.")
def compare(a: Path, b: Path, by: str, pictures: int, out: Path) -> None:
    """Show two evaluations side by side, as a page that opens in any browser, without network.

    A and B are folders that the evaluate stage wrote, such as reports/evaluation. Only pairs that both judged are compared:
    every metric with a 95 % interval of the difference, by pose difference and view, and the pairs that B draws better and worse.
    """
    started = time.monotonic()
    first, second = read_evaluation(a), read_evaluation(b)
    page = page_of(first, second, by, pictures)
    write_atomically(out, page)
    click.echo(f"compare: {len(page) / 1e6:.1f} MB; {time.monotonic() - started:.1f} s; page in {out}")


class Pairs:
    """The pairs that two evaluations have in common, row by row."""

    def __init__(self, first: Judged, second: Judged) -> None:
        self.judged = first, second
        self.rows = common_rows(first.table, second.table)
        self.tables = tuple(judged.table.iloc[rows].reset_index(drop=True) for judged, rows in zip(self.judged, self.rows, strict=True))
        if not len(self.rows[0]):
            raise PoseGANError(f"{first.folder} and {second.folder} have no pair in common; evaluate both on the same pairs")
        self._named = max(self.tables, key=names_photos)
        self.change: PoseChange = pose_change(first.pictures.poses[self.rows[0]])

    def gain(self, metric: str) -> Floats | None:
        """Second minus first, per pair (N,), turned so that more is better; None: a table lacks the metric."""
        first, second = (pair_scores(table, "generated", metric) for table in self.tables)
        if first is None or second is None:
            return None
        with np.errstate(invalid="ignore"):  # infinite PSNR against infinite PSNR
            apart = second - first
        return apart if METRICS[metric].better == "higher" else -apart

    def strip(self, row: int, lines: list[str]) -> Tile:
        """Source, target pose, first, second, real."""
        first, second = (judged.pictures for judged in self.judged)
        source, target = self.tables[0]["source"].iloc[row], self.tables[0]["target"].iloc[row]
        made = first.generated(int(self.rows[0][row])), second.generated(int(self.rows[1][row]))
        if made[0].shape != made[1].shape:
            raise PoseGANError(f"the two evaluations have pictures of different sizes, {made[0].shape[:2]} and {made[1].shape[:2]}")
        pictures = first.real(source), first.target_pose(int(self.rows[0][row]), made[0].shape), *made, first.real(target)
        return Tile(strip(pictures), [caption(self._named, row), *lines])


def table_section(pairs: Pairs, found: list[Difference]) -> Section:
    """Every metric in both, the difference and its interval, and metrics of a whole set without one."""
    rows = []
    for each in found:
        places = METRICS[each.name].places + 1
        interval = f"{_signed(each.low, places)} .. {_signed(each.high, places)}"
        numbers = (
            shown(each.first, METRICS[each.name].places),
            shown(each.second, METRICS[each.name].places),
            _signed(each.second - each.first, places),
        )
        rows.append([f"{METRICS[each.name].heading}\u00a0{METRICS[each.name].arrow}", *numbers, interval, verdict(each)])
    text = [
        f"Over the common pairs, what was generated. Interval: 95 %, paired bootstrap of {RESAMPLES:,} draws of the people; "
        "undecided: it holds 0. It tells how the choice of people matters, not how another training would turn out."
    ]
    if not _same_floor(pairs):
        text.append("The floors (source image copied) differ: the two did not judge the same images, or not by the same metrics.")
    return Section("Metrics", text, [Table("", ["", "A", "B", "B - A", "95 % interval", "B is"], rows), *_set_tables(pairs, found)])


def verdict(difference: Difference) -> str:
    """Whether the second is better, worse, the same or undecided."""
    if difference.low == difference.high == 0:
        return "the same"
    if not (difference.low > 0 or difference.high < 0):
        return "undecided"
    return "better" if (difference.low > 0) == (METRICS[difference.name].better == "higher") else "worse"


def slices_section(pairs: Pairs, by: str) -> Section:
    """Where B gains and where it loses."""
    both = [pair_scores(table, "generated", by) for table in pairs.tables]
    columns = [Column(label, METRICS[by].places, values) for label, values in zip("AB", both, strict=True) if values is not None]
    columns.append(Column("B - A", METRICS[by].places + 1, columns[1].values - columns[0].values))
    tables = [
        slice_table(f"{METRICS[by].heading} by pose difference", steps(pairs.change), columns),
        slice_table(f"{METRICS[by].heading} by the side that the camera sees", turns(pairs.change), columns),
    ]
    return Section("Where", tables=tables)


def charts_section(pairs: Pairs) -> Section:
    """A pair's score in A against B, and its difference, for every metric of pairs."""
    scatters, spreads = [], []
    for metric in FOR_PEOPLE:
        name, heading = metric.name, metric.heading
        first, second = (pair_scores(table, "generated", name) for table in pairs.tables)
        if first is None or second is None or name == "found" or metric.is_reading:
            continue
        there = np.isfinite(first) & np.isfinite(second)
        apart = (second - first)[there]
        widest = float(np.abs(apart).max(initial=0)) or 1.0
        scatters.append(Chart(f"{heading} of a pair: A across, B up", scatter(first, second)))
        spreads.append(Chart(f"{heading}: pairs by B - A", histogram(apart, np.linspace(-widest, widest, 42))))
    return Section("Pair by pair", charts=[*scatters, *spreads])


def pictures_section(pairs: Pairs, gain: Floats, by: str, most: int) -> Section:
    """The pairs that B draws better than A by most, and those that it draws worse."""
    first, second = (pair_scores(table, "generated", by) for table in pairs.tables)
    won, lost = extremes(np.where(np.isfinite(gain), gain, np.nan), most, best_is_high=True)
    won, lost = won[gain[won] > 0], lost[gain[lost] < 0]

    def gallery(caption: str, rows: Ints) -> Gallery:
        tiles = []
        for row in rows.tolist():
            numbers = [shown(float(values[row]), METRICS[by].places) for values in (first, second) if values is not None]
            tiles.append(pairs.strip(row, [f"{METRICS[by].heading} {' → '.join(numbers)}"]))
        return Gallery(caption, tiles, wide=True)

    galleries = [gallery(f"B gains most by {METRICS[by].heading}", won), gallery(f"B loses most by {METRICS[by].heading}", lost)]
    return Section("Pictures", ["Each strip: source, target pose, A, B, real."], galleries=galleries)


def facts_section(first: Judged, second: Judged) -> Section:
    """What was not the same about the two, and where the time went, if that is known."""
    names = list(dict.fromkeys([*first.facts, *second.facts]))
    rows = [
        [name, first.facts.get(name, "-"), second.facts.get(name, "-")] for name in names if first.facts.get(name) != second.facts.get(name)
    ]
    tables = [Table("", ["", "A", "B"], rows, prose=True)] if rows else []
    times = [_times(judged) for judged in (first, second)]
    if any(times):
        parts = dict.fromkeys(part for seconds in times for part in seconds)
        spent = [[part, *(shown(seconds.get(part, np.nan), 1) for seconds in times)] for part in parts]
        tables.append(Table("Where the time of the evaluation went, seconds", ["", "A", "B"], spent))
    return Section("What differs", [] if rows else ["Data, parameters, versions: no difference is known."], tables)


def _set_tables(pairs: Pairs, found: list[Difference]) -> list[Table]:
    """Metrics of the whole sets that no pair has by itself."""
    known = {each.name for each in found}
    first, second = (dict(judged.summary.get("generated", {})) for judged in pairs.judged)
    names = [name for name in first if name not in known and None not in (first[name], second.get(name))]
    rows = [[METRICS[name].heading if name in METRICS else name, _shown(first[name]), _shown(second[name])] for name in names]
    return [Table("Of each evaluation's whole set, all its pairs", ["", "A", "B"], rows)] if rows else []


def _times(judged: Judged) -> dict[str, float]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        told = json.loads(judged.folder.with_name(f"{judged.folder.name}.times.json").read_text(encoding="utf-8"))
        return {str(name): float(seconds) for name, seconds in told["seconds"].items()}
    return {}


def _same_floor(pairs: Pairs) -> bool:
    floors = [pair_scores(table, "copy_source", "ssim") for table in pairs.tables]
    if floors[0] is None or floors[1] is None:
        return True
    return bool(np.allclose(floors[0], floors[1], atol=_SAME_FLOOR, equal_nan=True))


def _signed(value: float, places: int) -> str:
    return shown(value, places) if np.isnan(value) else f"{value:+.{places}f}"


def _shown(value: float | None) -> str:
    return shown(float("nan") if value is None else value, 3)
