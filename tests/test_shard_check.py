import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.shard.stage import check_shards, format_faults, verify_shards
from posegan.data.index import ShardIndex
from posegan.data.packed_tar import Sample
from posegan.errors import PoseGANError
from tests.support.small_market import Prepared


@pytest.fixture
def folder(prepared: Prepared, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared.shards, tmp_path / "shards"))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_folder_as_it_was_written_has_no_fault(folder: Path) -> None:
    checked, faults = check_shards(folder)
    assert faults == []
    index = ShardIndex.load(folder)
    assert f"{len(index.samples)} samples" in checked


def test_any_flipped_byte_of_any_shard_is_found_with_the_shard_and_the_identity(folder: Path) -> None:
    samples = list(ShardIndex.load(folder).samples)
    generator = np.random.default_rng(0)
    for path in sorted(folder.rglob("*.tar.gz")):
        size, here = path.stat().st_size, [sample for sample in samples if folder / sample.shard == path]
        for place in {0, 9, size - 1, size - 9, *generator.integers(size, size=25).tolist()}:
            flip(path, place)
            (fault,) = check_shards(folder)[1]
            assert fault.startswith(str(path))
            assert hit(here, place) is None or f"identity {hit(here, place)} " in fault
            flip(path, place)
    assert check_shards(folder)[1] == []


def hit(samples: list[Sample], place: int) -> int | None:
    """The identity whose bytes a place is among."""
    return next((sample.identity for sample in samples if sample.offset <= place < sample.offset + sample.size), None)


def test_every_damaged_identity_of_a_shard_is_named(folder: Path) -> None:
    index = ShardIndex.load(folder)
    shard = next(sample.shard for sample in index.samples if sample.split == "test")
    samples = [sample for sample in index.samples if sample.shard == shard]
    assert len(samples) > 1
    for sample in samples:
        flip(folder / shard, sample.offset + sample.size // 2)
    assert [f"identity {sample.identity} " in fault for sample, fault in zip(samples, check_shards(folder)[1], strict=True)]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


@pytest.mark.parametrize(("damage", "word"), [(cut, "bytes, "), (lengthen, "bytes, "), (Path.unlink, "missing")])
def test_a_cut_longer_or_missing_shard_is_named(folder: Path, damage: Callable[[Path], None], word: str) -> None:
    path = max(folder.rglob("*.tar.gz"))
    damage(path)
    faults = check_shards(folder)[1]
    assert all(fault.startswith(str(path)) for fault in faults)
    assert word in faults[0]


def test_an_extra_file_is_named(folder: Path) -> None:
    shutil.copy(folder / "test" / "test-000000.tar.gz", folder / "test" / "test-000009.tar.gz")
    (fault,) = check_shards(folder)[1]
    assert fault.startswith(f"{folder}/test/test-000009.tar.gz: not one of the files")


def test_any_flipped_byte_of_the_index_is_found(folder: Path) -> None:
    path = folder / "index.parquet"
    for place in np.random.default_rng(0).integers(path.stat().st_size, size=20):
        flip(path, place)
        (fault,) = check_shards(folder)[1]
        assert fault == f"{path}: other bytes than were written"
        flip(path, place)


def test_an_index_of_other_samples_is_found_though_its_checksum_was_renewed(folder: Path) -> None:
    import pyarrow.parquet as pq

    from posegan.files import sha256_of

    table, old = pq.read_table(folder / "index.parquet"), sha256_of(folder / "index.parquet")
    for wrong in (table.slice(1), table.set_column(3, "identity", table["identity"].take(list(range(table.num_rows))[::-1]))):
        pq.write_table(wrong.cast(table.schema), folder / "index.parquet")
        sums = (folder / "SHA256SUMS").read_text()
        (folder / "SHA256SUMS").write_text(sums.replace(old, sha256_of(folder / "index.parquet")))
        old = sha256_of(folder / "index.parquet")
        assert check_shards(folder)[1]


def test_faults_are_printed_and_end_in_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(folder / "test" / "test-000000.tar.gz", 500)
    with pytest.raises(PoseGANError, match="1 fault, named above; delete the folder"):
        verify_shards(folder)
    assert "test-000000.tar.gz: identity 1 " in capsys.readouterr().out


def test_webdataset_reads_what_the_index_says_and_a_shard_of_other_samples_is_named(folder: Path) -> None:
    assert format_faults(folder) == []
    one, other = sorted(folder.rglob("*.tar.gz"))[:2]
    one.write_bytes(other.read_bytes())
    assert format_faults(folder) == [f"{one}: webdataset reads other samples than index.parquet says"]
