"""How much the page's server lets be asked of it: how often, how many bytes at once, and how long a question may take to arrive."""

import contextlib
import io
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

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


class Budget:
    """So many bytes may be held at a time, by all visitors together."""

    def __init__(self, most: int) -> None:
        self._left, self._lock = most, threading.Lock()

    @contextlib.contextmanager
    def holding(self, count: int) -> Iterator[bool]:
        """Whether `count` bytes may be held during the block."""
        with self._lock:
            allowed = count <= self._left
            self._left -= count if allowed else 0
        try:
            yield allowed
        finally:
            with self._lock:
                self._left += count if allowed else 0


class DeadlineReader(io.RawIOBase):
    """What comes from a connection until a moment, however slowly it drips: a socket's own timeout begins anew with every byte.

    Args:
        connection: to read from.
        seconds: from now, for all of it.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._end = connection, time.monotonic() + seconds

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As of `io.RawIOBase`; TimeoutError when the moment has come."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the question took too long to arrive")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
