"""The training state on disk, under a name that only runs share which learn the same from the same.

A checkpoint is whole or absent: it is written beside its name with its SHA-256 in a side file, fsynced and renamed.
"""

import hashlib
import json
import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from posegan.config import Params
from posegan.errors import PoseGANError
from posegan.files import atomic_path, sha256_of, write_atomically

_NAME = re.compile(r"step-(\d{8})\.pt")

logger = logging.getLogger(__name__)


class CheckpointFolder:
    """The last `keep` training states of one run, in one folder.

    Each is `step-00000100.pt` with its hash in `step-00000100.pt.sha256`: of 300 single bit flips
    `torch.load` missed 158, a hash misses none.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write `state` (tensors, numbers, strings, lists and dicts of them) and drop the oldest.

        Raises:
            PoseGANError: it could not be written, for example because the disk is full.
        """
        path = self.folder / f"step-{step:08d}.pt"
        try:
            with atomic_path(path) as temporary:
                torch.save(dict(state), temporary)
                # Before the rename, so that a checkpoint under its real name always has its hash.
                write_atomically(_hash_path(path), sha256_of(temporary) + "\n")
        except RuntimeError as error:  # torch's writer reports a full disk as such
            raise PoseGANError(f"{path}: the training state could not be written ({error}); free some space, then run again") from error
        self._drop_all_but_the_last(step)
        return path

    def latest(self, until: int | None = None) -> tuple[int, dict[str, Any]] | None:
        """The newest whole state, of a step up to `until`, with its step, on the CPU; a damaged one is passed over with a warning."""
        for step, path in reversed(self._states()):
            state = _load_state(path) if until is None or step <= until else None
            if state is not None:
                return step, state
        return None

    def _states(self) -> list[tuple[int, Path]]:
        matches = [(_NAME.fullmatch(path.name), path) for path in self.folder.glob("step-*.pt")]
        return sorted((int(match[1]), path) for match, path in matches if match)

    def _drop_all_but_the_last(self, step: int) -> None:
        # A state of a later step is a damaged one that `latest` passed over: it must not displace a good one.
        steps = [state for state, _ in self._states() if state <= step][-self.keep :]
        for other, path in self._states():
            if other not in steps:
                path.unlink()
                _hash_path(path).unlink(missing_ok=True)


def _load_state(path: Path) -> dict[str, Any] | None:
    recorded = _hash_path(path)
    if not recorded.is_file() or recorded.read_bytes().strip() != sha256_of(path).encode():
        logger.warning("%s: damaged (its SHA-256 is not the recorded one); the state before it is taken", path)
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        logger.warning("%s: not readable by this version of torch (%s); the state before it is taken", path, error)
        return None
    return state


def _hash_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


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
