"""The portable generator and its ONNX file draw what the generator draws."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from posegan.__main__ import cli
from posegan.config import ImageConfig
from posegan.inference.onnx_export import (
    INPUTS,
    MOST_GREY_LEVELS,
    MOST_ON_AVERAGE,
    PictureOnly,
    compare_pictures,
    export_onnx,
    fit_affine_by_newton,
    open_session,
    portable,
    trial_inputs,
    warp_densely,
)
from posegan.model.generator_file import load_generator, save_generator
from posegan.model.geometry import fit_affine, part_affines, part_masks
from posegan.model.networks import Generator
from posegan.model.warp import warp_features
from tests.support.use_fixtures import write_model
from tests.test_networks import COPYING, FASHION, MARKET, VARIANTS, inputs, model


@pytest.mark.parametrize("image", [MARKET, FASHION], ids=["128x64", "256x176"])
@pytest.mark.parametrize(
    ("deformation", "changes"),
    [*VARIANTS, ("parts", {"stacked_steps": 2}), ("parts", COPYING | {"stacked_steps": 2})],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_the_portable_generator_draws_the_same(deformation: str, changes: dict[str, Any], image: ImageConfig) -> None:
    torch.manual_seed(0)
    generator = Generator(model(deformation, dropout=0.5, **changes), image).eval()
    for parameter in generator.offset_heads.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    trial = trial_inputs(generator, 3)
    with torch.no_grad():
        expected, drawn = generator(*trial).image, PictureOnly(portable(generator))(*trial)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-3)  # an untrained network enlarges the last bits
    assert (drawn - expected).abs().mean() < 1e-5


@pytest.mark.parametrize("combine", ["max", "average"])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_dense_warp_is_the_sparse_one(combine: str, level: int) -> None:
    generator = Generator(model(), MARKET)
    _, source, target = trial_inputs(generator, 4)
    affines, valid = part_affines(source, target)
    masks = part_masks(target, 128, 64)
    height, width = 128 >> level, 64 >> level
    features = torch.randn(4, 5, height, width, generator=torch.Generator().manual_seed(level))
    offsets = 4 * torch.randn(4, 2, height, width, generator=torch.Generator().manual_seed(9))
    expected = warp_features(features, affines, valid, masks, offsets, combine)
    cover = (masks & valid[:, :, None, None]).float()
    torch.testing.assert_close(warp_densely(features, affines, cover, offsets, combine), expected, rtol=0, atol=1e-4)


def test_newton_finds_the_same_affines() -> None:
    random = torch.Generator().manual_seed(0)
    points, images = 100 * torch.rand(2, 500, 6, 2, generator=random, dtype=torch.float64)
    images[:200] = points[:200] @ torch.tensor([[1.1, 0.2], [-0.3, 0.9]], dtype=torch.float64) + 5  # exact fits
    chosen = torch.rand(500, 6, generator=random) > 0.3
    points[:20, :, 1] = 3 * points[:20, :, 0]  # on a line: no affine
    expected, valid = fit_affine(points, images, chosen)
    found, usable = fit_affine_by_newton(points, images, chosen)
    assert torch.equal(usable, valid)
    assert not valid[:20].any()
    torch.testing.assert_close(found[valid], expected[valid], rtol=1e-6, atol=1e-6)


def test_the_onnx_file_agrees_at_any_batch(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra posegan[export]")
    pytest.importorskip("onnxruntime", reason="needs the extra posegan[export]")
    path, out = write_model(tmp_path / "g.safetensors", deformation="parts"), tmp_path / "g.onnx"
    result = CliRunner().invoke(cli, ["export", str(out), "--model", str(path)])
    assert result.exit_code == 0, result.output
    assert "its pictures differ from PyTorch's by at most" in result.output
    generator, session = load_generator(path), open_session(out)
    assert [value.shape for value in session.get_inputs()] == [["batch", 3, 128, 64], ["batch", 18, 3], ["batch", 18, 3]]
    for size in (1, 3, 8):
        trial = trial_inputs(generator, size, seed=100 + size)
        [image] = session.run(None, {name: value.numpy() for name, value in zip(INPUTS, trial, strict=True)})
        with torch.no_grad():
            levels, mean = compare_pictures(torch.from_numpy(image), generator(*trial).image)
        assert levels <= MOST_GREY_LEVELS
        assert mean <= MOST_ON_AVERAGE
    empty = inputs(2, missing=1.0)
    [image] = session.run(None, {name: value.numpy() for name, value in zip(INPUTS, empty, strict=True)})
    assert np.isfinite(image).all()


@pytest.mark.parametrize("width", [176, 256])
def test_larger_images_are_exported(tmp_path: Path, width: int) -> None:
    """By the generator that moves nothing, which is exported in seconds: `test_the_portable_generator_draws_the_same` has the others."""
    pytest.importorskip("onnxscript", reason="needs the extra posegan[export]")
    pytest.importorskip("onnxruntime", reason="needs the extra posegan[export]")
    torch.manual_seed(0)
    image, networks = ImageConfig(height=256, width=width), model("none")
    save_generator(tmp_path / "g.safetensors", Generator(networks, image), networks, image, {})
    checked = export_onnx(tmp_path / "g.safetensors", tmp_path / "g.onnx")
    assert checked.grey_levels <= MOST_GREY_LEVELS
    assert checked.mean <= MOST_ON_AVERAGE
    assert next(value.shape for value in open_session(checked.path).get_inputs()) == ["batch", 3, 256, width]


def test_pictures_are_compared_as_they_are_saved() -> None:
    """On an edge of two grey levels the least difference is one of them; a tenth of a level everywhere is too much on average."""
    expected = torch.full((1, 3, 8, 8), 100.5 / 127.5 - 1)
    barely = expected.clone()
    barely[0, 0, 0, 0] -= 1e-4
    assert compare_pictures(expected, expected) == (0, 0.0)
    assert compare_pictures(barely, expected)[0] <= 1
    assert compare_pictures(expected + 0.1 / 127.5, expected)[1] > MOST_ON_AVERAGE
    barely[0, 0, 0, 0] += 3 / 127.5
    assert compare_pictures(barely, expected)[0] > MOST_GREY_LEVELS


def test_export_to_a_folder_and_wrong_names(tmp_path: Path) -> None:
    path = write_model(tmp_path / "g.safetensors")
    run = CliRunner()
    assert run.invoke(cli, ["export", str(tmp_path / "hub"), "--model", str(path)]).exit_code == 0
    assert {file.name for file in (tmp_path / "hub").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    refused = run.invoke(cli, ["export", str(tmp_path / "g.pt"), "--model", str(path)])
    assert "expected a name that ends in .onnx, or a folder's name" in refused.output
    absent = run.invoke(cli, ["export", str(tmp_path / "g.onnx"), "--model", str(tmp_path / "absent.safetensors")])
    assert absent.exit_code == 1
    assert "absent.safetensors: no such file" in absent.output
    assert not (tmp_path / "g.onnx").exists()
