"""LPIPS and its stand-in: their definitions, on random backbones."""

from pathlib import Path
from typing import get_args

import pytest
import torch
import torchmetrics.functional.image.lpips as reference
from torch import Tensor
from torch.nn.functional import interpolate, normalize
from torchvision.models import alexnet
from torchvision.transforms.functional import gaussian_blur

from posegan.errors import PoseGANError
from posegan.frozen.lpips import ALEXNET, VGG16, Backbone, PerceptualDistance, RandomFilterDistance
from tests.support.random_weights import as_weights, random_state

STATES = {"alex": "alexnet", "vgg": "vgg16"}
CPU = torch.device("cpu")
# The layers whose outputs are compared (Zhang et al., 2018): after the last ReLU of each block.
LAYERS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}


def images(seed: int, count: int = 3) -> Tensor:
    return torch.randint(0, 256, (count, 3, 64, 48), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.fixture(scope="module", params=get_args(Backbone))
def distance(request: pytest.FixtureRequest) -> tuple[Backbone, PerceptualDistance]:
    return request.param, PerceptualDistance(request.param, as_weights(random_state(STATES[request.param])), CPU)


def test_identical_images_are_0_apart_and_order_does_not_matter(distance: tuple[Backbone, PerceptualDistance]) -> None:
    _, lpips = distance
    assert lpips(images(0), images(0)).tolist() == [0, 0, 0]
    there, back = lpips(images(0), images(1)), lpips(images(1), images(0))
    assert (there > 0).all()
    torch.testing.assert_close(there, back)
    alone = torch.cat([lpips(images(0)[i : i + 1], images(1)[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, there, rtol=1e-5, atol=1e-8)


@pytest.fixture(scope="module")
def stand_in() -> RandomFilterDistance:
    return RandomFilterDistance(CPU)


def test_the_stand_in_is_a_distance_of_two_images_alone(stand_in: RandomFilterDistance) -> None:
    assert stand_in(images(0), images(0)).tolist() == [0, 0, 0]
    there, back = stand_in(images(0), images(1)), stand_in(images(1), images(0))
    assert ((there > 0) & (there < 10)).all()
    torch.testing.assert_close(there, back)
    alone = torch.cat([stand_in(images(0)[i : i + 1], images(1)[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, there, rtol=1e-5, atol=1e-8)


def test_the_stand_in_weighs_all_channels_and_layers_alike(stand_in: RandomFilterDistance) -> None:
    layers, generator = alexnet().features, torch.Generator().manual_seed(0)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    first, second = ((batch.float() / 255 - mean) / std for batch in (images(0), images(1)))
    expected = torch.zeros(3)
    with torch.no_grad():
        for position, layer in enumerate(layers[: LAYERS["alex"][-1] + 1]):
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.normal_(0, (2 / layer.weight[0].numel()) ** 0.5, generator=generator)
                layer.bias.zero_()  # type: ignore[union-attr]
            first, second = layer(first), layer(second)
            if position in LAYERS["alex"]:
                expected += (normalize(first, dim=1) - normalize(second, dim=1)).square().sum(dim=1).mean(dim=(1, 2))
    torch.testing.assert_close(stand_in(images(0), images(1)), expected.double(), rtol=1e-3, atol=1e-6)


def test_the_stand_in_grows_with_blur_and_with_noise(stand_in: RandomFilterDistance) -> None:
    real = interpolate(images(0).float()[..., ::8, ::8], scale_factor=8, mode="bicubic").clamp(0, 255)
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    blurred = [gaussian_blur(real, [8 * sigma + 1] * 2, [float(sigma)]) for sigma in (1, 2, 4)]
    noisy = [(real + deviation * noise).clamp(0, 255) for deviation in (5, 15, 45)]
    for worse in (blurred, noisy):
        distances = torch.stack([stand_in(image.to(torch.uint8), real.to(torch.uint8)) for image in worse])
        assert (distances[0] > 0).all()
        assert (distances.diff(dim=0) > 0).all()


def test_the_stand_in_is_the_same_in_every_process(stand_in: RandomFilterDistance) -> None:
    torch.manual_seed(5)
    distances = RandomFilterDistance(CPU)(images(0), images(1))
    assert torch.equal(distances, stand_in(images(0), images(1)))
    assert distances.tolist() == pytest.approx([1.88693, 1.90827, 1.92209], rel=1e-3)  # found in another


def test_it_is_the_published_formula(distance: tuple[Backbone, PerceptualDistance]) -> None:
    backbone, lpips = distance
    layers = {"alex": reference._get_tv_model_features("alexnet"), "vgg": reference._get_tv_model_features("vgg16")}[backbone]
    layers.load_state_dict({name.removeprefix("features."): value for name, value in random_state(STATES[backbone]).items()})
    linear = torch.load(Path(reference.__file__).parent / "lpips_models" / f"{backbone}.pth", map_location="cpu", weights_only=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    first, second = ((batch.float() / 255 - mean) / std for batch in (images(0), images(1)))
    expected = torch.zeros(3)
    with torch.no_grad():
        for position, layer in enumerate(layers[: LAYERS[backbone][-1] + 1]):
            first, second = layer(first), layer(second)
            if position in LAYERS[backbone]:
                weights = linear[f"lin{LAYERS[backbone].index(position)}.model.1.weight"]
                squared = (normalize(first, dim=1) - normalize(second, dim=1)).square()
                expected += (weights * squared).sum(dim=1).mean(dim=(1, 2))
    torch.testing.assert_close(lpips(images(0), images(1)), expected.double(), rtol=1e-3, atol=1e-6)


def test_neither_draws_global_random_numbers() -> None:
    state = random_state("alexnet")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    PerceptualDistance("alex", as_weights(state), CPU)
    RandomFilterDistance(CPU)(images(0), images(1))
    assert torch.equal(torch.rand(4), expected)


def test_other_weights_and_tiny_images_are_refused() -> None:
    with pytest.raises(PoseGANError, match=r"0\.weight: expected shape \(64, 3, 11, 11\), got shape \(64, 3, 3, 3\)"):
        PerceptualDistance("alex", as_weights(random_state("vgg16")), CPU)
    lpips = PerceptualDistance("alex", as_weights(random_state("alexnet")), CPU)
    for each in (lpips, RandomFilterDistance(CPU)):
        with pytest.raises(ValueError, match="at least 32 pixels"):
            each(images(0)[..., :31], images(0)[..., :31])


def test_official_names_hold_the_first_digits_of_their_hash() -> None:
    for file in (ALEXNET, VGG16):
        assert file.names[0].endswith(f"-{file.sha256[:8]}.pth")
        assert file.url.endswith(file.names[0])
