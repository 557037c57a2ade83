"""The deformable skip against the paper's formulation: one dense warp a part, then a maximum.

    python benchmarks/warp.py [--batch 16] [--channels 64] [--height 128] [--width 64] [--level 0] [--device cpu]

Prints the median times of forward and backward, their ratio and the peak memory of both, on poses of standing
people. Both run in this process, turn by turn, so that a busy machine slows them alike.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from posegan.geometry import part_affines, part_masks
from posegan.warp import warp_features

# A person who faces the camera, x and y as shares of the image, in the order of posegan.skeleton.
STANDING = (
    (0.50, 0.11), (0.50, 0.20), (0.34, 0.22), (0.28, 0.33), (0.25, 0.44), (0.66, 0.22), (0.72, 0.33), (0.75, 0.44), (0.41, 0.48),
    (0.39, 0.69), (0.38, 0.89), (0.59, 0.48), (0.61, 0.69), (0.62, 0.89), (0.47, 0.09), (0.53, 0.09), (0.42, 0.10), (0.58, 0.10),
)  # fmt: skip


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
    size = torch.tensor([width, height])
    points = (torch.tensor(STANDING) + 0.03 * torch.randn(2, batch, len(STANDING), 2)) * size
    source, target = torch.cat((points, torch.ones(2, batch, len(STANDING), 1)), dim=3).to(device)
    shape = batch, channels, height >> level, width >> level
    features = torch.randn(shape, device=device, requires_grad=True)
    offsets = torch.zeros(batch, 2, *shape[2:], device=device, requires_grad=True)
    return Scene(features, offsets, *part_affines(source, target), part_masks(target, height, width), torch.randn(shape, device=device))


def dense_warp(scene: Scene) -> Tensor:
    """Each part warps the whole map; times its mask; the maximum over the parts."""
    height, width = scene.features.shape[2:]
    size = scene.features.new_tensor([scene.masks.shape[3], scene.masks.shape[2]])
    to_pixels = torch.diag(size / 2), (size - 1) / 2  # of the coordinates [-1, 1] in which grid_sample thinks
    small = F.adaptive_max_pool2d(scene.masks.float(), (height, width)) * scene.valid[:, :, None, None]
    best = None
    for part in range(scene.masks.shape[1]):
        linear, shift = scene.affines[:, part, :, :2], scene.affines[:, part, :, 2]
        theta = torch.linalg.inv(to_pixels[0]) @ torch.cat(
            (linear @ to_pixels[0], (linear @ to_pixels[1] + shift - to_pixels[1])[..., None]), 2
        )
        grid = F.affine_grid(theta, list(scene.features.shape), align_corners=False)
        grid = grid + torch.einsum("bij,bjhw->bhwi", linear, scene.offsets) * 2 / size
        warped = F.grid_sample(scene.features, grid, align_corners=False) * small[:, part, None]
        best = warped if best is None else torch.maximum(best, warped)
    assert best is not None
    return best


def sparse_warp(scene: Scene) -> Tensor:
    """Ours."""
    return warp_features(scene.features, scene.affines, scene.valid, scene.masks, scene.offsets)


METHODS: dict[str, Callable[[Scene], Tensor]] = {"dense": dense_warp, "ours": sparse_warp}


def step(method: str, scene: Scene) -> float:
    """Seconds of one forward and backward."""
    start = time.perf_counter()
    torch.autograd.grad(METHODS[method](scene), (scene.features, scene.offsets), scene.gradient)
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


def peak_resident_megabytes() -> float:
    """Of this process so far. (getrusage would count the parent's too, which a child starts with; Linux only.)"""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.split("VmHWM:")[1].split()[0]) / 1e3


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
    scene = draw_scene(*scene_arguments(arguments))
    if arguments.memory_of:
        before = peak_resident_megabytes()
        step(arguments.memory_of, scene)
        print(peak_resident_megabytes() - before)
        return
    difference = (dense_warp(scene) - sparse_warp(scene)).abs().max().item()
    for method in METHODS:
        step(method, scene)  # warm up
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(arguments.repeats):
        for method in METHODS:
            times[method].append(step(method, scene))
    medians = {method: statistics.median(seconds) for method, seconds in times.items()}
    device = torch.cuda.get_device_name() if scene.features.is_cuda else platform.processor() or platform.machine()
    cover = (scene.masks & scene.valid[:, :, None, None]).sum().item() / scene.masks[:, 0].numel()
    print(f"{device}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    print(f"features {tuple(scene.features.shape)}, {cover:.2f} parts cover a pixel, largest difference {difference:.1e}")
    for method in METHODS:
        print(f"{method:>6}: {medians[method] * 1e3:8.1f} ms forward + backward, {peak_megabytes(method, arguments):7.0f} MB at its peak")
    print(f" ratio: {medians['dense'] / medians['ours']:8.1f}")


if __name__ == "__main__":
    main()
