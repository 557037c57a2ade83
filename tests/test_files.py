"""A file is whole or absent."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from posegan.errors import PoseGANError
from posegan.files import (
    NOTE,
    atomic_folder,
    atomic_path,
    check_replaceable,
    check_sha256,
    contents,
    note,
    noted,
    sha256_of,
    write_atomically,
)
from posegan.model.generator_file import save_pretrained
from tests.support import forked
from tests.support.use_fixtures import write_model


def test_what_was_written_is_there_and_nothing_beside_it(tmp_path):
    write_atomically(tmp_path / "deep" / "a.txt", "text")
    assert (tmp_path / "deep" / "a.txt").read_text() == "text"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_a_failure_keeps_the_old_content_and_leaves_nothing(tmp_path):
    write_atomically(tmp_path / "a", b"old")
    with pytest.raises(KeyError), atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes(b"ne")
        raise KeyError
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_is_replaced_whole(tmp_path):
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "folder", lambda _: {"one"}) as temporary:
            (temporary / content).write_text(content)
    assert contents(tmp_path) == {"folder/two"}


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path):
    theirs = tmp_path / "folder" / "deep" / "theirs"
    theirs.parent.mkdir(parents=True)
    with atomic_folder(tmp_path / "other", lambda _: set()) as temporary:
        (temporary / "a").touch()
    for what in ("holds other files, such as deep", "holds other files, such as deep/theirs"):
        with pytest.raises(PoseGANError, match=what), atomic_folder(tmp_path / "folder", lambda _: set()):
            pytest.fail("the work was begun")
        theirs.write_text("theirs")
    with pytest.raises(PoseGANError, match="a file; choose"), atomic_folder(theirs, contents):
        pytest.fail("the work was begun")
    assert contents(tmp_path) == {"folder/deep/theirs", "other/a"}


def test_files_that_came_during_the_work_are_kept(tmp_path):
    with pytest.raises(PoseGANError, match="such as new"), atomic_folder(tmp_path / "folder", lambda _: set()) as temporary:
        (temporary / "ours").touch()
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "new").touch()
    assert contents(tmp_path) == {"folder/new"}


def test_a_note_says_which_files_are_ours(tmp_path):
    note(tmp_path / "a", ["one", "deep/two"])
    note(tmp_path / "a", ["one", "three"])
    assert (tmp_path / "a" / NOTE).read_text().splitlines() == [NOTE, "deep/two", "one", "three"]
    (tmp_path / "a" / "three").touch()
    (tmp_path / "a" / ".DS_Store").touch()
    check_replaceable(tmp_path / "a", noted)
    (tmp_path / "a" / "four").touch()
    with pytest.raises(PoseGANError, match="such as four"):
        check_replaceable(tmp_path / "a", noted)


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/.."])
def test_what_has_no_name_is_not_written(name):
    with pytest.raises(PoseGANError, match="expected the name of something to write"):
        write_atomically(Path(name), b"x")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PoseGANError, match="could not be written"):
        write_atomically(tmp_path / "file" / "below", b"x")


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(PoseGANError, match=r"a: could not be written \(No space left on device\)"),
        atomic_path(tmp_path / "a") as temporary,
    ):
        temporary.write_bytes(b"x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_finds_no_room_names_where_it_goes(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/elsewhere/source", None, str(tmp_path))  # as shutil.copyfile says it
    with pytest.raises(PoseGANError, match=r"/a: could not be written \(No space left on device\)"), atomic_path(tmp_path / "a"):
        raise full
    other = OSError(errno.EACCES, os.strerror(errno.EACCES), "/elsewhere/source")
    with pytest.raises(PermissionError, match="elsewhere"), atomic_path(tmp_path / "a"):
        raise other


class LibraryError(Exception):
    """As of a library that has its own."""


def test_what_libraries_say_of_a_disk_is_understood(tmp_path, monkeypatch):
    rust = LibraryError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(PoseGANError, match=r"a: could not be written \(No space left on device\)"), atomic_path(tmp_path / "a"):
        raise rust
    torch = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 62600448 vs 62600340")
    with pytest.raises(RuntimeError, match="enforce"), atomic_path(tmp_path / "a"):
        raise torch  # there is room: it is something else
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 4096))
    with pytest.raises(PoseGANError, match=r"a: could not be written \(No space left on device\)"), atomic_path(tmp_path / "a"):
        raise torch
    with pytest.raises(LibraryError), atomic_path(tmp_path / "a"):
        raise LibraryError("nothing of a disk")


LIMITED = """
import resource, sys, warnings
from pathlib import Path
import numpy as np, torch
from pipeline.evaluate.content_cache import ContentCache
from posegan.errors import PoseGANError
from posegan.model.generator_file import save_pretrained
from tests.support.use_fixtures import write_model
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # bytes: the system refuses more of a file
try:
    write_model(Path(sys.argv[1]) / "g.safetensors")
except PoseGANError as error:
    print(error)
cache = ContentCache(lambda images: np.zeros((len(images), 9000), np.float32), Path(sys.argv[1]) / "cache.safetensors")
print(cache(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)).shape)
cache.save()
print("done")
"""


@pytest.mark.skipif(os.name != "posix", reason="limits files by setrlimit")
def test_safetensors_that_cannot_be_written_are_one_line_and_a_cache_is_a_warning(tmp_path):
    done = forked.run("-c", LIMITED, str(tmp_path))
    first, shape, last = done.stdout.splitlines()
    reason = "could not be written (File too large); free some space or choose another place, then run again"
    assert first == f"{tmp_path}/g.safetensors: {reason}"
    assert (shape, last) == ("(2, 9000)", "done")
    assert f"{tmp_path}/cache.safetensors: {reason}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="asks for the umask")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_permissions_that_the_umask_leaves(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_model(tmp_path / "g.safetensors")
        write_atomically(tmp_path / "a", b"x")
        save_pretrained(tmp_path / "g.safetensors", tmp_path / "hub")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes.keys() == {"g.safetensors", "a", "model.safetensors", "config.json", "README.md"}
    assert set(modes.values()) == {0o666 & ~umask}


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    right = hashlib.sha256(b"abc").hexdigest()
    assert sha256_of(tmp_path / "a") == right
    check_sha256(tmp_path / "a", right, "get it again")
    with pytest.raises(PoseGANError, match=f"is {right}, expected 00.*get it again"):
        check_sha256(tmp_path / "a", "0" * 64, "get it again")
    with pytest.raises(PoseGANError, match="no such file; get it again"):
        check_sha256(tmp_path / "b", right, "get it again")


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_one_is_let_be(tmp_path: Path) -> None:
    path = tmp_path / "a-b.[c]"
    write = "import sys, time; from pathlib import Path; from posegan.files import atomic_path\n"
    write += "with atomic_path(Path(sys.argv[1])) as temporary: temporary.write_bytes(b'half'); print(flush=True); time.sleep(60)"
    with forked.started("-c", write, str(path)) as first, forked.started("-c", write, str(path)) as second:
        first.first_line()
        second.first_line()
        assert len(list(tmp_path.iterdir())) == 2
        first.kill()
        write_atomically(path, b"whole")
        assert path.read_bytes() == b"whole"
        assert len(list(tmp_path.iterdir())) == 2  # the file, and the living writer's
    write_atomically(path, b"again")
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
