import socket
import time
from types import SimpleNamespace

from pipeline.http.transfer import DeadlineGuard


def connected(guard: DeadlineGuard) -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    guard.trace("connection.connect_tcp.complete", {"return_value": SimpleNamespace(get_extra_info=lambda name: ours)})
    return ours, theirs


def test_at_the_deadline_every_connection_ends() -> None:
    guard = DeadlineGuard(0.05)
    pairs = [connected(guard) for _ in range(2)]
    guard.start()
    for ours, theirs in pairs:
        ours.settimeout(5)
        assert ours.recv(1) == b""  # would time out after 5 s
        ours.close()
        theirs.close()
    assert guard.left() <= 0
    late, theirs = connected(guard)
    late.settimeout(5)
    assert late.recv(1) == b""
    late.close()
    theirs.close()


def test_a_cancelled_guard_and_other_events_cut_nothing() -> None:
    guard = DeadlineGuard(0.05)
    ours, theirs = connected(guard)
    guard.trace("http11.send_request_headers.started", {})
    guard.start()
    guard.cancel()
    time.sleep(0.15)
    theirs.send(b"x")
    assert ours.recv(1) == b"x"
    ours.close()
    theirs.close()
