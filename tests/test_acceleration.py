"""Acceleration changes speed and nothing else: same weights' names, same images up to rounding."""

from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

from posegan.data.batches import to_float
from posegan.model.networks import Discriminator, Generator
from posegan.training.losses import GeneratorLoss
from posegan.training.updates import Pair, compile_networks, fused_adam, placed, update_discriminator, update_generator
from tests.support.tiny_run import random_batch, tiny_params

# Of one release of Python, which it advises to replace.
pytestmark = pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
CPU = torch.device("cpu")
PARAMS = tiny_params(model={"dropout": 0.0}, loss={"nearest_neighbour": 0.01})


def one_step(channels_last: bool = False, compiled: bool = False) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Terms of an iteration, and the generator's weights after it."""
    torch.manual_seed(0)
    generator = placed(Generator(PARAMS.model, PARAMS.image), CPU, channels_last)
    discriminator = placed(Discriminator(PARAMS.model), CPU, channels_last)
    losses = GeneratorLoss(PARAMS.loss, PARAMS.features)
    optimisers = [torch.optim.SGD(network.parameters(), 1e-3) for network in (generator, discriminator)]
    if compiled:
        names = compile_networks(generator, discriminator, losses, "default", backend="aot_eager")
        assert set(names) == {"appearance_encoder", "pose_encoder", "decoder", "discriminator", "features"}
    batch = random_batch(0)
    pair = Pair(to_float(batch.source_images), batch.source_keypoints, to_float(batch.target_images), batch.target_keypoints)
    output = generator(pair.source, pair.source_keypoints, pair.target_keypoints)
    terms = update_discriminator(discriminator, optimisers[1], [pair], [output.image])
    terms |= update_generator(discriminator, optimisers[0], losses, [pair], [output])
    return terms, generator.state_dict()


# torch's own tracer looks at .grad of what it is given, and hides the warning unless warnings are errors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(("channels_last", "compiled"), [(True, False), (False, True)])
def test_a_step_is_the_same_step(channels_last: bool, compiled: bool) -> None:
    plain, fast = one_step(), one_step(channels_last, compiled)
    for expected, actual in zip(plain, fast, strict=True):
        assert expected.keys() == actual.keys()
        for name, value in expected.items():
            torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-5)


def test_what_follows_the_colours_is_laid_out_by_pixel() -> None:
    drawing = PARAMS.model.model_copy(update={"image_skip": False})  # what is copied lies colour by colour, as the source does
    generator = placed(Generator(drawing, PARAMS.image), CPU, channels_last=True)
    batch = random_batch(0)
    image = generator(to_float(batch.source_images), batch.source_keypoints, batch.target_keypoints).image
    assert image.is_contiguous(memory_format=torch.channels_last)


def test_fused_adam_is_adam() -> None:
    networks = [torch.nn.Linear(3, 2) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    optimisers = [torch.optim.Adam(networks[0].parameters(), 0.1, (0.5, 0.9)), fused_adam(networks[1], 0.1, (0.5, 0.9))]
    for step in range(5):
        for network, optimiser in zip(networks, optimisers, strict=True):
            optimiser.zero_grad()
            network(torch.full((1, 3), float(step))).square().sum().backward()
            optimiser.step()
    assert optimisers[1].defaults["fused"]
    torch.testing.assert_close(networks[1].weight, networks[0].weight)


def test_a_compiled_discriminator_that_stands_still_computes_no_gradients_of_its_weights() -> None:
    wanted: list[bool] = []  # of each convolution's backward pass: the weight's gradient

    def look(graph: torch.fx.GraphModule, _: object) -> Any:
        backward = torch.ops.aten.convolution_backward.default
        wanted.extend(node.args[-1][1] for node in graph.graph.nodes if node.target is backward)
        return make_boxed_func(graph.forward)

    generator, discriminator = Generator(PARAMS.model, PARAMS.image), Discriminator(PARAMS.model)
    backend = aot_autograd(fw_compiler=look, bw_compiler=look)
    compile_networks(generator, discriminator, GeneratorLoss(PARAMS.loss, PARAMS.features), "default", backend)
    batch = random_batch(0)
    condition = discriminator.condition(to_float(batch.source_images), batch.source_keypoints, batch.target_keypoints)
    image = to_float(batch.target_images).requires_grad_()
    for images, learns in (((image, image), True), ((image,), False)):  # as in either player's update
        discriminator.requires_grad_(learns)
        sum(logits.sum() for judged in discriminator(condition, *images) for logits in judged.logits).backward()
        assert wanted
        assert all(weight is learns for weight in wanted)
        wanted.clear()
