"""Lesson 4: things in colour, and two inventions that made deep networks work: batch normalisation and dropout.

The pictures are harder: in colour, with cluttered ground and hidden parts; and of those to learn from three in ten have a wrong name (of a
million pictures of clothes from shops' pages nearly four in ten had: Xiao et al., 2015). A deep CNN has two troubles here. It is slow to
learn: each layer has to follow the layers before it. And it learns by heart, wrong names too. Batch normalisation ("the norm") is for the
first, dropout for the second. Four networks, the same but for these two and the rate of learning, make four rows of one table.

Legend: B pictures of a batch; a shape (B, channels, height, width) stands behind the line it is of.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons.data import CLASSES, Images, misname
from lessons.pictures import save_curves, save_grid
from posegan.config import Fraction, Positive, Section, Weight


class Settings(Section):
    """What lessons/params.yaml says under `lesson4`."""

    images: Positive  # as many of the training pictures are used
    wrong_names: Fraction  # as large a part of them bears another class's name, so that learning by heart is seen
    channels: Positive  # of the first convolution; the last has eight times as many
    dropout: Fraction  # of the numbers that go into the last two layers, how many are set to zero at each step
    batch_size: Positive
    epochs: Positive
    reach: Fraction  # the accuracy to which epochs are counted; one more than there are says never
    learning_rate: Weight  # at first; it falls to zero
    learning_rate_with_norm: Weight  # larger: no layer has to follow the others


def as_tensor(images: npt.NDArray[np.uint8]) -> Tensor:
    """Pixels 0 ... 255 to float32 in [-1, 1], the channels first: (B, 32, 32, 3) -> (B, 3, 32, 32)."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)  # in memory they stay last: faster


class BatchNorm(nn.Module):
    """Each channel to mean 0 and variance 1 over the batch, then a gain and a bias of its own (Ioffe and Szegedy, 2015).

    So a layer sees numbers of one size whatever the layers before it do, and may learn in larger steps. When pictures are judged, no answer
    may depend on the others': running means from training stand in. PyTorch's `nn.BatchNorm2d` is this, and faster: taken below.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))  # kept with the weights, but not learnt
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same: gain * (x - mean) / sqrt(variance + epsilon) + bias."""
        mean, variance = self.mean, self.variance
        if self.training:
            variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)  #  (C,) each
            count = x.numel() / x.shape[1]
            self.mean.lerp_(mean.detach(), 0.1)  #                           a tenth of the way to this batch's
            self.variance.lerp_(variance.detach() * count / (count - 1), 0.1)  # of few numbers a variance comes out small by that
        scale = self.gain / torch.sqrt(variance + 1e-5)
        return x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """Set a random `share` of the numbers to zero (Srivastava et al., 2014); `F.dropout` is this.

    No unit can rely on another, so each has to be of use by itself. What remains is divided by 1 - share, so that sums keep their size.
    """
    if not training or share == 0:
        return x
    return x * (torch.rand_like(x) >= share) / (1 - share)


class ObjectCNN(nn.Module):
    """Five convolutions, three halvings, two layers of lesson 1's kind. Norms are before each ReLU, dropout before the two layers."""

    def __init__(self, channels: int, normalise: bool, share: float) -> None:
        super().__init__()
        widths, inputs = [channels, 2 * channels, 4 * channels, 4 * channels, 8 * channels], 3
        self.share, self.convolutions, self.norms = share, nn.ModuleList(), nn.ModuleList()
        for width in widths:
            self.convolutions.append(nn.Conv2d(inputs, width, 3, padding=1, bias=not normalise))  # the norm has a bias of its own
            self.norms.append(nn.BatchNorm2d(width) if normalise else nn.Identity())
            inputs = width
        self.hidden, self.scores = nn.Linear(inputs * 4 * 4, 256), nn.Linear(256, CLASSES)
        self.last_norm = nn.BatchNorm1d(256) if normalise else nn.Identity()  # of numbers (B, 256), where there are no h and w
        for layer in (*self.convolutions, self.hidden, self.scores):
            nn.init.kaiming_normal_(layer.weight)  # lesson 1's sqrt(2 / n); through PyTorch's own, smaller ones, signals shrink to nothing

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, 32, 32) in [-1, 1] to scores (B, 10)."""
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = F.relu(norm(convolution(x)))  #  (B, 8, 32, 32), (B, 16, 16, 16), two of (B, 32, 8, 8), (B, 64, 4, 4)
            if number in (0, 1, 3):
                x = F.max_pool2d(x, 2)  #        (B, 8, 16, 16), (B, 16, 8, 8), (B, 32, 4, 4)
        x = dropout(x.flatten(1), self.share, self.training)  #  (B, 1024)
        x = F.relu(self.last_norm(self.hidden(x)))  #            (B, 256)
        return self.scores(dropout(x, self.share, self.training))  # type: ignore[no-any-return]  # (B, 10)


def learn(network: nn.Module, images: Images, rate: float, settings: Settings, seed: int) -> Iterator[float]:
    """Lesson 3's loop, but the rate falls to zero, so that learning comes to rest; gives the accuracy on unseen pictures each epoch."""
    torch.manual_seed(seed)
    x, labels = as_tensor(images.train), torch.from_numpy(images.train_labels).long()
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    for epoch in range(settings.epochs):
        optimiser.param_groups[0]["lr"] = rate * (1 - epoch / settings.epochs)
        network.train()
        for chosen in torch.randperm(len(x)).split(settings.batch_size):
            loss = F.cross_entropy(network(x[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        yield accuracy(network, images.test, images.test_labels)


@torch.no_grad()
def accuracy(network: nn.Module, images: npt.NDArray[np.uint8], names: npt.NDArray[np.uint8]) -> float:
    """The share that is called by these names, with nothing dropped and the running means."""
    network.eval()
    seen = torch.cat([network(as_tensor(part)).argmax(dim=1) for part in np.array_split(images, len(images) // 500 + 1)])
    return float((seen.numpy() == names).mean())


def run(images: Images, settings: Settings, seed: int, out: Path) -> dict[str, float]:
    """The four rows. Unseen pictures bear their right names; the wrong ones are a test of what was learnt by heart."""
    true = images.train_labels[: settings.images]
    images = images._replace(train=images.train[: settings.images], train_labels=misname(true, settings.wrong_names))
    wrong = images.train_labels != true
    rows = {"neither": (False, 0.0), "norm": (True, 0.0), "dropout": (False, settings.dropout), "both": (True, settings.dropout)}
    curves, metrics = dict[str, list[tuple[float, float]]](), dict[str, float]()
    for name, (normalise, share) in rows.items():
        torch.manual_seed(seed)
        network = ObjectCNN(settings.channels, normalise, share)
        rate = settings.learning_rate_with_norm if normalise else settings.learning_rate
        curves[name] = list(enumerate(learn(network, images, rate, settings, seed), start=1))
        metrics[f"accuracy_{name}"] = curves[name][-1][1]
        metrics[f"epochs_to_reach_{name}"] = next((at for at, seen in curves[name] if seen >= settings.reach), settings.epochs + 1)
        metrics[f"wrong_names_by_heart_{name}"] = accuracy(network, images.train[wrong], images.train_labels[wrong]) if wrong.any() else 0.0
    save_curves(out / "curves.png", curves, "epoch", "accuracy on unseen pictures")
    save_grid(out / "objects.png", np.concatenate([images.test[images.test_labels == label][:4] for label in range(CLASSES)]), 8)
    return metrics
