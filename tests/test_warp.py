"""Laws of the deformable skip: it equals the paper's dense warp, forward and backward, at every level."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from posegan.model.geometry import body_affine
from posegan.model.warp import warp_features

HEIGHT, WIDTH = 16, 8


def dense_warp(features: Tensor, affines: Tensor, valid: Tensor, masks: Tensor, offsets: Tensor | None, combine: str) -> Tensor:
    """The paper's formulation: every part warps every pixel; times its mask; combined over the parts."""
    height, width = features.shape[2:]
    image_height, image_width = masks.shape[2:]
    y, x = torch.meshgrid(torch.arange(height).to(features), torch.arange(width).to(features), indexing="ij")
    target = torch.stack(((x + 0.5) * image_width / width - 0.5, (y + 0.5) * image_height / height - 0.5))  # image pixels
    target = target.expand(len(features), 2, height, width) if offsets is None else target + offsets
    small = masks[:, :, :: image_height // height, :: image_width // width].to(features) * valid[:, :, None, None]
    size = features.new_tensor([image_width, image_height])
    parts = []
    for part in range(masks.shape[1]):
        source = torch.einsum("bij,bjhw->bhwi", affines[:, part, :, :2].to(features), target) + affines[:, part, None, None, :, 2].to(
            features
        )
        grid = (source + 0.5) * 2 / size - 1  # pixel areas of [-1, 1], as align_corners=False has it
        parts.append(F.grid_sample(features, grid, align_corners=False) * small[:, part, None])
    stack = torch.stack(parts, dim=1)
    return stack.amax(1) if combine == "max" else stack.sum(1) / small.sum(1, keepdim=True).clamp(min=1)


def scene(parts: int = 4, scale: int = 1, channels: int = 3, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Features, affines, valid, masks, offsets, in float64."""
    generator = torch.Generator().manual_seed(parts * 10 + scale)
    features = torch.randn(batch, channels, HEIGHT // scale, WIDTH // scale, generator=generator, dtype=torch.float64)
    affines = torch.eye(2, 3, dtype=torch.float64) + 0.3 * torch.randn(batch, parts, 2, 3, generator=generator, dtype=torch.float64)
    affines[..., 2] *= 5
    masks = torch.rand(batch, parts, HEIGHT, WIDTH, generator=generator) < 0.3
    masks[:, 0] = True
    valid = torch.rand(batch, parts, generator=generator) < 0.8
    offsets = torch.randn(batch, 2, HEIGHT // scale, WIDTH // scale, generator=generator, dtype=torch.float64)
    return features, affines, valid, masks, offsets


@pytest.mark.parametrize("combine", ["max", "average"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_equals_the_dense_warp_forward_and_backward(combine: str, scale: int) -> None:
    features, affines, valid, masks, offsets = scene(scale=scale)
    features.requires_grad_()
    offsets.requires_grad_()
    ours = warp_features(features, affines, valid, masks, offsets, combine)
    dense = dense_warp(features, affines, valid, masks, offsets, combine)
    torch.testing.assert_close(ours, dense)
    gradient = torch.randn_like(dense)
    for one, other in zip(
        torch.autograd.grad(ours, (features, offsets), gradient), torch.autograd.grad(dense, (features, offsets), gradient), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("combine", ["max", "average"])
def test_gradients_are_the_derivatives(combine: str) -> None:
    features, affines, valid, masks, offsets = scene(parts=3, scale=4, channels=2)
    features.requires_grad_()
    offsets.requires_grad_()
    assert torch.autograd.gradcheck(lambda f, o: warp_features(f, affines, valid, masks, o, combine), (features, offsets))


@pytest.mark.parametrize("combine", ["max", "average"])
def test_one_part_that_covers_all_and_stays_is_the_identity(combine: str) -> None:
    features = scene()[0]  # negative values too: no part is missing anywhere, so no 0 enters the maximum
    everywhere, valid = torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool), torch.ones(2, 1, dtype=torch.bool)
    moved = warp_features(features, torch.eye(2, 3).expand(2, 1, 2, 3), valid, everywhere, None, combine)
    torch.testing.assert_close(moved, features, rtol=0, atol=0)


def test_nothing_covered_is_zero_with_zero_gradient() -> None:
    features, affines, valid, masks, offsets = scene()
    features.requires_grad_()
    moved = warp_features(features, affines, torch.zeros_like(valid), masks, offsets)
    moved.sum().backward()
    assert moved.abs().max() == 0
    assert features.grad is not None
    assert features.grad.abs().max() == 0


def test_an_uncovering_part_counts_as_zero_in_the_maximum() -> None:
    features = torch.full((1, 1, HEIGHT, WIDTH), -1.0)
    masks = torch.ones(1, 2, HEIGHT, WIDTH, dtype=torch.bool)
    masks[:, 1, : HEIGHT // 2] = False
    moved = warp_features(features, torch.eye(2, 3).expand(1, 2, 2, 3), torch.ones(1, 2, dtype=torch.bool), masks)
    assert moved[0, 0, : HEIGHT // 2].eq(0).all()
    assert moved[0, 0, HEIGHT // 2 :].eq(-1).all()


def test_the_gradient_of_equal_parts_is_counted_once() -> None:
    features = torch.rand(1, 2, HEIGHT, WIDTH, requires_grad=True)
    masks, valid = torch.ones(1, 3, HEIGHT, WIDTH, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)
    warp_features(features, torch.eye(2, 3).expand(1, 3, 2, 3), valid, masks).sum().backward()
    assert features.grad is not None
    assert features.grad.eq(1).all()


def blob(height: int, width: int, scale: int, affine: Tensor) -> Tensor:
    """A smooth drawing `(1, 3, h, w)`, each map pixel the drawing at its centre, seen through an affine."""
    y, x = torch.meshgrid(torch.arange(height // scale).float(), torch.arange(width // scale).float(), indexing="ij")
    points = torch.stack(((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5, torch.ones_like(x)))
    u, v = torch.einsum("ij,jhw->ihw", affine, points)
    drawing = torch.stack((torch.sin(u / 16), torch.cos(v / 20), torch.sin((u + v) / 24)))
    return drawing[None]


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_recovers_a_known_rotation_scale_and_shift_at_every_level(scale: int) -> None:
    angle, size = math.radians(20), 0.9
    turn = size * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = torch.tensor([31.5, 63.5])
    affine = torch.cat((turn, (centre + torch.tensor([3.0, -5.0]) - turn @ centre)[:, None]), dim=1)
    source, target = blob(128, 64, scale, torch.eye(2, 3)), blob(128, 64, scale, affine)
    everywhere, valid = torch.ones(1, 1, 128, 64, dtype=torch.bool), torch.ones(1, 1, dtype=torch.bool)
    moved = warp_features(source, affine[None, None], valid, everywhere)
    quarter = slice(32 // scale, 96 // scale), slice(20 // scale, 44 // scale)  # far enough from the border
    # Bilinear error of a curve of period 2 pi r: s^2 / (8 r^2), twice for two axes.
    assert (moved - target)[:, :, *quarter].abs().max() < 0.01 + 2 * scale**2 / (8 * 16**2)
    assert (source - target)[:, :, *quarter].abs().max() > 0.3


@pytest.mark.parametrize("size", [(128, 64), (96, 176), (256, 176)])
def test_a_person_s_own_joints_undo_a_known_motion_at_every_level(size: tuple[int, int]) -> None:
    """Joints to affine to warp: the same rotation, scale and shift of joints and picture leaves nothing to see."""
    height, width = size
    turn = 1.1 * torch.tensor([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    known = torch.cat((turn, (centre + torch.tensor([-4.0, 3.0]) - turn @ centre)[:, None]), dim=1)
    target = torch.zeros(1, 18, 3)
    target[0, :, :2] = centre + 0.2 * min(size) * torch.randn(18, 2, generator=torch.Generator().manual_seed(1))
    target[..., 2] = 1
    source = target.clone()
    source[..., :2] = target[..., :2] @ turn.mT + known[:, 2]
    affines, valid = body_affine(source, target)
    everywhere = torch.ones(1, 1, *size, dtype=torch.bool)
    for scale in (1, 2, 4, 8):
        picture, seen = blob(height, width, scale, torch.eye(2, 3)), blob(height, width, scale, known)
        moved = warp_features(picture, affines, valid, everywhere)
        inner = slice(height // 4 // scale, 3 * height // 4 // scale), slice(width // 3 // scale, 2 * width // 3 // scale)
        assert (moved - seen)[:, :, *inner].abs().max() < 0.01 + 2 * scale**2 / (8 * 16**2)
        assert (picture - seen)[:, :, *inner].abs().max() > 0.15


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_mirror_flips_the_map(scale: int) -> None:
    features = scene(scale=scale)[0]
    mirror = torch.tensor([[-1.0, 0, WIDTH - 1], [0, 1, 0]], dtype=torch.float64).expand(2, 1, 2, 3)
    everywhere, valid = torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool), torch.ones(2, 1, dtype=torch.bool)
    torch.testing.assert_close(warp_features(features, mirror, valid, everywhere), features.flip(3))


def test_a_flattening_affine_repeats_one_column_and_has_finite_gradients() -> None:
    features, _, _, _, offsets = scene()
    features.requires_grad_()
    offsets.requires_grad_()
    flat = torch.tensor([[0.0, 0, 3], [0, 1, 0]], dtype=torch.float64).expand(2, 1, 2, 3)
    everywhere, valid = torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool), torch.ones(2, 1, dtype=torch.bool)
    moved = warp_features(features, flat, valid, everywhere, 0 * offsets)
    torch.testing.assert_close(moved, features[..., 3:4].expand_as(features))
    moved.square().sum().backward()
    assert features.grad is not None and features.grad.isfinite().all()
    assert offsets.grad is not None and offsets.grad.isfinite().all()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_an_offset_equals_the_same_shift_of_the_affine(scale: int) -> None:
    features, affines, valid, masks, _ = scene(scale=scale)
    shift = torch.tensor([1.5, -2.25], dtype=torch.float64)
    offsets = shift.view(1, 2, 1, 1).expand(2, 2, HEIGHT // scale, WIDTH // scale)
    shifted = affines.clone()
    shifted[..., 2] += affines[..., :2] @ shift
    torch.testing.assert_close(warp_features(features, affines, valid, masks, offsets), warp_features(features, shifted, valid, masks))


def test_far_positions_and_bfloat16_stay_finite() -> None:
    features, affines, valid, masks, offsets = scene()
    moved = warp_features(features.bfloat16(), affines.float() * 1e12, valid, masks, offsets.float())
    assert moved.dtype == torch.bfloat16
    assert moved.isfinite().all()


def test_a_map_that_does_not_divide_the_image_is_refused() -> None:
    features, affines, valid, masks, _ = scene()
    with pytest.raises(ValueError, match="multiple of the map's"):
        warp_features(features[:, :, :5], affines, valid, masks)
