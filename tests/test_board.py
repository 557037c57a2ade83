"""TensorBoard's log of a training: the numbers that DVCLive has, once each, and no trace where it is not asked for."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from pipeline.train.board import FOLDER, Board
from pipeline.train.logs import Logs, SampleFolder, open_live
from pipeline.train.stage import train
from posegan.errors import PoseGANError
from posegan.training.progress import LossRecord, SampleRecord, ValidationRecord
from tests.support.small_market import Prepared
from tests.support.tiny_run import train_options, train_outputs

Curves = dict[str, list[tuple[int, float]]]


def logged(folder: Path) -> tuple[Curves, list[int], str]:
    """What TensorBoard reads: the scalars by name, the steps of the images, the text `run`."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs the extra posegan[tensorboard]"
    )
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    scalars = {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}
    [text] = events.Tensors("run/text_summary")
    return scalars, [each.step for each in events.Images("samples")], text.tensor_proto.string_val[0].decode()


def dvclive(folder: Path) -> Curves:
    tables = {path.stem: pd.read_csv(path, sep="\t") for path in (folder / "plots" / "metrics").glob("*.tsv")}
    return {name: list(zip(table["step"].tolist(), table[name].tolist(), strict=True)) for name, table in tables.items()}


def rounded(curves: Curves) -> dict[str, Any]:
    return {name: [(step, pytest.approx(value, rel=1e-6)) for step, value in curve] for name, curve in curves.items()}  # it keeps float32


def run(folder: Path, prepared: Prepared, **changes: object) -> Result:
    folder.mkdir(exist_ok=True)
    return CliRunner().invoke(train, train_options(folder, prepared.shards, **changes), catch_exceptions=False)


def test_it_has_dvclive_s_numbers_and_the_grids_and_changes_nothing_else(prepared: Prepared, tmp_path: Path) -> None:
    run(tmp_path / "plain", prepared)
    assert not list((tmp_path / "plain").rglob("*tfevents*"))
    run(tmp_path / "both", prepared, tensorboard=True)
    assert train_outputs(tmp_path / "both") == train_outputs(tmp_path / "plain")
    [board] = (tmp_path / "both" / "state").glob(f"*/{FOLDER}")
    scalars, grids, told = logged(board)
    assert scalars == rounded(dvclive(tmp_path / "both" / "dvclive"))
    assert grids == [3, 6]
    assert '"shards":' in told

    # Switched on after the end, and told twice: one log of the whole run under the same name, and nothing is trained again.
    for _ in range(2):
        assert "goes on from step 6 of 6" in run(tmp_path / "plain", prepared, tensorboard=True).output
    [later] = (tmp_path / "plain" / "state").glob(f"*/{FOLDER}")
    assert logged(later) == (scalars, grids, told)


def test_a_run_that_goes_on_has_one_log_without_gaps_and_doublings(tmp_path: Path) -> None:
    def logs(step: int, board: Board) -> Logs:
        shutil.rmtree(tmp_path / "live", ignore_errors=True)
        return Logs(open_live(tmp_path / "live"), SampleFolder(tmp_path / "samples", tmp_path / "kept", step), board)

    grid, board = PIL.Image.new("RGB", (4, 4), (200, 30, 30)), Board(tmp_path / "board", {})
    first = logs(0, board)
    for step in (1, 2, 3):  # the state is of step 2, so step 3 comes twice
        first.write(LossRecord(step, {"loss_l1": step / 4}, 1.0, 0.0))
        first.write(SampleRecord(step, grid))
    board.close()
    board = Board(tmp_path / "board", {})
    second = logs(2, board)
    second.repeat([(1, {"loss_l1": 0.25}), (2, {"loss_l1": 0.5})])
    second.write(LossRecord(3, {"loss_l1": 0.75}, 1.0, 0.0))
    second.write(SampleRecord(3, grid))
    second.write(ValidationRecord(3, {"val_ssim": 0.5}))
    second.end()
    board.close()
    scalars, grids, _ = logged(tmp_path / "board")
    assert scalars == {"loss_l1": [(1, 0.25), (2, 0.5), (3, 0.75)], "val_ssim": [(3, 0.5)]}
    assert scalars == rounded(dvclive(tmp_path / "live"))
    assert grids == [1, 2, 3]


def test_without_tensorboard_nothing_begins(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(PoseGANError, match=r'train\.tensorboard: needs tensorboard; install it with pip install "posegan\[tensorboard\]"'):
        run(tmp_path / "run", prepared, tensorboard=True)
    assert not (tmp_path / "run" / "dvclive").exists()
    assert run(tmp_path / "run", prepared, iterations=1).exit_code == 0
