"""From a table of pairs to the numbers of metrics.json: means, pooled shares, their intervals, and reasons for what is missing.

docs/metrics.md says what each name means.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.judging.bootstrap import bootstrap_intervals, ratios

METHODS = ("generated", "copy_source", "real_target")
PREFIXES = {"generated": "", "copy_source": "copy_", "real_target": "real_"}
# Measured only where AlexNet's weights are absent. Elsewhere nothing is missing, and their names are left out instead of null.
STAND_INS = ("lpips_random_filters", "mask_lpips_random_filters")
MEANS = (
    "ssim", "ssim_paper", "mask_ssim", "mask_ssim_paper", "psnr", "l1", "l1_paper", "lpips", "mask_lpips", *STAND_INS, "lpips_vgg",
    "ds", "found", "identity_similarity", "identity_consistency",
)  # fmt: skip
# Shares of joints, over all joints of all pairs: the columns of what is counted.
POOLED = {"pck": ("joints_hit", "joints"), "pckh": ("pckh_hit", "pckh_joints"), "pckh_paper": ("pckh_paper_hit", "pckh_joints")}
SETS = ("fid", "kid", "is", "is_paper", "mask_is", "mask_is_paper")
METRICS = (*MEANS, *POOLED, *SETS)
_PIXELS = (
    "ssim", "ssim_paper", "mask_ssim", "mask_ssim_paper", "psnr", "l1", "l1_paper", "lpips", "mask_lpips", *STAND_INS, "lpips_vgg",
)  # fmt: skip
# What an image scores against itself is known beforehand: nothing to record.
_TRIVIAL = {
    *(("real_target", name) for name in (*_PIXELS, "fid", "kid")),
    *(("copy_source", name) for name in ("identity_similarity", "identity_consistency", "mask_is", "mask_is_paper")),
}
_DIGITS = 6

Numbers = dict[str, dict[str, float]]  # method -> metric -> value, NaN where there is none


class Summary(NamedTuple):
    """The numbers of an evaluation."""

    values: Numbers  # of every name in METRICS, but of STAND_INS only those that were measured
    intervals: dict[str, dict[str, tuple[float, float]]]  # method -> metric -> 95 % interval
    reasons: dict[str, str]  # metric, by its flat name -> why it has no number, or not of all pairs


def summarise(
    table: pd.DataFrame, sets: Mapping[str, Mapping[str, float]], reasons: Mapping[str, str], resamples: int, seed: int
) -> Summary:
    """Numbers of all methods.

    Args:
        table: a row a pair, with columns `<method>_<metric>` and `identity`.
        sets: method -> metric of SETS -> value.
        reasons: metric -> why nothing was measured.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    values: Numbers = {}
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    notes = dict(reasons)
    people = table["identity"].to_numpy(np.int64)
    names = [name for name in METRICS if name not in STAND_INS or _measured(table, "generated", name)]
    for method in METHODS:
        fractions = {name: _fraction(table, method, name) for name in (*MEANS, *POOLED) if _measured(table, method, name)}
        numerators, denominators = (np.stack(part, axis=1) for part in zip(*fractions.values(), strict=True))
        means = dict(zip(fractions, ratios(numerators, denominators).tolist(), strict=True))
        values[method] = {name: means.get(name, sets.get(method, {}).get(name, math.nan)) for name in names}
        found = bootstrap_intervals(numerators, denominators, people, resamples, seed)
        intervals[method] = {name: (low, high) for name, (low, high) in zip(fractions, found.tolist(), strict=True)}
        notes |= {
            PREFIXES[method] + name: note for name, note in _notes(table, method, fractions).items() if (method, name) not in _TRIVIAL
        }
    return Summary(values, intervals, notes)


def flat_metrics(summary: Summary, pairs: int) -> dict[str, object]:
    """What metrics.json holds: flat numbers for DVC, then lists, which DVC passes over.

    `ssim` is the generator's, `copy_ssim` the floor's, `real_ds` the ceiling's; what an image scores against itself is left out.
    A generator's metric without a number is null; a stand-in that was not needed is left out. `pairs` is how many were judged,
    `intervals` has the 95 % intervals, `reasons` says why a number is missing.
    """
    numbers: dict[str, object] = {}
    for method, prefix in PREFIXES.items():
        for name, value in summary.values[method].items():
            if (method, name) not in _TRIVIAL and (math.isfinite(value) or not prefix):
                numbers[prefix + name] = _rounded(value)
    intervals = {
        prefix + name: [_rounded(end) for end in ends]
        for method, prefix in PREFIXES.items()
        for name, ends in summary.intervals[method].items()
        if (method, name) not in _TRIVIAL and all(map(math.isfinite, ends))
    }
    return {**numbers, "pairs": pairs, "intervals": intervals, "reasons": [f"{name}: {why}" for name, why in summary.reasons.items()]}


def _rounded(value: float) -> float | None:
    return round(value, _DIGITS) if math.isfinite(value) else None


def _measured(table: pd.DataFrame, method: str, name: str) -> bool:
    return f"{method}_{POOLED[name][0] if name in POOLED else name}" in table


def _fraction(table: pd.DataFrame, method: str, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What is summed above and below: hits and joints, or values and ones; a pair for which a value is not defined counts in neither."""
    if name in POOLED:
        above, below = (table[f"{method}_{column}"].to_numpy(np.float64) for column in POOLED[name])
        return above, below
    values = table[f"{method}_{name}"].to_numpy(np.float64)
    defined = ~np.isnan(values)
    return np.where(defined, values, 0), defined.astype(np.float64)


def _notes(
    table: pd.DataFrame, method: str, fractions: Mapping[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
) -> dict[str, str]:
    """Why a mean is not a number, or not one over all pairs."""
    notes = {}
    for name, (above, below) in fractions.items():
        infinite, left_out = int(np.isinf(above).sum()), int((below == 0).sum())
        if infinite:
            notes[name] = f"infinite, because {infinite:,} of {len(table):,} images are identical to their targets"
        elif not below.sum():
            notes[name] = "defined for no pair"
        elif left_out and name not in POOLED:
            notes[name] = f"not defined for {left_out:,} of {len(table):,} pairs, which are left out"
    return notes
