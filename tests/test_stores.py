import itertools
import shutil
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import fsspec
import pytest

from posegan.data.index import CorruptSampleError, ShardIndex
from posegan.data.stores import ATTEMPTS, RemoteStore, is_address
from posegan.data.streams import TrainStream
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from tests.support import forked
from tests.support.loopback import Handler, Loopback, serving
from tests.support.small_market import Prepared
from tests.test_stream import equal

NAME = "test/test-000000.tar.gz"


def remote(address: str, cache: Path) -> tuple[RemoteStore, list[float]]:
    """A store that does not sleep, and the pauses it would have made."""
    pauses: list[float] = []
    return RemoteStore(address, cache, pauses.append), pauses


def honest(folder: Path, request: Handler) -> None:
    path = folder / request.path.removeprefix("/shards/")
    if path.is_file():
        request.reply(200, path.read_bytes())
    else:
        request.reply(404, b"no such file")


@pytest.fixture
def server(prepared: Prepared) -> Iterator[Loopback]:
    with serving(lambda request, number: honest(prepared.shards, request)) as running:
        yield running


def temporary_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def test_addresses_are_told_from_folders() -> None:
    assert [is_address(place) for place in ("https://a/b", "s3://a", "memory://a", "data/shards", "/a/b", "C:\\a")] == [True] * 3 + [
        False
    ] * 3


def test_shards_over_http_are_those_of_the_folder_and_each_is_fetched_once(server: Loopback, prepared: Prepared, tmp_path: Path) -> None:
    here, there = ShardIndex.load(prepared.shards), ShardIndex.load(f"{server.url}/shards/", tmp_path)
    assert there.sha256 == here.sha256
    for _ in range(2):
        for one, other in zip(here.samples, there.samples, strict=True):
            assert one == other
            assert here.read(one).files == there.read(other).files
    asked = [path for path, _ in server.asked]
    assert len(asked) == len(set(asked)) == 2 + len({sample.shard for sample in here.samples})
    ShardIndex.load(f"{server.url}/shards", tmp_path).read(here.samples[0])
    assert [path for path, _ in server.asked][len(asked) :] == ["/shards/SHA256SUMS"]  # which alone may have changed
    assert all(path.name.startswith(sha256_of(path)) for path in tmp_path.iterdir())


def test_a_stream_over_http_gives_the_batches_of_the_folder(server: Loopback, prepared: Prepared, tmp_path: Path) -> None:
    indices = [ShardIndex.load(prepared.shards), ShardIndex.load(f"{server.url}/shards", tmp_path)]
    here, there = (TrainStream(index, "train", prepared.image, 4, 0, 1, 2) for index in indices)
    assert all(equal(one, other) for one, other in islice(zip(here.batches(3), there.batches(3), strict=False), 9))


def test_any_file_system_that_fsspec_knows_will_do(prepared: Prepared, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(prepared.shards), "/bucket/shards", recursive=True)
    here, there = ShardIndex.load(prepared.shards), ShardIndex.load("memory://bucket/shards", tmp_path)
    assert here.read(here.samples[0]).files == there.read(there.samples[0]).files
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("trouble", ["cut", "cut without a length", "flip", "page", "longer", "503"])
def test_a_bad_answer_is_never_used_and_asked_for_again(prepared: Prepared, tmp_path: Path, trouble: str) -> None:
    content = (prepared.shards / NAME).read_bytes()

    def answer(request: Handler, number: int) -> None:
        if number == ATTEMPTS - 1:
            request.reply(200, content)
        elif trouble == "cut":
            request.reply(200, content[:-100], Content_Length=len(content))
        elif trouble == "cut without a length":
            request.reply(200, content[:-100], Content_Length=None)
        elif trouble == "flip":
            request.reply(200, content[:-1] + bytes([content[-1] ^ 1]))
        elif trouble == "page":
            request.reply(200, b"<html>quota exceeded</html>")
        elif trouble == "longer":
            request.reply(200, content + b"x")
        else:
            request.reply(503, b"later")

    with serving(answer) as server:
        store, pauses = remote(server.url, tmp_path)
        path = store.path(NAME, sha256_of(prepared.shards / NAME), len(content))
        assert path.read_bytes() == content
        assert len(server.asked) == ATTEMPTS
    assert pauses == [1.0, 2.0]
    assert temporary_files(tmp_path) == []


def test_what_never_comes_right_is_an_error_that_names_it_and_leaves_nothing(prepared: Prepared, tmp_path: Path) -> None:
    with serving(lambda request, number: request.reply(200, b"other bytes")) as server:
        store, _ = remote(server.url, tmp_path)
        with pytest.raises(PoseGANError, match=rf"{NAME}: could not be fetched: 11 bytes with the SHA-256 .*expected"):
            store.path(NAME, "0" * 64, 100)
    assert list(tmp_path.iterdir()) == []


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    def endless(request: Handler, number: int) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in itertools.count():
            request.wfile.write(bytes(1 << 16))

    with serving(endless) as server:
        store, _ = remote(server.url, tmp_path)
        with pytest.raises(PoseGANError, match="more than the 1,000 bytes expected"):
            store.path(NAME, "0" * 64, 1000)


def test_a_missing_file_or_host_is_named(server: Loopback, tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match=r"/elsewhere/SHA256SUMS: could not be fetched: not there"):
        ShardIndex.load(f"{server.url}/elsewhere", tmp_path)
    assert len(server.asked) == 1
    store, pauses = remote("http://127.0.0.1:9/shards", tmp_path)
    with pytest.raises(PoseGANError, match="could not be fetched"):
        store.small_file("SHA256SUMS")
    assert len(pauses) == ATTEMPTS - 1
    with pytest.raises(PoseGANError, match=r"nosuch://a: cannot be read"):
        ShardIndex.load("nosuch://a", tmp_path)


def test_a_hash_that_is_none_becomes_no_file_name(tmp_path: Path) -> None:
    store, _ = remote("memory://a", tmp_path)
    with pytest.raises(PoseGANError, match="gives '../../x'"):
        store.path(NAME, "../../x", 5)


def test_a_cached_shard_that_was_damaged_later_is_caught(server: Loopback, tmp_path: Path) -> None:
    index = ShardIndex.load(f"{server.url}/shards", tmp_path)
    sample = index.samples[0]
    index.read(sample)
    path = tmp_path / f"{sample.shard_sha256}.tar.gz"
    content = bytearray(path.read_bytes())
    content[sample.offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptSampleError, match=f"identity {sample.identity} .*delete {path}, and it is fetched again"):
        index.read(sample)
    path.unlink()
    index.read(sample)


def test_an_index_that_was_changed_on_the_way_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(prepared.shards, tmp_path / "served"))
    path = folder / "index.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with serving(lambda request, number: honest(folder, request)) as server:
        store, _ = remote(f"{server.url}/shards", tmp_path / "cache")
        with pytest.raises(PoseGANError, match=r"index\.parquet: could not be fetched: .*expected"):
            store.verified("index.parquet", sha256_of(prepared.shards / "index.parquet"), "")


def test_a_process_killed_while_fetching_leaves_no_file_under_a_hash_and_the_next_one_tidies_up(prepared: Prepared, tmp_path: Path) -> None:
    content, sha256 = (prepared.shards / NAME).read_bytes(), sha256_of(prepared.shards / NAME)
    under_way, killed = threading.Event(), threading.Event()

    def answer(request: Handler, number: int) -> None:
        if number:
            request.reply(200, content)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[:-1])
        under_way.set()
        killed.wait(60)

    with serving(answer) as server:
        program = "import sys; from pathlib import Path; from posegan.data.stores import RemoteStore; "
        program += "RemoteStore(sys.argv[1], Path(sys.argv[2])).path(sys.argv[3], sys.argv[4], int(sys.argv[5]))"
        arguments = [server.url, str(tmp_path), NAME, sha256, str(len(content))]
        with forked.started("-c", program, *arguments):
            assert under_way.wait(60)
        killed.set()
        assert all(path.name.endswith(".tmp") for path in tmp_path.iterdir())
        assert remote(server.url, tmp_path)[0].path(NAME, sha256, len(content)).read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [f"{sha256}.tar.gz"]
