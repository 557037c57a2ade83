"""One training iteration: ours against a plain formulation of how earlier code schedules and computes it.

    python benchmarks/step.py --width 64 --batch 4 --batch 16 --batch 64 [--recipe full] [--variant plain] [--variant ours] [--device cuda]

All train the same networks with the same losses on the same batch, in turns in one process under
the same allocator, so that the ratios mean something on a busy machine. Each batch size has a process of its own, gone
before the next one's; before it holds anything, each contestant trains alone in another, where its peak memory is taken
and its work counted. The plain step runs the generator anew for each update, lets the discriminator's gradient flow on
into the generator, warps the whole map once a part, stacks n x n shifted copies for the nearest-neighbour loss, computes
the losses sample by sample, and is always in float32 with PyTorch's default optimiser.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import click
import torch
from machine import processor, resident_peak_megabytes
from plain import plain_discriminator, plain_nearest_neighbour, plain_warp, standing_people
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from posegan.config import Params, load_params
from posegan.data import to_float
from posegan.device import choose_device, keep_freed_memory
from posegan.model.networks import Discriminator, Generator, GeneratorOutput, Judgement
from posegan.training.losses import GeneratorLoss, discriminator_loss
from posegan.training.updates import Pair, begin_step, compile_networks, fused_adam, placed, update_discriminator, update_generator


class Variant(NamedTuple):
    """How a contestant computes."""

    plain: bool = False
    bfloat16: bool = False
    channels_last: bool = False
    compile: str = "none"
    penalty: float = 0.0  # the weight of the discriminator's slope, loss.gradient_penalty


VARIANTS = {
    "plain": Variant(plain=True),
    "ours": Variant(),
    "channels-last": Variant(channels_last=True),
    "bfloat16": Variant(bfloat16=True),
    "bfloat16-channels-last": Variant(bfloat16=True, channels_last=True),
    "compiled": Variant(bfloat16=True, channels_last=True, compile="default"),
    "graphs": Variant(bfloat16=True, channels_last=True, compile="reduce-overhead"),
    "penalty": Variant(penalty=0.02),
}


def make_pair(batch: int, device: torch.device) -> Pair:
    """Random images and two jittered poses a pair."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, batch, 3, 128, 64), generator=generator, dtype=torch.uint8)
    source, target = (keypoints.to(device) for keypoints in standing_people(batch, 128, 64))
    return Pair(to_float(images[0].to(device)), source, to_float(images[1].to(device)), target)


class Players:
    """Networks, optimisers and losses of one contestant; all start from the same weights."""

    def __init__(self, params: Params, variant: Variant, device: torch.device) -> None:
        torch.manual_seed(0)
        self.variant, self.device = variant, device
        self.generator = placed(Generator(params.model, params.image), device, variant.channels_last)
        self.discriminator = placed(Discriminator(params.model), device, variant.channels_last)
        self.losses = GeneratorLoss(params.loss, params.features).to(device)
        optimiser: Callable[[torch.nn.Module], torch.optim.Adam] = lambda network: (  # noqa: E731
            torch.optim.Adam(network.parameters(), 2e-4) if variant.plain else fused_adam(network, 2e-4, (0.5, 0.999))
        )
        self.generator_optimiser, self.discriminator_optimiser = optimiser(self.generator), optimiser(self.discriminator)
        if variant.compile != "none":
            compile_networks(self.generator, self.discriminator, self.losses, variant.compile)

    def step(self, pair: Pair) -> Tensor:
        """One iteration; returns the generator's loss."""
        if self.variant.plain:
            return plain_step(self, pair)
        if self.variant.compile != "none":
            begin_step()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.variant.bfloat16):
            return our_step(self, pair)


def our_step(players: Players, pair: Pair) -> Tensor:
    """The iteration of posegan.training.loop."""
    output = players.generator(pair.source, pair.source_keypoints, pair.target_keypoints)
    update_discriminator(players.discriminator, players.discriminator_optimiser, [pair], [output.image], players.variant.penalty)
    terms = update_generator(players.discriminator, players.generator_optimiser, players.losses, [pair], [output])
    return torch.stack(list(terms.values())).sum()


def plain_step(players: Players, pair: Pair) -> Tensor:
    """The reference's schedule and formulations."""
    discriminator, rest = players.discriminator, (pair.source, pair.source_keypoints)
    with ExitStack() as stack:
        stack.enter_context(patch("posegan.model.networks.warp_features", plain_warp))
        stack.enter_context(patch("posegan.training.losses.nearest_neighbour_loss", plain_nearest_neighbour))
        image = players.generator(*rest, pair.target_keypoints).image
        real = plain_discriminator(discriminator, pair, pair.target)
        players.discriminator_optimiser.zero_grad()
        discriminator_loss(real, plain_discriminator(discriminator, pair, image)).backward()
        players.discriminator_optimiser.step()
        output = players.generator(*rest, pair.target_keypoints)
        fake, real = plain_discriminator(discriminator, pair, output.image), plain_discriminator(discriminator, pair, pair.target)
        parts = []
        for row in range(len(pair.source)):
            mine = slice(row, row + 1)
            judged = (Judgement(*(tuple(value[mine] for value in values) for values in judgement)) for judgement in (fake, real))
            drawn = GeneratorOutput(output.image[mine], tuple(offset[mine] for offset in output.offsets))
            parts.append(torch.stack(list(players.losses(drawn, pair.target[mine], pair.target_keypoints[mine], *judged).values())).sum())
        loss = torch.stack(parts).mean()
        players.generator_optimiser.zero_grad()
        loss.backward()
        players.generator_optimiser.step()
    return loss.detach()


def timed(step: Callable[[], Tensor], device: torch.device) -> float:
    """Seconds of one step, with what it left running on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    step().item()  # waits for the device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


class Alone(NamedTuple):
    """What a contestant needs, measured where there is no other."""

    megabytes: float  # at the peak of two steps: networks and optimisers included, imports not
    gigaflops: float  # of one step, a multiplication and an addition counted as two; convolutions and matrix products only; 0: compiled


def measure_alone(name: str, params: Params, batch: int, device: torch.device) -> Alone:
    """Let one contestant train in this process, which holds nothing else. (Memory on a CPU: Linux only.)"""
    before = resident_peak_megabytes() if device.type == "cpu" else 0.0
    players, pair = Players(params, VARIANTS[name], device), make_pair(batch, device)
    for _ in range(2):
        players.step(pair)
    megabytes = resident_peak_megabytes() - before if device.type == "cpu" else torch.cuda.max_memory_allocated(device) / 1e6
    if players.variant.compile != "none":
        return Alone(megabytes, 0.0)
    with FlopCounterMode(display=False) as counter:
        players.step(pair)
    return Alone(megabytes, counter.get_total_flops() / 1e9)


def where_time_goes(players: Players, pair: Pair, device: torch.device) -> str:
    """The operators that take the most of a step."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])], acc_events=True) as record:
        players.step(pair)
    return record.key_averages().table(sort_by=f"self_{'cuda' if cuda else 'cpu'}_time_total", row_limit=15, max_name_column_width=60)


@click.command()
@click.option(
    "--params", "path", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True, help="Recipes and the rest."
)
@click.option("--recipe", default="full", show_default=True, help="Whose networks and losses.")
@click.option("--width", default=64, show_default=True, help="Channels of both networks' first level; 64 is the paper's.")
@click.option(
    "--batch", "batches", multiple=True, type=int, default=(4, 16), show_default=True, help="Pairs a batch; several times for several."
)
@click.option(
    "--variant", "names", multiple=True, type=click.Choice([*VARIANTS]), default=("plain", "ours"), show_default=True, help="Who competes."
)
@click.option("--device", "device_name", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N.")
@click.option("--repeats", default=5, show_default=True, help="Timed steps of each.")
@click.option("--warmup", default=1, show_default=True, help="Steps before; compiled networks need about 5.")
@click.option(
    "--peak", default=0.0, help="TFLOP/s that the hardware can do (H100 SXM in bfloat16, dense: 989), to print the share reached."
)
@click.option("--profile", "profiled", is_flag=True, help="Print the operators in which the last variant spends its time.")
@click.option("--at", type=int, hidden=True, help="Of the batch sizes this one, in this process.")
@click.option("--alone", type=click.Choice([*VARIANTS]), hidden=True, help="Of that, this contestant's memory and work.")
def main(
    path: Path, recipe: str, width: int, batches: tuple[int, ...], names: tuple[str, ...], device_name: str, repeats: int, warmup: int,
    peak: float, profiled: bool, at: int | None, alone: str | None,
) -> None:  # fmt: skip
    """Time all contestants in turns; print medians, ratios to the first, images/s, memory and work done a second."""
    keep_freed_memory()
    device, params = choose_device(device_name), load_params(path)
    if recipe not in params.recipes:
        raise click.UsageError(f"--recipe: expected one of {', '.join(params.recipes)}, got {recipe}")
    own = {"combine": "max", "stacked_steps": 1, "generator_channels": width, "discriminator_channels": width}
    model = params.recipes[recipe].model.model_dump() | own
    losses = params.loss.model_copy(update=params.recipes[recipe].loss.model_dump())
    params = params.model_copy(update={"model": params.model.model_copy(update=model), "loss": losses})
    if at is None:
        click.echo(f"{processor(device)}, PyTorch {torch.__version__}; recipe {recipe}, width {width}, medians of {repeats}")
        for batch in batches:
            again("--at", batch)
    elif alone:
        click.echo(json.dumps(measure_alone(alone, params, at, device)))
    else:
        needs = {name: Alone(*json.loads(again("--at", at, "--alone", name, shown=False).splitlines()[-1])) for name in names}
        contest, pair = {name: Players(params, VARIANTS[name], device) for name in names}, make_pair(at, device)
        losses = {name: players.step(pair).item() for name, players in contest.items()}
        medians = take_turns(contest, pair, device, repeats, max(warmup - 1, 0))
        report(at, needs, medians, losses, peak)
        fixed = fixed_megabytes(contest[names[0]])
        click.echo(f"Of the memory, both networks' weights and Adam's two moments are {fixed:.0f} MB in any schedule.")
        if profiled:
            click.echo(where_time_goes(contest[names[-1]], pair, device))


def again(*arguments: object, shown: bool = True) -> str:
    """Run this command once more with further arguments; its output, unless it is `shown` on the terminal."""
    command = [sys.executable, *sys.argv, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=None if shown else subprocess.PIPE, text=True).stdout or ""


def take_turns(contest: Mapping[str, Players], pair: Pair, device: torch.device, repeats: int, warmup: int) -> dict[str, float]:
    """The median seconds of each contestant's step, after `warmup` steps each."""
    seconds: dict[str, list[float]] = {name: [] for name in contest}
    for _ in range(warmup + repeats):
        for name, players in contest.items():
            seconds[name].append(timed(partial(players.step, pair), device))
    return {name: statistics.median(times[warmup:]) for name, times in seconds.items()}


def fixed_megabytes(players: Players) -> float:
    """The weights of both networks three times over: themselves and Adam's two moments."""
    weights = (weight for network in (players.generator, players.discriminator) for weight in network.parameters())
    return 3 * sum(weight.numel() * weight.element_size() for weight in weights) / 1e6


def report(batch: int, needs: Mapping[str, Alone], medians: Mapping[str, float], losses: Mapping[str, float], peak: float) -> None:
    """Print a row a contestant; ratios are the first one's number over this one's."""
    first, *_ = medians
    known = [alone.gigaflops for alone in needs.values() if alone.gigaflops]
    click.echo(f"batch {batch}:    ms a step  images/s  {first} / it  MB at peak  {first} / it  GFLOP a pair  TFLOP/s  loss at first")
    for name, median in medians.items():
        work = needs[name].gigaflops or min(known, default=0.0)
        rate = work / median / 1e3
        share = f" ({rate / peak:.0%} of {peak:g})" if peak else ""
        time_columns = f"{1e3 * median:9.1f} {batch / median:9.1f} {medians[first] / median:11.2f}"
        memory_columns = f"{needs[name].megabytes:11.0f} {needs[first].megabytes / needs[name].megabytes:11.2f}"
        click.echo(f"{name:>22} {time_columns} {memory_columns} {work / batch:13.1f} {rate:8.2f}{share} {losses[name]:.5f}")


if __name__ == "__main__":
    main()
