"""How far a mean could be off, had other people been drawn: bootstrap over people.

Pairs of one person share images and a look, so whole people are drawn anew, not pairs: intervals from pairs alone would be too narrow.
Legend: N pairs, M metrics, G people, R resamples.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_LEVELS = (2.5, 97.5)  # per cent: the ends of a 95 % interval


def ratios(numerators: Floats, denominators: Floats) -> Floats:
    """Sums of numerators (N, M) over sums of denominators (N, M): (M,); NaN where nothing is counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = numerators.sum(axis=0) / denominators.sum(axis=0)
    return result


def bootstrap_intervals(
    numerators: Floats, denominators: Floats, people: npt.NDArray[np.int64], resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    """95 % percentile intervals (M, 2) of `ratios`, for R resamples of people with replacement.

    A mean is the ratio of its values' sum to their number. NaN where a column is not finite, nothing is counted, or there are
    fewer than two people.

    Args:
        numerators: (N, M).
        denominators: (N, M).
        people: (N,) whose each pair is.
        resamples: R.
        seed: of the draws; the same draws for every metric.
    """
    _, groups = np.unique(people, return_inverse=True)
    count = int(groups.max(initial=-1)) + 1
    if count < 2:
        return np.full((numerators.shape[1], 2), np.nan)
    sums = np.zeros((2, count, numerators.shape[1]))
    for total, values in zip(sums, (numerators, denominators), strict=True):
        np.add.at(total, groups, values)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)  # (R, G)
    finite = np.isfinite(sums).all(axis=(0, 1))
    top, bottom = drawn @ np.where(finite, sums, 0)  # (R, M) each
    with np.errstate(invalid="ignore", divide="ignore"):
        intervals = np.percentile(top / bottom, _LEVELS, axis=0).T
    intervals[~finite] = np.nan
    result: npt.NDArray[np.float64] = intervals
    return result
