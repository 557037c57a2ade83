"""Pairs a second into batches of 64: the shard stream against three other ways of storing the same pairs.

    python benchmarks/loader.py [--identities 200] [--images 12] [--rounds 5] [--pairs 640]

All read the same random 128 x 64 JPEGs from the page cache in one process, without worker processes (the stream
has its two decoding threads). They take turns, and the ratios are of medians, so that a busy machine slows them
alike. The reference style and the plain dataset make heatmaps for each item, as their users do; the other two give
uint8 images and keypoints, from which the device makes heatmaps.
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import webdataset
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from pipeline.market1501 import parse_name
from pipeline.pair import make_pairs
from pipeline.pose_rows import Row, keypoints_table
from pipeline.shard import plan_pieces, write_shards
from pipeline.tables import read_keypoints, read_pairs, write_table
from posegan.config import ImageConfig, PairConfig
from posegan.data import MarketPoseDataset
from posegan.estimator import PersonPose
from posegan.stream import ShardIndex, TrainStream

HEIGHT, WIDTH, BATCH = 128, 64, 64
SIZE = ImageConfig(height=HEIGHT, width=WIDTH)
RULES = PairConfig(
    require_torso=True, minimum_joints=4, minimum_joint_confidence=0.0, minimum_person_confidence=0.0, minimum_person_height=0.0,
    cameras="any", minimum_pose_difference=0.0, maximum_pairs_per_identity=0, validation_identities=0.0, test_pairs="", seed=0,
)  # fmt: skip


class Material(NamedTuple):
    """The same pairs in each form."""

    folder: Path
    keypoints: Path
    pairs: Path
    raw: Path


def make_material(folder: Path, identities: int, images: int) -> Material:
    """Write random crops with random joints as raw.zip and tables, shards, loose files and one record a pair."""
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
    with zipfile.ZipFile(material.raw) as archive:
        pieces = plan_pieces(read_pairs(material.pairs), 64)
        index = write_shards(folder / "shards", pieces, read_keypoints(material.keypoints), archive, 4e6)
    write_table(folder / "shards" / "index.parquet", index)
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
    """As the earlier code reads: loose files, pandas rows by name, JSON lists, a NumPy heatmap for each joint."""

    def __init__(self, material: Material) -> None:
        self.pairs = read_pairs(material.pairs).to_pandas().sample(frac=1, random_state=0)
        self.annotations = pd.read_csv(material.folder / "annotations.csv", sep=":").set_index("name")
        self.folder = material.folder / "loose"

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        row = self.pairs.iloc[index]
        return (*self.read(row["source"]), *self.read(row["target"]))

    def read(self, name: str) -> tuple[Any, Any]:
        row = self.annotations.loc[name]
        points = zip(json.loads(row["keypoints_x"]), json.loads(row["keypoints_y"]), strict=True)
        xx, yy = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        maps = np.stack([np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 6.0**2)) for x, y in points])
        pixels = np.asarray(Image.open(self.folder / name)).transpose(2, 0, 1).astype(np.float32)
        return pixels / 127.5 - 1, maps.astype(np.float32)


def record_batches(path: Path) -> Iterator[Any]:
    """Records of one pair, decoded and collated as uint8 images and keypoints."""

    def decoded(sample: dict[str, Any]) -> tuple[Any, ...]:
        pixels = (
            np.asarray(Image.open(io.BytesIO(sample[name])).convert("RGB")).transpose(2, 0, 1) for name in ("source.jpg", "target.jpg")
        )
        return (*pixels, np.load(io.BytesIO(sample["npy"])))

    records = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).shuffle(1000).map(decoded).batched(BATCH)
    while True:
        yield from DataLoader(records, batch_size=None)


def rate(batches: Iterator[Any], pairs: int) -> float:
    """Pairs a second over the next `pairs` pairs."""
    count = max(1, pairs // BATCH)
    started = time.perf_counter()
    for _ in islice(batches, count):
        pass
    return count * BATCH / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=200)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=640, help="pairs of a round; the stream takes 50 times as many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        material = make_material(Path(folder), options.identities, options.images)
        index = ShardIndex.load(material.folder / "shards")
        dataset = MarketPoseDataset(material.keypoints, material.pairs, material.raw, SIZE)
        contenders: dict[str, tuple[Iterator[Any], int]] = {
            "reference style: loose files, pandas, NumPy heatmaps": (iter(DataLoader(ReferenceStyle(material), BATCH, shuffle=True)), 1),
            "MarketPoseDataset in a DataLoader": (iter(DataLoader(dataset, BATCH, shuffle=True)), 1),
            "webdataset, one record a pair": (record_batches(material.folder / "records.tar"), 1),
            "stream, a quarter of the identities pooled": (stream(index, options.identities // 4), 50),
            "stream, all identities in memory": (stream(index, options.identities), 50),
        }
        rates = measure(contenders, options.rounds, options.pairs)
    report(rates)


def stream(index: ShardIndex, pool: int) -> Iterator[Any]:
    return TrainStream(index, "train", SIZE, BATCH, 0, pool, 4).batches(0)


def measure(contenders: dict[str, tuple[Iterator[Any], int]], rounds: int, pairs: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for batches, _ in contenders.values():  # the first batch pays for opening and, in the streams, for the first pool
        next(batches)
    for _ in tqdm(range(rounds), "rounds", disable=None):
        for name, (batches, times) in contenders.items():
            rates[name].append(rate(batches, pairs * times))
    return rates


def report(rates: dict[str, list[float]]) -> None:
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} threads")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name:54s} {median:10,.0f} pairs/s  ({min(rates[name]):,.0f} to {max(rates[name]):,.0f}) {median / first:8.1f} x")


if __name__ == "__main__":
    main()
