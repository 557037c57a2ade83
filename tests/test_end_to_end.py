"""A fresh clone, `dvc repro` on a tiny sample, and what a second, a forced and an edited run do."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parent.parent
STAGES = ["download", "pose", "pair", "shard", "train", "evaluate"]
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

    before = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    assert repro(clone, "-f") == STAGES
    after = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    for stage in ("download", "pose", "pair", "shard"):
        assert after[stage] == before[stage], stage

    losses = clone / "posegan" / "losses.py"
    losses.write_text(losses.read_text() + "\n# edited\n")
    ran = repro(clone)
    assert ran[0] == "train"
    assert set(ran) <= {"train", "evaluate"}
