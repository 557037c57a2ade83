"""What outlives a process: the training state on disk, and the exported generator.

A checkpoint is whole or absent: it is written beside its name with its SHA-256 in a side file,
fsynced and renamed. The generator is a safetensors file whose header says what the network is.
"""

import json
import logging
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from posegan.config import ImageConfig, ModelConfig
from posegan.errors import PoseGANError
from posegan.files import atomic_path, sha256_of, write_atomically
from posegan.networks import Generator

_FORMAT = 1  # of the exported generator; raise it when an older program could not read a newer file
# safetensors writes its metadata in a random order: one key keeps the file's bytes reproducible.
_METADATA_KEY = "posegan"
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


class GeneratorCard(NamedTuple):
    """What an exported generator says of itself."""

    model: ModelConfig
    image: ImageConfig
    provenance: dict[str, str]


def save_generator(path: Path, generator: nn.Module, model: ModelConfig, image: ImageConfig, provenance: dict[str, str]) -> None:
    """Export weights with the configuration that rebuilds the network; equal inputs give equal bytes.

    `provenance` says where the weights come from (seed, iterations, versions), without times.
    """
    card = {"format": _FORMAT, "model": model.model_dump(), "image": image.model_dump(), "provenance": provenance}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_METADATA_KEY: json.dumps(card, sort_keys=True)})


def load_generator(path: Path, device: torch.device | str = "cpu") -> Generator:
    """The generator of a file that `save_generator` wrote, in eval mode, on `device`.

    Raises:
        PoseGANError: no such file, not a safetensors file, another program's, or tensors that do
            not fit the network it describes.
    """
    card, tensors = _read(path)
    generator = Generator(card.model, card.image)
    complaint = _misfit({name: tensor.shape for name, tensor in generator.state_dict().items()}, tensors)
    if complaint:
        raise PoseGANError(f"{path}: {complaint}; it was written by another version or is damaged: train it again with make repro")
    generator.load_state_dict(tensors)
    return generator.to(device).eval()


def read_generator_card(path: Path) -> GeneratorCard:
    """Configuration and provenance of an exported generator; errors as `load_generator`."""
    return _read(path)[0]


def _read(path: Path) -> tuple[GeneratorCard, dict[str, Tensor]]:
    if not path.is_file():
        raise PoseGANError(f"{path}: no such file; run make repro first, which trains the model, or name another with --model")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, struct.error) as error:
        raise PoseGANError(f"{path}: not a whole safetensors file ({error}); train it again with make repro") from error
    return _parse_card(path, metadata), tensors


def _parse_card(path: Path, metadata: Mapping[str, str]) -> GeneratorCard:
    if _METADATA_KEY not in metadata:
        raise PoseGANError(f"{path}: a safetensors file, but not a PoseGAN generator (its metadata has no '{_METADATA_KEY}')")
    try:
        card = json.loads(metadata[_METADATA_KEY])
        if card["format"] != _FORMAT:
            raise PoseGANError(f"{path}: format {card['format']}, this program reads {_FORMAT}; train it again with make repro")
        return GeneratorCard(ModelConfig(**card["model"]), ImageConfig(**card["image"]), dict(card["provenance"]))
    except (json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise PoseGANError(f"{path}: its description of the network is not understood; train it again with make repro") from error


def _misfit(expected: Mapping[str, torch.Size], tensors: Mapping[str, Tensor]) -> str:
    """What is wrong with `tensors` for a network of these shapes; empty when they fit."""
    missing, unknown = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unknown:
        return f"{len(missing)} tensors are missing {missing[:2]}, {len(unknown)} are unknown {unknown[:2]}"
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            return f"tensor {name} has shape {tuple(tensors[name].shape)}, expected {tuple(shape)}"
    return ""


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
