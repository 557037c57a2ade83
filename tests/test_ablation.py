import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from pipeline.ablation.command import check_budget, check_pairs, draw_grid, first_pairs, plan
from pipeline.ablation.results import Experiment, budget, markdown, read_experiment, read_pictures, row_title, summarise
from pipeline.evaluate.album import AlbumMaker, Pictures
from posegan.errors import PoseGANError
from tests.support.judged import SIZE, batch, evaluation, flat, names

KNOWN = ["baseline", "dsc", "ours"]
LOSSES = {"plain": {"perceptual": 0.0, "nearest_neighbour": 0.0}, "seen": {"perceptual": 0.0, "nearest_neighbour": 0.01}}
PAIRS = pd.DataFrame({"source": ["a", "b", "c"], "target": ["b", "a", "d"], "identity": [3, 3, 8]})


def experiment(recipe: str = "plain", filters: str = "random", **loss: Any) -> Experiment:
    """One of recipes of our own; `loss` overrules the recipe."""
    params = {
        "recipe": recipe,
        "recipes": {name: {"loss": weights} for name, weights in LOSSES.items()},
        "loss": {"perceptual": "recipe", "nearest_neighbour": "recipe", **loss},
        "features": {"weights": filters},
        "dataset": {"sample": {"train_identities": 1500, "test_identities": 30}},
        "image": {"height": 128, "width": 64},
        "model": {"generator_channels": 16, "discriminator_channels": 8},
        "train": {"iterations": 1000, "batch_size": 4},
    }
    return Experiment({}, params, PAIRS)


def test_every_recipe_has_its_first_seed_before_any_has_its_second() -> None:
    runs = plan(["dsc", "ours"], KNOWN, 2, "small")
    assert [(run.recipe, run.seed) for run in runs] == [("dsc", 0), ("ours", 0), ("dsc", 1), ("ours", 1)]
    assert len({run.name for run in plan(KNOWN, KNOWN, 3, "a")}) == 9
    assert "recipe=dsc" in runs[0].overrides


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(PoseGANError, match="'dcs' is none of params.yaml"):
        plan(["dcs"], KNOWN, 1, "a")


def test_the_table_holds_means_and_half_ranges_floor_and_ceiling() -> None:
    metrics = [
        {"ssim": 0.2, "ds": 0.5, "warp_ssim": 0.15, "copy_ssim": 0.1, "real_ds": 0.9},
        {"ssim": 0.3, "ds": 0.6, "warp_ssim": 0.15, "copy_ssim": 0.1, "real_ds": 0.9},
        {"ssim": 0.4, "ds": 0.5, "warp_ssim": 0.15, "copy_ssim": 0.1, "real_ds": 0.9},
        {"ssim": 0.3, "warp_ssim": 0.15, "copy_ssim": 0.1, "real_ds": 0.9},
    ]
    summary = summarise(["dsc", "ours", "dsc", "ours"], metrics)
    assert summary["dsc"]["ssim"] == pytest.approx((0.3, 0.1))
    assert summary["ours"]["ssim"] == pytest.approx((0.3, 0))
    assert "ds" not in summary["ours"]
    assert summary["copy the source"]["ssim"] == pytest.approx((0.1, 0))
    assert markdown(summary, "All runs are alike.") == (
        "| | SSIM ↑ | DS ↑ |\n|---|---|---|\n"
        "| dsc | 0.300 ± 0.100 | 0.500 |\n"
        "| ours | 0.300 | - |\n"
        "| warp the source | 0.150 | - |\n"
        "| copy the source | 0.100 | - |\n"
        "| the real target | - | 0.900 |\n"
        "\nAll runs are alike.\n"
    )


@pytest.mark.parametrize(
    ("metric", "title"), [("lpips", "LPIPS (AlexNet) ↓"), ("lpips_random_filters", "LPIPS' stand-in, random filters ↓")]
)
def test_lpips_and_its_stand_in_have_a_column_where_they_were_measured(metric: str, title: str) -> None:
    measured = {"ssim": 0.5, "lpips": None, metric: 0.25, f"copy_{metric}": 0.125}
    table = markdown(summarise(["dsc"], [measured]), "")
    assert table.splitlines()[0] == f"| | SSIM ↑ | {title} |"
    assert "| dsc | 0.500 | 0.250 |" in table
    assert "| copy the source | - | 0.125 |" in table


def test_a_row_says_that_its_losses_looked_through_random_filters_whatever_the_recipe_is_called() -> None:
    assert row_title("seen", experiment("seen")) == "seen (random filters)"
    assert row_title("seen", experiment("seen", "official")) == "seen"
    assert row_title("plain", experiment("plain")) == "plain"
    # A value in the section overrules the recipe.
    assert row_title("plain", experiment("plain", perceptual=0.5)) == "plain (random filters)"
    assert row_title("seen", experiment("seen", nearest_neighbour=0.0)) == "seen"


def test_the_budget_says_what_was_measured_on_what() -> None:
    text = budget(2, 2, [experiment("seen"), experiment("plain")], ["train.iterations=1000"])
    for said in (
        "4 runs: 2 recipes with 2 seeds each, means ± half the range",
        "Drawn people, 128x64 pixels: 1,500 identities to train on, 30 held out, of whose pairs 3 are judged",
        "1,000 iterations of 4 pairs, first level of 16 channels (generator) and 8 (discriminator)",
        "(random filters): the VGG-19",
        "Set for all: `train.iterations=1000`.",
    ):
        assert said in text
    alone = budget(1, 1, [experiment("plain")], [])
    assert alone.startswith("1 run: 1 recipe with 1 seed each. ")
    assert "random" not in alone


def test_experiments_must_have_run_with_the_budget_asked_for_and_have_judged_the_same_pairs() -> None:
    one = experiment()
    check_budget("a-plain-0", one, ["recipe=plain", "train.iterations=1000", "loss.perceptual=recipe"])
    with pytest.raises(PoseGANError, match=r"a-plain-0 ran with train\.iterations=1000, not 20; take another --name"):
        check_budget("a-plain-0", one, ["train.iterations=20"])
    check_pairs("a-plain-0", one, experiment("seen"))
    for others in (PAIRS[::-1].reset_index(drop=True), PAIRS[:2], PAIRS.assign(target=["b", "a", "e"])):
        with pytest.raises(PoseGANError, match="a-plain-1 judged other pairs than the first"):
            check_pairs("a-plain-1", one._replace(pairs=others), one)


def test_an_experiment_is_read_from_its_files(tmp_path: Path) -> None:
    judged, pairs = evaluation([0.5, 0.25]), io.BytesIO()
    table = judged.table.assign(identity=[1, 1])
    table.to_parquet(pairs)
    judged.pictures.save(tmp_path / "pictures.zip")
    files = {
        "metrics.json": json.dumps({"ssim": 0.375, "lpips": None}).encode(),
        "params.yaml": yaml.safe_dump({"recipe": "plain"}).encode(),
        "reports/evaluation/pairs.parquet": pairs.getvalue(),
        "reports/evaluation/pictures.zip": (tmp_path / "pictures.zip").read_bytes(),
    }
    read = read_experiment(files.__getitem__)
    assert read.metrics == {"ssim": 0.375, "lpips": None}
    assert read.params == {"recipe": "plain"}
    assert read.pairs.equals(table[["source", "target", "identity"]])
    assert len(read_pictures(files.__getitem__)) == 2


def test_the_grid_shows_the_first_pair_of_each_of_the_first_people_for_every_recipe() -> None:
    images = names(6)
    sources, targets = images[:5], images[1:]
    pairs = pd.DataFrame({"source": sources, "target": targets, "identity": [4, 4, 7, 7, 9]})
    assert first_pairs(pairs, 2) == [0, 2]
    assert first_pairs(pairs, 6) == [0, 2, 4]
    grid = np.asarray(draw_grid(["one", "two"], [_album(sources, targets, 100), _album(sources, targets, 200)], pairs, 2))
    middles = grid[20 + SIZE :: 2 * SIZE + 4, 4 + SIZE :: 2 * SIZE + 4, 0][:2]  # tiles are enlarged twice, with gaps of 4
    shown = middles[:, [0, 2, 3, 4]]  # without the poses
    assert np.abs(shown.astype(int) - [[0, 100, 200, 10], [20, 102, 202, 30]]).max() <= 1  # JPEG


def _album(sources: Sequence[str], targets: Sequence[str], level: int) -> Pictures:
    """Flat pictures: the generated ones of `level` and their place, the real ones of ten times their number."""
    maker = AlbumMaker()
    maker.add(batch(list(sources), list(targets)), torch.stack([flat(level + number) for number in range(len(sources))]))
    return maker.finish()
