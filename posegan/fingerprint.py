"""The name of a training run: two runs have the same one only if they learn the same from the same."""

import hashlib
import json

import torch

from posegan.config import Params

# What makes two runs the same run: these sections, the code, the shards, the torch version.
_SECTIONS = ("image", "model", "loss", "features", "train")


def fingerprint(params: Params, shards_sha256: str, code_sha256: str) -> str:
    """16 hex digits that name a run: equal only if the results of a whole run would be equal on one processor.

    How many processes share it does not count, so that another number of them may go on with it. The code that trains
    counts, so that a run after an edited loss never continues, or passes off as its own, what the old loss had trained.
    """
    content = {
        "params": {name: getattr(params, name).model_dump() for name in _SECTIONS},
        "shards": shards_sha256,
        "code": code_sha256,
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
