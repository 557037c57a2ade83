"""The hub's folder: written whole, loaded back bit for bit, refused when its parts disagree."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from posegan.errors import PoseGANError
from posegan.inference.transfer import PoseTransfer
from posegan.model.generator_file import CARD, CONFIG, WEIGHTS, save_generator, save_pretrained
from posegan.model.networks import Generator
from tests.support.tiny_run import random_batch, tiny_params


@pytest.fixture
def model(tmp_path: Path) -> Path:
    params = tiny_params()
    torch.manual_seed(0)
    save_generator(tmp_path / "g.safetensors", Generator(params.model, params.image), params.model, params.image, {"seed": "0"})
    return tmp_path / "g.safetensors"


def test_an_exported_folder_draws_the_same(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    save_pretrained(model, folder)
    save_pretrained(model, folder)  # again, over itself
    assert sorted(path.name for path in folder.iterdir()) == sorted([CARD, CONFIG, WEIGHTS])
    batch = random_batch(0)
    source, joints = batch.source_images[0].permute(1, 2, 0).contiguous().numpy(), batch.source_keypoints[0].numpy()
    first, second = (PoseTransfer.from_pretrained(path, "cpu")(source, "standing", joints) for path in (model, folder))
    assert np.array_equal(first, second)
    config = json.loads((folder / CONFIG).read_text())
    assert config["image"] == {"height": 128, "width": 64}
    assert (folder / CARD).read_text().startswith("---\nlibrary_name: posegan\nlicense: agpl-3.0\n")


def test_parts_that_disagree_are_refused(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    save_pretrained(model, folder)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, "image": {"height": 256, "width": 176}}))
    with pytest.raises(PoseGANError, match=r"its image is not that of model\.safetensors beside it"):
        PoseTransfer(folder)
    (folder / CONFIG).write_text("{")
    with pytest.raises(PoseGANError, match="not JSON"):
        PoseTransfer(folder)
    (folder / CONFIG).unlink()
    with pytest.raises(PoseGANError, match=r"a folder without config\.json"):
        PoseTransfer(folder)


def test_other_files_are_not_overwritten(model: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(PoseGANError, match="holds other files"):
        save_pretrained(model, tmp_path / "home")
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"
