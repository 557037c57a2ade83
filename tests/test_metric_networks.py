"""Which networks there are: those whose weights are at hand, or come over the wire whole; for the others a reason."""

from pathlib import Path

import pytest
import torch

import pipeline.evaluate.networks
from pipeline.evaluate.metrics import METRICS
from pipeline.evaluate.networks import FILES, fetch_weights, open_networks
from pipeline.http.transfer import Limits
from posegan.config import EvaluateConfig
from posegan.errors import PoseGANError
from posegan.frozen.weights import OfficialFile
from tests.support.loopback import Handler, serving
from tests.support.random_weights import random_state, save_weights
from tests.support.tiny_run import tiny_params

CPU = torch.device("cpu")
QUICK = Limits(deadline=5.0, silence=1.0, connect=1.0, attempts=2, pause=0.01)


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def config(**changes: object) -> EvaluateConfig:
    return tiny_params(evaluate=changes).evaluate


def test_every_metric_of_a_network_is_a_metric() -> None:
    assert {metric.network for metric in METRICS.values()} == {*FILES, "", "random_filters"}


def test_without_weights_there_are_reasons_for_all(tmp_path: Path) -> None:
    networks = open_networks(config(), tmp_path / "weights", tmp_path / "downloads", CPU)
    assert networks[:4] == (None, None, None, None)
    assert networks.random_filters is not None
    assert networks.descriptions == {"alexnet": "AlexNet, random filters (seed 0)"}
    assert set(networks.reasons) == {name for name, metric in METRICS.items() if metric.network in FILES}
    assert "weights-inception-2015-12-05-6726825d.pth" in networks.reasons["fid"]
    assert str(tmp_path / "weights") in networks.reasons["fid"]


def test_a_file_under_its_official_name_must_be_it(tmp_path: Path) -> None:
    save_weights(tmp_path / "weights" / "alexnet-owt-7be5be79.pth", random_state("alexnet"))
    networks = open_networks(config(), tmp_path / "weights", tmp_path / "downloads", CPU)
    assert networks.alexnet is None
    assert "expected 7be5be79" in networks.reasons["lpips"]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[bytes, str]:
    """A file that stands for the official AlexNet."""
    path = tmp_path / "served.pth"
    sha256 = save_weights(path, random_state("alexnet"))
    monkeypatch.setattr(pipeline.evaluate.networks, "_LIMITS", QUICK)
    return path.read_bytes(), sha256


def offered(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str) -> OfficialFile:
    file = OfficialFile("AlexNet", ("alexnet-test.pth",), url, sha256)
    monkeypatch.setattr(pipeline.evaluate.networks, "FILES", {"alexnet": file})
    return file


def test_missing_weights_are_fetched_once_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: tuple[bytes, str]
) -> None:
    content, sha256 = served
    with serving(lambda handler, _: handler.reply_file(content)) as server:
        offered(monkeypatch, f"{server.url}/alexnet.pth", sha256)
        before = open_networks(config(), tmp_path / "w", tmp_path / "d", CPU)
        assert before.alexnet is None
        assert before.random_filters is not None
        assert not server.asked  # not unless asked for
        for _ in range(2):
            networks = open_networks(config(download_weights=True), tmp_path / "w", tmp_path / "d", CPU)
            assert networks.alexnet is not None
            assert networks.random_filters is None  # nothing needs to stand in
            assert networks.descriptions["alexnet"] == f"alexnet-test.pth (SHA-256 {sha256[:12]})"
        assert len(server.asked) == 1


def bad(handler: Handler, number: int, content: bytes) -> None:
    handler.reply_file(content[:-1] + b"?")


def gone(handler: Handler, number: int, content: bytes) -> None:
    handler.reply(404)


def page(handler: Handler, number: int, content: bytes) -> None:
    handler.reply(200, b"<html>quota exceeded</html>", Content_Type="text/html")


def cut(handler: Handler, number: int, content: bytes) -> None:
    handler.reply_file(content, etag=None, most=len(content) // 2)


@pytest.mark.parametrize("answer", [bad, gone, page, cut])
def test_what_comes_wrong_is_a_reason_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: tuple[bytes, str], answer: object
) -> None:
    content, sha256 = served
    with serving(lambda handler, number: answer(handler, number, content)) as server:  # type: ignore[operator]
        offered(monkeypatch, f"{server.url}/alexnet.pth", sha256)
        networks = open_networks(config(download_weights=True), tmp_path / "w", tmp_path / "d", CPU)
    assert networks.alexnet is None
    assert "no weights of AlexNet: http://127.0.0.1" in networks.reasons["lpips"]
    assert not (tmp_path / "d" / "alexnet-test.pth").exists()


def test_offline_fails_quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: tuple[bytes, str]) -> None:
    with serving(lambda handler, _: handler.reply(200)) as server:
        url = server.url
    file = offered(monkeypatch, f"{url}/alexnet.pth", served[1])  # nobody listens there any more
    with pytest.raises(PoseGANError, match="no connection"):
        fetch_weights(file, tmp_path / "d", QUICK)
