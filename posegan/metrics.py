"""How near a generated image comes to the real one, as functions of image batches.

Legend: B images, K = 18 joints, H, W height and width in pixels. Images are uint8 `(B, 3, H, W)`
RGB; every score is one float64 number per image, `(B,)`, so that means and spreads are the
caller's choice. Nothing here needs weights.
"""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from posegan.skeleton import MASK_PAIRS

SSIM_WINDOW = 11  # pixels: 3.5 sigma to each side
MASK_RADIUS = 4.0  # pixels: half width of the mask's rectangles and radius of its discs
MASK_CLOSING = 5  # pixels: side of the square that closes the gaps between them


def l1(images: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference per image, in 0 .. 1 (0: identical, 1: black against white)."""
    _check_images(images, targets)
    return (images.double() - targets.double()).abs().mean(dim=(1, 2, 3)) / 255


def psnr(images: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image in dB, peak 255; infinite for identical images."""
    _check_images(images, targets)
    return peak_signal_noise_ratio(images.double(), targets.double(), data_range=255.0, reduction="none", dim=(1, 2, 3))


def ssim(images: Tensor, targets: Tensor) -> Tensor:
    """Structural similarity per image in -1 .. 1 (Wang et al., 2004), mean over pixels and colours.

    Gaussian window of sigma 1.5 (11 x 11 pixels), population covariance, data range 255; the
    5 pixels at each border, where the window would leave the image, do not count. This is
    scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=255)`. The Deformable GAN's own code took the data
    range from the generated image, which makes pale images score differently: not repeated here.
    """
    _check_images(images, targets)
    if min(images.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(f"images: SSIM needs at least 11 x 11 pixels, got {tuple(images.shape[-2:])}")
    _, similarity = structural_similarity_index_measure(
        images.float(), targets.float(), gaussian_kernel=True, sigma=1.5, data_range=255.0, reduction="none", return_full_image=True
    )  # (B, 3, H, W); float64 takes 20 times as long on a CPU and changes the sixth decimal
    border = SSIM_WINDOW // 2  # torchmetrics' own mean would count it, with mirrored pixels
    return similarity[..., border:-border, border:-border].double().mean(dim=(1, 2, 3))


def mask_ssim(images: Tensor, targets: Tensor, target_keypoints: Tensor) -> Tensor:
    """SSIM of both images multiplied by the mask of the target pose (Ma et al., 2017).

    The blackened background counts as perfectly similar, so a smaller person scores higher: the
    number compares methods on one list of pairs, not across lists.
    """
    masks = pose_masks(target_keypoints, *images.shape[-2:])
    return ssim(images * masks, targets * masks)


def pose_masks(keypoints: Tensor, height: int, width: int) -> Tensor:
    """Masks `(B, 1, H, W)`, bool, around the poses `(B, K, 3)`: the mask of mask-SSIM.

    A rectangle of half width 4 px along each of the 23 joint pairs of `MASK_PAIRS` and a disc of
    radius 4 px at each visible joint, closed (dilated, then eroded) with a 5 x 5 square. A joint of
    confidence 0 contributes nothing.
    """
    starts, ends = (keypoints[:, list(joints)] for joints in zip(*MASK_PAIRS, strict=True))  # (B, 23, 3) each
    y = torch.arange(height, dtype=torch.float32, device=keypoints.device)[:, None]  # (H, 1)
    x = torch.arange(width, dtype=torch.float32, device=keypoints.device)[None, :]  # (1, W)
    covered = _in_rectangles(x, y, starts, ends) | _in_discs(x, y, keypoints)  # (B, H, W)
    return _closed(covered[:, None].float()).bool()


def pck(detected: Tensor, target: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Which target joints the detector found again (percentage of correct keypoints).

    Args:
        detected: `(B, K, 3)` joints found on the image; confidence 0 is not found.
        target: `(B, K, 3)` joints that should be there.
        threshold: `(B,)` pixels a joint may be off, per image.

    Returns:
        `hits` `(B, K)`, bool: visible in both and at most `threshold` apart; and `counted`
        `(B, K)`, bool: visible in the target. PCK is `hits.sum() / counted.sum()`.
    """
    counted = target[..., 2] > 0
    distance = (detected[..., :2] - target[..., :2]).norm(dim=-1)
    hits = counted & (detected[..., 2] > 0) & (distance <= threshold[:, None])
    return hits, counted


def person_heights(keypoints: Tensor) -> Tensor:
    """Extent in y of the visible joints of each pose `(B, K, 3)`, in pixels `(B,)`; 0 when none is visible."""
    visible = keypoints[..., 2] > 0
    y = keypoints[..., 1]
    top = y.masked_fill(~visible, torch.inf).amin(dim=1)
    bottom = y.masked_fill(~visible, -torch.inf).amax(dim=1)
    return torch.where(visible.any(dim=1), bottom - top, torch.zeros_like(top))


def _in_rectangles(x: Tensor, y: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Pixels `(B, H, W)` within 4 px of the line from a start to its end, and between the two."""
    line = (ends - starts)[..., :2]  # (B, 23, 2)
    length = line.norm(dim=-1).clamp_min(1e-6)[..., None, None]
    start_x, start_y = starts[..., 0, None, None], starts[..., 1, None, None]  # (B, 23, 1, 1)
    along_x, along_y = line[..., 0, None, None] / length, line[..., 1, None, None] / length
    progress = (x - start_x) * along_x + (y - start_y) * along_y  # (B, 23, H, W), from a row and a column
    sideways = (x - start_x) * along_y - (y - start_y) * along_x
    visible = ((starts[..., 2] > 0) & (ends[..., 2] > 0))[..., None, None]
    covered: Tensor = (visible & (progress >= 0) & (progress <= length) & (sideways.abs() <= MASK_RADIUS)).any(dim=1)
    return covered


def _in_discs(x: Tensor, y: Tensor, keypoints: Tensor) -> Tensor:
    """Pixels `(B, H, W)` within 4 px of a visible joint."""
    centre_x, centre_y, confidence = (part[..., None, None] for part in keypoints.unbind(-1))  # (B, K, 1, 1)
    squared = (x - centre_x).square() + (y - centre_y).square()  # (B, K, H, W)
    covered: Tensor = ((confidence > 0) & (squared <= MASK_RADIUS**2)).any(dim=1)
    return covered


def _closed(masks: Tensor) -> Tensor:
    """Morphological closing of `(B, 1, H, W)` masks; outside the image nothing dilates and nothing erodes."""
    dilated = max_pool2d(masks, MASK_CLOSING, stride=1, padding=MASK_CLOSING // 2)
    return -max_pool2d(-dilated, MASK_CLOSING, stride=1, padding=MASK_CLOSING // 2)


def _check_images(images: Tensor, targets: Tensor) -> None:
    if images.shape != targets.shape or images.dim() != 4:
        raise ValueError(f"images: expected two batches of one shape (B, 3, H, W), got {tuple(images.shape)} and {tuple(targets.shape)}")
    if images.dtype != torch.uint8 or targets.dtype != torch.uint8:
        raise ValueError(f"images: expected uint8 in 0 .. 255, got {images.dtype} and {targets.dtype}")
