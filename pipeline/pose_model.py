"""The shipped pose detector: drawn people in, a YOLO pose model and its accuracy out.

`python -m pipeline.pose_model train` makes the weights again; `measure` tells how well weights find
drawn people that no training saw. The drawings are much more varied than the sample's: bystanders,
occluders, cut-off bodies, vivid colours, grey pictures and strong blur, so that the model means
something on photographs too. For photographs an official model is the better choice all the same.
"""

import contextlib
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt
import torch
import yaml
from PIL import Image

from pipeline.drawing.picture import HEIGHT, WIDTH, Drawing, Identity, draw_identity, draw_people, draw_placement
from pipeline.drawing.scene import Camera, draw_camera
from pipeline.processes import all_cores
from posegan.cli import FILE
from posegan.config import PoseConfig, RayConfig
from posegan.files import atomic_path, sha256_of
from posegan.images import decode_image
from posegan.skeleton import COCO_JOINTS, JOINTS

# Joint of the 18 for each of COCO's 17, and COCO's own mirror order for flipped training images.
_COCO_TO_JOINT = [JOINTS.index(name) for name in COCO_JOINTS]
_COCO_MIRROR = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
_COARSE, _HELD_OUT, _FINE, _LONG = 1, 2, 4, 5  # seeds of the kinds of drawings never meet
_CAMERAS_A_BLOCK, _BLOCK = 8, 500

PCK_PIXELS = 5.0


class Phase(NamedTuple):
    """One training of the detector: how many drawings, how often, at which size, and how exact."""

    stream: int
    images: int
    epochs: int
    image_size: int  # px of the longer side that the network sees
    learning_rate: float
    limb_sigma: float | None  # of COCO's OKS, for shoulders and below; None: COCO's own, made for a labeller's error


# Small pictures teach what a body is; larger ones, and a loss that forgives less, where its joints are.
COARSE = Phase(_COARSE, 18_000, 10, 128, 0.003, None)
FINE = Phase(_FINE, 24_000, 6, 192, 0.002, 0.045)
# More people once more: wrists and ankles are learned last.
LONG = Phase(_LONG, 40_000, 4, 192, 0.002, 0.045)
PHASES = (COARSE, FINE, LONG)
_HEAD_SIGMAS = [0.026, 0.025, 0.025, 0.035, 0.035]  # COCO's: nose, eyes, ears


@click.group()
def main() -> None:
    """Train or measure the pose detector that ships with the project."""


@main.command()
@click.option("--out", type=FILE, default=Path("posegan/weights/yolo11n-pose-drawn.pt"), show_default=True)
@click.option("--start", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Weights of the phase before --first.")
@click.option("--first", type=click.IntRange(0, len(PHASES) - 1), default=0, show_default=True, help="Phase to begin with.")
@click.option("--seed", type=int, default=0, show_default=True)
def train(out: Path, start: Path | None, first: int, seed: int) -> None:
    """Draw people and train a YOLO pose model on them from scratch (about three hours on two CPU cores)."""
    if (start is None) != (first == 0):
        raise click.UsageError("--start and --first go together: a later phase goes on from the weights of the one before")
    with tempfile.TemporaryDirectory() as name:
        weights = start
        for number, phase in enumerate(PHASES[first:], first):
            weights = train_detector(Path(name) / str(number), phase, seed, weights)
        assert weights is not None
        with atomic_path(out) as temporary:
            shutil.copyfile(weights, temporary)
    click.echo(f"pose model: {out}, {out.stat().st_size / 1e6:.2f} MB, SHA-256 {sha256_of(out)}")


@main.command()
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--images", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def measure(weights: Path, images: int, seed: int) -> None:
    """Print the accuracy of WEIGHTS on drawings of seeds that no training saw, as a Markdown table."""
    print(accuracy_table(weights, images, seed))


def draw_scene_of_people(rng: np.random.Generator, camera: Camera, vivid: bool) -> list[Drawing]:
    """A crop as a person detector makes it: one person, sometimes bystanders, occluders, cut-off bodies, grey."""
    people: list[tuple[Identity, float, Any]] = []
    place = draw_placement(rng, camera.pitch, cut_off=rng.random() < 0.15)
    if vivid:
        place = place._replace(scale=place.scale * rng.uniform(0.7, 1.08), x=place.x + rng.normal(0, 4))
    if rng.random() < 0.2:  # somebody behind, at the rim
        offset = rng.uniform(18, 40) * (1 if rng.random() < 0.5 else -1)
        behind = place._replace(scale=place.scale * rng.uniform(0.6, 0.95), x=place.x + offset, y=place.y - rng.uniform(2, 20))
        people.append((draw_identity(rng, vivid), float(rng.uniform(0, 2 * math.pi)), behind))
    people.append((draw_identity(rng, vivid), float(rng.uniform(0, 2 * math.pi)), place))
    return draw_people(rng, people, camera, occluded=rng.random() < 0.12, grey=vivid and rng.random() < 0.08)


def write_drawings(folder: Path, count: int, seed: int, stream: int, name: str) -> None:
    """Write `count` JPEGs and their YOLO pose labels under `folder/images/name` and `folder/labels/name`."""
    (folder / "images" / name).mkdir(parents=True)
    (folder / "labels" / name).mkdir(parents=True)
    blocks = [(folder, name, seed, stream, start, min(_BLOCK, count - start)) for start in range(0, count, _BLOCK)]
    with all_cores() as pool:
        for _ in pool.map(_write_block, blocks):
            pass


def _write_block(block: tuple[Path, str, int, int, int, int]) -> None:
    folder, name, seed, stream, start, count = block
    for index, drawings in enumerate(_draw_block(seed, stream, start, count), start):
        (folder / "images" / name / f"{index:06d}.jpg").write_bytes(drawings[0].jpeg)
        labels = [_label(drawing) for drawing in drawings]
        (folder / "labels" / name / f"{index:06d}.txt").write_text("\n".join(label for label in labels if label))


def _draw_block(seed: int, stream: int, start: int, count: int, vivid_share: float = 0.7) -> list[list[Drawing]]:
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1000 + stream, start)))
    cameras = [draw_camera(rng, vivid=bool(number % 2)) for number in range(_CAMERAS_A_BLOCK)]
    return [
        draw_scene_of_people(rng, cameras[int(rng.integers(len(cameras)))], vivid=bool(rng.random() < vivid_share)) for _ in range(count)
    ]


def _label(drawing: Drawing) -> str:
    """One line of YOLO's pose format: class, box centre and size, then 17 times x, y, visibility; all as shares."""
    if drawing.box is None:
        return ""
    left, top, right, bottom = drawing.box
    box = ((left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT, (right - left) / WIDTH, (bottom - top) / HEIGHT)
    # YOLO's coordinates run from the image's edge, ours from the first pixel's centre.
    joints = (drawing.joints[_COCO_TO_JOINT] + np.array([0.5, 0.5, 0])) / np.array([WIDTH, HEIGHT, 1])
    joints[joints[:, 2] == 0] = 0
    return " ".join(["0", *(f"{value:.6f}" for value in (*box, *joints.ravel()))])


def train_detector(folder: Path, phase: Phase, seed: int, start: Path | None) -> Path:
    """Train yolo11n-pose for one phase, from `start` or from random weights; returns the checkpoint's path in `folder`."""
    from posegan.people.yolo import import_yolo

    yolo = import_yolo()
    from ultralytics.data import build_yolo_dataset
    from ultralytics.models.yolo.pose import PoseTrainer

    class CropTrainer(PoseTrainer):  # type: ignore[misc]
        """Batches of the crops' own shape, twice as high as wide: a square input would be half padding."""

        def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
            """As the parent's, with `rect` in training too."""
            return build_yolo_dataset(self.args, img_path, batch, self.data, mode=mode, rect=True, stride=32)

    write_drawings(folder, phase.images, seed, phase.stream, "train")
    write_drawings(folder, 100, seed, _HELD_OUT + 1, "val")  # ultralytics wants some; it is not looked at
    sigmas = {} if phase.limb_sigma is None else {"kpt_oks_sigmas": _HEAD_SIGMAS + [phase.limb_sigma] * 12}
    data = folder / "drawings.yaml"
    data.write_text(
        yaml.safe_dump(
            {
                "path": str(folder),
                "train": "images/train",
                "val": "images/val",
                "kpt_shape": [17, 3],
                "flip_idx": _COCO_MIRROR,
                "names": {0: "person"},
                **sigmas,
            }
        )
    )
    model = yolo(str(start.absolute() if start else "yolo11n-pose.yaml"))
    model.add_callback("on_train_start", _use_all_cores)
    with contextlib.chdir(folder):  # ultralytics logs through dvclive, which would change this project's dvc.yaml
        model.train(
            trainer=CropTrainer, data=str(data), project=str(folder / "runs"), name="run", epochs=phase.epochs, seed=seed,
            imgsz=phase.image_size, batch=64, nbs=64, optimizer="AdamW", lr0=phase.learning_rate, lrf=0.02, cos_lr=True, warmup_epochs=0.5,
            weight_decay=0.01, pose=20.0, mosaic=0.0, close_mosaic=0, degrees=6.0, translate=0.06, scale=0.2, erasing=0.0,
            fliplr=0.5, hsv_h=0.03, hsv_s=0.5, hsv_v=0.4,
            cache="ram", workers=1, device="cpu", amp=False, plots=False, val=False, deterministic=True,
        )  # fmt: skip
    return folder / "runs" / "run" / "weights" / "last.pt"


def _use_all_cores(trainer: Any) -> None:
    """ultralytics leaves one core idle, half of a small machine; channels_last is a quarter faster on a CPU."""
    torch.set_num_threads(os.cpu_count() or 1)
    trainer.model.to(memory_format=torch.channels_last)


def accuracy_table(weights: Path, images: int, seed: int) -> str:
    """People found and PCK of their visible joints on unseen drawings: the sample's kind, and the varied kind."""
    from posegan.people.estimator import PoseEstimator

    config = PoseConfig(
        source="detector", annotations=[], weights=str(weights), sha256=sha256_of(weights), trust_unpinned=False,
        image_size=FINE.image_size, batch_size=64,
        person_confidence=0.25, joint_confidence=0.0, precision="float32", device="cpu", engine="local",
        ray=RayConfig(address="", workers=0, cpus=1.0, gpus=0.0),
    )  # fmt: skip
    estimator = PoseEstimator(config)
    lines = [
        f"| {images} drawings, unseen seeds | people found | PCK of visible joints, {PCK_PIXELS:g} px | mean error, px |",
        "|---|---|---|---|",
    ]
    for name, share in (("as the sample's", 0.0), ("as the training's, vivid", 1.0)):
        drawings = [people[-1] for people in _draw_block(seed, _HELD_OUT, 0, images, share)]
        drawings = [drawing for drawing in drawings if drawing.box is not None]
        poses = estimator.estimate([decode_image(drawing.jpeg) for drawing in drawings])
        errors = [_visible_errors(d.joints, None if pose is None else pose.keypoints) for d, pose in zip(drawings, poses, strict=True)]
        found = sum(pose is not None for pose in poses) / len(poses)
        distances = np.concatenate(errors)
        mean = distances[np.isfinite(distances)].mean()
        lines.append(f"| {name} | {found:.1%} | {(distances <= PCK_PIXELS).mean():.4f} | {mean:.2f} |")
    return "\n".join(lines)


def _visible_errors(truth: npt.NDArray[np.float32], found: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float64]:
    """Distances in px of the visible joints of one drawing, the neck left out (it is no joint of the detector's)."""
    seen = [joint for joint in _COCO_TO_JOINT if truth[joint, 2] == 2]
    if found is None:
        return np.full(len(seen), np.inf)
    distances: npt.NDArray[np.float64] = np.linalg.norm(found[seen, :2].astype(float) - truth[seen, :2], axis=1)
    distances[found[seen, 2] == 0] = np.inf
    return distances


def preview(path: Path, seed: int = 0) -> None:
    """Save a sheet of 48 training drawings, to look at."""
    sheet = Image.new("RGB", (12 * WIDTH, 4 * HEIGHT))
    for index, people in enumerate(_draw_block(seed, _COARSE, 0, 48)):
        sheet.paste(decode_image(people[0].jpeg), (index % 12 * WIDTH, index // 12 * HEIGHT))
    sheet.save(path)


if __name__ == "__main__":
    main()
