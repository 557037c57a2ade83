"""Scores batch after batch: every per-image metric of what was generated, of the copied source and of the real image.

Legend: B pairs of a batch, K = 18 joints.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from pipeline.judging.image_sets import new_set, set_metrics
from pipeline.judging.metric_networks import Networks
from pipeline.judging.scores import METHODS
from pipeline.judging.stopwatch import Stopwatch
from pipeline.market1501 import parse_name
from pipeline.tables import KEYPOINT_COLUMNS
from posegan import metrics
from posegan.batches import PairBatch
from posegan.config import EvaluateConfig
from posegan.content_cache import ContentCache
from posegan.detection import Detector
from posegan.keypoint_metrics import pck, pckh, pckh_paper, person_heights
from posegan.pose_masks import masked, pose_masks
from posegan.reid import identity_consistency
from posegan.samples import pictures
from posegan.skeleton import JOINT_COUNT

Floats = npt.NDArray[np.float32]
Columns = dict[str, npt.NDArray[np.generic]]
_SAME = {"ssim": 1.0, "ssim_paper": 1.0, "mask_ssim": 1.0, "mask_ssim_paper": 1.0, "l1": 0.0, "l1_paper": 0.0, "psnr": np.inf}
_DIGITS = 6  # of scores in the table: the last bits depend on which images a network saw together


class Judge:
    """Scores batches of generated images.

    What belongs to an image alone (detected pose, features) is computed once for each distinct source or target image.

    Args:
        detector: finds the poses.
        networks: those at hand.
        config: of the evaluation.
        features: a file that keeps Inception's features of the real images for the next run; None keeps none.
    """

    def __init__(self, detector: Detector, networks: Networks, config: EvaluateConfig, features: Path | None = None) -> None:
        self.watch = Stopwatch()
        self._networks, self._config = networks, config
        self._frames: list[pd.DataFrame] = []
        self._detect = _Detections(detector)
        self._poses = ContentCache(self._detect)
        self._sets = {method: new_set() for method in METHODS} if networks.inception else {}
        self._inception = ContentCache(networks.inception, features) if networks.inception else None
        self._reid = ContentCache(networks.reid) if networks.reid else None
        self._persons: dict[str, list[Floats]] = defaultdict(list)

    def add(self, batch: PairBatch, generated: Tensor, files: Sequence[str] | None = None) -> None:
        """Score one batch, uint8 `(B, 3, H, W)`; `files` are where the generated images came from."""
        count = len(generated)
        images = {"generated": generated, "copy_source": batch.source_images, "real_target": batch.target_images}
        with self.watch.part("masks", count):
            masks = pose_masks(batch.target_keypoints, *generated.shape[-2:])
        columns: Columns = {
            "source": np.array(batch.sources, dtype=object),
            "target": np.array(batch.targets, dtype=object),
            "file": np.array([None] * count if files is None else files, dtype=object),
        }
        for method, pictured in images.items():
            scores = self._similarity(pictured, batch.target_images, masks, same=method == "real_target")
            scores |= self._detection(method, pictured, batch.target_keypoints)
            columns |= {f"{method}_{name}": values for name, values in scores.items()}
        self._add_inception(images, masks)
        self._add_persons(images)
        for side, joints in (("source", batch.source_keypoints), ("target", batch.target_keypoints)):
            columns |= _pose_columns(f"{side}_pose", joints.cpu().numpy())
        columns |= _pose_columns("generated_found_pose", self._last_poses)
        self._frames.append(pd.DataFrame(columns))

    def table(self, order: npt.NDArray[np.int64] | None = None) -> pd.DataFrame:
        """One row a pair: names, identity, file, `<method>_<metric>`, poses; in the list's `order`, where it is another."""
        table = pd.concat(self._frames, ignore_index=True)
        table.insert(2, "identity", _identities(table))
        if self._reid:
            rows = {method: np.concatenate(parts) for method, parts in self._persons.items()}
            for method in METHODS:
                similar = np.einsum("nf,nf->n", rows[method], rows["copy_source"])
                consistent = identity_consistency(rows[method], rows["copy_source"], table["identity"].to_numpy(np.int64))
                table[f"{method}_identity_similarity"] = np.round(similar.astype(np.float64), _DIGITS)
                table[f"{method}_identity_consistency"] = np.round(consistent, _DIGITS)
        if order is not None:
            table = table.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)
        return table

    def sets(self) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
        """FID, KID and Inception Scores by method; and why some have none."""
        if self._inception is not None:
            self._inception.save()
        if not self._sets:
            return {}, {}
        with self.watch.part("FID, KID, IS"):
            return set_metrics(self._sets, self._config.seed)

    def _similarity(self, images: Tensor, targets: Tensor, masks: Tensor, same: bool) -> Columns:
        networks, count = self._networks, len(images)
        seen = {
            "lpips": networks.alexnet,
            "mask_lpips": networks.alexnet,
            "lpips_random_filters": networks.random_filters,
            "mask_lpips_random_filters": networks.random_filters,
            "lpips_vgg": networks.vgg16,
        }
        if same:  # an image against itself
            known = _SAME | {name: 0.0 for name, network in seen.items() if network}
            return {name: np.full(count, value) for name, value in known.items()}
        hidden, hidden_targets = masked(images, masks), masked(targets, masks)
        with self.watch.part("SSIM, L1, PSNR", 2 * count):
            plain, inside = metrics.both_ssims(images, targets), metrics.both_ssims(hidden, hidden_targets)
            apart = metrics.l1(images, targets)
            scores = {
                "ssim": plain.standard,
                "ssim_paper": plain.paper,
                "mask_ssim": inside.standard,
                "mask_ssim_paper": inside.paper,
                "l1": apart,
                "l1_paper": 2 * apart,  # of images in -1 .. 1
                "psnr": metrics.psnr(images, targets),
            }
        for name, part in (("lpips", "LPIPS"), ("lpips_random_filters", "LPIPS' stand-in")):
            if network := seen[name]:
                with self.watch.part(part, 2 * count):
                    scores |= {name: network(images, targets), f"mask_{name}": network(hidden, hidden_targets)}
        if networks.vgg16:
            with self.watch.part("LPIPS, VGG", count):
                scores["lpips_vgg"] = networks.vgg16(images, targets)
        return {name: np.round(values.cpu().numpy(), _DIGITS) for name, values in scores.items()}

    def _detection(self, method: str, images: Tensor, target: Tensor) -> Columns:
        """What the detector makes of the images: `ds`, `found`, and the joints it finds again."""
        rows = _timed(self.watch, "detector", self._poses, images) if method != "generated" else self._detect_new(images)
        confidence, joints = rows[:, -1].astype(np.float64), rows[:, :-1].reshape(-1, JOINT_COUNT, 3)
        if method == "generated":
            self._last_poses = joints
        found, target = torch.from_numpy(joints), target.cpu()
        hits, counted = pck(found, target, self._config.pck_threshold * person_heights(target))
        head_hits, head_counted = pckh(found, target)
        paper_hits, _ = pckh_paper(found, target)
        counts = {"joints_hit": hits, "joints": counted, "pckh_hit": head_hits, "pckh_joints": head_counted, "pckh_paper_hit": paper_hits}
        shares = {name: each.sum(dim=1).numpy() for name, each in counts.items()}
        return {"ds": np.round(np.nan_to_num(confidence, nan=0.0), _DIGITS), "found": ~np.isnan(confidence), **shares}

    def _detect_new(self, images: Tensor) -> Floats:
        with self.watch.part("detector", len(images)):
            return self._detect(images)

    def _add_inception(self, images: dict[str, Tensor], masks: Tensor) -> None:
        network, cache = self._networks.inception, self._inception
        if network is None or cache is None:
            return
        for method, pictured in images.items():
            known = network if method == "generated" else cache
            rows = _timed(self.watch, "Inception", known, pictured)
            hidden = None if method == "copy_source" else _timed(self.watch, "Inception", known, masked(pictured, masks))
            self._sets[method].add(rows, hidden)

    def _add_persons(self, images: dict[str, Tensor]) -> None:
        network, cache = self._networks.reid, self._reid
        if network is None or cache is None:
            return
        for method, pictured in images.items():
            self._persons[method].append(_timed(self.watch, "re-ID", network if method == "generated" else cache, pictured))


class _Detections:
    """A detector as a function of images to rows of numbers: `(B, K * 3 + 1)`, the joints and the confidence, NaN for nobody."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def __call__(self, images: Tensor) -> Floats:
        rows = np.zeros((len(images), JOINT_COUNT * 3 + 1), np.float32)
        for row, person in zip(rows, self._detector.estimate(pictures(images)), strict=True):
            row[-1] = np.nan if person is None else person.confidence
            if person is not None:
                row[:-1] = person.keypoints.ravel()
        return rows


def _timed(watch: Stopwatch, part: str, compute: Callable[[Tensor], Floats], images: Tensor) -> Floats:
    """Time what is computed; images that a cache remembers do not count."""
    before = compute.computed if isinstance(compute, ContentCache) else 0
    with watch.part(part):
        rows = compute(images)
    watch.add(part, 0.0, compute.computed - before if isinstance(compute, ContentCache) else len(images))
    return rows


def _pose_columns(prefix: str, joints: Floats) -> Columns:
    """Joints (B, K, 3) as wide columns as in keypoints.parquet: 3 decimals, x and y missing where the confidence is 0."""
    flat = np.round(joints.astype(np.float64), 3).astype(np.float32)
    flat[..., :2][flat[..., 2] <= 0] = np.nan
    return {f"{prefix}_{name}": values for name, values in zip(KEYPOINT_COLUMNS, flat.reshape(len(flat), -1).T, strict=True)}


def _identities(table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Whose each pair is, by Market-1501's names; by the names' part before the first underscore where they are others."""
    names = table["source"].tolist()
    parsed = [parse_name(name) for name in names]
    if all(parsed):
        return np.array([name.identity for name in parsed if name], dtype=np.int64)
    _, people = np.unique([name.rsplit("/", 1)[-1].split("_")[0] for name in names], return_inverse=True)
    return people.astype(np.int64)
