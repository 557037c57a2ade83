"""The published test pairs, row for row, where the published annotations are at hand; the rule on a small file elsewhere."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.exchange import market_test_pairs
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation
from posegan.formats.keypoint_csv import read_keypoint_csv
from posegan.formats.pair_csv import read_pair_csv

PUBLISHED = Path(__file__).parents[2] / "shared" / "market1501"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published annotations are not beside the project")
def test_the_published_list_row_for_row() -> None:
    made = market_test_pairs(read_keypoint_csv(PUBLISHED / "market-annotation-test.csv"))
    listed = [(pair.source, pair.target) for pair in read_pair_csv(PUBLISHED / "market-pairs-test.csv")]
    assert made == listed


def annotation(name: str, hidden: int | None = None) -> Annotation:
    keypoints = np.ones((18, 3), np.float32)
    if hidden is not None:
        keypoints[hidden] = 0
    return Annotation(name, keypoints, 1.0)


def test_the_rule_on_a_small_file() -> None:
    names = [f"{identity:04d}_c1s1_00000{image}_01.jpg" for identity in (7, 3) for image in range(3)]
    others = [annotation("0000_c1s1_000001_01.jpg"), annotation("-1_c1s1_000001_01.jpg"), annotation("0003_c1s1_000009_01.jpg", hidden=8)]
    kept = [annotation(name, hidden=4) for name in names]  # a wrist is not asked for
    candidates = [(a, b) for group in (names[:3], names[3:]) for a in group for b in group if a != b]
    expected = pd.DataFrame(candidates).sample(n=5, replace=False, random_state=1)
    assert market_test_pairs([*kept[:2], *others, *kept[2:]], 5, 1) == list(expected.itertuples(index=False, name=None))
    with pytest.raises(PoseGANError, match="give 12 pairs, fewer than 13"):
        market_test_pairs(kept, 13)
