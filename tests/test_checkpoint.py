"""Training states survive kills and damage; exported generators describe themselves."""

import json
import os
import resource
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from posegan.errors import PoseGANError
from posegan.model.generator_file import load_generator, read_generator_card, save_generator
from posegan.model.networks import Generator
from posegan.training.checkpoints import CheckpointFolder
from tests.support import forked
from tests.support.tiny_run import random_batch, tiny_params


def steps(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.glob("*.pt"))


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_round_trip_and_keeps_the_last(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    assert folder.latest() is None
    for step in (10, 20, 30):
        folder.save(step, {"weights": torch.full((3,), float(step)), "history": [[step, {"l1": 0.5}]]})
    latest = folder.latest()
    assert latest is not None
    assert latest[0] == 30
    assert latest[1]["history"] == [[30, {"l1": 0.5}]]
    assert torch.equal(latest[1]["weights"], torch.full((3,), 30.0))
    assert steps(tmp_path) == [20, 30]
    assert len(list(tmp_path.iterdir())) == 4  # the two states and their hashes


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_cut_state_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: int) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    for step in (10, 20):
        folder.save(step, {"step": step})
    newest = tmp_path / "step-00000020.pt"
    newest.write_bytes(newest.read_bytes()[:kept])
    assert folder.latest() == (10, {"step": 10})
    assert "step-00000020.pt: damaged" in caplog.text


def test_a_damaged_hash_is_no_hash(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    for step in (10, 20):
        folder.save(step, {"step": step})
    (tmp_path / "step-00000020.pt.sha256").write_bytes(b"\xff\xfe")
    assert folder.latest() == (10, {"step": 10})


def test_a_damaged_state_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = CheckpointFolder(tmp_path, keep=1)
    folder.save(10, {"step": 10})
    saved_again = CheckpointFolder(tmp_path, keep=2)
    saved_again.save(20, {"step": 20})
    flip_a_bit(tmp_path / "step-00000020.pt")
    latest = folder.latest()
    assert latest == (10, {"step": 10})
    assert "step-00000020.pt: damaged" in caplog.text
    # The damaged one of a later step must not push the good one out.
    folder.save(15, {"step": 15})
    assert folder.latest() == (15, {"step": 15})


def test_a_state_without_its_hash_is_not_trusted(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.save(10, {"step": 10})
    (tmp_path / "step-00000010.pt.sha256").unlink()
    assert folder.latest() is None


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    folder = CheckpointFolder(tmp_path, keep=3)
    folder.save(10, {"payload": Payload()})
    assert folder.latest() is None
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_leaves_the_state_before_it(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.save(10, {"step": 10})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(PoseGANError, match=r"could not be written.*free some space"):
            folder.save(20, {"weights": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert folder.latest() == (10, {"step": 10})
    assert not list(tmp_path.glob("*.tmp"))


WRITER = """
import sys, torch
from pathlib import Path
from posegan.training.checkpoints import CheckpointFolder
folder = CheckpointFolder(Path(sys.argv[1]), keep=2)
print("ready", flush=True)
for step in range(1, 100000):
    folder.save(step, {"step": step, "weights": torch.full((2_000_000,), float(step))})
"""


def test_a_kill_leaves_a_whole_state(tmp_path: Path) -> None:
    with forked.started("-c", WRITER, str(tmp_path)) as process:
        process.first_line()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:  # kill inside a write: only that proves anything
            if len(steps(tmp_path)) == 2 and list(tmp_path.glob(".step-*.pt.*.tmp")):
                break
        else:
            pytest.fail("no write was seen in 20 seconds")
        process.kill()
    latest = CheckpointFolder(tmp_path, keep=2).latest()
    assert latest is not None
    step, state = latest
    assert state["step"] == step
    assert torch.equal(state["weights"], torch.full((2_000_000,), float(step)))


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, Generator]:
    params = tiny_params()
    torch.manual_seed(0)
    generator = Generator(params.model, params.image).eval()
    path = tmp_path / "generator.safetensors"
    save_generator(path, generator, params.model, params.image, {"seed": "0", "iterations": "6", "features": "none"})
    return path, generator


def test_the_exported_generator_draws_the_same(exported: tuple[Path, Generator]) -> None:
    path, generator = exported
    loaded = load_generator(path)
    batch = random_batch(0)
    source = batch.source_images.float() / 255
    with torch.no_grad():
        image = loaded(source, batch.source_keypoints, batch.target_keypoints).image
        assert torch.equal(image, generator(source, batch.source_keypoints, batch.target_keypoints).image)
    assert not loaded.training
    card, params = read_generator_card(path), tiny_params()
    assert (card.model, card.image) == (params.model, params.image)
    assert card.provenance == {"seed": "0", "iterations": "6", "features": "none"}


def test_equal_generators_give_equal_bytes(exported: tuple[Path, Generator], tmp_path: Path) -> None:
    path, generator = exported
    params = tiny_params()
    provenance = {"iterations": "6", "features": "none", "seed": "0"}
    save_generator(tmp_path / "again.safetensors", generator, params.model, params.image, provenance)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_files_that_are_no_generator_are_named(exported: tuple[Path, Generator], tmp_path: Path) -> None:
    path, _ = exported
    with pytest.raises(PoseGANError, match=r"absent: no such file; run make repro first"):
        load_generator(tmp_path / "absent")
    text = tmp_path / "text.safetensors"
    text.write_text("these are not tensors")
    with pytest.raises(PoseGANError, match="not a whole safetensors file"):
        load_generator(text)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(PoseGANError, match="not a whole safetensors file"):
        load_generator(cut)
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    with pytest.raises(PoseGANError, match="not a PoseGAN generator"):
        load_generator(other)


def test_tensors_must_fit_the_description(exported: tuple[Path, Generator], tmp_path: Path) -> None:
    path, _ = exported
    card, params = read_generator_card(path), tiny_params()
    metadata = {"format": 2, "model": params.model.model_dump(), "image": params.image.model_dump(), "provenance": card.provenance}
    tensors = load_file(path)
    name = next(iter(tensors))
    broken = tmp_path / "broken.safetensors"
    save_file({key: value for key, value in tensors.items() if key != name}, broken, metadata={"posegan": json.dumps(metadata)})
    with pytest.raises(PoseGANError, match=f"1 tensors are missing .*{name}"):
        load_generator(broken)
    save_file({**tensors, name: torch.zeros(1, 2, 3)}, broken, metadata={"posegan": json.dumps(metadata)})
    with pytest.raises(PoseGANError, match=r"has shape \(1, 2, 3\)"):
        load_generator(broken)
    save_file(tensors, broken, metadata={"posegan": json.dumps({**metadata, "format": 99})})
    with pytest.raises(PoseGANError, match="format 99"):
        load_generator(broken)
    save_file(tensors, broken, metadata={"posegan": json.dumps({**metadata, "model": {"channels": 3}})})
    with pytest.raises(PoseGANError, match="not understood"):
        load_generator(broken)
