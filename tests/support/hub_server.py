"""A model hub on loopback: as much of the Hugging Face hub's protocol as its library needs to fetch and to publish one repository."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "c" * 40
NAME = "ada/poses"


class Hub(ThreadingHTTPServer):
    """Serves `files` as the model `NAME`; what is published to it lands there.

    Attributes:
        requests: the lines that were asked, `METHOD /path`.
        damaged: files whose bytes come changed, at their right length.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files or {}
        self.requests: list[str] = []
        self.damaged: set[str] = set()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self._get(body=False)

    def do_GET(self) -> None:
        self._get(body=True)

    def _get(self, body: bool) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        if path.startswith(f"/api/models/{NAME}/tree/"):
            self._json(
                [{"type": "file", "path": name, "size": len(data), "oid": _oid(data)} for name, data in self.server.files.items()], body
            )
        elif path in (f"/api/models/{NAME}", *(f"/api/models/{NAME}/revision/{name}" for name in ("main", COMMIT))):
            self._json({"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.server.files]}, body)
        elif f"/{NAME}/resolve/" in path and (name := path.rsplit("/", 1)[-1]) in self.server.files:
            data = self.server.files[name]
            sent = data[:-1] + bytes([data[-1] ^ 1]) if name in self.server.damaged else data
            self._send(200, sent, body, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": COMMIT})
        else:
            missing = "EntryNotFound" if NAME in path else "RepoNotFound"
            self._send(404, b"", body, {"X-Error-Code": missing})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"POST {path}")
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != "Bearer hf_good":
            self._send(401, b"", True, {"X-Error-Message": "Invalid credentials"})
        elif path == "/api/repos/create":
            self._json({"url": f"{self.server.address}/{NAME}"}, True)
        elif path.endswith("/preupload/main"):
            named = json.loads(data)["files"]
            self._json({"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in named]}, True)
        elif path.endswith("/commit/main"):
            for line in data.splitlines():
                item = json.loads(line)
                if item["key"] == "file":
                    self.server.files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            address = f"{self.server.address}/{NAME}/commit/{COMMIT}"
            self._json({"commitUrl": address, "commitOid": COMMIT, "pullRequestUrl": None}, True)
        else:  # how the card's header is checked
            self._json({"errors": [], "warnings": []}, True)

    def _json(self, value: Any, body: bool) -> None:
        self._send(200, json.dumps(value).encode(), body, {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


def _oid(data: bytes) -> str:
    """A git blob's hash."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
