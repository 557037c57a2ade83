"""A stage whose inputs were edited while it ran ends with an error, so that DVC records nothing."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from pipeline.__main__ import STAGES, cli
from pipeline.pair import stage as pair_stage
from pipeline.stage_code import stage_code
from pipeline.unchanged import StageCommand, differences, sections_of, taken
from posegan.config import load_params
from posegan.errors import PoseGANError
from tests.support.small_market import Prepared
from tests.support.tiny_run import ROOT, tiny_params


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_looks_at_its_code_and_its_sections(stage: str) -> None:
    assert isinstance(cli.get_command(click.Context(cli), stage), StageCommand)
    found = taken(stage, f"pipeline.{stage}.stage", ROOT / "params.yaml", [])
    assert {path.relative_to(ROOT).as_posix() for path in stage_code(f"pipeline.{stage}.stage")} <= found.keys()
    for section in sections_of(stage):
        values = getattr(load_params(ROOT / "params.yaml"), section).model_dump()
        assert {f"{section}.{key}" for key, value in values.items() if not isinstance(value, dict)} <= found.keys()


def changed(params: Path, section: str, **values: object) -> None:
    content = yaml.safe_load(params.read_text())
    content[section] |= values
    params.write_text(yaml.safe_dump(content))


def grown(path: Path, more: str) -> None:
    path.write_bytes(path.read_bytes() + more.encode())


EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a parameter": (lambda here: changed(here / "params.yaml", "pair", minimum_joints=5), "pair.minimum_joints"),
    "another stage's parameter": (lambda here: changed(here / "params.yaml", "evaluate", pairs=77), ""),
    "a comment": (lambda here: grown(here / "params.yaml", "# words\n"), ""),
    "parameters that are none": (lambda here: (here / "params.yaml").write_text("{}"), "params.yaml; what was written"),
    "the table": (lambda here: grown(here / "k.parquet", "x"), "k.parquet"),
    "the list that a parameter names": (lambda here: grown(here / "list.csv", "\n"), "list.csv"),
    "the list, removed": (lambda here: (here / "list.csv").unlink(), "list.csv"),
    "nothing but a time": (lambda here: os.utime(here / "k.parquet", (1, 1)), ""),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_while_the_stage_runs_is_an_error_that_names_it(
    edit: str, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, named = EDITS[edit]
    shutil.copy(prepared.keypoints, tmp_path / "k.parquet")
    (tmp_path / "list.csv").write_text("from,to\n0001_c1s1_000000_01.jpg,0001_c2s1_000001_01.jpg\n")
    params = tiny_params(pair={"require_torso": False, "minimum_joints": 4, "test_pairs": str(tmp_path / "list.csv")}).model_dump()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    whole = pair_stage.write_pairs

    def edited(*arguments: object) -> object:
        counts = whole(*arguments)  # type: ignore[arg-type]
        act(tmp_path)
        return counts

    monkeypatch.setattr(pair_stage, "write_pairs", edited)
    line = [f"--{name}={tmp_path / file}" for name, file in (("params", "params.yaml"), ("keypoints", "k.parquet"), ("out", "p.parquet"))]
    result = CliRunner().invoke(pair_stage.pair, line)
    if named:
        assert isinstance(result.exception, PoseGANError)
        assert "pair: changed while it ran: " in str(result.exception)
        assert named in str(result.exception)
        assert "run the stage again" in str(result.exception)
    else:
        assert result.exit_code == 0, result.exception


def test_the_files_of_a_folder_that_is_read_count_and_outputs_in_it_do_not(tmp_path: Path) -> None:
    (tmp_path / "photos" / "Ada").mkdir(parents=True)
    (tmp_path / "photos" / "Ada" / "1.jpg").write_bytes(b"x")

    def look() -> dict[str, object]:
        return taken("shard", "pipeline.shard.stage", ROOT / "params.yaml", [tmp_path], [tmp_path / "raw.zip", tmp_path / "state"])

    before = look()
    (tmp_path / "raw.zip").touch()
    (tmp_path / "photos.csv").touch()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "a").touch()
    assert differences(before, look()) == []
    (tmp_path / "photos" / "Ada" / "2.jpg").touch()
    assert differences(before, look()) == [str(tmp_path / "photos" / "Ada" / "2.jpg")]
    (tmp_path / "photos" / "Ada" / "1.jpg").write_bytes(b"xy")
    assert len(differences(before, look())) == 2
