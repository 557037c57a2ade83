"""Stage evaluate: the generator against the real image on held-out pairs, between a floor and a ceiling.

The floor is `copy_source`, the source image handed over as the answer; the ceiling is `real_target`.
Legend: B pairs of a batch, K = 18 joints.
"""

import json
import math
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.album import AlbumMaker
from pipeline.pose_weights import with_local_weights
from pipeline.report import Evaluation, write_report
from pipeline.stopwatch import Stopwatch
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
from posegan.samples import generate, on_device, pictures
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
    watch = Stopwatch()
    evaluation = judge_generator(params, shards, model, PoseEstimator(with_local_weights(params.pose, downloads)), watch)
    with watch.part("report"):
        write_report(report, evaluation, live)
    watch.write(report.with_name(f"{report.name}.times.json"), len(evaluation.table))
    numbers = flat_metrics(evaluation)
    write_atomically(metrics_path, json.dumps(numbers, indent=2) + "\n")
    shown = ", ".join(
        f"{name} {numbers[name]:.3f} (copy {numbers[f'copy_{name}']:.3f})" for name in ("ssim", "mask_ssim", "l1", "ds", "pck")
    )
    click.echo(f"evaluate: {numbers['pairs']:,} pairs: {shown}; {time.monotonic() - started:.1f} s; report in {report / 'index.html'}")
    click.echo(f"evaluate: time went into {watch}")


def judge_generator(params: Params, shards: Path | str, model: Path, detector: Detector, watch: Stopwatch | None = None) -> Evaluation:
    """Draw and score the fixed list of test pairs; `watch` hears where the time goes.

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
    watch = watch or Stopwatch()
    generator, judge, album = load_generator(model, device), Judge(detector, config, watch), AlbumMaker()
    batches = math.ceil(len(stream) / config.batch_size)
    for batch in tqdm(stream, "evaluate", batches, unit="batch", mininterval=0.5, disable=None):
        there = on_device(batch, device)
        with watch.part("generate"):
            generated = generate(generator, there)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        judge.add(there, generated)
        with watch.part("pictures"):
            album.add(there, generated)
    table = judge.table()
    return Evaluation(table, summarise(table), album.finish(), card, params)


class Judge:
    """Scores batches of generated images."""

    def __init__(self, detector: Detector, config: EvaluateConfig, watch: Stopwatch) -> None:
        self._detector, self._config, self._watch = detector, config, watch
        self._frames: list[pd.DataFrame] = []

    def add(self, batch: PairBatch, generated: Tensor) -> None:
        """Score one batch, uint8 `(B, 3, H, W)`, in listed order."""
        images = {"generated": generated, "copy_source": batch.source_images, "real_target": batch.target_images}
        columns: dict[str, object] = {"source": batch.sources, "target": batch.targets}
        for method, pictured in images.items():
            with self._watch.part("similarity"):
                scores = similarity(pictured, batch)
            with self._watch.part("detector"):
                scores |= self._detection(pictured, batch.target_keypoints)
            columns |= {f"{method}_{name}": values.cpu().numpy() for name, values in scores.items()}
        self._frames.append(pd.DataFrame(columns))

    def table(self) -> pd.DataFrame:
        """One row a pair: names, then `<method>_<metric>`."""
        return pd.concat(self._frames, ignore_index=True)

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
