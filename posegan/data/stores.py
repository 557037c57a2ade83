"""Where shards lie: a folder, or an address that fsspec knows, whose files are fetched into a cache.

The cache names a file by the SHA-256 that the index states. It gets that name only after its bytes had that hash, so a download
that was cut, or a server's page of excuses, is never used.
"""

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from posegan.errors import PoseGANError
from posegan.files import atomic_path, check_sha256

ATTEMPTS = 3
SMALL = 64 << 20  # bytes; what is read before any hash is known
_CHUNK = 1 << 20
_TOGETHER = 8  # files fetched at a time


class Store(Protocol):
    """A place with files; `str()` is what errors call it."""

    def small_file(self, name: str) -> bytes:
        """Content of a file of which nothing is known; PoseGANError when it is not there."""

    def verified(self, name: str, sha256: str, remedy: str) -> Path:
        """A local file that has been found to have the hash; PoseGANError when there is none."""

    def path(self, name: str, sha256: str, size: int) -> Path:
        """A local file for a shard; PoseGANError when it cannot be fetched."""

    def fetch(self, shards: Iterable[tuple[str, str, int]]) -> None:
        """Make the shards (name, SHA-256, bytes) local together, where that is faster than one by one; errors as `path`."""

    def check_file(self, name: str, size: int | None, remedy: str) -> None:
        """Raise PoseGANError where it is cheap to see that a file is missing or does not have `size` bytes."""

    def remedy(self, path: Path, otherwise: str) -> str:
        """What to do about a damaged file that `path` gave."""


def is_address(place: str) -> bool:
    """Whether a place is an address (https://..., s3://...) and not a folder."""
    return "://" in place


class LocalStore:
    """Files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def small_file(self, name: str) -> bytes:
        """Content of a file."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            remedy = "run the shard stage first (again, where the shards are of an earlier version)"
            raise PoseGANError(f"{self.folder / name}: {(error.strerror or str(error)).lower()}; {remedy}") from error

    def verified(self, name: str, sha256: str, remedy: str) -> Path:
        """A file, after its bytes were hashed."""
        check_sha256(self.folder / name, sha256, remedy)
        return self.folder / name

    def path(self, name: str, sha256: str, size: int) -> Path:
        """A file as it is."""
        return self.folder / name

    def fetch(self, shards: Iterable[tuple[str, str, int]]) -> None:
        """Nothing: they are here."""

    def check_file(self, name: str, size: int | None, remedy: str) -> None:
        """Raise PoseGANError unless the file is there and has `size` bytes (None: any number)."""
        path = self.folder / name
        if not path.is_file():
            raise PoseGANError(f"{path}: no such file; {remedy}")
        if size is not None and path.stat().st_size != size:
            raise PoseGANError(f"{path}: has {path.stat().st_size:,} bytes, expected {size:,}; {remedy}")

    def remedy(self, path: Path, otherwise: str) -> str:
        """The caller's."""
        return otherwise


class RemoteStore:
    """Files at an address, kept in a cache; several threads and processes may share it.

    Args:
        address: of the folder, such as https://host/shards or s3://bucket/shards. Credentials are the backend's own business.
        cache: folder for what was fetched.
        pause: waits so many seconds before the attempts after the first, doubling; injected by tests.
    """

    def __init__(self, address: str, cache: Path, pause: Callable[[float], None] = time.sleep) -> None:
        self.address, self.cache, self._pause = address.rstrip("/"), cache, pause
        self._files = _file_system(self.address)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def __str__(self) -> str:
        return self.address

    def small_file(self, name: str) -> bytes:
        """Content of a file, at most `SMALL` bytes."""
        content = b""

        def take(block: bytes) -> None:
            nonlocal content
            content += block

        self._attempt(name, lambda: self._stream(name, SMALL, take))
        return content

    def verified(self, name: str, sha256: str, remedy: str) -> Path:
        """The cached file, hashed again."""
        path = self._cached(name, sha256, SMALL)
        check_sha256(path, sha256, self.remedy(path, remedy))
        return path

    def path(self, name: str, sha256: str, size: int) -> Path:
        """The cached file, fetched if need be; its bytes had the hash when they came."""
        return self._cached(name, sha256, size)

    def fetch(self, shards: Iterable[tuple[str, str, int]]) -> None:
        """Fetch those that are not in the cache, several at a time: most of it is waiting."""
        with ThreadPoolExecutor(_TOGETHER, "fetch") as threads:
            list(threads.map(lambda shard: self.path(*shard), shards))

    def check_file(self, name: str, size: int | None, remedy: str) -> None:
        """Nothing: asking for every shard would take longer than it helps."""

    def remedy(self, path: Path, otherwise: str) -> str:
        """To delete the cached file."""
        return f"delete {path}, and it is fetched again"

    def _cached(self, name: str, sha256: str, size: int) -> Path:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):  # it becomes a file name
            raise PoseGANError(f"{self.address}/{name}: the index gives {sha256[:80]!r} as its SHA-256")
        path = self.cache / (sha256 + "".join(PurePosixPath(name).suffixes))
        with self._locks[sha256]:
            if not path.is_file():
                self._attempt(name, lambda: self._fetch(name, sha256, size, path))
        return path

    def _fetch(self, name: str, sha256: str, size: int, path: Path) -> None:
        digest = hashlib.sha256()
        with atomic_path(path) as temporary, temporary.open("wb") as file:

            def take(block: bytes) -> None:
                digest.update(block)
                file.write(block)

            total = self._stream(name, size, take)
            if digest.hexdigest() != sha256:
                raise ValueError(f"{total:,} bytes with the SHA-256 {digest.hexdigest()[:12]}..., expected {sha256[:12]}...")

    def _stream(self, name: str, most: int, take: Callable[[bytes], object]) -> int:
        # One request from beginning to end, and none before it for the size, which is known here or must not be believed.
        options = {"block_size": 0, "size": most} if self.address.startswith("http") else {}
        total = 0
        with self._files.open(f"{self.address}/{name}", "rb", **options) as stream:
            while block := stream.read(_CHUNK):
                total += len(block)
                if total > most:
                    raise ValueError(f"more than the {most:,} bytes expected")
                take(block)
        return total

    def _attempt(self, name: str, action: Callable[[], object]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                action()
                return
            except PoseGANError:  # the cache cannot be written
                raise
            except Exception as error:  # every backend has kinds of its own
                if attempt == ATTEMPTS - 1 or isinstance(error, FileNotFoundError):
                    what = f"not there ({type(error).__name__})" if isinstance(error, FileNotFoundError) else str(error) or repr(error)
                    raise PoseGANError(
                        f"{self.address}/{name}: could not be fetched: {what}; check the address, or use a local folder"
                    ) from error
                self._pause(2.0**attempt)


def _file_system(address: str) -> Any:
    import fsspec

    options: dict[str, Any] = {}
    if address.startswith("http"):
        import aiohttp

        options["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(total=3600, sock_connect=30, sock_read=60)}
    try:
        return fsspec.core.url_to_fs(address, **options)[0]
    except (ImportError, ValueError) as error:
        raise PoseGANError(f"{address}: cannot be read: {error}") from error
