"""The metrics of reports and comparisons, and what each pair scores by them.

Legend: N pairs.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

# Name, heading, decimals, and which way is better.
METRICS = (
    ("ssim", "SSIM", 3, "higher"),
    ("mask_ssim", "mask-SSIM", 3, "higher"),
    ("l1", "L1 (0..1)", 4, "lower"),
    ("psnr", "PSNR (dB)", 2, "higher"),
    ("ds", "DS", 3, "higher"),
    ("pck", "PCK", 3, "higher"),
    ("found", "person found", 3, "higher"),
)
METHODS = {"generated": "generated", "copy_source": "source image copied (floor)", "real_target": "real image (ceiling)"}
# Metrics that are a ratio of sums over the pairs, not a mean of the pairs' own: the columns above and below the line.
POOLED = {"pck": ("joints_hit", "joints")}


def fractions(table: pd.DataFrame, method: str, metric: str) -> tuple[Floats, Floats] | None:
    """What each pair adds above and below the line of a metric (N,), (N,): the metric is sum over sum; None: not in the table.

    A pair without a finite score adds nothing to either.
    """
    above, below = POOLED.get(metric, (metric, ""))
    if f"{method}_{above}" not in table or (below and f"{method}_{below}" not in table):
        return None
    scores = table[f"{method}_{above}"].to_numpy(dtype=float, na_value=np.nan)
    weights = table[f"{method}_{below}"].to_numpy(dtype=float, na_value=np.nan) if below else np.ones(len(table))
    there = np.isfinite(scores) & np.isfinite(weights)
    return np.where(there, scores, 0), np.where(there, weights, 0)


def pair_scores(table: pd.DataFrame, method: str, metric: str) -> Floats | None:
    """Each pair's own score (N,), NaN where it has none; None: the metric is not in the table."""
    if metric not in POOLED and f"{method}_{metric}" in table:
        return table[f"{method}_{metric}"].to_numpy(dtype=float, na_value=np.nan)
    if (parts := fractions(table, method, metric)) is None:
        return None
    scores: Floats = np.divide(*parts, out=np.full(len(table), np.nan), where=parts[1] > 0)
    return scores
