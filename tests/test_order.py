from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt
import pytest

from posegan.data.order import LAWS, Counts, ListedOrder, Share, TrainOrder, Visit, replace_unreadable
from posegan.errors import PoseGANError

IMAGES = np.array([4, 2, 7, 3, 5])
PAIRS = IMAGES * (IMAGES - 1)
EPOCH = int(np.minimum(2 * IMAGES, PAIRS).sum())


def order(seed: int = 0, pool: int = 2) -> TrainOrder:
    return TrainOrder(Counts(np.arange(5), IMAGES, PAIRS), "by_identity", seed, pool, 2)


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


def given(counts: Counts, law: str, epochs: int) -> npt.NDArray[np.float64]:
    """Pairs that each sample gives in an epoch (S,), in the mean over some."""
    wanted = epochs * round(LAWS[law](counts, 2).sum())
    drawn: list[int] = []
    for visit in TrainOrder(counts, law, 0, 3, 2).visits(0):
        drawn += visit.samples[visit.sample].tolist()
        if len(drawn) >= wanted:
            break
    assert len(drawn) == wanted  # an epoch ends with a visit
    return np.bincount(drawn) / epochs


def test_the_uniform_law_draws_every_pair_equally_often() -> None:
    """As the original: an identity of n images in proportion to n (n - 1)."""
    means = given(Counts(np.arange(5), IMAGES, PAIRS), "uniform", 400)
    assert means.sum() == EPOCH
    np.testing.assert_allclose(means, PAIRS * EPOCH / PAIRS.sum(), rtol=0.02)


def test_by_identity_the_pieces_of_a_large_one_count_as_one() -> None:
    """Identity 1 has 10 images and 90 pairs, cut into three pieces of 6 or 7 images that share some."""
    counts = Counts(np.array([0, 1, 1, 1, 2]), np.array([4, 7, 6, 7, 5]), np.array([12, 40, 30, 20, 20]))
    means = given(counts, "by_identity", 300)
    assert means[[0, 4]].tolist() == [8, 10]
    assert means[1:4].sum() == 20
    np.testing.assert_allclose(means[1:4], 20 * np.array([4, 3, 2]) / 9, rtol=0.05)


@pytest.mark.parametrize("law", LAWS)
def test_no_law_draws_a_pair_twice_in_an_epoch(law: str) -> None:
    order = TrainOrder(Counts(np.arange(5), IMAGES, PAIRS), law, 3, 2, 50)  # more than there are: all of them
    rows: list[tuple[int, int]] = []
    for visit in order.visits(0):
        rows += taken([visit])
        if len(rows) >= PAIRS.sum():
            break
    assert sorted(rows) == [(sample, pair) for sample, count in enumerate(PAIRS) for pair in range(count)]


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
