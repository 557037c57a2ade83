"""Lesson 3: the same network in PyTorch, which finds the gradients itself; then a network that knows what a picture is.

Two layers in PyTorch are lesson 1's number for number, from the same weights and with the same steps (tests/test_lessons.py); below they
begin with PyTorch's own and learn by Adam. What is new is the *convolution*: a small matrix of weights, 3 x 3, that slides over the picture
and looks everywhere for the same thing. A stroke is found wherever it is, with few weights. What one matrix answers at every place is a
picture again, a *channel*; a layer has many. After each layer *max pooling* halves the picture: the strongest of four neighbours stays.

Legend: B pictures of a batch; a shape (B, channels, height, width), for 16 channels, stands behind the line it is of.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lessons.data import CLASSES, Images
from lessons.pictures import save_curves, save_grid
from posegan.config import Positive, Section, Weight
from posegan.errors import PoseGANError
from posegan.files import atomic_path


class Settings(Section):
    """What lessons/params.yaml says under `lesson3`."""

    hidden: Positive
    channels: Positive  # of the first convolution; each next one has twice as many
    batch_size: Positive
    epochs: Positive
    learning_rate: Weight


def as_tensor(images: npt.NDArray[np.uint8]) -> Tensor:
    """Pixels 0 ... 255 to float32 in [0, 1], as in lesson 1, and an axis of one colour: (B, 28, 28) -> (B, 1, 28, 28)."""
    return torch.from_numpy(np.ascontiguousarray(images)).float().div(255)[:, None]


def two_layers(pixels: int, hidden: int) -> nn.Module:
    """Lesson 1's network. `nn.Linear` is x W + b, only that PyTorch stores W the other way round, (outputs, inputs)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))


def convolution(x: Tensor, weight: Tensor) -> Tensor:
    """y[m, i, j] = sum over n, u, v of W[m, n, u, v] x[n, i + u - 1, j + v - 1]: from n channels to m, by m x n matrices of 3 x 3.

    (B, n, h, w) and (m, n, 3, 3) to (B, m, h, w). `F.conv2d` is this, and much faster: taken below.
    """
    height, width = x.shape[2:]
    framed = F.pad(x, (1, 1, 1, 1))  #                        a frame of zeros, so that the size stays: (B, n, h + 2, w + 2)
    moved = {(u, v): framed[:, :, u : u + height, v : v + width] for u in range(3) for v in range(3)}  # the picture, by up to one pixel
    return torch.stack([torch.einsum("bnhw,mn->bmhw", part, weight[:, :, u, v]) for (u, v), part in moved.items()]).sum(dim=0)


class DigitCNN(nn.Module):
    """Three times convolution, norm, ReLU and pooling, then one layer of lesson 1's kind; what a norm is, and its bias, lesson 4 tells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [1, channels, 2 * channels, 4 * channels]
        self.convolutions = nn.ModuleList(nn.Conv2d(n, m, 3, padding=1, bias=False) for n, m in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(m) for m in widths[1:])
        self.scores = nn.Linear(widths[-1] * 3 * 3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Digits (B, 1, 28, 28) in [0, 1] to scores (B, 10)."""
        for convolve, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolve(x)))  #      (B, 16, 28, 28), then (B, 32, 14, 14), then (B, 64, 7, 7)
            x = F.max_pool2d(x, 2)  #             (B, 16, 14, 14), then (B, 32, 7, 7),   then (B, 64, 3, 3): the last row is left out
        return self.scores(x.flatten(1))  # type: ignore[no-any-return]  # (B, 576) -> (B, 10)


def learn(network: nn.Module, images: Images, settings: Settings, seed: int) -> Iterator[float]:
    """Lesson 1's loop, line by line, with lesson 2's Adam; gives the accuracy on unseen pictures after each epoch."""
    torch.manual_seed(seed)
    x, labels = as_tensor(images.train), torch.from_numpy(images.train_labels).long()
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    for _ in range(settings.epochs):
        network.train()  #                                                 norms look at the batch; after `eval` they remember (lesson 4)
        for chosen in torch.randperm(len(x)).split(settings.batch_size):
            loss = F.cross_entropy(network(x[chosen]), labels[chosen])  #  softmax and -log p_label in one
            optimiser.zero_grad()  #                                       PyTorch adds gradients up: the last batch's must go
            loss.backward()  #                                             lesson 1's `backward`, for any network: autograd
            optimiser.step()
        yield float((read(network, images.test) == images.test_labels).mean())


@torch.no_grad()  # nothing is kept for a way back
def read(network: nn.Module, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Which class the network sees in each picture, some 500 at a time: (n, 28, 28) -> (n,)."""
    network.eval()
    return torch.cat([network(as_tensor(part)).argmax(dim=1) for part in np.array_split(images, -(-len(images) // 500))]).numpy()


def load_reader(path: Path) -> DigitCNN:
    """The CNN that this lesson left; lessons 5 and 6 let it read what their networks draw."""
    try:
        weights = load_file(path)
    except Exception as error:  # safetensors has errors of its own for a file that is missing, cut or of another kind
        raise PoseGANError(f"{path}: could not be read ({error}); run lesson 3 again: `python -m lessons run lesson3`") from error
    network = DigitCNN(len(weights["norms.0.weight"]))
    network.load_state_dict(weights)
    return network.eval()


def run(images: Images, settings: Settings, seed: int, out: Path, reader: Path) -> dict[str, float]:
    """Two layers against the CNN, as many epochs each; the CNN is kept as `reader`."""
    curves, metrics, wrong = {}, dict[str, float](), images.test[:0]
    torch.manual_seed(seed)
    networks = {"two layers": two_layers(images.train[0].size, settings.hidden), "CNN": DigitCNN(settings.channels)}
    for name, network in networks.items():
        curves[name] = list(enumerate(learn(network, images, settings, seed), start=1))
        metrics[f"accuracy_{name.lower().replace(' ', '_')}"] = curves[name][-1][1]
        metrics[f"weights_{name.lower().replace(' ', '_')}"] = sum(weight.numel() for weight in network.parameters())
        wrong = images.test[read(network, images.test) != images.test_labels]
    save_curves(out / "curves.png", curves, "epoch", "accuracy on unseen pictures")
    if len(wrong):  # the CNN's, the last network's
        save_grid(out / "misread.png", wrong[:20], 10)
    with atomic_path(reader) as temporary:
        save_file(networks["CNN"].state_dict(), temporary)
    return metrics
