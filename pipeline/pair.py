"""Stage pair: which image becomes which, decided from keypoints.parquet alone.

The rule of the Deformable GAN's authors: drop distractors and junk, keep images that show both shoulders and
both hips, pair every image of an identity with every other one, in both directions.

Legend: N images, M pairs.
"""

import time
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from pipeline.market1501 import DISTRACTOR, JUNK
from pipeline.tables import PAIRS_SCHEMA, Keypoints, read_keypoints, write_table
from posegan.config import PairConfig, load_params
from posegan.errors import PoseGANError
from posegan.skeleton import TORSO

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Pairs(NamedTuple):
    """The table of pairs.parquet and where every image and every candidate pair went."""

    table: pa.Table
    counts: dict[str, int]


def make_pairs(keypoints: Keypoints, config: PairConfig) -> Pairs:
    """Pair the usable images of each identity.

    Counts: `images` = the rejections by their first reason + `kept`; `candidate_pairs` = `camera_rule` +
    `over_cap` + `pairs`; `without_partner` of the kept images belong to an identity with no other kept image.
    """
    kept, image_counts = usable_images(keypoints, config)
    table = keypoints.table
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(table["image"].take(pa.array(rows)).to_numpy(), kind="stable")]
    # Train and test identities are numbered disjointly in Market-1501; grouping by both keeps other data honest too.
    is_train = compute.equal(table["split"], "train").to_numpy()[rows]
    identity, camera = (table["identity"].to_numpy()[rows].astype(np.int64), table["camera"].to_numpy()[rows])
    source, target, singles = ordered_pairs(identity * 2 + is_train)
    candidates = len(source)
    chosen = _camera_rule(camera[source], camera[target], config.cameras)
    source, target = source[chosen], target[chosen]
    capped = _capped(identity[source] * 2 + is_train[source], config.maximum_pairs_per_identity, config.seed)
    off_camera, over_cap = candidates - len(source), int((~capped).sum())
    source, target = source[capped], target[capped]
    order = np.lexsort((target, source))
    source, target = source[order], target[order]
    held_out = validation_identities(np.unique(identity[is_train]), config)
    split = np.where(is_train[source], np.where(np.isin(identity[source], held_out), "val", "train"), "test")
    names = table["image"].combine_chunks().take(pa.array(rows))
    columns = [
        names.take(pa.array(source)),
        names.take(pa.array(target)),
        pa.array(identity[source].astype(np.int32)),
        pa.array(split.astype(object), pa.string()),
    ]
    pair_counts = {"without_partner": singles, "candidate_pairs": candidates, "camera_rule": off_camera, "over_cap": over_cap}
    split_counts = {f"{name}_pairs": int((split == name).sum()) for name in ("train", "val", "test")}
    counts = {**image_counts, **pair_counts, "pairs": len(source), **split_counts}
    _check(counts)
    return Pairs(pa.table(columns, schema=PAIRS_SCHEMA), counts)


def usable_images(keypoints: Keypoints, config: PairConfig) -> tuple[Bools, dict[str, int]]:
    """Which of the N images may be paired (N,), and the count of each first reason not to."""
    table, joints = keypoints
    visible = joints[..., 2] > 0
    status, split = table["status"], table["split"]
    identity = table["identity"].fill_null(JUNK).to_numpy()
    reasons = {
        "query": compute.equal(split, "query").to_numpy(),  # the test identities once more
        **{name: compute.equal(status, name).to_numpy() for name in ("bad_name", "unreadable", "no_person")},
        "junk": identity == JUNK,
        "distractor": identity == DISTRACTOR,
        "low_person_confidence": table["person_confidence"].fill_null(0).to_numpy() < np.float32(config.minimum_person_confidence),
        "torso_missing": ~visible[:, TORSO].all(axis=1),
        "few_joints": visible.sum(axis=1) < config.minimum_joints,
    }
    kept = np.ones(table.num_rows, dtype=bool)
    counts = {"images": table.num_rows}
    for reason, applies in reasons.items():
        counts[reason] = int((kept & applies).sum())
        kept &= ~applies
    return kept, {**counts, "kept": int(kept.sum())}


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


def validation_identities(identities: Ints, config: PairConfig) -> Ints:
    """The train identities that are held out: a seeded share, at least one when the share is not 0, never all."""
    share = config.validation_identities
    count = min(max(1, round(share * len(identities))), len(identities) - 1) if share > 0 and len(identities) else 0
    return np.sort(np.random.default_rng(config.seed).permutation(identities)[:count])


def _camera_rule(source: Ints, target: Ints, rule: str) -> Bools:
    if rule == "any":
        return np.ones(len(source), dtype=bool)
    return np.equal(source, target) if rule == "same" else np.not_equal(source, target)


def _capped(groups: Ints, maximum: int, seed: int) -> Bools:
    """Keep at most `maximum` (0: all) members of each group, drawn by `seed`."""
    if maximum == 0 or not len(groups):
        return np.ones(len(groups), dtype=bool)
    order = np.lexsort((np.random.default_rng(seed).random(len(groups)), groups))
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(starts, sizes)
    return np.less(rank, maximum)


def _check(counts: dict[str, int]) -> None:
    reasons = (
        "query",
        "bad_name",
        "unreadable",
        "no_person",
        "junk",
        "distractor",
        "low_person_confidence",
        "torso_missing",
        "few_joints",
        "kept",
    )
    if counts["images"] != sum(counts[reason] for reason in reasons):
        raise RuntimeError(f"images do not add up: {counts}")
    if counts["candidate_pairs"] != counts["camera_rule"] + counts["over_cap"] + counts["pairs"]:
        raise RuntimeError(f"pairs do not add up: {counts}")


@click.command()
@click.option(
    "--params", "params_path", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True, help="Parameters."
)
@click.option(
    "--keypoints",
    type=click.Path(path_type=Path),
    default=Path("data/keypoints.parquet"),
    show_default=True,
    help="Table of the pose stage.",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("data/pairs.parquet"), show_default=True, help="Table to write.")
def pair(params_path: Path, keypoints: Path, out: Path) -> None:
    """Choose the (source, target) pairs of each identity (parameters: pair).

    Drops distractors, images without both shoulders and hips, and whatever the parameters exclude; pairs the
    rest within each identity; holds a share of the train identities out for validation.
    """
    started = time.monotonic()
    config = load_params(params_path).pair
    pairs = make_pairs(read_keypoints(keypoints), config)
    if not pairs.counts["train_pairs"]:
        raise PoseGANError(f"{keypoints}: no training pair is left ({_summary(pairs.counts)}); loosen pair.* in {params_path}")
    write_table(out, pairs.table, pairs.counts)
    click.echo(f"pair: {_summary(pairs.counts)}; {time.monotonic() - started:.1f} s")


def _summary(counts: dict[str, int]) -> str:
    images = ", ".join(f"{counts[name]:,} {name}" for name in list(counts)[1 : list(counts).index("without_partner") + 1] if counts[name])
    pairs = ", ".join(f"{counts[name]:,} {name}" for name in ("camera_rule", "over_cap", "train_pairs", "val_pairs", "test_pairs"))
    return f"{counts['images']:,} images in: {images}; {counts['candidate_pairs']:,} pairs possible: {pairs}"
