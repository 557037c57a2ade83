"""The page's server: a few fixed files and two questions, each bounded in size, rate and time.

It listens on loopback unless told otherwise. A name in `Host` that is not ours is refused, so that another site's page cannot reach it
by pointing its own name here; so is a question from another page (`Origin`).
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from posegan.demo.studio import Studio
from posegan.errors import PoseGANError

LARGEST_BODY = 12 * 2**20  # bytes of a request
WAITING = 8  # requests that may wait for the processor; more are turned away
_VISITORS = 1024  # remembered


class RateLimit:
    """Lets a visitor ask `burst` times at once and `rate` times a second in the long run (a token bucket each).

    Args:
        rate: requests a second.
        burst: requests at once.
        clock: seconds, rising.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()  # by visitor: tokens, and when they were counted
        self._lock = threading.Lock()

    def allows(self, visitor: str) -> bool:
        """Whether this request is within the limit; it is counted if so."""
        with self._lock:
            now = self._clock()
            tokens, then = self._tokens.pop(visitor, (float(self._burst), now))
            tokens = min(self._burst, tokens + (now - then) * self._rate)
            self._tokens[visitor] = (max(tokens - 1, tokens if tokens < 1 else 0), now)
            while len(self._tokens) > _VISITORS:
                self._tokens.popitem(last=False)
            return tokens >= 1


LOOPBACK = ("127.0.0.1", "localhost", "::1")
PEOPLE = 4
_FILES = {
    "/": ("page/index.html", "text/html; charset=utf-8"),
    "/page.js": ("page/page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page/page.css", "text/css; charset=utf-8"),
    **{f"/people/{number}.jpg": (f"people/{number}.jpg", "image/jpeg") for number in range(1, PEOPLE + 1)},
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SECONDS = 20  # that a visitor may take to say what they want


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def open_server(studio: Studio, host: str, port: int, limit: RateLimit | None = None) -> ThreadingHTTPServer:
    """A server that listens at `host`:`port` (0: any free one) and is not yet serving.

    Raises:
        PoseGANError: the address cannot be had.
    """
    work = _Work(studio, limit or RateLimit(rate=4.0, burst=40))
    try:
        server = ThreadingHTTPServer((host, port), partial(_Handler, work=work, host=host))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PoseGANError(f"{host}:{port}: cannot listen there ({reason}); choose another --port or --host") from error
    server.daemon_threads = True
    return server


class _Work:
    """The studio, for one question at a time."""

    def __init__(self, studio: Studio, limit: RateLimit) -> None:
        self.limit = limit
        self._turn, self._seats = threading.Lock(), threading.BoundedSemaphore(WAITING)
        self.description = json.dumps(studio.described()).encode()
        self.questions: dict[str, Callable[[bytes], dict[str, Any]]] = {
            "/find": studio.find,
            "/draw": lambda body: studio.draw(_parsed(body)),
        }

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        if not self._seats.acquire(blocking=False):
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "many are waiting; try again in a moment")
        try:
            with self._turn:
                return self.questions[path](body)
        finally:
            self._seats.release()


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "posegan", ""
    timeout = _SECONDS

    def __init__(self, *arguments: Any, work: _Work, host: str) -> None:
        self._work, self._listens_on = work, host
        super().__init__(*arguments)

    def do_GET(self) -> None:  # the base class's name for it
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._guarded(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who looked at what is nobody's business."""

    def _guarded(self, answer: Callable[[], None]) -> None:
        try:
            self._check_origin()
            answer()
        except _RefusedError as refusal:
            self._send_json(refusal.status, {"error": str(refusal)})
        except PoseGANError as error:
            self._send_json(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _check_origin(self) -> None:
        host = self.headers.get("Host", "")
        name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
        if self._listens_on in LOOPBACK and name not in LOOPBACK:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "this page is for this computer alone")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise _RefusedError(HTTPStatus.FORBIDDEN, "asked from another page")

    def _get(self) -> None:
        if self.path == "/state":
            self._send(HTTPStatus.OK, "application/json", self._work.description)
            return
        if self.path not in _FILES:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no such page")
        name, kind = _FILES[self.path]
        self._send(HTTPStatus.OK, kind, resources.files("posegan.demo").joinpath(name).read_bytes())

    def _post(self) -> None:
        if self.path not in self._work.questions:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no such question")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "the size of the question is missing")
        if int(length) > LARGEST_BODY:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"larger than {LARGEST_BODY // 2**20} MB; choose a smaller picture")
        if not self._work.limit.allows(self.client_address[0]):
            raise _RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too many questions; wait a few seconds")
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the question was cut off")
        self._send_json(HTTPStatus.OK, self._work.answer(self.path, body))

    def _send_json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise PoseGANError("request: not JSON") from None
