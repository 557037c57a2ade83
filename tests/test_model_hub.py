"""Models on a hub, against a server on loopback: fetched, verified, offline, published; and without the extra."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from posegan.errors import PoseGANError
from posegan.inference import hub
from posegan.inference.hub import fetch_model, is_hub_name
from posegan.model.generator_file import CARD, CONFIG, WEIGHTS, save_pretrained
from tests.support import forked
from tests.support.hub_server import NAME, Hub
from tests.support.use_fixtures import drawn_person, write_model

# In a process of its own: the library reads its settings when it is imported.
FETCH = f"""
import sys
from posegan.inference.model_names import named_model
from posegan.model.generator_file import generator_file, load_generator
load_generator(generator_file(named_model(sys.argv[1] if len(sys.argv) > 1 else {NAME!r})))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hub")
    save_pretrained(write_model(place / "g.safetensors"), place / "model")
    return place / "model"


@pytest.fixture
def server(folder: Path) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub", reason="needs the extra posegan[hub]")
    with Hub({path.name: path.read_bytes() for path in folder.iterdir()}) as hub_server:
        threading.Thread(target=hub_server.serve_forever, daemon=True).start()
        yield hub_server
        hub_server.shutdown()


def run(server: Hub, home: Path, *line: str, **environment: str) -> CompletedProcess[str]:
    settings = {"HF_ENDPOINT": server.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_ETAG_TIMEOUT": "2", **environment}
    kept = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
    return forked.run(*line, cwd=home.parent, env={**kept, **settings})


def test_a_model_is_fetched_once_and_then_found_without_network(server: Hub, tmp_path: Path) -> None:
    result = run(server, tmp_path / "home", "-c", FETCH)
    assert result.returncode == 0, result.stderr
    assert any(line == f"GET /{NAME}/resolve/{'c' * 40}/{WEIGHTS}" for line in server.requests)
    asked = len(server.requests)
    again = run(server, tmp_path / "home", "-c", FETCH, HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert len(server.requests) == asked


def test_damaged_bytes_are_never_used(server: Hub, tmp_path: Path) -> None:
    server.damaged = {WEIGHTS}
    result = run(server, tmp_path / "home", "-c", FETCH)
    assert result.returncode != 0
    assert f"{NAME}: {WEIGHTS} in the hub's cache is damaged; delete" in result.stderr


def test_what_is_not_there_is_one_line(server: Hub, tmp_path: Path) -> None:
    drawn_person(0).save(tmp_path / "p.png")
    transfer = ["-m", "posegan", "transfer", "p.png", "--pose", "standing", "--out", "o.png", "--model"]
    absent = run(server, tmp_path / "home", *transfer, "ada/others")
    assert (absent.returncode, absent.stderr.count("\n")) == (1, 1)
    assert "error: ada/others: no such file here, and no such model on the hub" in absent.stderr
    offline = run(server, tmp_path / "home", *transfer, NAME, HF_HUB_OFFLINE="1")
    assert (offline.returncode, offline.stderr.count("\n")) == (1, 1)
    assert f"error: {NAME}: not in the hub's cache, and the hub cannot be reached; check the network" in offline.stderr
    del server.files[CONFIG]
    partial = run(server, tmp_path / "home", *transfer, NAME)
    assert partial.returncode == 1  # after the bars of what was fetched
    assert f"a folder without {CONFIG}" in partial.stderr.splitlines()[-1]


def test_a_model_is_published_as_export_writes_it(server: Hub, folder: Path, tmp_path: Path) -> None:
    server.files.clear()
    line = ["-m", "posegan", "export", "--hub", NAME, "--model", str(folder)]
    refused = run(server, tmp_path / "home", *line)
    assert refused.returncode == 1
    assert f"error: {NAME}: could not be published" in refused.stderr and "hf auth login" in refused.stderr
    assert server.files == {}
    result = run(server, tmp_path / "home", *line, HF_TOKEN="hf_good")
    assert result.returncode == 0, result.stderr
    assert f"{server.address}/{NAME}: {folder} published" in result.stdout
    assert {name: data for name, data in server.files.items() if name in (WEIGHTS, CONFIG, CARD)} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    assert run(server, tmp_path / "home", "-c", FETCH).returncode == 0


def test_what_is_here_is_no_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_name("ada/poses") and is_hub_name("ada/poses@v1")
    (tmp_path / "models").mkdir()
    for name in ("models/new", "models/generator.safetensors", "absent/generator.safetensors", "generator", "a/b/c", "../x", "/a/b"):
        assert not is_hub_name(name), name


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(PoseGANError, match=r"ada/poses: no such file here; models on a hub need posegan\[hub\]: pip install"):
        fetch_model("ada/poses")
    assert hub.is_hub_name("ada/poses")
