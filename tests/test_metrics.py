"""Laws of the metrics, and agreement with scikit-image."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from pipeline.drawing.picture import draw_identity, draw_people, draw_placement
from pipeline.drawing.scene import draw_camera
from posegan.images import decode_image
from posegan.metrics import similarity


def images(seed: int, count: int = 3) -> Tensor:
    """Random images with structure: noise upon large blocks."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.rand(count, 3, 6, 4, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    noise = torch.rand(count, 3, 48, 32, generator=generator)
    return ((0.7 * blocks + 0.3 * noise) * 255).round().to(torch.uint8)


def as_arrays(batch: Tensor) -> list[np.ndarray]:
    return list(batch.permute(0, 2, 3, 1).numpy())


def test_identical_images_score_perfectly() -> None:
    same = images(0)
    assert similarity.l1(same, same).tolist() == [0, 0, 0]
    assert similarity.psnr(same, same).tolist() == [math.inf] * 3
    torch.testing.assert_close(similarity.ssim(same, same), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(similarity.both_ssims(same, same).paper, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("metric", [similarity.l1, similarity.psnr, similarity.ssim])
def test_symmetric_and_each_image_on_its_own(metric: Callable[[Tensor, Tensor], Tensor]) -> None:
    first, second = images(0), images(1)
    scores = metric(first, second)
    torch.testing.assert_close(metric(second, first), scores)
    alone = torch.cat([metric(first[i : i + 1], second[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, scores)


def drawn(seed: int, count: int = 2) -> Tensor:
    """The sample's drawn people."""
    rng = np.random.default_rng(seed)
    people = [draw_people(rng, [(draw_identity(rng), yaw, draw_placement(rng, 0.1))], draw_camera(rng))[0] for yaw in range(count)]
    pictures = [np.asarray(decode_image(person.jpeg)) for person in people]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("pair", ["random", "drawn"])
def test_ssim_and_psnr_agree_with_scikit_image(pair: str) -> None:
    first, second = (images(0), images(1)) if pair == "random" else (drawn(0), drawn(1))
    pairs = list(zip(as_arrays(first), as_arrays(second), strict=True))
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    standard, paper = similarity.both_ssims(first, second)
    np.testing.assert_allclose(standard, [structural_similarity(b, a, data_range=255, **settings) for a, b in pairs], atol=1e-5)
    ranges = [int(a.max()) - int(a.min()) for a, _ in pairs]
    expected = [structural_similarity(b, a, data_range=span, **settings) for (a, b), span in zip(pairs, ranges, strict=True)]
    np.testing.assert_allclose(paper, expected, atol=1e-5)
    np.testing.assert_allclose(similarity.psnr(first, second), [peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs], rtol=1e-6)


@pytest.mark.parametrize("size", [(128, 64), (51, 51), (256, 176)])
def test_the_wide_window_agrees_with_scikit_image_on_floats(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.nn.functional.interpolate(images(seed).float(), size).to(torch.uint8) for seed in (0, 1))
    noisy = (first.int() + torch.randint(-20, 20, first.shape, generator=generator)).clamp(0, 255).to(torch.uint8)
    for other in (second, noisy):
        pairs = zip(as_arrays(first), as_arrays(other), strict=True)
        expected = [structural_similarity(b / 255, a / 255, win_size=51, data_range=1, channel_axis=2) for a, b in pairs]
        np.testing.assert_allclose(similarity.ssim_51(first, other), expected, atol=1e-6)


def test_a_window_that_does_not_fit_has_no_score() -> None:
    assert similarity.ssim_51(images(0), images(1)).isnan().all()


def test_ssim_agrees_with_torchmetrics_away_from_the_border() -> None:
    first, second = images(0, 9), images(1, 9)
    _, full = structural_similarity_index_measure(
        first.float(), second.float(), sigma=1.5, data_range=255.0, reduction="none", return_full_image=True
    )
    expected = full[..., 5:-5, 5:-5].double().mean(dim=(1, 2, 3))
    torch.testing.assert_close(similarity.ssim(first, second), expected, rtol=0, atol=1e-5)


def test_threads_do_not_matter() -> None:
    first, second = images(0, 9), images(1, 9)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = similarity.ssim(first, second)
        torch.set_num_threads(3)
        torch.testing.assert_close(similarity.ssim(first, second), alone, rtol=0, atol=0)
    finally:
        torch.set_num_threads(threads)


def test_the_paper_s_range_is_the_generated_image_s() -> None:
    pale = (images(0) // 4) + 100
    scores = similarity.both_ssims(pale, images(1))
    assert (scores.paper < scores.standard).all()
    flat = torch.full_like(pale, 7)
    assert similarity.both_ssims(flat, images(1)).paper.isnan().all()
    assert similarity.both_ssims(flat, images(1)).standard.isfinite().all()


def test_closed_forms() -> None:
    black, white = torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    assert similarity.l1(black, white).item() == 1
    assert similarity.psnr(black, white).item() == pytest.approx(0, abs=1e-6)
    assert similarity.l1(black, black + 51).item() == pytest.approx(0.2)
    assert similarity.psnr(black, black + 51).item() == pytest.approx(20 * math.log10(5), rel=1e-6)
    # Two flat images have no structure: what remains is the luminance term with C1 = (0.01 * 255)^2.
    c1 = (0.01 * 255) ** 2
    assert similarity.ssim(black, white).item() == pytest.approx(c1 / (255**2 + c1), abs=1e-6)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        similarity.l1(images(0).float(), images(0).float())
    with pytest.raises(ValueError, match="one shape"):
        similarity.ssim(images(0), images(0, count=2))
    small = torch.zeros(1, 3, 10, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="11 x 11"):
        similarity.ssim(small, small)
