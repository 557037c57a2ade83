"""Several processes, or one that computes its batches in parts, learn what one process learns; one error ends all of them."""

import multiprocessing
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from posegan.data import PairBatch
from posegan.errors import PoseGANError
from posegan.training.checkpoints import CheckpointFolder
from posegan.training.data import TrainingData
from posegan.training.loop import start, train
from posegan.training.ranks import Ranks, joined
from tests.support.small_market import Prepared
from tests.support.tiny_run import ROOT, random_batch, tiny_params, train_options

BATCH = 4
# Sums are in another order. Measured over 6 steps: 2e-7 of a loss with parts alone, 4e-7 with offsets too at a small rate. At the
# usual rate offsets differ after three steps (0.1 of the smoothness loss at step 6): its gradient is a sign, another for 0 than for 1e-9.
TOLERANCE = {"rel": 1e-5, "abs": 1e-7}
PARTS = {"deformation": "parts"}


class SharedStream:
    """Random batches, of which each process gets its part."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks

    def batches(self, start: int) -> Iterator[PairBatch]:
        size = BATCH // self.ranks.world_size
        mine = slice(self.ranks.rank * size, (self.ranks.rank + 1) * size)
        while True:
            yield PairBatch(*(part[mine] for part in random_batch(start, BATCH)))
            start += 1


def learn(folder: Path, ranks: Ranks, changes: dict[str, Any], model: dict[str, Any] = PARTS) -> dict[str, Any]:
    """What a run of 6 steps without dropout logs, the weights that it ends with, and the norms of all gradients on the way."""
    torch.set_num_threads(1)
    settings = {"batch_size": BATCH, "log_every": 1, "checkpoint_every": 3, **changes}
    params = tiny_params(train=settings, model={"dropout": 0.0, **model})
    data = TrainingData(SharedStream(ranks), [random_batch(1000)], random_batch(1001))
    run = start(params, data, CheckpointFolder(folder / str(ranks.rank), 3), torch.device("cpu"), ranks)
    gradients: list[float] = []
    for optimiser in (run.state.generator_optimiser, run.state.discriminator_optimiser):
        optimiser.register_step_pre_hook(lambda each, *_: gradients.extend(gradient_norms(each)))
    list(train(run))
    state = run.state
    players = {"ema": state.ema.state_dict(), "discriminator": state.discriminator.state_dict()}
    return {"history": state.history, "gradients": gradients, **players}


def gradient_norms(optimiser: torch.optim.Optimizer) -> list[float]:
    return [weight.grad.norm().item() for group in optimiser.param_groups for weight in group["params"] if weight.grad is not None]


def learn_together(folder: Path, rank: int, port: int, changes: dict[str, Any], model: dict[str, Any]) -> None:
    """`learn` as process number `rank` of two, with the environment that torchrun gives."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    with joined() as ranks:
        result = learn(folder, ranks, changes, model)
    torch.save(result, folder / f"{rank}.pt")


def two_processes(folder: Path, model: dict[str, Any] = PARTS, **changes: Any) -> list[dict[str, Any]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    children = [context.Process(target=learn_together, args=(folder, rank, port, changes, model)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        child.kill()
        assert child.exitcode == 0
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def losses(result: dict[str, Any]) -> list[dict[str, float]]:
    return [values for _, values in result["history"] if "val_l1" not in values]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return learn(tmp_path_factory.mktemp("alone"), Ranks(), {})


def assert_same_course(result: dict[str, Any], alone: dict[str, Any]) -> None:
    assert len(losses(result)) == 6
    for got, expected in zip(losses(result), losses(alone), strict=True):
        assert got == pytest.approx(expected, **TOLERANCE)
    # Adam does not care for a gradient's scale: losses alone would not tell a sum from a mean.
    assert result["gradients"] == pytest.approx(alone["gradients"], rel=0.01, abs=1e-6)


def test_two_processes_learn_what_one_learns(tmp_path: Path, alone: dict[str, Any]) -> None:
    first, second = two_processes(tmp_path)
    assert_same_course(first, alone)
    assert_same_course(second, alone)
    for player in ("ema", "discriminator"):
        assert all(torch.equal(weight, second[player][name]) for name, weight in first[player].items())
    assert [step for step, values in first["history"] if "val_l1" in values] == [3, 6]
    assert not [step for step, values in second["history"] if "val_l1" in values]
    assert len(list((tmp_path / "0").glob("step-*.pt"))) == 2
    assert not (tmp_path / "1").exists()


def test_two_processes_go_on_from_the_state_of_the_first(tmp_path: Path) -> None:
    straight = two_processes(tmp_path)[0]
    (tmp_path / "0" / "step-00000006.pt").unlink()
    resumed = two_processes(tmp_path)
    assert resumed[0]["history"] == straight["history"]
    for result in resumed:
        assert all(torch.equal(weight, result["ema"][name]) for name, weight in straight["ema"].items())


@pytest.mark.parametrize("accumulate", [2, 4])
def test_parts_of_a_batch_teach_what_the_batch_teaches(tmp_path: Path, alone: dict[str, Any], accumulate: int) -> None:
    assert_same_course(learn(tmp_path, Ranks(), {"accumulate": accumulate}), alone)


def test_with_offsets_too(tmp_path: Path) -> None:
    rate, model = {"learning_rate": 1e-5}, {"deformation": "parts+learned"}
    whole, parts = (learn(tmp_path / str(n), Ranks(), {"accumulate": n, **rate}, model) for n in (1, 2))
    (tmp_path / "processes").mkdir()
    for other in (parts, *two_processes(tmp_path / "processes", model, **rate)):
        assert_same_course(other, whole)
    assert "loss_offset_smoothness" in losses(whole)[0]


def test_parts_teach_in_bfloat16_too(tmp_path: Path) -> None:
    whole, parts = (learn(tmp_path / str(n), Ranks(), {"accumulate": n, "precision": "bfloat16"}) for n in (1, 2))
    for got, expected in zip(losses(parts), losses(whole), strict=True):
        assert got == pytest.approx(expected, rel=0.05, abs=0.02)
    assert losses(parts)[0]["loss_l1"] != losses(parts)[-1]["loss_l1"]


def test_two_processes_and_parts_together(tmp_path: Path, alone: dict[str, Any]) -> None:
    assert_same_course(two_processes(tmp_path, accumulate=2)[0], alone)


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match=r"train.batch_size: expected a multiple of 6, the 3 processes times train.accumulate, got 4"):
        learn(tmp_path, Ranks(0, 3, 0), {"accumulate": 2})


def torchrun(line: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pipeline", "train", *line]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_torchrun_trains_and_only_the_first_process_writes(tmp_path: Path, prepared: Prepared) -> None:
    done = torchrun(train_options(tmp_path, prepared.shards), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train: 2 processes share each batch of 2 pairs") == 1
    assert done.stdout.count("wrote ") == 1
    table = pd.read_csv(tmp_path / "dvclive/plots/metrics/val_l1.tsv", sep="\t")
    assert table.step.tolist() == [3, 6]
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {"step-00000003.png", "step-00000006.png"}


def test_one_process_s_error_ends_all_and_is_told_once(tmp_path: Path, prepared: Prepared) -> None:
    line = train_options(tmp_path, prepared.shards)
    (tmp_path / "state").write_text("a file, where a folder should be")  # only the first process writes there
    done = torchrun(line, tmp_path)
    assert done.returncode != 0
    told = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert len(told) == 1
    assert "state" in told[0]
    ours = [text for text in done.stderr.splitlines() if re.search(rf'File "{re.escape(str(ROOT))}/(posegan|pipeline)/', text)]
    assert ours == []  # a traceback names no file of ours: those below are torchrun's own
