"""The page's server: what it answers, what it refuses, and how much it lets one visitor ask."""

import http.client
import io
import json
import re
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from posegan.demo import server as demo_server
from posegan.demo.limits import RateLimit
from posegan.demo.server import LARGEST_BODY, WAITING, Patience, open_server
from posegan.demo.studio import Studio
from posegan.errors import PoseGANError
from posegan.inference.transfer import PoseTransfer
from posegan.people.estimator import PersonPose
from posegan.people.pose_library import library_pose
from tests.support import forked
from tests.support.hostile import pictures
from tests.support.use_fixtures import drawn_person, write_model
from tests.test_transfer_command import huge_png


class Everywhere:
    """Finds a standing person in every picture that is not black."""

    def estimate(self, images: Sequence[Any]) -> list[PersonPose | None]:
        return [self._person(image) for image in images]

    def _person(self, image: PIL.Image.Image) -> PersonPose | None:
        if not np.asarray(image).any():
            return None
        return PersonPose(library_pose("standing/front", image.height, image.width), 0.9, np.zeros(4, np.float32))


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    model = write_model(tmp_path_factory.mktemp("model") / "g.safetensors")
    return Studio(PoseTransfer(model, "cpu", Everywhere()))


@pytest.fixture
def port(studio: Studio) -> Iterator[int]:
    yield from serve(studio, RateLimit(1000, 1000))


def serve(studio: Studio, limit: RateLimit, patience: Patience = Patience()) -> Iterator[int]:  # noqa: B008 - immutable
    server = open_server(studio, "127.0.0.1", 0, limit, patience)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def png(image: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_the_page_is_whole_and_names_no_other_place(port: int) -> None:
    for path in ("/", "/page.js", "/page.css", "/people/1.jpg", "/people/4.jpg", "/state"):
        status, headers, body = ask(port, "GET", path)
        assert status == 200, path
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert b"http:" not in body
        assert b"https:" not in body
    state = json.loads(ask(port, "GET", "/state")[2])
    assert (state["height"], state["width"], len(state["joints"])) == (128, 64, 18)
    assert len(state["poses"]) == 96


def test_a_person_is_found_and_drawn(port: int, studio: Studio) -> None:
    status, _, body = ask(port, "POST", "/find", png(drawn_person(0).resize((128, 256))))
    assert status == 200
    found = json.loads(body)
    request = {**found, "target": library_pose("waving/left", 128, 64).tolist()}
    status, _, body = ask(port, "POST", "/draw", json.dumps(request).encode())
    assert status == 200
    drawn = json.loads(body)
    assert drawn["result"].startswith("data:image/png;base64,")
    assert drawn["warped"] != drawn["result"]
    assert drawn["milliseconds"] >= 0
    assert studio.draw(request)["result"] == drawn["result"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"hello", "not a JPEG, PNG, WebP or BMP image"),
        (b"", "the file is empty"),
        (huge_png(20_000, 20_000), "24,000,000 allowed"),
        (png(PIL.Image.new("RGB", (64, 128))), "the picture: no person found"),
        (png(PIL.Image.new("RGB", (1, 1), "white")), ""),
    ],
)
def test_pictures_that_cannot_be_used_are_answered_with_a_sentence(port: int, body: bytes, expected: str) -> None:
    status, _, answer = ask(port, "POST", "/find", body)
    if expected:
        assert status == 422
        assert expected in json.loads(answer)["error"]
    else:
        assert status in (200, 422)


@pytest.mark.parametrize(
    "change",
    [
        {"image": "data:image/png;base64,AAAA"}, {"image": "file:///etc/passwd"}, {"image": 3}, {"target": []}, {"target": [[1, 2]] * 18},
        {"target": "standing"}, {"keypoints": [[1, 2, None]] * 18}, {"keypoints": [[1e30, 0, 1]] * 18}, {"target": None},
    ],
)  # fmt: skip
def test_questions_of_another_form_are_refused(port: int, studio: Studio, change: dict[str, Any]) -> None:
    good = {**studio.find(png(drawn_person(0))), "target": library_pose("standing", 128, 64).tolist()}
    status, _, body = ask(port, "POST", "/draw", json.dumps({**good, **change}).encode())
    assert status == 422
    assert next(iter(change)) in json.loads(body)["error"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_question_is_refused(port: int, body: bytes) -> None:
    assert ask(port, "POST", "/draw", body)[0] == 422


def test_only_the_listed_files_are_given(port: int) -> None:
    for path in ("/../server.py", "/people/5.jpg", "/people/../server.py", "/page/index.html", "/%2e%2e/", "//etc/passwd"):
        assert ask(port, "GET", path)[0] == 404
    assert ask(port, "POST", "/state", b"")[0] == 404


def test_other_names_and_other_pages_are_refused(port: int) -> None:
    assert ask(port, "GET", "/", Host="evil.example")[0] == 403
    assert ask(port, "GET", "/", Host=f"localhost:{port}")[0] == 200
    own = f"127.0.0.1:{port}"
    assert ask(port, "POST", "/draw", b"{}", Origin="http://evil.example")[0] == 403
    assert ask(port, "POST", "/draw", b"{}", Origin=f"http://{own}")[0] == 422


def test_large_questions_are_refused_unread(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"POST /find HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {LARGEST_BODY + 1}\r\n\r\n".encode())
        assert b"413" in connection.recv(100)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST /find HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"411" in connection.recv(100)


def test_a_visitor_who_hurries_waits(studio: Studio) -> None:
    for port in serve(studio, RateLimit(rate=1e-9, burst=2)):
        assert [ask(port, "POST", "/draw", b"{}")[0] for _ in range(4)] == [422, 422, 429, 429]


def test_the_rate_limit_refills() -> None:
    now = [0.0]
    limit = RateLimit(rate=2.0, burst=3, clock=lambda: now[0])
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False]
    assert limit.allows("b")
    now[0] = 0.5
    assert [limit.allows("a") for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False]


def test_a_full_waiting_room_turns_away(studio: Studio) -> None:
    work = demo_server._Work(studio, RateLimit(1, 1))

    def wait() -> None:
        with pytest.raises(PoseGANError):
            work.answer("/draw", b"{}")

    with work._turn:
        waiting = [threading.Thread(target=wait) for _ in range(WAITING)]
        for thread in waiting:
            thread.start()
        while work._seats._value:  # type: ignore[attr-defined]  # until each has its seat
            threading.Event().wait(0.001)
        with pytest.raises(demo_server._RefusedError, match="many are waiting"):
            work.answer("/draw", b"{}")
    for thread in waiting:
        thread.join()


def test_a_taken_port_is_named(studio: Studio, port: int) -> None:
    with pytest.raises(PoseGANError, match=f"127.0.0.1:{port}: cannot listen there .*choose another --port"):
        open_server(studio, "127.0.0.1", port)


def test_the_command_serves_until_ctrl_c(tmp_path: Path) -> None:
    model = write_model(tmp_path / "g.safetensors")
    with forked.started("-m", "posegan", "demo", "--port", "0", "--model", str(model), "--device", "cpu") as process:
        first = process.first_line()
        address = re.search(r"http://127\.0\.0\.1:(\d+)/", first)
        assert address, first
        assert ask(int(address[1]), "GET", "/")[0] == 200
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate()
    assert process.returncode == 0
    assert said.splitlines()[1:] == ["demo: ended"]
    assert errors == ""


@pytest.mark.parametrize("name", sorted(pictures()))
def test_hostile_pictures_are_answered(studio: Studio, name: str) -> None:
    picture = pictures()[name]
    fine = picture.fate == "used" or name == "gif_called_jpg"  # archives are read in fewer formats than what a user names
    if fine and name != "palette_without_colours":  # which is black, and so shows nobody here
        assert len(studio.find(picture.data)["keypoints"]) == 18
    else:
        with pytest.raises(PoseGANError):
            studio.find(picture.data)
