"""What the generator was trained on, as Inception sees it: the other side of FID in the papers that measure against the train set.

Legend: N images, F Inception's features.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from posegan.config import ImageConfig
from posegan.data.index import ShardIndex
from posegan.data.reader import Reader
from posegan.frozen.inception import FEATURES, Moments

SPLITS = ("train", "val")  # a person who was held out while training is of the train set as well
_SAMPLES, _IMAGES = 16, 64  # read at once, seen at once


def train_moments(
    index: ShardIndex, image: ImageConfig, network: Callable[[Tensor], npt.NDArray[np.float32]], path: Path | None = None
) -> Moments | None:
    """Moments of the features of every train image, each once; None where the shards hold none.

    Args:
        index: the shards.
        image: the size that images are fitted to.
        network: uint8 `(N, 3, H, W)` to float32 `(N, at least F)`, the features first.
        path: a file that keeps them for the next run; None keeps nothing.

    Raises:
        PoseGANError: a sample is damaged, or its shard is missing.
    """
    if not set(SPLITS) & set(index.splits):
        return None
    if path is not None and (kept := Moments.load(path)) is not None:
        return kept
    moments = Moments(FEATURES)
    for images in tqdm(_batches(index, image), "train images", unit="batch", disable=None):
        moments.add(network(images)[:, :FEATURES])
    if path is not None:
        moments.save(path)
    return moments


def _batches(index: ShardIndex, image: ImageConfig) -> Iterator[Tensor]:
    """Every train image once, `(N, 3, H, W)`; one that stands in several samples the first time."""
    seen: set[str] = set()
    with ThreadPoolExecutor() as threads:
        for split in SPLITS:
            if split not in index.splits:
                continue
            samples = index.split(split)
            reader = Reader(index, samples, image, threads, None)
            for rows in np.array_split(np.arange(len(samples)), -(-len(samples) // _SAMPLES)):
                pool = reader.decode(rows, reader.read(rows))
                first = {name: row for row, name in reversed(list(enumerate(pool.names))) if name not in seen}
                seen.update(first)
                yield from torch.split(torch.from_numpy(pool.images[sorted(first.values())]), _IMAGES)
