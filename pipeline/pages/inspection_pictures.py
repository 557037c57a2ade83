"""Which people of a table a page shows: at random, the least sure, those left out by each reason.

Legend: N images (rows of the table).
"""

from collections.abc import Sequence

import numpy as np

from pipeline.pages.gallery import Photographer
from pipeline.pages.inspection import Tables
from pipeline.pages.page import Gallery, Section, Tile
from pipeline.pairing.pair_rules import KEPT, REASONS, Bools, Ints

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
