"""Time and peak memory of planning the shards, and the bytes they take, on Market-1501's training images times `--scale`.

    python benchmarks/shard.py [--scale 10] [--rounds 3] [--annotations ../shared/market1501/market-annotation-train.csv]

Planning: pairs.parquet becomes pieces, as the shard stage does it, and by a dictionary of lists of names, as one would write it
first; each run in a process of its own, in turns, on the same files; `--scale 100` means 26 million pairs (the dictionary then
needs 10 GB; leave it out with `--without-names`). Storage: all pieces of the unscaled images, each image a random
128 x 64 JPEG of about the size of Market-1501's, against those JPEGs alone and against a plain tar.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pair import RULES, make_keypoints
from PIL import Image

from pipeline.pair.stage import write_pairs
from pipeline.shard.plan import plan_pieces, read_pair_rows
from pipeline.shard.stage import make_shards
from posegan.config import ShardConfig
from posegan.formats.table import read_keypoints

CAP = 64  # images a sample


def plan_ours(keypoints: Path, pairs: Path) -> int:
    table = pq.read_table(keypoints, columns=["image", "identity"])
    rows = read_pair_rows(pairs, table)
    return sum(len(piece.pairs) for piece in plan_pieces(rows, table["identity"].to_numpy(), CAP))


def plan_by_names(keypoints: Path, pairs: Path) -> int:
    table = pq.read_table(pairs)
    groups: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for row in zip(*(table[name].to_pylist() for name in ("split", "identity", "source", "target")), strict=True):
        groups.setdefault(row[:2], []).append(row[2:])
    count = 0
    for _, group in sorted(groups.items()):
        images = sorted({name for both in group for name in both})
        position = {name: number for number, name in enumerate(images)}
        count += len(np.array([(position[source], position[target]) for source, target in sorted(group)], np.int32))
    return count


CONTENDERS = {"names": plan_by_names, "ours": plan_ours}


def run_one(contender: str, keypoints: Path, pairs: Path) -> None:
    """In a process of its own: plan, then print the pairs, the seconds and the peak memory in MB."""
    before, started = peak_megabytes(), time.perf_counter()
    count = CONTENDERS[contender](keypoints, pairs)
    print(json.dumps({"pairs": count, "seconds": time.perf_counter() - started, "peak": peak_megabytes(), "before": before}))


def peak_megabytes() -> float:
    """Of this program; getrusage would also count that of the process which started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


def report_planning(keypoints: Path, pairs: Path, contenders: list[str], rounds: int) -> None:
    runs: dict[str, list[dict[str, float]]] = {contender: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            command = [sys.executable, __file__, "--one", contender, str(keypoints), str(pairs)]
            runs[contender].append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    for contender, each in runs.items():
        median = {key: statistics.median(run[key] for run in each) for key in each[0]}
        print(
            f"{contender:6s} {median['pairs']:12,.0f} pairs {median['seconds']:8.2f} s "
            f"({min(run['seconds'] for run in each):.2f} to {max(run['seconds'] for run in each):.2f}) "
            f"{median['peak']:8,.0f} MB peak ({median['before']:,.0f} before it started)"
        )


def report_storage(folder: Path, annotations: Path) -> None:
    """Write the shards of one copy of the images, and say what they take."""
    keypoints, pairs, raw, out = (folder / name for name in ("one.parquet", "one-pairs.parquet", "raw.zip", "shards"))
    make_keypoints(keypoints, annotations, 1)
    count = write_pairs(pairs, keypoints, RULES, Path("params.yaml"))["pairs"]
    names = read_keypoints(keypoints).table["image"].to_pylist()
    used = set(np.concatenate([pq.read_table(pairs)[side].unique().to_numpy(zero_copy_only=False) for side in ("source", "target")]))
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(raw, "w") as archive:
        for name in names:
            archive.writestr(name, random_jpeg(generator))
        sizes = [member.file_size for member in archive.infolist() if member.filename in used]
    started = time.perf_counter()
    make_shards(out, raw, keypoints, pairs, ShardConfig(target_megabytes=4.0, maximum_images_per_sample=CAP), None)
    seconds, total = time.perf_counter() - started, sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    unpacked = sum(pq.read_table(out / "index.parquet")["unpacked"].to_pylist())
    jpegs = sum(sizes)
    print(
        f"{len(sizes):,} images in {count:,} pairs: JPEGs {jpegs / 1e6:.1f} MB; shards, index and checksums {total / 1e6:.1f} MB "
        f"({total / jpegs - 1:+.1%}); as a plain tar {unpacked / 1e6:.1f} MB ({unpacked / jpegs - 1:+.1%}); written in {seconds:.1f} s"
    )


def random_jpeg(generator: np.random.Generator) -> bytes:
    coarse = generator.integers(0, 256, (16, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((64, 128)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-names", action="store_true")
    default = Path(__file__).parents[2] / "shared" / "market1501" / "market-annotation-train.csv"
    parser.add_argument("--annotations", type=Path, default=default)
    parser.add_argument("--one", nargs=3, metavar=("CONTENDER", "KEYPOINTS", "PAIRS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.one[0], Path(options.one[1]), Path(options.one[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        of = "published annotations" if options.annotations.is_file() else "random joints"
        print(f"{os.cpu_count()} cores; {of}")
        report_storage(folder, options.annotations)
        images = make_keypoints(folder / "keypoints.parquet", options.annotations, options.scale)
        write_pairs(folder / "pairs.parquet", folder / "keypoints.parquet", RULES, Path("params.yaml"))
        print(f"planning, {images:,} images")
        contenders = ["ours"] if options.without_names else list(CONTENDERS)
        report_planning(folder / "keypoints.parquet", folder / "pairs.parquet", contenders, options.rounds)


if __name__ == "__main__":
    main()
