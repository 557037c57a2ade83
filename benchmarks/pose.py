"""Images a second of the pose stage's way against `for image: model(path)`, at the same input size, and how far their joints differ.

    python benchmarks/pose.py [--images 512] [--size 128] [--rounds 5]

Drawn crops of 128 x 64. Four ways, in turns in one process: ultralytics one path at a time, ultralytics' `predict` on lists, and the
stage's (an archive, decoded ahead in a thread, the network called on batches) in float32 and in bfloat16, which is worth it where the
processor computes in it (avx512_bf16, amx_bf16). Ratios are of medians. All have the same number of threads:
ultralytics, when it first predicts, takes one less than there are processors and leaves it so, which is undone here.
"""

import argparse
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.download.sample import write_sample
from pipeline.pose.rows import estimate_archive
from posegan.config import SampleConfig, load_params
from posegan.people.detectors import settled
from posegan.people.estimator import PoseEstimator, choose_person
from posegan.people.yolo import import_yolo
from posegan.skeleton import from_coco

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    config = settled(load_params(ROOT / "params.yaml").pose, [(128, 64)]).model_copy(update={"image_size": options.size})
    threads = torch.get_num_threads()
    yolo = import_yolo()(config.weights, task="pose")
    precisions = ("float32", "bfloat16")
    estimators = {precision: PoseEstimator(config.model_copy(update={"precision": precision})) for precision in precisions}
    with tempfile.TemporaryDirectory() as name:
        people = -(-options.images // 6)
        sample = SampleConfig(train_identities=people, test_identities=1, images_per_identity=8, distractors=1, broken_files=1, seed=1)
        write_sample(Path(name) / "raw.zip", sample, progress=False)
        paths = shrink(Path(name), options.images)
        with zipfile.ZipFile(Path(name) / "few.zip") as archive:
            ways: dict[str, Callable[[], Sequence[object]]] = {
                "model(path), one by one": lambda: [
                    yolo(path, imgsz=options.size, conf=config.person_confidence, device="cpu", verbose=False)[0] for path in paths
                ],
                "predict on lists": lambda: predict_lists(yolo, paths, options.size, config.person_confidence),
            }
            for precision, estimator in estimators.items():
                ways[f"the pose stage, {precision}"] = partial(_stage, archive, estimator, config.batch_size)
            results = {way: run() for way, run in ways.items()}  # warm
            torch.set_num_threads(threads)
            seconds: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(options.rounds):
                for way, run in ways.items():
                    start = time.perf_counter()
                    run()
                    seconds[way].append(time.perf_counter() - start)
    base = statistics.median(seconds["model(path), one by one"])
    for way, times in seconds.items():
        median = statistics.median(times)
        print(f"{way:26} {len(paths) / median:8.0f} images/s  {base / median:5.1f} times")
    photographs(estimators["float32"], options.images // 2, options.rounds)
    for precision in precisions:
        far, typical, near = difference(
            results[f"the pose stage, {precision}"], results["model(path), one by one"], config.joint_confidence
        )
        print(f"{precision}: joints off the one-by-one way's by {typical:.4f} px (median), {far:.3f} px (most), {near:.2%} within 0.5")


def photographs(estimator: PoseEstimator, count: int, rounds: int) -> None:
    """Print images/s for photographs of as many sizes as there are photographs, one by one and together, and for those of one size."""
    generator = np.random.default_rng(0)
    pixels = [generator.integers(0, 256, (600 + 2 * (number % 97), 400 + number % 89, 3), dtype=np.uint8) for number in range(count)]
    equal = [np.zeros_like(pixels[0]) + number % 256 for number in range(count)]
    ways: dict[str, Callable[[], object]] = {
        "photographs, one by one": lambda: [estimator.estimate([each]) for each in pixels],
        "photographs, many sizes": lambda: estimator.estimate(pixels),
        "photographs, one size": lambda: estimator.estimate(equal),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for round_number in range(rounds + 1):
        for way, run in ways.items():
            start = time.perf_counter()
            run()
            if round_number:  # the first one warms up
                seconds[way].append(time.perf_counter() - start)
    base = statistics.median(seconds["photographs, one by one"])
    for way, times in seconds.items():
        print(f"{way:26} {count / statistics.median(times):8.0f} images/s  {base / statistics.median(times):5.1f} times one by one")


def _stage(archive: zipfile.ZipFile, estimator: PoseEstimator, batch_size: int) -> Sequence[object]:
    return list(estimate_archive(archive, estimator, batch_size))


def shrink(folder: Path, count: int) -> list[str]:
    """The first `count` readable train images as files and as few.zip; the files' paths."""
    paths = []
    with zipfile.ZipFile(folder / "raw.zip") as archive, zipfile.ZipFile(folder / "few.zip", "w") as few:
        names = [name for name in archive.namelist() if name.startswith("bounding_box_train") and name.endswith("_01.jpg")]
        for name in names[:count]:
            path = folder / Path(name).name
            path.write_bytes(archive.read(name))
            few.writestr(name, archive.read(name))
            paths.append(str(path))
    return paths


def predict_lists(yolo: Callable[..., Sequence[object]], paths: Sequence[str], size: int, confidence: float) -> list[object]:
    """ultralytics' own batches of 64 decoded images."""
    found: list[object] = []
    for start in range(0, len(paths), 64):
        images = [np.ascontiguousarray(np.asarray(Image.open(path).convert("RGB"))[..., ::-1]) for path in paths[start : start + 64]]
        found += yolo(images, imgsz=size, conf=confidence, device="cpu", verbose=False)
    return found


def difference(ours: Sequence[object], theirs: Sequence[object], threshold: float) -> tuple[float, float, float]:
    """Largest and median distance in px between two ways' joints where both see them, and the share within half a pixel."""
    distances = [0.0]
    for row, shown in zip(ours, theirs, strict=True):
        if row.person is None or len(shown.boxes) == 0:  # type: ignore[attr-defined]
            continue
        chosen = int(choose_person(shown.boxes.xyxy, shown.boxes.conf, *shown.orig_shape))  # type: ignore[attr-defined]
        coco = shown.keypoints.data[chosen].numpy() - np.array([0.5, 0.5, 0], np.float32)  # type: ignore[attr-defined]
        coco[coco[:, 2] < threshold] = 0
        expected, found = from_coco(coco), row.person.keypoints  # type: ignore[attr-defined]
        seen = (found[:, 2] > 0) & (expected[:, 2] > 0)
        distances.extend(np.linalg.norm(found[seen, :2] - expected[seen, :2], axis=1).tolist())
    return max(distances), statistics.median(distances), float(np.mean(np.array(distances) <= 0.5))


if __name__ == "__main__":
    main()
