import gzip
import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.download.archives import Limits, open_members
from posegan.errors import PoseGANError

CONTENT = {"a/one.jpg": b"1" * 700, "a/two.jpg": bytes(range(256)) * 5, "three.txt": b""}

DEFAULT = Limits()


def make_zip(path: Path, contents: dict[str, bytes] = CONTENT, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, contents: dict[str, bytes] = CONTENT, mode: str = "w", *special: tarfile.TarInfo) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in special:
            archive.addfile(member)
    return path


def read(path: Path, limits: Limits = DEFAULT) -> dict[str, bytes]:
    with open_members(path, limits) as members:
        assert [len(member.read()) for member in members] == [member.size for member in members]
        return {member.name: member.read() for member in reversed(members)}


def every_kind(folder: Path) -> list[Path]:
    gz = make_tar(folder / "b.tgz", CONTENT, "w:gz")
    return [make_zip(folder / "a.zip"), make_tar(folder / "b.tar"), gz, make_zip(folder / "c.zip", compression=zipfile.ZIP_STORED)]


def test_every_kind_of_archive_gives_the_same_members_in_any_order_of_reading(tmp_path: Path) -> None:
    for path in every_kind(tmp_path):
        assert read(path.rename(tmp_path / "name_tells_nothing")) == CONTENT


def test_an_archive_cut_anywhere_is_damaged(tmp_path: Path) -> None:
    for path in every_kind(tmp_path):
        whole = path.read_bytes()
        end = len(whole) if path.suffix != ".tar" else len(whole.rstrip(b"\0"))  # a tar's padding at the end means nothing
        for cut in np.random.default_rng(0).integers(0, end, 40):
            path.write_bytes(whole[:cut])
            with pytest.raises(PoseGANError, match=path.name):
                read(path)


def test_a_flipped_bit_is_damage_or_changes_nothing_but_a_name_or_date(tmp_path: Path) -> None:
    """A tar has no checksum of its contents; of the others any content that is read is the right one."""
    rng = np.random.default_rng(0)
    for path in every_kind(tmp_path):
        if path.suffix == ".tar":
            continue
        whole = path.read_bytes()
        refused = 0
        for place in rng.integers(0, len(whole) * 8, 200):
            changed = bytearray(whole)
            changed[place // 8] ^= 1 << place % 8
            path.write_bytes(changed)
            try:
                assert set(read(path).values()) <= set(CONTENT.values())
            except PoseGANError:
                refused += 1
        assert refused > 20


def zip_link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", "a\\..\\..\\up\0.jpg"])
def test_names_that_point_out_are_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        member = zipfile.ZipInfo("x" * len(name))
        archive.writestr(member, b"x")
    raw = (tmp_path / "a.zip").read_bytes().replace(b"x" * len(name), name.encode())
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(PoseGANError, match="points out of the archive"):
        read(tmp_path / "a.zip")
    if "\0" not in name:
        with pytest.raises(PoseGANError, match="points out of the archive"):
            read(make_tar(tmp_path / "a.tar", {name: b"x"}))


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zip_link("a/link.jpg"), b"/etc/passwd")
    with pytest.raises(PoseGANError, match="'a/link.jpg' is a link"):
        read(tmp_path / "a.zip")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo("a/odd.jpg")
        member.type, member.linkname = kind, "/etc/passwd"
        with pytest.raises(PoseGANError, match=r"'a/odd\.jpg' is a link, a device"):
            read(make_tar(tmp_path / "a.tar", CONTENT, "w", member))


def test_bombs_are_refused_before_they_go_off(tmp_path: Path) -> None:
    bomb = {"a/bomb.jpg": bytes(20 << 20)}
    with pytest.raises(PoseGANError, match="claims 20,971,520 bytes from"):
        read(make_zip(tmp_path / "a.zip", bomb))
    with pytest.raises(PoseGANError, match=r"unpack to more than"):
        read(make_tar(tmp_path / "a.tgz", bomb, "w:gz"))
    (tmp_path / "b.tgz").write_bytes(gzip.compress(gzip.compress(bytes(200 << 20), mtime=0), mtime=0))
    with pytest.raises(PoseGANError, match=r"b\.tgz"):
        read(tmp_path / "b.tgz")


def test_a_member_that_lies_about_its_size_stays_within_it(tmp_path: Path) -> None:
    """Both headers claim 500 bytes; the deflated stream holds a hundred times that."""
    path = make_zip(tmp_path / "a.zip", {"a.jpg": bytes(50_000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 50_000), struct.pack("<I", 500)))
    with pytest.raises(PoseGANError, match=r"a\.jpg is damaged"):
        read(path)


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    """Many directory entries that share one stream: small on disk, huge when read."""
    path = make_zip(tmp_path / "a.zip", {f"{number:04d}.jpg": np.random.default_rng(0).bytes(3000) for number in range(20)})
    with zipfile.ZipFile(path) as archive:
        first, start = archive.infolist()[0], archive.start_dir
    raw = path.read_bytes()
    directory = raw[start:]
    entry = 46 + len(first.filename)
    names = b"".join(directory[number * entry : (number + 1) * entry][:42] + bytes(4) + b"%04d.jpg" % number for number in range(20))
    shared = raw[: first.header_offset + 30 + 8 + first.compress_size]
    tail = directory[20 * entry :]
    tail = tail[:16] + struct.pack("<I", len(shared)) + tail[20:]
    path.write_bytes(shared + names + tail)
    with pytest.raises(PoseGANError, match="overlap"):
        read(path)


def test_a_password_is_named(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.jpg": b"x" * 10})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(PoseGANError, match=r"a\.jpg is encrypted"):
        read(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_rare_compressions_are_named(tmp_path: Path, compression: int) -> None:
    with pytest.raises(PoseGANError, match="compressed in a rare way"):
        read(make_zip(tmp_path / "a.zip", compression=compression))


def test_the_limits_hold(tmp_path: Path) -> None:
    for path in every_kind(tmp_path):
        for limits in (Limits(members=2), Limits(member_bytes=1000), Limits(total_bytes=1500)):
            with pytest.raises(PoseGANError, match=path.name):
                read(path, limits)


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    for content in (b"", b"PK", b"<html></html>", b"Rar!\x1a\x07\x00" + bytes(600)):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(PoseGANError, match="x: "):
            read(tmp_path / "x")
    with pytest.raises(PoseGANError, match="no such file"):
        read(tmp_path / "nothing")
    with pytest.raises(PoseGANError, match="no such file"):
        read(tmp_path)
    (tmp_path / "empty.tar").write_bytes(bytes(3000))  # two empty blocks end a tar, and may begin it
    assert read(tmp_path / "empty.tar") == {}


def test_an_archive_inside_stays_a_member(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip").read_bytes()
    assert read(make_zip(tmp_path / "a.zip", {"inner.zip": inner})) == {"inner.zip": inner}


def test_long_and_odd_names_come_through(tmp_path: Path) -> None:
    odd = {"ünï/cödé \N{SNOWMAN}.jpg": b"1", "long/" * 40 + "x.jpg": b"2", "new\nline.jpg": b"3"}
    assert read(make_zip(tmp_path / "a.zip", odd)) == odd
    assert read(make_tar(tmp_path / "a.tar", odd)) == odd
