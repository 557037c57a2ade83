"""Every metric once: its name, how it is shown, how it is measured, and what an image scores against itself.

A new metric is a row of METRICS and the function that the row names; metrics.json, the report, comparisons, the ablation's table and
`make exp-show` all read the rows. docs/metrics.md says what each number means.

Legend: B images, K = 18 joints, N images of a whole evaluation, F features.
"""

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.evaluate.image_sets import ImageSet, inception_score_of
from posegan.frozen.inception import PAPER_SPLITS, Moments, frechet_distance, kernel_distance
from posegan.frozen.reid import identity_consistency
from posegan.metrics.keypoints import pck, pckh, pckh_paper
from posegan.metrics.pose_masks import masked
from posegan.metrics.sharpness import sharpness
from posegan.metrics.similarity import SSIM, both_ssims, l1, mask_l1, psnr, ssim_51
from posegan.skeleton import person_heights

FEW = 2048  # images: with fewer, the covariance of Inception's 2048 features is singular, and FID is biased
Kind = Literal["similarity", "difference", "detector", "identity", "joints", "set"]
# What a row's function is given and gives; metrics.json has the kinds in this order.
KINDS: dict[Kind, str] = {
    "similarity": "Compared (images, targets, masks, inside, ssims, mask_ssims, seen_by) -> (B,)",
    "difference": "Compared, as for similarity -> (B,)",
    "detector": "confidences (B,), NaN where nobody was found -> (B,)",
    "identity": "features (N, F), the sources' (N, F), whose each is (N,) -> (N,)",
    "joints": "found and wanted keypoints (B, K, 3), the share of a person's height -> hits and counted (B, K)",
    "set": "ImageSet, References, seed -> a number",
}


class Method(NamedTuple):
    """One of the answers that are judged beside each other."""

    prefix: str  # of its numbers in metrics.json
    title: str


METHODS = {
    "generated": Method("", "generated"),
    "warped": Method("warp_", "source image, warped by parts (floor)"),
    "copy_source": Method("copy_", "source image, copied"),
    "real_target": Method("real_", "real image (ceiling)"),
}


class Compared:
    """Images `(B, 3, H, W)` beside their targets, uint8, and what several metrics need of both, made once.

    Args:
        images, targets: the two.
        masks: of the target poses, `(B, 1, H, W)`.
        networks: those that compare images, by the names in the rows.
    """

    def __init__(self, images: Tensor, targets: Tensor, masks: Tensor, networks: Mapping[str, Callable[[Tensor, Tensor], Tensor]]) -> None:
        self.images, self.targets, self.masks, self._networks = images, targets, masks, networks

    @cached_property
    def inside(self) -> tuple[Tensor, Tensor]:
        """Both, black outside of the masks."""
        return masked(self.images, self.masks), masked(self.targets, self.masks)

    @cached_property
    def ssims(self) -> SSIM:
        """SSIM in both readings, which share their windows."""
        return both_ssims(self.images, self.targets)

    @cached_property
    def mask_ssims(self) -> SSIM:
        """The same of what the masks show."""
        return both_ssims(*self.inside)

    def seen_by(self, network: str, inside: bool = False) -> Tensor:
        """How far apart they are to a network."""
        return self._networks[network](*(self.inside if inside else (self.images, self.targets)))


class Metric(NamedTuple):
    """A row of the table."""

    name: str  # in metrics.json and, behind a method, in pairs.parquet
    heading: str
    places: int  # decimals
    better: Literal["higher", "lower"]
    kind: Kind
    measure: Callable[..., Any]  # as KINDS says
    identical: float | None = None  # what an image scores against itself, which is not measured; None: that is worth measuring
    network: str = ""  # without which it has no number
    pooled: tuple[str, str] | None = None  # of joints: columns of what is hit and of what is counted; the metric is sum over sum
    of_copies: bool = True  # whether it says anything of the source image, copied
    headline: bool = False  # in the ablation's table and `make exp-show`

    @property
    def arrow(self) -> str:
        """Which way is better, as a sign."""
        return "↑" if self.better == "higher" else "↓"

    @property
    def is_reading(self) -> bool:
        """Whether it is another metric once more in a paper's reading: worth its mean, but no pictures and charts of its own."""
        return self.name.endswith(("_paper", "_51"))

    @property
    def stands_in(self) -> bool:
        """Whether it is measured only where AlexNet's weights are absent; elsewhere nothing is missing, and its name is left out."""
        return self.network == "random_filters"

    def is_trivial(self, method: str) -> bool:
        """Whether what a method scores is known beforehand, or means nothing."""
        return (method == "real_target" and self.identical is not None) or (method == "copy_source" and not self.of_copies)


def _pck(found: Tensor, target: Tensor, share: float) -> tuple[Tensor, Tensor]:
    return pck(found, target, share * torch.from_numpy(person_heights(target.numpy())))


def _similar(features: Any, sources: Any, people: Any) -> Any:
    """Cosine of each image's features (N, F), of length 1, and its source's."""
    return np.einsum("nf,nf->n", features, sources).astype(np.float64)


_ROWS = (
    Metric("ssim", "SSIM", 3, "higher", "similarity", lambda pair: pair.ssims.standard, 1.0, headline=True),
    Metric("ssim_paper", "SSIM, paper's", 3, "higher", "similarity", lambda pair: pair.ssims.paper, 1.0),
    Metric("ssim_51", "SSIM, GFLA's", 3, "higher", "similarity", lambda pair: ssim_51(pair.images, pair.targets), 1.0),
    Metric("mask_ssim", "mask-SSIM", 3, "higher", "similarity", lambda pair: pair.mask_ssims.standard, 1.0, headline=True),
    Metric("mask_ssim_paper", "mask-SSIM, paper's", 3, "higher", "similarity", lambda pair: pair.mask_ssims.paper, 1.0),
    Metric("l1", "L1 (0..1)", 4, "lower", "difference", lambda pair: l1(pair.images, pair.targets), 0.0, headline=True),
    Metric("mask_l1", "L1 in the mask", 4, "lower", "difference", lambda pair: mask_l1(pair.images, pair.targets, pair.masks), 0.0,
           headline=True),
    Metric("sharpness", "sharpness in the mask", 2, "higher", "similarity",
           lambda pair: sharpness(pair.images, pair.targets, pair.masks), 1.0, of_copies=False, headline=True),
    # The paper's images are in -1 .. 1.
    Metric("l1_paper", "L1, paper's (0..2)", 4, "lower", "difference", lambda pair: 2 * l1(pair.images, pair.targets), 0.0),
    Metric("psnr", "PSNR (dB)", 2, "higher", "similarity", lambda pair: psnr(pair.images, pair.targets), math.inf),
    Metric("lpips", "LPIPS (AlexNet)", 3, "lower", "difference", lambda pair: pair.seen_by("alexnet"), 0.0, "alexnet", headline=True),
    Metric("mask_lpips", "mask-LPIPS", 3, "lower", "difference", lambda pair: pair.seen_by("alexnet", inside=True), 0.0, "alexnet"),
    Metric("lpips_random_filters", "LPIPS' stand-in, random filters", 3, "lower", "difference",
           lambda pair: pair.seen_by("random_filters"), 0.0, "random_filters", headline=True),
    Metric("mask_lpips_random_filters", "mask-LPIPS' stand-in, random filters", 3, "lower", "difference",
           lambda pair: pair.seen_by("random_filters", inside=True), 0.0, "random_filters"),
    Metric("lpips_vgg", "LPIPS (VGG-16)", 3, "lower", "difference", lambda pair: pair.seen_by("vgg16"), 0.0, "vgg16"),
    Metric("fid", "FID", 2, "lower", "set",
           lambda images, others, seed: frechet_distance(images.moments, others.real.moments), 0.0, "inception"),
    Metric("fid_train", "FID, against the train set", 2, "lower", "set",
           lambda images, others, seed: frechet_distance(images.moments, others.train), network="inception"),
    Metric("kid", "KID", 4, "lower", "set",
           lambda images, others, seed: kernel_distance(images.all_features, others.real.all_features, seed), 0.0, "inception"),
    Metric("is", "IS", 3, "higher", "set",
           lambda images, others, seed: inception_score_of(images.logits, 1, seed), network="inception"),
    Metric("is_paper", "IS, paper's", 3, "higher", "set",
           lambda images, others, seed: inception_score_of(images.logits, PAPER_SPLITS, seed), network="inception"),
    # The target's mask does not fit the source.
    Metric("mask_is", "mask-IS", 3, "higher", "set",
           lambda images, others, seed: inception_score_of(images.masked_logits, 1, seed), network="inception", of_copies=False),
    Metric("mask_is_paper", "mask-IS, paper's", 3, "higher", "set",
           lambda images, others, seed: inception_score_of(images.masked_logits, PAPER_SPLITS, seed), network="inception", of_copies=False),
    Metric("ds", "DS", 3, "higher", "detector", lambda confidence: np.nan_to_num(confidence, nan=0.0), headline=True),
    Metric("found", "person found", 3, "higher", "detector", lambda confidence: ~np.isnan(confidence)),
    Metric("pck", "PCK", 3, "higher", "joints", _pck, pooled=("joints_hit", "joints"), headline=True),
    Metric("pckh", "PCKh", 3, "higher", "joints", lambda found, target, share: pckh(found, target), pooled=("pckh_hit", "pckh_joints")),
    Metric("pckh_paper", "PCKh, PATN's", 3, "higher", "joints", lambda found, target, share: pckh_paper(found, target),
           pooled=("pckh_paper_hit", "pckh_joints")),
    # Against itself a source is itself.
    Metric("identity_similarity", "identity, similarity", 3, "higher", "identity", _similar, network="reid", of_copies=False),
    Metric("identity_consistency", "identity, consistency", 3, "higher", "identity", identity_consistency, network="reid", of_copies=False),
)  # fmt: skip
METRICS = {metric.name: metric for metric in _ROWS}
# In the order of metrics.json; and in that of tables for people, where a paper's readings come last.
BY_KIND = tuple(sorted(_ROWS, key=lambda metric: [*KINDS].index(metric.kind)))
FOR_PEOPLE = (*(metric for metric in _ROWS if not metric.is_reading), *(metric for metric in _ROWS if metric.is_reading))


def of_kinds(*kinds: Kind) -> tuple[Metric, ...]:
    """The rows of some kinds, in the table's order."""
    return tuple(metric for metric in _ROWS if metric.kind in kinds)


class References(NamedTuple):
    """What the metrics of sets compare with."""

    real: ImageSet  # the targets of the same pairs
    train: Moments | None  # of the train images; None where the shards hold none


def set_metrics(sets: Mapping[str, ImageSet], train: Moments | None, seed: int) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """The metrics of whole sets of images, by method; and by metric why it has none, or what to know of it.

    `seed` is of KID's subsets and of the splits' order; `train` as in `References`.
    """
    others = References(sets["real_target"], train)
    count = others.real.moments.count
    values: dict[str, dict[str, float]] = {}
    reasons: dict[str, str] = {}
    for method, images in sets.items():
        values[method] = {}
        for metric in of_kinds("set"):
            if metric.name == "fid_train" and train is None:
                reasons[metric.name] = "the shards hold no train images"
            elif not metric.is_trivial(method):
                try:
                    values[method][metric.name] = metric.measure(images, others, seed)
                    if metric.name.startswith("fid") and count < FEW:
                        reasons[metric.name] = f"of {count:,} images: too high by an unknown amount below {FEW:,}; see kid, which is not"
                except ValueError as error:  # too few images
                    reasons[metric.name] = str(error)
    return values, reasons
