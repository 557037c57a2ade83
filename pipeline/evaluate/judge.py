"""Scores batch after batch: every per-image metric of what was generated, of the source, warped and copied, and of the real image.

Legend: B pairs of a batch, K = 18 joints.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from pipeline.evaluate.content_cache import ContentCache
from pipeline.evaluate.image_sets import new_set
from pipeline.evaluate.metrics import METHODS, Compared, of_kinds, set_metrics
from pipeline.evaluate.networks import Networks
from pipeline.evaluate.stopwatch import Stopwatch
from pipeline.raw_archive import parse_name
from posegan.config import EvaluateConfig
from posegan.data.batches import PairBatch, to_float, to_pictures, to_uint8
from posegan.formats.table import KEYPOINT_COLUMNS
from posegan.frozen.inception import Moments
from posegan.metrics.pose_masks import masked, pose_masks
from posegan.model.copying import warp_image
from posegan.people.estimator import Detector
from posegan.skeleton import JOINT_COUNT

Floats = npt.NDArray[np.float32]
Columns = dict[str, npt.NDArray[np.generic]]
# Parts of the time, by the network that a metric looks through.
_PARTS = {"": "SSIM, L1, PSNR", "alexnet": "LPIPS", "random_filters": "LPIPS' stand-in", "vgg16": "LPIPS, VGG"}
_OF_ONE_IMAGE = ("copy_source", "real_target")  # methods whose images are of the data set, and come again and again
_DIGITS = 6  # of scores in the table: the last bits depend on which images a network saw together


class Judge:
    """Scores batches of generated images.

    What belongs to an image alone (detected pose, features) is computed once for each distinct source or target image.

    Args:
        detector: finds the poses.
        networks: those at hand.
        config: of the evaluation.
        features: a file that keeps Inception's features of the real images for the next run; None keeps none.
        train: moments of Inception's features of the train images, where they are known.
    """

    def __init__(
        self, detector: Detector, networks: Networks, config: EvaluateConfig, features: Path | None = None, train: Moments | None = None
    ) -> None:
        self.watch = Stopwatch()
        self._networks, self._config, self._train = networks, config, train
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
        warped = to_uint8(warp_image(to_float(batch.source_images), batch.source_keypoints, batch.target_keypoints))
        images = {"generated": generated, "warped": warped, "copy_source": batch.source_images, "real_target": batch.target_images}
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
            people = table["identity"].to_numpy(np.int64)
            for method, metric in itertools.product(METHODS, of_kinds("identity")):
                table[f"{method}_{metric.name}"] = np.round(metric.measure(rows[method], rows["copy_source"], people), _DIGITS)
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
            return set_metrics(self._sets, self._train, self._config.seed)

    def _similarity(self, images: Tensor, targets: Tensor, masks: Tensor, same: bool) -> Columns:
        networks, count = self._networks.comparing, len(images)
        wanted = [metric for metric in of_kinds("similarity", "difference") if not metric.network or metric.network in networks]
        if same:  # an image against itself
            return {metric.name: np.full(count, metric.identical) for metric in wanted}
        pair, scores = Compared(images, targets, masks, networks), dict[str, Tensor]()
        for network, metrics in itertools.groupby(wanted, lambda metric: metric.network):
            with self.watch.part(_PARTS[network]):
                scores |= {metric.name: metric.measure(pair) for metric in metrics}
            self.watch.add(_PARTS[network], 0.0, count)
        return {name: np.round(values.cpu().numpy(), _DIGITS) for name, values in scores.items()}

    def _detection(self, method: str, images: Tensor, target: Tensor) -> Columns:
        """What the detector makes of the images: `ds`, `found`, and the joints it finds again."""
        rows = _timed(self.watch, "detector", self._poses, images) if method in _OF_ONE_IMAGE else self._detect_new(images)
        confidence, joints = rows[:, -1].astype(np.float64), rows[:, :-1].reshape(-1, JOINT_COUNT, 3)
        if method == "generated":
            self._last_poses = joints
        found, target = torch.from_numpy(joints), target.cpu()
        columns: dict[str, npt.NDArray[Any]] = {metric.name: metric.measure(confidence) for metric in of_kinds("detector")}
        for metric in of_kinds("joints"):
            parts = metric.measure(found, target, self._config.pck_threshold)
            columns |= {name: part.sum(dim=1).numpy() for name, part in zip(metric.pooled or (), parts, strict=True)}
        return {name: np.round(values, _DIGITS) if values.dtype == np.float64 else values for name, values in columns.items()}

    def _detect_new(self, images: Tensor) -> Floats:
        with self.watch.part("detector", len(images)):
            return self._detect(images)

    def _add_inception(self, images: dict[str, Tensor], masks: Tensor) -> None:
        network, cache = self._networks.inception, self._inception
        if network is None or cache is None:
            return
        for method, pictured in images.items():
            known = cache if method in _OF_ONE_IMAGE else network
            rows = _timed(self.watch, "Inception", known, pictured)
            hidden = None if method == "copy_source" else _timed(self.watch, "Inception", known, masked(pictured, masks))
            self._sets[method].add(rows, hidden)

    def _add_persons(self, images: dict[str, Tensor]) -> None:
        network, cache = self._networks.reid, self._reid
        if network is None or cache is None:
            return
        for method, pictured in images.items():
            self._persons[method].append(_timed(self.watch, "re-ID", cache if method in _OF_ONE_IMAGE else network, pictured))


class _Detections:
    """A detector as a function of images to rows of numbers: `(B, K * 3 + 1)`, the joints and the confidence, NaN for nobody."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def __call__(self, images: Tensor) -> Floats:
        rows = np.zeros((len(images), JOINT_COUNT * 3 + 1), np.float32)
        for row, person in zip(rows, self._detector.estimate(to_pictures(images)), strict=True):
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
