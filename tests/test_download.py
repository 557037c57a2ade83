import hashlib
import http.server
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import jpeg, market

from pipeline.download import Limits, download, from_archive, from_folder, from_url
from posegan.errors import PoseGANError

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


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real HTTP server on this machine with well and badly behaved addresses."""
    archive = write_zip(tmp_path / "served.zip", CONTENT).read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/missing":
                self.send_error(404)
                return
            self.send_response(200)
            if self.path == "/cut":
                self.send_header("Content-Length", str(len(archive) + 1000))
            self.end_headers()
            if self.path == "/quota":
                self.wfile.write(b"<html>quota exceeded</html>")
            elif self.path == "/endless":
                while not self.wfile.closed:
                    self.wfile.write(bytes(1 << 16))
            elif self.path == "/drip":
                for _ in range(40):
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            elif self.path == "/silent":
                time.sleep(1)
            else:
                self.wfile.write(archive)

        def log_message(self, *message: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *request: object) -> None:  # a client that hangs up is what some tests are about
            pass

    with Quiet(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


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


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, 0o120777 << 16
    return member


@pytest.mark.parametrize(
    ("member", "data", "complaint"),
    [
        (link("bounding_box_train/0002_c1s1_000452_03.jpg"), b"/etc/passwd", "is a link"),
        (zipfile.ZipInfo("bounding_box_train/0002_c1s1_000452_03.jpg"), bytes(3 << 20), "claims 3,145,728 bytes"),
        (zipfile.ZipInfo("x/" + NAMES[0]), b"", None),
        (zipfile.ZipInfo("../" + NAMES[0]), b"", None),
    ],
)
def test_hostile_members_are_refused_or_stay_out(tmp_path: Path, member: zipfile.ZipInfo, data: bytes, complaint: str | None) -> None:
    source = write_zip(tmp_path / "a.zip", CONTENT)
    member.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(member, data)
    if complaint is None:
        from_archive(source, tmp_path / "raw.zip", "")
        assert content_of(tmp_path / "raw.zip") == CONTENT
    else:
        with pytest.raises(PoseGANError, match=complaint):
            from_archive(source, tmp_path / "raw.zip", "")


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
    with pytest.raises(PoseGANError, match="no image in bounding_box_test"):
        from_folder(write_folder(tmp_path / "half", {NAMES[0]: b"x"}), out)
    with pytest.raises(PoseGANError, match="no such folder"):
        from_folder(tmp_path / "nowhere", out)
    assert not out.exists()


def test_a_url_gives_what_its_archive_gives(tmp_path: Path, server: str) -> None:
    right = hashlib.sha256((tmp_path / "served.zip").read_bytes()).hexdigest()
    assert from_url(f"{server}/archive.zip", tmp_path / "raw.zip", right).images == 3
    assert content_of(tmp_path / "raw.zip") == CONTENT


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/missing", "answered 404"),
        ("/quota", "something else"),
        ("/cut", "broke off after"),
        ("/endless", "more than the 1,000,000 bytes"),
        ("/drip", r"not finished within 0\.4 s"),
        ("/silent", "no connection"),
    ],
)
def test_a_bad_transfer_is_named_and_leaves_nothing(tmp_path: Path, server: str, path: str, complaint: str) -> None:
    limits = Limits(download_bytes=1_000_000, deadline=0.4, silence=0.2)
    started = time.monotonic()
    with pytest.raises(PoseGANError, match=complaint):
        from_url(server + path, tmp_path / "out" / "raw.zip", "0" * 64, limits)
    assert list((tmp_path / "out").iterdir()) == []
    assert time.monotonic() - started < 1.5  # the drip alone would last 2 s


def test_only_http_is_fetched_and_a_closed_port_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match="expected http"):
        from_url((tmp_path / "x").as_uri(), tmp_path / "raw.zip", "0" * 64)
    with pytest.raises(PoseGANError, match="no connection"):
        from_url("http://127.0.0.1:1/x", tmp_path / "raw.zip", "0" * 64)


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
