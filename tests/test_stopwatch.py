"""Seconds and images add up by part."""

import json
from pathlib import Path

import pytest

from pipeline.evaluate.stopwatch import Stopwatch


def test_parts_add_up_and_images_give_speeds(tmp_path: Path) -> None:
    watch = Stopwatch()
    for images in (2, 3):
        with watch.part("sum", images):
            sum(range(10_000))
    watch.add("read", 2.0, 0)
    watch.add("draw", 0.5, 10)
    seconds, speeds = watch.seconds(), watch.speeds()
    assert list(seconds) == ["sum", "read", "draw"]
    assert (seconds["read"], speeds["draw"]) == (2.0, 20.0)
    assert speeds["sum"] == pytest.approx(5 / seconds["sum"])
    assert "read" not in speeds
    assert str(watch).startswith("read 2.0 s, draw 0.5 s (20 images/s)")
    watch.write(tmp_path / "times.json")
    told = json.loads((tmp_path / "times.json").read_text())
    assert told["seconds"]["read"] == 2.0
    assert told["images_per_second"]["draw"] == 20.0
