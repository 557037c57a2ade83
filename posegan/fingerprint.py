"""The name of a training run: two runs have the same one only if they learn the same from the same."""

import hashlib
import json
from pathlib import Path

import torch

from posegan.config import Params
from posegan.files import sha256_of

# What makes two runs the same run: these sections, the modules that this one rests on, the shards, the torch version.
_SECTIONS = ("image", "model", "loss", "features", "train")
_MODULES = (
    "acceleration", "batches", "checkpoint", "config", "decoding", "device", "divergence", "draws", "features",
    "geometry", "images", "losses", "metrics", "networks", "order", "pool", "prefetch", "progress", "ranks", "records",
    "samples", "shards", "skeleton", "stored", "stores", "stream", "training", "training_data", "updates", "warp",
    "weight_files",
)  # fmt: skip


def fingerprint(params: Params, shards_sha256: str) -> str:
    """16 hex digits that name a run: equal only if the results of a whole run would be equal on one processor.

    How many processes share it does not count, so that another number of them may go on with it. The modules' sources
    count, so that a run after an edited loss never continues, or passes off as its own, what the old loss had trained.
    """
    content = {
        "params": {name: getattr(params, name).model_dump() for name in _SECTIONS},
        "shards": shards_sha256,
        "modules": {name: sha256_of(Path(__file__).with_name(f"{name}.py")) for name in _MODULES},
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
