"""Kill a download at random moments; the next one must end with the right bytes. `python tests/kill_download.py 100`."""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loopback import Handler, serving

from pipeline.transfer import Limits, fetch

CONTENT = random.Random(0).randbytes(1 << 20)
_CHILD = "import sys; from pathlib import Path; from pipeline.transfer import fetch; print(flush=True); "
_CHILD += "fetch(sys.argv[1], Path(sys.argv[2]), lambda part: None)"


def _drip(request: Handler, _: int) -> None:
    """The file as an honest server sends it, in about a quarter of a second."""
    write = request.wfile.write

    def slowly(data: bytes) -> int:
        for start in range(0, len(data), 1 << 15):
            write(data[start : start + (1 << 15)])
            time.sleep(0.008)
        return len(data)

    request.wfile.write = slowly  # type: ignore[method-assign]
    request.reply_file(CONTENT)


def kill_downloads(kills: int, seed: int) -> tuple[int, int]:
    """Start a download in another process, kill it after up to 0.4 s, fetch once more; so many times.

    Returns how many kills hit a download that had begun and not ended, and how many second runs could go on from its bytes.
    """
    moments, hit, continued = random.Random(seed), 0, 0
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as name, serving(_drip) as server:
            path = Path(name) / "file"
            child = subprocess.Popen([sys.executable, "-c", _CHILD, server.url, str(path)], stdout=subprocess.PIPE)
            assert child.stdout
            child.stdout.readline()  # its imports are done
            time.sleep(moments.uniform(0, 0.4))
            child.kill()
            child.communicate()
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
