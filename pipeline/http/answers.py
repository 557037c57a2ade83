"""What a server's answer means: a pure reading of its status, its headers and its first bytes.

RFC 9110 names the headers. Nothing here touches the network or the disk.
"""

import email.utils
import html
import re
import time
from collections.abc import Mapping
from typing import NamedTuple

from posegan.errors import PoseGANError

_TRANSIENT = (408, 425, 429)  # and every 5xx; what else is refused will be refused again
HEAD = 16 << 10  # bytes in which a web page shows itself, its title included
_TEXT = frozenset(b"\t\n\f\r") | frozenset(range(32, 256))  # no archive begins with 16 KiB of these


class Origin(NamedTuple):
    """Of what the bytes of a part are the beginning."""

    url: str
    validator: str  # a strong ETag, or a Last-Modified; "" when the server names neither
    total: int | None  # bytes of the whole file


class Plan(NamedTuple):
    """What to do with an answer: its body belongs at `start`, and the file will have `total` bytes (None: not said)."""

    start: int
    total: int | None


class RetryError(Exception):
    """An answer that another attempt may better; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class ChangedError(RetryError):
    """The bytes so far are of no use any more."""


def plan_answer(status: int, headers: Mapping[str, str], offset: int, origin: Origin) -> Plan:
    """Read an answer to a request for the bytes from `offset` on of a file that was `origin`.

    Args:
        status: HTTP status, redirects already followed.
        headers: of the answer, with case-insensitive names.
        offset: first byte asked for; 0 for a plain request.
        origin: what the bytes before `offset` belong to.

    Raises:
        RetryError: try again; `ChangedError` among them: from the start.
        PoseGANError: there is no point in trying again.
    """
    if status == 200:
        return Plan(0, _number(headers.get("Content-Length", "")))
    if status in (206, 416) and offset:
        return _plan_rest(status, headers, offset, origin)
    if status in _TRANSIENT or status >= 500:
        raise RetryError(f"the server answered {status}", seconds_of(headers.get("Retry-After", ""), time.time()))
    raise PoseGANError(f"{origin.url}: the server answered {status}; check the address, or try later")


def _plan_rest(status: int, headers: Mapping[str, str], offset: int, origin: Origin) -> Plan:
    found = re.fullmatch(r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+|\*)", headers.get("Content-Range", ""))
    start, total = (_number(text or "") for text in found.groups()) if found else (None, None)
    size = origin.total if total is None else total
    same = validator_of(headers) in ("", origin.validator) and origin.total in (None, size)
    if same and offset == (start if status == 206 else size):
        return Plan(offset, size)
    raise ChangedError(f"the file changed since its first {offset:,} bytes came, or the server cannot continue")


def validator_of(headers: Mapping[str, str]) -> str:
    """What names this version of a file in If-Range: its ETag unless weak, else its Last-Modified, else `""`."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def seconds_of(retry_after: str, now: float) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date (`now`: Unix time); 0 when it makes no sense."""
    if (seconds := _number(retry_after)) is not None:
        return float(seconds)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None  # Python refuses to read thousands of digits


def page_in(head: bytes) -> str | None:
    """What a web page or a text says, in a few words; None for anything else, such as an archive.

    Google Drive answers "quota exceeded" with status 200 and such a page.

    Args:
        head: the first `HEAD` bytes of the body, or all of it.
    """
    if not head or not set(head) <= _TEXT:
        return None
    text = head.decode("utf-8", errors="replace")
    title = re.search(r"<title[^>]*>(.*?)</title", text, re.DOTALL | re.IGNORECASE)
    words = " ".join(html.unescape(title[1] if title else text).split())
    return "".join(filter(str.isprintable, words))[:100]
