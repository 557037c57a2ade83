"""How a run is doing: means of its losses, its speed, what it tells on its way, and whether it is lost.

Too high a learning rate need not end in NaN: the image saturates to pure black and white, or the discriminator's logits run
off, and no later step brings them back. A loss alone does not tell; compared with that of an untrained player it does.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import PIL.Image
import torch
from torch import Tensor

from posegan.errors import PoseGANError
from posegan.training.checkpoints import CheckpointFolder


class RunningMeans:
    """Means of named scalars, summed on the device: the CPU does not wait for it until they are read."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums = self._bad_steps = torch.zeros(0)
        self._count = 0

    def add(self, step: int, terms: dict[str, Tensor]) -> None:
        """Add one step's scalars; their names are the same at every step."""
        values = torch.stack([term.float() for term in terms.values()])
        if self._count == 0:
            self._names, self._sums, self._bad_steps = list(terms), torch.zeros_like(values), torch.zeros_like(values, dtype=torch.long)
        self._sums = self._sums + values
        self._bad_steps = torch.where((self._bad_steps == 0) & ~values.isfinite(), step, self._bad_steps)
        self._count += 1

    def first_bad(self) -> tuple[int, str] | None:
        """The first step with a value that was not finite, and its name; None if all were."""
        bad = [(step, f"the loss term '{name}'") for step, name in zip(self._bad_steps.tolist(), self._names, strict=True) if step > 0]
        return min(bad, default=None)

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        means = dict(zip(self._names, (self._sums / max(self._count, 1)).tolist(), strict=True))
        self._count = 0
        return means

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on in the middle of an interval."""
        return {"names": self._names, "sums": self._sums, "count": self._count}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a `state()` that was taken while every value was finite."""
        self._names, self._sums, self._count = list(state["names"]), state["sums"].to(device), state["count"]
        self._bad_steps = torch.zeros_like(self._sums, dtype=torch.long)


class Clock:
    """Images per second and the share of waiting for data; what happens outside `running` does not count."""

    def __init__(self, waited: Callable[[], float]) -> None:
        """`waited` gives the seconds waited for data so far."""
        self._waited = waited
        self._waited_before = waited()
        self._busy = 0.0
        self._steps = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the block as the work of one step."""
        start = time.perf_counter()
        yield
        self._busy += time.perf_counter() - start
        self._steps += 1

    def read(self, batch_size: int) -> tuple[float, float]:
        """Images per second and the share of waiting (0 .. 1) since the last call."""
        waited = self._waited() - self._waited_before
        seconds = max(self._busy + waited, 1e-9)
        speed = self._steps * batch_size / seconds, waited / seconds
        self._waited_before += waited
        self._busy, self._steps = 0.0, 0
        return speed


WINDOW = 20  # steps; one batch says little
# An image that is black or white everywhere lost 2.6 times as much L1 on drawn people as an untrained generator's grey.
GENERATOR_FACTOR = 2.0
# Healthy runs stay below 2 log 2 but for the first steps; those that could not be brought back were above 30 times that.
DISCRIMINATOR_FACTOR = 10.0


class Divergence(NamedTuple):
    """A loss that is beyond its limit."""

    name: str
    value: float  # mean over `steps`
    limit: float
    steps: int  # that it is the mean of, the last ones


def divergence_limits(untrained: Mapping[str, float]) -> dict[str, float]:
    """The largest loss of each term that a run may have.

    Args:
        untrained: those of the generator's losses that tell, before the first step, named as in the logs.
    """
    limits = {name: GENERATOR_FACTOR * value for name, value in untrained.items()}
    return {**limits, "loss_discriminator": DISCRIMINATOR_FACTOR * 2 * math.log(2)}  # 2 log 2: it tosses a coin


def find_divergence(means: Iterable[Mapping[str, float]], every: int, limits: Mapping[str, float]) -> Divergence | None:
    """The term that exceeds its limit the most, over the last `WINDOW` steps or a little more.

    Args:
        means: of each term over `every` steps, the newest first; fewer than `WINDOW` steps are not judged.
        every: steps of each.
        limits: of `divergence_limits`; terms without one are not judged.
    """
    count = math.ceil(WINDOW / every)
    recent = list(itertools.islice(means, count))
    if len(recent) < count:
        return None
    found = {name: sum(each.get(name, 0.0) for each in recent) / count for name in limits}
    worst = max(limits, key=lambda name: found[name] / limits[name])
    return Divergence(worst, found[worst], limits[worst], count * every) if found[worst] > limits[worst] else None


class Guard:
    """Ends a run that is lost, with an error that names the step, the term, and the last state from before.

    Args:
        untrained: as of `divergence_limits`.
        every: steps between two logs.
        checkpoints: where the states are.
    """

    def __init__(self, untrained: Mapping[str, float], every: int, checkpoints: CheckpointFolder) -> None:
        self._limits, self._every, self._checkpoints = divergence_limits(untrained), every, checkpoints

    def check_losses(self, means: RunningMeans) -> None:
        """Raise PoseGANError if a loss was not finite since the last log."""
        bad = means.first_bad()
        if bad is not None:
            raise self.not_finite(*bad)

    def check_course(self, history: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Raise PoseGANError if a player has been far worse than an untrained one over the last steps."""
        losses = (values for _, values in reversed(history) if values.keys() & self._limits.keys())
        found = find_divergence(losses, self._every, self._limits)
        if found is not None:
            step = history[-1][0]
            raise self._lost(
                f"at step {step} {found.name} is {found.value:.4g}, the mean of the last {found.steps} steps, and more than "
                f"{found.limit:.4g}: far worse than an untrained network",
                step - found.steps,
            )

    def not_finite(self, step: int, name: str) -> PoseGANError:
        """The error of a loss or weight that is NaN or infinite at a step."""
        return self._lost(f"{name} is not finite at step {step}", step)

    def _lost(self, what: str, good_until: int) -> PoseGANError:
        latest, folder = self._checkpoints.latest(good_until), self._checkpoints.folder
        good = f"the last good state is of step {latest[0]}, in {folder}" if latest else f"{folder} has no state from before it"
        return PoseGANError(f"train: the run has diverged: {what}; lower train.learning_rate or set train.precision to float32 ({good})")


class LossRecord(NamedTuple):
    """Mean weighted losses since the last record, each named `loss_<term>`, and the speed over that time."""

    step: int
    values: dict[str, float]
    images_per_second: float
    waiting: float  # share of the time in which the loop waited for data


class ValidationRecord(NamedTuple):
    """`val_l1` (0 .. 1), `val_ssim`, `val_sharpness` and `val_quality` of the EMA weights on the fixed validation pairs."""

    step: int
    values: dict[str, float]


class SampleRecord(NamedTuple):
    """A grid source | target pose | generated | real of the EMA weights at fixed pairs."""

    step: int
    grid: PIL.Image.Image


Record = LossRecord | ValidationRecord | SampleRecord
