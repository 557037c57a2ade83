"""Laws of the frozen VGG-19: torchvision's own features, private random numbers, honest descriptions and errors."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import VGG19_Weights, Weights, WeightsEnum, vgg19
from torchvision.transforms.functional import normalize

from posegan.config import FeaturesConfig
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.frozen.vgg import VGG19Features

RANDOM = FeaturesConfig(weights="random", sha256="")


def pinned(path: Path) -> FeaturesConfig:
    return FeaturesConfig(weights=str(path), sha256=sha256_of(path))


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """The first two blocks of a VGG-19 in torchvision's names, as a real file of weights has them."""
    generator = torch.Generator().manual_seed(7)
    with torch.device("meta"):
        shapes = {f"features.{name}": parameter.shape for name, parameter in vgg19().features[:10].named_parameters()}
    return {name: torch.randn(shape, generator=generator) * 0.05 for name, shape in shapes.items()}


def image(batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 32, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_gives_torchvision_s_features_of_the_normalised_image(tmp_path: Path, state: dict[str, Tensor], suffix: str) -> None:
    path = tmp_path / f"vgg{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    features = VGG19Features(["relu1_2", "relu2_1"], pinned(path))
    layers = vgg19().features[:7].eval()
    layers.load_state_dict({name.removeprefix("features."): state[name] for name in state if int(name.split(".")[1]) < 7})
    normalised = normalize((image() + 1) / 2, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    given = features(image())
    torch.testing.assert_close(given["relu1_2"], layers[:4](normalised), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(given["relu2_1"], layers(normalised), rtol=1e-4, atol=1e-5)
    assert features.description == f"VGG-19, vgg{suffix} (SHA-256 {sha256_of(path)[:12]})"


def test_layers_have_their_published_shapes_and_no_deeper_ones_are_built() -> None:
    features = VGG19Features(["relu1_2", "relu2_1", "relu3_1"], RANDOM)
    shapes = {name: tuple(feature.shape[1:]) for name, feature in features(image()).items()}
    assert shapes == {"relu1_2": (64, 32, 16), "relu2_1": (128, 16, 8), "relu3_1": (256, 8, 4)}
    assert sum(parameter.numel() for parameter in VGG19Features(["relu1_2"], RANDOM).parameters()) == 3 * 64 * 9 + 64 + 64 * 64 * 9 + 64


def test_random_filters_are_the_same_every_time_and_at_every_depth() -> None:
    shallow, deep = VGG19Features(["relu1_2"], RANDOM), VGG19Features(["relu1_2", "relu2_2"], RANDOM)
    torch.testing.assert_close(shallow(image())["relu1_2"], deep(image())["relu1_2"], rtol=0, atol=0)
    assert shallow.description == "VGG-19, random filters (seed 0)"


def test_building_draws_no_global_random_numbers() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    VGG19Features(["relu2_1"], RANDOM)
    torch.testing.assert_close(torch.rand(4), expected, rtol=0, atol=0)


def test_random_features_stay_in_a_sane_range() -> None:
    for feature in VGG19Features(["relu1_2", "relu2_1", "relu4_1"], RANDOM)(image()).values():
        assert 0.1 < feature.square().mean().sqrt() < 10


def test_the_filters_are_frozen_but_the_image_is_not() -> None:
    features = VGG19Features(["relu1_2"], RANDOM).train()
    given = image().requires_grad_()
    features(given)["relu1_2"].sum().backward()
    assert given.grad is not None
    assert given.grad.any()
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(PoseGANError, match=r"no layer 'relu1_3'; choose one of relu1_1, relu1_2, relu2_1"):
        VGG19Features(["relu1_3"], RANDOM)


def test_a_missing_file_names_itself_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match=r"absent\.pth: no such file; set features\.weights"):
        VGG19Features(["relu1_2"], FeaturesConfig(weights=str(tmp_path / "absent.pth"), sha256="0" * 64))


def test_another_sha256_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(state, path)
    with pytest.raises(PoseGANError, match=f"expected {'0' * 64}"):
        VGG19Features(["relu1_2"], FeaturesConfig(weights=str(path), sha256="0" * 64))


@pytest.mark.parametrize("name", ["vgg.pth", "vgg.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>quota exceeded</html>", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PoseGANError, match="not a readable state dict"):
        VGG19Features(["relu1_2"], pinned(tmp_path / name))


def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    torch.save(Payload(), tmp_path / "vgg.pth")
    with pytest.raises(PoseGANError, match="not a readable state dict"):
        VGG19Features(["relu1_2"], pinned(tmp_path / "vgg.pth"))
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_network_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(state | {"features.2.weight": torch.zeros(1)}, path)
    with pytest.raises(PoseGANError, match=r"features\.2\.weight: expected shape \(64, 64, 3, 3\).*got shape \(1,\)"):
        VGG19Features(["relu1_2"], pinned(path))


def test_no_network_says_where_to_put_the_official_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> Mapping[str, Tensor]:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(VGG19_Weights, "get_state_dict", unreachable)
    with pytest.raises(PoseGANError, match=rf"no route to host.*vgg19-dcbb9e9d\.pth at {tmp_path}/checkpoints/vgg19-dcbb9e9d\.pth"):
        VGG19Features(["relu1_2"], FeaturesConfig(weights="official", sha256=""))


def served(folder: Path, state: dict[str, Tensor]) -> tuple[type[WeightsEnum], str]:
    """Weights whose address is a file, named by the first digits of its hash as torchvision names its own; and the hash."""
    torch.save(state, folder / "vgg19.pth")
    sha256 = sha256_of(folder / "vgg19.pth")
    path = (folder / "vgg19.pth").rename(folder / f"vgg19-{sha256[:8]}.pth")

    class Served(WeightsEnum):
        IMAGENET1K_V1 = Weights(url=path.as_uri(), transforms=nn.Identity, meta={})

    return Served, sha256


def test_official_weights_are_fetched_once_into_torch_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    weights, sha256 = served(tmp_path, state)
    monkeypatch.setattr("posegan.frozen.vgg.VGG19_Weights", weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    for given in ("", sha256):
        features = VGG19Features(["relu1_2"], FeaturesConfig(weights="official", sha256=given))
        assert features.description == "VGG-19, torchvision IMAGENET1K_V1"
        torch.testing.assert_close(dict(features.layers.named_parameters())["0.weight"].data, state["features.0.weight"])
        (tmp_path / f"vgg19-{sha256[:8]}.pth").unlink(missing_ok=True)  # the second time there is no network


@pytest.mark.parametrize("pin", [False, True])
def test_a_copy_in_torch_home_is_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: dict[str, Tensor], pin: bool) -> None:
    weights, sha256 = served(tmp_path, state)
    monkeypatch.setattr("posegan.frozen.vgg.VGG19_Weights", weights)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    place = tmp_path / "home" / "hub" / "checkpoints" / f"vgg19-{sha256[:8]}.pth"
    place.parent.mkdir(parents=True)
    if pin:
        shutil.copy(tmp_path / place.name, place)
    else:
        torch.save({name: weight + 1 for name, weight in state.items()}, place)
    expected = "0" * 64 if pin else sha256[:8]
    with pytest.raises(PoseGANError, match=rf"{place.name}: expected SHA-256 {expected}.*remove it"):
        VGG19Features(["relu1_2"], FeaturesConfig(weights="official", sha256="0" * 64 if pin else ""))
