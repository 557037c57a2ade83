"""The data, from the files of the pipeline to batches on the device: what the rest of the program uses of it.

`ShardIndex.load(folder or address)` says what there is; `TrainStream` gives endless shuffled batches, `ListedStream` fixed
lists, `DevicePrefetcher` brings either to the device. `MarketPoseDataset` gives single pairs, straight from the tables.
"""

from posegan.batches import PairBatch, to_float, to_uint8
from posegan.dataset import MarketPoseDataset, PoseItem
from posegan.prefetch import DevicePrefetcher
from posegan.shards import ShardIndex
from posegan.stream import ListedStream, TrainStream

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
