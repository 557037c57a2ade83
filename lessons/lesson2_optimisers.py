"""Lesson 2: how far to step, and which way: SGD, momentum, RMSProp and Adam by hand.

Lesson 1 stepped against each batch's gradient, times one rate for all weights. The three others remember earlier gradients: to keep
a direction (momentum), to give every weight a rate of its own (RMSProp), or both (Adam). The network and its gradients are lesson 1's.

Legend: w a layer's weights or biases, g their gradient; t the number of the step, from 1. All that is remembered of w has its shape.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from lessons.data import CLASSES, Images
from lessons.lesson1_numpy_network import Network, accuracy, as_rows, backward, batches, cross_entropy, forward, new_network
from lessons.pictures import save_curves
from posegan.config import Positive, Section, Weight

Floats = npt.NDArray[np.float64]
Memory = dict[str, Floats]  # what an optimiser remembers of one w
Name = Literal["sgd", "momentum", "rmsprop", "adam"]


class Settings(Section):
    """What lessons/params.yaml says under `lesson2`."""

    optimiser: Name
    learning_rate: Weight
    weight_decay: Weight
    hidden: Positive
    batch_size: Positive
    epochs: Positive
    study_rates: list[Weight]  # the study tries each optimiser with each of these
    study_images: Positive  # on so many pictures
    study_epochs: Positive


# --- Four ways to turn a gradient into a step: w <- w - rate * step -------------------------------------------------------------------


def sgd(g: Floats, memory: Memory, t: int) -> Floats:
    """The gradient itself. One batch's gradient is the whole set's plus noise, hence *stochastic* gradient descent."""
    return g


def momentum(g: Floats, memory: Memory, t: int, keep: float = 0.9) -> Floats:
    """A ball that rolls: m <- 0.9 m + g. Noise cancels; where gradients agree, steps grow up to 1 / (1 - 0.9) = 10 times."""
    memory["m"] = keep * memory.get("m", np.zeros_like(g)) + g
    return memory["m"]


def rmsprop(g: Floats, memory: Memory, t: int, keep: float = 0.99, tiny: float = 1e-8) -> Floats:
    """A rate of its own for each weight: v <- 0.99 v + 0.01 g^2, step g / sqrt(v). Small gradients count as much as large ones."""
    memory["v"] = keep * memory.get("v", np.zeros_like(g)) + (1 - keep) * g**2
    return g / (np.sqrt(memory["v"]) + tiny)


def adam(g: Floats, memory: Memory, t: int, keep: float = 0.9, keep_squares: float = 0.999, tiny: float = 1e-8) -> Floats:
    """Both: the mean gradient over the root of the mean square (Kingma and Ba, 2015, algorithm 1).

    Both means begin at 0 and would be too small at first; 1 - 0.9^t is the share of them that has been filled.
    """
    memory["m"] = keep * memory.get("m", np.zeros_like(g)) + (1 - keep) * g
    memory["v"] = keep_squares * memory.get("v", np.zeros_like(g)) + (1 - keep_squares) * g**2
    mean, square = memory["m"] / (1 - keep**t), memory["v"] / (1 - keep_squares**t)
    return mean / (np.sqrt(square) + tiny)


OPTIMISERS: dict[Name, Callable[[Floats, Memory, int], Floats]] = {"sgd": sgd, "momentum": momentum, "rmsprop": rmsprop, "adam": adam}


def update(w: Floats, g: Floats, memory: Memory, t: int, optimiser: Name, rate: float, decay: float) -> None:
    """One step, in place. Weight decay adds decay * w to the gradient: it pulls to zero what no picture asks for (L + decay/2 |w|^2).

    RMSProp and Adam divide the pull, too, by the size of the gradients; AdamW is Adam with the pull left as it is.
    """
    w -= rate * OPTIMISERS[optimiser](g + decay * w, memory, t)


# --- Learning, as in lesson 1 with another line for the step --------------------------------------------------------------------------


def learn(images: Images, settings: Settings, seed: int) -> tuple[Network, list[tuple[float, float]]]:
    """A two-layer network from scratch; and (step, loss of batches before the step that learns from them, mean since the point before)."""
    rng = np.random.default_rng(seed)
    network = new_network([images.train[0].size, settings.hidden, CLASSES], rng)
    weights = [w for layer in network for w in layer]
    memories: list[Memory] = [{} for _ in weights]
    x, losses, curve, t = as_rows(images.train), list[float](), list[tuple[float, float]](), 0
    every = max(1, settings.epochs * len(x) // settings.batch_size // 40)  # some 40 points
    for _ in range(settings.epochs):
        for chosen in batches(len(x), settings.batch_size, rng):
            t += 1
            scores, inputs = forward(network, x[chosen])
            losses.append(cross_entropy(scores, images.train_labels[chosen]))
            gradients = [g for layer in backward(network, scores, inputs, images.train_labels[chosen]) for g in layer]
            for w, g, memory in zip(weights, gradients, memories, strict=True):
                update(w, g, memory, t, settings.optimiser, settings.learning_rate, settings.weight_decay)
            if t % every == 0:
                curve.append((t, float(np.mean(losses[-every:]))))
    return network, curve


def run(images: Images, settings: Settings, seed: int, out: Path) -> dict[str, float]:
    """The optimiser that params.yaml names, and a study: every optimiser with every rate, on few pictures, for a short time."""
    test = as_rows(images.test)
    network, curve = learn(images, settings, seed)
    save_curves(out / "loss.png", {settings.optimiser: curve}, "step", "loss")
    few = images._replace(train=images.train[: settings.study_images], train_labels=images.train_labels[: settings.study_images])
    study: dict[str, list[tuple[float, float]]] = {}
    for optimiser in OPTIMISERS:
        for rate in settings.study_rates:
            tried = settings.model_copy(update={"optimiser": optimiser, "learning_rate": rate, "epochs": settings.study_epochs})
            with np.errstate(all="ignore"):  # too large a rate ends in infinities, which is what the study is to show
                reached = accuracy(learn(few, tried, seed)[0], test, images.test_labels)
            study.setdefault(optimiser, []).append((rate, reached))
    save_curves(out / "study.png", study, "learning rate", "accuracy on unseen pictures", logarithmic=True)
    best = {f"best_{name}": max(reached for _, reached in points) for name, points in study.items()}
    return {
        "accuracy": accuracy(network, test, images.test_labels),
        "accuracy_on_seen": accuracy(network, as_rows(images.train), images.train_labels),
        **best,
    }
