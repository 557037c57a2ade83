"""One training a folder: the second is refused, and a dead holder holds nothing."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.train.lock import alone
from pipeline.train.stage import train
from posegan.errors import PoseGANError
from tests.support import forked
from tests.support.small_market import Prepared
from tests.support.tiny_run import train_options

HOLD = "import sys, time; from pathlib import Path; from pipeline.train.lock import alone\n"
HOLD += "with alone(Path(sys.argv[1])): print(flush=True); time.sleep(60)"


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_a_second_training_is_refused_until_the_first_one_dies(tmp_path: Path, prepared: Prepared) -> None:
    line = train_options(tmp_path, prepared.shards, iterations=1)
    with forked.started("-c", HOLD, str(tmp_path / "state")) as first:
        first.first_line()
        with pytest.raises(PoseGANError, match=rf"state: another training of this folder runs \(process {first.pid}\)"):
            CliRunner().invoke(train, line, catch_exceptions=False)
        assert not (tmp_path / "dvclive").exists()
        first.kill()
    assert CliRunner().invoke(train, line, catch_exceptions=False).exit_code == 0


def test_the_lock_is_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with alone(tmp_path / "state"), pytest.raises(PoseGANError, match=f"process {os.getpid()}"), alone(tmp_path / "state"):
            pytest.fail("held twice")
        with pytest.raises(KeyError), alone(tmp_path / "state"):
            raise KeyError
    with alone(tmp_path / "other"), alone(tmp_path / "state"):
        pass
