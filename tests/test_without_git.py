"""A copy of the project without git, as a ZIP of it is, and one inside of a larger repository."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from pipeline.ablation.results import reader
from pipeline.repository import place_in_git
from posegan.errors import PoseGANError
from tests.support.tiny_run import ROOT

# Writes down what it was asked for, and keeps the one setting as DVC would.
DVC = """#!/bin/sh
echo "$@" >> calls
case "$*" in *--unset*) rm .dvc/config.local ;; *no_scm*) echo "no_scm = true" > .dvc/config.local ;; esac
"""


def git(folder: Path, *arguments: str) -> str:
    line = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(line, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The Makefile with an environment that is ready, and a DVC that only writes down what it is asked for."""
    for name in ("requirements.lock", "pyproject.toml", ".dvc/config", "Makefile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "ready").touch()
    (tmp_path / ".venv" / "bin" / "dvc").write_text(DVC)
    (tmp_path / ".venv" / "bin" / "dvc").chmod(0o755)
    return tmp_path


def calls(copy: Path) -> list[str]:
    """What `make repro` asks of DVC."""
    (copy / "calls").unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "OLDPWD"))}
    subprocess.run(
        ["make", "repro"], cwd=copy, check=True, capture_output=True, env=environment | {"GIT_CEILING_DIRECTORIES": str(copy.parent)}
    )
    return (copy / "calls").read_text().splitlines()


def test_make_repro_tells_dvc_whether_there_is_git(copy: Path) -> None:
    assert calls(copy) == ["config --local core.no_scm true", "repro"]
    assert calls(copy) == ["repro"]
    git(copy, "init", "-q")
    assert calls(copy) == ["config --local --unset core.no_scm", "repro"]
    assert calls(copy) == ["repro"]


def test_experiments_say_that_they_need_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(PoseGANError, match="in no git repository, and experiments are commits of one; `git init`"):
        place_in_git()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what DVC uses
@pytest.mark.parametrize("place", ["", "some/posegan/"])
def test_an_experiment_is_read_wherever_the_project_lies_in_its_repository(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / place
    (project / "reports" / "evaluation").mkdir(parents=True)
    (project / "reports" / "evaluation" / "pairs.parquet").write_bytes(b"pairs")
    (project / "metrics.json").write_bytes(b"{}")
    git(tmp_path, "init", "-q")
    monkeypatch.chdir(project)
    with Repo.init(".", subdir=bool(place)) as repo:
        repo.add("reports/evaluation")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "as an experiment is")
    shutil.rmtree("reports/evaluation")
    read = reader("HEAD")
    assert (read("reports/evaluation/pairs.parquet"), read("metrics.json")) == (b"pairs", b"{}")
    with pytest.raises(PoseGANError, match=r"experiment HEAD: params\.yaml: "):
        read("params.yaml")


WIDER = "data/\nmodels/\nweights/\n*.pt\n*.safetensors\n*.png\n*.jpg\n*.csv\n"


def test_a_larger_repositorys_patterns_ignore_none_of_the_projects_files(tmp_path: Path) -> None:
    project = tmp_path / "posegan"
    project.mkdir()
    shutil.copy(ROOT / ".gitignore", project)
    (tmp_path / ".gitignore").write_text(WIDER)
    git(tmp_path, "init", "-q")

    def ignored(names: list[str]) -> list[str]:
        asked = subprocess.run(
            ["git", "check-ignore", "--no-index", "--stdin"],
            cwd=project,
            input="\n".join(names),
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.split()

    files = git(ROOT, "ls-files").splitlines()
    assert len(files) > 100
    assert ignored(files) == []
    own = ["data/photos/Ada/1.jpg", "data/raw.zip", "data/weights/x.pth", "models/generator.safetensors", "reports/a.png", "state/a.pt"]
    assert ignored(own) == own
