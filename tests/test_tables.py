import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.tables import PAIRS_SCHEMA, read_counts, read_pairs, write_table
from posegan.errors import PoseGANError
from posegan.formats.table import KEYPOINT_COLUMNS, KEYPOINTS_SCHEMA, MENDED, Keypoints, joint_columns, read_keypoints


def keypoints_of(joints: np.ndarray, known: np.ndarray) -> pa.Table:
    rows = len(joints)
    numbers = {name: [1] * rows for name in ("identity", "camera", "sequence", "frame", "box", "width", "height")}
    texts = {
        "image": [f"{row}.jpg" for row in range(rows)],
        "split": ["train"] * rows,
        "status": ["ok" if ok else "no_person" for ok in known],
    }
    rest = {"detail": [None] * rows, "person_confidence": [0.5] * rows, **joint_columns(joints, known)}
    columns = {**numbers, **texts, **rest}
    return pa.table({name: columns[name] for name in KEYPOINTS_SCHEMA.names}, schema=KEYPOINTS_SCHEMA)


def random_joints(rows: int) -> np.ndarray:
    joints = np.random.default_rng(0).uniform(0.1, 1, (rows, 18, 3)).astype(np.float32) * np.array([64, 128, 1], np.float32)
    joints[0, 5] = 0
    return joints


def test_keypoints_come_back_as_they_went_rounded_to_three_decimals(tmp_path: Path) -> None:
    joints = random_joints(6)
    known = np.array([True, True, False, True, True, True])
    write_table(tmp_path / "k.parquet", keypoints_of(joints, known))
    read = read_keypoints(tmp_path / "k.parquet").joints
    assert read.dtype == np.float32
    assert np.abs(read[known] - joints[known]).max() <= 0.00051
    assert not read[2].any()
    assert not read[0, 5].any()


def test_missing_joints_are_null_with_confidence_zero_and_unknown_rows_wholly_null() -> None:
    joints = random_joints(2)
    joints[0, 4] = (3, 3, 0.0004)  # its confidence rounds to 0
    frame = pd.DataFrame({name: column.to_pandas() for name, column in joint_columns(joints, np.array([True, False])).items()})
    for joint in ("left_shoulder", "right_wrist"):
        assert frame.loc[0, [f"{joint}_x", f"{joint}_y"]].isna().all()
        assert frame.loc[0, f"{joint}_confidence"] == 0
    assert frame.loc[1].isna().all()
    assert list(frame.columns) == list(KEYPOINT_COLUMNS)


def test_pandas_reads_plain_float_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "k.parquet", keypoints_of(random_joints(3), np.ones(3, bool)))
    frame = pd.read_parquet(tmp_path / "k.parquet")
    assert all(frame[name].dtype == np.float32 for name in KEYPOINT_COLUMNS)


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    table = keypoints_of(random_joints(3), np.ones(3, bool))
    for name in ("a", "b"):
        write_table(tmp_path / name, table, {"ok": 3})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_counts_survive(tmp_path: Path) -> None:
    table = pa.table({"source": ["a"], "target": ["b"], "identity": [1], "split": ["train"]}, schema=PAIRS_SCHEMA)
    write_table(tmp_path / "p.parquet", table, {"kept": 7})
    assert read_counts(read_pairs(tmp_path / "p.parquet")) == {"kept": 7}
    assert read_counts(table) == {}


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    with pytest.raises(PoseGANError, match=r"p\.parquet: no such file; run the pair stage"):
        read_pairs(path)
    path.write_bytes(b"not parquet")
    with pytest.raises(PoseGANError, match="not a table of pairs"):
        read_pairs(path)
    write_table(path, pa.table({"source": ["a"], "target": ["b"], "identity": ["one"], "split": ["train"]}))
    with pytest.raises(PoseGANError, match=r"row 0, identity: 'one'; expected a whole number"):
        read_pairs(path)


def stored(tmp_path: Path) -> pd.DataFrame:
    write_table(tmp_path / "k.parquet", keypoints_of(random_joints(6), np.ones(6, bool)))
    return pd.read_parquet(tmp_path / "k.parquet")


def read_back(frame: pd.DataFrame, tmp_path: Path) -> Keypoints:
    frame.to_parquet(tmp_path / "by_pandas.parquet")
    return read_keypoints(tmp_path / "by_pandas.parquet")


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda frame: frame.set_index("image"),
        lambda frame: frame.astype({"split": "category", "status": "category", "identity": "float64", "camera": "int64"}),
        lambda frame: frame[frame.columns[::-1]].assign(mine="note"),
        lambda frame: frame.astype(dict.fromkeys(KEYPOINT_COLUMNS, "float64")),
    ],
)
def test_what_pandas_makes_of_a_table_is_read(rewrite: Callable[[pd.DataFrame], pd.DataFrame], tmp_path: Path) -> None:
    frame = stored(tmp_path)
    table, joints = read_back(rewrite(frame), tmp_path)
    assert np.array_equal(joints, read_keypoints(tmp_path / "k.parquet").joints)
    assert table["identity"].to_pylist() == frame["identity"].to_list()


def test_null_is_missing_and_what_it_drops_is_told(tmp_path: Path) -> None:
    frame = stored(tmp_path)
    frame.loc[3, ["nose_x", "nose_y"]] = None
    table, joints = read_back(frame, tmp_path)
    assert not joints[3, 0].any()
    assert b"1 joint lacks x, y or a confidence above 0 and counts as missing: nose in row 3 (3.jpg)" in table.schema.metadata[MENDED]
    frame.loc[3, "nose_confidence"] = 0  # now it is as the pose stage writes it
    assert MENDED not in (read_back(frame, tmp_path).table.schema.metadata or {})
    frame.loc[3, ["nose_x", "nose_y"]] = 7  # a joint put in by hand, its confidence forgotten
    assert b"nose in row 3" in read_back(frame, tmp_path).table.schema.metadata[MENDED]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("nose_confidence", 5, "5.0; expected 0 .. 1"),
        ("nose_confidence", -0.5, "-0.5; expected 0 .. 1"),
        ("left_ear_x", np.inf, "inf; expected pixels"),
        ("left_ear_y", 3.4e38, "expected pixels"),
        ("nose_x", "left", "'left'; expected a number"),
        ("person_confidence", None, "empty; expected a number"),
        ("person_confidence", 2, "2.0; expected 0 .. 1"),
        ("split", "val", "val; expected one of train, test, query"),
        ("status", "fine", "fine; expected one of ok"),
        ("status", "no_person", "no_person; expected ok, since joints are there"),
        ("identity", None, "empty; expected a number"),
        ("identity", -7, "-7; expected -1 or more"),
        ("camera", 1.5, "1.5; expected a whole number"),
        ("identity", 10**12, "expected a whole number"),
        ("width", 0, "0; expected 1 or more"),
    ],
)
def test_an_impossible_value_is_refused_by_row_and_column(column: str, value: object, told: str, tmp_path: Path) -> None:
    frame = stored(tmp_path)
    values = frame[column].astype(object)
    values[2] = value
    if isinstance(value, str):
        values = values.astype(str)
    with pytest.raises(PoseGANError, match=rf"by_pandas\.parquet, row [02] \([02]\.jpg\), {column}: ") as error:
        read_back(frame.assign(**{column: values}), tmp_path)
    assert told in str(error.value) or column == "nose_x"
    assert "run" not in str(error.value)


def test_an_image_that_stands_twice_or_nowhere_is_refused(tmp_path: Path) -> None:
    frame = stored(tmp_path)
    with pytest.raises(PoseGANError, match=r"row 6, image: 2\.jpg stands in row 2 already"):
        read_back(pd.concat([frame, frame.iloc[[2]]]), tmp_path)
    with pytest.raises(PoseGANError, match="row 0, image: empty"):
        read_back(frame.assign(image=None), tmp_path)
    with pytest.raises(PoseGANError, match="columns missing: image, split"):
        read_back(pd.DataFrame({"a": [1]}), tmp_path)


def test_pairs_that_pandas_wrote_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"source": ["a"], "target": ["b"], "identity": [1], "split": ["train"]})
    frame.astype({"split": "category"}).to_parquet(tmp_path / "p.parquet")
    assert read_pairs(tmp_path / "p.parquet").to_pylist() == frame.to_dict("records")
    frame.assign(source=None).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(PoseGANError, match="row 0, source: empty"):
        read_pairs(tmp_path / "p.parquet")


def test_whatever_byte_is_flipped_ends_in_one_line(tmp_path: Path) -> None:
    stored(tmp_path)
    whole, random = (tmp_path / "k.parquet").read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] ^= 1 << int(random.integers(8))
        (tmp_path / "k.parquet").write_bytes(damaged)
        with contextlib.suppress(PoseGANError):
            read_keypoints(tmp_path / "k.parquet")
