"""The loop: a resumed run equals an uninterrupted one; each update moves its own player only."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.stage_code import NO_BEHAVIOUR, imported_files
from pipeline.train.stage import training_code
from posegan.config import Params
from posegan.data import PairBatch, to_float
from posegan.errors import PoseGANError
from posegan.model.networks import Discriminator, Generator
from posegan.training.checkpoints import CheckpointFolder
from posegan.training.data import TrainingData, open_training_data
from posegan.training.loop import Run, StoppedError, draw_parts, start, train
from posegan.training.losses import GeneratorLoss
from posegan.training.progress import Clock, LossRecord, RunningMeans, SampleRecord, ValidationRecord
from posegan.training.updates import Pair, ema_decay, learning_rate, update_discriminator, update_ema, update_generator
from tests.support.small_market import Prepared
from tests.support.tiny_run import ROOT, RandomStream, random_batch, tiny_params

CPU = torch.device("cpu")


def started(folder: Path, params: Params, stream: Any = None) -> Run:
    data = TrainingData(stream or RandomStream(), [random_batch(1000)], random_batch(1001))
    return start(params, data, CheckpointFolder(folder, params.train.keep_checkpoints), CPU)


def after_step(run: Run, step: int, act: Callable[[], object]) -> None:
    """Let `act` happen right after the iteration that makes `step`, before anything is logged or saved."""

    class Acting(RunningMeans):
        def add(self, step_made: int, terms: dict[str, torch.Tensor]) -> None:
            super().add(step_made, terms)
            if step_made == step:
                act()

    run.state.means = Acting()


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in a nest of dicts and lists, with its path."""
    if isinstance(value, torch.Tensor):
        yield name, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, part in items:
        yield from tensors(part, f"{name}.{key}")


def assert_equal_states(first: Run, second: Run) -> None:
    states = dict(tensors(first.state.saved())), dict(tensors(second.state.saved()))
    assert states[0].keys() == states[1].keys()
    assert len(states[0]) > 100
    differing = [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]
    assert not differing
    assert first.state.history == second.state.history


@pytest.mark.parametrize(("stop_at", "accumulate"), [(1, 1), (3, 2), (4, 1)])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, stop_at: int, accumulate: int) -> None:
    settings = {"log_every": 2, "checkpoint_every": 100, "validate_every": 3, "sample_every": 100, "accumulate": accumulate}
    params = tiny_params(train=settings)
    straight = started(tmp_path / "straight", params)
    list(train(straight))

    stop = threading.Event()
    stopped = started(tmp_path / "stopped", params)
    after_step(stopped, stop_at, stop.set)
    with pytest.raises(StoppedError, match=f"stopped at step {stop_at} of 6"):
        list(train(stopped, stop))
    torch.manual_seed(12345)  # whatever else the process draws must not matter
    stream = RandomStream()
    resumed = started(tmp_path / "stopped", params, stream)
    assert resumed.state.step == stop_at
    list(train(resumed))
    assert stream.started_at == [stop_at]
    assert_equal_states(straight, resumed)


def test_a_killed_run_goes_on_from_the_last_state(tmp_path: Path) -> None:
    params = tiny_params(train={"checkpoint_every": 2})
    straight = started(tmp_path / "straight", params)
    list(train(straight))
    killed = started(tmp_path / "killed", params)
    records = train(killed)
    while killed.state.step < 3:
        next(records)
    del records  # no farewell: the steps after the last state are lost
    resumed = started(tmp_path / "killed", params)
    assert resumed.state.step == 2
    list(train(resumed))
    assert_equal_states(straight, resumed)


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    params = tiny_params()
    first = started(tmp_path, params)
    list(train(first))
    again = started(tmp_path, params)
    assert again.state.step == 6
    assert list(train(again)) == []
    assert_equal_states(first, again)


def test_records_come_when_due(tmp_path: Path) -> None:
    run = started(tmp_path, tiny_params())
    records = list(train(run))
    assert [record.step for record in records if isinstance(record, LossRecord)] == [2, 4, 6]
    assert [record.step for record in records if isinstance(record, ValidationRecord)] == [3, 6]
    assert [record.step for record in records if isinstance(record, SampleRecord)] == [3, 6]
    assert [step for step, _ in run.state.history] == [2, 3, 4, 6, 6]
    losses = next(record for record in records if isinstance(record, LossRecord))
    assert losses.values.keys() == {
        f"loss_{name}" for name in ("discriminator", "adversarial", "l1", "offset_smoothness", "feature_matching")
    }
    assert losses.images_per_second > 0
    assert 0 <= losses.waiting <= 1


def test_without_validation_pairs_nothing_is_validated(tmp_path: Path) -> None:
    run = started(tmp_path, tiny_params())
    run = run._replace(data=run.data._replace(validation=[]))
    assert not [record for record in train(run) if isinstance(record, ValidationRecord)]


def test_it_learns_one_batch_by_heart(tmp_path: Path) -> None:
    class OneBatch:
        def batches(self, start: int) -> Iterator[PairBatch]:
            smooth = random_batch(0)
            images = torch.full_like(smooth.target_images, 40)
            while True:
                yield smooth._replace(target_images=images)

    changes = {"iterations": 10, "log_every": 1, "learning_rate": 0.01, "validate_every": 100, "sample_every": 100, "checkpoint_every": 100}
    run = started(tmp_path, tiny_params(train=changes, model={"dropout": 0.0}), OneBatch())
    losses = [record.values["loss_l1"] for record in train(run) if isinstance(record, LossRecord)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("poisoned_after", "complaint"), [(3, r"the loss term '\w+'"), (4, "generator, appearance_encoder")])
def test_what_is_not_finite_is_named_and_never_saved(tmp_path: Path, poisoned_after: int, complaint: str) -> None:
    run = started(tmp_path, tiny_params(train={"checkpoint_every": 2, "log_every": 6}))
    after_step(run, poisoned_after, lambda: next(run.state.generator.parameters()).data.fill_(float("nan")))
    with pytest.raises(PoseGANError, match=f"{complaint}.* is not finite at step 4;.*last good state is of step 2"):
        list(train(run))
    latest = CheckpointFolder(tmp_path, 3).latest()
    assert latest is not None
    assert all(value.isfinite().all() for _, value in tensors(latest[1]["generator"]))


@pytest.mark.parametrize("part", ["discriminator", "ema", "generator_optimiser"])
def test_a_state_is_saved_only_if_all_of_it_is_finite(tmp_path: Path, part: str) -> None:
    run = started(tmp_path, tiny_params(train={"checkpoint_every": 2}))

    def poison() -> None:
        next(value for _, value in tensors(run.state.parts[part].state_dict()) if value.ndim > 0).view(-1)[0] = float("inf")

    after_step(run, 6, poison)
    with pytest.raises(PoseGANError, match=f"{part}, .* is not finite at step 6;.*last good state is of step 4"):
        list(train(run))
    latest = CheckpointFolder(tmp_path, 3).latest()
    assert latest is not None
    assert latest[0] == 4


def test_without_an_adversarial_weight_the_discriminator_rests(tmp_path: Path) -> None:
    run = started(tmp_path, tiny_params(loss={"adversarial": 0.0, "feature_matching": 0.0}, train={"iterations": 2}))
    before = [weight.clone() for weight in run.state.discriminator.parameters()]
    [losses] = [record.values for record in train(run) if isinstance(record, LossRecord)]
    assert losses.keys() == {"loss_l1", "loss_offset_smoothness"}
    assert all(torch.equal(old, new) for old, new in zip(before, run.state.discriminator.parameters(), strict=True))


def test_either_player_is_shown_the_same_drawing_of_a_part(tmp_path: Path) -> None:
    run, batch = started(tmp_path, tiny_params(train={"accumulate": 2}, model={"dropout": 0.5})), random_batch(0)
    pairs = Pair(to_float(batch.source_images), batch.source_keypoints, to_float(batch.target_images), batch.target_keypoints).parts(2)

    def drawn(learning: bool) -> list[torch.Tensor]:
        outputs = draw_parts(run.state, run.state.generator, pairs, run.params.train, learning=learning)
        return [output.image for output in outputs]

    shown, learned = drawn(False), drawn(True)
    assert all(torch.equal(one, other) for one, other in zip(shown, learned, strict=True))
    run.state.step += 1
    assert not any(torch.equal(one, other) for one, other in zip(shown, drawn(True), strict=True))  # other masks


def test_a_loss_without_any_term_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match="loss: expected a weight above 0"):
        started(tmp_path, tiny_params(loss={"adversarial": 0.0, "feature_matching": 0.0, "l1": 0.0}))


def test_bfloat16_follows_float32(tmp_path: Path) -> None:
    values = []
    for precision in ("float32", "bfloat16"):
        run = started(tmp_path / precision, tiny_params(train={"precision": precision, "iterations": 2}, model={"dropout": 0.0}))
        values.append(next(record.values for record in train(run) if isinstance(record, LossRecord)))
    assert values[1] == pytest.approx(values[0], rel=0.05, abs=0.02)
    assert values[1] != values[0]


def parts() -> tuple[Generator, Discriminator, Pair]:
    params = tiny_params()
    torch.manual_seed(0)
    batch = random_batch(0)
    pair = Pair(to_float(batch.source_images), batch.source_keypoints, to_float(batch.target_images), batch.target_keypoints)
    return Generator(params.model, params.image), Discriminator(params.model), pair


def test_each_update_moves_its_own_player() -> None:
    params = tiny_params()
    generator, discriminator, pair = parts()
    losses = GeneratorLoss(params.loss, params.features)
    output = generator(pair.source, pair.source_keypoints, pair.target_keypoints)
    weights = {name: [weight.clone() for weight in part.parameters()] for name, part in (("G", generator), ("D", discriminator))}
    update_discriminator(discriminator, torch.optim.Adam(discriminator.parameters()), [pair], [output.image])
    assert all(torch.equal(a, b) for a, b in zip(weights["G"], generator.parameters(), strict=True))
    moved = [weight.clone() for weight in discriminator.parameters()]
    assert not all(torch.equal(a, b) for a, b in zip(weights["D"], moved, strict=True))
    update_generator(discriminator, torch.optim.Adam(generator.parameters()), losses, [pair], [output])
    assert all(torch.equal(a, b) for a, b in zip(moved, discriminator.parameters(), strict=True))
    # Nothing leaked into D, and no gradient is kept, of which the next forward pass needs the memory.
    assert all(weight.grad is None for player in (generator, discriminator) for weight in player.parameters())
    assert all(weight.requires_grad for weight in discriminator.parameters())
    assert not all(torch.equal(a, b) for a, b in zip(weights["G"], generator.parameters(), strict=True))


def test_ema_of_a_constant_is_the_constant_and_warms_up() -> None:
    network, ema = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    start = ema.weight.detach().clone()
    update_ema(ema, network, 0.75)
    torch.testing.assert_close(ema.weight.detach(), 0.75 * start + 0.25 * network.weight.detach())
    for step in range(1, 200):
        update_ema(ema, network, ema_decay(step, 0.9))
    torch.testing.assert_close(ema.weight, network.weight)
    assert ema_decay(1, 0.999) == pytest.approx(2 / 11)
    assert ema_decay(100_000, 0.999) == 0.999


def test_the_learning_rate_stays_then_falls_evenly_to_a_last_small_step() -> None:
    rates = [learning_rate(step, 10, 0.5, 0.6) for step in range(1, 11)]
    assert rates == pytest.approx([0.5] * 7 + [0.375, 0.25, 0.125])
    assert {learning_rate(step, 10, 0.5, 1.0) for step in range(1, 11)} == {0.5}
    assert [learning_rate(step, 4, 1.0, 0.0) for step in range(1, 5)] == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_every_update_uses_the_rate_of_its_step(tmp_path: Path) -> None:
    run = started(tmp_path, tiny_params(train={"iterations": 4, "learning_rate": 0.01, "constant_rate": 0.0}))
    list(train(run))
    assert [group["lr"] for group in run.state.generator_optimiser.param_groups] == pytest.approx([0.0025])
    assert [group["lr"] for group in run.state.discriminator_optimiser.param_groups] == pytest.approx([0.0025])


def test_running_means() -> None:
    means = RunningMeans()
    for step, value in enumerate((1.0, 2.0, 6.0), 1):
        means.add(step, {"a": torch.tensor(value), "b": torch.tensor(-value)})
    assert means.take() == {"a": 3.0, "b": -3.0}
    means.add(4, {"a": torch.tensor(1.0), "b": torch.tensor(5.0)})
    assert means.first_bad() is None
    means.add(5, {"a": torch.tensor(1.0), "b": torch.tensor(float("inf"))})
    means.add(6, {"a": torch.tensor(float("nan")), "b": torch.tensor(1.0)})
    assert means.first_bad() == (5, "the loss term 'b'")


def test_the_clock_counts_steps_and_waiting_only() -> None:
    waited = [0.0]
    clock = Clock(lambda: waited[0])
    with clock.running():
        pass
    waited[0] = 1.0
    speed, waiting = clock.read(8)
    assert speed == pytest.approx(8, rel=0.01)
    assert waiting == pytest.approx(1, rel=0.01)


def test_the_name_of_a_run_covers_all_the_code_that_trains() -> None:
    covered = {path.relative_to(ROOT).as_posix() for path in training_code()}
    needed = {path.relative_to(ROOT).as_posix() for name in ("loop", "data") for path in imported_files(f"posegan.training.{name}")}
    assert needed - set(NO_BEHAVIOUR) <= covered
    assert all(name.startswith("posegan/") for name in covered), "how a run is logged and described does not train it again"


def test_shards_become_training_data(prepared: Prepared) -> None:
    params = tiny_params()
    data, sha256 = open_training_data(prepared.shards, params)
    assert len(sha256) == 64
    batch = next(iter(data.train.batches(0)))
    assert batch.source_images.shape == (2, 3, 128, 64)
    assert sum(len(each.sources) for each in data.validation) == params.train.validation_pairs
    assert len(data.samples.sources) <= 8


def test_the_best_weights_are_those_of_the_highest_validation_quality_and_outlive_the_process(tmp_path: Path) -> None:
    params = tiny_params(train={"validate_every": 1, "checkpoint_every": 4, "learning_rate": 0.01})
    run = started(tmp_path, params)
    seen: dict[int, dict[str, torch.Tensor]] = {}
    scores: dict[int, float] = {}
    for record in train(run):
        if isinstance(record, ValidationRecord):
            seen[record.step] = {name: weight.clone() for name, weight in run.state.ema.state_dict().items()}
            scores[record.step] = record.values["val_quality"]
    assert run.state.best is not None
    assert run.state.best.step == max(scores, key=lambda step: scores[step])
    assert all(torch.equal(weight, seen[run.state.best.step][name]) for name, weight in run.state.best.weights.items())
    again = started(tmp_path, params)
    assert again.state.best is not None
    assert again.state.best[:2] == run.state.best[:2]
    assert all(torch.equal(weight, again.state.best.weights[name]) for name, weight in run.state.best.weights.items())
