"""Pairs a second into batches of 64, and memory: the shard stream against three other ways of storing the same pairs.

    python benchmarks/loader.py [--identities 1200] [--images 17] [--rounds 5] [--pairs 640] [--scale 10]

All read the same random 128 x 64 JPEGs from the page cache, in one process and without worker processes. They take turns; every
figure is a median of the rounds, and the ratios are of these medians. Pairs a second a core are pairs by the process's CPU time, all
threads together, which a busy machine distorts less than the time on the clock. Two tables: up to the collated batch of uint8
images and keypoints, and up to the heatmaps (for the stream and webdataset, drawn by PoseGAN on one core). Those of a batch take
75 MB, which glibc maps anew each time; 16 images at a time stay in memory that is there, and show what the drawing itself takes.

The memory table reads one and `--scale` times as many shards, each in a process of its own.
"""

import argparse
import io
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from pipeline.pair.stage import make_pairs
from pipeline.pose.rows import Row, keypoints_table
from pipeline.raw_archive import parse_name
from pipeline.shard.stage import make_shards
from pipeline.tables import read_pairs, write_table
from posegan.config import ImageConfig, PairConfig, ShardConfig
from posegan.data.batches import PairBatch
from posegan.data.dataset import MarketPoseDataset
from posegan.data.index import ShardIndex
from posegan.data.streams import TrainStream
from posegan.device import keep_freed_memory
from posegan.files import sha256_of
from posegan.formats.table import read_keypoints
from posegan.model.geometry import heatmaps
from posegan.people.estimator import PersonPose

HEIGHT, WIDTH, BATCH = 128, 64, 64
SIZE = ImageConfig(height=HEIGHT, width=WIDTH)
RULES = PairConfig(
    require_torso=True, minimum_joints=4, minimum_joint_confidence=0.0, minimum_person_confidence=0.0, minimum_person_height=0.0,
    cameras="any", minimum_pose_difference=0.0, maximum_pairs_per_identity=0, validation_identities=0.0, train_pairs="", test_pairs="",
    seed=0,
)  # fmt: skip


class Material(NamedTuple):
    """The same pairs in each form."""

    folder: Path
    keypoints: Path
    pairs: Path
    raw: Path


def make_material(folder: Path, identities: int, images: int) -> Material:
    """Write random crops with random joints as raw.zip and tables, shards, loose files and one record a pair."""
    folder.mkdir(exist_ok=True)
    material = Material(folder, folder / "keypoints.parquet", folder / "pairs.parquet", folder / "raw.zip")
    generator = np.random.default_rng(0)
    names = [f"bounding_box_train/{i:04d}_c1s1_{n:06d}_00.jpg" for i in range(1, identities + 1) for n in range(images)]
    contents = {name: random_jpeg(generator) for name in names}
    people = [random_person(generator) for _ in names]
    rows = [Row(name, "train", parse_name(name), (WIDTH, HEIGHT), "ok", None, person) for name, person in zip(names, people, strict=True)]
    write_table(material.keypoints, keypoints_table(rows))
    write_table(material.pairs, make_pairs(read_keypoints(material.keypoints), RULES).table)
    with zipfile.ZipFile(material.raw, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    config = ShardConfig(target_megabytes=4.0, maximum_images_per_sample=64)
    make_shards(folder / "shards", material.raw, material.keypoints, material.pairs, config, SIZE)
    (folder / "loose" / "bounding_box_train").mkdir(parents=True)
    for name, data in contents.items():
        (folder / "loose" / name).write_bytes(data)
    joints = {name: person.keypoints for name, person in zip(names, people, strict=True)}
    write_annotations(folder / "annotations.csv", joints)
    write_records(folder / "records.tar", contents, joints, read_pairs(material.pairs).to_pandas())
    return material


def random_jpeg(generator: np.random.Generator) -> bytes:
    coarse = generator.integers(0, 256, (16, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((WIDTH, HEIGHT)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def random_person(generator: np.random.Generator) -> PersonPose:
    keypoints = generator.uniform(0.1, 1, (18, 3)).astype(np.float32) * np.array([WIDTH - 1, HEIGHT - 1, 1], np.float32)
    return PersonPose(keypoints, 0.9, np.array([0, 0, WIDTH, HEIGHT], np.float32))


def write_annotations(path: Path, joints: dict[str, Any]) -> None:
    lines = [f"{name}:{json.dumps(points[:, 1].tolist())}:{json.dumps(points[:, 0].tolist())}" for name, points in joints.items()]
    path.write_text("\n".join(["name:keypoints_y:keypoints_x", *lines]))


def write_records(path: Path, contents: dict[str, bytes], joints: dict[str, Any], pairs: pd.DataFrame, limit: int = 4000) -> None:
    """One WebDataset record a pair, of a random `limit` of the pairs: all of them would fill the disk with copies."""
    with path.open("wb") as file, webdataset.TarWriter(file, mtime=0) as tar:
        for number, row in enumerate(pairs.sample(min(limit, len(pairs)), random_state=0).itertuples()):
            both = np.stack([joints[row.source], joints[row.target]])
            tar.write({"__key__": f"{number:06d}", "source.jpg": contents[row.source], "target.jpg": contents[row.target], "npy": both})


class ReferenceStyle(Dataset[tuple[Any, ...]]):
    """As the earlier code reads: loose files, pandas rows by name, JSON lists; a NumPy heatmap for each joint, where asked for."""

    def __init__(self, material: Material, with_heatmaps: bool) -> None:
        self.pairs = read_pairs(material.pairs).to_pandas().sample(frac=1, random_state=0)
        self.annotations = pd.read_csv(material.folder / "annotations.csv", sep=":").set_index("name")
        self.folder, self.with_heatmaps = material.folder / "loose", with_heatmaps

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        row = self.pairs.iloc[index]
        return (*self.read(row["source"]), *self.read(row["target"]))

    def read(self, name: str) -> tuple[Any, Any]:
        row = self.annotations.loc[name]
        points = list(zip(json.loads(row["keypoints_x"]), json.loads(row["keypoints_y"]), strict=True))
        pixels = np.array(Image.open(self.folder / name)).transpose(2, 0, 1)
        if not self.with_heatmaps:
            return pixels, np.array(points, np.float32)
        xx, yy = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        maps = np.stack([np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 6.0**2)) for x, y in points])
        return pixels.astype(np.float32) / 127.5 - 1, maps.astype(np.float32)


class PlainDataset(Dataset[tuple[Any, ...]]):
    """As one would write it today: names and joints in arrays, images from loose files by Pillow."""

    def __init__(self, material: Material) -> None:
        keypoints = read_keypoints(material.keypoints)
        self.row = {name: row for row, name in enumerate(keypoints.table["image"].to_pylist())}
        self.joints, self.folder = keypoints.joints, material.folder / "loose"
        pairs = read_pairs(material.pairs)
        self.names = list(zip(pairs["source"].to_pylist(), pairs["target"].to_pylist(), strict=True))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        both = self.names[index]
        pixels = [np.array(Image.open(self.folder / name).convert("RGB")).transpose(2, 0, 1) for name in both]
        return *pixels, *(self.joints[self.row[name]] for name in both)


def record_batches(path: Path) -> Iterator[Any]:
    """Records of one pair, decoded and collated as uint8 images and keypoints."""

    def decoded(sample: dict[str, Any]) -> tuple[Any, ...]:
        pixels = (
            np.asarray(Image.open(io.BytesIO(sample[name])).convert("RGB")).transpose(2, 0, 1) for name in ("source.jpg", "target.jpg")
        )
        return (*pixels, *np.load(io.BytesIO(sample["npy"])))

    records = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).shuffle(1000).map(decoded).batched(BATCH)
    while True:
        yield from DataLoader(records, batch_size=None)


def stream(index: ShardIndex, pool: int, per_image: int, threads: int = 1) -> Iterator[PairBatch]:
    return TrainStream(index, "train", SIZE, BATCH, 0, pool, per_image, threads=threads).batches(0)


def with_heatmaps(batches: Iterator[Any], together: int = 2 * BATCH) -> Iterator[Any]:
    """The batches and both stacks of heatmaps of each, so many images `together`: keypoints are the third and the fourth part."""
    for batch in batches:
        for joints in torch.cat([torch.as_tensor(joints) for joints in batch[2:4]]).split(together):
            maps = heatmaps(joints, HEIGHT, WIDTH, 6.0)
        yield batch, maps


class Rate(NamedTuple):
    """Pairs a second by the clock, and by the CPU time of all threads."""

    clock: float
    core: float


def rate(batches: Iterator[Any], pairs: int) -> Rate:
    """Over the next `pairs` pairs."""
    count = max(1, pairs // BATCH)
    started, worked = time.perf_counter(), time.process_time()
    for _ in itertools.islice(batches, count):
        pass
    done = count * BATCH
    return Rate(done / (time.perf_counter() - started), done / (time.process_time() - worked))


Contenders = dict[str, tuple[Iterator[Any], int]]  # how many times `--pairs` a round takes


def to_uint8_batches(material: Material, visit: int) -> Contenders:
    index = ShardIndex.load(material.folder / "shards")
    identities = len(index.split("train"))
    return {
        "(a) reference style: loose files, pandas, JSON": (iter(DataLoader(ReferenceStyle(material, False), BATCH, shuffle=True)), 1),
        "(b) plain Dataset in a DataLoader": (iter(DataLoader(PlainDataset(material), BATCH, shuffle=True)), 1),
        "(c) webdataset, one record a pair": (record_batches(material.folder / "records.tar"), 1),
        "stream, pools of a third, 4 pairs an image": (stream(index, identities // 3, 4), 4 * visit),
        "stream, pools of a third, 1 pair an image": (stream(index, identities // 3, 1), visit),
        "stream, pools of a third, all pairs": (stream(index, identities // 3, 10**6), 16 * visit),
        "stream, all images stay in memory": (stream(index, identities, 4), visit),
        "stream, pools of a third, 4 pairs an image, 2 threads": (stream(index, identities // 3, 4, 2), 4 * visit),
    }


def to_heatmaps(material: Material, visit: int) -> Contenders:
    index = ShardIndex.load(material.folder / "shards")
    dataset = MarketPoseDataset(material.keypoints, material.pairs, material.raw, SIZE)
    return {
        "(a) reference style, NumPy heatmaps for each item": (iter(DataLoader(ReferenceStyle(material, True), BATCH, shuffle=True)), 1),
        "(b) MarketPoseDataset in a DataLoader": (iter(DataLoader(dataset, BATCH, shuffle=True)), 1),
        "(c) webdataset, heatmaps for the batch": (with_heatmaps(record_batches(material.folder / "records.tar")), 1),
        "stream, heatmaps for the batch": (with_heatmaps(stream(index, len(index.split("train")) // 3, 4)), 4),
        "stream, heatmaps 16 images at a time": (with_heatmaps(stream(index, len(index.split("train")) // 3, 4), 16), 4),
    }


def measure(contenders: Contenders, rounds: int, pairs: int) -> dict[str, list[Rate]]:
    rates: dict[str, list[Rate]] = {name: [] for name in contenders}
    for batches, _ in contenders.values():  # the first batch pays for opening and, in the streams, for the first pool
        next(batches)
    for _ in tqdm(range(rounds), "rounds", disable=None):
        for name, (batches, times) in contenders.items():
            rates[name].append(rate(batches, pairs * times))
    for batches, _ in contenders.values():
        if hasattr(batches, "close"):
            batches.close()  # its threads end
    return rates


def report(title: str, rates: dict[str, list[Rate]]) -> None:
    medians = {name: Rate(*(statistics.median(column) for column in zip(*each, strict=True))) for name, each in rates.items()}
    baselines = [medians[name].core for name in medians if name.startswith("(")]
    print(f"\n{title:56s} pairs/s (lowest to highest)    pairs/s a core    x (a)    x (b)    x (c)")
    for name, median in medians.items():
        low, high = min(each.clock for each in rates[name]), max(each.clock for each in rates[name])
        ratios = "".join(f"{median.core / baseline:9.1f}" for baseline in baselines)
        print(f"{name:56s}{median.clock:9,.0f} ({low:,.0f} to {high:,.0f}){'':4s}{median.core:12,.0f}{ratios}")


def multiply(folder: Path, scale: int) -> None:
    """Make `scale` times as many samples of a folder of shards: copies of the files, and rows of the index for them."""
    table = pq.read_table(folder / "index.parquet")
    copies = [table]
    for number in range(1, scale):
        names = [name.replace("train-", f"copy{number}-") for name in table["shard"].to_pylist()]
        for old, new in dict(zip(table["shard"].to_pylist(), names, strict=True)).items():
            shutil.copy(folder / old, folder / new)
        copies.append(table.set_column(table.schema.get_field_index("shard"), table.schema.field("shard"), pa.array(names)))
    pq.write_table(pa.concat_tables(copies), folder / "index.parquet")
    (folder / "SHA256SUMS").write_text(f"{sha256_of(folder / 'index.parquet')}  index.parquet\n")


def print_memory(folder: Path, pool: int, batches: int) -> None:
    """In a process of its own: read, then print the samples, the peak and what it was before, in MB."""
    before = peak_megabytes()
    index = ShardIndex.load(folder)
    for _ in itertools.islice(stream(index, pool, 4), batches):
        pass
    print(len(index.split("train")), peak_megabytes(), before)


def peak_megabytes() -> float:
    """Of this program; getrusage would also count that of the process which started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


def report_memory(folder: Path, options: argparse.Namespace) -> None:
    """Peak memory over the same number of pools of `folder` as it is, and of `--scale` times as much."""
    pool = options.identities // 3
    batches = 4 * pool * options.images * 4 // BATCH  # four pools
    print("\npeak memory, four pools read")
    for scale in (1, options.scale):
        if scale > 1:
            multiply(folder, scale)
        command = [sys.executable, __file__, "--memory-of", str(folder), str(pool), str(batches)]
        samples, peak, before = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        print(
            f"{int(samples):10,} samples in pools of {pool:,}: {float(peak):8,.0f} MB ({float(before):,.0f} MB before the index was read)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=1200)
    parser.add_argument("--images", type=int, default=17, help="of each identity; Market-1501's mean")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--pairs", type=int, default=640, help="pairs of a round; streams take an epoch, so that each round has its share of the decoding"
    )
    parser.add_argument("--scale", type=int, default=10, help="how many times as much the second memory figure reads")
    parser.add_argument("--memory-of", nargs=3, metavar=("FOLDER", "POOL", "BATCHES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()  # as the train stage does; so for all contenders
    torch.set_num_threads(1)
    if options.memory_of:
        print_memory(Path(options.memory_of[0]), int(options.memory_of[1]), int(options.memory_of[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        material = make_material(Path(folder), options.identities, options.images)
        jpegs = sum(path.stat().st_size for path in (material.folder / "loose").rglob("*.jpg"))
        shards = sum(path.stat().st_size for path in (material.folder / "shards").rglob("*") if path.is_file())
        print(f"{os.cpu_count()} cores, torch {torch.__version__}; {options.identities * options.images:,} images of {jpegs / 1e6:.1f} MB; "
              f"shards and index {shards / 1e6:.1f} MB, {shards / jpegs - 1:+.1%}")  # fmt: skip
        visit = -(-options.identities * options.images // options.pairs)  # so many rounds' pairs are an epoch at one pair an image
        report("to the batch of uint8 images", measure(to_uint8_batches(material, visit), options.rounds, options.pairs))
        report("to the heatmaps", measure(to_heatmaps(material, visit), options.rounds, options.pairs))
        report_memory(material.folder / "shards", options)


if __name__ == "__main__":
    main()
