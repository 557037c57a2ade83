"""The page's server: what it answers, what it refuses, and how much it lets one visitor ask."""

import base64
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
import numpy.typing as npt
import PIL.Image
import pytest

from posegan.demo import server as demo_server
from posegan.demo.limits import RateLimit
from posegan.demo.server import LARGEST_BODY, WAITING, Patience, open_server
from posegan.demo.studio import FRAMES, STEPS, Studio, built_in_people
from posegan.errors import PoseGANError
from posegan.inference.transfer import PoseTransfer
from posegan.people.estimator import PersonPose
from posegan.people.pose_library import library_pose
from posegan.skeleton import NOSE
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
    scripts = re.findall(rb'from "\./([a-z]+\.js)"', ask(port, "GET", "/main.js")[2])
    assert len(scripts) > 3
    for path in ("/", "/page.css", "/main.js", "/state", *(f"/{name.decode()}" for name in scripts)):
        status, headers, body = ask(port, "GET", path)
        assert status == 200, path
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert b"http:" not in body
        assert b"https:" not in body
    state = json.loads(ask(port, "GET", "/state")[2])
    assert (state["height"], state["width"], len(state["joints"])) == (128, 64, 18)
    assert len(state["poses"]) == 96
    assert {side: len(poses) for side, poses in state["walks"].items()} == dict.fromkeys(state["sides"], STEPS)
    assert len(state["people"]) == len(built_in_people()) == 4


def test_a_person_is_found_and_drawn(port: int, studio: Studio) -> None:
    status, _, body = ask(port, "POST", "/find", png(drawn_person(0).resize((128, 256))))
    assert status == 200
    found = json.loads(body)
    request = {**found, "target": library_pose("waving/left", 128, 64).tolist()}
    status, _, body = ask(port, "POST", "/draw", json.dumps(request).encode())
    assert status == 200
    drawn = json.loads(body)
    assert drawn["result"].startswith("data:image/png;base64,")
    assert len({drawn[name] for name in ("warped", "result", "copied", "invented")}) == 4
    assert 0 <= drawn["body_share"] <= 1
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
        {"generator": "nobody"}, {"generator": ["drawn"]},
    ],
)  # fmt: skip
def test_questions_of_another_form_are_refused(port: int, studio: Studio, change: dict[str, Any]) -> None:
    good = {**studio.find(png(drawn_person(0))), "target": library_pose("standing", 128, 64).tolist()}
    status, _, body = ask(port, "POST", "/draw", json.dumps({**good, **change}).encode())
    assert status == 422
    assert next(iter(change)) in json.loads(body)["error"]


def test_the_page_s_own_people_are_drawn_without_a_detector(port: int) -> None:
    for person in json.loads(ask(port, "GET", "/state")[2])["people"]:
        request = {**person, "target": library_pose("standing", 128, 64).tolist()}
        assert ask(port, "POST", "/draw", json.dumps(request).encode())[0] == 200


def test_two_generators_each_for_its_own_people(tmp_path: Path) -> None:
    mine, theirs = (PoseTransfer(write_model(tmp_path / f"{seed}.safetensors", seed), "cpu", Everywhere()) for seed in (1, 2))
    both = Studio(mine, theirs)
    about = both.described()
    assert list(about["generators"]) == [theirs.name, mine.name]
    person = about["people"][0]
    assert (person["generator"], both.find(png(drawn_person(0)))["generator"]) == (theirs.name, mine.name)
    request = {**person, "target": library_pose("standing", 128, 64).tolist()}
    drawn = both.draw(request)["result"]
    assert drawn == Studio(theirs).draw(request)["result"] != both.draw({**request, "generator": mine.name})["result"]


def test_a_walk_is_drawn_a_few_pictures_at_a_time(port: int, studio: Studio) -> None:
    person = studio.described()["people"][0]
    targets = [library_pose(f"walking-{number}/left", 128, 64).tolist() for number in range(1, FRAMES + 1)]
    status, _, body = ask(port, "POST", "/animate", json.dumps({**person, "targets": targets}).encode())
    assert status == 200
    walking, alone = (pixels(url) for url in (json.loads(body)["results"][1], studio.draw({**person, "target": targets[1]})["result"]))
    assert np.abs(walking - alone).max() <= 1  # sums of a batch may round the other way
    for wrong in (None, [], targets[0], targets * 2, [[1]], "walking"):
        status, _, body = ask(port, "POST", "/animate", json.dumps({**person, "targets": wrong}).encode())
        assert (status, "targets" in json.loads(body)["error"]) == (422, True)


def pixels(url: str) -> npt.NDArray[np.float64]:
    """The picture of a data URL."""
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))), np.float64)


@pytest.mark.parametrize("size", [(64, 128), (128, 256), (900, 700), (3000, 2000)])
def test_a_photo_is_shown_about_its_person_and_fits_as_it_did(studio: Studio, size: tuple[int, int]) -> None:
    """Unchanged joints in what the page shows of a photo cut out the same picture as the photo itself."""
    photo = PIL.Image.new("RGB", size, (90, 120, 60))
    photo.paste(drawn_person(0).resize((size[1] // 2, size[1])), ((size[0] - size[1] // 2) // 2, 0))
    found = studio.find(png(photo))
    assert max(pixels(found["photo"]).shape) <= 768
    again = studio.fit({"photo": found["photo"], "photo_keypoints": found["photo_keypoints"]})
    assert np.allclose(again["keypoints"], found["keypoints"], atol=0.7)
    assert np.abs(pixels(found["image"]) - pixels(again["image"])).mean() < 6
    assert found["confidence"] == 0.9


def test_corrected_joints_move_what_is_cut_out(studio: Studio) -> None:
    found = studio.find(png(PIL.Image.new("RGB", (400, 400), (90, 120, 60))))
    joints = np.array(found["photo_keypoints"])
    joints[:, 0] -= 30
    moved = np.array(studio.fit({"photo": found["photo"], "photo_keypoints": joints.tolist()})["keypoints"])
    assert np.allclose(moved, found["keypoints"], atol=1.5)  # the frame goes along
    joints[NOSE] += (40, 0, 0)
    bent = np.array(studio.fit({"photo": found["photo"], "photo_keypoints": joints.tolist()})["keypoints"])
    assert bent[NOSE, 0] > moved[NOSE, 0] + 4


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"photo": "data:image/png;base64,AAAA"}, "not a JPEG"),
        ({"photo": 3}, "photo: expected"),
        ({"photo_keypoints": []}, "photo_keypoints: "),
        ({"photo_keypoints": [[0, 0, 0]] * 18}, "the torso is not visible"),
        ({"photo_keypoints": [[3, 3, 1]] * 18}, "a shoulder lies on its hip"),
    ],
)
def test_joints_that_make_no_person_are_answered(port: int, studio: Studio, change: dict[str, Any], expected: str) -> None:
    found = studio.find(png(drawn_person(0)))
    status, _, body = ask(port, "POST", "/fit", json.dumps({**found, **change}).encode())
    assert status == 422
    assert expected in json.loads(body)["error"]


def test_joints_anywhere_are_answered(studio: Studio) -> None:
    rng = np.random.default_rng(0)
    photo = studio.find(png(PIL.Image.new("RGB", (300, 200), "white")))["photo"]
    answered = 0
    for spread in (0, 1, 10, 300, 1e5):
        for _ in range(20):
            joints = np.concatenate([rng.uniform(-spread, spread, (18, 2)), np.ones((18, 1))], axis=1)
            try:
                answered += len(studio.fit({"photo": photo, "photo_keypoints": joints.tolist()})["keypoints"]) == 18
            except PoseGANError as error:
                wanted = "lie within 0..1" if spread == 1 else "drag them"
                assert wanted in str(error)  # noqa: PT017 - some are refused, and nothing else happens
    assert answered > 20


def test_without_a_detector_photographs_are_refused_and_the_rest_works(studio: Studio) -> None:
    blind = Studio(studio._transfer, blind="finding people needs an extra")
    with pytest.raises(PoseGANError, match="finding people needs an extra"):
        blind.find(png(drawn_person(0)))
    person = blind.described()["people"][0]
    assert blind.draw({**person, "target": person["keypoints"]})["result"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_question_is_refused(port: int, body: bytes) -> None:
    assert {ask(port, "POST", path, body)[0] for path in ("/draw", "/animate", "/fit")} == {422}


def test_only_the_listed_files_are_given(port: int) -> None:
    for path in ("/../server.py", "/people/1.jpg", "/people/../server.py", "/page/index.html", "/%2e%2e/", "//etc/passwd"):
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
