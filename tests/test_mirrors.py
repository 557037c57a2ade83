import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from pipeline.download import mirrors
from pipeline.download.mirrors import COUNTS, ORIGINAL, address_of, check_content, obtain_original, read_record
from pipeline.http.transfer import Limits
from posegan.config import Mirror, load_params
from posegan.errors import PoseGANError
from tests.support.loopback import Handler, serving
from tests.support.small_market import jpeg

ROOT = Path(__file__).parent.parent
FEW = {"train": 2, "test": 3, "query": 1}
FOLDERS = {"train": "bounding_box_train", "test": "bounding_box_test", "query": "query"}
QUICK = Limits(deadline=10, silence=1, connect=1, attempts=2, pause=0.01)
CLOSED = "http://127.0.0.1:1/Market.zip"


def make_original(path: Path, counts: dict[str, int] = FEW, image: bytes = jpeg(1)) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for split, count in counts.items():
            for number in range(count):
                archive.writestr(f"Market-1501-v15.09.15/{FOLDERS[split]}/{number % 10_000:04d}_c1s1_{number:06d}_00.jpg", image)
        archive.writestr("Market-1501-v15.09.15/bounding_box_train/Thumbs.db", b"thumbs")
    return path.read_bytes()


def obtain(folder: Path, *places: Mirror, counts: dict[str, int] = FEW) -> Path:
    return obtain_original(places, folder / "downloads", folder / "record.json", QUICK, counts)


def mirror(url: str, **sums: str) -> Mirror:
    return Mirror(url=url, **{"md5": "", "sha256": "", **sums})


def test_mirrors_are_tried_in_turn_and_the_first_good_copy_is_recorded(tmp_path: Path) -> None:
    original = make_original(tmp_path / "o.zip")
    answers = {
        "/gone": lambda request: request.reply(404),
        "/quota": lambda request: request.reply(200, b"<html><title>Google Drive - Quota exceeded</title></html>"),
        "/cut": lambda request: request.reply(200, original[:-100]),
        "/few": lambda request: request.reply(200, make_original(tmp_path / "f.zip", FEW | {"test": 2})),
        "/good": lambda request: request.reply(200, original),
        "/never": lambda request: request.reply(500),
    }
    with serving(lambda request, _: answers[request.path](request)) as server:
        places = [mirror(CLOSED), *(mirror(server.url + path) for path in answers)]
        assert obtain(tmp_path, *places).read_bytes() == original
        assert [path for path, _ in server.asked] == ["/gone", "/quota", "/cut", "/few", "/good"]
        record = read_record(tmp_path / "record.json")
        assert record is not None
        assert (record.sha256, record.size, record.url) == (hashlib.sha256(original).hexdigest(), len(original), f"{server.url}/good")


def test_when_every_place_fails_every_reason_is_told(tmp_path: Path) -> None:
    with serving(lambda request, _: request.reply(403)) as server, pytest.raises(PoseGANError) as caught:
        obtain(tmp_path, mirror(CLOSED), mirror(f"{server.url}/x"))
    assert "no connection" in str(caught.value)
    assert f"{server.url}/x: the server answered 403" in str(caught.value)
    assert f"put {ORIGINAL} into" in str(caught.value)
    assert not (tmp_path / "record.json").exists()
    with pytest.raises(PoseGANError, match="mirrors is empty"):
        obtain(tmp_path)


def test_a_copy_that_is_there_is_used_without_network(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    original = make_original(tmp_path / "downloads" / ORIGINAL)
    with serving(lambda request, _: request.reply(404)) as server:
        assert obtain(tmp_path, mirror(server.url)).read_bytes() == original
        assert server.asked == []
    assert json.loads((tmp_path / "record.json").read_text())["size"] == len(original)


def test_a_damaged_copy_that_is_there_is_replaced_by_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    original = make_original(tmp_path / "downloads" / ORIGINAL)
    (tmp_path / "downloads" / ORIGINAL).write_bytes(original[:-50])
    with serving(lambda request, _: request.reply(200, original)) as server:
        assert obtain(tmp_path, mirror(server.url)).read_bytes() == original


def test_later_copies_have_to_be_the_recorded_one(tmp_path: Path) -> None:
    first, other = make_original(tmp_path / "a.zip"), make_original(tmp_path / "b.zip", image=jpeg(2))
    padded = bytearray(first)
    padded[first.index(b"_c1s1") + 60] ^= 1  # same size
    with serving(lambda request, _: request.reply(200, {"/first": first, "/other": other, "/same": bytes(padded)}[request.path])) as server:
        obtain(tmp_path, mirror(f"{server.url}/first")).unlink()
        with pytest.raises(PoseGANError, match=r"record\.json expects"):
            obtain(tmp_path, mirror(f"{server.url}/other"))
        with pytest.raises(PoseGANError, match="its SHA-256 is"):
            obtain(tmp_path, mirror(f"{server.url}/same"))
        assert obtain(tmp_path, mirror(f"{server.url}/other"), mirror(f"{server.url}/first")).read_bytes() == first


def test_stated_sums_are_checked(tmp_path: Path) -> None:
    original = make_original(tmp_path / "o.zip")
    right = {"md5": hashlib.md5(original, usedforsecurity=False).hexdigest(), "sha256": hashlib.sha256(original).hexdigest()}
    with serving(lambda request, _: request.reply(200, original)) as server:
        for name, value in right.items():
            with pytest.raises(PoseGANError, match=r"MD5|SHA-256"):
                obtain(tmp_path / "wrong", mirror(server.url, **{name: value[::-1]}))
        assert obtain(tmp_path, mirror(server.url, **right)).exists()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"file": "x"}')
    with pytest.raises(PoseGANError, match=r"record\.json: not understood"):
        obtain(tmp_path, mirror(CLOSED))


def test_google_drive_is_asked_past_its_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An imitation of what Drive does: a page that asks, unless confirm=t; a resource key where the file has one."""
    original = make_original(tmp_path / "o.zip")

    def drive(request: Handler, _: int) -> None:
        good = all(word in request.path for word in ("id=0B8-x", "confirm=t", "resourcekey=0-key"))
        request.reply(200, original if good else b"<html><title>Google Drive - Virus scan warning</title></html>")

    with serving(drive) as server:
        monkeypatch.setattr(mirrors, "_DRIVE", server.url + mirrors._DRIVE.removeprefix("https://drive.usercontent.google.com"))
        assert obtain(tmp_path, mirror("gdrive:0B8-x/0-key")).read_bytes() == original
        with pytest.raises(PoseGANError, match="Virus scan warning"):
            obtain(tmp_path / "other", mirror("gdrive:0B8-y"))


def test_addresses() -> None:
    assert address_of("https://a/b") == "https://a/b"
    assert address_of("gdrive:abc") == "https://drive.usercontent.google.com/download?id=abc&export=download&confirm=t"
    assert address_of("gdrive:abc/0-k").endswith("confirm=t&resourcekey=0-k")


def test_the_parameters_name_mirrors_that_parse() -> None:
    places = load_params(ROOT / "params.yaml").dataset.mirrors
    assert len(places) >= 3
    assert all(address_of(place.url).startswith("http") for place in places)


def test_the_content_of_the_real_size_is_counted(tmp_path: Path) -> None:
    make_original(tmp_path / "o.zip", COUNTS, b"tiny")
    check_content(tmp_path / "o.zip", COUNTS)
    with pytest.raises(PoseGANError, match=r"12,936 of 12,937 train, 19,732 of 19,732 test, 3,368 of 3,368 query"):
        check_content(tmp_path / "o.zip", COUNTS | {"train": 12_937})
