"""Where weights are looked for, and that what is opened is the official file, or says that it is not."""

import io
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.frozen.weights import OfficialFile, WeightsAbsentError, fill_network, find_weights, read_state_dict

KEY = "evaluate.weights.net"
STATE = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


def official(sha256: str) -> OfficialFile:
    return OfficialFile("Net", ("net-1.pth", "net-old.pth"), "https://example.org/net-1.pth", sha256)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


def saved(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()  # a file's name would be part of its bytes
    torch.save(STATE, buffer)
    path.write_bytes(buffer.getvalue())
    return path


def test_the_order_is_path_folders_cache(tmp_path: Path, cache: Path) -> None:
    folders = tmp_path / "first", tmp_path / "second"
    places = [
        saved(cache / "net-1.pth"),
        saved(folders[1] / "net-old.pth"),
        saved(folders[1] / "net-1.pth"),
        saved(folders[0] / "net-1.pth"),
    ]
    sha256 = sha256_of(places[0])
    chosen = saved(tmp_path / "mine.pth")
    assert find_weights(official(sha256), str(chosen), folders, KEY).path == chosen
    for place in reversed(places):
        found = find_weights(official(sha256), "", folders, KEY)
        assert found.path == place
        assert found.official
        assert torch.equal(found.state["weight"], STATE["weight"])
        place.unlink()
    with pytest.raises(
        WeightsAbsentError, match=r"no weights of Net; put net-1\.pth \(https://example\.org.*first.*evaluate\.weights\.net"
    ):
        find_weights(official(sha256), "", folders, KEY)


def test_a_file_that_is_found_must_be_the_official_one(tmp_path: Path) -> None:
    saved(tmp_path / "net-1.pth")
    with pytest.raises(WeightsAbsentError, match=r"net-1\.pth: its SHA-256 begins with .*expected 00000000; remove it"):
        find_weights(official("0" * 64), "", (tmp_path,), KEY)


def test_a_file_that_is_chosen_says_whether_it_is_official(tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.pth")
    sha256 = sha256_of(path)
    assert find_weights(official(sha256[:8]), str(path), (), KEY).description == f"mine.pth (SHA-256 {sha256[:12]})"
    assert "not the official file" in find_weights(official("0" * 8), str(path), (), KEY).description
    assert "not the official file" in find_weights(official(""), str(path), (), KEY).description
    with pytest.raises(PoseGANError, match=r"evaluate\.weights\.net: .*absent\.pth: no such file") as caught:
        find_weights(official(""), str(tmp_path / "absent.pth"), (tmp_path,), KEY)
    assert not isinstance(caught.value, WeightsAbsentError)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>quota exceeded</html>", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(PoseGANError, match=r"evaluate\.weights\.net: .*not a readable state dict"):
        find_weights(official(""), str(path), (), KEY)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth")
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(PoseGANError, match="not a readable state dict"):
            read_state_dict(path, KEY)


def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"weight": Payload()}, tmp_path / "net.pth")
    with pytest.raises(PoseGANError, match="not a readable state dict"):
        read_state_dict(tmp_path / "net.pth", KEY)
    assert not (tmp_path / "ran").exists()


def test_checkpoints_and_safetensors_are_read_alike(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": STATE}, tmp_path / "checkpoint.pth.tar")
    safetensors.torch.save_file(STATE, tmp_path / "net.safetensors")
    for name in ("checkpoint.pth.tar", "net.safetensors"):
        state = read_state_dict(tmp_path / name, KEY)
        assert state.keys() == STATE.keys()
        assert torch.equal(state["weight"], STATE["weight"])
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(PoseGANError, match="expected a state dict"):
        read_state_dict(tmp_path / "other.pth", KEY)


def test_a_network_is_filled_whole_or_not(tmp_path: Path) -> None:
    weights = find_weights(official(""), str(saved(tmp_path / "net.pth")), (), KEY)
    network = nn.Linear(3, 2)
    fill_network(network, str(weights.path), weights.state)
    assert torch.equal(network.weight, STATE["weight"])
    assert not network.weight.requires_grad
    with pytest.raises(PoseGANError, match=r"net\.pth: weight: expected shape \(2, 4\), got shape \(2, 3\)"):
        fill_network(nn.Linear(4, 2), str(weights.path), weights.state)
    with pytest.raises(PoseGANError, match="bias: expected shape .*nothing of that name"):
        fill_network(nn.Linear(3, 2), str(weights.path), {"weight": STATE["weight"]})
