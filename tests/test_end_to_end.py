"""A fresh clone, `dvc repro` on a tiny sample, what a second and a forced run do, and what an edited one would."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from dvc.repo import Repo

from pipeline.__main__ import STAGES as COMMANDS

ROOT = Path(__file__).parent.parent
STAGES = [*COMMANDS]
TINY = {
    "dataset": {"sample": {"train_identities": 8, "test_identities": 3, "images_per_identity": 5, "distractors": 4, "broken_files": 3}},
    "pair": {"validation_identities": 0.2},
    "model": {"generator_channels": 4, "discriminator_channels": 4},
    "train": {"iterations": 4, "batch_size": 2, "log_every": 2, "validate_every": 4, "validation_pairs": 2, "sample_every": 4},
    "evaluate": {"pairs": 6, "batch_size": 4, "grid_rows": 2},
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The working tree's tracked and new files in a repository of their own, with a tiny sample's parameters."""
    folder = tmp_path_factory.mktemp("fresh") / "posegan"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    merge(params, TINY)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (folder / "dvc.lock").unlink(missing_ok=True)
    return folder


def merge(values: dict, changes: dict) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            merge(values[key], value)
        else:
            values[key] = value


def repro(folder: Path, *args: str) -> list[str]:
    """Run `dvc repro`; returns the stages that ran."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTHONPATH"))}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}", "PYTHONPATH": str(folder)}
    dvc = [sys.executable, "-m", "dvc", "repro", *args]
    done = subprocess.run(dvc, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"Running stage '(\w+)'", done.stdout)


def test_the_whole_way(clone):
    assert repro(clone) == STAGES
    for name in ("metrics.json", "reports/evaluation/index.html", "reports/evaluation/grid.png", "models/generator.safetensors"):
        assert (clone / name).stat().st_size > 0, name
    assert repro(clone) == []

    table = pd.read_parquet(clone / "data" / "keypoints.parquet")
    assert table.image.is_monotonic_increasing
    assert set(table.status) >= {"ok", "unreadable"}
    assert table[table.status == "ok"].nose_confidence.between(0, 1).all()

    before = (clone / "dvc.lock").read_text()
    assert repro(clone, "-f", "shard") == ["download", "pose", "pair", "shard"]
    assert (clone / "dvc.lock").read_text() == before

    for edit, expected in EDITS.items():
        assert changed_by(clone, edit) == expected, edit


def a_parameter(section: str, config: str) -> Callable[[Path], None]:
    """Adds a key to a section of params.yaml and to its typed class."""

    def edit(folder: Path) -> None:
        params = yaml.safe_load((folder / "params.yaml").read_text())
        params[section]["new_key"] = 1
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        typed = folder / "posegan" / "config.py"
        head, tail = re.split(rf"(?<=class {config}\(Section\):\n)", typed.read_text())
        docstring, fields = re.split(r'(?<="""\n)(?=\n)', tail, maxsplit=1)
        typed.write_text(f"{head}{docstring}\n    new_key: int\n{fields.removeprefix(chr(10))}")

    return edit


def a_line(name: str) -> Callable[[Path], None]:
    """Edits a module, or makes a new one."""

    def edit(folder: Path) -> None:
        with (folder / name).open("a") as module:
            module.write("\n# edited\n")

    return edit


# What an edit changes at once; what comes after those stages runs only if what they write changes.
EDITS = {
    a_line("posegan/training/losses.py"): {"train"},
    a_parameter("train", "TrainConfig"): {"train"},
    a_parameter("loss", "LossConfig"): {"train"},
    a_line("posegan/pictures.py"): {"train", "evaluate"},
    a_line("posegan/people/estimator.py"): {"pose", "evaluate"},
    a_line("posegan/metrics/keypoints.py"): {"evaluate"},
    a_line("posegan/frozen/inception.py"): {"evaluate"},
    a_line("posegan/errors.py"): set(),
    a_line("pipeline/pair/another_rule.py"): {"pair"},
}


def changed_by(folder: Path, edit: Callable[[Path], None]) -> set[str]:
    """The stages that `dvc status` finds changed by an edit, which is undone afterwards."""
    before = {path: path.read_bytes() for path in (folder / "params.yaml", *folder.glob("p*/**/*.py"))}
    edit(folder)
    with contextlib.chdir(folder), Repo() as repo:  # elsewhere stages would be called by their file's path
        changed = set(repo.status())
    for path in folder.glob("p*/**/*.py"):
        if path not in before:
            path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    return changed
