"""Laws of the losses: closed forms, slow references, gradients, and nothing computed for weight 0."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from posegan.config import FeaturesConfig, LossConfig
from posegan.files import sha256_of
from posegan.frozen.vgg import GREY_LEVELS, VGG19Features
from posegan.model.geometry import body_masks
from posegan.model.networks import GeneratorOutput, Judgement
from posegan.training.losses import (
    TERMS,
    GeneratorLoss,
    Term,
    body_weighted_l1,
    discriminator_loss,
    feature_matching_loss,
    generator_adversarial_loss,
    gradient_penalty,
    nearest_neighbour_loss,
    offset_smoothness_loss,
    perceptual_loss,
)
from tests.test_geometry import poses

FEATURES = FeaturesConfig(weights="random", sha256="")


def maps(height: int = 5, width: int = 4, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(height)
    return tuple(torch.randn(2, 2, channels, height, width, generator=generator, dtype=torch.float64))  # type: ignore[return-value]


def slow_nearest_neighbour(generated: Tensor, target: Tensor, window: int) -> Tensor:
    batch, _, height, width = generated.shape
    reach = window // 2
    minima = []
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                near = target[b, :, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
                minima.append((generated[b, :, y, x, None, None] - near).abs().sum(0).min())
    return torch.stack(minima).mean()


@pytest.mark.parametrize("window", [1, 3, 5, 7])
@pytest.mark.parametrize("size", [(5, 4), (1, 6), (2, 1), (9, 8)])
def test_nearest_neighbour_is_its_definition_forward_and_backward(window: int, size: tuple[int, int]) -> None:
    generated, target = maps(*size)
    generated.requires_grad_()
    fast, slow = nearest_neighbour_loss(generated, target, window), slow_nearest_neighbour(generated, target, window)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(torch.autograd.grad(fast, generated), torch.autograd.grad(slow, generated))


def test_nearest_neighbour_passes_gradcheck() -> None:
    generated, target = maps(4, 3, 2)
    assert torch.autograd.gradcheck(lambda x: nearest_neighbour_loss(x, target, 3), (generated.requires_grad_(),))


def test_nearest_neighbour_forgives_a_shift_within_the_window() -> None:
    target, _ = maps(12, 9)
    shifted = target.roll((1, -1), dims=(2, 3))
    inner = (..., slice(2, -2), slice(2, -2))
    padded = F.pad(shifted[inner], (2, 2, 2, 2))
    padded[..., :2, :], padded[..., -2:, :], padded[..., :2], padded[..., -2:] = (
        target[..., :2, :], target[..., -2:, :], target[..., :2], target[..., -2:],
    )  # fmt: skip
    assert nearest_neighbour_loss(padded, target, 3) == 0
    assert nearest_neighbour_loss(padded, target, 1) > 0.1


def test_a_wider_window_never_costs_more_and_window_one_is_l1_over_channels() -> None:
    generated, target = maps(8, 8)
    losses = [nearest_neighbour_loss(generated, target, window) for window in (1, 3, 5, 7)]
    assert losses == sorted(losses, reverse=True)
    torch.testing.assert_close(losses[0], (generated - target).abs().sum(1).mean())


def test_nearest_neighbour_takes_bfloat16_in_float32() -> None:
    generated, target = maps(8, 8)
    loss = nearest_neighbour_loss(generated.bfloat16(), target.bfloat16(), 3)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, nearest_neighbour_loss(generated.bfloat16().float(), target.bfloat16().float(), 3))


def test_an_even_window_is_refused() -> None:
    with pytest.raises(ValueError, match="odd number, got 2"):
        nearest_neighbour_loss(*maps(), 2)


def test_adversarial_losses_are_the_log_losses_of_probabilities() -> None:
    real, fake = maps()
    expected = -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()
    torch.testing.assert_close(discriminator_loss(judged(real), judged(fake)), expected)
    torch.testing.assert_close(generator_adversarial_loss(judged(fake)), -torch.sigmoid(fake).log().mean())
    tossing = judged(torch.zeros(3))
    torch.testing.assert_close(discriminator_loss(tossing, tossing).item(), 2 * math.log(2))


def test_patches_of_either_size_count_the_same_however_many_there_are() -> None:
    whole, local = torch.full((2, 1, 3, 1), 1.0), torch.full((2, 1, 31, 15), -2.0)
    expected = (generator_adversarial_loss(judged(whole)) + generator_adversarial_loss(judged(local))) / 2
    torch.testing.assert_close(generator_adversarial_loss(judged(whole, local)), expected)


def test_feature_matching_sums_the_blocks_mean_differences_and_teaches_the_generated_alone() -> None:
    real, fake = ([torch.randn(2, 3, size, size, requires_grad=True) for size in (4, 2)] for _ in range(2))
    loss = feature_matching_loss(judged(features=real), judged(features=fake))
    torch.testing.assert_close(loss, sum(((one - other).abs().mean() for one, other in zip(real, fake, strict=True)), torch.zeros(())))
    loss.backward()
    assert all(feature.grad is not None for feature in fake)
    assert all(feature.grad is None for feature in real)


def test_the_gradient_penalty_is_the_squared_slope_where_that_is_the_same_everywhere() -> None:
    torch.manual_seed(0)
    slope = torch.randn(3 * 8 * 4, dtype=torch.float64)
    images = torch.randn(1, 3 * 8 * 4, dtype=torch.float64).expand(20_000, -1)
    near = images + 0.05 * torch.randn_like(images)
    here, there = (judged((values @ slope).view(-1, 1, 1, 1)) for values in (images, near))
    torch.testing.assert_close(gradient_penalty(here, there, 0.05), slope.square().sum(), rtol=0.05, atol=0)
    half = [judged(F.pad(judgement.logits[0], (0, 1))) for judgement in (here, there)]  # beside each a patch without any slope
    torch.testing.assert_close(gradient_penalty(*half, 0.05), slope.square().sum() / 2, rtol=0.05, atol=0)


def test_l1_weighs_the_body_and_keeps_the_mean_weight_at_one() -> None:
    _, _, keypoints, _ = game()
    target = torch.zeros(2, 3, 128, 64)
    body = body_masks(keypoints, 128, 64).float()
    everywhere = body_weighted_l1(target + 0.5, target, keypoints, 0.1)
    torch.testing.assert_close(everywhere, torch.tensor(0.5))
    on, off = (body_weighted_l1(target + 0.5 * where, target, keypoints, 0.1) for where in (body, 1 - body))
    torch.testing.assert_close(on + off, everywhere)
    shares = body.mean(dim=(1, 2, 3))
    assert 0.05 < shares.min() < shares.max() < 0.95
    torch.testing.assert_close(off, (0.5 * 0.1 * (1 - shares) / (shares + 0.1 * (1 - shares))).mean())
    torch.testing.assert_close(body_weighted_l1(target + body, target, keypoints, 1.0), body.mean())


def test_l1_of_blocks_does_not_see_what_moves_within_them() -> None:
    pose, stripes = poses(1, noise=0), (torch.arange(64) % 2 * 2 - 1).float().expand(1, 3, 128, 64)
    assert body_weighted_l1(stripes, stripes.roll(1, 3), pose, 0.1) == pytest.approx(2)
    assert body_weighted_l1(stripes, stripes.roll(1, 3), pose, 0.1, block=4) == 0
    assert body_weighted_l1(stripes, stripes + 0.25, pose, 0.1, block=4) == pytest.approx(0.25)
    assert body_weighted_l1(stripes, stripes + 0.25, pose, block=2) == pytest.approx(0.25)


def test_adversarial_losses_stay_finite_for_sure_players() -> None:
    sure = torch.tensor([1e4])
    assert discriminator_loss(judged(-sure), judged(sure)) == 2e4
    assert generator_adversarial_loss(judged(-sure)) == 1e4


def test_perceptual_loss_is_a_mean_absolute_difference() -> None:
    generated, target = maps()
    torch.testing.assert_close(perceptual_loss(generated, target), (generated - target).abs().mean())


def test_smoothness_of_a_ramp_is_its_slopes_and_of_a_constant_zero() -> None:
    x, y = torch.arange(6.0).expand(5, 6), torch.arange(5.0)[:, None].expand(5, 6)
    ramp = torch.stack((0.5 * x, 0.5 * x - 2 * y))[None]  # |d/dx| = 0.5, 0.5; |d/dy| = 0, 2
    assert offset_smoothness_loss([ramp]).item() == pytest.approx(0.5 + 1)
    assert offset_smoothness_loss([ramp, torch.full((1, 2, 3, 3), 7.0)]).item() == pytest.approx(0.75)
    torch.testing.assert_close(offset_smoothness_loss([ramp + 3]), offset_smoothness_loss([ramp]))


def test_smoothness_passes_gradcheck() -> None:
    fields = maps(5, 4, 2)
    assert torch.autograd.gradcheck(lambda *each: offset_smoothness_loss(each), tuple(field.requires_grad_() for field in fields))


def test_smoothness_of_a_map_one_pixel_wide_is_a_number() -> None:
    assert offset_smoothness_loss([torch.rand(1, 2, 4, 1)]).isfinite()
    assert offset_smoothness_loss([torch.rand(1, 2, 1, 1)]) == 0


def config(**weights: Any) -> LossConfig:
    zero = {term.name: 0.0 for term in TERMS} | {"gradient_penalty": 0.0, "nearest_neighbour_window": 3, "l1_ground": 1.0, "l1_block": 1}
    return LossConfig.model_validate(zero | weights)


def judged(*logits: Tensor, features: Sequence[Tensor] = ()) -> Judgement:
    return Judgement(logits, tuple(features))


def game(offsets: bool = True) -> tuple[GeneratorOutput, Tensor, Tensor, Judgement]:
    """Output, target image and pose, what the discriminator makes of the output."""
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(2, 2, 3, 16, 8, generator=generator) * 2 - 1
    fields = (torch.randn(2, 2, 16, 8, generator=generator), torch.randn(2, 2, 8, 4, generator=generator))
    fake = judged(torch.randn(2, 1, 3, 1, generator=generator), features=[torch.ones(2, 3)])
    return GeneratorOutput(image.requires_grad_(), fields if offsets else ()), target, poses(2), fake


def test_terms_are_the_weighted_losses() -> None:
    output, target, pose, fake = game()
    real = judged(features=[torch.zeros(2, 3)])
    weights = config(adversarial=2.0, l1=3.0, perceptual=0.5, nearest_neighbour=0.25, offset_smoothness=4.0, feature_matching=7.0)
    terms = GeneratorLoss(weights, FEATURES)(output, target, pose, fake, real)
    vgg = VGG19Features(["relu1_2", "relu2_1"], FEATURES)
    generated, real = vgg(output.image), vgg(target)
    expected = {
        "adversarial": 2 * generator_adversarial_loss(fake),
        "feature_matching": torch.tensor(7.0),
        "l1": 3 * (output.image - target).abs().mean(),
        "offset_smoothness": 4 * offset_smoothness_loss(output.offsets),
        "perceptual_random_filters": 0.5 * GREY_LEVELS * perceptual_loss(generated["relu2_1"], real["relu2_1"]),
        "nearest_neighbour_random_filters": 0.25 * GREY_LEVELS * nearest_neighbour_loss(generated["relu1_2"], real["relu1_2"], 3),
    }
    assert terms.keys() == expected.keys()
    for name, term in expected.items():
        torch.testing.assert_close(terms[name], term)


def only(term: Term) -> LossConfig:
    """Weight 1 for one term; no discriminator, no features to match."""
    zero = {other.name: 0.0 for other in TERMS} | {"nearest_neighbour_window": 3, "l1_ground": 1.0, "l1_block": 1, term.name: 1.0}
    return LossConfig.model_construct(**zero)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_only_terms_of_positive_weight_are_computed(term: Term) -> None:
    loss = GeneratorLoss(only(term), FEATURES)
    assert loss(*game(), judged(features=[torch.zeros(2, 3)])).keys() == {f"{term.name}_random_filters" if term.layer else term.name}
    assert (loss.features is None) == (not term.layer)


def test_every_weight_is_a_term_s_and_every_term_has_one() -> None:
    others = {"nearest_neighbour_window", "l1_ground", "l1_block", "gradient_penalty"}  # the last is the discriminator's
    assert {term.name for term in TERMS} == LossConfig.model_fields.keys() - others


def test_terms_of_trained_filters_have_their_plain_names(tmp_path: Path) -> None:
    path = tmp_path / "vgg.safetensors"
    drawn = VGG19Features(["relu2_1"], FEATURES).layers.state_dict()
    save_file({f"features.{name}": weight for name, weight in drawn.items()}, path)
    trained = FeaturesConfig(weights=str(path), sha256=sha256_of(path))
    weights = config(perceptual=0.5, nearest_neighbour=0.01)
    random, named = (GeneratorLoss(weights, features)(*game()) for features in (FEATURES, trained))
    assert named.keys() == {"perceptual", "nearest_neighbour"}
    for name, term in named.items():  # the same filters here, so the same numbers
        torch.testing.assert_close(term, random[f"{name}_random_filters"])


def test_features_count_in_grey_levels() -> None:
    """On a VGG whose first filters hand one colour on, a term is the difference of the pixels in 0 .. 255."""
    loss = GeneratorLoss(config(perceptual=1.0), FEATURES)
    assert loss.features is not None
    first, second, third = (layer for layer in loss.features.layers if isinstance(layer, torch.nn.Conv2d))
    for layer in (first, second, third):
        torch.nn.init.zeros_(layer.weight)
        layer.weight[:, 1, 1, 1] = 1  # every channel is green
    dark, light = torch.full((1, 3, 8, 8), 0.25), torch.full((1, 3, 8, 8), 0.75)
    [term] = loss(GeneratorOutput(dark, ()), light, poses(1), judged(torch.zeros(1))).values()
    assert term.item() == pytest.approx(0.25 * 255, rel=0.02)


def test_among_equally_near_pixels_the_one_in_place_wins_and_takes_the_gradient() -> None:
    generated = torch.zeros(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    target = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    target[..., 0, :] = -1  # above the middle row as far as the row itself: a tie
    loss = nearest_neighbour_loss(generated, target, 3)
    assert loss.item() == 1
    loss.backward()
    expected = torch.tensor([[1.0, 1, 1], [-1, -1, -1], [-1, -1, -1]], dtype=torch.float64) / 9
    torch.testing.assert_close(generated.grad, expected[None, None])


def test_a_perfect_match_has_no_gradient() -> None:
    target, _ = maps()
    generated = target.clone().requires_grad_()
    nearest_neighbour_loss(generated, target, 3).backward()
    assert generated.grad is not None
    assert generated.grad.eq(0).all()


def test_without_a_feature_term_the_weights_file_is_not_touched() -> None:
    loss = GeneratorLoss(config(l1=1.0), FeaturesConfig(weights="no/such/file.pth", sha256="0" * 64))
    assert loss(*game()).keys() == {"l1"}


def test_without_learned_offsets_there_is_no_smoothness() -> None:
    assert GeneratorLoss(config(l1=1.0, offset_smoothness=1.0), FEATURES)(*game(offsets=False)).keys() == {"l1"}


@pytest.mark.parametrize("term", [term for term in TERMS if term.teaches and term.name != "adversarial"], ids=lambda term: term.name)
def test_the_image_gets_a_gradient_and_the_target_none(term: Term) -> None:
    output, target, pose, fake = game()
    target.requires_grad_(bool(term.layer))  # that a network sees it must not make it learn; of pixels, nobody asks
    sum(GeneratorLoss(config(**{term.name: 1.0}), FEATURES)(output, target, pose, fake).values(), torch.zeros(())).backward()
    assert output.image.grad is not None
    assert output.image.grad.any()
    assert target.grad is None
