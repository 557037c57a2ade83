"""The nearest-neighbour loss: ours, which keeps a running minimum, against a stack of n x n shifted copies.

    python benchmarks/losses.py [--batch 4] [--channels 64] [--height 128] [--width 64] [--window 3 --window 5] [--device cuda]

Prints the median times of forward and backward, their ratio, and the peak memory above the two feature maps' own, each
measured in a process that does nothing else. Both run in this process, turn by turn, so that a busy machine slows them alike.
"""

import statistics
import subprocess
import sys
import time

import click
import torch
from machine import processor, resident_peak_megabytes
from plain import plain_nearest_neighbour
from torch import Tensor

from posegan.device import choose_device, keep_freed_memory
from posegan.training.losses import nearest_neighbour_loss

METHODS = {"stacked": plain_nearest_neighbour, "ours": nearest_neighbour_loss}


def draw_maps(shape: tuple[int, int, int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Two feature maps `(B, C, H, W)` as after a ReLU; the first takes a gradient."""
    generator = torch.Generator(device).manual_seed(0)
    maps = [
        torch.empty(shape, device=device).normal_(generator=generator).relu_() for _ in range(2)
    ]  # in place: nothing freed to use again
    return maps[0].requires_grad_(), maps[1]


def step(method: str, maps: tuple[Tensor, Tensor], window: int) -> float:
    """Seconds of one forward and backward."""
    start = time.perf_counter()
    torch.autograd.grad(METHODS[method](*maps, window), maps[0])
    if maps[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_megabytes(method: str, maps: tuple[Tensor, Tensor], window: int) -> float:
    """Of one step, above what is there before it. (On a CPU: Linux only.)"""
    if maps[0].is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(method, maps, window)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    step("ours", (maps[0][:, :, :1, :1].detach().requires_grad_(), maps[1][:, :, :1, :1]), 1)  # what the first backward loads
    before = resident_peak_megabytes()
    step(method, maps, window)
    return resident_peak_megabytes() - before


@click.command()
@click.option("--batch", default=4, show_default=True)
@click.option("--channels", default=64, show_default=True, help="64: relu1_2 of VGG-19.")
@click.option("--height", default=128, show_default=True)
@click.option("--width", default=64, show_default=True)
@click.option(
    "--window", "windows", multiple=True, default=(3, 5), show_default=True, help="The paper's 3 (Market-1501) and 5 (DeepFashion)."
)
@click.option("--repeats", default=9, show_default=True)
@click.option("--device", "device_name", default="auto", show_default=True)
@click.option("--memory-of", type=click.Choice([*METHODS]), hidden=True)
def main(
    batch: int, channels: int, height: int, width: int, windows: tuple[int, ...], repeats: int, device_name: str, memory_of: str | None
) -> None:
    """Measure and print."""
    keep_freed_memory()
    device = choose_device(device_name)
    maps = draw_maps((batch, channels, height, width), device)
    if memory_of:
        click.echo(peak_megabytes(memory_of, maps, windows[-1]))
        return
    click.echo(f"{processor(device)}, PyTorch {torch.__version__}; maps {tuple(maps[0].shape)}, medians of {repeats}")
    for window in windows:
        apart = (METHODS["stacked"](*maps, window) - METHODS["ours"](*maps, window)).abs().item()
        times: dict[str, list[float]] = {method: [] for method in METHODS}
        for turn in range(repeats + 1):
            for method in METHODS:
                seconds = step(method, maps, window)
                if turn > 0:  # the first warms up
                    times[method].append(seconds)
        medians = {method: statistics.median(each) for method, each in times.items()}
        memory = {}
        for method in METHODS:
            command = [sys.executable, *sys.argv, "--window", str(window), "--memory-of", method]
            memory[method] = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        for method in METHODS:
            click.echo(
                f"window {window}, {method:>7}: {1e3 * medians[method]:8.1f} ms forward + backward, {memory[method]:6.0f} MB at its peak"
            )
        ratios = medians["stacked"] / medians["ours"], memory["stacked"] / memory["ours"]
        click.echo(f"window {window},  ratios: {ratios[0]:8.1f} in time, {ratios[1]:.1f} in memory; losses {apart:.1e} apart")


if __name__ == "__main__":
    main()
