"""Where DVC's cache is linked into the workspace (`cache.type` symlink or hardlink), no stage writes through a link into the cache.

DVC removes a stage's outputs before it runs the stage; a stage that is run by hand finds them as links. The stages, their lines and
their outputs are those of dvc.yaml.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.__main__ import cli
from pipeline.evaluate.report import FACTS, GRID, HISTOGRAM, PAGE, PAIRS, PICTURES
from tests.support.small_market import Prepared
from tests.support.tiny_run import ROOT, tiny_params

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# What a folder held after the run before: names that the stage knows for its own, or refuses to replace.
HELD = {
    "reports/samples": ["step-00000003.png"],
    "dvclive/plots/metrics": ["loss_l1.tsv", "val_ssim.tsv"],
    "reports/evaluation": [FACTS, GRID, HISTOGRAM, PAGE, PAIRS, PICTURES],
}
LINKS: dict[str, Callable[[Path, Path], None]] = {"symlink": os.symlink, "hardlink": os.link}


def outputs(stage: str) -> list[str]:
    return [out for kind in ("outs", "metrics", "plots") for out in STAGES[stage].get(kind, [])]


class Cache:
    """Files under their hashes, as DVC keeps them, linked to where a stage's outputs stand."""

    def __init__(self, folder: Path, link: Callable[[Path, Path], None]) -> None:
        self.folder, self._link = folder, link
        folder.mkdir()

    def put(self, content: bytes, place: Path) -> None:
        kept = self.folder / hashlib.md5(content, usedforsecurity=False).hexdigest()
        if not kept.exists():
            kept.write_bytes(content)
            kept.chmod(0o444)
        place.parent.mkdir(parents=True, exist_ok=True)
        self._link(kept, place)

    def changed(self) -> list[str]:
        """What is not the content of its name any more, or not there, or may be written now."""
        return [
            path.name
            for path in self.folder.iterdir()
            if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != path.name or path.stat().st_mode & 0o222
        ]


@pytest.fixture
def workspace(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copy(prepared.raw, tmp_path / "market.zip")
    (tmp_path / "data" / "annotations").mkdir(parents=True)
    shutil.copy(prepared.keypoints, tmp_path / "data" / "annotations" / "k.parquet")
    params = tiny_params(
        dataset={"source": "archive", "path": "market.zip"},
        pose={"source": "annotations", "annotations": ["data/annotations/k.parquet"]},
        train={"iterations": 2, "validate_every": 2, "sample_every": 2, "checkpoint_every": 2},
        evaluate={"pairs": 2, "batch_size": 2, "grid_rows": 1, "bootstrap": 100, "device": "cpu"},
    )
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", LINKS)
def test_no_stage_writes_through_the_links_that_its_outputs_were(kind: str, workspace: Path, prepared: Prepared) -> None:
    cache = Cache(workspace / "cache", LINKS[kind])
    for stage, declared in STAGES.items():
        for out in outputs(stage):
            if out == "data/shards":
                for path in filter(Path.is_file, prepared.shards.rglob("*")):
                    cache.put(path.read_bytes(), Path(out) / path.relative_to(prepared.shards))
            for held in HELD.get(out, [] if out == "data/shards" else [""]):
                cache.put(f"{out} {held} of the run before".encode(), Path(out) / held)
        linked = [Path(out) for out in outputs(stage)]
        assert all(path.exists() for path in linked)
        result = CliRunner().invoke(cli, declared["cmd"].removeprefix("python -m pipeline ").split())
        assert result.exit_code == 0, f"{stage}: {result.output} {result.exception!r}"
        assert cache.changed() == [], f"{stage} wrote into the cache"
        files = [path for out in linked for path in ([out] if not out.is_dir() else filter(Path.is_file, out.rglob("*")))]
        assert files
        assert [path for path in files if path.is_symlink() or path.stat().st_nlink > 1] == [], f"{stage} left a link where its output is"


@pytest.mark.parametrize("kind", LINKS)
def test_a_cache_that_is_written_through_would_be_seen(kind: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", LINKS[kind])
    cache.put(b"kept", tmp_path / "out")
    assert cache.changed() == []
    (tmp_path / "out").chmod(0o644)
    (tmp_path / "out").write_bytes(b"written through")
    assert len(cache.changed()) == 1
