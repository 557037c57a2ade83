"""A list of test pairs against the table of keypoints: which of its rows can be used, and why the others cannot."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyarrow import compute

from pipeline.market1501 import JUNK
from pipeline.pairing.pair_rules import KEPT, REASONS, Ints
from pipeline.tables import PAIRS_SCHEMA, Keypoints
from posegan.errors import PoseGANError
from posegan.formats.pair_csv import ListedPair

ABSENT = "absent"  # why a pair is lost, beside the images' REASONS


def listed_rows(keypoints: Keypoints, reasons: Ints, listed: Sequence[ListedPair]) -> tuple[Ints, Counter[str]]:
    """Which listed pairs can be used.

    Args:
        keypoints: the table and joints of N images.
        reasons: (N,), as `first_reasons` gives them.
        listed: names of test images, with or without their folder.

    Returns:
        Rows (M, 2) of source and target for the pairs whose images are both kept, in order, duplicates included; and the
        counts: `listed_pairs`, `listed_absent` for those that name no test image of the table, and
        `listed_<reason>` for those with a rejected image (the source's reason before the target's).

    Raises:
        PoseGANError: a pair shows two identities or one image twice.
    """
    names, identity = keypoints.table["image"].combine_chunks(), keypoints.table["identity"].fill_null(JUNK).to_numpy()
    row_of = _rows_by_name(names, np.flatnonzero(compute.equal(keypoints.table["split"], "test").to_numpy()))
    counts = Counter({"listed_pairs": len(listed)})
    rows = []
    for pair in listed:
        source, target = row_of.get(pair.source), row_of.get(pair.target)
        if source is None or target is None:
            counts[f"listed_{ABSENT}"] += 1
        elif (reason := reasons[source] if reasons[source] != KEPT else reasons[target]) != KEPT:
            counts[f"listed_{REASONS[reason]}"] += 1
        elif source == target or identity[source] != identity[target]:
            raise PoseGANError(f"{pair.where}: {pair.source} and {pair.target} are not two images of one identity; remove that line")
        else:
            rows.append((source, target))
    return np.array(rows, dtype=np.int64).reshape(-1, 2), counts


def _rows_by_name(names: pa.Array, rows: Ints) -> dict[str, int]:
    """The rows by member name and by file name."""
    members = names.take(pa.array(rows)).to_pylist()
    by_file = {member.rpartition("/")[2]: row for member, row in zip(members, rows.tolist(), strict=True)}
    return by_file | dict(zip(members, rows.tolist(), strict=True))


def listed_table(table: pa.Table, rows: Ints) -> pa.Table:
    """The pairs of the rows (M, 2) as in pairs.parquet."""
    sources = table.take(pa.array(rows[:, 0]))
    columns = [sources["image"], table["image"].take(pa.array(rows[:, 1])), sources["identity"], sources["split"]]
    return pa.table(columns, schema=PAIRS_SCHEMA)
