"""The page about a table of keypoints: it opens alone, it adds up, and it does with what is there."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from pipeline.__main__ import cli
from pipeline.inspect.command import read_tables
from pipeline.inspect.sections import (
    Tables,
    identities_section,
    images_section,
    joints_section,
    least_sure_rows,
    pair_ends,
    pairing_section,
    poses_section,
    random_rows,
)
from pipeline.pair.rules import KEPT
from pipeline.pose.rows import keypoints_table
from pipeline.tables import read_pairs, write_table
from tests.support.small_market import Prepared, pair_config

ROOT = Path(__file__).parents[1]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["inspect", "--params", str(ROOT / "params.yaml"), *map(str, arguments)])


@pytest.fixture
def tables(prepared: Prepared) -> Tables:
    return read_tables(prepared.keypoints, pair_config(), prepared.pairs)


def test_the_page_opens_alone_and_shows_every_reason(prepared: Prepared, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    result = run("--keypoints", prepared.keypoints, "--pairs", prepared.pairs, "--raw", prepared.raw, "--out", out)
    assert result.exit_code == 0, result.output
    page = out.read_text()
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "http" not in page
    for text in ("expected a name such as", "the detector found no person", "damaged image", "Not paired: junk, 1 of 1", "confidence 0.90"):
        assert text in page
    assert page.count("data:image/jpeg;base64,") > 24
    for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(chart)


def test_the_same_table_gives_the_same_page(prepared: Prepared, tmp_path: Path) -> None:
    for name in ("first", "second"):
        run("--keypoints", prepared.keypoints, "--pairs", prepared.pairs, "--raw", prepared.raw, "--out", tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_without_pairs_and_images_the_page_says_what_is_missing(prepared: Prepared, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    absent = tmp_path / "absent"
    result = run("--keypoints", prepared.keypoints, "--pairs", absent, "--raw", absent, "--pictures", 2, "--out", out)
    assert result.exit_code == 0, result.output
    page = out.read_text()
    assert "There is no table of pairs yet" in page
    assert "The archive of images is not at hand" in page
    assert "data:image/jpeg" in page


def test_a_file_that_is_named_and_not_there_is_said(prepared: Prepared, tmp_path: Path) -> None:
    """The defaults may be absent without a word; what somebody typed may be mistyped."""
    there = {"--raw": prepared.raw, "--pairs": prepared.pairs}
    for option in there:
        given = [part for name, path in (there | {option: tmp_path / "typo"}).items() for part in (name, path)]
        result = run("--keypoints", prepared.keypoints, *given, "--no-duplicates", "--pictures", 0, "--out", tmp_path / "page.html")
        assert f"inspect: {option} {tmp_path / 'typo'}: no such file; the page does without it" in result.output, result.output
        assert result.output.count("no such file") == 1


def test_a_table_that_pandas_wrote_is_the_same_page(prepared: Prepared, tmp_path: Path) -> None:
    """Its index and its own types, which stand in the file, are not those of the page: docs/annotations.md corrects joints by image."""
    table = pd.read_parquet(prepared.keypoints)
    pages = []
    table.set_index("image").to_parquet(tmp_path / "index.parquet")
    table.astype({"person_confidence": "string", "status": "category"}).to_parquet(tmp_path / "types.parquet")
    for path in (prepared.keypoints, tmp_path / "index.parquet", tmp_path / "types.parquet"):
        result = run(
            "--keypoints", path, "--against", prepared.keypoints, "--pairs", "none", "--raw", "none", "--out", tmp_path / "page.html"
        )
        assert result.exit_code == 0, result.output
        pages.append((tmp_path / "page.html").read_text().split("The other table")[1])
    assert pages[0] == pages[1] == pages[2]


def test_a_table_without_rows_is_a_page(tmp_path: Path) -> None:
    write_table(tmp_path / "k.parquet", keypoints_table([]), {})
    for more in ((), ("--against", tmp_path / "k.parquet")):
        result = run("--keypoints", tmp_path / "k.parquet", "--pairs", "absent", "--raw", "absent", "--out", tmp_path / "page.html", *more)
        assert result.exit_code == 0, result.output
    assert "There is nothing to count." in (tmp_path / "page.html").read_text()


def test_what_is_no_table_of_keypoints_is_one_line(prepared: Prepared, tmp_path: Path) -> None:
    absent = run("--keypoints", tmp_path / "k.parquet", "--out", tmp_path / "page.html")
    assert (absent.exit_code, absent.output) == (1, f"error: {tmp_path}/k.parquet: no such file; run the pose stage first\n")
    other = run("--keypoints", prepared.pairs, "--out", tmp_path / "page.html")
    assert other.exit_code == 1
    assert "columns missing: image" in other.output
    against = run("--keypoints", prepared.keypoints, "--against", tmp_path / "a.parquet", "--out", tmp_path / "page.html")
    assert against.exit_code == 1
    assert "a.parquet: no such file" in against.output
    assert list(tmp_path.iterdir()) == []


def test_images_add_up_to_the_rows_of_the_table(tables: Tables) -> None:
    by_split, why, _ = images_section(tables).tables
    assert by_split.rows[-1][0] == "all"
    assert int(by_split.rows[-1][-1]) == len(tables.rows)
    assert sum(int(row[-1]) for row in why.rows) == (tables.rows["status"] != "ok").sum()


def test_pairs_of_other_parameters_are_told(prepared: Prepared, tables: Tables) -> None:
    assert "of another table or with other parameters" not in " ".join(pairing_section(tables).text)
    changed = read_tables(prepared.keypoints, pair_config(minimum_person_confidence=0.95), prepared.pairs)
    text = " ".join(pairing_section(changed).text)
    assert "of another table or with other parameters: low_person_confidence, kept counted 0, 32 then" in text


def test_ends_of_pairs_are_rows_of_their_images(tables: Tables, prepared: Prepared) -> None:
    ends = pair_ends(tables)
    assert ends is not None
    pairs = read_pairs(prepared.pairs)
    for rows, name in zip(ends, ("source", "target"), strict=True):
        assert tables.rows["image"].iloc[rows].tolist() == pairs[name].to_pylist()


def test_rates_count_people_only(tables: Tables) -> None:
    chart = joints_section(tables).charts[0]
    people = int((tables.rows["status"] == "ok").sum())
    assert f"Share of {people} images" in chart.caption
    assert chart.svg.count("100.0%") == 17  # the fake detector never finds the left ear
    assert chart.svg.count("0.0%<") == 18


def test_identities_leave_out_junk_distractors_and_query(tables: Tables) -> None:
    (table, _) = identities_section(tables).tables
    assert [row[:3] for row in table.rows] == [["test", "4", "4"], ["train", "4", "4"]]


def test_the_least_sure_come_first(tables: Tables) -> None:
    confidence = np.linspace(0.9, 0.1, len(tables.rows))
    rows = tables.rows.assign(person_confidence=confidence)
    worst = least_sure_rows(tables._replace(rows=rows), 3)
    ok = np.flatnonzero(rows["status"] == "ok")
    assert worst.tolist() == ok[-3:][::-1].tolist()


def test_random_rows_are_few_and_chosen(tables: Tables) -> None:
    chosen = tables.reasons == KEPT
    rows = random_rows(chosen, 5)
    assert len(set(rows.tolist())) == 5
    assert chosen[rows].all()
    assert len(random_rows(chosen, 10_000)) == chosen.sum()


def test_the_share_of_turned_pairs_is_that_of_the_clear_ones(tables: Tables) -> None:
    text = poses_section(tables).text[0]
    assert re.match(r"In \d+\.\d% of the pairs", text)


def test_the_readmes_lines_of_pandas_run(prepared: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().split("## Keypoints in pandas")[1].split("\n## ")[0]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "keypoints.parquet").write_bytes(prepared.keypoints.read_bytes())
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert code
    exec("\n".join(line for block in code for line in block.splitlines() if not line.startswith("#")), {})
