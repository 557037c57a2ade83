"""What a device computes is what the CPU computes. Where there is a CUDA device, everything that is there for one runs on it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from posegan.data.prefetch import DevicePrefetcher
from posegan.model.warp import warp_features
from posegan.training.checkpoints import CheckpointFolder
from posegan.training.data import TrainingData
from posegan.training.loop import Run, start, train
from posegan.training.losses import nearest_neighbour_loss
from posegan.training.progress import LossRecord
from tests.support.tiny_run import RandomStream, random_batch, tiny_params
from tests.test_warp import scene

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
FASTER = {"precision": "bfloat16", "channels_last": True}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scale", [1, 4])
def test_the_warp_and_its_gradients(device: str, scale: int) -> None:
    features, affines, valid, masks, offsets = scene(scale=scale)
    results = []
    for place in ("cpu", device):
        inputs = features.to(place).requires_grad_(), offsets.to(place).requires_grad_()
        moved = warp_features(inputs[0], affines.to(place), valid.to(place), masks.to(place), inputs[1])
        results.append([each.cpu() for each in (moved.detach(), *torch.autograd.grad(moved.square().sum(), inputs))])
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("device", DEVICES)
def test_the_nearest_neighbour_loss_and_its_gradient(device: str) -> None:
    maps = torch.randn(2, 3, 8, 16, 8, generator=torch.Generator().manual_seed(0))
    results = []
    for place in ("cpu", device):
        generated = maps[0].to(place).requires_grad_()
        loss = nearest_neighbour_loss(generated, maps[1].to(place), 3)
        results.append([loss.detach().cpu(), torch.autograd.grad(loss, generated)[0].cpu()])
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("device", DEVICES)
def test_batches_arrive_as_they_left_while_the_device_computes(device: str) -> None:
    with DevicePrefetcher([random_batch(number, 64) for number in range(8)], torch.device(device)) as batches:
        for number, batch in enumerate(batches):
            torch.randn(512, 512, device=device) @ torch.randn(512, 512, device=device)
            expected = random_batch(number, 64)
            assert batch.source_images.device.type == device
            assert all(torch.equal(got.cpu(), sent) for got, sent in zip(batch[:4], expected[:4], strict=True))
    assert number == 7


def run_on(device: str, folder: Path, **settings: Any) -> tuple[Run, list[dict[str, float]]]:
    """A run of four steps, or what is left of it, and its losses."""
    changes = {"iterations": 4, "log_every": 1, "validate_every": 4, "sample_every": 4, "checkpoint_every": 2, **settings}
    params = tiny_params(train=changes, model={"dropout": 0.0}, loss={"nearest_neighbour": 0.01})
    data = TrainingData(RandomStream(), [random_batch(1000)], random_batch(1001))
    run = start(params, data, CheckpointFolder(folder, 3), torch.device(device))
    return run, [record.values for record in train(run) if isinstance(record, LossRecord)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """The losses of the CPU in float32."""
    return run_on("cpu", tmp_path_factory.mktemp("cpu"))[1]


@pytest.mark.parametrize(
    ("device", "train"),
    [
        ("cpu", FASTER),
        pytest.param("cuda", {}, marks=CUDA),
        pytest.param("cuda", FASTER, marks=CUDA),
        pytest.param("cuda", {**FASTER, "compile": "default"}, marks=CUDA),
        pytest.param("cuda", {**FASTER, "compile": "reduce-overhead"}, marks=CUDA),
    ],
)
def test_a_run_follows_the_cpu_s_and_goes_on_from_its_state(
    device: str, train: dict[str, Any], tmp_path: Path, reference: list[dict[str, float]]
) -> None:
    run, losses = run_on(device, tmp_path, **train)
    tolerance = {"rel": 0.05, "abs": 0.05} if train else {"rel": 1e-3, "abs": 1e-4}
    assert losses[:2] == [pytest.approx(values, **tolerance) for values in reference[:2]]
    (tmp_path / "step-00000004.pt").unlink()
    again, rest = run_on(device, tmp_path, **train)
    assert len(rest) == 2
    for name, weight in run.state.ema.state_dict().items():
        torch.testing.assert_close(again.state.ema.state_dict()[name], weight, rtol=0.02, atol=2e-3)  # on CUDA sums differ from run to run
