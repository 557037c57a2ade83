"""How near a generated image comes to the real one, pixel by pixel, as functions of image batches.

Legend: B images, H, W height and width in pixels. Images are uint8 `(B, 3, H, W)` RGB, as they are saved; every score is one
float64 number per image, `(B,)`, so that means and spreads are the caller's choice. Nothing here needs weights.
docs/metrics.md has the definitions and their sources side by side.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

SSIM_WINDOW = 11  # pixels: 3.5 sigma to each side
SSIM_SIGMA = 1.5  # pixels
_BORDER = SSIM_WINDOW // 2
WIDE_WINDOW = 51  # pixels, of `ssim_51`
_CHUNK = 4  # images whose maps fit a core's cache
_GREY = np.float32(127.5)  # taken off before squaring, so that float32 keeps the variances' digits

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Terms = tuple[Floats, Floats, Floats, Floats]  # the means' product, covariance, squared means' sum, variances' sum


class SSIM(NamedTuple):
    """Structural similarity by two data ranges, `(B,)` each."""

    standard: Tensor  # 255
    paper: Tensor  # largest minus smallest value of the generated image


def l1(images: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference per image, in 0 .. 1 (0: identical, 1: black against white)."""
    _check_images(images, targets)
    differences = torch.maximum(images, targets) - torch.minimum(images, targets)  # exact, in an eighth of float64's memory
    return differences.sum(dim=(1, 2, 3), dtype=torch.int64).double() / (255 * images.shape[1:].numel())


def mask_l1(images: Tensor, targets: Tensor, masks: Tensor) -> Tensor:
    """Mean absolute difference per image over the pixels of its mask `(B, 1, H, W)`, in 0 .. 1; NaN where the mask is empty."""
    _check_images(images, targets)
    differences = torch.maximum(images, targets) - torch.minimum(images, targets)
    pixels = masks.sum(dim=(1, 2, 3)).double()
    return (differences * masks).sum(dim=(1, 2, 3), dtype=torch.int64).double() / (255 * images.shape[1] * pixels)


def psnr(images: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image in dB, peak 255; infinite for identical images."""
    _check_images(images, targets)
    return peak_signal_noise_ratio(images.double(), targets.double(), data_range=255.0, reduction="none", dim=(1, 2, 3))


def ssim(images: Tensor, targets: Tensor) -> Tensor:
    """Structural similarity per image in -1 .. 1 (Wang et al., 2004), mean over pixels and colours.

    Gaussian window of sigma 1.5 (11 x 11 pixels), population covariance, data range 255; the
    5 pixels at each border, where the window would leave the image, do not count. This is
    scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=255)`.
    """
    return _over_chunks(images, targets, partial(_score_chunk, paper=False))[0]


def both_ssims(images: Tensor, targets: Tensor) -> SSIM:
    """`ssim`, and the number that the Deformable GAN's own code prints, from the same windows.

    There the data range is that of each generated image, so that pale images score differently; NaN where that image is
    of one value. `images` are the generated ones: this variant is not symmetric.
    """
    return SSIM(*_over_chunks(images, targets, partial(_score_chunk, paper=True)))


def ssim_51(images: Tensor, targets: Tensor) -> Tensor:
    """Structural similarity per image in -1 .. 1 as GFLA's code takes it (Ren et al., 2020), and the work after it.

    Uniform window of 51 x 51 pixels, sample covariance, data range 255 (there 1, of images in 0 .. 1); the 25 pixels at each
    border do not count; NaN for images that such a window does not fit into. This is scikit-image's
    `structural_similarity(win_size=51, data_range=255)`.
    """
    if min(images.shape[-2:]) < WIDE_WINDOW:
        return torch.full((len(images),), torch.nan, dtype=torch.float64, device=images.device)
    return _over_chunks(images, targets, _score_wide_chunk)[0]


def _over_chunks(images: Tensor, targets: Tensor, score: Callable[[list[Tensor]], list[Scores]]) -> list[Tensor]:
    _check_images(images, targets)
    if min(images.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(f"images: SSIM needs at least 11 x 11 pixels, got {tuple(images.shape[-2:])}")
    chunks = [list(part) for part in zip(*(torch.split(batch.cpu(), _CHUNK) for batch in (images, targets)), strict=True)]
    if (threads := min(torch.get_num_threads(), len(chunks))) > 1:  # NumPy and OpenCV let go of the interpreter
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(score, chunks))
    else:
        parts = [score(chunk) for chunk in chunks]
    return [torch.from_numpy(np.concatenate(column)).to(images.device) for column in zip(*parts, strict=True)]


def _score_chunk(chunk: list[Tensor], paper: bool) -> list[Scores]:
    """SSIM `(b,)` of b images and targets by the standard range and, if asked for, by the paper's."""
    images, targets = (part.numpy().astype(np.float32) - _GREY for part in chunk)
    terms = _terms(images, targets, _gaussian_means)
    ranges = [np.full(len(images), 255, np.float32)]
    if paper:
        flat = images.reshape(len(images), -1)
        ranges.append(flat.max(axis=1) - flat.min(axis=1))
    return [_mean_similarity(terms, data_range, _BORDER) for data_range in ranges]


def _score_wide_chunk(chunk: list[Tensor]) -> list[Scores]:
    """`ssim_51` `(b,)` of b images and targets."""
    images, targets = (part.numpy().astype(np.float32) - _GREY for part in chunk)
    means, covariance, squares, variances = _terms(images, targets, _uniform_means)
    sample = np.float32(WIDE_WINDOW**2 / (WIDE_WINDOW**2 - 1))  # unbiased estimates
    terms = means, sample * covariance, squares, sample * variances
    return [_mean_similarity(terms, np.full(len(images), 255, np.float32), WIDE_WINDOW // 2)]


def _terms(images: Floats, targets: Floats, window_means: Callable[[Floats], Floats]) -> Terms:
    """What SSIM is made of around each pixel, from images and targets of which `_GREY` was taken off."""
    # Window means of x, y, x^2 + y^2 and xy: the two variances appear in SSIM only as their sum.
    maps = np.stack([images, targets, images * images + targets * targets, images * targets])  # (4, b, 3, H, W)
    mean_x, mean_y, squares, products = window_means(maps)
    mean_square, mean_product = mean_x * mean_x + mean_y * mean_y, mean_x * mean_y
    squares -= mean_square  # the sum of the variances
    products -= mean_product  # the covariance
    shift = _GREY * (mean_x + mean_y)  # back to the true means
    return mean_product + (shift + _GREY**2), products, mean_square + 2 * (shift + _GREY**2), squares


def _mean_similarity(terms: Terms, data_range: Floats, border: int) -> Scores:
    """Mean of the SSIM map over all windows inside the image, `border` pixels off its edges; `data_range` is `(b,)`."""
    c1, c2 = (np.square(constant * data_range)[:, None, None, None] for constant in (np.float32(0.01), np.float32(0.03)))
    product, covariance, squares, variances = terms
    similarity = (product + c1 / 2) * (covariance + c2 / 2)
    with np.errstate(invalid="ignore", divide="ignore"):  # where the range is 0
        similarity /= (squares + c1) * ((variances + c2) / 4)
    inside = similarity[..., border:-border, border:-border]
    return np.where(data_range > 0, inside.mean(axis=(1, 2, 3), dtype=np.float64), np.nan)


def _gaussian_means(maps: Floats) -> Floats:
    """Gaussian means of maps `(..., H, W)` around each pixel; those nearer than 5 px to a border are not meant to be read."""
    weights = np.exp(-np.square(np.arange(SSIM_WINDOW) - _BORDER) / (2 * SSIM_SIGMA**2))
    kernel = (weights / weights.sum()).astype(np.float32)
    # All maps in one tall picture: where one meets the next, only border pixels see both.
    blurred: Any = cv2.sepFilter2D(maps.reshape(-1, maps.shape[-1]), -1, kernel, kernel)
    result: Floats = blurred.reshape(maps.shape)
    return result


def _uniform_means(maps: Floats) -> Floats:
    """Means of maps `(..., H, W)` over the 51 x 51 pixels around each; those nearer than 25 px to a border are not meant to be read."""
    sums: Any = cv2.boxFilter(maps.reshape(-1, maps.shape[-1]), cv2.CV_64F, (WIDE_WINDOW, WIDE_WINDOW))
    result: Floats = sums.reshape(maps.shape).astype(np.float32)
    return result


def _check_images(images: Tensor, targets: Tensor) -> None:
    if images.shape != targets.shape or images.dim() != 4:
        raise ValueError(f"images: expected two batches of one shape (B, 3, H, W), got {tuple(images.shape)} and {tuple(targets.shape)}")
    if images.dtype != torch.uint8 or targets.dtype != torch.uint8:
        raise ValueError(f"images: expected uint8 in 0 .. 255, got {images.dtype} and {targets.dtype}")
