"""SSIM and mask-SSIM of batches against the usual loop: one call of scikit-image an image.

    python benchmarks/metrics.py [--images 512] [--height 128] [--width 64] [--repeats 5] [--threads N]

Prints the median times, their ratios and the largest difference of a score. Both run in this process, turn by turn, so that a
busy machine slows them alike. The loop makes its masks image by image too, by their definition.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from skimage.metrics import structural_similarity
from skimage.morphology import closing
from torch import Tensor
from warp import STANDING

from posegan.metrics.pose_masks import MASK_CLOSING, MASK_RADIUS, masked, pose_masks
from posegan.metrics.similarity import ssim
from posegan.skeleton import MASK_PAIRS

Scores = npt.NDArray[np.float64]


class Scene(NamedTuple):
    """Generated and real images `(N, 3, H, W)`, uint8, and target poses `(N, 18, 3)`."""

    images: Tensor
    targets: Tensor
    keypoints: Tensor


def draw_scene(count: int, height: int, width: int) -> Scene:
    """Blocks with noise, and random variations of a standing pose with a tenth of the joints missing."""
    generator = torch.Generator().manual_seed(0)

    def pictures() -> Tensor:
        blocks = torch.rand(count, 3, height // 8, width // 8, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
        noise = torch.rand(count, 3, height, width, generator=generator)
        return ((0.7 * blocks + 0.3 * noise) * 255).round().to(torch.uint8)

    points = torch.tensor(STANDING) + 0.03 * torch.randn(count, len(STANDING), 2, generator=generator)
    seen = torch.rand(count, len(STANDING), 1, generator=generator) > 0.1
    keypoints = torch.cat([points * torch.tensor([width, height]), seen.float()], dim=2)
    return Scene(pictures(), pictures(), keypoints)


def loop_ssim(scene: Scene) -> Scores:
    """scikit-image, image by image."""
    pairs = zip(*(batch.permute(0, 2, 3, 1).numpy() for batch in scene[:2]), strict=True)
    return np.array([one_ssim(image, target) for image, target in pairs])


def loop_mask_ssim(scene: Scene) -> Scores:
    """scikit-image, image by image, masks included."""
    scores = []
    for image, target, joints in zip(*(batch.permute(0, 2, 3, 1).numpy() for batch in scene[:2]), scene.keypoints.numpy(), strict=True):
        mask = one_mask(joints, *image.shape[:2])[..., None]
        scores.append(one_ssim(image * mask, target * mask))
    return np.array(scores)


def one_ssim(image: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8]) -> float:
    """With the settings of the field."""
    return float(
        structural_similarity(image, target, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2)
    )


def one_mask(joints: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.uint8]:
    """A mask by its definition, limb by limb and joint by joint in NumPy, closed by scikit-image."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    mask = np.zeros((height, width), bool)
    for first, second in MASK_PAIRS:
        (start_x, start_y), (along_x, along_y) = joints[first, :2].astype(float), (joints[second] - joints[first])[:2].astype(float)
        length = np.hypot(along_x, along_y)
        if joints[first, 2] and joints[second, 2] and length:
            progress = ((x - start_x) * along_x + (y - start_y) * along_y) / length
            aside = ((x - start_x) * along_y - (y - start_y) * along_x) / length
            mask |= (progress >= 0) & (progress <= length) & (np.abs(aside) <= MASK_RADIUS)
    for joint_x, joint_y, seen in joints:
        if seen:
            mask |= (x - joint_x) ** 2 + (y - joint_y) ** 2 <= MASK_RADIUS**2
    filled: npt.NDArray[np.uint8] = closing(mask.astype(np.uint8), np.ones((MASK_CLOSING, MASK_CLOSING), np.uint8))
    return filled


def batch_ssim(scene: Scene) -> Scores:
    """Ours."""
    return ssim(scene.images, scene.targets).numpy()


def batch_mask_ssim(scene: Scene) -> Scores:
    """Ours, masks included."""
    masks = pose_masks(scene.keypoints, *scene.images.shape[-2:])
    return ssim(masked(scene.images, masks), masked(scene.targets, masks)).numpy()


METHODS: dict[str, tuple[Callable[[Scene], Scores], Callable[[Scene], Scores]]] = {
    "SSIM": (loop_ssim, batch_ssim),
    "mask-SSIM": (loop_mask_ssim, batch_mask_ssim),
}


def seconds_of(method: Callable[[Scene], Scores], scene: Scene) -> float:
    """Seconds of one pass over the scene."""
    start = time.perf_counter()
    method(scene)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 512), ("height", 128), ("width", 64), ("repeats", 5), ("threads", os.cpu_count() or 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    scene = draw_scene(arguments.images, arguments.height, arguments.width)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, {arguments.threads} threads, PyTorch {torch.__version__}")
    print(f"{arguments.images} pairs of {arguments.height} x {arguments.width}, median of {arguments.repeats}")
    for name, (loop, batch) in METHODS.items():
        difference = np.abs(loop(scene) - batch(scene))
        times: dict[str, list[float]] = {"loop": [], "batch": []}
        for _ in range(arguments.repeats):
            times["loop"].append(seconds_of(loop, scene))
            times["batch"].append(seconds_of(batch, scene))
        looped, batched = (statistics.median(seconds) / arguments.images * 1e3 for seconds in times.values())
        print(
            f"{name:>9}: loop {looped:.3f} ms/image, batch {batched:.3f} ms/image, {looped / batched:.1f} times as fast, "
            f"scores differ by {difference.max():.1e} at most, {difference.mean():.1e} on average"
        )


if __name__ == "__main__":
    main()
