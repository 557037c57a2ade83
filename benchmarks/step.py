"""One training iteration: ours against a plain formulation of how earlier code schedules and computes it.

    python benchmarks/step.py --width 16 --batch 8

Both train the same networks (deformation by parts) with the same losses on the same batch, in turns in one
process under the same allocator, so that the ratio means something on a busy machine. The plain step runs the
generator anew for each update, lets the discriminator's gradient flow on into the generator, warps the whole
map once a part, and stacks n x n shifted copies for the nearest-neighbour loss.
"""

import resource
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import click
import torch
import torch.nn.functional as F
from torch import Tensor

from posegan.config import Params, load_params
from posegan.data import to_float
from posegan.device import choose_device, keep_freed_memory
from posegan.losses import GeneratorLoss, discriminator_loss
from posegan.networks import Discriminator, Generator
from posegan.updates import Pair, update_discriminator, update_generator

# A standing person at 128 x 64, x and y in pixels, in the order of posegan.skeleton.
STANDING = (
    (32, 14), (32, 28), (23, 28), (19, 42), (17, 56), (41, 28), (45, 42), (47, 56), (26, 60),
    (25, 84), (24, 108), (38, 60), (39, 84), (40, 108), (30, 12), (34, 12), (28, 14), (36, 14),
)  # fmt: skip


def make_pair(batch: int, device: torch.device) -> Pair:
    """Random images and two jittered poses a pair."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, batch, 3, 128, 64), generator=generator, dtype=torch.uint8)
    joints = torch.tensor(STANDING, dtype=torch.float32) + 3 * torch.randn(2, batch, 18, 2, generator=generator)
    keypoints = torch.cat((joints, torch.ones(2, batch, 18, 1)), dim=-1).to(device)
    return Pair(to_float(images[0].to(device)), keypoints[0], to_float(images[1].to(device)), keypoints[1])


def plain_warp(features: Tensor, affines: Tensor, valid: Tensor, masks: Tensor, offsets: None = None, combine: str = "max") -> Tensor:
    """The deformable skip as the paper writes it: each part warps the whole map, then the masked maximum."""
    height, width = features.shape[2:]
    image_height, image_width = masks.shape[2:]
    # affine_grid works on [-1, 1], image pixels on 0 .. W - 1: p = (n + 1) * W / 2 - 1 / 2.
    size = torch.tensor([image_width, image_height], dtype=affines.dtype, device=affines.device)
    linear, shift = affines[..., :2], affines[..., 2]
    shift = ((linear @ (size - 1)[:, None])[..., 0] + 2 * shift + 1) / size - 1
    normalised = torch.cat((linear * size / size[:, None], shift[..., None]), dim=-1).to(features.dtype)
    moved = torch.zeros_like(features)
    for part in range(valid.shape[1]):
        grid = F.affine_grid(normalised[:, part], list(features.shape), align_corners=False)
        warped = F.grid_sample(features, grid, align_corners=False)
        mask = F.adaptive_max_pool2d((masks[:, part] & valid[:, part, None, None]).float()[:, None], (height, width))
        moved = torch.maximum(moved, torch.where(mask > 0, warped, 0))  # an invalid part's affine may hold NaN
    return moved


def plain_nearest_neighbour(generated: Tensor, target: Tensor, window: int) -> Tensor:
    """The nearest-neighbour loss over n x n shifted copies of the target's map."""
    reach = window // 2
    padded = F.pad(target, (reach, reach, reach, reach), value=torch.inf)
    height, width = target.shape[2:]
    shifts = [padded[:, :, y : y + height, x : x + width] for y in range(window) for x in range(window)]
    return (torch.stack(shifts) - generated).abs().sum(dim=2).amin(dim=0).mean()


def plain_discriminator(discriminator: Discriminator, pair: Pair, image: Tensor) -> Tensor:
    """All 42 channels through the first convolution for every image that is judged."""
    condition = discriminator.condition(pair.source, pair.source_keypoints, pair.target_keypoints)
    logits: Tensor = discriminator.blocks(discriminator.first(torch.cat((condition, image), dim=1)))
    return logits


class Players:
    """Networks, optimisers and losses of one contestant; both start from the same weights."""

    def __init__(self, params: Params, device: torch.device) -> None:
        torch.manual_seed(0)
        self.generator = Generator(params.model, params.image).to(device)
        self.discriminator = Discriminator(params.model).to(device)
        self.losses = GeneratorLoss(params.loss, params.features)
        self.generator_optimiser = torch.optim.Adam(self.generator.parameters())
        self.discriminator_optimiser = torch.optim.Adam(self.discriminator.parameters())


def our_step(players: Players, pair: Pair) -> Tensor:
    """The iteration of posegan.training; returns the L1 term."""
    output = players.generator(pair.source, pair.source_keypoints, pair.target_keypoints)
    update_discriminator(players.discriminator, players.discriminator_optimiser, [pair], [output.image])
    return update_generator(players.discriminator, players.generator_optimiser, players.losses, [pair], [output])["l1"]


def plain_step(players: Players, pair: Pair) -> Tensor:
    """The reference's schedule and formulations; returns the L1 term."""
    discriminator, rest = players.discriminator, (pair.source, pair.source_keypoints)
    with ExitStack() as stack:
        stack.enter_context(patch("posegan.networks.warp_features", plain_warp))
        stack.enter_context(patch("posegan.losses.nearest_neighbour_loss", plain_nearest_neighbour))
        image = players.generator(*rest, pair.target_keypoints).image
        real = plain_discriminator(discriminator, pair, pair.target)
        players.discriminator_optimiser.zero_grad()
        discriminator_loss(real, plain_discriminator(discriminator, pair, image)).backward()
        players.discriminator_optimiser.step()
        output = players.generator(*rest, pair.target_keypoints)
        terms: dict[str, Tensor] = players.losses(output, pair.target, plain_discriminator(discriminator, pair, output.image))
        players.generator_optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        players.generator_optimiser.step()
    return terms["l1"].detach()


def timed(step: Callable[[], Tensor], device: torch.device) -> tuple[float, float]:
    """Seconds of one step, with what it left running on the device, and its L1 term."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    value = step().item()  # waits for the device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, value


@click.command()
@click.option(
    "--params", "path", type=click.Path(path_type=Path), default=Path("params.yaml"), show_default=True, help="Losses and the rest."
)
@click.option("--width", default=16, show_default=True, help="Channels of both networks' first level; the paper: 64.")
@click.option("--batch", default=8, show_default=True, help="Pairs a batch.")
@click.option("--device", "name", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N.")
@click.option("--repeats", default=5, show_default=True, help="Timed steps of each.")
def main(path: Path, width: int, batch: int, name: str, repeats: int) -> None:
    """Time both steps in turns; print medians, their ratio, images/s and peak memory."""
    keep_freed_memory()
    device, params = choose_device(name), load_params(path)
    model = {"deformation": "parts", "combine": "max", "generator_channels": width, "discriminator_channels": width}
    params = params.model_copy(update={"model": params.model.model_copy(update=model)})
    pair, ours, plain = make_pair(batch, device), Players(params, device), Players(params, device)
    first = timed(lambda: our_step(ours, pair), device)[1], timed(lambda: plain_step(plain, pair), device)[1]  # warms up
    times = [(timed(lambda: our_step(ours, pair), device)[0], timed(lambda: plain_step(plain, pair), device)[0]) for _ in range(repeats)]
    our_time, plain_time = (statistics.median(each) for each in zip(*times, strict=True))
    click.echo(f"width {width}, batch {batch}, {device}, {torch.get_num_threads()} threads, medians of {repeats}")
    click.echo(f"L1 at the first step, which must agree: ours {first[0]:.5f}, plain {first[1]:.5f}")
    click.echo(f"ours  {1000 * our_time:9.1f} ms  {batch / our_time:8.1f} images/s")
    click.echo(f"plain {1000 * plain_time:9.1f} ms  {batch / plain_time:8.1f} images/s  {plain_time / our_time:.2f} times ours")
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    click.echo(f"peak memory of both {peak / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
