"""A warm start: both players' weights, refused where they are another network's, and part of the run's name."""

from pathlib import Path
from typing import Any

import pytest
import torch

from posegan.config import Params, parse_params
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.model.generator_file import DISCRIMINATOR, save_generator
from posegan.training.checkpoints import CheckpointFolder
from posegan.training.data import TrainingData
from posegan.training.initial import DISCRIMINATOR_SHA256, save_discriminator, start_warm
from posegan.training.loop import start, train
from posegan.training.run_name import run_content, run_name
from posegan.training.state import TrainingState
from tests.support.tiny_run import RandomStream, random_batch, tiny_params

CPU = torch.device("cpu")


def written(folder: Path, **model: Any) -> tuple[Path, TrainingState]:
    """The files of another run, of another seed."""
    params = tiny_params(train={"seed": 7}, model=model)
    state = TrainingState(params, CPU)
    judge = save_discriminator(folder / DISCRIMINATOR, state.discriminator, params.model)
    path = folder / "generator.safetensors"
    save_generator(path, state.ema, params.model, params.image, {DISCRIMINATOR_SHA256: judge})
    return path, state


def warm(path: Path, **changes: dict[str, Any]) -> Params:
    train = {"initial": str(path), "initial_sha256": sha256_of(path)} | changes.pop("train", {})
    return tiny_params(train=train, **changes)


def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())


def test_both_players_and_the_average_go_on_from_the_file(tmp_path: Path) -> None:
    path, before = written(tmp_path)
    params = warm(path)
    state = TrainingState(params, CPU)
    assert not equal(state.generator, before.ema)
    told = start_warm(state, params)
    assert equal(state.generator, before.ema) and equal(state.ema, before.ema) and equal(state.discriminator, before.discriminator)
    assert told == f"starts from {path} and discriminator.safetensors beside it"


def test_its_average_begins_with_the_file_s_weights_and_needs_no_warm_up(tmp_path: Path) -> None:
    path, before = written(tmp_path)
    params = warm(path, train={"iterations": 1, "ema_decay": 0.9})
    data = TrainingData(RandomStream(), [random_batch(1000)], random_batch(1001))
    run = start(params, data, CheckpointFolder(tmp_path / "states", 1), CPU)
    list(train(run))
    for average, first, now in zip(run.state.ema.parameters(), before.ema.parameters(), run.state.generator.parameters(), strict=True):
        torch.testing.assert_close(average, 0.9 * first + 0.1 * now)


def test_without_its_discriminator_a_generator_starts_alone(tmp_path: Path) -> None:
    path, before = written(tmp_path)
    (tmp_path / DISCRIMINATOR).unlink()
    params = warm(path)
    state, untrained = TrainingState(params, CPU), TrainingState(params, CPU)
    assert "the discriminator starts untrained" in start_warm(state, params)
    assert equal(state.generator, before.ema)
    assert equal(state.discriminator, untrained.discriminator)


def test_another_discriminator_beside_it_is_refused(tmp_path: Path) -> None:
    path, _ = written(tmp_path)
    params = tiny_params()
    save_discriminator(tmp_path / DISCRIMINATOR, TrainingState(params, CPU).discriminator, params.model)
    with pytest.raises(PoseGANError, match=r"discriminator.safetensors: not the discriminator of generator.safetensors.*move it away"):
        start_warm(TrainingState(params, CPU), warm(path))


@pytest.mark.parametrize(
    ("changes", "found", "wanted"),
    [
        ({"generator_channels": 4}, "model.generator_channels 2", "model.generator_channels 4"),
        (
            {"upsampling": "transposed", "image_skip": False},
            "model.image_skip True, model.upsampling bilinear",
            "model.upsampling transposed",
        ),
        ({"deformation": "parts"}, r"model.deformation parts\+learned", "model.deformation parts"),
        ({"discriminator_channels": 4}, "model.discriminator_channels 2", "model.discriminator_channels 4"),
    ],
)
def test_another_architecture_is_refused_with_both_named(tmp_path: Path, changes: dict[str, Any], found: str, wanted: str) -> None:
    path, _ = written(tmp_path)
    params = warm(path, model=changes)
    with pytest.raises(PoseGANError, match=rf"a network of .*{found}.*; params.yaml has .*{wanted}"):
        start_warm(TrainingState(params, CPU), params)


def test_images_of_another_size_are_welcome_if_their_network_is_the_same(tmp_path: Path) -> None:
    path, before = written(tmp_path)
    same = warm(path, image={"height": 112, "width": 80})
    state = TrainingState(same, CPU)
    start_warm(state, same)
    assert equal(state.generator, before.ema)
    larger = warm(path, image={"height": 256, "width": 256})
    with pytest.raises(PoseGANError, match="made for images of 128 x 64 pixels, here they have 256 x 256"):
        start_warm(TrainingState(larger, CPU), larger)


def test_a_file_that_is_not_there_or_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    path, _ = written(tmp_path)
    state = TrainingState(tiny_params(), CPU)
    with pytest.raises(PoseGANError, match="no such file"):
        start_warm(state, warm(path, train={"initial": str(tmp_path / "other.safetensors")}))
    with pytest.raises(PoseGANError, match="its SHA-256 is .*, train.initial_sha256 says 0000"):
        start_warm(state, warm(path, train={"initial_sha256": "0" * 64}))
    (tmp_path / DISCRIMINATOR).write_bytes(b"torn")
    with pytest.raises(PoseGANError, match="not the discriminator of"):
        start_warm(state, warm(path))


def test_parameters_ask_for_the_hash_and_the_run_s_name_has_it(tmp_path: Path) -> None:
    values = tiny_params().model_dump()
    with pytest.raises(PoseGANError, match=r"train.initial_sha256: train.initial is a file, whose content must be pinned"):
        parse_params({**values, "train": values["train"] | {"initial": "g.safetensors"}})
    with pytest.raises(PoseGANError, match=r"train.initial_sha256: train.initial names no file"):
        parse_params({**values, "train": values["train"] | {"initial_sha256": "0" * 64}})
    path, _ = written(tmp_path)
    names = {
        run_name(run_content(params, "", "")) for params in (tiny_params(), warm(path), warm(path, train={"initial_sha256": "1" * 64}))
    }
    assert len(names) == 3
