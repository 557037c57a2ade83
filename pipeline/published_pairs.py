"""The 12,000 test pairs on which Market-1501 is judged in print, made again from the published annotations by their authors' rule."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from pipeline.market1501 import DISTRACTOR, JUNK, parse_name
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation
from posegan.skeleton import TORSO

PAIRS, SEED = 12_000, 0
_FOLDER = "bounding_box_test"


def market_test_pairs(annotations: Sequence[Annotation], pairs: int = PAIRS, seed: int = SEED) -> list[tuple[str, str]]:
    """A seeded sample of all ordered pairs of one identity, as the field drew it.

    Images of distractors and junk, and those that lack a shoulder or a hip, are dropped; identities come in the order of their
    first image in the file; then NumPy's legacy generator draws without replacement, as pandas' `DataFrame.sample` does.

    Raises:
        PoseGANError: fewer candidates than `pairs`.
    """
    people: dict[int, list[str]] = defaultdict(list)
    for annotation in annotations:
        name = parse_name(f"{_FOLDER}/{PurePosixPath(annotation.image).name}")
        if name is not None and name.identity not in (DISTRACTOR, JUNK) and (annotation.keypoints[TORSO, 2] > 0).all():
            people[name.identity].append(annotation.image)
    candidates = [(source, target) for images in people.values() for source in images for target in images if source != target]
    if len(candidates) < pairs:
        raise PoseGANError(f"the annotations give {len(candidates):,} pairs, fewer than {pairs:,}; take those of the whole test split")
    chosen = np.random.RandomState(seed).choice(len(candidates), pairs, replace=False)
    return [candidates[row] for row in chosen]
