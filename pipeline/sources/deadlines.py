"""A deadline that ends a transfer whatever the server does."""

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any


class DeadlineGuard:
    """Shuts every connection down at the deadline.

    httpx bounds only the silence between two bytes: headers that drip in one by one would hold it for as long as the server likes.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self.start, self.cancel = self._timer.start, self._timer.cancel

    def left(self) -> float:
        """Seconds until the deadline, negative after it."""
        return self._end - time.monotonic()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """For httpx's extension `trace`: hears of each new connection."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            connection = info["return_value"].get_extra_info("socket")
            if isinstance(connection, socket.socket):
                self._sockets.append(connection)
            if self.left() <= 0:
                self._cut()

    def _cut(self) -> None:
        for connection in self._sockets:
            with contextlib.suppress(OSError):  # closed already
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # an SSLSocket's own would first drop its encryption
