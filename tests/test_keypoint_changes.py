"""What changed between two tables of keypoints, on tables whose difference is made by the test."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipeline.__main__ import cli
from pipeline.inspect.changes import compare_tables, image_distances, joint_table, status_table
from pipeline.inspect.command import read_tables
from pipeline.inspect.sections import Tables
from pipeline.tables import write_table
from posegan.formats.table import KEYPOINTS_SCHEMA, joint_columns
from tests.support.small_market import Prepared, pair_config

ROOT = Path(__file__).parents[1]
SHIFT = np.array([3, 4], np.float32)  # 5 pixels


@pytest.fixture
def this(prepared: Prepared) -> Tables:
    return read_tables(prepared.keypoints, pair_config())


@pytest.fixture
def moved(this: Tables, tmp_path: Path) -> Path:
    """The same table without its first row; the nose of every person moved by 5 pixels, the right ear lost."""
    table, joints = this.keypoints
    table, joints = table.slice(1), joints[1:].copy()
    ok = np.array(table["status"].to_pylist()) == "ok"
    joints[ok, 0, :2] += SHIFT
    joints[ok, 16] = 0
    columns = {name: table[name] for name in table.column_names} | joint_columns(joints, ok)
    write_table(tmp_path / "moved.parquet", pa.table({name: columns[name] for name in KEYPOINTS_SCHEMA.names}, schema=KEYPOINTS_SCHEMA))
    return tmp_path / "moved.parquet"


def test_a_table_against_itself_has_not_changed(this: Tables) -> None:
    changes = compare_tables(this, this)
    assert (changes.only_this, changes.only_other) == ([], [])
    assert np.array_equal(*changes.rows)
    assert np.nanmax(changes.distances) == 0
    for row in joint_table(changes).rows:
        assert row[2:4] == ["0", "0"]


def test_what_was_moved_lost_and_left_out_is_found(this: Tables, moved: Path) -> None:
    other = read_tables(moved, pair_config())
    changes = compare_tables(this, other)
    assert changes.only_this == [this.rows["image"].iloc[0]]
    assert changes.only_other == []
    rows = {row[0]: row[1:] for row in joint_table(changes).rows}
    people = str(int((other.rows["status"] == "ok").sum()))
    assert rows["nose"] == [people, "0", "0", "5.00", "5.00", "5.00"]
    assert rows["neck"] == [people, "0", "0", "0.00", "0.00", "0.00"]
    assert rows["right_ear"] == ["0", people, "0", "-", "-", "-"]
    assert rows["left_ear"][:3] == ["0", "0", "0"]
    back = {row[0]: row[1:] for row in joint_table(compare_tables(other, this)).rows}
    assert back["right_ear"][:3] == ["0", "0", people]
    assert back["nose"] == rows["nose"]


def test_an_images_distance_is_the_mean_of_its_joints(this: Tables, moved: Path) -> None:
    distances = image_distances(compare_tables(this, read_tables(moved, pair_config())))
    expected = 5 / 16  # of 18 joints one is lost and one was never found
    assert np.nanmin(distances) == pytest.approx(expected, abs=1e-3)
    assert np.nanmax(distances) == pytest.approx(expected, abs=1e-3)


def test_statuses_go_from_the_other_table_to_this_one(this: Tables) -> None:
    other = this._replace(rows=this.rows.assign(status="no_person"))
    table = status_table(this, other, compare_tables(this, other))
    assert [row[0] for row in table.rows] == ["no_person there"]
    counts = dict(zip(table.headings[1:], map(int, table.rows[0][1:]), strict=True))
    assert counts == {f"{status} here": count for status, count in this.rows["status"].value_counts().items()}


def test_the_page_shows_both_skeletons_of_what_differs(prepared: Prepared, moved: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    paths = ["--params", ROOT / "params.yaml", "--keypoints", prepared.keypoints, "--pairs", prepared.pairs, "--raw", prepared.raw]
    result = CliRunner().invoke(cli, ["inspect", *map(str, paths), "--against", str(moved), "--pictures", "4", "--out", str(out)])
    assert result.exit_code == 0, result.output
    page = out.read_text()
    assert page.count("0.3 px apart</figcaption>") == 4
    assert "1 only in this one, 0 only in the other" in page
