"""The report: one page that needs nothing else, and the same bytes for the same evaluation."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.evaluate.album import Pictures
from pipeline.evaluate.report import Evaluation, read_curves, render, ssim_histogram, write_report
from pipeline.evaluate.scores import Summary
from tests.support import judged


@pytest.fixture
def evaluation() -> Evaluation:
    return judged.evaluation([0.1, 0.5, 0.51], warped_ssim=[-0.1, 0.2, 1.0], generated_ds=[0.9, float("nan"), 0.1])


@pytest.fixture
def live(tmp_path: Path) -> Path:
    folder = tmp_path / "dvclive" / "plots" / "metrics"
    folder.mkdir(parents=True)
    (folder / "val_ssim.tsv").write_text("step\tval_ssim\n2\t0.1\n4\t0.3\n8\t0.2\n")
    (folder / "once.tsv").write_text("step\tonce\n2\t0.1\n")
    return tmp_path / "dvclive"


def test_the_page_opens_alone(evaluation: Evaluation, live: Path) -> None:
    page = render(evaluation, read_curves(live))
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "http" not in page
    assert "width=device-width" in page
    for text in ("0.432", "∞", "held out for the test: 3 pairs of 2 people", "val_ssim: 0.1 to 0.2", "seed", "&lt;b&gt;random&lt;/b&gt;"):
        assert text in page
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(charts) == 3  # SSIM, DS, the training's
    for chart in charts:
        ET.fromstring(chart)


def test_pairs_stand_under_what_they_are_an_example_of(evaluation: Evaluation, live: Path) -> None:
    page = render(evaluation, read_curves(live))
    parts = re.split(r"<h3>|<summary>", page.split("<h2>Where")[0])[1:]
    strips = {part.split("<")[0].split(":")[0]: re.findall(r"<figcaption>(.*?)</figcaption>", part, re.DOTALL) for part in parts}
    shown = {name: [re.sub(r"\n.*\n", " ", re.split(r";", line)[0]) for line in lines] for name, lines in strips.items()}
    assert shown["By SSIM"] == ["best: 0.510 SSIM 0.510, DS 0.100", "worst: 0.100 SSIM 0.100, DS 0.900"]
    assert shown["By DS"] == ["best: 0.900 SSIM 0.100, DS 0.900", "worst: 0.100 SSIM 0.510, DS 0.100"]
    assert len(shown["Drawn at random"]) == 2
    assert all(line.startswith("front to back") for line in shown["By view"])
    assert len(shown["By view"]) == 2
    assert "<th>front to back</th><td>3</td><td>0.370</td>" in page


def test_without_logs_the_page_says_so(evaluation: Evaluation, tmp_path: Path) -> None:
    page = render(evaluation, read_curves(tmp_path / "absent"))
    assert "No training logs were found" in page


def test_equal_evaluations_give_equal_files(evaluation: Evaluation, live: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_report(tmp_path / name, evaluation, live)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["facts.json", "grid.png", "index.html", "pairs.parquet", "pictures.zip", "ssim.csv"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    pd.testing.assert_frame_equal(pq.read_table(tmp_path / "first" / "pairs.parquet").to_pandas(), evaluation.table)
    assert len(Pictures(tmp_path / "first" / "pictures.zip")) == 3
    told = json.loads((tmp_path / "first" / "facts.json").read_text())
    assert told["facts"]["Training: seed"] == "7"
    assert told["summary"]["real_target"]["psnr"] is None


def test_the_histogram_holds_every_pair(evaluation: Evaluation) -> None:
    histogram = ssim_histogram(evaluation.table)
    assert histogram["generated"].sum() == histogram["warped"].sum() == 3
    assert histogram.loc[histogram["generated"] > 0, "ssim"].tolist() == pytest.approx([0.1125, 0.5125])
    assert histogram["warped"].iloc[0] == 1  # below zero counts in the lowest bin


def test_only_series_become_curves(live: Path) -> None:
    assert [each.caption for each in read_curves(live)] == ["val_ssim: 0.1 to 0.2 (0.1 .. 0.3, 8 steps)"]


def test_what_stands_in_for_lpips_is_said(evaluation: Evaluation, live: Path) -> None:
    assert "random filters" not in render(evaluation, read_curves(live))
    summary = {method: values | {"lpips_random_filters": 0.25} for method, values in evaluation.summary.items()}
    stands_in = (("alexnet", "AlexNet, random filters (seed 0)"),)
    page = render(evaluation._replace(summary=summary, weights=stands_in), read_curves(live))
    assert "<th>LPIPS&#39; stand-in, random filters&nbsp;↓</th><td>0.250" in page
    assert "no published number can be" in page
    assert "AlexNet, random filters (seed 0)" in page


def test_intervals_and_reasons_stand_beside_the_numbers(evaluation: Evaluation, live: Path) -> None:
    scores = Summary({}, {"generated": {"ssim": (0.3, 0.55)}}, {"fid": "no weights of it", "kid": "no weights of it"})
    summary = {method: values | {"fid": float("nan")} for method, values in evaluation.summary.items()}
    page = render(evaluation._replace(scores=scores, summary=summary), read_curves(live))
    assert "0.300 .. 0.550" in page
    assert "<strong>fid, kid</strong>: no weights of it" in page
    assert "FID" not in page  # a row without any number
