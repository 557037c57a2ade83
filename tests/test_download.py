import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.download.archives import Limits
from pipeline.download.stage import download, from_archive, from_folder, from_url
from posegan.errors import PoseGANError
from tests.support.loopback import serving
from tests.support.small_market import jpeg, market

NAMES = ("bounding_box_train/0002_c1s1_000451_03.jpg", "bounding_box_test/0001_c1s1_000451_03.jpg", "query/0001_c2s1_000451_00.jpg")
CONTENT = {name: jpeg(seed) for seed, name in enumerate(NAMES)}
OTHERS = {"readme.txt": b"about", "gt_bbox/0001_c1s1_000451_03.jpg": jpeg(9), "bounding_box_train/Thumbs.db": b"thumbs"}


def write_zip(path: Path, members: dict[str, bytes], top: str = "", compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(top + name, data)
    return path


def write_folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def content_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("top", ["", "Market-1501-v15.09.15/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_copy_of_the_same_images_gives_the_same_bytes(tmp_path: Path, top: str, compression: int) -> None:
    shuffled = dict(reversed({**CONTENT, **OTHERS}.items()))
    outcome = from_archive(write_zip(tmp_path / "a.zip", shuffled, top, compression), tmp_path / "raw.zip", "")
    assert (outcome.images, outcome.ignored) == (3, 3)
    assert from_folder(write_folder(tmp_path / "folder", {**CONTENT, **OTHERS}), tmp_path / "other.zip").images == 3
    assert (tmp_path / "raw.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    assert content_of(tmp_path / "raw.zip") == CONTENT
    assert list(content_of(tmp_path / "raw.zip")) == sorted(NAMES)


def test_a_normalised_archive_is_its_own_normal_form(tmp_path: Path) -> None:
    from_archive(market(tmp_path / "a.zip"), tmp_path / "b.zip", "")
    from_archive(tmp_path / "b.zip", tmp_path / "c.zip", "")
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "c.zip").read_bytes()
    assert "bounding_box_train/holiday.jpg" in content_of(tmp_path / "b.zip")  # a strange name is for pose to report


def test_the_hash_is_checked_when_given(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "a.zip", CONTENT)
    right = hashlib.sha256(source.read_bytes()).hexdigest()
    from_archive(source, tmp_path / "raw.zip", right)
    with pytest.raises(PoseGANError, match=right):
        from_archive(source, tmp_path / "raw.zip", "0" * 64)


@pytest.mark.parametrize("damaged", [NAMES[0], "gt_bbox/0001_c1s1_000451_03.jpg"])
def test_one_flipped_bit_anywhere_is_named_and_nothing_is_written(tmp_path: Path, damaged: str) -> None:
    source = write_zip(tmp_path / "a.zip", {**CONTENT, **OTHERS}, compression=zipfile.ZIP_STORED)
    content = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        content[archive.getinfo(damaged).header_offset + 300] ^= 4
    source.write_bytes(content)
    with pytest.raises(PoseGANError, match=f"{damaged} is damaged"):
        from_archive(source, tmp_path / "raw.zip", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_the_caps_hold(tmp_path: Path) -> None:
    source = write_zip(tmp_path / "a.zip", CONTENT)
    for limits in (Limits(members=2), Limits(member_bytes=100), Limits(total_bytes=100)):
        with pytest.raises(PoseGANError, match=r"a\.zip"):
            from_archive(source, tmp_path / "raw.zip", "", limits)


def test_wrong_sources_are_named(tmp_path: Path) -> None:
    out = tmp_path / "raw.zip"
    with pytest.raises(PoseGANError, match=r"a\.zip: no such file; set dataset\.path"):
        from_archive(tmp_path / "a.zip", out, "")
    (tmp_path / "a.zip").write_bytes(write_zip(tmp_path / "b.zip", CONTENT).read_bytes()[:-30])
    with pytest.raises(PoseGANError, match="not a whole zip"):
        from_archive(tmp_path / "a.zip", out, "")
    with pytest.raises(PoseGANError, match="no image in bounding_box_train or bounding_box_test"):
        from_archive(write_zip(tmp_path / "c.zip", OTHERS), out, "")
    with pytest.raises(PoseGANError, match="no image in bounding_box_train or bounding_box_test"):
        from_folder(write_folder(tmp_path / "half", {NAMES[2]: b"x"}), out)
    with pytest.raises(PoseGANError, match="no such folder"):
        from_folder(tmp_path / "nowhere", out)
    assert not out.exists()


def test_a_url_gives_what_its_archive_gives_and_is_fetched_once(tmp_path: Path) -> None:
    served = write_zip(tmp_path / "served.zip", CONTENT).read_bytes()
    right = hashlib.sha256(served).hexdigest()
    with serving(lambda request, _: request.reply_file(served)) as server:
        for _ in range(2):
            assert from_url(server.url, tmp_path / "raw.zip", right, tmp_path / "downloads").images == 3
            assert content_of(tmp_path / "raw.zip") == CONTENT
        assert len(server.asked) == 1
        with pytest.raises(PoseGANError, match="gave something else"):
            from_url(server.url, tmp_path / "other.zip", "0" * 64, tmp_path / "downloads")
    assert not (tmp_path / "other.zip").exists()


def test_a_tar_is_as_good_and_an_archive_inside_is_pointed_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        for name, data in (CONTENT | OTHERS).items():
            member = tarfile.TarInfo(f"Market/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert from_archive(tmp_path / "a.tgz", tmp_path / "raw.zip", "") == (3, 3, 0, "")
    assert content_of(tmp_path / "raw.zip") == CONTENT
    inner = write_zip(tmp_path / "inner.zip", CONTENT).read_bytes()
    with pytest.raises(PoseGANError, match=r"unpack 'inner\.zip' in it first"):
        from_archive(write_zip(tmp_path / "b.zip", {"inner.zip": inner}), tmp_path / "raw.zip", "")
    assert from_archive(write_zip(tmp_path / "c.zip", CONTENT | {"inner.zip": inner}), tmp_path / "raw.zip", "") == (3, 1, 1, "")


def test_an_image_that_stands_twice_or_has_an_unprintable_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_zip(tmp_path / "a.zip", CONTENT), "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(NAMES[0], b"x")
    with pytest.raises(PoseGANError, match="stands twice"):
        from_archive(tmp_path / "a.zip", tmp_path / "raw.zip", "")
    with pytest.raises(PoseGANError, match="cannot be shown"):
        from_archive(write_zip(tmp_path / "b.zip", CONTENT | {"query/\x1b[2J.jpg": b"x"}), tmp_path / "raw.zip", "")


def test_the_command_writes_the_sample(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "params.yaml").read_text()
    changes = {
        "train_identities: 320": "train_identities: 2",
        "test_identities: 60": "test_identities: 1",
        "images_per_identity: 8": "images_per_identity: 2",
    }
    for before, after in changes.items():
        text = text.replace(before, after)
    (tmp_path / "params.yaml").write_text(text)
    arguments = ["--params", str(tmp_path / "params.yaml"), "--out", str(tmp_path / "raw.zip")]
    result = CliRunner().invoke(download, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.startswith("download: sample: ")
    assert sum(name.startswith("bounding_box_") for name in content_of(tmp_path / "raw.zip")) >= 6
