import errno
import random
import time
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline.http.transfer import Limits, fetch, pause_before
from posegan.errors import PoseGANError
from tests.support.kill_download import kill_downloads
from tests.support.loopback import Handler, serving

CONTENT = random.Random(7).randbytes(300_000)
OTHER = random.Random(8).randbytes(300_000)
QUICK = Limits(deadline=10, silence=0.5, connect=2, attempts=4, progress=1000, pause=0.01, longest_pause=2)


def accept(part: Path) -> None:
    pass


def is_content(part: Path) -> None:
    if part.read_bytes() != CONTENT:
        raise PoseGANError(f"{part}: wrong content")


def alone(path: Path) -> bool:
    """Whether nothing of the transfer is left beside the file."""
    return {left.name for left in path.parent.iterdir()} <= {path.name, ".lock"}


def test_a_file_comes_whole_in_one_request(tmp_path: Path) -> None:
    with serving(lambda request, _: request.reply_file(CONTENT)) as server:
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert len(server.asked) == 1
        assert "Range" not in server.asked[0][1]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert alone(tmp_path / "file")


@pytest.mark.parametrize("most", [20_000, 99_999, 299_999])
def test_a_cut_transfer_goes_on_where_it_was_cut_and_no_byte_comes_twice(tmp_path: Path, most: int) -> None:
    with serving(lambda request, _: request.reply_file(CONTENT, most=most)) as server:
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert server.sent == len(CONTENT)
        assert len(server.asked) == -(-len(CONTENT) // most)
        assert server.asked[1][1]["Range"] == f"bytes={most}-"
        assert server.asked[1][1]["If-Range"] == '"1"'


def test_a_later_call_goes_on_with_what_an_earlier_one_left(tmp_path: Path) -> None:
    with serving(lambda request, number: request.reply_file(CONTENT, most=100_000 if number == 0 else None)) as server:
        with pytest.raises(PoseGANError, match="broke off"):
            fetch(server.url, tmp_path / "file", is_content, QUICK._replace(attempts=1, progress=1 << 30))
        assert not (tmp_path / "file").exists()
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert server.sent == len(CONTENT)
    assert alone(tmp_path / "file")


def test_a_server_that_names_no_version_is_never_asked_for_a_rest(tmp_path: Path) -> None:
    with serving(lambda request, number: request.reply_file(CONTENT, etag=None, most=100_000 if number == 0 else None)) as server:
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert all("Range" not in headers for _, headers in server.asked)


def test_a_server_that_ignores_ranges_is_believed_when_it_sends_everything(tmp_path: Path) -> None:
    def ignore(request: Handler, number: int) -> None:
        request.reply(200, CONTENT[: 100_000 if number == 0 else None], Content_Length=len(CONTENT), ETag='"1"')

    with serving(ignore) as server:
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert len(server.asked) == 2


def test_a_file_that_changes_between_two_requests_starts_again(tmp_path: Path) -> None:
    def change(request: Handler, number: int) -> None:
        request.reply_file(*((OTHER, '"old"', 100_000) if number == 0 else (CONTENT, '"new"')))

    with serving(change) as server:
        fetch(server.url, tmp_path / "file", accept, QUICK)
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"new"', None])
def test_the_rest_of_a_changed_file_is_never_joined_to_the_old_beginning(tmp_path: Path, etag: str | None) -> None:
    """The server ignores If-Range and sends the new file's rest; without an ETag, only the content tells."""

    def change(request: Handler, number: int) -> None:
        del request.headers["If-Range"]
        request.reply_file(*((OTHER, '"old"', 100_000) if number == 0 else (CONTENT, etag)))

    with serving(change) as server:
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert server.sent > len(CONTENT)


def test_a_file_damaged_on_its_way_in_pieces_is_fetched_once_more_as_a_whole(tmp_path: Path) -> None:
    wrong = CONTENT[:50_000] + b"x" + CONTENT[50_001:]
    answers = [(wrong, '"1"', 100_000), (CONTENT, '"1"'), (CONTENT, '"1"')]
    with serving(lambda request, number: request.reply_file(*answers[number])) as server:
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert "Range" not in server.asked[2][1]


def test_a_wrong_file_in_one_piece_is_rejected_at_once(tmp_path: Path) -> None:
    with serving(lambda request, _: request.reply_file(OTHER)) as server:
        with pytest.raises(PoseGANError, match="wrong content"):
            fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert len(server.asked) == 1
    assert not (tmp_path / "file").exists()
    assert alone(tmp_path / "file")


def test_416_means_that_everything_is_there(tmp_path: Path) -> None:
    """Chunks without a length, cut after the last byte of the file: nobody knew that it was the last."""

    def cut_chunk(request: Handler, number: int) -> None:
        if number:
            request.reply_file(CONTENT)
            return
        chunk = b"%x\r\n" % len(CONTENT) + CONTENT  # and no end
        request.protocol_version = "HTTP/1.1"
        request.reply(200, chunk, Content_Length=None, Transfer_Encoding="chunked", ETag='"1"')

    with serving(cut_chunk) as server:
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert server.asked[1][1]["Range"] == f"bytes={len(CONTENT)}-"
        assert len(server.asked) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_said_and_not_asked_for_again(tmp_path: Path, status: int) -> None:
    with serving(lambda request, _: request.reply(status, b"no")) as server:
        with pytest.raises(PoseGANError, match=f"the server answered {status}; check the address"):
            fetch(server.url, tmp_path / "file", accept, QUICK)
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_passing_trouble_is_waited_for(tmp_path: Path, status: int) -> None:
    def recover(request: Handler, number: int) -> None:
        if number < 3:
            request.reply(status)
        else:
            request.reply_file(CONTENT)

    with serving(recover) as server:
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert len(server.asked) == 4


def test_a_lasting_trouble_ends_after_the_attempts_allowed(tmp_path: Path) -> None:
    with serving(lambda request, _: request.reply(500)) as server:
        with pytest.raises(PoseGANError, match=r"the server answered 500 \(4 attempts\)"):
            fetch(server.url, tmp_path / "file", accept, QUICK)
        assert len(server.asked) == 4


def test_retry_after_is_obeyed_or_refused(tmp_path: Path) -> None:
    def busy(request: Handler, number: int) -> None:
        if number == 0:
            request.reply(429, Retry_After=1)
        else:
            request.reply_file(CONTENT)

    with serving(busy) as server:
        started = time.monotonic()
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert time.monotonic() - started >= 1
    with serving(lambda request, _: request.reply(429, Retry_After=3600)) as server:
        with pytest.raises(PoseGANError, match="answered 429 and asks to come back in 3600 s"):
            fetch(server.url, tmp_path / "other", accept, QUICK)
        assert len(server.asked) == 1


def test_a_server_that_claims_more_than_it_has_is_named(tmp_path: Path) -> None:
    def lie(request: Handler, _: int) -> None:
        request.reply(200, CONTENT, Content_Length=len(CONTENT) + 1000)

    with serving(lie) as server, pytest.raises(PoseGANError, match=r"broke off after 300,000 of 301,000 bytes|transfer broke off"):
        fetch(server.url, tmp_path / "file", is_content, QUICK)
    assert not (tmp_path / "file").exists()


def test_a_server_that_claims_less_than_it_has_gives_no_file(tmp_path: Path) -> None:
    with (
        serving(lambda request, _: request.reply(200, CONTENT, Content_Length=1000)) as server,
        pytest.raises(PoseGANError, match="wrong content"),
    ):
        fetch(server.url, tmp_path / "file", is_content, QUICK)
    assert not (tmp_path / "file").exists()


def test_redirects_are_followed_but_not_for_ever(tmp_path: Path) -> None:
    def redirect(request: Handler, _: int) -> None:
        left = int(request.path.removeprefix("/"))
        if left:
            request.reply(302, b"gone", Location=f"/{left - 1 if left < 100 else left}")
        else:
            request.reply_file(CONTENT)

    with serving(redirect) as server:
        fetch(f"{server.url}/10", tmp_path / "file", is_content, QUICK)
        with pytest.raises(PoseGANError, match="more than 10 redirects"):
            fetch(f"{server.url}/11", tmp_path / "other", accept, QUICK)
        with pytest.raises(PoseGANError, match="leads nowhere"):
            fetch(f"{server.url}/100", tmp_path / "other", accept, QUICK)


def drip(request: Handler, seconds: float, header: bool = False) -> None:
    if not header:
        request.reply(200, Content_Length=None)
    else:
        request.wfile.write(b"HTTP/1.0 200 OK\r\nX-A: ")
    for _ in range(int(seconds / 0.05)):
        request.wfile.write(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize("header", [False, True])
def test_the_deadline_ends_a_transfer_that_drips(tmp_path: Path, header: bool) -> None:
    with serving(lambda request, _: drip(request, 20, header)) as server:
        started = time.monotonic()
        with pytest.raises(PoseGANError, match=r"not finished within 0\.6 s"):
            fetch(server.url, tmp_path / "file", accept, QUICK._replace(deadline=0.6))
        assert time.monotonic() - started < 10  # the server would go on for 20 s


def test_the_deadline_ends_a_silent_transfer_of_unknown_length(tmp_path: Path) -> None:
    def stall(request: Handler, _: int) -> None:
        request.reply(200, CONTENT[:1000], Content_Length=None)
        request.wfile.flush()
        time.sleep(10)

    with serving(stall) as server, pytest.raises(PoseGANError, match=r"not finished within 0\.6 s"):
        fetch(server.url, tmp_path / "file", accept, QUICK._replace(deadline=0.6, silence=30.0))
    assert not (tmp_path / "file").exists()


def test_silence_is_an_error(tmp_path: Path) -> None:
    with serving(lambda request, _: time.sleep(2)) as server, pytest.raises(PoseGANError, match=r"no byte came for 0\.1 s"):
        fetch(server.url, tmp_path / "file", accept, QUICK._replace(silence=0.1, attempts=2))


def test_the_cap_on_bytes_holds_for_claims_and_for_bytes(tmp_path: Path) -> None:
    def endless(request: Handler, _: int) -> None:
        request.reply(200, Content_Length=None)
        while True:
            request.wfile.write(random.randbytes(1 << 16))

    capped = QUICK._replace(size=200_000)
    with serving(endless) as server, pytest.raises(PoseGANError, match="more than the 200,000 bytes allowed"):
        fetch(server.url, tmp_path / "file", accept, capped)
    with serving(lambda request, _: request.reply_file(CONTENT)) as server, pytest.raises(PoseGANError, match="claims 300,000 bytes"):
        fetch(server.url, tmp_path / "file", accept, capped)
    assert sum(left.stat().st_size for left in tmp_path.iterdir()) < 1000


@pytest.mark.parametrize("padding", [0, 50_000])
def test_a_web_page_instead_of_the_file_is_recognised_and_quoted(tmp_path: Path, padding: int) -> None:
    page = b"<html><head><title>Google Drive - Quota exceeded</title></head>" + b" " * padding + b"</html>"
    words = r"web page or a text \('Google Drive - Quota exceeded'\)"
    with serving(lambda request, _: request.reply(200, page)) as server, pytest.raises(PoseGANError, match=words):
        fetch(server.url, tmp_path / "file", accept, QUICK)
    assert alone(tmp_path / "file")


def test_an_empty_answer_is_no_file(tmp_path: Path) -> None:
    with serving(lambda request, _: request.reply(200)) as server, pytest.raises(PoseGANError, match="sent nothing"):
        fetch(server.url, tmp_path / "file", accept, QUICK)


def test_a_damaged_note_means_a_new_start(tmp_path: Path) -> None:
    with serving(lambda request, number: request.reply_file(CONTENT, most=100_000 if number == 0 else None)) as server:
        with pytest.raises(PoseGANError):
            fetch(server.url, tmp_path / "file", is_content, QUICK._replace(attempts=1, progress=1 << 30))
        next(tmp_path.glob("*.json")).write_text("{")
        fetch(server.url, tmp_path / "file", is_content, QUICK)
        assert "Range" not in server.asked[1][1]


def test_two_downloads_into_one_folder_do_not_meet(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(PoseGANError, match="another download writes here"):
        fetch("http://127.0.0.1:1/x", tmp_path / "file", accept, QUICK)


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(lambda request, _: request.reply_file(CONTENT)) as server:
        monkeypatch.setattr("pipeline.http.transfer._Transfer._check_size", full)  # called after each block is written
        with pytest.raises(OSError, match=r"No space left.*\.part"):
            fetch(server.url, tmp_path / "file", accept, QUICK)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://127.0.0.1:1/x", "no connection"), ("ftp://x/y", "no connection"), ("http://127.0.0.1:port", "not an address")],
)
def test_an_address_that_leads_nowhere_is_named(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(PoseGANError, match=words):
        fetch(url, tmp_path / "file", accept, QUICK)


def test_pauses_double_and_are_capped() -> None:
    limits = Limits(pause=1, longest_pause=60)
    assert [pause_before(failures, limits, 0) for failures in (1, 2, 3, 7, 10_000)] == [1, 2, 4, 60, 60]
    assert pause_before(3, limits, 1) == 2


def test_killed_at_random_moments_the_next_run_is_right() -> None:
    hit, _ = kill_downloads(5, 3)
    assert hit >= 3
