"""Which images and pairs become one sample: planned from the pairs as row numbers, 9 bytes a pair.

Legend: M pairs, R runs of consecutive pairs of one identity and split, n images and m pairs of a piece.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from pipeline.tables import pair_batches
from posegan.errors import PoseGANError

SPLITS = ("train", "val", "test")
_CHUNK = 1 << 20  # pairs looked at together

Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]


class PairRows(NamedTuple):
    """pairs.parquet with rows of the table of keypoints in place of names."""

    source: Rows  # (M,)
    target: Rows  # (M,)
    split: npt.NDArray[np.int8]  # (M,) positions in SPLITS


class Piece(NamedTuple):
    """What becomes one sample: an identity, or a part of a large one."""

    split: str
    identity: int
    number: int
    images: Rows  # (n,) rows of the table of keypoints, ascending
    pairs: npt.NDArray[np.int32]  # (m, 2) positions in `images`: source, target
    listed: Ints  # (m,) rows of pairs.parquet

    @property
    def key(self) -> str:
        """Name of the sample; without dots, which end a key in WebDataset."""
        return f"{self.split}-{self.identity:04d}-{self.number:02d}"


def read_pair_rows(path: Path, images: pa.Table) -> PairRows:
    """Read pairs.parquet block by block; `images` has the columns `image` and `identity` of keypoints.parquet.

    Raises:
        PoseGANError: no such table, or it names an image that `images` lacks or knows under another identity.
    """
    count, batches = pair_batches(path)
    rows = PairRows(np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int8))
    names, identity = images["image"].combine_chunks(), images["identity"].fill_null(-1).to_numpy()
    start = 0
    for batch in batches:
        here = slice(start, start + batch.num_rows)
        known = np.flatnonzero(np.isin(identity, np.unique(batch["identity"].to_numpy())))  # a small set to look names up in
        for column, into in (("source", rows.source), ("target", rows.target)):
            into[here] = _look_up(batch[column], names.take(pa.array(known)), known, path)
        rows.split[here] = compute.fill_null(compute.index_in(batch["split"], pa.array(SPLITS)), -1).to_numpy()
        if (rows.split[here] < 0).any() or (identity[rows.source[here]] != batch["identity"].to_numpy()).any():
            raise PoseGANError(f"{path}: not of the same images as the table of keypoints, or of unknown splits; run pair again")
        start = here.stop
    return rows


def _look_up(column: pa.Array, names: pa.Array, rows: Ints, path: Path) -> Ints:
    distinct = column.dictionary_encode()
    found = compute.index_in(distinct.dictionary, names)
    if found.null_count:
        unknown = distinct.dictionary.filter(found.is_null())[0].as_py()
        raise PoseGANError(f"{unknown}: stands in {path} but not, with that identity, in the table of keypoints; run pair again")
    positions: Ints = rows[found.to_numpy()][distinct.indices.to_numpy()]
    return positions


def plan_pieces(rows: PairRows, identity: Rows, maximum_images: int) -> Iterator[Piece]:
    """Group the pairs into samples, in order of split, identity and number.

    An identity of more than `maximum_images` images is cut into blocks of half that size, and every two blocks
    make a piece, so that each pair stands in exactly one piece; only such an identity's images are stored more
    than once.

    Args:
        rows: the pairs.
        identity: of each row of the table of keypoints.
        maximum_images: of a piece.
    """
    starts = _run_starts(rows, identity)
    stops = np.append(starts[1:], len(rows.source))
    person = identity[rows.source[starts]]
    order = np.lexsort((starts, person, rows.split[starts]))
    groups = np.flatnonzero(np.diff(person[order], prepend=-2) | np.diff(rows.split[starts][order], prepend=-1))
    for group in np.split(order, groups[1:]) if len(order) else ():
        listed = np.concatenate([np.arange(starts[run], stops[run]) for run in group])
        split = SPLITS[rows.split[listed[0]]]
        yield from _pieces(split, int(person[group[0]]), rows.source[listed], rows.target[listed], listed, maximum_images)


def _run_starts(rows: PairRows, identity: Rows) -> Ints:
    """Where the pairs of another identity or split begin (R,); the pair stage writes an identity's pairs together."""
    found = []
    for start in range(0, len(rows.source), _CHUNK):
        here = slice(max(start - 1, 0), start + _CHUNK)  # with the last pair of the chunk before
        person, split = identity[rows.source[here]], rows.split[here]
        changes = np.flatnonzero((person[1:] != person[:-1]) | (split[1:] != split[:-1])) + 1 + here.start
        found.append(changes if start else np.append(0, changes))
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _pieces(split: str, identity: int, source: Rows, target: Rows, listed: Ints, maximum_images: int) -> Iterator[Piece]:
    images = np.unique(np.concatenate([source, target]))
    blocks = 1 if len(images) <= maximum_images else -(-len(images) // (maximum_images // 2))
    block = [np.searchsorted(images, side) * blocks // len(images) for side in (source, target)]
    low, high = np.minimum(*block), np.maximum(*block)
    if blocks > 1:  # pairs within a block go with the first piece that holds it
        low, high = np.where(low == high, 0, low), np.where((low == high) & (high == 0), 1, high)
    code = low * blocks + high
    order = np.lexsort((listed, target, source, code))
    for number, of_piece in enumerate(np.split(order, np.flatnonzero(np.diff(code[order])) + 1)):
        members = np.unique(np.concatenate([source[of_piece], target[of_piece]]))
        pairs = np.stack([np.searchsorted(members, side[of_piece]) for side in (source, target)], axis=1)
        yield Piece(split, identity, number, members, pairs.astype(np.int32), listed[of_piece])
