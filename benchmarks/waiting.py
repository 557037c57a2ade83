"""The share of the time in which training waits for data, on the device that is there.

    python benchmarks/waiting.py [--width 64] [--batch 64] [--iterations 300] [--identities 1200] [--recipe dsc]

The training loop itself, on shards of random 128 x 64 JPEGs that do not fit into two pools, so that decoding never ends; the first
quarter of the iterations warms up. The record of each 10 iterations says how long the loop stood waiting for a batch.
Beside it: the time from a batch in the page cache to one on the device, without training, which is the bound.
"""

import argparse
import collections
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
import yaml
from loader import make_material

from posegan.config import Params, parse_params
from posegan.data.index import ShardIndex
from posegan.data.prefetch import DevicePrefetcher
from posegan.data.streams import ListedStream, TrainStream
from posegan.device import choose_device, keep_freed_memory
from posegan.training.checkpoints import CheckpointFolder
from posegan.training.data import TrainingData
from posegan.training.loop import start
from posegan.training.progress import LossRecord


def parameters(options: argparse.Namespace) -> Params:
    """params.yaml at the asked width and batch, logging every 10 iterations and doing nothing else beside training."""
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    values["recipe"] = options.recipe
    values["model"] |= {"generator_channels": options.width, "discriminator_channels": options.width}
    values["train"] |= {
        "iterations": options.iterations, "batch_size": options.batch, "log_every": 10, "validate_every": 10**9, "sample_every": 10**9,
        "checkpoint_every": 10**9, "pool_identities": options.identities // 3, "device": options.device, "precision": options.precision,
    }  # fmt: skip
    return parse_params(values)


def to_the_device(stream: TrainStream, device: torch.device, batches: int) -> float:
    """Batches a second that reach the device when nothing else is done."""
    with DevicePrefetcher(stream.batches(0), device) as ready:
        next(ready)
        started = time.perf_counter()
        (last,) = collections.deque(itertools.islice(ready, batches), maxlen=1)
        last.source_images.sum().item()  # until the last copy is done
        return batches / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--identities", type=int, default=1200)
    parser.add_argument("--recipe", default="dsc")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="bfloat16")
    options = parser.parse_args()
    keep_freed_memory()
    params, device = parameters(options), choose_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        make_material(Path(folder) / "data", options.identities, 17)
        index, train = ShardIndex.load(Path(folder) / "data" / "shards"), params.train
        pool = (train.pool_identities, train.pairs_per_image)
        stream = TrainStream(index, "train", params.image, train.batch_size, 0, *pool)
        alone = to_the_device(TrainStream(index, "train", params.image, train.batch_size, 0, *pool), device, 4 * options.iterations)
        samples = next(iter(ListedStream(index, "train", params.image, 8, 8, 0)))
        run = start(params, TrainingData(stream, [], samples), CheckpointFolder(Path(folder) / "state", 1), device)
        records = [record for record in train(run) if isinstance(record, LossRecord)]
    kept = records[len(records) // 4 :]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    waiting = [record.waiting for record in kept]
    print(f"{name}; {os.cpu_count()} cores, torch {torch.__version__}; width {options.width}, batch {options.batch}, {train.precision}")
    print(f"training: {statistics.median(record.images_per_second for record in kept):,.0f} pairs/s")
    print(f"waiting for data: {statistics.mean(waiting):.2%} of the time (at most {max(waiting):.2%} over 10 iterations)")
    print(f"batches alone: {alone * options.batch:,.0f} pairs/s to the device")


if __name__ == "__main__":
    main()
