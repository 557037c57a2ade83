"""Summaries: means over what is defined, pooled shares, reasons, and a metrics.json that DVC reads."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluate.metrics import BY_KIND, FOR_PEOPLE, KINDS, METHODS, METRICS
from pipeline.evaluate.scores import bootstrap_intervals, flat_metrics, ratios, summarise
from pipeline.exp_show import dropped

PEOPLE = np.array([1, 1, 2, 3])
POOLED = [metric.pooled for metric in METRICS.values() if metric.pooled]
STAND_INS = [name for name, metric in METRICS.items() if metric.stands_in]


def table(**changes: list[float]) -> pd.DataFrame:
    columns: dict[str, object] = {"identity": PEOPLE}
    for number, method in enumerate(METHODS):
        columns |= {f"{method}_{name}": np.arange(4.0) / 10 + number for name in ("ssim", "psnr", "l1", "ds")}
        columns |= {f"{method}_{hit}": [1, 2, 3, 4] for hit, _ in POOLED}
        columns |= {f"{method}_{counted}": [2, 4, 6, 8] for _, counted in POOLED}
    return pd.DataFrame(columns | changes)


def test_the_table_of_metrics_is_in_order() -> None:
    assert len({metric.heading for metric in METRICS.values()}) == len(METRICS)
    assert {metric.kind for metric in METRICS.values()} == set(KINDS)
    assert {metric.name for metric in BY_KIND} == {metric.name for metric in FOR_PEOPLE} == set(METRICS)
    assert all(bool(metric.pooled) == (metric.kind == "joints") for metric in METRICS.values())


def test_the_table_of_experiments_shows_the_headlines() -> None:
    shown = [name for name in METRICS if not re.fullmatch(dropped(), name)]
    assert shown == [name for name, metric in METRICS.items() if metric.headline and not metric.stands_in]
    assert all(re.fullmatch(dropped(), name) for name in ("copy_ssim", "real_ds", "val_l1", "loss_l1", "pairs", "pipeline/pose"))


def test_means_and_pooled_shares() -> None:
    values = summarise(table(), {"generated": {"fid": 12.5}}, {"lpips": "no weights"}, 100, 0).values
    assert values["generated"]["ssim"] == pytest.approx(0.15)
    assert values["copy_source"]["pck"] == values["generated"]["pckh"] == 0.5
    assert values["generated"]["fid"] == 12.5
    assert math.isnan(values["generated"]["lpips"])


def test_what_is_not_defined_is_left_out_and_said() -> None:
    summary = summarise(table(generated_ssim=[np.nan, 0.2, 0.4, 0.6], copy_source_psnr=[np.inf, 1, 2, 3]), {}, {}, 100, 0)
    assert summary.values["generated"]["ssim"] == pytest.approx(0.4)
    assert summary.reasons["ssim"] == "not defined for 1 of 4 pairs, which are left out"
    assert summary.reasons["copy_psnr"] == "infinite, because 1 of 4 images are identical to their targets"
    nothing = summarise(table(generated_ssim=[np.nan] * 4), {}, {}, 100, 0)
    assert flat_metrics(nothing, 4)["ssim"] is None
    assert nothing.reasons["ssim"] == "defined for no pair"


def test_a_stand_in_is_a_number_or_not_there_at_all() -> None:
    without = summarise(table(), {}, {}, 100, 0)
    assert set(without.values["generated"]) == set(METRICS) - set(STAND_INS)
    assert not any("random_filters" in name for name in flat_metrics(without, 4))
    columns = {f"{method}_{name}": [0.0 if method == "real_target" else 0.5] * 4 for method in METHODS for name in STAND_INS}
    numbers = flat_metrics(summarise(table(**columns), {}, {}, 100, 0), 4)
    measured = {name: numbers[name] for name in numbers if "random_filters" in name}
    assert measured == {
        prefix + name: 0.5 for prefix in ("", "warp_", "copy_") for name in STAND_INS
    }  # the real image's 0 goes without saying
    assert numbers["intervals"]["lpips_random_filters"] == [0.5, 0.5]  # type: ignore[index]
    assert numbers["lpips"] is None


def test_metrics_json_is_read_by_dvc(tmp_path: Path) -> None:
    numbers = flat_metrics(summarise(table(), {"generated": {"is": 1.2}}, {"fid": "no weights of Inception"}, 100, 0), 4)
    assert numbers["fid"] is None
    assert "real_ssim" not in numbers
    assert {"ssim", "copy_ssim", "real_ds", "is", "pairs", "intervals", "reasons"} <= set(numbers)
    (tmp_path / "metrics.json").write_text(json.dumps(numbers, allow_nan=False))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for arguments in (["init", "-q"], ["metrics", "show", "--json", "metrics.json"]):
        shown = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
    data = json.loads(shown.stdout)[""]["data"]["metrics.json"]["data"]
    assert data["ssim"] == numbers["ssim"]
    assert data.keys() == {name for name, value in numbers.items() if isinstance(value, int | float)}


def test_intervals_hold_the_mean_and_shrink_with_more_people() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for people in (20, 500):
        groups = np.repeat(np.arange(people), 4)
        values = rng.normal(size=(len(groups), 1)) + rng.normal(size=people)[groups][:, None]
        [[low, high]] = bootstrap_intervals(values, np.ones_like(values), groups, 500, 0)
        assert low < values.mean() < high
        widths.append(high - low)
    # A person's pairs share a deviation of 1, each pair adds one of 1: the mean's standard error is sqrt((1 + 1/4) / people).
    assert widths[1] == pytest.approx(2 * 1.96 * math.sqrt(1.25 / 500), rel=0.15)
    assert widths[0] > 3 * widths[1]


def test_intervals_of_a_constant_are_points_and_of_one_person_nothing() -> None:
    ones = np.ones((6, 2))
    assert (bootstrap_intervals(3 * ones, ones, np.arange(6), 100, 0) == 3).all()
    assert np.isnan(bootstrap_intervals(ones, ones, np.zeros(6, int), 100, 0)).all()
    assert np.isnan(bootstrap_intervals(ones[:0], ones[:0], np.zeros(0, int), 100, 0)).all()
    infinite = ones.copy()
    infinite[0, 0] = np.inf
    found = bootstrap_intervals(infinite, ones, np.arange(6), 100, 0)
    assert np.isnan(found[0]).all()
    assert (found[1] == 1).all()


def test_intervals_are_seeded() -> None:
    values = np.random.default_rng(0).normal(size=(50, 1))
    ones, people = np.ones_like(values), np.arange(50)
    first, again, other = (bootstrap_intervals(values, ones, people, 200, seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_ratios_of_nothing_are_no_numbers() -> None:
    assert np.isnan(ratios(np.zeros((3, 1)), np.zeros((3, 1)))).all()
