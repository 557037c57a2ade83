"""Pictures that are almost the same, counted by whom they show, as a section of a page: copies of a person, and leaks.

Legend: N images (rows of the table), P pairs.
"""

import zipfile
from typing import NamedTuple

import numpy as np

from pipeline.inspect.gallery import Photographer
from pipeline.inspect.sections import Tables, tile
from pipeline.near_duplicates import BITS, NEAR, Near, hash_members, near_pairs
from pipeline.pages.page import Gallery, Section, Table
from pipeline.pair.rules import Bools, Ints

WITHIN, ACROSS, BETWEEN, OTHERS = range(4)
KINDS = ("of one person", "of train and test people", "of two people on one side", "with junk, a distractor or nobody known")
_MEANING = (
    "harmless: pairs of almost no movement",
    "a leak: what is tested was learnt",
    "perhaps one person under two names",
    "not paired",
)
_NAMED = 5  # pairs a kind that stand in the table


class Duplicates(NamedTuple):
    """How many pairs of each of KINDS are near, and the nearest of each kind."""

    looked_at: int  # images
    counts: tuple[int, ...]
    nearest: tuple[Near, ...]  # rows of the table

    def told(self) -> str:
        """The counts for a summary, as `; ...` to append; empty where nothing was looked at."""
        within, across = self.counts[WITHIN], self.counts[ACROSS]
        return f"; pictures almost the same: {within:,} pairs of one person, {across:,} of train and test people" if self.looked_at else ""


def find_duplicates(tables: Tables, archive: zipfile.ZipFile, most: int) -> Duplicates:
    """Look at every image of the table that can be read; the `most` nearest pairs of each kind are kept, equal ones by their rows."""
    hashes, rows = hash_members(archive, tables.rows["image"].tolist())
    identity = tables.rows["identity"].to_numpy(dtype=np.int64, na_value=-1)[rows]
    trained = (tables.rows["split"] == "train").to_numpy(dtype=bool)[rows]
    counts = np.zeros(len(KINDS), np.int64)
    nearest = [Near(*(np.empty(0, np.int64) for _ in Near._fields)) for _ in KINDS]
    for near in near_pairs(hashes):
        kind = _kinds(identity[near.first], identity[near.second], trained[near.first], trained[near.second])
        counts += np.bincount(kind, minlength=len(KINDS))
        for number in np.unique(kind).tolist():
            chosen = kind == number
            nearest[number] = _nearest(nearest[number], Near(rows[near.first[chosen]], rows[near.second[chosen]], near.apart[chosen]), most)
    return Duplicates(len(rows), tuple(counts.tolist()), tuple(nearest))


def duplicates_section(found: Duplicates | None, tables: Tables, photographer: Photographer, most: int) -> Section:
    """Counts by kind, the first pairs by name, and the nearest as pictures, side by side; None: there was no archive to look at."""
    title = "Pictures that are almost the same"
    if found is None:
        return Section(title, ["Not looked for: that needs the archive of images, and --duplicates."])
    text = [
        f"Of {found.looked_at:,} images, pairs whose perceptual hashes differ in at most {NEAR} of {BITS} bits: copies in another size, "
        "quality or brightness, and shots of the same moment. What is a copy is for you to see."
    ]
    counts = [[f"pairs {kind}", f"{count:,}", meaning] for kind, count, meaning in zip(KINDS, found.counts, _MEANING, strict=True)]
    names = tables.rows["image"]
    first = [
        [KINDS[kind], photographer.name(names.iloc[one]), photographer.name(names.iloc[other]), str(apart)]
        for kind in (ACROSS, BETWEEN, WITHIN)
        for one, other, apart in list(zip(*(column.tolist() for column in found.nearest[kind]), strict=True))[:_NAMED]
    ]
    listed = [
        Table("Pairs by whom they show", ["", "pairs", "which is"], counts, prose=True),
        Table("The nearest of them", ["", "one", "the other", "bits"], first, prose=True),
    ]
    return Section(title, text, tables=listed, galleries=_galleries(found, tables, photographer, most))


def _galleries(found: Duplicates, tables: Tables, photographer: Photographer, most: int) -> list[Gallery]:
    galleries = []
    for kind in (ACROSS, BETWEEN, WITHIN):
        tiles = []
        for one, other, apart in list(zip(*(column.tolist() for column in found.nearest[kind]), strict=True))[: max(1, most // 2)]:
            tiles += [tile(tables, photographer, row, [f"{which}, {apart} bits"]) for row, which in ((one, "one"), (other, "the other"))]
        if tiles:
            galleries.append(Gallery(f"Almost the same: pairs {KINDS[kind]}, the nearest first", tiles))
    return galleries


def _kinds(one: Ints, other: Ints, one_trained: Bools, other_trained: Bools) -> Ints:
    """Which of KINDS pairs (P,) of identities (P,), (P,) are."""
    known = (one > 0) & (other > 0)
    kinds = np.where(one == other, WITHIN, BETWEEN)
    kinds = np.where(one_trained != other_trained, ACROSS, kinds)
    return np.where(known, kinds, OTHERS)


def _nearest(one: Near, other: Near, most: int) -> Near:
    first, second, apart = (np.concatenate(columns) for columns in zip(one, other, strict=True))
    order = np.lexsort((second, first, apart))[:most]
    return Near(first[order], second[order], apart[order])
