"""Lesson 1: a network that reads digits, written with nothing but NumPy.

A picture of 28 x 28 pixels is a row of 784 numbers. A *layer* multiplies that row by a matrix of weights and adds a row of biases; the
outcome is ten numbers, one a class, and the largest is the answer. To *learn* is to change weights so that right answers get larger.

Layers can follow each other. The outcome of the first, H numbers (its *units*; a *hidden* layer, since nobody looks at them), goes into the
second. Between the two, negative numbers become 0 (*ReLU*).

Legend: B pictures of a batch, D = 784 pixels, H units of the hidden layer, C = 10 classes. A shape stands behind the line it is of.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from lessons.data import CLASSES, Images
from lessons.pictures import save_curves, save_grid
from posegan.config import Positive, Section, Weight

Floats = npt.NDArray[np.float64]
Network = list[tuple[Floats, Floats]]  # of each layer: weights (inputs, outputs), biases (outputs,)


class Settings(Section):
    """What lessons/params.yaml says under `lesson1`. Positive: a whole number from 1; Weight: any number from 0, no weight of a network."""

    hidden: Positive  # H
    batch_size: Positive  # B
    epochs: Positive  # one epoch: every training picture was seen once
    learning_rate: Weight  # how far a step goes


def as_rows(images: npt.NDArray[np.uint8]) -> Floats:
    """Pixels 0 ... 255 to numbers 0 ... 1, a picture a row: (B, 28, 28) -> (B, D)."""
    return images.reshape(len(images), -1) / 255.0


def new_network(sizes: list[int], rng: Generator) -> Network:
    """Layers from sizes[0] numbers to sizes[1] and so on.

    Random weights, since units that begin equal would be changed equally and stay equal for ever. A sum of n random terms about 0 is some
    sqrt(n) times as large as one of them: dividing by sqrt(n) keeps numbers of one size through all layers. The 2: ReLU sets half to zero.
    """
    return [(rng.normal(0, np.sqrt(2 / n), (n, m)), np.zeros(m)) for n, m in itertools.pairwise(sizes)]


# --- Forwards: from pixels to probabilities -------------------------------------------------------------------------------------------


def forward(network: Network, x: Floats) -> tuple[Floats, list[Floats]]:
    """The scores of each class, and what went into each layer, which the way back needs."""
    inputs = []
    for number, (weights, biases) in enumerate(network):
        inputs.append(x)  #                      (B, D), then (B, H)
        x = x @ weights + biases  #              z = x W + b        (B, H), then (B, C)
        if number < len(network) - 1:
            x = np.maximum(x, 0)  #              ReLU: h = max(z, 0). Without it two layers would be one: (x V) W = x (V W)
    return x, inputs


def softmax(scores: Floats) -> Floats:
    """Scores to probabilities: p_c = exp(z_c) / sum_k exp(z_k), positive and 1 in sum."""
    # The largest score is taken away first. It cancels in the fraction, and keeps exp from overflowing.
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))  # (B, C)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))  # (B, C)


def cross_entropy(scores: Floats, labels: npt.NDArray[np.uint8]) -> float:
    """The loss: how surprised the network is by the truth, L = -mean log p_label. 0 is certain and right; log 10 = 2.30 a blind guess."""
    right = softmax(scores)[np.arange(len(labels)), labels]  #         (B,): of each row the label's column
    return float(-np.log(right + 1e-300).mean())  #                    log 0 would be infinite


# --- Backwards: which way to move each weight -----------------------------------------------------------------------------------------


def backward(network: Network, scores: Floats, inputs: list[Floats], labels: npt.NDArray[np.uint8]) -> Network:
    """The gradient: by how much the loss grows with each weight and bias. The chain rule, from the last layer to the first.

    For one picture L = -log p_label = log sum_k exp(z_k) - z_label. Its derivative by z is exp(z) / sum_k exp(z_k), which is p, less 1 at
    the label: dL/dz = p - t. The loss is a mean over B pictures, so each counts 1/B. Is it right? (L(w + e) - L(w - e)) / 2e for small e
    has to be the same number; `tests/test_lessons.py` looks.
    """
    truth = np.eye(CLASSES)[labels]  #                                     t (B, C): rows of the identity, so 1 at the label, else 0
    slope = (softmax(scores) - truth) / len(labels)  #                     dL/dz = (p - t) / B, of the last layer: (B, C)
    gradients: Network = []
    for (weights, _), x in zip(reversed(network), reversed(inputs), strict=True):
        gradients.insert(0, (x.T @ slope, slope.sum(axis=0)))  #           dL/dW = x^T dL/dz (inputs, outputs), dL/db: sum over B (outputs,)
        # Now dL/dz of the layer before: dL/dx = dL/dz W^T, and x = ReLU(z), of slope 1 where x > 0, else 0. (That of pixels is not used.)
        slope = (slope @ weights.T) * (x > 0)  #                           (B, inputs)
    return gradients


# --- Learning -------------------------------------------------------------------------------------------------------------------------


def batches(count: int, size: int, rng: Generator) -> Iterator[npt.NDArray[np.intp]]:
    """One epoch: the numbers of all pictures in random order, `size` at a time (what is left over waits for another epoch)."""
    order, size = rng.permutation(count), min(size, count)
    return (order[start : start + size] for start in range(0, count - size + 1, size))


def accuracy(network: Network, x: Floats, labels: npt.NDArray[np.uint8]) -> float:
    """The share of pictures whose highest score is the right one's."""
    return float((forward(network, x)[0].argmax(axis=1) == labels).mean())


def learn(network: Network, images: Images, settings: Settings, rng: Generator) -> Iterator[float]:
    """Minibatch gradient descent, in place; gives the accuracy on unseen pictures after each epoch."""
    x, test = as_rows(images.train), as_rows(images.test)
    for _ in range(settings.epochs):
        for chosen in batches(len(x), settings.batch_size, rng):
            scores, inputs = forward(network, x[chosen])
            gradients = backward(network, scores, inputs, images.train_labels[chosen])
            for (weights, biases), (of_weights, of_biases) in zip(network, gradients, strict=True):
                weights -= settings.learning_rate * of_weights  #          W <- W - rate dL/dW: a step downhill
                biases -= settings.learning_rate * of_biases
        yield accuracy(network, test, images.test_labels)


def run(images: Images, settings: Settings, seed: int, out: Path) -> dict[str, float]:
    """One layer against two, on the same pictures in the same order."""
    pixels = images.train[0].size
    networks = {"one layer": [pixels, CLASSES], "two layers": [pixels, settings.hidden, CLASSES]}
    curves, trained = {}, {}
    for name, sizes in networks.items():
        trained[name] = new_network(sizes, np.random.default_rng(seed))
        curves[name] = list(enumerate(learn(trained[name], images, settings, np.random.default_rng(seed)), start=1))
    save_curves(out / "curves.png", curves, "epoch", "accuracy on unseen pictures")
    # One layer is ten pictures: what speaks for a class is bright, what speaks against it dark.
    weights = trained["one layer"][0][0].T.reshape(CLASSES, *images.train.shape[1:])
    grey = np.clip(128 + 127 * weights / np.abs(weights).max(), 0, 255).astype(np.uint8)
    columns = [np.resize(images.test[images.test_labels == label], (4, *grey.shape[1:])) for label in range(CLASSES)]  # four of each class
    save_grid(out / "digits.png", np.vstack((np.stack(columns, axis=1).reshape(-1, *grey.shape[1:]), grey)), CLASSES)
    return {f"accuracy_{name.replace(' ', '_')}": curves[name][-1][1] for name in networks}
