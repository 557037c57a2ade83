"""A tiny untrained generator, drawn people and a detector that needs no network, for the tests of the commands."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from pipeline.drawing.picture import draw_identity, draw_people, draw_placement
from pipeline.drawing.scene import draw_camera
from posegan.model.generator_file import save_generator
from posegan.model.networks import Generator
from tests.support.tiny_run import tiny_params


def write_model(path: Path, seed: int = 0, deformation: str = "parts+learned", **provenance: str) -> Path:
    """An untrained generator of 128 x 64."""
    params = tiny_params(model={"deformation": deformation})
    torch.manual_seed(seed)
    generator = Generator(params.model, params.image)
    for parameter in generator.offset_heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # as if trained: at zero an offset could be lost unseen
    save_generator(path, generator, params.model, params.image, provenance)
    return path


def drawn_person(seed: int, yaw: float = 0.3) -> PIL.Image.Image:
    """A drawn person of 128 x 64 whom the shipped detector finds."""
    rng = np.random.default_rng(seed)
    camera = draw_camera(rng)
    drawing = draw_people(rng, [(draw_identity(rng), yaw, draw_placement(rng, camera.pitch))], camera)[0]
    return PIL.Image.open(io.BytesIO(drawing.jpeg)).convert("RGB")


def photograph(seed: int, size: tuple[int, int] = (300, 200)) -> PIL.Image.Image:
    """A drawn person in the middle of a larger plain picture."""
    person = drawn_person(seed)
    photo = PIL.Image.new("RGB", size, tuple(np.asarray(person)[0, 0].tolist()))
    photo.paste(person, ((size[0] - 64) // 2, (size[1] - 128) // 2))
    return photo
