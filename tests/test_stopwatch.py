"""Sums by part."""

import pytest

from pipeline.stopwatch import Stopwatch


def test_parts_add_up() -> None:
    watch = Stopwatch()
    for _ in range(2):
        watch.add("read", 1.5, 30)
    watch.add("scale", 4.0, 0)
    with watch.part("draw", 5):
        pass
    assert watch.seconds()["read"] == 3
    assert watch.speeds()["read"] == pytest.approx(10)
    assert "scale" not in watch.speeds()
    assert str(watch).startswith("scale 4.0 s, read 3.0 s (10 images/s), draw 0.0 s")
