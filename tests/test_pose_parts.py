import time
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.pose import stage as pose
from pipeline.pose.rows import estimate_archive, keypoints_table
from pipeline.pose.stage import PoseParts, estimate_in_parts, fingerprint_of, write_keypoints
from pipeline.raw_archive import image_members
from posegan.config import PoseConfig, load_params
from tests.support import forked
from tests.support.small_market import FakeEstimator, Prepared, market

ROOT = Path(__file__).parent.parent


@pytest.fixture
def config() -> PoseConfig:
    return load_params(ROOT / "params.yaml").pose.model_copy(update={"batch_size": 3})


class Counting(FakeEstimator):
    """Counts what it was shown; stops with an error after `most` images."""

    shown = 0
    most = 1 << 30

    def __init__(self, config: PoseConfig) -> None:
        pass

    def estimate(self, images):  # type: ignore[no-untyped-def]
        if type(self).shown + len(images) > self.most:
            raise KeyboardInterrupt
        type(self).shown += len(images)
        return super().estimate(images)


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    class Fresh(Counting):
        pass

    monkeypatch.setattr(pose, "PoseEstimator", Fresh)
    return Fresh


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_parts_make_the_same_file_as_one_run(prepared: Prepared, tmp_path: Path, config: PoseConfig, size: int) -> None:
    with zipfile.ZipFile(prepared.raw) as archive:
        whole = keypoints_table(list(estimate_archive(archive, FakeEstimator(), 5)))
        parts = estimate_in_parts(archive, image_members(archive), config, PoseParts(tmp_path / "state", "f" * 16), size)
    write_keypoints(tmp_path / "a.parquet", whole)
    write_keypoints(tmp_path / "b.parquet", parts)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_stopped_run_goes_on_with_the_images_that_are_left(
    prepared: Prepared, tmp_path: Path, config: PoseConfig, counting: type[Counting]
) -> None:
    with zipfile.ZipFile(prepared.raw) as archive:
        members, parts = image_members(archive), PoseParts(tmp_path / "state", "f" * 16)
        counting.most = 20
        with pytest.raises(KeyboardInterrupt):
            estimate_in_parts(archive, members, config, parts, 6)
        done = counting.shown
        assert done > 6
        counting.most = 1 << 30
        table = estimate_in_parts(archive, members, config, parts, 6)
        assert table.equals(keypoints_table(list(estimate_archive(archive, FakeEstimator(), 5))))
    readable = sum(status in ("ok", "no_person") for status in table["status"].to_pylist())
    assert counting.shown - done <= readable - 6 * (done // 6)
    parts.clear()
    assert not (tmp_path / "state").exists()


def test_a_damaged_or_foreign_part_is_made_again(prepared: Prepared, tmp_path: Path, config: PoseConfig) -> None:
    parts = PoseParts(tmp_path / "state", "f" * 16)
    with zipfile.ZipFile(prepared.raw) as archive:
        members = image_members(archive)
        right = estimate_in_parts(archive, members, config, parts, 10)
        first, second = sorted(parts.folder.iterdir())[:2]
        first.write_bytes(first.read_bytes()[:100])
        pq.write_table(pq.read_table(second).slice(1), second)
        assert estimate_in_parts(archive, members, config, parts, 10).equals(right)
        assert estimate_in_parts(archive, members[1:], config, parts, 10).equals(right.slice(1))


def test_whatever_decides_the_rows_decides_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"1")
    with zipfile.ZipFile(market(tmp_path / "a.zip")) as one, zipfile.ZipFile(market(tmp_path / "b.zip", images=3)) as other:
        first = fingerprint_of(one, "{}", [tmp_path / "w"])
        assert first == fingerprint_of(one, "{}", [tmp_path / "w"])
        assert first != fingerprint_of(other, "{}", [tmp_path / "w"])
        assert first != fingerprint_of(one, "{ }", [tmp_path / "w"])
        (tmp_path / "w").write_bytes(b"2")
        assert first != fingerprint_of(one, "{}", [tmp_path / "w"])


# The stage itself with parts of 8 images and a detector that takes its time.
SLOW = """
import time
from tests.support.small_market import FakeEstimator
from pipeline.pose import stage as pose
class Slow(FakeEstimator):
    def __init__(self, config): pass
    def estimate(self, images):
        time.sleep(0.02 * len(images)); print(len(images), flush=True); return super().estimate(images)
pose.PoseEstimator = Slow
pose.estimate_in_parts.__defaults__ = (8,)
pose.pose(standalone_mode=False)
"""


def test_killed_in_the_middle_the_next_run_makes_the_same_bytes_from_what_was_done(tmp_path: Path) -> None:
    raw = market(tmp_path / "raw.zip", identities=10, images=8)

    def line(name: str) -> list[str]:
        places = {"params": ROOT / "params.yaml", "raw": raw, "out": tmp_path / name, "state": tmp_path / "state"}
        return ["-c", SLOW, *(part for option, place in places.items() for part in (f"--{option}", str(place)))]

    def images(output: str) -> int:
        return sum(int(line) for line in output.splitlines() if line.isdigit())

    whole = forked.run(*line("whole.parquet")).stdout
    with forked.started(*line("resumed.parquet")) as child:
        limit = time.monotonic() + 60
        while len(list((tmp_path / "state").rglob("*.parquet"))) < 3 and time.monotonic() < limit:
            time.sleep(0.01)
        child.kill()
    assert not (tmp_path / "resumed.parquet").exists()
    rest = forked.run(*line("resumed.parquet")).stdout
    assert (tmp_path / "resumed.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert images(rest) <= images(whole) - 16
    assert not (tmp_path / "state").exists()
