"""Seconds by part add up to the whole."""

import json
from pathlib import Path

import pytest

from pipeline.stopwatch import Stopwatch


def test_parts_and_rest_add_up(tmp_path: Path) -> None:
    watch = Stopwatch()
    for _ in range(3):
        with watch.part("sum"):
            sum(range(10_000))
    with pytest.raises(KeyError), watch.part("failing"):
        raise KeyError
    read = watch.read()
    assert list(read) == ["sum", "failing", "rest", "all"]
    assert read["all"] == pytest.approx(read["sum"] + read["failing"] + read["rest"])
    watch.write(tmp_path / "times.json", 3)
    told = json.loads((tmp_path / "times.json").read_text())
    assert told["images"] == 3
    assert set(told["seconds"]) == set(read)
    assert "sum 0.0 s" in str(watch)
