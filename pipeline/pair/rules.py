"""The rules of pairing, as functions of arrays: which images may be paired, and which of their pairs are kept.

Legend: N images, M pairs, K = 18 joints.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from pipeline.raw_archive import DISTRACTOR, JUNK
from pipeline.tables import PAIRS_SCHEMA
from posegan.config import PairConfig
from posegan.errors import PoseGANError
from posegan.formats.names import OwnNames
from posegan.formats.pair_csv import ListedPair
from posegan.formats.table import Keypoints, photo_files
from posegan.skeleton import TORSO, person_heights

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Joints = npt.NDArray[np.float32]

# Why an image is not paired, in the order in which they are asked.
REASONS = (
    "query",
    "bad_name",
    "unreadable",
    "no_person",
    "junk",
    "distractor",
    "low_person_confidence",
    "torso_missing",
    "few_joints",
    "low_joint_confidence",
    "small_person",
)
KEPT = len(REASONS)


def first_reasons(keypoints: Keypoints, config: PairConfig) -> Ints:
    """The position in REASONS of the first one that applies to each image (N,); KEPT where none does."""
    table, joints = keypoints
    visible = joints[..., 2] > 0
    confident = visible & (joints[..., 2] >= np.float32(config.minimum_joint_confidence))
    identity = table["identity"].fill_null(JUNK).to_numpy()
    reasons = {
        "query": compute.equal(table["split"], "query").to_numpy(),  # the test identities once more
        **{name: compute.equal(table["status"], name).to_numpy() for name in ("bad_name", "unreadable", "no_person")},
        "junk": identity == JUNK,
        "distractor": identity == DISTRACTOR,
        "low_person_confidence": table["person_confidence"].fill_null(0).to_numpy() < np.float32(config.minimum_person_confidence),
        "torso_missing": _lacks_torso(visible, config),
        "few_joints": visible.sum(axis=1) < config.minimum_joints,
        "low_joint_confidence": _lacks_torso(confident, config) | (confident.sum(axis=1) < config.minimum_joints),
        "small_person": _is_small(joints, config.minimum_person_height),
    }
    first = np.full(table.num_rows, KEPT, dtype=np.int64)
    for number in reversed(range(len(REASONS))):
        first[reasons[REASONS[number]]] = number
    return first


def count_reasons(first: Ints) -> dict[str, int]:
    """How many images (N,) there are, went for each of REASONS, and are kept."""
    counts = np.bincount(first, minlength=KEPT + 1).tolist()
    return {"images": len(first), **dict(zip((*REASONS, "kept"), counts, strict=True))}


def pose_differences(first: Joints, second: Joints) -> npt.NDArray[np.float32]:
    """How far apart two poses (M, K, 3) each are: (M,) pixels.

    The mean distance of the joints that both show, after the second pose is shifted so that the centres of these
    joints coincide: a person who only stands elsewhere in the crop has the same pose. 0 where no joint shows in both.
    """
    both = (first[..., 2] > 0) & (second[..., 2] > 0)
    count = np.maximum(both.sum(axis=1), 1).astype(np.float32)
    apart = (first[..., :2] - second[..., :2]) * both[..., None]  # (M, K, 2)
    apart -= (apart.sum(axis=1) / count[:, None])[:, None]
    distance: npt.NDArray[np.float32] = (np.hypot(apart[..., 0], apart[..., 1]) * both).sum(axis=1) / count
    return distance


def ordered_pairs(groups: Ints) -> tuple[Ints, Ints, int]:
    """All ordered pairs of distinct positions within equal values of `groups` (N,): sources (M,), targets (M,), loners.

    Pair k of a group of z is (k div (z - 1), k mod (z - 1)), the target skipping over the source.
    """
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    pairs = sizes * (sizes - 1)
    start, size = np.repeat(starts, pairs), np.repeat(sizes, pairs)
    number = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    source = number // (size - 1)
    target = number % (size - 1)
    target += target >= source
    return order[start + source], order[start + target], int((sizes == 1).sum())


def obey_camera_rule(source: Ints, target: Ints, rule: str) -> Bools:
    """Which pairs of cameras (M,), (M,) the rule `any`, `same` or `different` lets pass."""
    if rule == "any":
        return np.ones(len(source), dtype=bool)
    return np.equal(source, target) if rule == "same" else np.not_equal(source, target)


def under_cap(groups: Ints, maximum: int, seed: int) -> Bools:
    """Keep at most `maximum` (0: all) members of each group (M,), drawn by `seed` and the group's number alone."""
    kept = np.ones(len(groups), dtype=bool)
    order = np.argsort(groups, kind="stable")
    numbers, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    for group in np.flatnonzero((sizes > maximum) & (maximum > 0)):
        members = order[starts[group] : starts[group] + sizes[group]]
        kept[members] = False
        kept[np.random.default_rng([seed, int(numbers[group])]).choice(members, maximum, replace=False)] = True
    return kept


def validation_identities(identities: Ints, config: PairConfig) -> Ints:
    """The train identities that are held out: a seeded share, at least one when the share is not 0, never all."""
    share = config.validation_identities
    count = min(max(1, round(share * len(identities))), len(identities) - 1) if share > 0 and len(identities) else 0
    return np.sort(np.random.default_rng(config.seed).permutation(identities)[:count])


def _is_small(joints: Joints, minimum: float) -> Bools:
    return np.less(person_heights(joints), minimum) if minimum > 0 else np.zeros(len(joints), dtype=bool)


def _lacks_torso(visible: Bools, config: PairConfig) -> Bools:
    missing: Bools = np.less(visible[:, TORSO].sum(axis=1), len(TORSO))
    return missing if config.require_torso else np.zeros_like(missing)


ABSENT = "absent"  # why a pair is lost, beside the images' REASONS


def listed_rows(
    keypoints: Keypoints, reasons: Ints, listed: Sequence[ListedPair], split: str = "test", counted: str = "listed_"
) -> tuple[Ints, Counter[str]]:
    """Which listed pairs can be used.

    Args:
        keypoints: the table and joints of N images.
        reasons: (N,), as `first_reasons` gives them.
        listed: names of images of one split; what they mean is said in `posegan.formats.names`.
        split: that split.
        counted: what the names of the counts begin with.

    Returns:
        Rows (M, 2) of source and target for the pairs whose images are both kept, in order, duplicates included; and the
        counts: `listed_pairs`, `listed_absent` for those that name no image of that split, and
        `listed_<reason>` for those with a rejected image (the source's reason before the target's).

    Raises:
        PoseGANError: a pair shows two identities or one image twice, or a name means two images.
    """
    identity = keypoints.table["identity"].fill_null(JUNK).to_numpy()
    names, rows_of_split = names_of(keypoints.table, split)
    counts = Counter({f"{counted}pairs": len(listed)})
    rows = []
    for pair in listed:
        found = [names.find(text) for text in (pair.source, pair.target)]
        if several := next((positions for positions in found if len(positions) > 1), None):
            raise PoseGANError(f"{pair.where}: means {' as well as '.join(map(names.called, several[:2]))}; write the name in full")
        source, target = (rows_of_split[positions[0]] if positions else None for positions in found)
        if source is None or target is None:
            counts[f"{counted}{ABSENT}"] += 1
        elif (reason := reasons[source] if reasons[source] != KEPT else reasons[target]) != KEPT:
            counts[f"{counted}{REASONS[reason]}"] += 1
        elif source == target or identity[source] != identity[target]:
            raise PoseGANError(f"{pair.where}: {pair.source} and {pair.target} are not two images of one identity; remove that line")
        else:
            rows.append((source, target))
    return np.array(rows, dtype=np.int64).reshape(-1, 2), counts


def names_of(table: pa.Table, split: str) -> tuple[OwnNames, Ints]:
    """The names of the images of a split, and their rows (T,) in the table."""
    rows = np.flatnonzero(compute.equal(table["split"], split).to_numpy())
    return OwnNames(table["image"].combine_chunks().take(pa.array(rows)).to_pylist(), photo_files(table)), rows


def absent_name(table: pa.Table, listed: Sequence[ListedPair], split: str) -> str | None:
    """The first listed name that means no image of the split, with an example of what those are called; None where all mean one."""
    names, rows = names_of(table, split)
    absent = next((text for pair in listed for text in (pair.source, pair.target) if not names.find(text)), None)
    example = f"{split} images are called such as {names.called(0)}" if len(rows) else f"there is no {split} image at all"
    return absent and f"{absent}; {example}"


def are_listed(source: Ints, target: Ints, rows: Ints, images: int) -> Bools:
    """Which pairs (M,), (M,) of rows of a table of so many `images` stand in `rows` (L, 2)."""
    found: Bools = np.isin(source * images + target, rows[:, 0] * images + rows[:, 1])
    return found


def listed_table(table: pa.Table, rows: Ints) -> pa.Table:
    """The pairs of the rows (M, 2) as in pairs.parquet."""
    sources = table.take(pa.array(rows[:, 0]))
    columns = [sources["image"], table["image"].take(pa.array(rows[:, 1])), sources["identity"], sources["split"]]
    return pa.table(columns, schema=PAIRS_SCHEMA)
