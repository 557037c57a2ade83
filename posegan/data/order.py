"""Which pairs come when, decided from the counts in the index alone: no file is read here.

A stream is cut into visits: samples that are read together, and the pairs that are then taken from them. The pair at a position
of the stream is a function of (seed, epoch, position) and of nothing else, so a run goes on anywhere, with any number of
threads, and several processes can each take their part of what one alone would see.

Legend: S samples of a split, V samples of a visit, D pairs taken in a visit.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from posegan.errors import PoseGANError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Visit(NamedTuple):
    """Samples that are read together, and the pairs taken from them."""

    samples: Ints  # (V,) rows of the split's samples
    first: int  # position in the stream of the first pair below
    sample: Ints  # (D,) positions in `samples`
    pair: Ints  # (D,) rows of that sample's pairs
    seed: tuple[int, ...]  # of whatever is still drawn

    @property
    def positions(self) -> Ints:
        """Where in the stream its pairs stand (D,)."""
        return self.first + np.arange(len(self.pair))


class Share(NamedTuple):
    """Which part of every batch one of several processes takes: of `world_size` consecutive parts, number `rank`."""

    rank: int = 0
    world_size: int = 1

    def checked(self) -> Self:
        """Itself; raises ValueError where there is no such part."""
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank: expected 0 .. {self.world_size - 1} of {self.world_size} processes, got {self.rank}")
        return self

    def holds(self, positions: Ints, batch_size: int, total: int | None = None) -> Bools:
        """Which pairs, by their positions in the stream, are this part's; the last batch of `total` pairs may be short."""
        batch, within = np.divmod(positions, batch_size)
        size = np.full_like(batch, batch_size) if total is None else np.minimum(batch_size, total - batch * batch_size)
        low, high = (size * rank // self.world_size for rank in (self.rank, self.rank + 1))
        mine: Bools = (low <= within) & (within < high)
        return mine


class Counts(NamedTuple):
    """What the index says of each sample (S,): whose it is, how many images it has, and how many pairs."""

    identities: Ints
    images: Ints
    pairs: Ints


def by_identity(counts: Counts, pairs_per_image: int) -> Floats:
    """Pairs that each sample gives in an epoch (S,), in the mean: an identity gives so many for each of its images, or all that it has.

    The pieces of one identity give together what it would give whole, each in proportion to its pairs. How many images it has whole its
    pieces do not say, since they share images; it counts as the fewest that have so many ordered pairs.
    """
    _, whose, pieces = np.unique(counts.identities, return_inverse=True, return_counts=True)
    pairs = np.bincount(whose, weights=counts.pairs)
    fewest = np.ceil((1 + np.sqrt(1 + 4 * pairs)) / 2)  # n images have n (n - 1) ordered pairs
    images = np.where(pieces > 1, fewest, np.bincount(whose, weights=counts.images))
    given: Floats = np.minimum(images * pairs_per_image, pairs)[whose] * counts.pairs / pairs[whose]
    return given


def uniform(counts: Counts, pairs_per_image: int) -> Floats:
    """The same, as the original draws: every pair equally often, so an identity of n images in proportion to n (n - 1).

    An epoch is as long as `by_identity` has it.
    """
    length = round(by_identity(counts, pairs_per_image).sum())
    given: Floats = counts.pairs * (length / counts.pairs.sum())
    return given


LAWS: dict[str, Callable[[Counts, int], Floats]] = {"by_identity": by_identity, "uniform": uniform}


class TrainOrder:
    """Endless: in each epoch the samples in a new order, cut into pools; from each sample of a pool some of its pairs, drawn
    without repetition and shuffled over the whole pool.

    Args:
        counts: of the samples.
        law: of LAWS: how often the pairs of each sample are drawn.
        seed: of the whole order.
        pool_identities: samples of a pool, at most.
        pairs_per_image: pairs drawn for each image.
    """

    def __init__(self, counts: Counts, law: str, seed: int, pool_identities: int, pairs_per_image: int) -> None:
        self._pairs, self._seed = counts.pairs, seed
        self._ends = np.cumsum(LAWS[law](counts, pairs_per_image))
        self._epoch = round(self._ends[-1])  # pairs
        self.pools = -(-len(counts.pairs) // pool_identities)

    def visits(self, position: int) -> Iterator[Visit]:
        """Visits from the pair at `position` on, without end."""
        epoch, skip = divmod(position, self._epoch)
        while True:
            draws = self._draws(epoch)
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self._pairs))
            for number, samples in enumerate(np.array_split(order, self.pools)):
                held = int(draws[samples].sum())
                if skip < held:
                    yield self._visit(epoch, number, samples, draws[samples], position, skip)
                    position += held - skip
                skip = max(0, skip - held)
            epoch += 1

    def _draws(self, epoch: int) -> Ints:
        """Whole pairs that each sample gives in an epoch (S,): what it gives in the mean, rounded up or down by chance, of an exact sum."""
        chance = np.random.default_rng((self._seed, epoch, 0)).random()
        # Up to rounding an end may be just below the whole number that it is; the last one is exact.
        ends = np.floor(np.append(np.round(self._ends[:-1], 6), self._epoch) + chance).astype(np.int64)
        return np.diff(ends, prepend=0)

    def _visit(self, epoch: int, number: int, samples: Ints, counts: Ints, position: int, skip: int) -> Visit:
        seed = (self._seed, epoch, number + 1)
        generator = np.random.default_rng(seed)
        drawn = [generator.choice(pairs, count, replace=False) for pairs, count in zip(self._pairs[samples], counts, strict=True)]
        shuffled = generator.permutation(int(counts.sum()))[skip:]
        return Visit(samples, position, np.repeat(np.arange(len(samples)), counts)[shuffled], np.concatenate(drawn)[shuffled], seed)


class ListedOrder:
    """Once through a list: all of it, or a seeded subset that is the same every time and keeps the list's order.

    Args:
        pairs: how many each sample has (S,).
        order: the list, as the row of the sample and the row of the pair; None: the samples' own order.
        wanted: how many pairs; all when there are no more.
        seed: of the subset.
    """

    _VISIT = 512  # pairs: at most 1,024 images at once, 25 MB at 128 x 64

    def __init__(self, pairs: Ints, order: tuple[Ints, Ints] | None, wanted: int, seed: int) -> None:
        total = int(pairs.sum())
        chosen = np.sort(np.random.default_rng(seed).choice(total, min(wanted, total), replace=False))
        if order is None:
            ends = np.cumsum(pairs)
            self._sample = np.searchsorted(ends, chosen, side="right")
            self._pair = chosen - (ends - pairs)[self._sample]
        else:
            self._sample, self._pair = order[0][chosen], order[1][chosen]

    def __len__(self) -> int:
        return len(self._sample)

    def visits(self) -> Iterator[Visit]:
        """All visits."""
        for first in range(0, len(self), self._VISIT):
            samples, sample = np.unique(self._sample[first : first + self._VISIT], return_inverse=True)
            yield Visit(samples, first, sample, self._pair[first : first + self._VISIT], ())


def replace_unreadable(visit: Visit, readable: Bools, pairs: Ints) -> Visit:
    """The visit with other pairs in the places of those of samples that are not `readable` (V,).

    They are drawn from all pairs of the readable samples, whose numbers are `pairs` (V,), so that each batch keeps its size and its number.

    Raises:
        PoseGANError: no sample is readable.
    """
    places = np.flatnonzero(~readable[visit.sample])
    if not len(places):
        return visit
    weights = np.where(readable, pairs, 0)
    ends = np.cumsum(weights)
    if not ends[-1]:
        raise PoseGANError(
            f"none of the {len(readable)} samples that are read together can be used; run `python -m pipeline shard --verify`"
        )
    drawn = np.random.default_rng((*visit.seed, 1)).integers(ends[-1], size=len(places))
    sample, pair = visit.sample.copy(), visit.pair.copy()
    sample[places] = np.searchsorted(ends, drawn, side="right")
    pair[places] = drawn - (ends - weights)[sample[places]]
    return visit._replace(sample=sample, pair=pair)
