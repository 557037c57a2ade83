"""Has a run diverged although its numbers are finite? A player that is far worse than one that has learned nothing has.

Too high a learning rate need not end in NaN: the image saturates to pure black and white, or the discriminator's logits run
off, and no later step brings them back. A loss alone does not tell; compared with that of an untrained player it does.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

WINDOW = 20  # steps; one batch says little
# An image that is black or white everywhere lost 2.6 times as much L1 on drawn people as an untrained generator's grey.
GENERATOR_FACTOR = 2.0
# Healthy runs stay below 2 log 2 but for the first steps; those that could not be brought back were above 30 times that.
DISCRIMINATOR_FACTOR = 10.0
# These say nothing: the first is high wherever the discriminator is good, the second begins at 0 and is bounded.
_NO_SIGNS = ("loss_adversarial", "loss_offset_smoothness")


class Divergence(NamedTuple):
    """A loss that is beyond its limit."""

    name: str
    value: float  # mean over `steps`
    limit: float
    steps: int  # that it is the mean of, the last ones


def divergence_limits(untrained: Mapping[str, float]) -> dict[str, float]:
    """The largest loss of each term that a run may have.

    Args:
        untrained: the generator's losses before the first step, named as in the logs.
    """
    limits = {name: GENERATOR_FACTOR * value for name, value in untrained.items() if name not in _NO_SIGNS}
    return {**limits, "loss_discriminator": DISCRIMINATOR_FACTOR * 2 * math.log(2)}  # 2 log 2: it tosses a coin


def find_divergence(means: Iterable[Mapping[str, float]], every: int, limits: Mapping[str, float]) -> Divergence | None:
    """The term that exceeds its limit the most, over the last `WINDOW` steps or a little more.

    Args:
        means: of each term over `every` steps, the newest first; fewer than `WINDOW` steps are not judged.
        every: steps of each.
        limits: of `divergence_limits`; terms without one are not judged.
    """
    count = math.ceil(WINDOW / every)
    recent = list(itertools.islice(means, count))
    if len(recent) < count:
        return None
    found = {name: sum(each.get(name, 0.0) for each in recent) / count for name in limits}
    worst = max(limits, key=lambda name: found[name] / limits[name])
    return Divergence(worst, found[worst], limits[worst], count * every) if found[worst] > limits[worst] else None
