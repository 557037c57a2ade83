"""A run that takes a second: its parameters, command line and files; random batches that are a function of their number."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from posegan.config import Params, load_params
from posegan.data import PairBatch

ROOT = Path(__file__).parents[2]
HEIGHT, WIDTH = 128, 64


def tiny_params(**changes: dict[str, Any]) -> Params:
    """params.yaml with narrow networks and few steps; `changes` are merged section by section."""
    sections = load_params(ROOT / "params.yaml").model_dump()
    small: dict[str, dict[str, Any]] = {
        "model": {"generator_channels": 2, "discriminator_channels": 2, "dropout": 0.5},
        "loss": {"nearest_neighbour": 0.0},
        "train": {
            "iterations": 6,
            "batch_size": 2,
            "log_every": 2,
            "validate_every": 3,
            "validation_pairs": 2,
            "sample_every": 3,
            "checkpoint_every": 4,
            "device": "cpu",
        },
        "evaluate": {"pairs": 5, "batch_size": 2, "grid_rows": 2, "device": "cpu"},
    }
    for values in (small, changes):
        for name, section in values.items():
            sections[name].update(section)
    return Params.model_validate(sections)


def train_options(folder: Path, shards: Path, **changes: object) -> list[str]:
    """Options of the train stage for a tiny run whose files all lie in `folder`; `changes` are of the section `train`."""
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params(train=changes).model_dump()))
    names = {"params": "params.yaml", "out": "generator.safetensors", "best": "best/generator.safetensors", "card": "generator.md"}
    names |= {"live": "dvclive", "samples": "samples", "state": "state"}
    return [*(part for name, path in names.items() for part in (f"--{name}", str(folder / path))), "--shards", str(shards)]


def train_outputs(folder: Path) -> dict[str, str]:
    """The hash of every file of such a run that DVC tracks."""
    files = [*folder.glob("generator*"), *folder.glob("best/*"), *(folder / "dvclive").rglob("*"), *(folder / "samples").rglob("*")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def random_batch(number: int, size: int = 2) -> PairBatch:
    generator = torch.Generator().manual_seed(number)
    images = torch.randint(0, 256, (2, size, 3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    keypoints = torch.rand(2, size, 18, 3, generator=generator) * torch.tensor([WIDTH - 1.0, HEIGHT - 1.0, 1.0])
    keypoints[..., 2] += 0.5
    names = tuple(f"image {number} {row}" for row in range(size))
    return PairBatch(images[0], images[1], keypoints[0], keypoints[1], names, names)


class RandomStream:
    """Endless random batches; batch i depends on i alone."""

    def __init__(self) -> None:
        self.started_at: list[int] = []

    def batches(self, start: int) -> Iterator[PairBatch]:
        self.started_at.append(start)
        while True:
            yield random_batch(start)
            start += 1
