import numpy as np
import pytest
import torch

from posegan.data.reader import Pool
from posegan.data.streams import Draw, cut_into_batches


def draws(sizes: list[int], batch_size: int, first: int = 0, kept: np.ndarray | None = None) -> list[Draw]:
    """Visits of `sizes` pairs each; the source of the pair at position p shows p, its target p + 100. `kept`: which positions."""
    found, start = [], first
    for size in sizes:
        positions = np.arange(start, start + size)
        values = np.concatenate([positions, positions + 100])
        pool = Pool(
            np.broadcast_to(values[:, None, None, None], (2 * size, 3, 2, 2)).astype(np.uint8),
            np.broadcast_to(values[:, None, None], (2 * size, 18, 3)).astype(np.float32),
            [str(value) for value in values],
        )
        rows = np.flatnonzero(np.isin(positions, kept)) if kept is not None else np.arange(size)
        found.append(Draw(pool, rows, rows + size, positions[rows] // batch_size, start + size))
        start += size
    return found


@pytest.mark.parametrize("sizes", [[12], [1] * 12, [5, 7], [3, 0, 9], [11, 1]])
@pytest.mark.parametrize("first", [0, 4])
def test_batches_are_the_pairs_in_order_wherever_the_visits_end(sizes: list[int], first: int) -> None:
    batches = list(cut_into_batches(iter(draws(sizes, 4, first)), 4, first // 4))
    assert [batch.sources for batch in batches] == [tuple(map(str, range(start, start + 4))) for start in range(first, first + 12, 4)]
    for batch in batches:
        numbers = torch.tensor([int(name) for name in batch.sources])
        assert torch.equal(batch.source_images[:, 0, 0, 0].long(), numbers)
        assert torch.equal(batch.target_images[:, 2, 1, 1].long(), numbers + 100)
        assert torch.equal(batch.source_keypoints[:, 17, 2].long(), numbers)
        assert torch.equal(batch.target_keypoints[:, 0, 0].long(), numbers + 100)
        assert batch.targets == tuple(str(number + 100) for number in numbers.tolist())


def test_an_endless_stream_waits_for_a_full_batch_and_a_list_does_not() -> None:
    assert [len(batch.sources) for batch in cut_into_batches(iter(draws([5, 5], 4)), 4, 0)] == [4, 4]
    assert [len(batch.sources) for batch in cut_into_batches(iter(draws([5, 5], 4)), 4, 0, total=10)] == [4, 4, 2]


def test_a_batch_of_which_nothing_is_kept_is_empty_and_not_left_out() -> None:
    kept = np.array([0, 5, 9, 10])
    batches = list(cut_into_batches(iter(draws([7, 6], 3, kept=kept)), 3, 0, total=13))
    assert [batch.sources for batch in batches] == [("0",), ("5",), (), ("9", "10"), ()]
    assert batches[2].source_images.shape == (0, 3, 2, 2)
