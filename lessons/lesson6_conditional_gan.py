"""Lesson 6: a network that draws what it is asked for. Both players are told a class: a conditional GAN (Mirza and Osindero, 2014).

Lesson 5's generator draws some digit. Here it gets a class beside the random numbers, and the discriminator asks no longer "is this a real
digit?" but "is this a real 7?". A beautiful 3 where a 7 was asked for is found out at once, so the generator has to listen. Exchange the
class for a pose, and you have PoseGAN; the end of this file says where each part of it is.

Legend: B pictures of a batch, Z random numbers a picture, C = 10 classes; a shape stands behind the line it is of.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons.data import CLASSES, Images
from lessons.lesson3_pytorch_digits import as_tensor, load_reader, read
from lessons.lesson5_gan import Epoch, discriminator_loss, draw, generator_loss, new_discriminator, new_generator
from lessons.pictures import save_curves, save_grid
from posegan.config import Fraction, Positive, Section, Weight

Bytes = npt.NDArray[np.uint8]


class Settings(Section):
    """What lessons/params.yaml says under `lesson6`."""

    noise: Positive  # Z
    channels: Positive
    batch_size: Positive
    epochs: Positive
    images: Positive  # seen in an epoch
    learning_rate: Weight
    average: Fraction  # how much of the averaged generator remains at each step


def one_hot(labels: Tensor) -> Tensor:
    """A class as ten numbers, 1 at its place and 0 elsewhere: (B,) -> (B, C). As plain numbers a 3 would be half a 6."""
    return F.one_hot(labels, CLASSES).float()


class Generator(nn.Module):
    """Lesson 5's, which takes ten numbers more."""

    def __init__(self, noise: int, channels: int) -> None:
        super().__init__()
        self.network = new_generator(noise + CLASSES, channels)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """(B, Z) and (B,) to digits (B, 1, 28, 28) in [-1, 1]."""
        return self.network(torch.cat((noise, one_hot(labels)), dim=1))  # type: ignore[no-any-return]  # (B, Z + C)


class Discriminator(nn.Module):
    """Lesson 5's with ten scores, "a real 0?" to "a real 9?", of which the asked one counts (after the part of Miyato and Koyama's score,
    2018, that knows the class). Given as ten planes beside the picture, the class has to find its way through every layer: after equally
    many steps fewer digits were read as asked (docs/log.md)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = new_discriminator(channels, CLASSES)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """(B, 1, 28, 28) and (B,) to scores (B, 1), positive where the picture is a real one of that class."""
        return self.network(images).gather(1, labels[:, None])  # type: ignore[no-any-return]  # (B, C) -> (B, 1)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """average <- keep * average + (1 - keep) * network. The players never come to rest; the mean of their last steps draws more cleanly."""
    for kept, weight in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(weight, 1 - keep)  # the norms' running means too


def play(average: Generator, images: Bytes, labels: npt.NDArray[np.uint8], settings: Settings, seed: int) -> Iterator[Epoch]:
    """Lesson 5's game with a class for either player; `average` becomes the generator that is kept."""
    torch.manual_seed(seed)
    generator, discriminator = Generator(settings.noise, settings.channels), Discriminator(settings.channels)
    of_generator, of_discriminator = (
        torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999)) for network in (generator, discriminator)
    )
    truth, size, step = torch.from_numpy(labels).long(), settings.batch_size, 0
    shown, asked = torch.randn(100, settings.noise), torch.arange(100) % CLASSES  # a column a class
    for _ in range(settings.epochs):
        generator.train()
        losses = []
        for chosen in torch.randperm(len(images))[: settings.images].split(size):
            real, wanted = 2 * as_tensor(images[chosen.numpy()]) - 1, truth[chosen]  #  (B, 1, 28, 28) and (B,)
            drawn = generator(torch.randn(len(chosen), settings.noise), wanted)
            d_loss = discriminator_loss(discriminator(real, wanted), discriminator(drawn.detach(), wanted))
            of_discriminator.zero_grad()
            d_loss.backward()
            of_discriminator.step()
            # The same drawing once more, judged by the discriminator as it is now; one pass of the generator serves both turns.
            g_loss = generator_loss(discriminator(drawn, wanted))
            of_generator.zero_grad()
            g_loss.backward()
            of_generator.step()
            step += 1
            follow(average, generator, min(settings.average, step / (step + 10)))  # at first there is little to average
            losses.append((d_loss.item(), g_loss.item()))
        d_mean, g_mean = np.mean(losses, axis=0)
        yield Epoch(float(d_mean), float(g_mean), draw(average, shown, asked))


# --- Is it good, and is it new? -------------------------------------------------------------------------------------------------------


def nearest(pictures: Bytes, among: Bytes) -> npt.NDArray[np.float64]:
    """The distance of each picture (n, 28, 28) to the nearest one of others, (n,): the root of the summed squares, pixels 0 ... 1."""
    a, b = (part.reshape(len(part), -1) / 255.0 for part in (pictures, among))
    squares = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)  # |a - b|^2 = |a|^2 - 2 ab + |b|^2
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1), 0)))


def run(images: Images, settings: Settings, seed: int, out: Path, reader: Path) -> dict[str, float]:
    """The game; then lesson 3's CNN reads what was drawn, and the training pictures are searched for what it was copied from."""
    torch.manual_seed(seed)
    generator, losses = Generator(settings.noise, settings.channels), dict[str, list[tuple[float, float]]]()
    for number, epoch in enumerate(play(generator, images.train, images.train_labels, settings, seed), start=1):
        save_grid(out / f"epoch-{number:02d}.png", epoch.digits[:60], CLASSES)
        for name, loss in (("discriminator", epoch.discriminator), ("generator", epoch.generator)):
            losses.setdefault(name, []).append((number, loss))
    save_curves(out / "losses.png", losses, "epoch", "loss")
    save_grid(out / "digits.png", epoch.digits[:60], CLASSES)

    unseen, labels, random = images.test[:1000], images.test_labels[:1000], torch.Generator().manual_seed(seed)
    digits = draw(generator, torch.randn(len(unseen), settings.noise, generator=random), torch.from_numpy(labels).long())
    # A drawn digit against an unseen one of the same class: a copy has its original at distance 0, an unseen one only its like.
    of_drawn, of_unseen = nearest(digits, images.train), nearest(unseen, images.train)
    asked, farther = (read(load_reader(reader), digits) == labels).mean(), (of_drawn > of_unseen).mean()
    metrics = {"read_as_asked": asked, "farther_from_training_than_unseen": farther}
    return {name: float(value) for name, value in (metrics | {"nearest": of_drawn.min(), "nearest_of_unseen": of_unseen.min()}).items()}


# --- From here to people in poses: the same parts in PoseGAN --------------------------------------------------------------------------
#   one_hot: the class as ten numbers     posegan/model/geometry.py, heatmaps: a joint a plane, a blob where the joint is
#   Generator: noise and class -> digit   posegan/model/networks.py, Generator: a photo and two poses -> the person in the other pose
#   as_tensor, draw: bytes <-> numbers    posegan/data/batches.py, to_float and to_uint8
#   details: from the noise alone         posegan/model/warp.py: pieces of the photo, moved to where the pose wants them
#   Discriminator: picture and class      posegan/model/networks.py, Discriminator: picture, photo and poses; a score a patch
#   both losses (lesson 5)                posegan/training/losses.py, the same two, and how far the picture is from the true one
#   batch norm, dropout (lesson 4)        posegan/model/layers.py, SampleNorm and UpBlock: a norm over one sample, as batches are small
#   play's two turns, follow              posegan/training/updates.py, update_discriminator, update_generator, update_ema
#   play's loop                           posegan/training/loop.py, train
#   read: is it what was asked for?       pipeline/evaluate/: does a detector find the asked pose in the drawn picture?
