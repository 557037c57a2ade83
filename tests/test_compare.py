"""Two evaluations side by side: the right pairs, the right differences, intervals that hold what they should."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from pipeline.__main__ import cli
from pipeline.compare.command import verdict
from pipeline.compare.numbers import Difference, common_rows, differences
from pipeline.evaluate.report import write_report
from tests.support.judged import evaluation

SCORES = [0.1, 0.5, 0.3, 0.4, 0.6, 0.2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, arguments)])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    gained = [score + gain for score, gain in zip(SCORES, (0.3, -0.2, 0.01, 0.02, 0.0, 0.05), strict=True)]
    write_report(tmp_path / "a", evaluation(SCORES), tmp_path)
    write_report(tmp_path / "b", evaluation(gained, level=100, provenance={"seed": "8", "features": "none"}), tmp_path)
    return tmp_path / "a", tmp_path / "b"


def test_the_page_opens_alone_and_shows_who_gained_and_lost(folders: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(*folders, "--out", tmp_path / "page.html", "--pictures", 2)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page and "http" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(chart)
    gained, lost = page.split("B gains most by SSIM")[1].split("B loses most by SSIM")
    assert re.findall(r"SSIM ([\d.]+ → [\d.]+)</figcaption>", gained) == ["0.100 → 0.400", "0.200 → 0.250"]
    assert re.findall(r"SSIM ([\d.]+ → [\d.]+)</figcaption>", lost) == ["0.500 → 0.300"]
    assert "<th>Training: seed</th><td>7</td><td>8</td>" in page
    assert "The floors" not in page


def test_an_evaluation_against_itself_is_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert run(folders[0], folders[0], "--out", tmp_path / "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert "<td>the same</td>" in page
    assert "no difference is known" in page
    assert page.count("None.") == 2  # nobody gained, nobody lost


def test_other_floors_are_told(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_report(tmp_path / "c", evaluation(SCORES, copy_source_ssim=[0.3] * 6), tmp_path)
    run(folders[0], tmp_path / "c", "--out", tmp_path / "page.html")
    assert "The floors (source image copied) differ" in (tmp_path / "page.html").read_text()


def test_common_pairs_meet_by_name_in_the_firsts_order() -> None:
    first = pd.DataFrame({"source": list("abac"), "target": list("bcbd")})
    second = pd.DataFrame({"source": list("cabax"), "target": list("dbcby")})
    rows = common_rows(first, second)
    assert rows[0].tolist() == [0, 1, 2, 3]
    assert rows[1].tolist() == [1, 2, 3, 0]
    assert len(common_rows(first, second.iloc[4:])[0]) == 0


def scored(people: int, pairs: int = 1, **columns: object) -> pd.DataFrame:
    """Pairs of numbered people; each column is given or drawn."""
    named = [f"bounding_box_test/{person + 1:04d}_c1s1_{pair:06d}_01.jpg" for person in range(people) for pair in range(pairs)]
    return pd.DataFrame({"source": named, **columns})


def test_a_constant_gain_has_an_interval_of_no_width() -> None:
    scores = np.array(SCORES)
    (found,) = differences(scored(3, 2, generated_ssim=scores), scored(3, 2, generated_ssim=scores + 0.125))
    assert (found.low, found.high) == pytest.approx((0.125, 0.125))
    assert found.second - found.first == pytest.approx(0.125)


@pytest.mark.parametrize("pairs", [1, 4])
def test_the_interval_is_that_of_the_mean_of_peoples_differences(pairs: int) -> None:
    """Against the normal approximation over people: pairs that say the same once more make it no narrower."""
    generator = np.random.default_rng(0)
    first = np.repeat(generator.normal(0.5, 0.2, 2000), pairs)
    apart = np.repeat(generator.normal(0.01, 0.05, 2000), pairs)
    (found,) = differences(scored(2000, pairs, generated_ssim=first), scored(2000, pairs, generated_ssim=first + apart))
    error = 1.96 * apart.std() / np.sqrt(2000)
    assert found.low == pytest.approx(apart.mean() - error, abs=error / 5)
    assert found.high == pytest.approx(apart.mean() + error, abs=error / 5)


def test_swapping_the_two_turns_the_difference_around() -> None:
    generator = np.random.default_rng(1)
    one, two = (scored(25, 2, generated_l1=generator.uniform(0, 1, 50)) for _ in range(2))
    (there,), (back,) = differences(one, two), differences(two, one)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_pairs_that_are_not_finite_in_one_count_in_neither() -> None:
    (found,) = differences(scored(3, generated_psnr=[10.0, np.inf, 30.0]), scored(3, generated_psnr=[11.0, 20.0, 31.0]))
    assert (found.first, found.second) == (20, 21)


def test_one_person_has_no_interval() -> None:
    (found,) = differences(scored(1, 3, generated_ssim=[0.1, 0.2, 0.3]), scored(1, 3, generated_ssim=[0.2, 0.3, 0.5]))
    assert np.isnan([found.low, found.high]).all()


def test_shares_of_joints_are_pooled() -> None:
    joints = np.array([2, 10])
    one, two = (scored(2, generated_joints=joints, generated_joints_hit=hits) for hits in ([1, 8], [2, 4]))
    (found,) = differences(one, two)
    assert (found.first, found.second) == (0.75, 0.5)


def test_verdicts_know_which_way_is_better() -> None:
    for name, low, high, expected in (
        ("ssim", 0.1, 0.2, "better"),
        ("ssim", -0.2, -0.1, "worse"),
        ("l1", -0.2, -0.1, "better"),
        ("l1", 0.1, 0.2, "worse"),
        ("l1", -0.1, 0.2, "undecided"),
        ("l1", 0.0, 0.0, "the same"),
        ("l1", float("nan"), float("nan"), "undecided"),
    ):
        assert verdict(Difference(name, 0, 0, low, high)) == expected


def test_what_cannot_be_compared_is_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = folders
    out = tmp_path / "page.html"
    assert "absent/pairs.parquet: no such file; name the folder of an evaluation" in run(first, tmp_path / "absent", "--out", out).output
    assert "one of the evaluations has no ds of each pair" in run(first, second, "--by", "ds", "--out", out).output
    table = pd.read_parquet(second / "pairs.parquet")
    table.assign(source="x").to_parquet(second / "pairs.parquet")
    assert "have no pair in common" in run(first, second, "--out", out).output
    table.iloc[1:].to_parquet(second / "pairs.parquet")
    assert "5 pairs with 6 pictures; evaluate again" in run(first, second, "--out", out).output
    (second / "facts.json").write_text("[]")
    result = run(first, second, "--out", out)
    assert "not a whole evaluation" in result.output
    assert (result.exit_code, out.exists()) == (1, False)


def test_the_time_of_each_is_shown_where_it_is_known(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "a.times.json").write_text('{"images": 6, "seconds": {"generate": 1.5, "all": 2}}')
    (tmp_path / "b.times.json").write_text("damaged")
    run(*folders, "--out", tmp_path / "page.html")
    assert "<th>generate</th><td>1.5</td><td>-</td>" in (tmp_path / "page.html").read_text()
