"""Where the time of a command went, by part: for the terminal and a file beside the results, never in them."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from posegan.files import write_atomically


class Stopwatch:
    """Seconds by named part; what no part covers is the rest."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the block as `name`, again and again."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def read(self) -> dict[str, float]:
        """The parts, the `rest` and `all`, in seconds."""
        total = time.perf_counter() - self._started
        return {**self.seconds, "rest": max(total - sum(self.seconds.values()), 0.0), "all": total}

    def __str__(self) -> str:
        """The parts in seconds, the longest first."""
        parts = sorted(self.read().items(), key=lambda part: -part[1])
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts if name != "all")

    def write(self, path: Path, images: int) -> None:
        """Write the seconds and the number of images as JSON: another time at every run, so no part of what a run makes."""
        seconds = {name: round(value, 3) for name, value in self.read().items()}
        write_atomically(path, json.dumps({"images": images, "seconds": seconds}, indent=2) + "\n")
