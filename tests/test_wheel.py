"""The wheel: the library alone, which draws where none of the pipeline's packages is installed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from posegan.inference.shipped import DEFAULT
from tests.support import forked
from tests.support.tiny_run import ROOT
from tests.test_demo_server import ask

# What the extras bring, as it is imported: none of it is there for who installs the wheel alone.
ABSENT = (
    "cv2", "dvc", "dvclive", "fsspec", "httpx", "huggingface_hub", "jinja2", "onnx", "pandas", "pyarrow", "ray", "simplejpeg",
    "torch_fidelity", "torchmetrics", "torchvision", "ultralytics", "webdataset",
)  # fmt: skip
WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); "
COMMAND = WITHOUT + "from posegan.__main__ import main; sys.argv[0] = 'posegan'; main()"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "posegan", folder / "source" / "posegan", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    line = [sys.executable, "-c", "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])", str(folder)]
    subprocess.run(line, cwd=folder / "source", check=True, capture_output=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    place = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


def run(installed: Path, folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    return forked.run(*line, cwd=folder, env={**os.environ, "PYTHONPATH": str(installed)})


def test_it_holds_the_library_with_all_its_files_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "posegan").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == there
    assert any(name.endswith(".safetensors") for name in names)
    assert wheel.stat().st_size < 60e6


def test_it_asks_for_little() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {name.split(">")[0] for name in needed}
    assert names == {"click", "numpy", "pillow", "pydantic", "pyyaml", "safetensors", "torch", "tqdm"}


def test_it_draws_without_the_extras(installed: Path, tmp_path: Path) -> None:
    people = installed / "posegan" / "demo" / "people"
    line = ["transfer", str(people / "1.jpg"), "--keypoints", str(people / "keypoints.csv"), "--pose", "walking-3/left", "--out", "o.png"]
    done = run(installed, tmp_path, "-c", COMMAND, *line)
    assert done.returncode == 0, done.stderr
    assert f"model: {DEFAULT} (" in done.stderr
    with PIL.Image.open(tmp_path / "o.png") as image:
        assert np.asarray(image).shape == (128, 64, 3) and np.asarray(image).std() > 20
    line[line.index("--pose") : line.index("--pose") + 2] = ["--poses", "walking/left", "--frames", "2"]
    moved = run(installed, tmp_path, "-c", COMMAND, "animate", *line[1:])
    assert moved.returncode == 0, moved.stderr


def test_the_page_draws_its_people_without_the_extras_and_names_the_one_that_photographs_need(installed: Path, tmp_path: Path) -> None:
    line = ["-c", COMMAND, "demo", "--port", "0", "--device", "cpu"]
    with forked.started(*line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)}) as process:
        first = process.first_line()
        address = re.search(r":(\d+)/", first)
        assert address, first
        port = int(address[1])
        about = json.loads(ask(port, "GET", "/state")[2])
        request = {**about["people"][0], "target": about["poses"]["walking-3/left"]}
        drawn = ask(port, "POST", "/draw", json.dumps(request).encode())
        found = ask(port, "POST", "/find", (installed / "posegan" / "demo" / "people" / "1.jpg").read_bytes())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (drawn[0], found[0], process.returncode) == (200, 422, 0)
    assert list(about["generators"]) == ["drawn", DEFAULT]
    assert "pip install 'posegan[detect]'" in json.loads(found[2])["error"]
    assert "warning: the page takes no photographs: finding people in pictures needs ultralytics" in errors


def test_who_looks_for_people_is_told_the_extra(installed: Path, tmp_path: Path) -> None:
    photo = installed / "posegan" / "demo" / "people" / "1.jpg"
    done = run(installed, tmp_path, "-c", COMMAND, "transfer", str(photo), "--pose", "standing", "--out", "o.png")
    assert done.returncode == 1
    assert "error: finding people in pictures needs ultralytics: pip install 'posegan[detect]', or give their joints" in done.stderr
    tabled = run(installed, tmp_path, "-c", COMMAND, "transfer", str(photo), "--pose", "t.parquet", "--out", "o.png")
    assert tabled.returncode == 1 and tabled.stderr.splitlines()[-1].startswith("error: ")


def test_importing_the_library_imports_neither_dvc_nor_pandas_nor_ultralytics(installed: Path, tmp_path: Path) -> None:
    heavy = {"dvc", "pandas", "pipeline", "pyarrow", "torchvision", "ultralytics"}
    code = f"import sys, posegan; from posegan import PoseTransfer; print(posegan.__file__, *({heavy!r} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(installed / "posegan" / "__init__.py"), done.stderr
