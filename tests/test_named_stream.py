"""Listed pairs from the shards: the listed images, whatever the order, each named as people name them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from posegan.data.index import ShardIndex
from posegan.data.named_stream import NamedStream
from posegan.data.streams import ListedStream
from posegan.errors import PoseGANError
from tests.support.small_market import Prepared


def everything(prepared: Prepared) -> dict[tuple[str, str], torch.Tensor]:
    stream = ListedStream(ShardIndex.load(prepared.shards), "test", prepared.image, 4, 10_000, 0)
    rows = [row for batch in stream for row in zip(batch.sources, batch.targets, batch.source_images, batch.target_keypoints, strict=True)]
    return {(source, target): (image, keypoints) for source, target, image, keypoints in rows}  # type: ignore[misc]


@pytest.mark.parametrize(
    "spelling",
    [
        str,
        lambda name: Path(name).name,
        lambda name: Path(name).stem,
        lambda name: "D:\\m\\" + name.replace("/", "\\"),
        lambda name: f"test/{Path(name).stem}.JPG",
    ],
)
def test_pairs_come_as_listed(prepared: Prepared, spelling: object) -> None:
    known = everything(prepared)
    chosen = [list(known)[row] for row in np.random.default_rng(0).permutation(len(known))[:7]]
    chosen.append(chosen[0])
    listed = [(spelling(source), spelling(target)) for source, target in chosen]  # type: ignore[operator]
    stream = NamedStream(ShardIndex.load(prepared.shards), "test", prepared.image, 3, listed)
    assert len(stream) == 8
    assert sorted(stream.order) == list(range(8))
    position = 0
    for batch in stream:
        assert len(batch.sources) <= 3
        for row, pair in enumerate(zip(batch.sources, batch.targets, strict=True)):
            assert pair == chosen[stream.order[position]]
            image, keypoints = known[pair]
            assert torch.equal(batch.source_images[row], image)
            assert torch.equal(batch.target_keypoints[row], keypoints)
            position += 1
    assert position == 8


def test_pairs_of_two_people_and_of_nobody_are_refused(prepared: Prepared) -> None:
    index, names = ShardIndex.load(prepared.shards), list(everything(prepared))
    stranger = next(source for source, _ in names if source[:24] != names[0][0][:24])
    for pair in ((names[0][0], stranger), (names[0][0], "absent.jpg")):
        with pytest.raises(PoseGANError, match="1 of 2 listed pairs are not two images of one person"):
            NamedStream(index, "test", prepared.image, 3, [names[0], pair])
    with pytest.raises(PoseGANError, match=r"no image there is called absent\.jpg, they are named such as bounding_box_test/.*\.jpg; set"):
        NamedStream(index, "test", prepared.image, 3, [(names[0][0], "absent.jpg")])
    with pytest.raises(PoseGANError, match="holds no pair"):
        NamedStream(index, "test", prepared.image, 3, [])
