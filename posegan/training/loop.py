"""The training loop, straight down: one update of the discriminator and one of the generator per iteration.

`start` builds a run, or takes over what an earlier process left of it; `train` goes through its iterations and tells what happens.

Legend: B images of a batch, H, W height and width in pixels. A `step` is a finished iteration, so step 1 is the state after the first
one; batch i of the stream is the one that makes step i + 1.
"""

import contextlib
import hashlib
import itertools
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import PIL.Image
import torch
from torch import Tensor, nn

from posegan.config import Params, TrainConfig
from posegan.data.batches import on_device, to_float
from posegan.data.prefetch import DevicePrefetcher
from posegan.device import measuring_device
from posegan.errors import PoseGANError
from posegan.metrics import similarity
from posegan.metrics.pose_masks import masked, pose_masks
from posegan.metrics.sharpness import sharpness
from posegan.model.networks import GeneratorOutput, Judgement
from posegan.pictures import image_grid
from posegan.training.checkpoints import CheckpointFolder
from posegan.training.data import TrainingData
from posegan.training.initial import start_warm
from posegan.training.losses import GeneratorLoss, check_teaches
from posegan.training.progress import Clock, Guard, LossRecord, Record, SampleRecord, ValidationRecord
from posegan.training.ranks import Ranks
from posegan.training.samples import GRID_HEADER, comparison_rows, generate
from posegan.training.state import TrainingState, first_not_finite
from posegan.training.updates import (
    Pair,
    begin_step,
    compile_networks,
    ema_decay,
    learning_rate,
    set_rate,
    update_discriminator,
    update_ema,
    update_generator,
)


class StoppedError(PoseGANError):
    """The run was asked to stop and saved its state."""


class Run(NamedTuple):
    """All that `train` goes on with. Afterwards `state.ema` is the result, and `state.best` what validation liked most on the way."""

    params: Params
    data: TrainingData
    checkpoints: CheckpointFolder
    ranks: Ranks
    state: TrainingState
    losses: GeneratorLoss
    guard: Guard
    began: str  # from which weights, in words; empty: untrained


def start(params: Params, data: TrainingData, checkpoints: CheckpointFolder, device: torch.device, ranks: Ranks | None = None) -> Run:
    """A run at its beginning or, where the first process's folder has a whole state, where that one was.

    Raises:
        PoseGANError: the batch cannot be shared out, no term of the loss would teach the image anything, or the weights to start from
            cannot be used.
    """
    ranks = ranks or Ranks()
    _check_shares(params.train, ranks)
    check_teaches(params.loss)
    state = TrainingState(params, device)
    losses = GeneratorLoss(params.loss, params.features)
    # How wrong an untrained generator is tells later when a trained one is lost. So it is asked before any state is loaded.
    guard = Guard(_untrained_losses(state, losses, data), params.train.log_every, checkpoints)
    began = start_warm(state, params) if params.train.initial else ""
    # In place and before a state is loaded: names of weights stay, so states of compiled and plain runs are one.
    if params.train.compile != "none":
        compile_networks(state.generator, state.discriminator, losses, params.train.compile)
    # All ranks go on from the first one's state: only that one writes, and the others may have no disk in common with it.
    latest = ranks.from_first(checkpoints.latest(refusal=lambda saved: data.refusal(saved.get("skipped", []))) if ranks.is_first else None)
    if latest is not None:
        state.restore(latest[1])
    return Run(params, data, checkpoints, ranks, state, losses, guard, began)


def train(run: Run, stop: threading.Event | None = None) -> Iterator[Record]:
    """Train from the current step to `train.iterations`, yielding records on the way: in the first process all, in others losses.

    Args:
        run: of `start`.
        stop: when set, the state is saved after the iteration in progress and `StoppedError` raised.

    Raises:
        PoseGANError: the run diverged: a loss or a weight became NaN or infinite, or a player far worse than an untrained one;
            or the state could not be written.
    """
    state, ranks, guard, settings = run.state, run.ranks, run.guard, run.params.train
    stop = stop or threading.Event()
    if state.step >= settings.iterations:
        return
    # With several processes, a backward pass through these also averages the gradients over all of them.
    generator, discriminator = ranks.averaging(state.generator), ranks.averaging(state.discriminator)

    def due(every: int) -> bool:
        return state.step % every == 0 or state.step == settings.iterations

    # Batch i is a function of the seed and i alone: to resume is to ask for another first batch, nothing is read again.
    with contextlib.closing(DevicePrefetcher(run.data.train.batches(state.step), state.device)) as batches:
        clock = Clock(lambda: batches.waited)
        # At the end the prefetcher has read a batch or two for nobody: less to bear than an end that it has to know.
        for batch in itertools.islice(batches, settings.iterations - state.step):
            losses = None
            with clock.running():
                # Learn: the discriminator tells the batch's images from those just drawn, then the generator learns from it.
                source, target = to_float(batch.source_images), to_float(batch.target_images)  # (B, 3, H, W) in [-1, 1]
                whole = Pair(source, batch.source_keypoints, target, batch.target_keypoints)
                pairs = _some_mirrored(whole, settings, state.step, ranks.rank).parts(settings.accumulate)
                rate = learning_rate(state.step + 1, settings.iterations, settings.learning_rate, settings.constant_rate)
                set_rate((state.generator_optimiser, state.discriminator_optimiser), rate)
                terms = _update_players(run, generator, discriminator, pairs)
                state.step += 1
                # Average: samples, validation and the exported file all show these weights, which jitter less.
                # A warm start's first weights are worth keeping, and need no warm-up.
                decay = settings.ema_decay if settings.initial else ema_decay(state.step, settings.ema_decay)
                update_ema(state.ema, state.generator, decay)
                state.means.add(state.step, terms)  # sums stay on the device: no waiting for it

                # Log: the means since the last time. Reading them waits for the device, so it counts as the step's time.
                if due(settings.log_every):
                    guard.check_losses(state.means)
                    losses = ranks.mean({f"loss_{name}": value for name, value in state.means.take().items()})
                    state.history.append((state.step, losses))
                    guard.check_course(state.history)
            if losses is not None:
                yield LossRecord(state.step, losses, *clock.read(settings.batch_size))

            # A signal may reach one process a step before another: all have to leave after the same one, or they wait forever.
            stopping = ranks.any(stop.is_set())
            if ranks.is_first:
                # Validate: the same few pairs each time, by the average weights.
                if run.data.validation and due(settings.validate_every):
                    yield validate(state, run.data)
                # Sample: a picture says what the numbers hide.
                if due(settings.sample_every):
                    yield SampleRecord(state.step, draw_samples(state, run.data))
                # Save: last, so that whoever resumes from this state finds what was yielded before it.
                if due(settings.checkpoint_every) or stopping:
                    _save(run)
            if stopping and state.step < settings.iterations:
                raise StoppedError(
                    f"stopped at step {state.step} of {settings.iterations}, state saved; the same command goes on from there"
                )


def _some_mirrored(pairs: Pair, settings: TrainConfig, step: int, rank: int) -> Pair:
    """The batch with a share of its pairs mirrored, by chance that is a function of the seed, the step and a pair's place in it."""
    if settings.mirrored == 0:
        return pairs
    chance = torch.rand(settings.batch_size, generator=torch.Generator().manual_seed(_seed(settings.seed, "mirrored", step)))
    chance = chance[rank * len(pairs.source) :][: len(pairs.source)]  # of the whole batch, this process's part
    return pairs.mirrored((chance < settings.mirrored).to(pairs.source.device))


def _update_players(run: Run, generator: nn.Module, discriminator: nn.Module, pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """One update of each player on a batch in equal parts; the named, weighted terms of both losses."""
    state, settings = run.state, run.params.train
    if settings.compile != "none":
        begin_step()
    if len(pairs) == 1:
        # The original runs the generator anew for each update, on minibatches of their own. One pass serves both here: 57
        # instead of 75 GFLOP a pair at the paper's width, for a third of the pairs an iteration.
        outputs: Iterable[GeneratorOutput] = list(draw_parts(state, generator, pairs, settings, run.ranks.rank))
        images: Iterable[Tensor] = [output.image for output in outputs]
    else:
        # Parts are there to save memory: what a part's backward pass needs is kept for one part at a time, which costs a second
        # drawing of each, without gradients, for the discriminator.
        outputs = draw_parts(state, generator, pairs, settings, run.ranks.rank)
        images = (output.image for output in draw_parts(state, generator, pairs, settings, run.ranks.rank, learning=False))
    terms: dict[str, Tensor] = {}
    if run.params.loss.adversarial > 0:
        with _autocast(state, settings):
            terms |= update_discriminator(discriminator, state.discriminator_optimiser, pairs, images, run.params.loss.gradient_penalty)
    with _autocast(state, settings):
        # The plain discriminator and not the averaging one: it stands still here, and has no gradients to average.
        terms |= update_generator(state.discriminator, state.generator_optimiser, run.losses, pairs, outputs)
    return terms


def draw_parts(
    state: TrainingState, generator: nn.Module, pairs: Sequence[Pair], settings: TrainConfig, rank: int = 0, learning: bool = True
) -> Iterator[GeneratorOutput]:
    """The generator's output for each part, when asked for; the same each time, as dropout is a function of step, process and part."""
    for number, pair in enumerate(pairs):
        # Also what makes a resumed run equal to the bit: no generator of random numbers has to be saved.
        torch.manual_seed(_seed(settings.seed, state.step, rank, number))
        with torch.set_grad_enabled(learning), _autocast(state, settings):
            output: GeneratorOutput = generator(pair.source, pair.source_keypoints, pair.target_keypoints)
        yield output


def validate(state: TrainingState, data: TrainingData) -> ValidationRecord:
    """Judge the average weights on the fixed validation pairs, and keep them if they are the best so far.

    The pairs are few: the last step's weights are the result, and the best ones stand beside it.
    """
    scores: dict[str, list[Tensor]] = defaultdict(list)
    there = measuring_device(state.device)
    for cpu_batch in data.validation:
        generated = generate(state.ema, on_device(cpu_batch, state.device)).to(there)
        batch = on_device(cpu_batch, there)
        for name, values in validation_scores(generated, batch.target_images, batch.target_keypoints).items():
            scores[name].append(values)
    means = {name: torch.cat(parts).nanmean().item() for name, parts in scores.items()}
    state.history.append((state.step, means))
    state.keep_best(means["val_quality"])
    return ValidationRecord(state.step, means)


def validation_scores(generated: Tensor, targets: Tensor, target_keypoints: Tensor) -> dict[str, Tensor]:
    """What validation measures of each image, `(B,)` float64.

    `val_quality` decides what is best: mask-SSIM times sharpness s, or 1 / s where there is more of it than in the target. SSIM and L1
    alone a blur wins, since where a generator cannot know, grey is nearest; sharpness alone a picture of anybody. And a generator
    that its discriminator has beaten draws hard edges everywhere.

    Args:
        generated, targets: uint8 `(B, 3, H, W)`.
        target_keypoints: `(B, 18, 3)`.
    """
    masks = pose_masks(target_keypoints, *targets.shape[2:])
    sharp = sharpness(generated, targets, masks)
    in_mask = similarity.ssim(masked(generated, masks), masked(targets, masks))
    return {
        "val_l1": similarity.l1(generated, targets),
        "val_ssim": similarity.ssim(generated, targets),
        "val_sharpness": sharp,
        "val_quality": in_mask * torch.minimum(sharp, 1 / sharp),
    }


def draw_samples(state: TrainingState, data: TrainingData) -> PIL.Image.Image:
    """The grid of the sample pairs, drawn by the average weights."""
    # The same pairs every time, so that a flip through the files shows what training did.
    batch = on_device(data.samples, state.device)
    return image_grid(comparison_rows(batch, generate(state.ema, batch)), GRID_HEADER)


def _save(run: Run) -> None:
    """Write the state, if all of it is finite: what is not could only be resumed into the same end."""
    run.guard.check_losses(run.state.means)
    run.state.skipped = run.data.left_out(run.state.skipped).names
    saved = run.state.saved()
    bad = first_not_finite({name: saved[name] for name in (*run.state.parts, "best")})
    if bad is not None:
        raise run.guard.not_finite(run.state.step, bad)
    run.checkpoints.save(run.state.step, saved)


@torch.no_grad()
def _untrained_losses(state: TrainingState, losses: GeneratorLoss, data: TrainingData) -> dict[str, float]:
    """The terms of the generator's loss that say whether it is lost, on the sample pairs before the first step, named as in the logs."""
    batch = on_device(data.samples, state.device)
    output = state.ema(to_float(batch.source_images), batch.source_keypoints, batch.target_keypoints)
    terms = losses(output, to_float(batch.target_images), batch.target_keypoints, Judgement((output.image.new_zeros(1),), ()))
    return {f"loss_{name}": term.item() for name, term in terms.items() if name in losses.telling}


def _check_shares(settings: TrainConfig, ranks: Ranks) -> None:
    together = settings.accumulate * ranks.world_size
    if settings.batch_size % together:
        raise PoseGANError(
            f"train.batch_size: expected a multiple of {together}, the {ranks.world_size} processes times train.accumulate, "
            f"got {settings.batch_size}"
        )


def _autocast(state: TrainingState, settings: TrainConfig) -> torch.autocast:
    return torch.autocast(state.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")


def _seed(*key: int | str) -> int:
    """A seed of 63 bits that is a function of the key."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8]) >> 1
