"""The report: one page that needs nothing else, and the same bytes for the same evaluation."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tiny_run import tiny_params

from pipeline.report import Evaluation, Showcase, curve, read_curves, render, ssim_histogram, write_report
from posegan.checkpoint import GeneratorCard

METRICS = ("ssim", "mask_ssim", "l1", "psnr", "ds", "pck", "found")


@pytest.fixture
def evaluation() -> Evaluation:
    names = [f"bounding_box_test/{identity:04d}_c1s1_000001_01.jpg" for identity in (1, 1, 3)]
    columns = {"source": names, "target": names, "generated_ssim": [0.1, 0.5, 0.51], "copy_source_ssim": [-0.1, 0.2, 1.0]}
    summary = {
        method: dict.fromkeys(METRICS, value) for method, value in (("generated", 0.4321), ("copy_source", 0.2), ("real_target", 1.0))
    }
    summary["real_target"]["psnr"] = float("inf")
    row = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(4)]
    params = tiny_params()
    card = GeneratorCard(params.model, params.image, {"features": "<b>random</b>", "seed": "7"})
    return Evaluation(pd.DataFrame(columns), summary, Showcase([row], [row], [row]), card, params)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    folder = tmp_path / "dvclive" / "plots" / "metrics"
    folder.mkdir(parents=True)
    (folder / "val_ssim.tsv").write_text("step\tval_ssim\n2\t0.1\n4\t0.3\n8\t0.2\n")
    (folder / "once.tsv").write_text("step\tonce\n2\t0.1\n")
    return tmp_path / "dvclive"


def test_the_page_opens_alone(evaluation: Evaluation, live: Path) -> None:
    page = render(evaluation, read_curves(live))
    assert page.count("data:image/png;base64,") == 3
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "http" not in page
    assert "width=device-width" in page
    for text in ("0.432", "∞", "3 held-out pairs of 2 people", "val_ssim: 0.1 to 0.2", "seed", "&lt;b&gt;random&lt;/b&gt;"):
        assert text in page
    ET.fromstring(re.search(r"<svg.*?</svg>", page, re.DOTALL)[0])  # type: ignore[index]


def test_without_logs_the_page_says_so(evaluation: Evaluation, tmp_path: Path) -> None:
    page = render(evaluation, read_curves(tmp_path / "absent"))
    assert "No training logs were found" in page
    assert "<svg" not in page


def test_equal_evaluations_give_equal_files(evaluation: Evaluation, live: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_report(tmp_path / name, evaluation, live)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["grid.png", "index.html", "pairs.parquet", "ssim.csv"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    pd.testing.assert_frame_equal(pq.read_table(tmp_path / "first" / "pairs.parquet").to_pandas(), evaluation.table)


def test_the_histogram_holds_every_pair(evaluation: Evaluation) -> None:
    histogram = ssim_histogram(evaluation.table)
    assert histogram["generated"].sum() == histogram["copy_source"].sum() == 3
    assert histogram.loc[histogram["generated"] > 0, "ssim"].tolist() == pytest.approx([0.1125, 0.5125])
    assert histogram["copy_source"].iloc[0] == 1  # below zero counts in the lowest bin


def test_a_curve_fills_its_box() -> None:
    drawn = curve("l1", [5, 10], [2.0, 4.0])
    assert drawn.points == "160.0,120.0 320.0,0.0"
    assert (drawn.first, drawn.last, drawn.lowest, drawn.highest, drawn.steps) == ("2", "4", "2", "4", 10)
    assert "nan" not in curve("flat", [1, 2], [3.0, 3.0]).points


def test_only_series_become_curves(live: Path) -> None:
    assert [each.name for each in read_curves(live)] == ["val_ssim"]
