"""The training itself: ultralytics' trainer on pictures of a crop's shape, with joints of which nobody knows whether they are seen."""

import contextlib
import io
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

from pipeline.pose_model.calibration import cool
from pipeline.pose_model.labels import COCO_MIRROR, UNKNOWN
from posegan.files import write_atomically
from posegan.images import decode_image


class Phase(NamedTuple):
    """One part of the training, at one size."""

    image_size: int  # px of the longer side that the network sees
    batches: int  # of pictures at random; so many as to show each about once cost 25 minutes at 256 px on two free CPU cores
    batch: int
    first_rate: float  # of AdamW, after the warm-up
    last_rate: float


# A picture at 192 px costs half of one at 256: most of what is new, drawn people, is learned there.
PHASES = (Phase(192, 1_513, 32, 1e-3, 4e-4), Phase(256, 770, 32, 5e-4, 2e-6))

BLEND = 0.8  # how far from the weights that training started from towards those that it made

# A person as sure as this comes out with params.yaml's default of 0.25. Of 1,270 people of the training's kinds the least sure had
# 0.66. Chosen with an eye on what is measured: of 1,000 pictures without people, of the kinds held out, one had more.
LEAST_SURE, DEFAULT_CONFIDENCE = 0.6, 0.25

_WARM_UP = 0.05  # share of a phase
_REPORT_EVERY = 50  # batches
_HEAD_SIGMAS = [0.026, 0.025, 0.025, 0.035, 0.035]  # COCO's: nose, eyes, ears
# COCO's are 0.062 to 0.107, a labeller's error; smaller ones forgive less. With 0.045, joints of drawings came out nearer.
_LIMB_SIGMA = 0.045


def train_detector(folder: Path, phase: Phase, seed: int, start: Path, name: str) -> Path:
    """Train for one phase from `start` on what lies in `folder`; gives the checkpoint's path, `folder/runs/name/weights/last.pt`."""
    from posegan.people.yolo import import_yolo

    model = import_yolo()(str(start.absolute()), task="pose")
    for event, act in callbacks(phase).items():
        model.add_callback(event, act)
    data = folder / "pictures.yaml"
    data.write_text(yaml.safe_dump(_description(folder)))
    with contextlib.chdir(folder):  # ultralytics logs through dvclive, which would change this project's dvc.yaml
        model.train(
            trainer=_trainer(), data=str(data), project=str(folder / "runs"), name=name, exist_ok=True, seed=seed,
            epochs=_epochs(folder, phase), imgsz=phase.image_size, batch=phase.batch, nbs=phase.batch, optimizer="AdamW",
            lr0=phase.first_rate, lrf=1.0, warmup_epochs=0.0, weight_decay=0.001, pose=20.0, mosaic=0.0,
            close_mosaic=0, degrees=6.0, translate=0.06, scale=0.2, erasing=0.0, fliplr=0.5, hsv_h=0.03, hsv_s=0.5, hsv_v=0.4,
            cache=False, workers=1, device="cpu", amp=False, plots=False, val=False, deterministic=True,
        )  # fmt: skip
    return folder / "runs" / name / "weights" / "last.pt"


def _epochs(folder: Path, phase: Phase) -> int:
    pictures = sum(1 for _ in (folder / "images" / "train").iterdir())
    return -(-phase.batches * phase.batch // pictures)


def prepared_start(start: Path, folder: Path, pictures: int = 512) -> Path:
    """The weights `start` as `folder/start.pt`, which finds the same people, with layers of normalisation that training can begin from."""
    from posegan.people.yolo import import_yolo

    model = import_yolo()(str(start.absolute()), task="pose")
    rebase_normalisation(model.model, some_pictures(folder, pictures))
    model.save(folder / "start.pt")
    return folder / "start.pt"


def blended(start: Path, tuned: Path, share: float, folder: Path, pictures: int = 512) -> Path:
    """The weights between `start` and what training made of them, `share` of the way, as `folder/blended.pt`.

    Training on few real people unlearns some of what COCO's many taught; half-way weights know both (Wortsman et al., 2022, robust
    fine-tuning). Mean and variance of what goes through them are counted anew.
    """
    from posegan.people.yolo import import_yolo

    first, model = (import_yolo()(str(path.absolute()), task="pose") for path in (start, tuned))
    other = first.model.state_dict()
    with torch.no_grad():
        for name, values in model.model.state_dict().items():
            if values.dtype.is_floating_point:
                values.lerp_(other[name], 1 - share)
    settle_normalisation(model.model, some_pictures(folder, pictures))
    model.save(folder / "blended.pt")
    return folder / "blended.pt"


def some_pictures(folder: Path, count: int, batch: int = 32) -> list[torch.Tensor]:
    """`count` pictures of the training, evenly from all kinds, in batches `(batch, 3, H, W)`, 0 .. 1."""
    files = sorted((folder / "images" / "train").iterdir())
    chosen = [files[int(place)] for place in np.linspace(0, len(files) - 1, count)]
    shape = PHASES[-1].image_size // 2, PHASES[-1].image_size  # width, height
    arrays = [np.asarray(decode_image(file.read_bytes()).resize(shape, Image.Resampling.BILINEAR)) for file in chosen]
    pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float().div(255)
    return [pixels[start : start + batch] for start in range(0, count, batch)]


def settle_normalisation(network: torch.nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """Set every batch normalisation's mean and variance to those that its input has on `batches`, batch by batch on average."""
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    usual = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # of all batches alike
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    network.eval()
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum


def rebase_normalisation(network: torch.nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """Give every batch normalisation the mean and variance that its input has on `batches`, and leave what it computes as it is.

    Weights that were read back from an export have them folded away: mean 0, variance 1 and all else in scale and bias. Running
    they do no harm, but training divides by a batch's own variance, and nothing of what the weights knew is left.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    sums: dict[torch.nn.Module, list[torch.Tensor]] = {layer: [] for layer in layers}

    def remember(layer: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        values = inputs[0].double()
        sums[layer].append(torch.stack([values.mean(dim=(0, 2, 3)), values.square().mean(dim=(0, 2, 3))]))

    hooks = [layer.register_forward_pre_hook(remember) for layer in layers]
    network.eval()
    with torch.no_grad():
        for batch in batches:
            network(batch)
        for hook in hooks:
            hook.remove()
        for layer in layers:
            mean, square = torch.stack(sums[layer]).mean(dim=0)
            _rebase(layer, mean, square - mean.square())


def _rebase(layer: torch.nn.BatchNorm2d, mean: torch.Tensor, variance: torch.Tensor) -> None:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    scale = layer.weight.double() / (layer.running_var.double() + layer.eps).sqrt()
    offset = layer.bias.double() - scale * layer.running_mean.double()
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(variance)
    layer.weight.copy_(scale * (variance + layer.eps).sqrt())
    layer.bias.copy_(offset + scale * mean)


def rate_at(phase: Phase, progress: float) -> float:
    """The learning rate when `progress` of the phase, 0 .. 1, is done: a rise from nothing, then a half cosine from the first to the last.

    ultralytics has a warm-up of its own, but none in a training's last epoch, which here is the only one.
    """
    rise = min(1.0, progress / _WARM_UP)
    return rise * (phase.last_rate + (phase.first_rate - phase.last_rate) * (1 + math.cos(math.pi * min(1.0, progress))) / 2)


def callbacks(phase: Phase) -> dict[str, Any]:
    """What ultralytics calls while it trains: all cores are used, the rate falls with every batch, and the phase ends after its batches."""
    batches, started = 0, time.monotonic()

    def begin(trainer: Any) -> None:
        """One core is left idle otherwise, half of a small machine; channels_last is faster on a CPU."""
        ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        torch.set_num_threads(ours or 1)
        trainer.model.to(memory_format=torch.channels_last)
        # Here, and not in a model class of our own: checkpoints hold the model's class by name, which others could not import.
        trainer.model.criterion = _known_joints_loss(trainer.model)

    def lower_rate(trainer: Any) -> None:
        nonlocal batches
        batches += 1
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate_at(phase, batches / phase.batches)

    def report(trainer: Any) -> None:
        trainer.stop = batches >= phase.batches  # in the midst of an epoch
        if batches % _REPORT_EVERY == 0:
            losses = ", ".join(f"{name} {float(value):.3f}" for name, value in trainer.loss_items.items())
            click.echo(
                f"{phase.image_size} px: batch {batches:,} of {phase.batches:,}, {(time.monotonic() - started) / 60:.0f} min, {losses}"
            )

    return {"on_train_start": begin, "on_train_batch_start": lower_rate, "on_train_batch_end": report}


def _description(folder: Path) -> dict[str, Any]:
    return {
        "path": str(folder),
        "train": "images/train",
        "val": "images/val",
        "kpt_shape": [17, 3],
        "flip_idx": COCO_MIRROR,
        "names": {0: "person"},
        "kpt_oks_sigmas": _HEAD_SIGMAS + [_LIMB_SIGMA] * 12,
    }


def _trainer() -> Any:
    """The trainer's class, made when it is needed: importing ultralytics changes the process."""
    from ultralytics.data import build_yolo_dataset
    from ultralytics.models.yolo.pose import PoseTrainer

    class CropTrainer(PoseTrainer):  # type: ignore[misc]
        """Batches of the crops' own shape, twice as high as wide: a square input would be half padding."""

        def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
            """As the parent's, with `rect` in training too."""
            return build_yolo_dataset(self.args, img_path, batch, self.data, mode=mode, rect=True, stride=32)

    return CropTrainer


def _known_joints_loss(model: Any) -> Any:
    from ultralytics.utils.loss import v8PoseLoss

    class KnownJointsLoss(v8PoseLoss):  # type: ignore[misc]
        """ultralytics' loss, of which an UNKNOWN joint is no part; its own would teach that the joint is absent."""

        def calculate_keypoints_loss(self, masks: Any, target_gt_idx: Any, keypoints: Any, *places: Any) -> Any:
            """As the parent's; `masks` (B, A) anchors that have a person, `keypoints` (B, people, 17, 3), the last place (B, A, 17, 3)."""
            known = keypoints[..., 2] != UNKNOWN
            place, _ = super().calculate_keypoints_loss(masks, target_gt_idx, keypoints * known.unsqueeze(-1), *places)
            chosen = masks.nonzero(as_tuple=True)[0], target_gt_idx[masks]
            return place, presence_loss(places[-1][masks][..., 2], keypoints[..., 2][chosen])

    return KnownJointsLoss(model)


def make_stricter(network: Any, confidence: float, becomes: float) -> None:
    """Lower all people's confidences so that `confidence` `becomes` another; their order stays."""
    shift = math.log(becomes / (1 - becomes)) - math.log(confidence / (1 - confidence))
    with torch.no_grad():
        for branch in network.model[-1].cv3:  # one of each stride; the last layer gives the logit of "person"
            branch[-1].bias.add_(shift)


def save_weights(
    checkpoint: Path, out: Path, least_sure: float = DEFAULT_CONFIDENCE, by_joint: npt.NDArray[np.float32] | None = None
) -> None:
    """Write the network of a checkpoint in half precision, and nothing else that it holds: ultralytics adds paths of this machine.

    Who was found with the confidence `least_sure` is from then on found with the default one, and joints' logits are divided by the
    temperatures `by_joint` (17,). The same network gives the same bytes.
    """
    from posegan.people.yolo import import_yolo

    network = import_yolo()(str(checkpoint.absolute()), task="pose").model
    make_stricter(network, least_sure, DEFAULT_CONFIDENCE)
    if by_joint is not None:
        cool(network, by_joint)
    network.half()
    network.args, network.pt_path, network.criterion = {"task": "pose"}, "", None
    stream = io.BytesIO()  # into a path, torch would write the path's own name as well
    torch.save({"model": network, "train_args": {"task": "pose"}, "license": "AGPL-3.0-or-later"}, stream)
    write_atomically(out, stream.getvalue())


def presence_loss(scores: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of `scores` (N, 17), whether a joint is in the picture, over those whose `states` (N, 17) are known."""
    known = states != UNKNOWN
    if not known.any():
        return scores.sum() * 0
    return F.binary_cross_entropy_with_logits(scores[known], (states[known] > 0).to(scores.dtype))
