"""Laws of the two updates: each recipe plays them, at any batch size; what one player learns, the other does not feel."""

import pytest
import torch

from posegan.config import Params, load_params
from posegan.data import to_float
from posegan.model.networks import Discriminator, Generator
from posegan.training.losses import GeneratorLoss, gradient_penalty
from posegan.training.updates import Pair, update_discriminator, update_generator
from tests.support.tiny_run import ROOT, random_batch, tiny_params

RECIPES = load_params(ROOT / "params.yaml").recipes
TERMS = {
    "baseline": {"adversarial", "l1"},
    "dsc": {"adversarial", "l1"},
    "perceptual": {"adversarial", "perceptual_random_filters"},
    "full": {"adversarial", "nearest_neighbour_random_filters"},
    "ours": {"adversarial", "l1", "offset_smoothness", "feature_matching"},
}


def recipe(name: str, **model: object) -> Params:
    decided = RECIPES[name].model_dump()
    return tiny_params(model=decided["model"] | {"generator_channels": 2, "discriminator_channels": 2} | model, loss=decided["loss"])


def players(params: Params, size: int) -> tuple[Generator, Discriminator, Pair]:
    torch.manual_seed(0)
    batch = random_batch(0, size)
    pair = Pair(to_float(batch.source_images), batch.source_keypoints, to_float(batch.target_images), batch.target_keypoints)
    return Generator(params.model, params.image), Discriminator(params.model), pair


def moved(before: dict[str, torch.Tensor], network: torch.nn.Module) -> list[bool]:
    return [not torch.equal(before[name], weight) for name, weight in network.named_parameters()]


def copied(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_s_terms_are_finite_and_move_every_weight(name: str, size: int) -> None:
    params = recipe(name)
    generator, discriminator, pair = players(params, size)
    before = copied(generator), copied(discriminator)
    output = generator(pair.source, pair.source_keypoints, pair.target_keypoints)
    terms = update_discriminator(discriminator, torch.optim.Adam(discriminator.parameters()), [pair], [output.image])
    assert terms.keys() == {"discriminator"}
    losses = GeneratorLoss(params.loss, params.features)
    terms |= update_generator(discriminator, torch.optim.Adam(generator.parameters()), losses, [pair], [output])
    assert terms.keys() == TERMS[name] | {"discriminator"}
    assert all(term.isfinite() and not term.requires_grad for term in terms.values())
    assert all(moved(before[0], generator))
    assert all(moved(before[1], discriminator))


def test_the_discriminator_s_step_does_not_reach_the_generator() -> None:
    generator, discriminator, pair = players(recipe("ours"), 2)
    output = generator(pair.source, pair.source_keypoints, pair.target_keypoints)
    update_discriminator(discriminator, torch.optim.Adam(discriminator.parameters()), [pair], [output.image])
    assert all(weight.grad is None for weight in generator.parameters())


def test_a_gradient_penalty_keeps_the_discriminator_flat() -> None:
    def slope_after_some_steps(penalty: float) -> float:
        _, discriminator, pair = players(recipe("ours"), 4)
        optimiser = torch.optim.Adam(discriminator.parameters(), lr=0.01)
        for _ in range(30):  # grey pictures are easy to tell
            terms = update_discriminator(discriminator, optimiser, [pair], [torch.zeros_like(pair.target)], penalty)
            assert terms.keys() == {"discriminator", *(["gradient_penalty"] if penalty else [])}
        torch.manual_seed(1)
        with torch.no_grad():
            condition = discriminator.condition(pair.source, pair.source_keypoints, pair.target_keypoints)
            return gradient_penalty(*discriminator(condition, pair.target, pair.target + 0.05 * torch.randn_like(pair.target))).item()

    free, held = (slope_after_some_steps(penalty) for penalty in (0.0, 1.0))
    assert held < free / 4


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_stacked_generator_plays_the_same_game(precision: torch.dtype) -> None:
    params = recipe("ours", stacked_steps=2)
    generator, discriminator, pair = players(params, 1)
    losses = GeneratorLoss(params.loss, params.features)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        output = generator(pair.source, pair.source_keypoints, pair.target_keypoints)
        terms = update_generator(discriminator, torch.optim.Adam(generator.parameters()), losses, [pair], [output])
    assert terms.keys() == TERMS["ours"]
    assert all(term.isfinite() for term in terms.values())
