"""Trained weights of other people's networks: which file they are, where it may lie, and how it is opened.

Weights are read as tensors and nothing else: safetensors, or a pickle with `weights_only`.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from posegan.errors import PoseGANError
from posegan.files import sha256_of


class OfficialFile(NamedTuple):
    """A released file of weights."""

    title: str
    names: tuple[str, ...]  # under which the same bytes are known, the usual one first
    url: str  # "": nowhere that can be fetched from
    sha256: str  # all of it, or its first digits where only those are published


class WeightsAbsentError(PoseGANError):
    """No usable file of weights is at hand; the message says which was looked for, and what to do."""


class Weights(NamedTuple):
    """A state dict, and where it comes from."""

    state: Mapping[str, Tensor]
    path: Path
    sha256: str
    official: bool

    @property
    def description(self) -> str:
        """For people: the file and its hash."""
        return f"{self.path.name} (SHA-256 {self.sha256[:12]}{'' if self.official else ', not the official file'})"


def find_weights(file: OfficialFile, chosen: str, folders: tuple[Path, ...], key: str) -> Weights:
    """The weights at the path `chosen` or, where that is empty, of the official name in the first of `folders` that has it.

    A file that is found by its name has to have the official SHA-256; one that is chosen is taken at its user's word, and
    says in its description whether it is the official one.

    Args:
        file: what is looked for.
        chosen: a path, or empty.
        folders: where to look, in order; torch's own cache (TORCH_HOME) is looked at last.
        key: of params.yaml, for errors.

    Raises:
        PoseGANError: a chosen file is missing or damaged.
        WeightsAbsentError: nothing was chosen, and no folder has a file with the official bytes.
    """
    if chosen:
        path = Path(chosen)
        if not path.is_file():
            raise PoseGANError(f"{key}: {chosen}: no such file; correct the path, or empty it to look in {folders[0]}")
        sha256 = sha256_of(path)
        return Weights(read_state_dict(path, key), path, sha256, bool(file.sha256) and sha256.startswith(file.sha256))
    places = [folder / name for folder in (*folders, torch_cache()) for name in file.names]
    path = next((place for place in places if place.is_file()), places[0])
    remedy = f"put {file.names[0]}{f' ({file.url})' if file.url else ''} into {folders[0]}, or name a file in {key}"
    if not path.is_file():
        raise WeightsAbsentError(f"no weights of {file.title}; {remedy}")
    sha256 = sha256_of(path)
    if not sha256.startswith(file.sha256):
        raise WeightsAbsentError(f"{path}: its SHA-256 begins with {sha256[:8]}, expected {file.sha256[:8]}; remove it, then {remedy}")
    try:
        return Weights(read_state_dict(path, key), path, sha256, bool(file.sha256))
    except PoseGANError as error:
        raise WeightsAbsentError(str(error)) from error


def torch_cache() -> Path:
    """Where torchvision and torch-fidelity keep what they fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def read_state_dict(path: Path, key: str, remedy: str = "get it again") -> Mapping[str, Tensor]:
    """The tensors of a file, on the CPU; those of a training checkpoint stand in it under `state_dict`.

    `key` of params.yaml begins an error and `remedy` ends it.

    Raises:
        PoseGANError: cut, damaged, or anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, safetensors.SafetensorError) as error:
        # PyTorch's own message tells the reader to switch its safety off.
        raise PoseGANError(f"{key}: {path}: not a readable state dict of tensors ({type(error).__name__}); {remedy}") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        raise PoseGANError(f"{key}: {path}: expected a state dict, found none; {remedy}")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


def fill_network(network: nn.Module, origin: str, state: Mapping[str, Tensor], prefix: str = "") -> None:
    """Give every parameter and buffer of the network its tensor of `state`, where its name begins with `prefix`; others are not looked at.

    Raises:
        PoseGANError: one is missing or of another shape; the first is named, and `origin`.
    """
    filled = {}
    for name, tensor in network.state_dict().items():
        found = state.get(prefix + name)
        if name.endswith("num_batches_tracked"):  # counts training steps; old files lack it
            filled[name] = tensor if found is None else found
            continue
        if found is None or found.shape != tensor.shape:
            got = "nothing of that name" if found is None else f"shape {tuple(found.shape)}"
            raise PoseGANError(f"{origin}: {prefix}{name}: expected shape {tuple(tensor.shape)}, got {got}; get the right file")
        filled[name] = found
    network.load_state_dict(filled)
    network.requires_grad_(False).eval()
