"""The training state on disk.

A checkpoint is whole or absent: it is written beside its name with its SHA-256 in a side file, fsynced and renamed.
"""

import logging
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

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
        except RuntimeError as error:  # torch's writer says so of whatever the system refuses it
            raise PoseGANError(f"{path}: the training state could not be written ({error}); free some space, then run again") from error
        self._drop_all_but_the_last(step)
        return path

    def latest(
        self, until: int | None = None, refusal: Callable[[dict[str, Any]], str] = lambda _: ""
    ) -> tuple[int, dict[str, Any]] | None:
        """The newest whole state, of a step up to `until`, with its step, on the CPU; another is passed over with a warning.

        `refusal` says why a state that is whole cannot be gone on with, if so.
        """
        for step, path in reversed(self._states()):
            state = _load_state(path) if until is None or step <= until else None
            if state is None:
                continue
            if why := refusal(state):
                logger.warning("%s: passed over, since %s", path, why)
                continue
            return step, state
        return None

    def _states(self) -> list[tuple[int, Path]]:
        return _states_in(self.folder)

    def _drop_all_but_the_last(self, step: int) -> None:
        # A state of a later step is a damaged one that `latest` passed over: it must not displace a good one.
        steps = [state for state, _ in self._states() if state <= step][-self.keep :]
        for other, path in self._states():
            if other not in steps:
                path.unlink()
                _hash_path(path).unlink(missing_ok=True)


def saved_steps(folder: Path) -> list[int]:
    """The steps of the states in a folder, in order, damaged ones too."""
    return [step for step, _ in _states_in(folder)]


def _states_in(folder: Path) -> list[tuple[int, Path]]:
    matches = [(_NAME.fullmatch(path.name), path) for path in folder.glob("step-*.pt")]
    return sorted((int(match[1]), path) for match, path in matches if match)


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
