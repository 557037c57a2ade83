"""The training loop: one update of the discriminator and one of the generator per iteration.

Legend: B images of a batch, H, W height and width in pixels. A `step` is a finished iteration, so
step 1 is the state after the first one; batch i of the stream is the one that makes step i + 1.
"""

import contextlib
import copy
import hashlib
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import PIL.Image
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from posegan import metrics
from posegan.acceleration import begin_step, compile_networks, fused_adam, placed
from posegan.batches import PairBatch, to_float
from posegan.checkpoint import CheckpointFolder
from posegan.config import Params
from posegan.divergence import divergence_limits, find_divergence
from posegan.errors import PoseGANError
from posegan.images import image_grid
from posegan.losses import GeneratorLoss
from posegan.networks import Discriminator, Generator, GeneratorOutput
from posegan.prefetch import DevicePrefetcher
from posegan.progress import Clock, RunningMeans
from posegan.ranks import Ranks
from posegan.records import LossRecord, Record, SampleRecord, ValidationRecord
from posegan.samples import GRID_HEADER, comparison_rows, generate, on_device
from posegan.training_data import TrainingData
from posegan.updates import Pair, ema_decay, learning_rate, update_discriminator, update_ema, update_generator


class Best(NamedTuple):
    """The EMA weights that had the highest `val_ssim` so far; of equal ones the first."""

    step: int
    val_ssim: float
    weights: dict[str, Tensor]  # on the CPU


class StoppedError(PoseGANError):
    """The run was asked to stop and saved its state."""


class Trainer:
    """A run: `resume()`, then iterate over `run()`; afterwards `ema` is the result, and `best` what validation liked most on the way.

    The records' numbers stand in `history` as well, which is part of the state: the history of a
    resumed run is complete. Seeds torch's global generators.
    """

    def __init__(
        self, params: Params, data: TrainingData, checkpoints: CheckpointFolder, device: torch.device, ranks: Ranks | None = None
    ) -> None:
        self.params, self.data, self.checkpoints, self.device, self.ranks = params, data, checkpoints, device, ranks or Ranks()
        together = params.train.accumulate * self.ranks.world_size
        if params.train.batch_size % together:
            raise PoseGANError(
                f"train.batch_size: expected a multiple of {together}, the {self.ranks.world_size} processes times train.accumulate, "
                f"got {params.train.batch_size}"
            )
        torch.manual_seed(params.train.seed)
        self.generator = placed(Generator(params.model, params.image), device, params.train.channels_last)
        self.discriminator = placed(Discriminator(params.model), device, params.train.channels_last)
        self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.losses = GeneratorLoss(params.loss, params.features)
        weights = params.loss
        if not any((weights.adversarial, weights.l1, weights.perceptual, weights.nearest_neighbour)):
            raise PoseGANError(
                "loss: expected a weight above 0 for adversarial, l1, perceptual or nearest_neighbour; the image would learn nothing"
            )
        self._limits = divergence_limits(self._untrained())
        rate, betas = params.train.learning_rate, (params.train.betas[0], params.train.betas[1])
        self.generator_optimiser = fused_adam(self.generator, rate, betas)
        self.discriminator_optimiser = fused_adam(self.discriminator, rate, betas)
        if params.train.compile != "none":
            compile_networks(self.generator, self.discriminator, self.losses, params.train.compile)
        self._averaged = [self.ranks.averaging(player) for player in (self.generator, self.discriminator)]
        self.step = 0
        self.history: list[tuple[int, dict[str, float]]] = []
        self.best: Best | None = None
        self._means = RunningMeans()

    def resume(self) -> int:
        """Take over the newest state of the first process's checkpoint folder, if there is one; returns the step reached."""
        latest = self.ranks.from_first(self.checkpoints.latest() if self.ranks.is_first else None)
        if latest is not None:
            self._restore(latest[1])
        return self.step

    def run(self, stop: threading.Event | None = None) -> Iterator[Record]:
        """Train from the current step to `train.iterations`, yielding records on the way: in the first process all, in others losses.

        Args:
            stop: when set, the state is saved after the iteration in progress and `StoppedError` raised.

        Raises:
            PoseGANError: the run diverged: a loss or a weight became NaN or infinite, or a player far worse than an untrained one;
                or the state could not be written.
        """
        train, stop = self.params.train, stop or threading.Event()
        if self.step >= train.iterations:
            return
        with contextlib.closing(DevicePrefetcher(self.data.train.batches(self.step), self.device)) as batches:
            clock = Clock(lambda: batches.waited)
            for batch in itertools.islice(batches, train.iterations - self.step):
                values = None
                with clock.running():
                    self._iterate(batch)
                    if self._due(train.log_every):  # waits for the device, which is part of the step's time
                        values = self._log()
                if values is not None:
                    yield LossRecord(self.step, values, *clock.read(train.batch_size))
                stopping = self.ranks.any(stop.is_set())
                if self.ranks.is_first:
                    if self.data.validation and self._due(train.validate_every):
                        yield self._validate()
                    if self._due(train.sample_every):
                        yield SampleRecord(self.step, self._sample_grid())
                    if self._due(train.checkpoint_every) or stopping:  # last: what was yielded is done by then
                        self._save()
                if stopping and self.step < train.iterations:
                    raise StoppedError(
                        f"stopped at step {self.step} of {train.iterations}, state saved; the same command goes on from there"
                    )

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.params.train.iterations

    def _iterate(self, batch: PairBatch) -> None:
        source, target = to_float(batch.source_images), to_float(batch.target_images)  # (B, 3, H, W)
        pairs = Pair(source, batch.source_keypoints, target, batch.target_keypoints).parts(self.params.train.accumulate)
        terms: dict[str, Tensor] = {}
        self._set_learning_rate()
        if self.params.train.compile != "none":
            begin_step()
        if len(pairs) == 1:
            # The original runs the generator anew for each update, on minibatches of their own. One pass
            # serves both here: 57 instead of 75 GFLOP a pair at the paper's width.
            outputs: Iterable[GeneratorOutput] = list(self._draw(pairs))
            images: Iterable[Tensor] = [output.image for output in outputs]
        else:  # parts are there to save memory: what a part's backward pass needs is kept for one part at a time
            outputs, images = self._draw(pairs), (output.image for output in self._draw(pairs, learning=False))
        if self.params.loss.adversarial > 0:
            with self._autocast():
                terms |= update_discriminator(self._averaged[1], self.discriminator_optimiser, pairs, images)
        with self._autocast():
            terms |= update_generator(self.discriminator, self.generator_optimiser, self.losses, pairs, outputs)
        self.step += 1
        update_ema(self.ema, self.generator, ema_decay(self.step, self.params.train.ema_decay))
        self._means.add(self.step, terms)

    def _draw(self, pairs: Sequence[Pair], learning: bool = True) -> Iterator[GeneratorOutput]:
        """The generator's output for each part, when asked for; the same each time, as dropout is a function of step, process and part."""
        for number, pair in enumerate(pairs):
            torch.manual_seed(_seed(self.params.train.seed, self.step, self.ranks.rank, number))
            with torch.set_grad_enabled(learning), self._autocast():
                output: GeneratorOutput = self._averaged[0](pair.source, pair.source_keypoints, pair.target_keypoints)
            yield output

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.params.train.precision == "bfloat16")

    def _set_learning_rate(self) -> None:
        train = self.params.train
        rate = learning_rate(self.step + 1, train.iterations, train.learning_rate, train.constant_rate)
        for optimiser in (self.generator_optimiser, self.discriminator_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = rate

    def _log(self) -> dict[str, float]:
        self._check_losses()
        values = self.ranks.mean({f"loss_{name}": value for name, value in self._means.take().items()})
        self.history.append((self.step, values))
        self._check_divergence()
        return values

    def _validate(self) -> ValidationRecord:
        scores: dict[str, list[Tensor]] = {"val_l1": [], "val_ssim": []}
        for cpu_batch in self.data.validation:
            batch = on_device(cpu_batch, self.device)
            generated = generate(self.ema, batch)
            scores["val_l1"].append(metrics.l1(generated, batch.target_images))
            scores["val_ssim"].append(metrics.ssim(generated, batch.target_images))
        values = {name: torch.cat(parts).mean().item() for name, parts in scores.items()}
        self.history.append((self.step, values))
        if self.best is None or values["val_ssim"] > self.best.val_ssim:
            weights = {name: weight.detach().cpu().clone() for name, weight in self.ema.state_dict().items()}
            self.best = Best(self.step, values["val_ssim"], weights)
        return ValidationRecord(self.step, values)

    def _sample_grid(self) -> PIL.Image.Image:
        batch = on_device(self.data.samples, self.device)
        return image_grid(comparison_rows(batch, generate(self.ema, batch)), GRID_HEADER)

    def _save(self) -> None:
        self._check_losses()
        state = self._state()
        for name, values in _floats({name: state[name] for name in (*self._parts(), "best")}):
            if not values.isfinite().all():
                raise self._not_finite(self.step, name)
        self.checkpoints.save(self.step, state)

    @torch.no_grad()
    def _untrained(self) -> dict[str, float]:
        """The terms of the generator's loss on the sample pairs, before the first step, as they are logged."""
        batch = on_device(self.data.samples, self.device)
        output = self.ema(to_float(batch.source_images), batch.source_keypoints, batch.target_keypoints)
        terms = self.losses(output, to_float(batch.target_images), output.image.new_zeros(()))
        return {f"loss_{name}": term.item() for name, term in terms.items()}

    def _check_losses(self) -> None:
        bad = self._means.first_bad()
        if bad is not None:
            raise self._not_finite(*bad)

    def _check_divergence(self) -> None:
        losses = (values for _, values in reversed(self.history) if values.keys() & self._limits.keys())
        found = find_divergence(losses, self.params.train.log_every, self._limits)
        if found is not None:
            raise self._diverged(
                f"at step {self.step} {found.name} is {found.value:.4g}, the mean of the last {found.steps} steps, and more than "
                f"{found.limit:.4g}: far worse than an untrained network",
                self.step - found.steps,
            )

    def _not_finite(self, step: int, name: str) -> PoseGANError:
        return self._diverged(f"{name} is not finite at step {step}", step)

    def _diverged(self, what: str, good_until: int) -> PoseGANError:
        latest = self.checkpoints.latest(good_until)
        folder = self.checkpoints.folder
        good = f"the last good state is of step {latest[0]}, in {folder}" if latest else f"{folder} has no state from before it"
        return PoseGANError(f"train: the run has diverged: {what}; lower train.learning_rate or set train.precision to float32 ({good})")

    def _parts(self) -> dict[str, nn.Module | Optimizer]:
        return {
            "generator": self.generator,
            "ema": self.ema,
            "discriminator": self.discriminator,
            "generator_optimiser": self.generator_optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
        }

    def _state(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        record = {"step": self.step, "history": [[step, values] for step, values in self.history], "means": self._means.state()}
        return {**parts, **record, "best": None if self.best is None else self.best._asdict()}

    def _restore(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step = state["step"]
        self.history = [(step, values) for step, values in state["history"]]
        self.best = None if state["best"] is None else Best(**state["best"])
        self._means.restore(state["means"], self.device)


def _seed(*numbers: int) -> int:
    """A 64-bit seed that is a function of the numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:8])


def _floats(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of floats in a nest of dicts, with its place there, as `generator, decoder.last.bias`."""
    if isinstance(value, Tensor) and value.is_floating_point():
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _floats(part, f"{name}, {key}" if name else str(key))
