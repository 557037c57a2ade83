"""Everything that a step changes: saved, restored, checked.

A state that was saved and loaded again goes on to the same bits as one that was not.
"""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from posegan.config import Params
from posegan.model.networks import Discriminator, Generator
from posegan.training.progress import RunningMeans
from posegan.training.updates import fused_adam, placed

History = list[tuple[int, dict[str, float]]]


class Best(NamedTuple):
    """The EMA weights that had the highest `val_quality` so far; of equal ones the first."""

    step: int
    quality: float
    weights: dict[str, Tensor]  # on the CPU


class TrainingState:
    """Both players, the generator's running average, their optimisers, and how far they are.

    Attributes:
        ema: what a run is for: the average of the generator's weights.
        step: finished iterations.
        history: the numbers of all records so far, so that a resumed run's is complete.
        means: of the losses since the last record.
        best: what validation liked most.
        skipped: the damaged samples that it did without, as `Skipped.names` gives them.
    """

    def __init__(self, params: Params, device: torch.device) -> None:
        """Untrained networks on `device`; seeds torch's global generators."""
        train = params.train
        torch.manual_seed(train.seed)
        self.device = device
        self.generator = placed(Generator(params.model, params.image), device, train.channels_last)
        self.discriminator = placed(Discriminator(params.model), device, train.channels_last)
        self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        betas = (train.betas[0], train.betas[1])
        self.generator_optimiser = fused_adam(self.generator, train.learning_rate, betas)
        self.discriminator_optimiser = fused_adam(self.discriminator, train.learning_rate, betas)
        self.step = 0
        self.history: History = []
        self.means = RunningMeans()
        self.best: Best | None = None
        self.skipped: list[str] = []

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """What has weights or moments, by the name that it has on disk."""
        names = ("generator", "ema", "discriminator", "generator_optimiser", "discriminator_optimiser")
        return {name: getattr(self, name) for name in names}

    def saved(self) -> dict[str, Any]:
        """As tensors, numbers and texts, for `CheckpointFolder.save`."""
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        record = {"step": self.step, "history": [[step, values] for step, values in self.history], "means": self.means.state()}
        return {**parts, **record, "best": None if self.best is None else self.best._asdict(), "skipped": self.skipped}

    def restore(self, saved: dict[str, Any]) -> Self:
        """Take over what `saved()` gave, in this process or another; returns itself."""
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        self.step = saved["step"]
        self.history = [(step, values) for step, values in saved["history"]]
        self.best = None if saved["best"] is None else Best(**saved["best"])
        self.skipped = saved.get("skipped", [])  # not in states of earlier versions
        self.means.restore(saved["means"], self.device)
        return self

    def keep_best(self, quality: float) -> None:
        """Remember the EMA weights if none before had a higher `val_quality`."""
        if self.best is None or quality > self.best.quality:
            weights = {name: weight.detach().cpu().clone() for name, weight in self.ema.state_dict().items()}
            self.best = Best(self.step, quality, weights)


def first_not_finite(saved: dict[str, Any]) -> str | None:
    """The place of a weight or moment that is NaN or infinite, as `generator, decoder.last.bias`; None if all are finite."""
    return next((name for name, values in _floats(saved) if not values.isfinite().all()), None)


def _floats(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of floats in a nest of dicts, with its place there."""
    if isinstance(value, Tensor) and value.is_floating_point():
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _floats(part, f"{name}, {key}" if name else str(key))
