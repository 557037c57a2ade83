import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.pose.rows import Row, estimate_archive, keypoints_table
from posegan.formats.table import STATUSES, read_keypoints
from posegan.images import decode_image
from tests.support.small_market import FakeEstimator, Prepared, fake_person, jpeg, market


def run(raw: Path, chunk: int) -> list[Row]:
    with zipfile.ZipFile(raw) as archive:
        return list(estimate_archive(archive, FakeEstimator(), chunk))


def test_every_image_is_one_row_with_its_status(prepared: Prepared) -> None:
    rows = run(prepared.raw, 5)
    counts = Counter(row.status for row in rows)
    assert counts == {"ok": 8 * 4 + 2 + 1, "no_person": 1, "unreadable": 1, "bad_name": 1}
    assert set(counts) == set(STATUSES)
    assert all((row.detail is None) == (row.status == "ok") == (row.person is not None) for row in rows)


def test_each_row_has_the_person_of_its_own_image(prepared: Prepared) -> None:
    table, joints = read_keypoints(prepared.keypoints)
    with zipfile.ZipFile(prepared.raw) as archive:
        for number, (name, status) in enumerate(zip(table["image"].to_pylist(), table["status"].to_pylist(), strict=True)):
            if status == "ok":
                person = fake_person(decode_image(archive.read(name)))
                assert person is not None
                assert np.abs(joints[number] - person.keypoints).max() < 0.001
            else:
                assert not joints[number].any()


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_the_chunk_size_does_not_matter(prepared: Prepared, chunk: int) -> None:
    assert keypoints_table(run(prepared.raw, chunk)).equals(keypoints_table(run(prepared.raw, 5)))


def test_an_estimator_gets_more_small_images_at_once_than_large_ones(tmp_path: Path) -> None:
    class Counting(FakeEstimator):
        def estimate(self, images):  # type: ignore[no-untyped-def]
            counts.append(len(images))
            return super().estimate(images)

    sizes, counts = [(64, 32)] * 20 + [(1100, 1000)] * 5, list[int]()
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        for number, size in enumerate(sizes):
            archive.writestr(f"bounding_box_train/0002_c1s1_{number:06d}_01.jpg", jpeg(number, *size))
    with zipfile.ZipFile(tmp_path / "raw.zip") as archive:
        rows = list(estimate_archive(archive, Counting(), 2))
    assert counts == [16, 6, 2, 1]  # eight times two; four small and two of a megapixel; two
    assert [row.size for row in rows] == [(width, height) for height, width in sizes]


def test_rows_are_sorted_and_unreadable_ones_have_no_size(prepared: Prepared) -> None:
    table = read_keypoints(prepared.keypoints).table
    assert table["image"].to_pylist() == sorted(table["image"].to_pylist())
    by_status = dict(zip(table["status"].to_pylist(), table["width"].to_pylist(), strict=True))
    assert by_status == {"ok": 32, "no_person": 32, "bad_name": 32, "unreadable": None}


def test_a_member_with_a_bad_checksum_is_unreadable(tmp_path: Path) -> None:
    raw = market(tmp_path / "raw.zip")
    content = bytearray(raw.read_bytes())
    with zipfile.ZipFile(raw) as archive:
        member = archive.getinfo("bounding_box_train/0002_c1s1_000000_01.jpg")
    content[member.header_offset + 30 + len(member.filename) + 300] ^= 1
    raw.write_bytes(content)
    (row,) = [row for row in run(raw, 8) if row.member == member.filename]
    assert row.status == "unreadable"
    assert "CRC" in str(row.detail)


def test_an_estimator_that_loses_an_image_is_caught(prepared: Prepared) -> None:
    class Forgetful(FakeEstimator):
        def estimate(self, images):  # type: ignore[no-untyped-def]
            return super().estimate(images)[1:]

    with zipfile.ZipFile(prepared.raw) as archive, pytest.raises(ValueError, match="shorter"):
        list(estimate_archive(archive, Forgetful(), 4))
