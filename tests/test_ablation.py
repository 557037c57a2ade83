import pytest

from pipeline.ablation import Experiment, check_budget, markdown, plan, read_experiments, summarise
from posegan.errors import PoseGANError

KNOWN = ["baseline", "dsc", "ours"]


def test_every_recipe_has_its_first_seed_before_any_has_its_second() -> None:
    runs = plan(["dsc", "ours"], KNOWN, 2, "small")
    assert [(run.recipe, run.seed) for run in runs] == [("dsc", 0), ("ours", 0), ("dsc", 1), ("ours", 1)]
    assert len({run.name for run in plan(KNOWN, KNOWN, 3, "a")}) == 9
    assert "recipe=dsc" in runs[0].overrides


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(PoseGANError, match="'dcs' is none of params.yaml"):
        plan(["dcs"], KNOWN, 1, "a")


def test_the_table_holds_means_and_half_ranges_floor_and_ceiling() -> None:
    runs = plan(["dsc", "ours"], KNOWN, 2, "a")
    metrics = [
        {"ssim": 0.2, "ds": 0.5, "copy_ssim": 0.1, "real_ds": 0.9},
        {"ssim": 0.3, "ds": 0.6, "copy_ssim": 0.1, "real_ds": 0.9},
        {"ssim": 0.4, "ds": 0.5, "copy_ssim": 0.1, "real_ds": 0.9},
        {"ssim": 0.3, "copy_ssim": 0.1, "real_ds": 0.9},
    ]
    summary = summarise(runs, metrics)
    assert summary["dsc"]["ssim"] == pytest.approx((0.3, 0.1))
    assert summary["ours"]["ssim"] == pytest.approx((0.3, 0))
    assert "ds" not in summary["ours"]
    assert summary["copy the source"]["ssim"] == pytest.approx((0.1, 0))
    assert markdown(summary, ["train.iterations=7"]) == (
        "| | SSIM ↑ | DS ↑ |\n|---|---|---|\n"
        "| dsc | 0.300 ± 0.100 | 0.500 |\n"
        "| ours | 0.300 | - |\n"
        "| copy the source | 0.100 | - |\n"
        "| the real target | - | 0.900 |\n"
        "\nAll runs: `train.iterations=7`.\n"
    )


def test_experiments_are_read_from_dvcs_listing_and_must_have_run_with_the_budget_asked_for() -> None:
    data = {
        "metrics": {"dvclive/metrics.json": {"data": {"l1": 9}}, "metrics.json": {"data": {"l1": 0.1}}},
        "params": {"params.yaml": {"data": {"recipe": "dsc", "train": {"iterations": 10, "learning_rate": 0.001}}}},
    }
    listing = [{"rev": "workspace", "experiments": None}, {"rev": "a", "experiments": [{"name": "a-dsc-0", "revs": [{"data": data}]}]}]
    found = read_experiments(listing)
    assert found == {"a-dsc-0": Experiment({"l1": 0.1}, data["params"]["params.yaml"]["data"])}
    check_budget("a-dsc-0", found["a-dsc-0"], ["recipe=dsc", "train.iterations=10", "train.learning_rate=0.001"])
    with pytest.raises(PoseGANError, match=r"a-dsc-0 ran with train\.iterations=10, not 20; take another --name"):
        check_budget("a-dsc-0", found["a-dsc-0"], ["train.iterations=20"])
