"""The deformable skip against the paper's formulation: one dense warp a part, then a maximum.

    python benchmarks/warp.py [--batch 16] [--channels 64] [--height 128] [--width 64] [--level 0] [--device cpu]

Prints the median times of forward and backward, their ratio and the peak memory of both, on poses of standing
people. Both run in this process, turn by turn, so that a busy machine slows them alike.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from machine import processor, resident_peak_megabytes
from plain import plain_warp, standing_people
from torch import Tensor

from posegan.device import keep_freed_memory
from posegan.model.geometry import part_affines, part_masks
from posegan.model.warp import warp_features


class Scene(NamedTuple):
    """Features `(B, C, h, w)`, offsets `(B, 2, h, w)`, affines, validity, masks and the output's gradient."""

    features: Tensor
    offsets: Tensor
    affines: Tensor
    valid: Tensor
    masks: Tensor
    gradient: Tensor


def draw_scene(batch: int, channels: int, height: int, width: int, level: int, device: torch.device) -> Scene:
    """Random features and random variations of a standing pose."""
    torch.manual_seed(0)
    source, target = (keypoints.to(device) for keypoints in standing_people(batch, height, width))
    shape = batch, channels, height >> level, width >> level
    features = torch.randn(shape, device=device, requires_grad=True)
    offsets = torch.zeros(batch, 2, *shape[2:], device=device, requires_grad=True)
    return Scene(features, offsets, *part_affines(source, target), part_masks(target, height, width), torch.randn(shape, device=device))


METHODS: dict[str, Callable[..., Tensor]] = {"dense": plain_warp, "ours": warp_features}


def moved(method: str, scene: Scene) -> Tensor:
    """The scene's features where the target pose has them."""
    return METHODS[method](scene.features, scene.affines, scene.valid, scene.masks, scene.offsets)


def step(method: str, scene: Scene) -> float:
    """Seconds of one forward and backward."""
    start = time.perf_counter()
    torch.autograd.grad(moved(method, scene), (scene.features, scene.offsets), scene.gradient)
    if scene.features.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_megabytes(method: str, arguments: argparse.Namespace) -> float:
    """Peak memory above the scene's own; on the CPU measured in a process of its own."""
    if arguments.device != "cpu":
        scene = draw_scene(*scene_arguments(arguments))
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(method, scene)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", method]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def scene_arguments(arguments: argparse.Namespace) -> tuple[int, int, int, int, int, torch.device]:
    """Arguments of `draw_scene`."""
    device = torch.device(arguments.device)
    return arguments.batch, arguments.channels, arguments.height, arguments.width, arguments.level, device


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 16), ("channels", 64), ("height", 128), ("width", 64), ("level", 0), ("repeats", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory-of", choices=METHODS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    keep_freed_memory()
    scene = draw_scene(*scene_arguments(arguments))
    if arguments.memory_of:
        before = resident_peak_megabytes()
        step(arguments.memory_of, scene)
        print(resident_peak_megabytes() - before)
        return
    difference = (moved("dense", scene) - moved("ours", scene)).abs().max().item()
    for method in METHODS:
        step(method, scene)  # warm up
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(arguments.repeats):
        for method in METHODS:
            times[method].append(step(method, scene))
    medians = {method: statistics.median(seconds) for method, seconds in times.items()}
    cover = (scene.masks & scene.valid[:, :, None, None]).sum().item() / scene.masks[:, 0].numel()
    print(f"{processor(scene.features.device)}, PyTorch {torch.__version__}")
    print(f"features {tuple(scene.features.shape)}, {cover:.2f} parts cover a pixel, largest difference {difference:.1e}")
    for method in METHODS:
        print(f"{method:>6}: {medians[method] * 1e3:8.1f} ms forward + backward, {peak_megabytes(method, arguments):7.0f} MB at its peak")
    print(f" ratio: {medians['dense'] / medians['ours']:8.1f}")


if __name__ == "__main__":
    main()
