"""Stage evaluate: the generator against the real image on held-out pairs, between a floor and a ceiling.

The floor is `copy_source`, the source image handed over as the answer; the ceiling is `real_target`.
Legend: B pairs of a batch, K = 18 joints.
"""

import heapq
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.pose_weights import with_local_weights
from pipeline.report import Evaluation, Showcase, write_report
from posegan import metrics
from posegan.batches import PairBatch
from posegan.checkpoint import load_generator, read_generator_card
from posegan.config import EvaluateConfig, Params, load_params
from posegan.detection import Detector
from posegan.device import choose_device, keep_freed_memory
from posegan.errors import PoseGANError
from posegan.estimator import PoseEstimator
from posegan.files import write_atomically
from posegan.keypoint_metrics import pck, person_heights
from posegan.pose_masks import masked, pose_masks
from posegan.samples import Picture, comparison_rows, generate, on_device, pictures
from posegan.shards import ShardIndex
from posegan.skeleton import JOINT_COUNT
from posegan.stream import ListedStream

FILE = click.Path(path_type=Path)
METHODS = ("generated", "copy_source", "real_target")
_PREFIXES = {"generated": "", "copy_source": "copy_", "real_target": "real_"}
# Against itself the real image scores 1, 1, 0 and infinity: nothing to record.
_TRIVIAL = {("real_target", name) for name in ("ssim", "mask_ssim", "l1", "psnr")}


@click.command()
@click.option("--params", "params_path", type=FILE, default=Path("params.yaml"), show_default=True, help="Parameters.")
@click.option(
    "--shards", default="data/shards", show_default=True, help="Folder of the shard stage, or the address of a copy (https://, s3://)."
)
@click.option("--model", type=FILE, default=Path("models/generator.safetensors"), show_default=True, help="Generator of the train stage.")
@click.option("--live", type=FILE, default=Path("dvclive"), show_default=True, help="Training logs, for the report's curves.")
@click.option("--metrics", "metrics_path", type=FILE, default=Path("metrics.json"), show_default=True, help="Numbers to write.")
@click.option(
    "--report", type=FILE, default=Path("reports/evaluation"), show_default=True, help="Folder to write: index.html, grid, tables."
)
@click.option("--downloads", type=FILE, default=Path("data/downloads"), show_default=True, help="For weights that are fetched.")
def evaluate(params_path: Path, shards: str, model: Path, live: Path, metrics_path: Path, report: Path, downloads: Path) -> None:
    """Judge the generator on held-out pairs and write the report (parameters: image, evaluate, pose).

    Beside the generated images the same numbers are taken for the source image, copied (the floor), and for the
    real image (the ceiling).
    """
    started = time.monotonic()
    keep_freed_memory()
    params = load_params(params_path)
    evaluation = judge_generator(params, shards, model, PoseEstimator(with_local_weights(params.pose, downloads)))
    write_report(report, evaluation, live)
    numbers = flat_metrics(evaluation)
    write_atomically(metrics_path, json.dumps(numbers, indent=2) + "\n")
    shown = ", ".join(
        f"{name} {numbers[name]:.3f} (copy {numbers[f'copy_{name}']:.3f})" for name in ("ssim", "mask_ssim", "l1", "ds", "pck")
    )
    click.echo(f"evaluate: {numbers['pairs']:,} pairs: {shown}; {time.monotonic() - started:.1f} s; report in {report / 'index.html'}")


def judge_generator(params: Params, shards: Path | str, model: Path, detector: Detector) -> Evaluation:
    """Draw and score the fixed list of test pairs.

    Raises:
        PoseGANError: no generator at `model`, or one for images of another size; no shards, or none of the split test.
    """
    config, card, device = params.evaluate, read_generator_card(model), choose_device(params.evaluate.device)
    ours, theirs = (f"{image.height} x {image.width}" for image in (params.image, card.image))
    if ours != theirs:
        raise PoseGANError(
            f"{model}: draws images of {theirs}, params ask for {ours}; train it again or correct image.height and image.width"
        )
    stream = ListedStream(ShardIndex.load(shards), "test", params.image, config.batch_size, config.pairs, config.seed)
    generator, judge = load_generator(model, device), Judge(detector, config, len(stream))
    batches = math.ceil(len(stream) / config.batch_size)
    for batch in tqdm(stream, "evaluate", batches, unit="batch", mininterval=0.5, disable=None):
        there = on_device(batch, device)
        judge.add(there, generate(generator, there))
    table = judge.table()
    return Evaluation(table, summarise(table), judge.showcase(), card, params)


class Judge:
    """Scores batches of generated images, and keeps the rows of the grids: random, best and worst by SSIM."""

    def __init__(self, detector: Detector, config: EvaluateConfig, pairs: int) -> None:
        self._detector, self._config = detector, config
        self._frames: list[pd.DataFrame] = []
        rows = config.grid_rows
        self._chosen = set(np.random.default_rng(config.seed).choice(pairs, min(rows, pairs), replace=False).tolist())
        self._random: list[tuple[Picture, ...]] = []
        self._best: list[_Ranked] = []
        self._worst: list[_Ranked] = []
        self._count = 0

    def add(self, batch: PairBatch, generated: Tensor) -> None:
        """Score one batch, uint8 `(B, 3, H, W)`, in listed order."""
        images = {"generated": generated, "copy_source": batch.source_images, "real_target": batch.target_images}
        columns: dict[str, object] = {"source": batch.sources, "target": batch.targets}
        for method, pictured in images.items():
            scores = similarity(pictured, batch) | self._detection(pictured, batch.target_keypoints)
            columns |= {f"{method}_{name}": values.cpu().numpy() for name, values in scores.items()}
        frame = pd.DataFrame(columns)
        self._frames.append(frame)
        self._keep_rows(comparison_rows(batch, generated), frame["generated_ssim"].tolist())

    def table(self) -> pd.DataFrame:
        """One row a pair: names, then `<method>_<metric>`."""
        return pd.concat(self._frames, ignore_index=True)

    def showcase(self) -> Showcase:
        """The rows kept so far."""
        best, worst = sorted(self._best, reverse=True), sorted(self._worst, reverse=True)
        return Showcase(self._random, [each.row for each in best], [each.row for each in worst])

    def _detection(self, images: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What the detector makes of the images: `ds`, `found`, and the joints it finds again."""
        people = self._detector.estimate(pictures(images))
        missing = np.zeros((JOINT_COUNT, 3), np.float32)
        detected = torch.from_numpy(np.stack([person.keypoints if person else missing for person in people]))
        target = target.cpu()
        hits, counted = pck(detected, target, self._config.pck_threshold * person_heights(target))
        confidence = torch.tensor([person.confidence if person else 0.0 for person in people], dtype=torch.float64)
        found = torch.tensor([person is not None for person in people])
        return {"ds": confidence, "found": found, "joints_hit": hits.sum(dim=1), "joints": counted.sum(dim=1)}

    def _keep_rows(self, rows: Iterable[tuple[Picture, ...]], scores: list[float]) -> None:
        for row, score in zip(rows, scores, strict=True):
            if self._count in self._chosen:
                self._random.append(row)
            # Equal scores are told apart by position, so that the choice is one of the list, not of the batches.
            for heap, order in ((self._best, score), (self._worst, -score)):
                heapq.heappush(heap, _Ranked(order, -self._count, row))
                if len(heap) > self._config.grid_rows:
                    heapq.heappop(heap)
            self._count += 1


class _Ranked(NamedTuple):
    order: float
    position: int  # unique: the rows themselves are never compared
    row: tuple[Picture, ...]


def similarity(images: Tensor, batch: PairBatch) -> dict[str, Tensor]:
    """SSIM, mask-SSIM, L1 and PSNR of uint8 images to the batch's targets, `(B,)` each."""
    targets = batch.target_images
    masks = pose_masks(batch.target_keypoints, *targets.shape[-2:])
    return {
        "ssim": metrics.ssim(images, targets),
        "mask_ssim": metrics.ssim(masked(images, masks), masked(targets, masks)),
        "l1": metrics.l1(images, targets),
        "psnr": metrics.psnr(images, targets),
    }


def summarise(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Means over the pairs, by method: ssim, mask_ssim, l1, psnr, ds, found; and pck, pooled over all joints."""
    means = ("ssim", "mask_ssim", "l1", "psnr", "ds", "found")
    summary = {}
    for method in METHODS:
        summary[method] = {name: float(table[f"{method}_{name}"].mean()) for name in means}
        summary[method]["pck"] = float(table[f"{method}_joints_hit"].sum() / max(table[f"{method}_joints"].sum(), 1))
    return summary


def flat_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The means under flat names for DVC: `ssim` is the generator's, `copy_ssim` the floor's, `real_ds` the ceiling's.

    What the real image scores against itself is left out, and so is an infinite mean PSNR (one copied source that
    equals its target is enough), as JSON has no such number. `pairs` is how many were judged.
    """
    numbers: dict[str, float] = {}
    for method, prefix in _PREFIXES.items():
        for name in ("ssim", "mask_ssim", "l1", "psnr", "ds", "pck"):
            value = evaluation.summary[method][name]
            if math.isfinite(value) and (method, name) not in _TRIVIAL:
                numbers[prefix + name] = round(value, 6)
    return {**numbers, "pairs": len(evaluation.table)}
