"""Stage pair: which image becomes which, decided from keypoints.parquet and, for the test split, perhaps a list.

The rule of the Deformable GAN's authors: drop distractors and junk, keep images that show both shoulders and
both hips, pair every image of an identity with every other one, in both directions. Pairs are made and written block
by block, so that memory grows with the images and not with the pairs.

Legend: N kept images, M pairs.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pyarrow as pa
from pyarrow import compute

from pipeline.doubts import refuse_unbelievable, told
from pipeline.pair.rules import (
    ABSENT,
    KEPT,
    REASONS,
    Bools,
    Ints,
    Joints,
    absent_name,
    are_listed,
    count_reasons,
    first_reasons,
    listed_rows,
    listed_table,
    obey_camera_rule,
    ordered_pairs,
    pose_differences,
    under_cap,
    validation_identities,
)
from pipeline.tables import PAIRS_SCHEMA, write_blocks
from pipeline.unchanged import StageCommand
from posegan.cli import params_option
from posegan.config import PairConfig, load_params
from posegan.errors import PoseGANError
from posegan.formats.pair_csv import ListedPair, read_pair_csv
from posegan.formats.table import Keypoints, read_keypoints
from posegan.places import FILE, OUTPUT

BLOCK_PAIRS = 131_072
SPLITS = ("train", "val", "test")
TRAIN_FOLDER = "bounding_box_train"
REJECTIONS = ("camera_rule", "similar_pose", "over_cap")
UNLISTED = "unlisted"  # why a train pair is lost where there is a list of them
_TRAIN = "listed_train_"  # what the counts of that list begin with


class Pairs(NamedTuple):
    """The table of pairs.parquet and where every image and every candidate pair went."""

    table: pa.Table
    counts: dict[str, int]


class Lists(NamedTuple):
    """Pairs that somebody else chose, for the test split and for training; None: the rule."""

    test: Sequence[ListedPair] | None = None
    train: Sequence[ListedPair] | None = None


class Images(NamedTuple):
    """The N kept images, group by group; a group is one identity in one folder, its images sorted by name."""

    names: pa.Array
    identity: Ints
    camera: Ints
    group: Ints  # 0, 0, 0, 1, 1, ...
    split: Ints  # position in SPLITS
    row: Ints  # in the table of keypoints
    joints: Joints  # (rows of that table, K, 3)


def make_pairs(keypoints: Keypoints, config: PairConfig, lists: Lists = Lists()) -> Pairs:  # noqa: B008 - immutable
    """All of `pair_blocks` as one table, with its counts; for data whose pairs fit into memory."""
    counts: dict[str, int] = {}
    blocks = list(pair_blocks(keypoints, config, counts, lists))
    return Pairs(pa.concat_tables(blocks) if blocks else PAIRS_SCHEMA.empty_table(), counts)


def pair_blocks(
    keypoints: Keypoints,
    config: PairConfig,
    counts: dict[str, int],
    lists: Lists = Lists(),  # noqa: B008 - immutable
    block_pairs: int = BLOCK_PAIRS,
) -> Iterator[pa.Table]:
    """Pair the kept images of each identity, about `block_pairs` pairs at a time; a block holds whole identities.

    With `lists.test`, the rule makes the train and val pairs only, and the listed ones follow as test pairs: those whose two
    images are kept, in the list's order, duplicates included. The filters of pairs do not apply to them. With `lists.train`, the
    rule's train and val pairs are those of the list, in the rule's order, and pass the filters.

    Fills `counts`, complete after the last block: `images` = the rejections by their first reason + `kept`;
    `candidate_pairs` + `listed_pairs` = `camera_rule` + `similar_pose` + `over_cap` + `unlisted` (with a list of train pairs) + the
    listed ones' rejections (`listed_absent`, `listed_torso_missing`, ...: the first of the source's, then the target's) + `pairs`;
    `without_partner` of the kept images belong to an identity with no other kept image. The list of train pairs has `listed_train_pairs`
    and its rejections under names of their own, `listed_train_absent` and so on.

    Raises:
        PoseGANError: a listed pair shows two identities or one image twice.
    """
    reasons = first_reasons(keypoints, config)
    counts.update(count_reasons(reasons))
    images = _group_images(keypoints, reasons == KEPT, config)
    sizes = np.bincount(images.group)
    train, train_counts = None, Counter[str]()
    if lists.train is not None:
        train, train_counts = listed_rows(keypoints, reasons, lists.train, "train", _TRAIN)
        train_counts[UNLISTED] = 0
    made = Counter({"without_partner": int((sizes == 1).sum()), "candidate_pairs": 0} | dict.fromkeys(REJECTIONS, 0) | train_counts)
    splits = np.zeros(len(SPLITS), dtype=np.int64)
    ends = np.cumsum(sizes)
    for first, stop in _group_ranges(sizes * (sizes - 1), block_pairs):
        block = _rule_pairs(images, slice(ends[first] - sizes[first], ends[stop - 1]), config, lists.test is not None, train, made)
        splits += np.bincount(images.split[block[0]], minlength=len(SPLITS))
        if len(block[0]):
            yield _rule_table(images, *block)
    if lists.test is not None:
        rows, listed_counts = listed_rows(keypoints, reasons, lists.test)
        made.update(listed_counts)
        splits += np.array([0, 0, len(rows)])
        for start in range(0, len(rows), block_pairs):
            yield listed_table(keypoints.table, rows[start : start + block_pairs])
    counts.update({**made, "pairs": int(splits.sum()), **{f"{name}_pairs": int(n) for name, n in zip(SPLITS, splits, strict=True)}})
    check_counts(counts)


def check_counts(counts: dict[str, int]) -> None:
    """Raise `RuntimeError` unless every image and every pair went somewhere."""
    if counts["images"] != sum(counts[reason] for reason in (*REASONS, "kept")):
        raise RuntimeError(f"images do not add up: {counts}")
    lost = sum(counts.get(f"listed_{reason}", 0) for reason in (ABSENT, *REASONS)) + counts.get(UNLISTED, 0)
    lost += sum(counts[reason] for reason in REJECTIONS)
    if counts["candidate_pairs"] + counts.get("listed_pairs", 0) != lost + counts["pairs"]:
        raise RuntimeError(f"pairs do not add up: {counts}")


def _group_images(keypoints: Keypoints, kept: Bools, config: PairConfig) -> Images:
    """The kept images sorted by name, but each group together, at the place of its first image."""
    table = keypoints.table
    rows = np.flatnonzero(kept)
    names = table["image"].combine_chunks().take(pa.array(rows))
    by_name = compute.array_sort_indices(names).to_numpy()
    rows = rows[by_name]
    is_train = compute.equal(table["split"], "train").to_numpy()[rows]
    identity, camera = (table[name].to_numpy()[rows].astype(np.int64) for name in ("identity", "camera"))
    # Train and test identities are numbered disjointly in Market-1501; grouping by both keeps other data honest too.
    _, first, group = np.unique(identity * 2 + is_train, return_index=True, return_inverse=True)
    group = np.argsort(np.argsort(first))[group]
    order = np.argsort(group, kind="stable")
    held_out = validation_identities(np.unique(identity[is_train]), config)
    split = np.where(is_train, np.isin(identity, held_out).astype(np.int64), 2)
    arrays = (identity[order], camera[order], group[order], split[order], rows[order], keypoints.joints)
    return Images(names.take(pa.array(by_name[order])), *arrays)


def _group_ranges(pairs: Ints, block_pairs: int) -> Iterator[tuple[int, int]]:
    """First and one past the last of consecutive groups that have about `block_pairs` of the groups' `pairs` together."""
    block = (np.cumsum(pairs) - pairs) // block_pairs
    return pairwise([*np.flatnonzero(np.diff(block, prepend=-1)).tolist(), len(pairs)])


def _rule_pairs(
    images: Images, rows: slice, config: PairConfig, test_is_listed: bool, train: Ints | None, made: Counter[str]
) -> tuple[Ints, Ints]:
    """Sources and targets (M,), (M,) of the groups in `rows` that pass every filter; the others are counted.

    `train` (L, 2): the listed train pairs as rows of the table of keypoints; None: all.
    """
    source, target, _ = ordered_pairs(images.group[rows])
    source, target = source + rows.start, target + rows.start
    if test_is_listed:
        by_rule = images.split[source] != SPLITS.index("test")
        source, target = source[by_rule], target[by_rule]
    made["candidate_pairs"] += len(source)
    if train is not None:
        wanted = are_listed(images.row[source], images.row[target], train, len(images.joints))
        wanted |= images.split[source] == SPLITS.index("test")
        made[UNLISTED] += int((~wanted).sum())
        source, target = source[wanted], target[wanted]
    for name in REJECTIONS:
        passed = _passed(name, images, source, target, config)
        made[name] += int((~passed).sum())
        source, target = source[passed], target[passed]
    return source, target


def _passed(name: str, images: Images, source: Ints, target: Ints, config: PairConfig) -> Bools:
    if name == "camera_rule":
        return obey_camera_rule(images.camera[source], images.camera[target], config.cameras)
    if name == "over_cap":
        is_train = images.split[source] != SPLITS.index("test")
        return under_cap(images.identity[source] * 2 + is_train, config.maximum_pairs_per_identity, config.seed)
    if config.minimum_pose_difference == 0:
        return np.ones(len(source), dtype=bool)
    poses = (images.joints[images.row[image]] for image in (source, target))
    return np.greater_equal(pose_differences(*poses), config.minimum_pose_difference)


def _rule_table(images: Images, source: Ints, target: Ints) -> pa.Table:
    columns = [
        images.names.take(pa.array(source)),
        images.names.take(pa.array(target)),
        pa.array(images.identity[source].astype(np.int32)),
        pa.array(SPLITS).take(pa.array(images.split[source])),
    ]
    return pa.table(columns, schema=PAIRS_SCHEMA)


@click.command(cls=StageCommand)
@params_option()
@click.option(
    "--keypoints",
    type=FILE,
    default=Path("data/keypoints.parquet"),
    show_default=True,
    help="Table of the pose stage.",
)
@click.option("--out", type=OUTPUT, default=Path("data/pairs.parquet"), show_default=True, help="Table to write.")
def pair(params_path: Path, keypoints: Path, out: Path) -> None:
    """Choose the (source, target) pairs of each identity (parameters: pair).

    Drops distractors, images without both shoulders and hips, and whatever the parameters exclude; pairs the
    rest within each identity; holds a share of the train identities out for validation. The test pairs may be
    listed in a file instead (pair.test_pairs), and so may the train pairs (pair.train_pairs).
    """
    started = time.monotonic()
    config = load_params(params_path).pair
    counts = write_pairs(out, keypoints, config, params_path)
    click.echo(f"pair: {_summary(counts)}; {time.monotonic() - started:.1f} s")


def write_pairs(out: Path, keypoints: Path, config: PairConfig, params_path: Path) -> dict[str, int]:
    """Write pairs.parquet and give its counts.

    Raises:
        PoseGANError: the table or a list cannot be used, no train pair or fewer than half of the listed ones are left; nothing is
            written then.
    """
    lists = Lists(*(read_pair_csv(Path(path)) if path else None for path in (config.test_pairs, config.train_pairs)))
    counts: dict[str, int] = {}
    table = read_keypoints(keypoints)
    refuse_unbelievable(str(keypoints), table)
    if hard_to_believe := told(table):
        click.echo(f"pair: {keypoints}: {hard_to_believe.removeprefix('; ')}")

    def blocks() -> Iterator[pa.Table]:
        yield from pair_blocks(table, config, counts, lists)
        if lists.train is not None:
            _check_listed(config.train_pairs, table.table, lists.train, counts, "train", _TRAIN)
        refuse_nothing(table, counts, keypoints, params_path)
        if lists.test is not None:
            _check_listed(config.test_pairs, table.table, lists.test, counts, "test", "listed_")

    write_blocks(out, PAIRS_SCHEMA, blocks(), counts)
    return counts


def _check_listed(path: str, table: pa.Table, listed: Sequence[ListedPair], counts: dict[str, int], split: str, counted: str) -> None:
    """Name a listed pair that is lost because it names no image, and refuse a list of which most is lost.

    Raises:
        PoseGANError: fewer than half of the pairs can be used.
    """
    if not listed:
        raise PoseGANError(f'{path}: holds no pair; list two images a line below the header from,to, or set pair.{split}_pairs to ""')
    absent = absent_name(table, listed, split)
    unknown = f"no {split} image is called {absent}" if absent else ""
    lost = sum(counts.get(f"{counted}{reason}", 0) for reason in (ABSENT, *REASONS))
    if lost == len(listed) or 2 * lost > len(listed):
        which = f"{lost:,} of its {len(listed):,} pairs cannot be used"
        raise PoseGANError(f"{path}: {which} ({_summary(counts)}); {unknown or 'loosen pair.*'}; list pairs of images that are there")
    if unknown:
        click.echo(f"pair: {counts[f'{counted}{ABSENT}']:,} pairs of {path} are lost: {unknown}", err=True)


_BY_PARAMETERS = (*REASONS[REASONS.index("low_person_confidence") :], *REJECTIONS)  # what pair.* can let pass
_NOT_OK = ("bad_name", "unreadable", "no_person")


def refuse_nothing(keypoints: Keypoints, counts: dict[str, int], path: Path, params_path: Path) -> None:
    """Raise `PoseGANError` where no pair is left to train on, with the reason and what helps; test images alone are enough to evaluate."""
    table = keypoints.table
    has_train = bool(compute.any(compute.equal(table["split"], "train")).as_py())
    if counts["train_pairs"] or (counts["test_pairs"] and not has_train):
        return
    if not compute.any(compute.equal(table["status"], "ok")).as_py():
        first = "" if not len(table) else f", such as {table['image'][0].as_py()}: {table['detail'][0].as_py()}"
        reasons = ", ".join(f"{counts[name]:,} {name}" for name in _NOT_OK if counts[name]) or "it is empty"
        raise PoseGANError(
            f"{path}: no image has a person ({reasons}){first}; the filters of pair are not why, look at what pose was given"
        )
    if any(counts[name] for name in _BY_PARAMETERS):
        raise PoseGANError(f"{path}: no training pair is left ({_summary(counts)}); loosen pair.* in {params_path}")
    raise PoseGANError(
        f"{path}: no training pair is left ({_summary(counts)}); a pair needs two images of one person in {TRAIN_FOLDER}, add images"
    )


def _summary(counts: dict[str, int]) -> str:
    named = list(counts)
    kept = named.index("without_partner")
    images = ", ".join(f"{counts[name]:,} {name}" for name in named[1 : kept + 1] if counts[name])
    rejections = (*REJECTIONS, *([UNLISTED] if UNLISTED in counts else ()))
    pairs = ", ".join(f"{counts[name]:,} {name}" for name in (*rejections, *(f"{split}_pairs" for split in SPLITS)))
    listed = ", ".join(f"{counts[name]:,} {name}" for name in named if name.startswith("listed_"))
    return f"{counts['images']:,} images in: {images}; {counts['candidate_pairs']:,} pairs possible: {pairs}" + (listed and f"; {listed}")
