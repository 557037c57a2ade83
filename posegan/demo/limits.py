"""How much a visitor of the page may ask for."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

LARGEST_BODY = 12 * 2**20  # bytes of a request
LARGEST_IMAGE = 24_000_000  # pixels
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
