"""What of a drawing is copied and what is invented: the two halves are the drawing, and follow the network's own mixture."""

import numpy as np
import pytest
import torch

from posegan.demo.studio import built_in_people
from posegan.inference.origins import Origins, draw_with_origins
from posegan.inference.transfer import PoseTransfer
from posegan.model.networks import IMAGE_CHANNELS, Generator
from posegan.people.detection import Posed, read_image
from posegan.people.pose_library import library_pose
from tests.support.tiny_run import tiny_params


def generator_of(**model: object) -> Generator:
    params = tiny_params(model={"dropout": 0.0, **model})
    torch.manual_seed(0)
    return Generator(params.model, params.image).eval()


def told(generator: Generator) -> tuple[torch.Tensor, Origins | None]:
    torch.manual_seed(1)
    poses = [torch.from_numpy(library_pose(name, 128, 64))[None] for name in ("standing/front", "walking-3/left")]
    return draw_with_origins(generator, torch.rand(1, 3, 128, 64) * 2 - 1, *poses)


def tilted(towards_copies: float) -> Origins:
    """Of a generator whose every logit of a copy is raised by so much."""
    generator = generator_of()
    with torch.no_grad():
        assert generator.decoder.last.bias is not None
        generator.decoder.last.bias[IMAGE_CHANNELS:] += towards_copies
    origins = told(generator)[1]
    assert origins is not None
    return origins


def test_the_halves_add_up_to_the_drawing() -> None:
    drawing, origins = told(generator_of())
    assert origins is not None
    assert origins.share.min() >= 0 and origins.share.max() <= 1
    assert 0.1 < origins.share.mean() < 0.9
    mixed = origins.share * origins.copied + (1 - origins.share) * origins.invented
    torch.testing.assert_close(mixed, drawing, rtol=0, atol=2e-3)


def test_the_share_follows_the_network() -> None:
    much, little = tilted(20.0), tilted(-20.0)
    assert little.share.max() < 1e-4
    assert much.body_share > 0.9
    assert much.ground_share > 0.5


def test_shares_are_of_the_body_and_of_the_rest() -> None:
    body = torch.zeros(4, 4, dtype=torch.bool)
    body[:2] = True
    colours = torch.zeros(3, 4, 4)
    origins = Origins(torch.where(body, 0.75, 0.25), colours, colours, body)
    assert (origins.body_share, origins.ground_share) == (0.75, 0.25)
    assert origins._replace(body=torch.zeros_like(body)).body_share == 0
    assert origins._replace(body=torch.ones_like(body)).ground_share == 0


@pytest.mark.parametrize("model", [{"image_skip": False}, {"image_skip": False, "deformation": "none"}])
def test_a_generator_without_image_skip_invents_everything(model: dict[str, object]) -> None:
    drawing, origins = told(generator_of(**model))
    assert origins is not None
    assert origins.share.max() == 0
    assert torch.equal(origins.invented, drawing)


def test_of_several_steps_nothing_is_told() -> None:
    assert told(generator_of(stacked_steps=2))[1] is None


def test_no_hook_stays() -> None:
    generator = generator_of()
    told(generator)
    assert not generator.decoder._forward_pre_hooks
    assert not generator.decoder.last._forward_hooks


def test_what_is_explained_is_what_is_drawn() -> None:
    transfer = PoseTransfer("drawn", "cpu")
    path, keypoints = built_in_people()[0]
    source = transfer.fit(Posed(read_image(path), keypoints))
    target = library_pose("waving/front", *transfer.size)
    explained = transfer.explain(source, target)
    assert np.array_equal(explained.picture, transfer.draw([source], [target])[0].permute(1, 2, 0).numpy())
    assert np.array_equal(transfer.explain(source, source.keypoints).warped, source.pixels)  # nothing moved is the source
