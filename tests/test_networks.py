"""Laws of the networks: the paper's sizes, missing joints, dropout only in training, offsets that start at zero."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from posegan.config import ImageConfig, ModelConfig
from posegan.errors import PoseGANError
from posegan.model.geometry import body_masks, poses_between
from posegan.model.layers import DownBlock, SampleNorm, UpBlock
from posegan.model.networks import Discriminator, Encoder, Generator, level_channels, level_sizes

DEFORMATIONS = ("none", "global", "parts", "learned", "parts+learned")
MARKET, SQUARE = ImageConfig(height=128, width=64), ImageConfig(height=256, width=256)
FASHION = ImageConfig(height=256, width=176)


COPYING: dict[str, Any] = {"image_skip": True, "upsampling": "bilinear"}
# Every deformation without and, where something is moved, with source pixels to copy.
VARIANTS = [*((name, {}) for name in DEFORMATIONS), *((name, COPYING) for name in DEFORMATIONS if name != "none")]
variants = pytest.mark.parametrize(
    ("deformation", "changes"), VARIANTS, ids=[name + "+image" * bool(changes) for name, changes in VARIANTS]
)
WIDTHS = ((128, 64), (256, 128), (512, 256), (512, 512))  # of the offset heads: moved appearance, pose feature


def model(deformation: str = "parts+learned", **changes: Any) -> ModelConfig:
    values = {
        "deformation": deformation, "combine": "max", "stacked_steps": 1, "generator_channels": 4, "discriminator_channels": 4,
        "warped_skips": 4, "maximum_offset": 4.0, "dropout": 0.0, "heatmap_sigma": 6.0, "image_skip": False, "upsampling": "transposed",
        "local_patches": False, "judged_source": "whole",
    }  # fmt: skip
    return ModelConfig.model_validate(values | changes)


def inputs(batch: int = 2, size: ImageConfig = MARKET, missing: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Source image, source and target keypoints."""
    generator = torch.Generator().manual_seed(batch)
    image = torch.rand(batch, 3, size.height, size.width, generator=generator) * 2 - 1
    keypoints = torch.rand(2, batch, 18, 3, generator=generator) * torch.tensor([size.width, size.height, 1.0])
    keypoints[..., 2] = torch.rand(2, batch, 18, generator=generator) >= missing
    return image, keypoints[0], keypoints[1]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("deformation", "image", "expected"),
    [
        ("parts", MARKET, 61_109_085),
        ("parts", SQUARE, 82_080_611),
        ("parts", FASHION, 82_080_611),
        ("global", MARKET, 61_109_085),
        # One head a warped level: 2 filters of 3 x 3 over the moved appearance and the pose feature, and their biases.
        ("parts+learned", MARKET, 61_109_085 + sum(2 * 9 * (placed + pose) + 2 for placed, pose in WIDTHS)),
        ("none", MARKET, 36_072_533),
        ("none", SQUARE, 48_655_449),
    ],
)
def test_the_paper_s_generator_has_its_number_of_parameters(deformation: str, image: ImageConfig, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(Generator(model(deformation, generator_channels=64), image)) == expected


def test_the_paper_s_discriminator_has_its_number_of_parameters() -> None:
    with torch.device("meta"):
        assert parameters(Discriminator(model(discriminator_channels=64))) == 2_803_782


def test_levels_are_the_paper_s() -> None:
    assert level_sizes(128, 64) == [(128, 64), (64, 32), (32, 16), (16, 8), (8, 4), (4, 2)]
    assert len(level_sizes(256, 256)) == len(level_sizes(256, 176)) == 7
    assert level_channels(64, 7) == (64, 128, 256, 512, 512, 512, 512)
    sizes = [tuple(feature.shape[1:]) for feature in Encoder(21, level_channels(2, 6))(torch.zeros(1, 21, 128, 64))]
    assert level_sizes(256, 176)[3:] == [(32, 22), (16, 11), (8, 5), (4, 2)]
    assert sizes == [(2, 128, 64), (4, 64, 32), (8, 32, 16), (16, 16, 8), (16, 8, 4), (16, 4, 2)]


@variants
@pytest.mark.parametrize("size", [(128, 64), (64, 96), (32, 32), (256, 176), (256, 256), (48, 208)])
def test_the_image_has_the_source_s_shape_and_range(deformation: str, changes: dict[str, Any], size: tuple[int, int]) -> None:
    image = ImageConfig(height=size[0], width=size[1])
    output = Generator(model(deformation, **changes), image)(*inputs(1, image))
    assert output.image.shape == (1, 3, *size)
    assert output.image.abs().max() <= 1
    expected = [(1, 2, size[0] // 2**level, size[1] // 2**level) for level in range(4)] if "learned" in deformation else []
    assert [tuple(offset.shape) for offset in output.offsets] == expected


@variants
def test_every_weight_is_trained(deformation: str, changes: dict[str, Any]) -> None:
    generator = Generator(model(deformation, **changes), MARKET)
    output = generator(*inputs())
    (output.image.square().sum() + sum(offset.sum() for offset in output.offsets)).backward()
    untouched = [name for name, parameter in generator.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert untouched == []


@pytest.mark.parametrize("changes", [{}, COPYING], ids=["features", "image"])
def test_the_image_alone_teaches_the_offsets(changes: dict[str, Any]) -> None:
    generator = Generator(model(**changes), MARKET)
    generator(*inputs()).image.square().sum().backward()
    for head in generator.offset_heads:
        (weight, *_) = head.parameters()
        assert weight.grad is not None
        assert weight.grad.any()


def test_training_starts_at_the_pure_warp_by_parts() -> None:
    learned, parts = Generator(model("parts+learned"), MARKET), Generator(model("parts"), MARKET)
    missing, unexpected = learned.load_state_dict(parts.state_dict(), strict=False)
    assert all(name.startswith("offset_heads.") for name in missing)
    assert unexpected == []
    output = learned(*inputs())
    torch.testing.assert_close(output.image, parts(*inputs()).image)
    assert all(offset.eq(0).all() for offset in output.offsets)


def test_offsets_keep_their_limit() -> None:
    generator = Generator(model("learned", maximum_offset=2.5), MARKET)
    for parameter in generator.offset_heads.parameters():
        nn.init.normal_(parameter, std=10)
    offsets = torch.cat([offset.flatten() for offset in generator(*inputs()).offsets])
    assert offsets.abs().max() <= 2.5
    assert offsets.abs().max() > 2


@variants
@pytest.mark.parametrize("missing", [0.4, 1.0])
def test_missing_joints_give_finite_images_and_gradients(deformation: str, changes: dict[str, Any], missing: float) -> None:
    generator = Generator(model(deformation, **changes), MARKET)
    image, source, target = inputs(2, missing=missing)
    source[source[..., 2] == 0] = torch.tensor([float("nan"), float("nan"), 0])
    output = generator(image, source, target)
    assert output.image.isfinite().all()
    output.image.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in generator.parameters() if parameter.grad is not None)


@variants
def test_a_sample_s_image_does_not_depend_on_its_batch(deformation: str, changes: dict[str, Any]) -> None:
    generator = Generator(model(deformation, **changes), MARKET).eval()
    image, source, target = inputs(3)
    together = generator(image, source, target).image
    alone = generator(image[1:2], source[1:2], target[1:2]).image
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_dropout_is_for_training_only_and_in_the_first_three_blocks() -> None:
    generator = Generator(model("parts", dropout=0.5), MARKET)
    assert not torch.equal(generator(*inputs()).image, generator(*inputs()).image)
    generator.eval()
    assert torch.equal(generator(*inputs()).image, generator(*inputs()).image)
    shares = [module.p for module in generator.decoder.modules() if isinstance(module, nn.Dropout)]
    assert shares == [0.5, 0.5, 0.5, 0.0, 0.0]


def test_the_target_pose_decides_the_image() -> None:
    generator = Generator(model("parts"), MARKET).eval()
    image, source, target = inputs()
    assert not torch.allclose(generator(image, source, target).image, generator(image, source, source).image)


def trained_norm() -> SampleNorm:
    norm = SampleNorm().double()
    with torch.no_grad():
        norm.gain.fill_(1.5)
        norm.bias.fill_(-0.5)
    return norm


@pytest.mark.parametrize("deviation", [3.0, 0.04, 1e-4])
@pytest.mark.parametrize("learning", [True, False])
def test_sample_norm_divides_by_the_deviation_plus_a_thousandth(deviation: float, learning: bool) -> None:
    """As the original's norm layer: at its pose encoder's first level deviations are 0.04, which another form would damp by a fifth."""
    features = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * deviation + 2
    with torch.set_grad_enabled(learning):
        normed = trained_norm()(features.requires_grad_(learning))
    for sample, result in zip(features, normed, strict=True):
        expected = (sample - sample.mean()) / (sample.std(correction=0) + 1e-3) * 1.5 - 0.5
        torch.testing.assert_close(result, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sample_norm_passes_gradcheck(layout: torch.memory_format) -> None:
    norm = trained_norm()
    features = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.01
    features = features.to(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: norm(x), (features, norm.gain, norm.bias))


def test_a_flat_map_is_the_norm_s_bias_and_has_finite_gradients() -> None:
    norm, flat = trained_norm(), torch.full((1, 2, 4, 4), 7.0, dtype=torch.float64, requires_grad=True)
    result = norm(flat)
    result.square().sum().backward()
    assert result.eq(-0.5).all()
    assert flat.grad is not None and flat.grad.isfinite().all()


def test_bilinear_upsampling_starts_without_a_checkerboard() -> None:
    """All pixels of a map that one pixel is enlarged to are made alike; a transposed convolution has four kinds of them."""
    torch.manual_seed(0)
    flat = torch.ones(1, 6, 8, 4)
    inner = (..., slice(4, -4), slice(2, -2))
    with torch.no_grad():
        even = UpBlock(6, 3, 0.0, "bilinear").convolution(flat)[..., 1:-1, 1:-1]
        checkered = UpBlock(6, 3, 0.0, "transposed").convolution(flat)[inner]
    assert even.std(dim=(2, 3)).max() < 1e-6
    assert checkered.std(dim=(2, 3)).min() > 0.01


@pytest.mark.parametrize(
    ("size", "patches"), [(MARKET, (3, 1)), (FASHION, (7, 5)), (SQUARE, (7, 7)), (ImageConfig(height=48, width=48), (1, 1))]
)
def test_the_discriminator_judges_patches(size: ImageConfig, patches: tuple[int, int]) -> None:
    image, source, target = inputs(1, size)
    discriminator = Discriminator(model())
    condition = discriminator.condition(image, source, target)
    [[logits], features], [[other], _] = discriminator(condition, image, -image)
    assert logits.shape == (1, 1, *patches)
    assert [feature.shape[1] for feature in features] == [8, 16, 32]
    assert not torch.equal(logits, other)
    [[[changed], _]] = discriminator(discriminator.condition(image, source, source), image)
    assert not torch.equal(logits, changed)


def test_a_local_decision_sees_a_square_of_22_pixels_and_the_other_one_94() -> None:
    image, source, target = inputs(1, ImageConfig(height=256, width=256))
    discriminator = Discriminator(model(local_patches=True, discriminator_channels=2)).eval()
    for block in discriminator.blocks:  # the norm of a whole sample sees everything
        assert isinstance(block, DownBlock)
        block.norm = nn.Identity()
    condition = discriminator.condition(image, source, target)
    for size, expected in ((0, 94), (1, 22)):
        judged = image.clone().requires_grad_()
        logits = discriminator(condition, judged)[0].logits[size]
        logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
        assert judged.grad is not None
        rows = judged.grad.abs().sum(dim=(0, 1, 3)).nonzero()
        assert rows.max() - rows.min() + 1 == expected


def test_the_discriminator_may_be_told_nothing_of_the_source_s_ground() -> None:
    image, source, target = inputs(2)
    condition = Discriminator(model(judged_source="body")).condition(image, source, target)
    body = body_masks(source, 128, 64)
    assert torch.equal(condition[:, :3], image * body)
    assert 0 < body.float().mean() < 1
    assert torch.equal(Discriminator(model()).condition(image, source, target)[:, :3], image)


def test_images_judged_together_are_judged_as_the_whole_convolution_does() -> None:
    image, source, target = inputs(2, MARKET)
    discriminator = Discriminator(model())
    condition = discriminator.condition(image, source, target)
    for judged, made in zip((image, -image), discriminator(condition, image, -image), strict=True):
        expected = discriminator.blocks(discriminator.first(torch.cat((condition, judged), dim=1)))
        torch.testing.assert_close(made.logits[0], expected, atol=1e-4, rtol=1e-4)


@variants
def test_stacked_steps_are_the_same_generator_applied_again(deformation: str, changes: dict[str, Any]) -> None:
    once, thrice = (Generator(model(deformation, stacked_steps=steps, **changes), MARKET) for steps in (1, 3))
    for head in once.offset_heads.parameters():
        nn.init.normal_(head, std=0.01)
    assert parameters(thrice) == parameters(once)
    thrice.load_state_dict(once.state_dict())
    image, source, target = inputs(2, missing=0.3)
    poses = poses_between(source, target, 3)
    offsets: tuple[Tensor, ...] = ()
    for start, end in itertools.pairwise(poses):
        image, added = once(image, start, end)
        offsets += added
    output = thrice(*inputs(2, missing=0.3)[:1], source, target)
    torch.testing.assert_close(output.image, image, rtol=0, atol=0)
    assert len(output.offsets) == len(offsets) == (12 if "learned" in deformation else 0)
    assert all(torch.equal(one, other) for one, other in zip(output.offsets, offsets, strict=True))


@pytest.mark.parametrize("changes", [{}, COPYING], ids=["features", "image"])
def test_every_stacked_step_is_trained_through(changes: dict[str, Any]) -> None:
    generator = Generator(model("parts+learned", stacked_steps=2, **changes), MARKET)
    image, source, target = inputs(1)
    image.requires_grad_()
    output = generator(image, source, target)
    output.image.square().sum().backward()
    assert image.grad is not None
    assert image.grad.any()


@pytest.mark.parametrize("missing", [0.4, 1.0])
def test_stacked_steps_survive_missing_joints(missing: float) -> None:
    generator = Generator(model("parts+learned", stacked_steps=3), MARKET)
    image, source, target = inputs(2, missing=missing)
    for pose in (source, target):
        pose[pose[..., 2] == 0] = torch.tensor([float("nan"), float("inf"), 0])
    generator(image, source, target).image.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in generator.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("joint", range(18))
def test_any_one_joint_may_be_missing_at_either_end(joint: int) -> None:
    generator = Generator(model("parts+learned"), MARKET).eval()
    image, source, target = inputs(2)
    source[0, joint], target[1, joint] = torch.tensor([float("nan"), -1e9, 0]), torch.tensor([float("nan"), -1e9, 0])
    assert generator(image, source, target).image.isfinite().all()


def test_one_affine_warps_every_skip_by_it() -> None:
    generator = Generator(model("global"), MARKET).eval()
    image, source, _ = inputs()
    shifted = source.clone()
    shifted[..., 0] += 8  # whole pixels of all four warped levels
    affines, valid, masks = generator._parts(source, shifted)
    assert masks.all() and valid.all()
    torch.testing.assert_close(affines, torch.tensor([[1.0, 0, -8], [0, 1, 0]]).expand(2, 1, 2, 3), rtol=0, atol=1e-3)
    appearance = generator.appearance_encoder(torch.cat((image, torch.zeros(2, 18, 128, 64)), dim=1))
    moved, offsets = generator._deform(appearance, appearance, affines, valid, masks)
    assert offsets == ()
    for level in range(4):
        columns = 8 >> level
        torch.testing.assert_close(moved[level][..., columns:], appearance[level][..., :-columns], rtol=1e-3, atol=1e-3)
        assert moved[level][..., :columns].abs().max() < 1e-2
    assert all(torch.equal(one, other) for one, other in zip(moved[4:], appearance[4:], strict=True))


def test_more_warped_skips_than_levels_are_refused() -> None:
    with pytest.raises(PoseGANError, match=r"model.warped_skips: expected at most 6.*got 8"):
        Generator(model(warped_skips=8), MARKET)
    Generator(model(warped_skips=5), FASHION)
    with pytest.raises(PoseGANError, match=r"at most 5, the levels of 256 x 176 images that halve evenly, got 6"):
        Generator(model(warped_skips=6), FASHION)
