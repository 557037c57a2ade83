from itertools import islice, pairwise

import numpy as np
import pytest

from posegan.data.order import ListedOrder, Share, TrainOrder, Visit, replace_unreadable
from posegan.errors import PoseGANError

IMAGES = np.array([4, 2, 7, 3, 5])
PAIRS = IMAGES * (IMAGES - 1)
EPOCH = int(np.minimum(2 * IMAGES, PAIRS).sum())


def order(seed: int = 0, pool: int = 2) -> TrainOrder:
    return TrainOrder(IMAGES, PAIRS, seed, pool, 2)


def taken(visits: list[Visit]) -> list[tuple[int, int]]:
    """The pairs of visits in order: sample of the split, and row of its pairs."""
    return [(int(visit.samples[sample]), int(pair)) for visit in visits for sample, pair in zip(visit.sample, visit.pair, strict=True)]


def pairs_at(position: int, count: int, seed: int = 0, pool: int = 2) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for visit in order(seed, pool).visits(position):
        found += taken([visit])
        if len(found) >= count:
            return found[:count]
    raise AssertionError


@pytest.mark.parametrize("pool", [1, 2, 5])
def test_the_pair_at_a_position_does_not_depend_on_where_reading_began(pool: int) -> None:
    whole = pairs_at(0, 4 * EPOCH, pool=pool)
    for position in range(3 * EPOCH):
        assert pairs_at(position, 3, pool=pool) == whole[position : position + 3]


def test_each_epoch_takes_each_samples_share_once_and_in_another_order() -> None:
    epochs = [pairs_at(number * EPOCH, EPOCH) for number in range(4)]
    for epoch in epochs:
        assert len(set(epoch)) == EPOCH
        counts = np.bincount([sample for sample, _ in epoch])
        assert counts.tolist() == np.minimum(2 * IMAGES, PAIRS).tolist()
        assert all(pair < PAIRS[sample] for sample, pair in epoch)
    assert all(one != other for one, other in pairwise(epochs))
    assert pairs_at(0, EPOCH, seed=1) != epochs[0]


def test_visits_know_their_place() -> None:
    position = 7
    for visit in islice(order().visits(position), 9):
        assert visit.positions.tolist() == list(range(position, position + len(visit.pair)))
        position += len(visit.pair)


def test_a_list_is_gone_through_in_its_order() -> None:
    rows = [(sample, pair) for sample, count in enumerate(PAIRS) for pair in range(count)]
    assert taken(list(ListedOrder(PAIRS, None, 10**6, 0).visits())) == rows
    shuffled = [rows[number] for number in np.random.default_rng(0).permutation(len(rows))]
    sample, pair = np.array(shuffled).T
    assert taken(list(ListedOrder(PAIRS, (sample, pair), 10**6, 0).visits())) == shuffled
    some = taken(list(ListedOrder(PAIRS, (sample, pair), 9, 0).visits()))
    assert len(some) == 9
    assert [shuffled.index(both) for both in some] == sorted(shuffled.index(both) for both in some)


def test_a_long_list_is_read_in_parts() -> None:
    listed = ListedOrder(np.array([1500]), None, 10**6, 0)
    visits = list(listed.visits())
    assert len(listed) == 1500
    assert len(visits) > 1
    assert np.concatenate([visit.positions for visit in visits]).tolist() == list(range(1500))


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [None, 23])
def test_shares_are_consecutive_parts_of_every_batch(world: int, total: int | None) -> None:
    positions = np.arange(23)
    held = np.stack([Share(rank, world).holds(positions, 6, total) for rank in range(world)])
    assert (held.sum(axis=0) == 1).all()
    ranks = held.argmax(axis=0)
    for start in range(0, 23, 6):
        part = ranks[start : start + 6]
        assert (np.diff(part) >= 0).all()
        if total is not None or len(part) == 6:
            sizes = np.bincount(part, minlength=world)
            assert sizes.max() - sizes.min() <= 1


def test_a_rank_outside_the_world_is_refused() -> None:
    for rank in (-1, 2):
        with pytest.raises(ValueError, match="expected 0 .. 1 of 2 processes"):
            Share(rank, 2).checked()


def test_pairs_of_unreadable_samples_are_replaced_in_their_places_alone() -> None:
    visit = next(order(pool=5).visits(0))
    readable = np.array([True, False, True, True, False])
    settled = replace_unreadable(visit, readable, PAIRS[visit.samples])
    lost = ~readable[visit.sample]
    assert lost.any()
    assert readable[settled.sample].all()
    assert (settled.pair < PAIRS[visit.samples][settled.sample]).all()
    assert (settled.sample[~lost] == visit.sample[~lost]).all()
    assert (settled.pair[~lost] == visit.pair[~lost]).all()
    again = replace_unreadable(visit, readable, PAIRS[visit.samples])
    assert (again.sample == settled.sample).all() and (again.pair == settled.pair).all()
    assert replace_unreadable(visit, np.ones(5, dtype=bool), PAIRS) is visit


def test_a_pool_without_a_readable_sample_is_an_error() -> None:
    visit = next(order(pool=5).visits(0))
    with pytest.raises(PoseGANError, match="none of the 5 samples"):
        replace_unreadable(visit, np.zeros(5, dtype=bool), PAIRS)
