"""Lesson 5: a network that draws. A generative adversarial network (Goodfellow et al., 2014) is two players of one game.

The *generator* turns random numbers into a picture. The *discriminator* says whether a picture is a real digit or a drawn one. Each learns
from the other. Nobody ever tells the generator what a digit looks like; all it gets is the gradient of the other's opinion, pixel by pixel.

Legend: B pictures of a batch, Z random numbers a picture; a shape stands behind the line it is of.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons.data import CLASSES, Images
from lessons.lesson3_pytorch_digits import as_tensor, load_reader, read
from lessons.pictures import save_curves, save_grid
from posegan.config import Positive, Section, Weight

Bytes = npt.NDArray[np.uint8]


class Settings(Section):
    """What lessons/params.yaml says under `lesson5`."""

    noise: Positive  # Z
    channels: Positive
    batch_size: Positive
    epochs: Positive
    images: Positive  # seen in an epoch
    learning_rate: Weight
    collapse_epochs: Positive
    collapse_generator_steps: Positive  # of the generator, for one of the discriminator, in the run that is to collapse


def new_generator(noise: int, channels: int) -> nn.Module:
    """A CNN the other way round: from few numbers to many, from small maps to larger ones."""
    return nn.Sequential(
        nn.Linear(noise, 4 * channels * 7 * 7), nn.Unflatten(1, (4 * channels, 7, 7)),  #  (B, Z) -> (B, 64, 7, 7)
        nn.BatchNorm2d(4 * channels), nn.ReLU(),
        nn.ConvTranspose2d(4 * channels, 2 * channels, 4, stride=2, padding=1),  #         (B, 32, 14, 14): each paints 4 x 4, 2 apart
        nn.BatchNorm2d(2 * channels), nn.ReLU(),
        nn.ConvTranspose2d(2 * channels, 1, 4, stride=2, padding=1), nn.Tanh(),  #         (B, 1, 28, 28) in [-1, 1], as real pictures are
    )  # fmt: skip


def new_discriminator(channels: int, scores: int = 1) -> nn.Module:
    """A CNN with one score: positive means real. Strides of 2, no pooling, a ReLU that keeps 0.2 of negatives: gradients for all pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 2 * channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  #             (B, 1, 28, 28) -> (B, 32, 14, 14)
        nn.Conv2d(2 * channels, 4 * channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  #  (B, 64, 7, 7)
        nn.Dropout(0.3), nn.Flatten(), nn.Linear(4 * channels * 7 * 7, scores),  #            (B, 1)
    )  # fmt: skip


# --- The game. D: the probability that a picture is real, sigmoid(score) = 1 / (1 + exp(-score)), which is softmax of (score, 0) ----------


def discriminator_loss(real: Tensor, drawn: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(drawn)): lesson 1's cross-entropy with two classes, a mean for either. 2 log 2 = 1.39 is a tossed coin.

    -log sigmoid(s) = log(1 + exp(-s)) = softplus(-s), and 1 - sigmoid(s) = sigmoid(-s).
    """
    return F.softplus(-real).mean() + F.softplus(drawn).mean()


def generator_loss(drawn: Tensor) -> Tensor:
    """-log D(drawn): be taken for real. (log(1 - D), the other's loss turned round, is nearly flat where the generator is found out.)"""
    return F.softplus(-drawn).mean()


class Epoch(NamedTuple):
    """After an epoch: both losses, means over it, and digits that are always drawn from the same random numbers, (n, 28, 28)."""

    discriminator: float
    generator: float
    digits: Bytes


def play(generator: nn.Module, images: Bytes, settings: Settings, seed: int, epochs: int, generator_steps: int = 1) -> Iterator[Epoch]:
    """Alternate: a step of the discriminator, then `generator_steps` of the generator."""
    torch.manual_seed(seed)
    discriminator = new_discriminator(settings.channels)
    # Lesson 2's keep = 0.5, PyTorch's first beta: the opponent moves, so old gradients are worth less (Radford et al., 2016).
    of_generator, of_discriminator = (
        torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999)) for network in (generator, discriminator)
    )
    shown, size = torch.randn(100, settings.noise), settings.batch_size
    for _ in range(epochs):
        generator.train()
        losses = []
        for chosen in torch.randperm(len(images))[: settings.images].split(size):
            real = 2 * as_tensor(images[chosen.numpy()]) - 1  #               (B, 1, 28, 28) in [-1, 1], as the generator's tanh draws
            # The discriminator's turn. `detach`: what it learns from a drawn picture must not reach the generator.
            drawn = generator(torch.randn(size, settings.noise))
            d_loss = discriminator_loss(discriminator(real), discriminator(drawn.detach()))
            of_discriminator.zero_grad()
            d_loss.backward()
            of_discriminator.step()
            # The generator's turn: the gradient runs through the discriminator into the picture and on. Its own part is not used.
            for _ in range(generator_steps):
                g_loss = generator_loss(discriminator(generator(torch.randn(size, settings.noise))))
                of_generator.zero_grad()
                g_loss.backward()
                of_generator.step()
            losses.append((d_loss.item(), g_loss.item()))
        d_mean, g_mean = np.mean(losses, axis=0)
        yield Epoch(float(d_mean), float(g_mean), draw(generator, shown))


@torch.no_grad()
def draw(generator: nn.Module, *inputs: Tensor) -> Bytes:
    """Pictures as bytes, (n, 28, 28); with the running means of lesson 4, so that each is drawn by itself."""
    generator.eval()
    return np.asarray(((generator(*inputs)[:, 0] + 1) * 127.5).round().to(torch.uint8).numpy())


# --- Mode collapse: the generator has found a few pictures that pass, and draws nothing else ------------------------------------------


def variety(digits: Bytes, classes: npt.NDArray[np.int64]) -> dict[str, float]:
    """How many classes there are, as equally frequent ones (exp of the entropy, 1 ... 10), and how far a picture is from the next one."""
    shares = np.bincount(classes, minlength=CLASSES) / len(classes)
    entropy = -sum(share * np.log(share) for share in shares if share > 0)
    pixels = digits.reshape(len(digits), -1) / 255.0
    apart = np.sqrt(((pixels - np.roll(pixels, 1, axis=0)) ** 2).sum(axis=1)).mean()
    return {"classes": float(np.exp(entropy)), "distance": float(apart)}


def run(images: Images, settings: Settings, seed: int, out: Path, reader: Path) -> dict[str, float]:
    """One game that goes well, one in which the generator moves too often and collapses; lesson 3's CNN reads what they draw."""
    network, losses = load_reader(reader), dict[str, list[tuple[float, float]]]()
    metrics = {f"real_{name}": value for name, value in variety(images.test[:500], read(network, images.test[:500])).items()}
    games = {"fair": (settings.epochs, 1), "collapsed": (settings.collapse_epochs, settings.collapse_generator_steps)}
    for game, (epochs, generator_steps) in games.items():
        torch.manual_seed(seed)
        generator = new_generator(settings.noise, settings.channels)
        for number, epoch in enumerate(play(generator, images.train, settings, seed, epochs, generator_steps), start=1):
            save_grid(out / f"{game}-{number:02d}.png", epoch.digits[:40], 10)
            for name, loss in (("discriminator", epoch.discriminator), ("generator", epoch.generator)):
                losses.setdefault(f"{game}: {name}", []).append((number, loss))
        save_grid(out / f"{game}.png", epoch.digits[:40], 10)
        digits = draw(generator, torch.randn(500, settings.noise, generator=torch.Generator().manual_seed(seed)))
        metrics |= {f"{game}_{name}": value for name, value in variety(digits, read(network, digits)).items()}
    save_curves(out / "losses.png", losses, "epoch", "loss")
    return metrics
