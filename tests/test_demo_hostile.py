"""A hundred questions that nobody should ask: each has an answer or an end, none is held, and nothing unforeseen happens."""

import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from posegan.demo import server as demo_server
from posegan.demo.limits import Budget, DeadlineReader, RateLimit
from posegan.demo.server import LARGEST_BODY, Patience
from posegan.demo.studio import Studio
from posegan.inference.transfer import PoseTransfer
from tests.support.hostile import pictures
from tests.support.use_fixtures import write_model
from tests.test_demo_server import Everywhere, ask, serve

PATIENCE = Patience(asking=1.0, leaving=0.5)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    model = write_model(tmp_path_factory.mktemp("model") / "g.safetensors")
    return Studio(PoseTransfer(model, "cpu", Everywhere()))


@pytest.fixture
def port(studio: Studio) -> Iterator[int]:
    yield from serve(studio, RateLimit(1000, 1000), PATIENCE)


def say(port: int, data: bytes, then: str = "listen") -> bytes:
    """Send bytes as they are; the whole answer, empty where there is none. `then`: listen, leave at once, or reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        if then == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            connection.sendall(data)
        except OSError:
            return b""
        answer = b""
        while then == "listen" and (block := connection.recv(1 << 16)):
            answer += block
        return answer


def post(path: str, body: bytes, *more: str, length: object = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body) if length is None else length}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def status_of(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.\d (\d{3}) ", answer)
    return int(found[1]) if found else 0


def joints(value: str) -> str:
    return "[" + ",".join([f"[{value},1,1]"] * 18) + "]"


NUMBERS = ("1" + "0" * 400, "-" + "9" * 401, "1e999", "NaN", "-Infinity", "1" + "0" * 5000, '"1"', "null", "true", "{}", "[]", "[[1]]")
TARGETS = [
    "1", "null", "[]", "{}", '""', "[1, 2, 3]", "[[[[1]]]]", "[[1, 2], [3]]", "[" * 900 + "]" * 900, "[[1,1,1]]", *map(joints, NUMBERS),
]  # fmt: skip
IMAGES = ["1", "null", '"x"', '"data:image/png;base64,"', '"data:image/png;base64,!!"', '"data:image/png;base64,AAAA"', '"data:,\\ud800"']
BODIES = [b"", b"{", b"[1]", b"[" * 100_000, b"\xff\xfe", b"null", b"1", b'"x"', b"\0" * 1000, b'{"a": ' * 5000]
DRAWS = [
    *(f'{{"target": {target}}}'.encode() for target in TARGETS),
    *(f'{{"image": {image}, "keypoints": {joints("1")}, "target": {joints("1")}}}'.encode() for image in IMAGES),
    *BODIES,
]
VERBS = ("PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "é", "GET\t")
PATHS = ("/../server.py", "//etc/passwd", "/%00", "*", "http://x/", "/people/9.jpg")
LINES = [
    b"\r\n", b"\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"GET / HTTP/x\r\n\r\n",
    b"GET / FTP/1.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET " + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    b"GET / HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n: :\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    *(f"{verb} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for verb in VERBS),
    *(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for path in PATHS),
    *(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for host in ("evil.example", "", "[::1", "127.0.0.1.evil.example", "a" * 5000)),
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nOrigin: null\r\nHost: localhost\r\n\r\n",
    *(post("/find", b"x", length=length) for length in (LARGEST_BODY + 1, "9" * 5000, "-1", "1e3", "", "0x10", "1, 1")),
    post("/find", b"", "Transfer-Encoding: chunked", length=""), post("/nosuch", b"x" * 100_000), post("/draw?x=1", b"{}"), post("/", b""),
]  # fmt: skip
OTHERS = [
    *(post("/fit", f'{{"photo": {image}, "photo_keypoints": {joints("1")}}}'.encode()) for image in IMAGES),
    *(post("/animate", f'{{"targets": {target}}}'.encode()) for target in TARGETS),
    *(post(path, body) for path in ("/fit", "/animate") for body in BODIES),
]
REQUESTS = [*LINES, *(post("/draw", body) for body in DRAWS), *OTHERS, *(post("/find", picture.data) for picture in pictures().values())]


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def threads_end(before: int, seconds: float) -> None:
    """Wait until there are no more threads than before."""
    limit = time.monotonic() + seconds
    while threading.active_count() > before:
        assert time.monotonic() < limit, threading.enumerate()
        time.sleep(0.02)


def test_a_hundred_hostile_requests_are_answered(port: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(REQUESTS) >= 100
    before = threading.active_count()
    unanswered = 0
    for request in REQUESTS:
        answer = say(port, request)
        status = status_of(answer)
        unanswered += status == 0
        assert status == 0 or 200 <= status < 500, (request[:200], answer[:200])
        if status:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b"Content-Security-Policy: default-src 'none'" in head
            assert b"nosniff" in head
            if status >= 400:
                assert json.loads(body)["error"] if body else request.startswith(b"HEAD")
    assert unanswered == 1  # the empty line
    threads_end(before, 5)
    assert ask(port, "GET", "/")[0] == 200
    assert (caplog.text, *capfd.readouterr()) == ("", "", "")


def test_visitors_who_leave_cost_nothing(port: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    for then in ("leave", "reset"):
        for request in (
            REQUESTS[0],
            post("/find", b"x", length=1000),
            post("/find", b"x" * 100_000),
            b"GET /main.js HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ):
            for _ in range(5):
                say(port, request, then)
    threads_end(before, 5)
    assert (caplog.text, *capfd.readouterr()) == ("", "", "")


def test_memory_stays_flat(port: int) -> None:
    requests = [post("/find", os.urandom(1 << 20)), post("/draw", b'{"target": [' + b"1," * 500_000 + b"1]}")]

    def round_of() -> int:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda request: say(port, request), requests * 8))
        return resident()

    round_of()
    first = round_of()
    for _ in range(3):
        last = round_of()
    assert last - first < 50 << 20


@pytest.mark.parametrize("beginning", [b"G", b"POST /find HTTP/1.1\r\nHost: localhost\r\n", post("/find", b"", length=1000)])
def test_a_drip_ends(port: int, beginning: bytes) -> None:
    """A byte now and then: the question as a whole has a deadline."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(beginning)
        connection.settimeout(0.1)
        answer = b""
        while time.monotonic() - started < 8:
            try:
                if not (block := connection.recv(1000)):
                    break
                answer += block
            except TimeoutError:
                connection.sendall(b"a")
            except ConnectionError:
                break
    assert PATIENCE.asking * 0.8 < time.monotonic() - started < 4
    assert status_of(answer) in (0, 408)


def test_connections_have_a_cap_and_the_rest_is_told(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_server, "CONNECTIONS", 3)
    for port in serve(studio, RateLimit(1000, 1000), PATIENCE):
        idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
        time.sleep(0.1)
        status, headers, body = ask(port, "GET", "/")
        assert status == 503
        assert "try again in a moment" in json.loads(body)["error"]
        assert "Content-Security-Policy" in headers
        for connection in idle:
            connection.close()
        time.sleep(0.1)
        assert ask(port, "GET", "/")[0] == 200


@pytest.mark.parametrize("size", [LARGEST_BODY + 1, 345_000])
def test_refusals_of_large_questions_are_read_by_many_at_once(studio: Studio, size: int) -> None:
    """With the body unread, closing would reset the connection, and the sentence with it."""
    for port in serve(studio, RateLimit(1e-9, 1), Patience(10, 5)):
        ask(port, "POST", "/draw", b"{}")
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(ask, [port] * 30, ["POST"] * 30, ["/find"] * 30, [bytes(size)] * 30))
        assert {status for status, _, _ in answers} == {413 if size > LARGEST_BODY else 429}
        assert all(json.loads(content)["error"] for _, _, content in answers)


def test_head_and_a_query_are_answered(port: int) -> None:
    whole, head = ask(port, "GET", "/main.js?x=1"), ask(port, "HEAD", "/main.js")
    assert (whole[0], head[0], head[2]) == (200, 200, b"")
    assert int(head[1]["Content-Length"]) == len(whole[2])
    assert ask(port, "HEAD", "/nosuch")[0] == 404
    status, headers, _ = ask(port, "PUT", "/", b"")
    assert (status, headers["Allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize("debug", [False, True])
def test_what_nobody_foresaw_has_an_answer(studio: Studio, debug: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Studio):
        def find(self, data: bytes) -> dict[str, Any]:
            raise ZeroDivisionError("secret")

    server = demo_server.open_server(Broken(studio._transfer), "127.0.0.1", 0, debug=debug)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    status, headers, body = ask(server.server_address[1], "POST", "/find", b"x")
    server.shutdown()
    thread.join()
    server.server_close()
    assert (status, json.loads(body)) == (500, {"error": "this question was not foreseen; the terminal says more"})
    assert "Content-Security-Policy" in headers
    assert "ZeroDivisionError('secret')" in caplog.text
    assert ("Traceback" in caplog.text) is debug


def test_the_budget_of_bytes() -> None:
    budget = Budget(10)
    with budget.holding(6) as first, budget.holding(6) as second, budget.holding(4) as third:
        assert (first, second, third) == (True, False, True)
    with budget.holding(10) as all_of_it:
        assert all_of_it


def test_the_deadline_is_of_all_that_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = DeadlineReader(ours, 0.2)
        theirs.sendall(b"ab")
        assert reader.read(1) == b"a"
        time.sleep(0.25)
        with pytest.raises(TimeoutError):  # though a byte is there
            reader.read(1)
