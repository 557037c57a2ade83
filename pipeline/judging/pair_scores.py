"""The metrics of reports and comparisons, and what each pair scores by them.

Legend: N pairs.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.judging.scores import POOLED

Floats = npt.NDArray[np.float64]

# Name, heading, decimals, and which way is better; docs/metrics.md defines them.
METRICS = (
    ("ssim", "SSIM", 3, "higher"),
    ("mask_ssim", "mask-SSIM", 3, "higher"),
    ("l1", "L1 (0..1)", 4, "lower"),
    ("psnr", "PSNR (dB)", 2, "higher"),
    ("lpips", "LPIPS (AlexNet)", 3, "lower"),
    ("mask_lpips", "mask-LPIPS", 3, "lower"),
    ("lpips_random_filters", "LPIPS' stand-in, random filters", 3, "lower"),
    ("mask_lpips_random_filters", "mask-LPIPS' stand-in, random filters", 3, "lower"),
    ("lpips_vgg", "LPIPS (VGG-16)", 3, "lower"),
    ("fid", "FID", 2, "lower"),
    ("kid", "KID", 4, "lower"),
    ("is", "IS", 3, "higher"),
    ("mask_is", "mask-IS", 3, "higher"),
    ("ds", "DS", 3, "higher"),
    ("found", "person found", 3, "higher"),
    ("pck", "PCK", 3, "higher"),
    ("pckh", "PCKh", 3, "higher"),
    ("identity_similarity", "identity, similarity", 3, "higher"),
    ("identity_consistency", "identity, consistency", 3, "higher"),
    ("ssim_paper", "SSIM, paper's", 3, "higher"),
    ("mask_ssim_paper", "mask-SSIM, paper's", 3, "higher"),
    ("l1_paper", "L1, paper's (0..2)", 4, "lower"),
    ("is_paper", "IS, paper's", 3, "higher"),
    ("mask_is_paper", "mask-IS, paper's", 3, "higher"),
    ("pckh_paper", "PCKh, PATN's", 3, "higher"),
)
# The same once more in the paper's reading: in tables of means, but not worth pictures and charts of their own.
READINGS = tuple(name for name, *_ in METRICS if name.endswith("_paper"))
METHODS = {"generated": "generated", "copy_source": "source image copied (floor)", "real_target": "real image (ceiling)"}


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
