"""The data, from the files of the pipeline to batches on the device: what the rest of the program uses of it.

`ShardIndex.load(folder or address)` says what there is; `TrainStream` gives endless shuffled batches, `ListedStream` fixed
lists, `DevicePrefetcher` brings either to the device. `MarketPoseDataset` gives single pairs, straight from the tables.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posegan.data.batches import PairBatch, to_float, to_uint8
    from posegan.data.dataset import MarketPoseDataset, PoseItem
    from posegan.data.index import ShardIndex
    from posegan.data.prefetch import DevicePrefetcher
    from posegan.data.streams import ListedStream, TrainStream

__all__ = [
    "DevicePrefetcher",
    "ListedStream",
    "MarketPoseDataset",
    "PairBatch",
    "PoseItem",
    "ShardIndex",
    "TrainStream",
    "to_float",
    "to_uint8",
]
_MODULES = {
    "batches": ("PairBatch", "to_float", "to_uint8"),
    "dataset": ("MarketPoseDataset", "PoseItem"),
    "index": ("ShardIndex",),
    "prefetch": ("DevicePrefetcher",),
    "streams": ("ListedStream", "TrainStream"),
}


def __getattr__(name: str) -> Any:
    # Late: the shard stage reads and writes samples through this package, and needs no torch.
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"posegan.data.{module}"), name)
    raise AttributeError(f"module 'posegan.data' has no attribute {name!r}")
