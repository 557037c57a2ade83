"""A server on this machine that answers as a test says, well or badly, and remembers what it was asked."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator

Answer = Callable[["Handler", int], None]  # the request, and how many came before it


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: "Loopback"

    def do_GET(self) -> None:
        with self.server.counting:
            number = len(self.server.asked)
            self.server.asked.append((self.path, dict(self.headers)))
        with contextlib.suppress(ConnectionError):  # a client that hangs up is what some tests are about
            self.server.answer(self, number)

    def reply(self, status: int, body: bytes = b"", **headers: object) -> None:
        """Answer with `headers` (`_` for `-`) and a body; Content-Length is the body's unless given, none when None."""
        headers = {"Content_Length": len(body)} | headers
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.server.sent += self.wfile.write(body)

    def reply_file(self, content: bytes, etag: str | None = '"1"', most: int | None = None) -> None:
        """Serve `content` as an honest server does, ranges included, but break off after `most` bytes of body."""
        asked, condition = self.headers["Range"], self.headers["If-Range"]
        validator = {} if etag is None else {"ETag": etag}
        if asked is None or (condition is not None and condition != etag):
            self.reply(200, content[:most], Content_Length=len(content), **validator)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        total = len(content)
        if start >= total:
            self.reply(416, Content_Range=f"bytes */{total}", **validator)
            return
        self.reply(
            206, content[start:][:most], Content_Length=total - start, Content_Range=f"bytes {start}-{total - 1}/{total}", **validator
        )

    def log_message(self, *message: object) -> None:
        """Nothing on the terminal."""


class Loopback(http.server.ThreadingHTTPServer):
    """The server; `asked` holds path and headers of each request, `sent` the bytes of all bodies."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.asked, self.sent, self.counting = answer, list[tuple[str, dict[str, str]]](), 0, threading.Lock()

    @property
    def url(self) -> str:
        """Its address, without a final slash."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *request: object) -> None:
        """Nothing on the terminal."""


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[Loopback]:
    """A running server."""
    with Loopback(answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
