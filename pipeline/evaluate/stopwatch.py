"""Where the time of a stage goes, seconds and images by part: for the terminal and a file beside the results, never in them."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from posegan.files import write_atomically


class Stopwatch:
    """Sums over named parts, in the order in which they first come."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[float, int]] = {}

    @contextlib.contextmanager
    def part(self, name: str, images: int = 0) -> Iterator[None]:
        """Count the block as `images` images of a part."""
        started = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - started, images)

    def add(self, name: str, seconds: float, images: int) -> None:
        """Count seconds and images of a part."""
        before, counted = self._parts.get(name, (0.0, 0))
        self._parts[name] = before + seconds, counted + images

    def speeds(self) -> dict[str, float]:
        """Images a second of each part that has images."""
        return {name: images / max(seconds, 1e-9) for name, (seconds, images) in self._parts.items() if images}

    def seconds(self) -> dict[str, float]:
        """Seconds of each part."""
        return {name: seconds for name, (seconds, _) in self._parts.items()}

    def write(self, path: Path) -> None:
        """Write all that is known as JSON: another time at every run, so no part of what a run makes."""
        told = {"seconds": self.seconds(), "images_per_second": self.speeds()}
        rounded = {name: {part: round(value, 3) for part, value in parts.items()} for name, parts in told.items()}
        write_atomically(path, json.dumps(rounded, indent=2) + "\n")

    def __str__(self) -> str:
        """One line for people, the slowest part first."""
        parts = sorted(self._parts.items(), key=lambda part: -part[1][0])
        return ", ".join(
            f"{name} {seconds:.1f} s{f' ({images / max(seconds, 1e-9):,.0f} images/s)' if images else ''}"
            for name, (seconds, images) in parts
        )
