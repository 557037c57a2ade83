"""Metrics as sums over sums: means of the pairs, or pooled over their joints."""

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluate.scores import fractions, pair_scores


def test_a_plain_metric_is_a_mean_of_the_finite_pairs() -> None:
    table = pd.DataFrame({"generated_psnr": [10.0, 20.0, np.inf, np.nan]})
    above, below = fractions(table, "generated", "psnr") or (np.nan, np.nan)
    assert above.sum() / below.sum() == 15
    scores = pair_scores(table, "generated", "psnr")
    assert scores is not None and np.isinf(scores[2]) and np.isnan(scores[3])


def test_pck_is_pooled_over_joints() -> None:
    table = pd.DataFrame({"generated_joints_hit": [1, 8, 0], "generated_joints": [2, 10, 0]})
    above, below = fractions(table, "generated", "pck") or (np.nan, np.nan)
    assert above.sum() / below.sum() == 0.75
    scores = pair_scores(table, "generated", "pck")
    assert scores is not None
    assert scores[:2] == pytest.approx([0.5, 0.8]) and np.isnan(scores[2])


def test_what_is_not_in_the_table_is_none() -> None:
    table = pd.DataFrame({"generated_joints_hit": [1]})
    for metric in ("pck", "ssim"):
        assert fractions(table, "generated", metric) is None
        assert pair_scores(table, "generated", metric) is None
