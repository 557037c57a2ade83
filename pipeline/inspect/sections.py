"""What keypoints.parquet and pairs.parquet hold, as sections of a page: counts, reasons, rates, distributions.

Legend: N images (rows of the table), K = 18 joints, M pairs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from markupsafe import Markup
from pyarrow import compute

from pipeline.inspect.gallery import Photographer
from pipeline.pages.charts import bars, histogram, nice_ticks
from pipeline.pages.page import Chart, Gallery, Section, Table, Tile
from pipeline.pair.rules import KEPT, REASONS, Bools, Ints, count_reasons, pose_differences
from pipeline.tables import read_counts
from posegan.formats.table import Keypoints
from posegan.people.postures import UNCLEAR, VIEWS, arm_angles, leg_angles, views
from posegan.skeleton import JOINTS, person_heights

PAIRS_LOOKED_AT = 100_000  # for distributions over pairs
_DETAILS, _LARGEST = 12, 10
_CAMERAS = 20  # bars; more cameras than that are not told apart at a glance
Floats = npt.NDArray[np.floating]


class Tables(NamedTuple):
    """What a page is about."""

    keypoints: Keypoints
    rows: pd.DataFrame  # the N rows without their joints
    reasons: Ints  # (N,) positions in REASONS, or KEPT, by the parameters at hand
    pairs: pa.Table | None  # all pairs or evenly spaced row groups of them, with the counts of all


def frame(keypoints: Keypoints) -> pd.DataFrame:
    """The columns beside the joints; numbers that may be missing are pandas' nullable integers."""
    rows: pd.DataFrame = keypoints.table.to_pandas(ignore_metadata=True, types_mapper={pa.int32(): pd.Int32Dtype()}.get)
    return rows


def images_section(tables: Tables) -> Section:
    """How many images there are, by split and status, and why those without joints have none."""
    rows = tables.rows
    counts = pd.crosstab(rows["split"], rows["status"], margins=True, margins_name="all") if len(rows) else pd.DataFrame()
    by_split = Table(
        "Images by split and status", ["split", *counts.columns], [[str(split), *map(_whole, row)] for split, row in counts.iterrows()]
    )
    details = rows["detail"].dropna().value_counts()
    why = [[str(detail), _whole(count)] for detail, count in details.head(_DETAILS).items()]
    if len(details) > _DETAILS:
        why.append([f"{len(details) - _DETAILS:,} other reasons", _whole(details.iloc[_DETAILS:].sum())])
    sizes = (rows["width"].astype("string") + " x " + rows["height"].astype("string")).dropna().value_counts()
    shapes = [[str(size), _whole(count)] for size, count in sizes.head(5).items()]
    if len(sizes) > 5:
        shapes.append([f"{len(sizes) - 5:,} other sizes", _whole(sizes.iloc[5:].sum())])
    found = Table("Sizes, width x height in pixels", ["size", "images"], shapes)
    return Section("Images", tables=[by_split, Table("Why an image has no joints", ["reason", "images"], why), found])


def pairing_section(tables: Tables) -> Section:
    """Where every image and every candidate pair went."""
    counts = count_reasons(tables.reasons)
    shown = {name: counts[name] for name in (*REASONS, "kept") if counts[name]}
    charts = [Chart("Images: the first reason not to pair one, and those kept", bars(shown))]
    if tables.pairs is None:
        return Section(
            "Pairing", ["There is no table of pairs yet: the pair stage makes it. The reasons follow from the parameters."], charts=charts
        )
    made = read_counts(tables.pairs)
    if not made:
        return Section("Pairing", ["The table of pairs carries no counts; the pair stage writes them."], charts=charts)
    text = []
    if changed := [name for name in counts if counts[name] != made.get(name)]:
        text.append(
            f"The pairs were made of another table or with other parameters: {', '.join(changed)} counted "
            f"{', '.join(_whole(made.get(name, 0)) for name in changed)} then. Run the pair stage again."
        )
    pairs = {name: value for name, value in made.items() if name not in counts and name not in ("without_partner", "pairs")}
    charts.append(Chart("Pairs: possible, left out by reason, and kept by split", bars({name: n for name, n in pairs.items() if n})))
    alone = made.get("without_partner", 0)
    return Section("Pairing", [*text, f"{made.get('pairs', 0):,} pairs; {alone:,} kept images have no partner."], charts=charts)


def joints_section(tables: Tables) -> Section:
    """How often each joint was found in images with a person, and how sure the detector was."""
    ok = (tables.rows["status"] == "ok").to_numpy(dtype=bool)
    confidence = tables.keypoints.joints[ok][..., 2]
    visible = confidence > 0
    people = max(len(visible), 1)
    rates = dict(zip(JOINTS, (visible.sum(axis=0) / people).tolist(), strict=True))
    sure = np.where(visible, confidence, 0).sum(axis=0) / np.maximum(visible.sum(axis=0), 1)
    means = dict(zip(JOINTS, sure.tolist(), strict=True))
    person = tables.rows["person_confidence"].to_numpy(dtype=float, na_value=np.nan)
    charts = [
        Chart(
            f"Share of {len(visible):,} images with a person in which a joint was found",
            bars(rates, [f"{rate:.1%}" for rate in rates.values()], 1),
        ),
        Chart("Mean confidence of a joint where it was found", bars(means, [f"{mean:.3f}" for mean in means.values()], 1)),
        Chart("Images by the person's confidence", histogram(person, np.linspace(0, 1, 41))),
        Chart("Images by the number of joints found", histogram(visible.sum(axis=1).astype(float), np.arange(-0.5, len(JOINTS) + 1))),
    ]
    return Section("Joints", charts=charts)


def identities_section(tables: Tables) -> Section:
    """How many images each person has."""
    rows = tables.rows.assign(kept=tables.reasons == KEPT)
    people = rows[(rows["identity"] > 0) & (rows["split"] != "query")].groupby(["split", "identity"])["kept"].agg(["size", "sum"])
    table = [
        [str(split), _whole(len(group)), _whole((group["sum"] > 1).sum()), f"{group['size'].mean():.1f}", _whole(group["size"].max())]
        for split, group in people.groupby(level="split")
    ]
    headings = ["split", "identities", "paired", "images each", "at most"]
    largest = people["size"].sort_values(ascending=False, kind="stable").head(_LARGEST)
    named = [[" ".join(map(str, person)), _whole(count)] for person, count in zip(largest.index.to_flat_index(), largest, strict=True)]
    charts = [
        Chart("Identities by the number of their images", spread(people["size"].to_numpy(dtype=float), whole=True)),
        Chart("Identities by the number of images kept for pairing", spread(people["sum"].to_numpy(dtype=float), whole=True)),
    ]
    tables_ = [
        Table("Identities by split, without junk, distractors and query", headings, table),
        Table("Largest identities", ["identity", "images"], named),
    ]
    return Section("Identities", charts=charts, tables=tables_)


def poses_section(tables: Tables) -> Section:
    """From which side people are seen, how they stand, and how far apart the poses of pairs are."""
    ok = (tables.rows["status"] == "ok").to_numpy(dtype=bool)
    joints = tables.keypoints.joints[ok]
    heights = tables.rows["height"].to_numpy(dtype=float, na_value=np.nan)[ok]
    seen = np.bincount(views(joints), minlength=len(VIEWS))
    shares = [f"{count / max(len(joints), 1):.1%}" for count in seen]
    share = person_heights(joints) / np.maximum(heights, 1)
    charts = [
        Chart(
            "Side that the camera sees (left, right: where the person faces in the image)",
            bars(dict(zip(VIEWS, seen.tolist(), strict=True)), shares),
        ),
        Chart("Person's height, highest to lowest joint, as a share of the image's", histogram(share, np.linspace(0, 1, 41))),
        Chart(
            "Arms: mean angle between shoulder-to-wrist and straight down, degrees", histogram(arm_angles(joints), np.linspace(0, 180, 37))
        ),
        Chart("Legs: angle between the two, hip to ankle, degrees", histogram(leg_angles(joints), np.linspace(0, 90, 31))),
    ]
    text = []
    if (ends := pair_ends(tables)) is not None and len(ends[0]):
        source, target = ends
        poses = tables.keypoints.joints
        differences = pose_differences(poses[source], poses[target])
        charts.append(
            Chart(
                f"Pose difference of {_of_all(len(source), tables)}, pixels (common joints, centres laid on each other)",
                spread(differences.astype(float)),
            )
        )
        known = views(poses)
        clear = (known[source] != UNCLEAR) & (known[target] != UNCLEAR)
        turned = float((known[source] != known[target])[clear].mean()) if clear.any() else 0.0
        seen_of = f"{int(clear.sum()):,} whose views are clear, of {_of_all(len(source), tables)}"
        text.append(f"In {turned:.1%} of the pairs, {seen_of}, source and target are seen from different sides.")
    note = "A body turned by more than about 60 degrees is seen from the side, and faces where its nose and eyes are."
    return Section("Poses", [*text, note], charts=charts)


def cameras_section(tables: Tables) -> Section:
    """How many images each camera took, and how many of them are kept."""
    rows = tables.rows.assign(kept=tables.reasons == KEPT).dropna(subset=["camera"])
    cameras = (
        rows.groupby("camera")["kept"].agg(["size", "sum"]).sort_values("size", ascending=False, kind="stable").head(_CAMERAS).sort_index()
    )
    images = {f"camera {camera}": float(count) for camera, count in cameras["size"].items()}
    texts = [f"{count:,} ({kept:,})" for count, kept in cameras.itertuples(index=False)]
    each = rows[rows["identity"] > 0].groupby(["split", "identity"])["camera"].nunique().astype(float).to_numpy()
    charts = [
        Chart("Images by camera (kept for pairing)", bars(images, texts)),
        Chart("Identities by the number of cameras that saw them", spread(each, whole=True)),
    ]
    text = []
    if (ends := pair_ends(tables)) is not None and len(ends[0]):
        camera = tables.rows["camera"].to_numpy(dtype=float, na_value=np.nan)
        text.append(
            f"{float((camera[ends[0]] != camera[ends[1]]).mean()):.1%} of {_of_all(len(ends[0]), tables)} go from one camera to another."
        )
    return Section("Cameras", text, charts=charts)


def pair_ends(tables: Tables) -> tuple[Ints, Ints] | None:
    """Rows of the sources and targets (M,), (M,) of at most `PAIRS_LOOKED_AT` evenly spaced pairs whose images are in the table."""
    if tables.pairs is None:
        return None
    step = max(1, -(-tables.pairs.num_rows // PAIRS_LOOKED_AT))
    chosen = tables.pairs.take(pa.array(np.arange(0, tables.pairs.num_rows, step)))
    names = tables.keypoints.table["image"].combine_chunks()
    source, target = (compute.index_in(chosen[end], names).fill_null(-1).to_numpy().astype(np.int64) for end in ("source", "target"))
    there = (source >= 0) & (target >= 0)
    return source[there], target[there]


def _of_all(looked_at: int, tables: Tables) -> str:
    """How many pairs a number is about: all of them, or so many evenly spaced ones."""
    made = 0 if tables.pairs is None else read_counts(tables.pairs).get("pairs", tables.pairs.num_rows)
    return f"{looked_at:,} pairs" if looked_at >= made else f"{looked_at:,} pairs, evenly spaced among all {made:,}"


def spread(values: Floats, whole: bool = False) -> Markup:
    """A histogram from 0 to the largest value; `whole` numbers get a column each, as long as there are few."""
    largest = float(np.nanmax(values, initial=1))
    if whole and largest <= 60:
        return histogram(values, np.arange(0.5, largest + 1))
    ticks = nice_ticks(0, largest)
    return histogram(values, np.linspace(0, max(largest, ticks[-1]), 41))


def _whole(number: float) -> str:
    return f"{int(number):,}"


SEED = 0
_NOT_WORTH_SHOWING = ("query",)  # the test identities once more: nothing is wrong with them


def random_rows(chosen: Bools, most: int) -> Ints:
    """At most `most` of the rows that are `chosen` (N,), drawn with `SEED`, in their order."""
    rows = np.flatnonzero(chosen)
    return np.sort(np.random.default_rng(SEED).choice(rows, min(most, len(rows)), replace=False))


def least_sure_rows(tables: Tables, most: int) -> Ints:
    """Rows with a person whose confidence is lowest, then those with the fewest joints, worst first."""
    ok = np.flatnonzero((tables.rows["status"] == "ok").to_numpy(dtype=bool))
    confidence = tables.rows["person_confidence"].to_numpy(dtype=float, na_value=0)[ok]
    joints = (tables.keypoints.joints[ok][..., 2] > 0).sum(axis=1)
    return ok[np.lexsort((ok, joints, confidence))[:most]]


def pictures_section(tables: Tables, photographer: Photographer, most: int, note: Sequence[str] = ()) -> Section:
    """Skeletons over images, at most `most` a gallery."""
    ok = (tables.rows["status"] == "ok").to_numpy(dtype=bool)
    galleries = [
        Gallery(f"Drawn at random (seed {SEED}) from the images with a person", _tiles(tables, photographer, random_rows(ok, most))),
        Gallery("Least sure, worst first", _tiles(tables, photographer, least_sure_rows(tables, most))),
    ]
    for number, reason in enumerate(REASONS):
        rows = tables.reasons == number
        if rows.any() and reason not in _NOT_WORTH_SHOWING:
            tiles = _tiles(tables, photographer, random_rows(rows, max(1, most // 2)))
            galleries.append(Gallery(f"Not paired: {reason}, {len(tiles):,} of {int(rows.sum()):,}", tiles))
    return Section("Skeletons", note, galleries=galleries)


def _tiles(tables: Tables, photographer: Photographer, rows: Ints) -> list[Tile]:
    return [tile(tables, photographer, int(row)) for row in rows]


def tile(tables: Tables, photographer: Photographer, row: int, lines: Sequence[str] = ()) -> Tile:
    """The image of a row with its skeleton; without `lines`, confidence and joints, or why there are none, stand under it."""
    record, joints = tables.rows.iloc[row], tables.keypoints.joints[row]
    size = None if record.isna()[["width", "height"]].any() else (int(record["width"]), int(record["height"]))
    if not lines:
        visible = int((joints[:, 2] > 0).sum())
        known = f"confidence {record['person_confidence']:.2f}, {visible} joints" if record["status"] == "ok" else str(record["detail"])
        lines = (
            [known] if tables.reasons[row] == KEPT or record["status"] != "ok" else [known, f"not paired: {REASONS[tables.reasons[row]]}"]
        )
    return photographer.tile(record["image"], size, joints, lines)
