"""Where the time of a stage goes: seconds and images by part."""

import contextlib
import time
from collections.abc import Iterator


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

    def __str__(self) -> str:
        """One line for people, the slowest part first."""
        parts = sorted(self._parts.items(), key=lambda part: -part[1][0])
        return ", ".join(
            f"{name} {seconds:.1f} s{f' ({images / max(seconds, 1e-9):,.0f} images/s)' if images else ''}"
            for name, (seconds, images) in parts
        )
