"""Images a second of the pose stage's way against `for image: model(path)`, at the same input size, and how far their joints differ.

    python benchmarks/pose.py [--images 512] [--size 128] [--rounds 5]

Drawn crops of 128 x 64. Three ways, in turns in one process: ultralytics one path at a time, ultralytics' `predict` on lists, and
the stage's (an archive, decoded ahead in a thread, the network called on batches). Ratios are of medians.
"""

import argparse
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.pose_rows import estimate_archive
from pipeline.synthetic import write_sample
from posegan.config import SampleConfig, load_params
from posegan.estimator import PoseEstimator, choose_person, import_yolo

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    config = load_params(ROOT / "params.yaml").pose
    config = config.model_copy(update={"image_size": options.size, "weights": str(ROOT / config.weights)})
    yolo, estimator = import_yolo()(config.weights, task="pose"), PoseEstimator(config)
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
                "the pose stage": lambda: list(estimate_archive(archive, estimator, config.batch_size)),
            }
            results = {way: run() for way, run in ways.items()}  # warm
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
    print(f"largest distance of a joint to the one-by-one way's: {difference(results, config.joint_confidence):.3f} px")


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


def difference(results: dict[str, Sequence[object]], threshold: float) -> float:
    """Largest distance in px between a joint of the stage's and of the one-by-one way's, where both see it."""
    from posegan.skeleton import from_coco

    largest = 0.0
    for row, shown in zip(results["the pose stage"], results["model(path), one by one"], strict=True):
        if row.person is None or len(shown.boxes) == 0:  # type: ignore[attr-defined]
            continue
        chosen = choose_person(shown.boxes.xyxy.numpy(), shown.boxes.conf.numpy(), *shown.orig_shape)  # type: ignore[attr-defined]
        theirs = shown.keypoints.data[chosen].numpy() - np.array([0.5, 0.5, 0], np.float32)  # type: ignore[attr-defined]
        theirs[theirs[:, 2] < threshold] = 0
        theirs, ours = from_coco(theirs), row.person.keypoints  # type: ignore[attr-defined]
        seen = (ours[:, 2] > 0) & (theirs[:, 2] > 0)
        largest = max(largest, float(np.linalg.norm(ours[seen, :2] - theirs[seen, :2], axis=1).max(initial=0)))
    return largest


if __name__ == "__main__":
    main()
