"""The page's server: a few fixed files and four questions, each bounded in size, rate and time.

It listens on loopback unless told otherwise. A name in `Host` that is not ours is refused, so that another site's page cannot reach it
by pointing its own name here; so is a question from another page (`Origin`). Whatever is asked has an answer: a sentence as JSON under
the security headers, and never a traceback.
"""

import io
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from posegan.demo.limits import Budget, DeadlineReader, RateLimit
from posegan.demo.studio import Studio
from posegan.errors import PoseGANError

logger = logging.getLogger(__name__)

LARGEST_BODY = 12 * 2**20  # bytes of a request
WAITING = 8  # requests that may wait for the processor; more are turned away
CONNECTIONS = 64  # answered at a time; as many more are told so, and the rest are hung up on
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PAGE = Path(__file__).parent / "page"
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_FILES = {"/": _PAGE / "index.html"} | {f"/{path.name}": path for path in sorted(_PAGE.iterdir()) if path.suffix in _KINDS}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# What the base class would say with a status of the 500s, as if the fault were ours.
_THEIRS = {
    HTTPStatus.NOT_IMPLEMENTED: (HTTPStatus.METHOD_NOT_ALLOWED, "expected GET, HEAD or POST"),
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: (HTTPStatus.BAD_REQUEST, "expected HTTP/1.0 or HTTP/1.1"),
}


class Patience(NamedTuple):
    """Seconds that a visitor may take."""

    asking: float = 20.0  # for a whole question, and again for taking the answer
    leaving: float = 2.0  # to read why a question was refused, while the rest of it is dropped


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def open_server(
    studio: Studio,
    host: str,
    port: int,
    limit: RateLimit | None = None,
    patience: Patience = Patience(),  # noqa: B008 - immutable
    debug: bool = False,
) -> ThreadingHTTPServer:
    """A server that listens at `host`:`port` (0: any free one) and is not yet serving; `debug` shows tracebacks of unforeseen errors.

    Raises:
        PoseGANError: the address cannot be had.
    """
    work = _Work(studio, limit or RateLimit(rate=4.0, burst=40))
    try:
        return _Server((host, port), work, patience, debug)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PoseGANError(f"{host}:{port}: cannot listen there ({reason}); choose another --port or --host") from error


class _Work:
    """The studio, for one question at a time."""

    def __init__(self, studio: Studio, limit: RateLimit) -> None:
        self.limit, self.budget = limit, Budget(WAITING * LARGEST_BODY)
        self._turn, self._seats = threading.Lock(), threading.BoundedSemaphore(WAITING)
        self.description = json.dumps(studio.described()).encode()
        self.questions: dict[str, Callable[[bytes], dict[str, Any]]] = {
            "/find": studio.find,
            "/fit": lambda body: studio.fit(_parsed(body)),
            "/draw": lambda body: studio.draw(_parsed(body)),
            "/animate": lambda body: studio.animate(_parsed(body)),
        }

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        if not self._seats.acquire(blocking=False):
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "many are waiting; try again in a moment")
        try:
            with self._turn:
                return self.questions[path](body)
        finally:
            self._seats.release()


class _Server(ThreadingHTTPServer):
    """A thread a connection, for so many connections."""

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would take a port that another program listens at
    request_queue_size = CONNECTIONS  # that wait to be accepted; with the base class's 5, a burst is cut off unheard

    def __init__(self, address: tuple[str, int], work: _Work, patience: Patience, debug: bool) -> None:
        self.work, self.patience, self.debug, self.host = work, patience, debug, address[0]
        self._answered, self._turned_away = (threading.BoundedSemaphore(CONNECTIONS) for _ in range(2))
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread, or turn it away in one."""
        for seat in (self._answered, self._turned_away):
            if seat.acquire(blocking=False):
                try:
                    threading.Thread(target=self._serve, args=(request, client_address, seat), daemon=True).start()
                except RuntimeError:  # the system has no thread left
                    seat.release()
                    break
                return
        self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing, where the visitor left or is too slow; else as `tell`."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            self.tell(error)

    def tell(self, error: BaseException | None) -> None:
        """Say on the terminal that something unforeseen happened."""
        logger.error("demo: an unforeseen error: %r%s", error, "" if self.debug else "; --debug shows where", exc_info=self.debug)

    def _serve(self, request: Any, client_address: Any, seat: threading.BoundedSemaphore) -> None:
        try:
            _Handler(request, client_address, self, is_full=seat is self._turned_away)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)
            seat.release()


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "posegan", ""
    server: _Server

    def __init__(self, *arguments: Any, is_full: bool = False) -> None:
        self._is_full, self._unread = is_full, False
        super().__init__(*arguments)

    def setup(self) -> None:
        """As of the base class, with an end to how long a question may take, whatever its pace."""
        super().setup()
        patience = self.server.patience
        self.rfile.close()
        reader = DeadlineReader(self.connection, patience.leaving if self._is_full else patience.asking)
        self.rfile = io.BufferedReader(reader)

    def do_GET(self) -> None:  # the base class's name for it
        self._guarded(self._get)

    def do_HEAD(self) -> None:
        self._guarded(self._get)

    def do_POST(self) -> None:
        self._unread = True
        self._guarded(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: who looked at what is nobody's business."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses by itself, as all other refusals."""
        self._unread = True
        self.request_version = "HTTP/1.0"  # what was no request has none, and would be answered without a head
        status, sentence = _THEIRS.get(HTTPStatus(code), (HTTPStatus(code), message or HTTPStatus(code).phrase))
        self._guarded(lambda: self._send_json(status, {"error": sentence}), checked=False)

    def _guarded(self, answer: Callable[[], None], checked: bool = True) -> None:
        """Answer, or say why not; a visitor who left needs no answer."""
        self.close_connection = True
        try:
            try:
                if checked:
                    self._check_visitor()
                answer()
            except _RefusedError as refusal:
                self._send_json(refusal.status, {"error": str(refusal)})
            except PoseGANError as error:
                self._send_json(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
            except (ConnectionError, TimeoutError):
                raise
            except Exception as error:
                self.server.tell(error)
                self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "this question was not foreseen; the terminal says more"})
            if self._unread:
                self._drop_the_rest()
        except OSError:
            return

    def _check_visitor(self) -> None:
        if self._is_full:
            raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; try again in a moment")
        host = self.headers.get("Host", "")
        name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
        if self.server.host in LOOPBACK and name not in LOOPBACK:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "this page is for this computer alone")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise _RefusedError(HTTPStatus.FORBIDDEN, "asked from another page")

    def _get(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/state":
            self._send(HTTPStatus.OK, "application/json", self.server.work.description)
            return
        if path not in _FILES:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no such page")
        file = _FILES[path]
        self._send(HTTPStatus.OK, f"{_KINDS[file.suffix]}; charset=utf-8", file.read_bytes())

    def _post(self) -> None:
        work, path = self.server.work, self.path.partition("?")[0]
        if path not in work.questions:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "no such question")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "the size of the question is missing")
        if len(length) > len(str(LARGEST_BODY)) or int(length) > LARGEST_BODY:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"larger than {LARGEST_BODY // 2**20} MB; choose a smaller picture")
        if not work.limit.allows(self.client_address[0]):
            raise _RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too many questions; wait a few seconds")
        with work.budget.holding(int(length)) as allowed:
            if not allowed:
                raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "many are asking; try again in a moment")
            try:
                body = self.rfile.read(int(length))
            except TimeoutError:
                raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the question took too long to arrive") from None
            self._unread = False
            if len(body) != int(length):
                raise _RefusedError(HTTPStatus.BAD_REQUEST, "the question was cut off")
            self._send_json(HTTPStatus.OK, work.answer(path, body))

    def _send_json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.connection.settimeout(self.server.patience.asking)  # of each write as a whole
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD, POST")
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _drop_the_rest(self) -> None:
        """Read on for a moment: closing upon unread bytes would take the answer back before it is read."""
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        rest = DeadlineReader(self.connection, self.server.patience.leaving)
        buffer = bytearray(1 << 16)
        while rest.readinto(buffer):
            pass


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise PoseGANError("request: not JSON") from None
