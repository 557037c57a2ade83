"""Nothing that Windows or macOS refuses by construction."""

import os
import sys

import pytest
import torch

from posegan import files
from posegan.device import choose_device, measuring_device
from tests.support import forked


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which files are open")
def test_everything_imports_and_the_main_ways_are_gone_with_what_windows_has() -> None:
    ended = forked.run("-m", "tests.support.windows")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "as on Windows: all is well"


def test_windows_is_not_asked_whether_a_process_lives_since_its_answer_would_be_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as windows:
        windows.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
        windows.setattr(os, "name", "nt")
        assert files._is_alive(1)


def test_apple_s_processor_is_used_only_when_named_and_for_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    assert choose_device("mps") == torch.device("mps")
    assert measuring_device(torch.device("mps")) == torch.device("cpu")  # it has no float64
    assert measuring_device(torch.device("cuda", 1)) == torch.device("cuda", 1)
