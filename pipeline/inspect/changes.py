"""Two tables of keypoints of the same images, compared: `this` against the `other`.

Legend: N images that both tables have, K = 18 joints.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyarrow import compute

from pipeline.inspect.gallery import Photographer
from pipeline.inspect.sections import Tables, spread, tile
from pipeline.pages.charts import histogram
from pipeline.pages.page import Chart, Gallery, Section, Table, shown
from pipeline.pair.rules import Bools, Ints
from posegan.formats.table import photo_files, row_name
from posegan.skeleton import JOINTS, MIRROR

Floats = npt.NDArray[np.floating]
_HEAD_PAIRS = [[14, 15], [16, 17]]
_BODY_PAIRS = [[joint, MIRROR[joint]] for joint in (2, 3, 4, 8, 9, 10)]
_SEEN_APART = 2.0  # pixels: both sides of a pair together
_NAMED = 10  # images that are named where one table lacks them


class Changes(NamedTuple):
    """What became of each image and joint that both tables know."""

    only_this: list[str]
    only_other: list[str]
    rows: tuple[Ints, Ints]  # (N,), (N,): the rows of the common images in this and in the other table
    found: tuple[Bools, Bools]  # (N, K), (N, K): joints visible in this, in the other
    distances: Floats  # (N, K) pixels; NaN unless both found the joint


def compare_tables(this: Tables, other: Tables) -> Changes:
    """Match the images by name and measure how far apart the two tables put each joint."""
    ours, theirs = (tables.keypoints.table["image"].combine_chunks() for tables in (this, other))
    place = compute.index_in(ours, theirs).fill_null(-1).to_numpy().astype(np.int64)
    rows = np.flatnonzero(place >= 0), place[place >= 0]
    joints = this.keypoints.joints[rows[0]], other.keypoints.joints[rows[1]]
    found = joints[0][..., 2] > 0, joints[1][..., 2] > 0
    apart = np.hypot(*np.moveaxis(joints[0][..., :2] - joints[1][..., :2], -1, 0))
    missing = set(theirs.to_pylist()) - set(ours.to_pylist())
    only_this = [name for name, there in zip(ours.to_pylist(), place >= 0, strict=True) if not there]
    return Changes(only_this, sorted(missing), rows, found, np.where(found[0] & found[1], apart, np.nan))


def changes_section(this: Tables, other: Tables, changes: Changes, photographer: Photographer, most: int) -> Section:
    """The comparison as a part of a page; pictures show this table's skeleton and then the other's."""
    common = len(changes.rows[0])
    text = [
        f"{common:,} images are in both tables, {len(changes.only_this):,} only in this one, {len(changes.only_other):,} only in the other."
    ]
    files = photo_files(other.keypoints.table) | photo_files(this.keypoints.table)
    for whose, names in (("this one", changes.only_this), ("the other", changes.only_other)):
        if names:
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            text.append(f"Only in {whose}: {', '.join(files.get(name, name) for name in names[:_NAMED])}{more}.")
    sizes = [
        tables.rows.iloc[rows][["width", "height"]].fillna(0).to_numpy() for tables, rows in zip((this, other), changes.rows, strict=True)
    ]
    if resized := int((sizes[0] != sizes[1]).any(axis=1).sum()):
        text.append(f"{resized:,} images have another size there: distances between their joints mean little.")
    exchanged = exchanged_between(this, other, changes)
    if exchanged.any():
        first = row_name(this.keypoints.table, int(changes.rows[0][np.flatnonzero(exchanged)[0]]))
        text.append(f"Left and right are exchanged between the tables in {exchanged.sum():,} of {common:,} images, such as {first}.")
    mean = image_distances(changes)
    charts = [Chart("Images by the mean distance of their joints, pixels", spread(mean[~np.isnan(mean)]))]
    confidence = [tables.rows["person_confidence"].to_numpy(dtype=float, na_value=np.nan) for tables in (this, other)]
    charts.append(
        Chart(
            "Person's confidence in this table (columns) and in the other (line)",
            histogram(confidence[0], np.linspace(0, 1, 41), confidence[1]),
        )
    )
    tables_ = [status_table(this, other, changes), joint_table(changes)]
    return Section("Against the other table", text, tables_, charts, [_most_different(this, other, changes, mean, photographer, most)])


def exchanged_between(this: Tables, other: Tables, changes: Changes) -> Bools:
    """In which common images (N,) half of the pairs of joints or more stand where the other table has their mirror joints.

    A pair counts where both tables have both sides, and these are further apart than the tables are from each other. The head
    and the body count apart, so that either alone may be exchanged.
    """
    ours, theirs = this.keypoints.joints[changes.rows[0]][..., :2], other.keypoints.joints[changes.rows[1]][..., :2]
    there = changes.found[0] & changes.found[1]
    straight, crossed = (np.hypot(*np.moveaxis(ours - places, -1, 0)) for places in (theirs, theirs[:, MIRROR]))
    result = np.zeros(len(ours), dtype=bool)
    for pairs in (_HEAD_PAIRS, _BODY_PAIRS):
        both = there[:, pairs].all(axis=2)
        apart, other_way = straight[:, pairs].sum(axis=2), crossed[:, pairs].sum(axis=2)
        swapped = both & (other_way < apart / 2) & (apart > _SEEN_APART)
        result |= swapped.any(axis=1) & (2 * swapped.sum(axis=1) >= both.sum(axis=1))
    return result


def status_table(this: Tables, other: Tables, changes: Changes) -> Table:
    """How many common images went from which status in the other table to which in this one."""
    before, after = (tables.rows["status"].iloc[rows].to_numpy() for tables, rows in ((other, changes.rows[1]), (this, changes.rows[0])))
    counts = pd.crosstab(pd.Series(before, dtype="string"), pd.Series(after, dtype="string"))
    rows = [[f"{status} there", *(f"{count:,}" for count in row)] for status, row in counts.iterrows()]
    return Table("Common images by status", ["", *(f"{status} here" for status in counts.columns)], rows)


def joint_table(changes: Changes) -> Table:
    """Each joint: found here and not there, there and not here, and the distance between the two where both found it."""
    here, there = changes.found
    rows = []
    for number, joint in enumerate((*JOINTS, "all joints")):
        column = slice(None) if joint == "all joints" else slice(number, number + 1)
        distances = changes.distances[:, column]
        distances = distances[~np.isnan(distances)]
        gained, lost = (here & ~there)[:, column].sum(), (there & ~here)[:, column].sum()
        numbers = (distances.mean(), np.median(distances), np.quantile(distances, 0.95)) if len(distances) else (np.nan,) * 3
        rows.append([joint, f"{len(distances):,}", f"{gained:,}", f"{lost:,}", *(shown(float(number), 2) for number in numbers)])
    headings = ["joint", "in both", "only here", "only there", "mean, px", "median", "95 %"]
    return Table("Joints of the common images, and how far apart the tables put them", headings, rows)


def image_distances(changes: Changes) -> Floats:
    """Mean distance of the joints that both tables found, per common image (N,), pixels; NaN where there is none."""
    there = ~np.isnan(changes.distances)
    total = np.where(there, changes.distances, 0).sum(axis=1)
    return np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.nan)


def _most_different(this: Tables, other: Tables, changes: Changes, mean: Floats, photographer: Photographer, most: int) -> Gallery:
    far = np.argsort(-np.nan_to_num(mean, nan=-1), kind="stable")[: max(1, most // 2)]
    tiles = []
    for number in far[np.nan_to_num(mean[far]) > 0]:
        line = f"{mean[number]:.1f} px apart"
        tiles.append(tile(this, photographer, int(changes.rows[0][number]), ["this", line]))
        tiles.append(tile(other, photographer, int(changes.rows[1][number]), ["the other", line]))
    return Gallery("The images that differ most: this table's skeleton, then the other's", tiles)
