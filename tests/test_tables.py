from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.tables import PAIRS_SCHEMA, read_counts, read_pairs, write_table
from posegan.errors import PoseGANError
from posegan.formats.table import KEYPOINT_COLUMNS, KEYPOINTS_SCHEMA, joint_columns, read_keypoints


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
    with pytest.raises(PoseGANError, match=r"another type: .*identity"):
        read_pairs(path)
