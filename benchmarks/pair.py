"""Time and peak memory of the pair stage against a plain pandas merge, on Market-1501's training images times `--scale`.

    python benchmarks/pair.py [--scale 10] [--rounds 3] [--annotations ../shared/market1501/market-annotation-train.csv]

The published annotations are repeated under new identity numbers; where they are absent, as many random ones stand
for them. Both sides read the same keypoints.parquet from the page cache and write all ordered pairs of the images with a torso, each
run in a process of its own, in turns; the ratios are of medians. `--scale 100` makes 26 million pairs.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.tables import write_blocks
from posegan.config import PairConfig
from posegan.formats.table import KEYPOINTS_SCHEMA, joint_columns
from posegan.skeleton import JOINTS, TORSO

RULES = PairConfig(
    require_torso=True, minimum_joints=4, minimum_joint_confidence=0.0, minimum_person_confidence=0.25, minimum_person_height=0.0,
    cameras="any", minimum_pose_difference=0.0, maximum_pairs_per_identity=0, validation_identities=0.05, train_pairs="", test_pairs="",
    seed=0,
)  # fmt: skip
IDENTITIES, IMAGES = 751, 17  # of the random stand-in: 12,767 images
CONTENDERS = ("pandas", "ours")


def make_keypoints(path: Path, annotations: Path, scale: int) -> int:
    """Write keypoints.parquet of `scale` copies, each with new identities; returns its rows."""
    identity, names, joints = published(annotations) if annotations.is_file() else random_people()
    order = np.argsort(identity, kind="stable")
    identity, names, joints = identity[order], [names[row] for row in order], joints[order]
    _, identity = np.unique(identity, return_inverse=True)
    rows, count = len(names), int(identity.max()) + 1
    camera = [int(name[name.index("_c") + 2]) for name in names]
    constant = {
        "camera": camera,
        "sequence": [1] * rows,
        "frame": [1] * rows,
        "box": [1] * rows,
        "width": [64] * rows,
        "height": [128] * rows,
    }
    known = joints[..., 2].any(axis=1)
    constant |= {"split": ["train"] * rows, "status": np.where(known, "ok", "no_person").tolist(), "detail": [None] * rows}
    constant |= {"person_confidence": pa.array(np.ones(rows, np.float32), mask=~known), **joint_columns(joints, known)}

    def copies():
        for copy in range(scale):
            people = identity + 1 + copy * count
            images = [f"bounding_box_train/{person:07d}{name[name.index('_c') :]}" for person, name in zip(people, names, strict=True)]
            columns = {**constant, "identity": people.astype(np.int32), "image": images}
            yield pa.table({name: columns[name] for name in KEYPOINTS_SCHEMA.names}, schema=KEYPOINTS_SCHEMA)

    write_blocks(path, KEYPOINTS_SCHEMA, copies(), {})
    return rows * scale


def published(annotations: Path) -> tuple[np.ndarray, list[str], np.ndarray]:
    from posegan.formats.keypoint_csv import read_keypoint_csv

    people = read_keypoint_csv(annotations)
    names = [person.image for person in people]
    return np.array([int(name.split("_")[0]) for name in names]), names, np.stack([person.keypoints for person in people])


def random_people() -> tuple[np.ndarray, list[str], np.ndarray]:
    generator = np.random.default_rng(0)
    identity = np.repeat(np.arange(IDENTITIES), IMAGES)
    names = [f"{person:04d}_c{n % 6 + 1}s1_{n:06d}_00.jpg" for n, person in enumerate(identity)]
    joints = generator.uniform(0.1, 1, (len(names), 18, 3)).astype(np.float32) * np.array([64, 128, 1], np.float32)
    joints[generator.random(joints.shape[:2]) < 0.02] = 0
    return identity, names, joints


def pair_with_pandas(keypoints: Path, out: Path) -> int:
    """The same pairs as most would write them: filter, merge the table with itself on identity, drop the diagonal, sort."""
    torso = [f"{JOINTS[joint]}_confidence" for joint in TORSO]
    columns = ["image", "split", "identity", "status", "person_confidence", *torso]
    table = pd.read_parquet(keypoints, columns=columns)
    table = table[(table.status == "ok") & (table.identity > 0) & (table.person_confidence >= 0.25) & (table[torso] > 0).all(axis=1)]
    table = table[["image", "identity", "split"]]
    pairs = table.merge(table[["image", "identity"]], on="identity", suffixes=("_source", "_target"))
    pairs = pairs[pairs.image_source != pairs.image_target].sort_values(["image_source", "image_target"])
    held_out = np.random.default_rng(0).permutation(table.identity.unique())[: round(0.05 * table.identity.nunique())]
    pairs.loc[pairs.identity.isin(held_out), "split"] = "val"
    pairs.rename(columns={"image_source": "source", "image_target": "target"}).to_parquet(out, compression="zstd", index=False)
    return len(pairs)


def run_one(contender: str, keypoints: Path, out: Path) -> None:
    """In a process of its own: pair, then print the pairs, the seconds and the peak memory in MB."""
    from pipeline.pair.stage import write_pairs

    before, started = peak_megabytes(), time.perf_counter()
    pairs = pair_with_pandas(keypoints, out) if contender == "pandas" else write_pairs(out, keypoints, RULES, Path("params.yaml"))["pairs"]
    print(json.dumps({"pairs": pairs, "seconds": time.perf_counter() - started, "peak": peak_megabytes(), "before": before}))


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measure(keypoints: Path, folder: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    results: dict[str, list[dict[str, float]]] = {contender: [] for contender in CONTENDERS}
    for _ in range(rounds):
        for contender in CONTENDERS:
            command = [sys.executable, __file__, "--one", contender, str(keypoints), str(folder / f"{contender}.parquet")]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[contender].append(json.loads(done.stdout))
    return results


def report(results: dict[str, list[dict[str, float]]]) -> None:
    medians = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in results.items()}
    for name, runs in results.items():
        seconds, peaks = [run["seconds"] for run in runs], [run["peak"] for run in runs]
        median = medians[name]
        print(
            f"{name:8s} {median['pairs']:12,.0f} pairs {median['seconds']:8.2f} s ({min(seconds):.2f} to {max(seconds):.2f}) "
            f"{median['peak']:8,.0f} MB peak ({min(peaks):,.0f} to {max(peaks):,.0f}; {median['before']:,.0f} before it started)"
        )
    ratio = {key: medians["pandas"][key] / medians["ours"][key] for key in ("seconds", "peak")}
    print(f"pandas / ours: {ratio['seconds']:.2f} x the time, {ratio['peak']:.2f} x the memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    default = Path(__file__).parents[2] / "shared" / "market1501" / "market-annotation-train.csv"
    parser.add_argument("--annotations", type=Path, default=default)
    parser.add_argument("--one", nargs=3, metavar=("CONTENDER", "KEYPOINTS", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.one[0], Path(options.one[1]), Path(options.one[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        keypoints = Path(folder) / "keypoints.parquet"
        rows = make_keypoints(keypoints, options.annotations, options.scale)
        of = "published annotations" if options.annotations.is_file() else "random joints"
        print(f"{os.cpu_count()} cores; {rows:,} images of {of}, {keypoints.stat().st_size / 1e6:,.0f} MB")
        report(measure(keypoints, Path(folder), options.rounds))
        counted = {pq.read_metadata(Path(folder) / f"{contender}.parquet").num_rows for contender in CONTENDERS}
        if len(counted) != 1:
            raise SystemExit(f"the two sides wrote different numbers of pairs: {counted}")


if __name__ == "__main__":
    main()
