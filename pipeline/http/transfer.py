"""One file over HTTP, whole and verified or not at all.

The bytes gather in `<name>.<address>.part`; beside it `<name>.<address>.part.json` says which version of which address they are,
so that a later attempt, in this process or another, asks for the rest alone (Range) and only if the file is still the
same (If-Range).
"""

import contextlib
import hashlib
import json
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
from filelock import FileLock, Timeout
from tqdm import tqdm

from pipeline.http.answers import HEAD, ChangedError, Origin, Plan, RetryError, page_in, plan_answer, validator_of
from posegan.errors import PoseGANError
from posegan.files import publish, write_atomically

logger = logging.getLogger(__name__)


class Limits(NamedTuple):
    """How much an address may take; `deadline` counts from the first attempt and includes the pauses."""

    size: int = 4 << 30  # bytes
    deadline: float = 3600.0  # seconds for the whole file
    silence: float = 30.0  # seconds without a byte
    connect: float = 10.0  # seconds until there is a connection
    attempts: int = 5  # in a row without progress
    progress: int = 1 << 20  # bytes that make an attempt count as progress
    pause: float = 1.0  # seconds after the first failure; doubles with each
    longest_pause: float = 60.0  # seconds; a server that asks for more is left alone
    redirects: int = 10


def pause_before(failures: int, limits: Limits, chance: float) -> float:
    """Seconds to wait after so many failures in a row: doubling, capped, and by `chance` (0 .. 1) down to half of that."""
    return min(limits.longest_pause, limits.pause * 2.0 ** min(failures - 1, 30)) * (1 - chance / 2)


def fetch(url: str, path: Path, verify: Callable[[Path], None], limits: Limits = Limits()) -> None:  # noqa: B008 - immutable
    """Bring the file at `url` (http or https) to `path`, going on from where an earlier call was stopped.

    `verify` gets the path of the finished part and raises `PoseGANError` when it is not what was wanted; only what it
    accepts is renamed to `path`. A part that was put together from several answers, or whose length nobody said, is
    fetched once more in one piece before its rejection is believed.

    Raises:
        PoseGANError: no answer, an error status, a web page, a transfer that stalls, never ends or keeps breaking off, a
            file that `verify` rejects, or another process that downloads into the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent), _Transfer(url, Part(path, url), limits) as transfer:
        transfer.complete()
        try:
            verify(transfer.part.path)
        except PoseGANError as error:
            transfer.part.discard()
            if not transfer.doubtful:
                raise
            logger.warning("%s; it came in pieces, so it is fetched once more as a whole", error)
            transfer.complete()
            _verify_or_discard(transfer.part, verify)
        _clear(path, keep=transfer.part.path)
        publish(transfer.part.path, path)


def _clear(path: Path, keep: Path) -> None:
    """Remove parts of other addresses, notes, and what a killed writer of a note left, while the file has no name yet to be found by."""
    for left in (*path.parent.glob(f"{path.name}.*.part*"), *path.parent.glob(f".{path.name}.*.tmp")):
        if left != keep:
            left.unlink()


def _verify_or_discard(part: "Part", verify: Callable[[Path], None]) -> None:
    try:
        verify(part.path)
    except PoseGANError:
        part.discard()
        raise


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One transfer a folder; the lock ends with its process, however that ends."""
    try:
        with FileLock(folder / ".lock", blocking=False):
            yield
    except Timeout:
        raise PoseGANError(f"{folder}: another download writes here; wait until it has ended") from None


class Part:
    """The beginning of a file on disk, and the note of what it is the beginning of."""

    def __init__(self, path: Path, url: str) -> None:
        self.url = url
        self.path = path.with_name(f"{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
        self._note = self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self) -> Origin:
        """What the bytes so far belong to; without a validator when they cannot be continued."""
        nothing = Origin(self.url, "", None)
        if not self._note.exists():
            return nothing
        try:
            origin = Origin(**json.loads(self._note.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            logger.warning("%s: not understood (%s); the download starts again", self._note, error)
            return nothing
        return origin if origin.url == self.url else nothing

    def begin(self, origin: Origin) -> None:
        """Empty the part, then note its origin: in this order, old bytes never stand under a new note."""
        self.path.write_bytes(b"")
        write_atomically(self._note, json.dumps(origin._asdict(), indent=1) + "\n")

    def discard(self) -> None:
        """Forget the bytes so far."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


class _Transfer:
    """The attempts at one file: one client, one deadline."""

    def __init__(self, url: str, part: Part, limits: Limits) -> None:
        self.url, self.part, self.limits = url, part, limits
        self.doubtful = False  # put together from several answers, or of a length that nobody said
        self._guard = DeadlineGuard(limits.deadline)
        self._client = httpx.Client(
            timeout=httpx.Timeout(limits.silence, connect=min(limits.connect, limits.silence)),
            headers={"User-Agent": "posegan", "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> Self:
        self._guard.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._guard.cancel()
        self._client.close()

    def complete(self) -> None:
        """Try until the part is whole; errors as `fetch`."""
        failures, reached = 0, self.part.size()
        while True:
            try:
                return self._attempt()
            except ChangedError as error:
                self.part.discard()
                failure: Exception = error
            except (RetryError, httpx.TransportError) as error:
                failure = error
            except httpx.InvalidURL as error:
                raise PoseGANError(f"{self.url}: not an address ({error}); correct it") from error
            self._check_deadline()
            failures = 1 if self.part.size() >= reached + self.limits.progress else failures + 1
            reached = max(reached, self.part.size())
            self._pause(failures, failure)

    def _pause(self, failures: int, failure: Exception) -> None:
        reason = _describe(failure, self.limits)
        if failures >= self.limits.attempts or _is_final(failure):
            tries = f" ({failures} attempts)" if failures > 1 else ""
            raise PoseGANError(f"{self.url}: {reason}{tries}; check the network and the address, or try later") from failure
        asked = failure.wait if isinstance(failure, RetryError) else 0.0
        if asked > self.limits.longest_pause:
            raise PoseGANError(f"{self.url}: {reason} and asks to come back in {asked:.0f} s; try later")
        pause = max(asked, pause_before(failures, self.limits, random.random()))
        logger.warning("%s: %s; again in %.1f s", self.url, reason, pause)
        time.sleep(min(pause, max(0.0, self._guard.left())))
        self._check_deadline()

    def _attempt(self) -> None:
        origin, offset = self.part.origin(), self.part.size()
        headers = {}
        if not origin.validator:
            offset = 0
        elif offset and offset == origin.total:  # stopped between the last byte and its verification
            self.doubtful = True
            return
        elif offset:
            headers = {"Range": f"bytes={offset}-", "If-Range": origin.validator}
        with self._ask(headers) as answer:
            plan = plan_answer(answer.status_code, answer.headers, offset, origin)
            self._begin(answer, plan)
            if answer.status_code != 416:  # with 416 everything is there
                self._append(answer, plan)
        if plan.total is not None and self.part.size() != plan.total:
            raise RetryError(f"the transfer broke off after {self.part.size():,} of {plan.total:,} bytes")

    @contextlib.contextmanager
    def _ask(self, headers: dict[str, str]) -> Iterator[httpx.Response]:
        """The answer at the end of all redirects, which are followed here because httpx would read their bodies, however long."""
        request = self._client.build_request("GET", self.url, headers=headers, extensions={"trace": self._guard.trace})
        for _ in range(self.limits.redirects + 1):
            with contextlib.closing(self._client.send(request, stream=True)) as answer:
                if answer.next_request is None:
                    yield answer
                    return
                request = answer.next_request
        raise PoseGANError(f"{self.url}: leads nowhere (more than {self.limits.redirects} redirects); check the address")

    def _begin(self, answer: httpx.Response, plan: Plan) -> None:
        if (plan.total or 0) > self.limits.size:
            raise PoseGANError(f"{self.url}: claims {plan.total:,} bytes, more than the {self.limits.size:,} allowed; check the address")
        if not plan.start:
            self.part.begin(Origin(self.url, validator_of(answer.headers), plan.total))
        self.doubtful = bool(plan.start) or plan.total is None

    def _append(self, answer: httpx.Response, plan: Plan) -> None:
        head = b""
        bar = tqdm(desc="download", total=plan.total, initial=plan.start, unit="B", unit_scale=True, mininterval=0.5, disable=None)
        try:
            with bar, self.part.path.open("ab") as file:
                for block in answer.iter_raw():
                    file.write(block)
                    bar.update(len(block))
                    if not plan.start and len(head) < HEAD:
                        head = self._look_at(head + block)
                    self._check_size(file.tell(), plan)
                    self._check_deadline()
            self._check_deadline()  # a body of unknown length that the guard cut off looks like one that ended
        except OSError as error:  # httpx's own errors are none: this is the disk
            raise OSError(error.errno, error.strerror, str(self.part.path)) from error
        if not plan.start and len(head) < HEAD:
            self._refuse_page(head)

    def _look_at(self, head: bytes) -> bytes:
        if len(head) >= HEAD:
            self._refuse_page(head[:HEAD])
        return head

    def _refuse_page(self, head: bytes) -> None:
        if not head:
            raise RetryError("the server sent nothing")
        if (words := page_in(head)) is not None:
            self.part.discard()
            raise PoseGANError(f"{self.url}: sent a web page or a text ('{words}') instead of the file; try later, or get it by hand")

    def _check_size(self, received: int, plan: Plan) -> None:
        if received > self.limits.size:
            self.part.discard()
            raise PoseGANError(f"{self.url}: more than the {self.limits.size:,} bytes allowed; check the address")
        if plan.total is not None and received > plan.total:
            raise ChangedError(f"the server sent more than the {plan.total:,} bytes that it had announced")

    def _check_deadline(self) -> None:
        if self._guard.left() <= 0:
            came = f"{self.part.size():,} bytes came"
            raise PoseGANError(
                f"{self.url}: not finished within {self.limits.deadline:g} s ({came}); run again to go on, or get it by hand"
            )


def _is_final(failure: Exception) -> bool:
    if isinstance(failure, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return True
    cause: BaseException | None = failure
    while cause and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _describe(failure: Exception, limits: Limits) -> str:
    if isinstance(failure, httpx.ReadTimeout):
        return f"no byte came for {limits.silence:g} s"
    if isinstance(failure, httpx.RemoteProtocolError | httpx.ReadError):
        return f"the transfer broke off ({failure or type(failure).__name__})"
    if isinstance(failure, httpx.TransportError):
        return f"no connection ({failure or type(failure).__name__})"
    return str(failure)


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
