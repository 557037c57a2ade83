"""What counts as diverged, and what a run does then."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from posegan.data import PairBatch
from posegan.errors import PoseGANError
from posegan.training.checkpoints import CheckpointFolder
from posegan.training.data import TrainingData
from posegan.training.loop import Run, start, train
from posegan.training.losses import GeneratorLoss
from posegan.training.progress import Divergence, RunningMeans, divergence_limits, find_divergence
from tests.support.tiny_run import RandomStream, random_batch, tiny_params

LIMITS = {"loss_l1": 80.0, "loss_discriminator": 14.0}


def test_a_player_may_be_worse_than_an_untrained_one_but_not_far_worse() -> None:
    limits = divergence_limits({"loss_l1": 40.0})
    assert limits == {"loss_l1": 80.0, "loss_discriminator": pytest.approx(20 * math.log(2))}


def test_terms_that_say_nothing_of_the_generator_alone_are_not_judged() -> None:
    params = tiny_params(loss={"l1": 1.0, "adversarial": 1.0, "offset_smoothness": 1.0})
    assert GeneratorLoss(params.loss, params.features).telling == {"l1"}


@pytest.mark.parametrize("every", [1, 7, 20, 50])
def test_the_mean_of_the_newest_twenty_steps_is_judged(every: int) -> None:
    records = math.ceil(20 / every)
    worse, fine = {"loss_l1": 81.0, "loss_discriminator": 1.0}, {"loss_l1": 79.0, "loss_discriminator": 1.0}
    assert find_divergence([worse] * records + [fine], every, LIMITS) == Divergence("loss_l1", pytest.approx(81.0), 80.0, records * every)
    assert find_divergence([fine] * records + [worse], every, LIMITS) is None
    assert find_divergence([worse] * (records - 1), every, LIMITS) is None


def test_one_bad_batch_among_good_ones_is_no_divergence() -> None:
    calm, burst = {"loss_l1": 30.0, "loss_discriminator": 1.0}, {"loss_l1": 30.0, "loss_discriminator": 200.0}
    assert find_divergence([burst] + [calm] * 19, 1, LIMITS) is None
    found = find_divergence([burst] * 2 + [calm] * 18, 1, LIMITS)
    assert found is not None
    assert found.name == "loss_discriminator"


def test_the_term_that_is_furthest_beyond_its_limit_is_named() -> None:
    found = find_divergence([{"loss_l1": 90.0, "loss_discriminator": 140.0}], 20, LIMITS)
    assert found is not None
    assert found.name == "loss_discriminator"


class DarkTargets(RandomStream):
    """Random pairs whose target images are dark."""

    def batches(self, start: int) -> Iterator[PairBatch]:
        for batch in super().batches(start):
            yield batch._replace(target_images=torch.full_like(batch.target_images, 30))


def dark_run(folder: Path, **changes: object) -> Run:
    settings = {
        "iterations": 60,
        "log_every": 10,
        "checkpoint_every": 10,
        "validate_every": 100,
        "sample_every": 100,
        "keep_checkpoints": 9,
    }
    stream = DarkTargets()
    data = TrainingData(stream, [random_batch(1000)], next(stream.batches(1001)))
    return start(tiny_params(train=settings | changes), data, CheckpointFolder(folder, 9), torch.device("cpu"))


def test_a_saturated_image_stops_the_run_with_step_term_and_a_state_from_before(tmp_path: Path) -> None:
    run = dark_run(tmp_path)

    class Saturating(RunningMeans):
        def add(self, step: int, terms: dict[str, torch.Tensor]) -> None:
            super().add(step, terms)
            if step >= 20:
                bias = run.state.generator.decoder.last.bias.data
                bias.fill_(-50.0)  # from here on nothing is copied
                bias[:3] = 50.0  # and what is drawn is white

    run.state.means = Saturating()
    with pytest.raises(PoseGANError, match=r"diverged: at step 40 loss_l1 is \d.*of the last 20 steps.*last good state is of step 20, in"):
        list(train(run))


def test_a_run_that_learns_is_let_alone(tmp_path: Path) -> None:
    run = dark_run(tmp_path)
    list(train(run))
    assert run.state.step == 60


def test_a_learning_rate_that_is_far_too_high_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        PoseGANError,
        match=r"the run has diverged: .* lower train\.learning_rate .*\((the last good state is|.* has no state from before it)",
    ):
        list(train(dark_run(tmp_path, learning_rate=5.0)))
