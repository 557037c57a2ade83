"""What DVC's temporary copies lack of the workspace is named by the stages, and the documented line brings it along."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.__main__ import cli
from pipeline.repository import unknown_to_git
from pipeline.temporary_copy import left_behind, workspace_of
from tests.support.small_market import jpeg, market
from tests.support.tiny_run import ROOT, tiny_params


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git repository in which four folders have a README alone; photos, annotations, a list and weights lie there as well."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("/data/photos/*\n!/data/photos/README.md\n/data/weights/*\n!/data/weights/README.md\n")
    for folder in ("photos", "annotations", "pair_lists", "weights"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "README.md").write_text("about\n")
    subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
    for number, name in enumerate(("photos/Ada/1.jpg", "photos/Ada/2.jpg", "photos/Ben Two/1.jpg", "photos/Ben Two/2.jpg")):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes(jpeg(number))
    (tmp_path / "data" / "annotations" / "mine.csv").write_text("name:keypoints_y:keypoints_x\n")
    (tmp_path / "data" / "weights" / "inception.pth").write_bytes(b"weights")
    return tmp_path


BROUGHT = ["data/annotations/mine.csv", "data/photos/Ada/", "data/photos/Ben Two/", "data/weights/inception.pth"]


def test_what_git_does_not_have_is_found_ignored_or_not(project: Path) -> None:
    assert sorted(unknown_to_git(project)) == BROUGHT


def test_the_documented_line_brings_all_of_it_along(project: Path) -> None:
    text = (ROOT / "docs" / "experiments.md").read_text()
    (line,) = re.findall(r"^(git ls-files .*?\n.*?dvc exp run --temp.*)$", text, re.MULTILINE)
    assert "--queue" in text
    printing = line.replace("dvc exp run --temp -S train.learning_rate=0.001", r"printf '%s\n'")
    assert "printf" in printing
    done = subprocess.run(["bash", "-c", printing], cwd=project, check=True, capture_output=True, text=True)
    assert sorted(done.stdout.splitlines()) == [f"--copy-paths={path}" for path in BROUGHT]


@pytest.mark.parametrize("place", [".dvc/tmp/exps/tmp123", ".dvc/tmp/exps/standalone/tmp123/some/posegan"])
def test_a_copy_knows_the_workspace(place: str, tmp_path: Path) -> None:
    assert workspace_of(tmp_path / place) == tmp_path
    assert workspace_of(tmp_path) is None
    assert workspace_of(tmp_path / ".dvc" / "tmp") is None


def copied(project: Path) -> Path:
    """What DVC makes of the project: what git has."""
    copy = project / ".dvc" / "tmp" / "exps" / "standalone" / "tmp123"
    for folder in ("photos", "annotations", "pair_lists", "weights"):
        (copy / "data" / folder).mkdir(parents=True)
        (copy / "data" / folder / "README.md").write_text("about\n")
    return copy


def test_what_is_left_behind_is_what_the_copy_has_not(project: Path) -> None:
    copy = copied(project)
    named = ["data/photos", "data/annotations/mine.csv", "data/weights", "data/pair_lists", "auto", str(project / "data" / "photos")]
    assert left_behind(copy, project, named) == [
        *("data/photos/Ada", "data/photos/Ben Two"), "data/annotations/mine.csv", "data/weights/inception.pth",
    ]  # fmt: skip
    (copy / "data" / "photos" / "Ada").mkdir()
    assert left_behind(copy, project, ["data/photos"]) == ["data/photos/Ben Two"]


@pytest.mark.parametrize(
    ("stage", "params", "lacking", "error"),
    [
        ("download", {"dataset": {"source": "folder", "path": "data/photos"}}, "data/photos/Ada, data/photos/Ben Two", "no person has two"),
        (
            "pose",
            {"pose": {"source": "annotations", "annotations": ["data/annotations/mine.csv"]}},
            "data/annotations/mine.csv",
            "mine.csv: no ",
        ),
    ],
)
def test_an_error_in_a_copy_names_what_it_lacks(
    stage: str, params: dict, lacking: str, error: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copied(project)
    (copy / "params.yaml").write_text(yaml.safe_dump(tiny_params(**params).model_dump()))
    monkeypatch.chdir(copy)
    if stage == "pose":
        market(copy / "data" / "raw.zip")
    result = CliRunner().invoke(cli, [stage])
    assert result.exit_code == 1
    said = "DVC's temporary copy lacks {} of the workspace, which git does not have: docs/experiments.md has the line"
    assert said.format(f"{lacking}, data/weights/inception.pth") in result.output  # before the stage, of all that is to come
    assert said.format(lacking) in result.output.split("error: ")[1]
    assert error in result.output
    monkeypatch.chdir(project)  # the same in the workspace: whatever the error is, it is not that
    (project / "params.yaml").write_text(yaml.safe_dump(tiny_params(**params).model_dump()))
    assert "temporary copy" not in CliRunner().invoke(cli, [stage]).output
