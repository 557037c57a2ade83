"""The sections of a page about two evaluations: metrics, where they differ, pair by pair, pictures.

Legend: N common pairs.
"""

import contextlib
import json
from pathlib import PurePosixPath

import numpy as np

from pipeline.judging.pair_scores import METRICS, READINGS, Floats, pair_scores
from pipeline.pages.charts import histogram, scatter
from pipeline.pages.comparison import RESAMPLES, Difference, Judged, common_rows
from pipeline.pages.page import Chart, Gallery, Section, Table, Tile, shown
from pipeline.pages.pair_gallery import strip
from pipeline.pages.slices import Column, PoseChange, extremes, pose_change, slice_table, steps, turns
from pipeline.pairing.pair_rules import Ints
from posegan.errors import PoseGANError

_SAME_FLOOR = 1e-3
PLACES = {name: places for name, _, places, _ in METRICS}
HEADINGS = {name: heading for name, heading, _, _ in METRICS}
BETTER = {name: better for name, _, _, better in METRICS}


class Pairs:
    """The pairs that two evaluations have in common, row by row."""

    def __init__(self, first: Judged, second: Judged) -> None:
        self.judged = first, second
        self.rows = common_rows(first.table, second.table)
        self.tables = tuple(judged.table.iloc[rows].reset_index(drop=True) for judged, rows in zip(self.judged, self.rows, strict=True))
        if not len(self.rows[0]):
            raise PoseGANError(f"{first.folder} and {second.folder} have no pair in common; evaluate both on the same pairs")
        self.change: PoseChange = pose_change(first.pictures.poses[self.rows[0]])

    def gain(self, metric: str) -> Floats | None:
        """Second minus first, per pair (N,), turned so that more is better; None: a table lacks the metric."""
        first, second = (pair_scores(table, "generated", metric) for table in self.tables)
        if first is None or second is None:
            return None
        with np.errstate(invalid="ignore"):  # infinite PSNR against infinite PSNR
            apart = second - first
        return apart if BETTER[metric] == "higher" else -apart

    def strip(self, row: int, lines: list[str]) -> Tile:
        """Source, target pose, first, second, real."""
        first, second = (judged.pictures for judged in self.judged)
        source, target = self.tables[0]["source"].iloc[row], self.tables[0]["target"].iloc[row]
        made = first.generated(int(self.rows[0][row])), second.generated(int(self.rows[1][row]))
        if made[0].shape != made[1].shape:
            raise PoseGANError(f"the two evaluations have pictures of different sizes, {made[0].shape[:2]} and {made[1].shape[:2]}")
        pictures = first.real(source), first.target_pose(int(self.rows[0][row]), made[0].shape), *made, first.real(target)
        return Tile(strip(pictures), [f"{PurePosixPath(source).name} → {PurePosixPath(target).name}", *lines])


def table_section(pairs: Pairs, found: list[Difference]) -> Section:
    """Every metric in both, the difference and its interval, and metrics of a whole set without one."""
    rows = []
    for each in found:
        places = PLACES[each.name] + 1
        interval = f"{_signed(each.low, places)} .. {_signed(each.high, places)}"
        numbers = (shown(each.first, PLACES[each.name]), shown(each.second, PLACES[each.name]), _signed(each.second - each.first, places))
        rows.append([f"{HEADINGS[each.name]}\u00a0{_arrow(each.name)}", *numbers, interval, verdict(each)])
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
    return "better" if (difference.low > 0) == (BETTER[difference.name] == "higher") else "worse"


def slices_section(pairs: Pairs, by: str) -> Section:
    """Where B gains and where it loses."""
    both = [pair_scores(table, "generated", by) for table in pairs.tables]
    columns = [Column(label, PLACES[by], values) for label, values in zip("AB", both, strict=True) if values is not None]
    columns.append(Column("B - A", PLACES[by] + 1, columns[1].values - columns[0].values))
    tables = [
        slice_table(f"{HEADINGS[by]} by pose difference", steps(pairs.change), columns),
        slice_table(f"{HEADINGS[by]} by the side that the camera sees", turns(pairs.change), columns),
    ]
    return Section("Where", tables=tables)


def charts_section(pairs: Pairs) -> Section:
    """A pair's score in A against B, and its difference, for every metric of pairs."""
    scatters, spreads = [], []
    for name, heading, _, _ in METRICS:
        first, second = (pair_scores(table, "generated", name) for table in pairs.tables)
        if first is None or second is None or name == "found" or name in READINGS:
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
            numbers = [shown(float(values[row]), PLACES[by]) for values in (first, second) if values is not None]
            tiles.append(pairs.strip(row, [f"{HEADINGS[by]} {' → '.join(numbers)}"]))
        return Gallery(caption, tiles, wide=True)

    galleries = [gallery(f"B gains most by {HEADINGS[by]}", won), gallery(f"B loses most by {HEADINGS[by]}", lost)]
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
    rows = [[HEADINGS.get(name, name), _shown(first[name]), _shown(second[name])] for name in names]
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


def _arrow(name: str) -> str:
    return "↑" if BETTER[name] == "higher" else "↓"


def _signed(value: float, places: int) -> str:
    return shown(value, places) if np.isnan(value) else f"{value:+.{places}f}"


def _shown(value: float | None) -> str:
    return shown(float("nan") if value is None else value, 3)
