"""The layout that model hubs know: a folder of config.json, model.safetensors and README.md (the model card).

The weights' own header says what the network is; config.json repeats it for people and hubs, and must agree.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from posegan.checkpoint import GeneratorCard, load_generator, read_generator_card
from posegan.errors import PoseGANError
from posegan.files import atomic_path

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
    """Write the folder for the generator at `model`, whole or not at all; an existing folder is replaced.

    Raises:
        PoseGANError: no generator at `model`, or the folder cannot be written, or is one that holds other files.
    """
    load_generator(model)  # a file whose tensors do not fit should not be given on
    if folder.exists() and (not folder.is_dir() or {item.name for item in folder.iterdir()} - {WEIGHTS, CONFIG, CARD}):
        raise PoseGANError(f"{folder}: holds other files; choose a new folder")
    card = read_generator_card(model)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        shutil.copyfile(model, temporary / WEIGHTS)
        (temporary / CONFIG).write_text(json.dumps(_described(card), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(_model_card(card), encoding="utf-8")


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
