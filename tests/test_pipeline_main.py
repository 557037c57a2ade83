import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pipeline.__main__ import STAGES, cli
from pipeline.pair import stage as pair_module
from posegan.errors import PoseGANError

ROOT = Path(__file__).parents[1]
STAGE = [sys.executable, "-m", "pipeline"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command()
    def pair() -> None:
        raise error

    monkeypatch.setattr(pair_module, "pair", pair)


def test_no_argument_lists_the_stages_in_order() -> None:
    result = run()
    assert result.exit_code == 0
    places = [result.output.index(f"\n  {stage} ") for stage in STAGES]
    assert places == sorted(places)


@pytest.mark.parametrize("stage", ["download", "pose", "pair", "shard"])
def test_each_stage_explains_itself(stage: str) -> None:
    result = run(stage, "--help")
    assert result.exit_code == 0
    assert "--params" in result.output
    assert "--out" in result.output


@pytest.mark.parametrize("arguments", [["nosuch"], ["pair", "--nosuch"], ["pair", "stray"]])
def test_a_usage_error_is_code_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_what_the_user_can_mend_is_one_line_and_code_1(tmp_path: Path) -> None:
    result = run(
        "pair", "--params", str(ROOT / "params.yaml"), "--keypoints", str(tmp_path / "k.parquet"), "--out", str(tmp_path / "p.parquet")
    )
    assert result.exit_code == 1
    assert result.output == f"error: {tmp_path}/k.parquet: no such file; run the pose stage first\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_code_130_and_a_full_disk_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    result = run("pair")
    assert result.exit_code == 130
    assert result.output.startswith("interrupted; ")
    failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "data/pairs.parquet"))
    result = run("pair")
    assert result.exit_code == 1
    assert result.output.startswith("error: data/pairs.parquet: no space left")


def test_debug_lets_the_traceback_through(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, PoseGANError("broken"))
    assert isinstance(run("--debug", "pair").exception, PoseGANError)
    assert isinstance(run("pair").exception, SystemExit)


@pytest.mark.parametrize(
    ("stage", "absent"), [("pair", ["torch"]), ("shard", ["posegan.training.loop", "posegan.model.networks"])]
)  # webdataset loads torch
def test_a_stage_loads_no_other_stages_code(stage: str, absent: list[str]) -> None:
    program = f"import sys; from pipeline.__main__ import cli; cli(['{stage}', '--help'], standalone_mode=False); print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    modules = set(printed.split())
    assert f"pipeline.{stage}.stage" in modules
    assert modules.isdisjoint({"ultralytics", "pipeline.train.stage", "pipeline.pose.stage", *absent})


ORPHAN = """
import os, subprocess, sys
stage = "import time; from pipeline.__main__ import die_with_dvc; die_with_dvc(); print('ready', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stage], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
@pytest.mark.parametrize("by_dvc", [True, False])
def test_a_stage_dies_with_dvc_but_not_with_a_shell(by_dvc: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"} | ({"DVC_STAGE": "pair"} if by_dvc else {})
    parent = subprocess.run([sys.executable, "-c", ORPHAN], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    child = int(parent.stdout)
    deadline = time.monotonic() + (10 if by_dvc else 0.5)
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _alive(child) is not by_dvc
    if not by_dvc:
        os.kill(child, signal.SIGKILL)


def _alive(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
