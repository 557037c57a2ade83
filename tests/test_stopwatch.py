"""Sums by part."""

from pipeline.stopwatch import Stopwatch


def test_parts_add_up() -> None:
    watch = Stopwatch()
    for _ in range(2):
        watch.add("read", 1.5, 30)
    watch.add("scale", 4.0, 0)
    with watch.part("draw", 5):
        pass
    assert str(watch).startswith("scale 4.0 s, read 3.0 s (20 images/s), draw 0.0 s (")
