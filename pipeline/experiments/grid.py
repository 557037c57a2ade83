"""The recipes' pictures of the same pairs, side by side."""

from collections.abc import Sequence

import pandas as pd
import PIL.Image

from pipeline.pages.album import Pictures
from posegan.images import image_grid


def draw_grid(titles: Sequence[str], albums: Sequence[Pictures], pairs: pd.DataFrame, people: int) -> PIL.Image.Image:
    """A row a pair: source, target pose, what each recipe generated, real.

    The pairs are the first one of each of the first so many people in the evaluation's list, which is ordered by person:
    chosen by their place, whatever was drawn for them.

    Args:
        titles: over each recipe's column.
        albums: of each recipe, over the same pairs.
        pairs: those pairs, with columns source, target, identity.
        people: rows, fewer where fewer people were judged.
    """
    rows = []
    for number in first_pairs(pairs, people):
        source, target = pairs["source"].iloc[number], pairs["target"].iloc[number]
        one, pose, first, real = albums[0].row(number, source, target)
        rows.append([one, pose, first, *(album.generated(number) for album in albums[1:]), real])
    return image_grid(rows, ("source", "target pose", *titles, "real"))


def first_pairs(pairs: pd.DataFrame, people: int) -> list[int]:
    """The row of the first pair of each of the first `people` identities."""
    return [int(row) for row in (~pairs["identity"].duplicated()).to_numpy().nonzero()[0][:people]]
