"""The generator as a file: safetensors, whose header says what the network is; and the folder that model hubs know.

Such a folder holds config.json, model.safetensors and README.md (the model card). The weights' own header says what the network
is; config.json repeats it for people and hubs, and must agree.
"""

import json
import shutil
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
from posegan.files import atomic_folder, atomic_path, check_replaceable
from posegan.model.networks import Generator

DISCRIMINATOR = "discriminator.safetensors"  # beside a generator's file, what judged it: for a warm start
_FORMAT = 2  # of the exported generator; raise it when an older program could not read a newer file


# safetensors writes its metadata in a random order: one key keeps the file's bytes reproducible.
_METADATA_KEY = "posegan"


class GeneratorCard(NamedTuple):
    """What an exported generator says of itself."""

    model: ModelConfig
    image: ImageConfig
    provenance: dict[str, str]


def save_generator(
    path: Path, generator: nn.Module, model: ModelConfig, image: ImageConfig, provenance: dict[str, str], dtype: torch.dtype = torch.float32
) -> None:
    """Export weights with the configuration that rebuilds the network; equal inputs give equal bytes.

    Args:
        path: the file.
        generator: whose weights.
        model, image: what rebuilds it.
        provenance: where the weights come from (seed, iterations, versions), without times.
        dtype: that they are stored in; `load_generator` gives float32 in any case.
    """
    card = {"format": _FORMAT, "model": model.model_dump(), "image": image.model_dump(), "provenance": provenance}
    tensors = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in generator.state_dict().items()}
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
            # Shipped ones are in half precision.
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, struct.error) as error:
        raise PoseGANError(f"{path}: not a whole safetensors file ({error}); train it again with make repro") from error
    return _parse_card(path, metadata), tensors


def _parse_card(path: Path, metadata: Mapping[str, str]) -> GeneratorCard:
    if _METADATA_KEY not in metadata:
        raise PoseGANError(f"{path}: a safetensors file, but not a PoseGAN generator (its metadata has no '{_METADATA_KEY}')")
    try:
        card = json.loads(metadata[_METADATA_KEY])
        if card["format"] != _FORMAT:
            raise PoseGANError(
                f"{path}: of another version of PoseGAN (format {card['format']}, this one reads {_FORMAT}), whose networks differ; "
                "train it again with make repro, or use that version"
            )
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


WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def generator_file(path: Path) -> Path:
    """The safetensors file that a path means: itself, or a folder's `model.safetensors`, whose config.json agrees with it.

    Raises:
        PoseGANError: the folder is not complete, or its config.json describes another network.
    """
    if not path.is_dir():
        return path
    weights, config = path / WEIGHTS, path / CONFIG
    for file in (weights, config):
        if not file.is_file():
            raise PoseGANError(f"{path}: a folder without {file.name}; name a .safetensors file, or a folder that posegan export wrote")
    try:
        described = json.loads(config.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise PoseGANError(f"{config}: not JSON ({error}); export the model again") from error
    expected = _described(read_generator_card(weights))
    wrong = [key for key in ("model", "image") if not isinstance(described, dict) or described.get(key) != expected[key]]
    if wrong:
        raise PoseGANError(f"{config}: its {' and '.join(wrong)} is not that of {WEIGHTS} beside it; export the model again")
    return weights


def save_pretrained(model: Path, folder: Path) -> None:
    """Write the folder for the generator at `model`, whole or not at all; one that this wrote before is replaced.

    Raises:
        PoseGANError: no generator at `model`, or the folder cannot be written, or holds other files, or a card that somebody changed.
    """
    check_replaceable(folder, _pretrained_files)
    load_generator(model)  # a file whose tensors do not fit should not be given on
    card = read_generator_card(model)
    with atomic_folder(folder, _pretrained_files) as temporary:
        shutil.copyfile(model, temporary / WEIGHTS)
        (temporary / CONFIG).write_text(json.dumps(_described(card), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(_model_card(card), encoding="utf-8")


def _pretrained_files(folder: Path) -> set[str]:
    """The files of a folder that `save_pretrained` wrote: not a card that somebody has written on."""
    try:
        is_own = (folder / CARD).read_text(encoding="utf-8") == _model_card(read_generator_card(folder / WEIGHTS))
    except (OSError, UnicodeDecodeError, PoseGANError):
        return set()
    return {WEIGHTS, CONFIG, CARD} if is_own else {WEIGHTS, CONFIG}


def _described(card: GeneratorCard) -> dict[str, Any]:
    return {
        "architectures": ["Generator"],
        "library_name": "posegan",
        "model_type": "posegan",
        "model": card.model.model_dump(),
        "image": card.image.model_dump(),
        "provenance": card.provenance,
    }


def _model_card(card: GeneratorCard) -> str:
    rows = "".join(f"| {key} | {value} |\n" for key, value in {**card.model.model_dump(), **card.provenance}.items())
    return f"""---
library_name: posegan
license: agpl-3.0
pipeline_tag: image-to-image
tags:
- pose-transfer
- person-image-generation
---

# PoseGAN generator, {card.image.height} x {card.image.width} pixels

Draws the person of a photo in another pose: the Deformable GAN of Siarohin et al. (CVPR 2018).

```python
from posegan import PoseTransfer

transfer = PoseTransfer.from_pretrained("path/to/this/folder")
image = transfer(photo, "walking-3/left")
```

| | |
|---|---|
{rows}
It was made to draw people who look as those of its training images do; what it draws of anybody else is not known. Its pictures
show a person in poses that they never took: use it only with pictures of people who agree to that, and say that a picture is generated.
"""
