"""Kill a download at random moments; the next one must end with the right bytes. `python -m tests.support.kill_download 100`."""

import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from pipeline.http.transfer import Limits, fetch
from tests.support.loopback import Handler, serving

CONTENT = random.Random(0).randbytes(1 << 20)
_BLOCK = 1 << 15  # bytes
_PATIENCE = 60.0  # seconds
_CHILD = "import sys; from pathlib import Path; from pipeline.http.transfer import fetch; print(flush=True); "
_CHILD += "fetch(sys.argv[1], Path(sys.argv[2]), lambda part: None)"


class _Drip:
    """The file as an honest server sends it, in about a quarter of a second; it halts before the byte `halt` until `go_on`."""

    def __init__(self, halt: int | None) -> None:
        self.halt = halt
        self.halted, self.go_on = threading.Event(), threading.Event()

    def __call__(self, request: Handler, _: int) -> None:
        write = request.wfile.write
        sent = 0

        def slowly(data: bytes) -> int:
            nonlocal sent
            for start in range(0, len(data), _BLOCK):
                sent += write(data[start : start + _BLOCK])
                if self.halt is not None and sent >= self.halt and not self.go_on.is_set():
                    self.halted.set()
                    self.go_on.wait(_PATIENCE)
                time.sleep(0.008)
            return len(data)

        request.wfile.write = slowly  # type: ignore[method-assign]
        request.reply_file(CONTENT)


def kill_downloads(kills: int, seed: int) -> tuple[int, int]:
    """Start a download in another process, kill it, fetch once more; so many times.

    Every second one is killed at a random moment of its first 0.4 s, whatever it is at; the others when a random
    byte was sent, so that on any machine half of the kills or more hit the transfer.

    Returns how many kills hit a download that had begun and not ended, and how many second runs could go on from its bytes.
    """
    moments, hit, continued = random.Random(seed), 0, 0
    for number in range(kills):
        drip = _Drip(None if number % 2 else moments.randrange(1, len(CONTENT) - _BLOCK))
        with tempfile.TemporaryDirectory() as name, serving(drip) as server:
            path = Path(name) / "file"
            child = subprocess.Popen([sys.executable, "-c", _CHILD, server.url, str(path)], stdout=subprocess.PIPE)
            assert child.stdout
            child.stdout.readline()  # its imports are done
            if drip.halt is None:
                time.sleep(moments.uniform(0, 0.4))
            else:
                assert drip.halted.wait(_PATIENCE), "the download did not get that far"
            child.kill()
            child.communicate()
            drip.go_on.set()
            assert not path.exists() or path.read_bytes() == CONTENT, "a wrong file has the real name"
            hit += bool(server.asked) and not path.exists()
            before = len(server.asked)
            if not path.exists():
                fetch(server.url, path, lambda part: None, Limits(pause=0.01))
            assert path.read_bytes() == CONTENT, "the next run ended with other bytes"
            assert {left.name for left in path.parent.iterdir()} <= {"file", ".lock"}, "something was left over"
            continued += any("Range" in headers for _, headers in server.asked[before:])
    return hit, continued


if __name__ == "__main__":
    count = int(sys.argv[1])
    print(f"{count} kills: all next runs right; {'{} in the middle, {} gone on with'.format(*kill_downloads(count, 1))}")
