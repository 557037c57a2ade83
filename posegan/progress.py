"""How a run is doing: means of its losses, kept on the device, and its speed."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor


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
