"""Each distinct image is computed once, in this run and in the next; a bad file costs time and nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.evaluate.content_cache import ContentCache


class Counting:
    """The mean of each image and its number of pixels, and how many images were seen."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: Tensor) -> np.ndarray:
        self.seen += len(images)
        return np.stack([np.array([image.float().mean(), image.numel()], np.float32) for image in images])


def images(*values: int) -> Tensor:
    return torch.stack([torch.full((3, 4, 2), value, dtype=torch.uint8) for value in values])


def test_equal_images_are_computed_once() -> None:
    compute = Counting()
    cache = ContentCache(compute)
    assert cache(images(5, 7, 5))[:, 0].tolist() == [5, 7, 5]
    assert cache(images(7, 9))[:, 0].tolist() == [7, 9]
    assert compute.seen == cache.computed == 3


def test_the_next_run_remembers(tmp_path: Path) -> None:
    path = tmp_path / "features.safetensors"
    first = ContentCache(Counting(), path)
    expected = first(images(5, 7))
    first.save()
    compute = Counting()
    second = ContentCache(compute, path)
    assert np.array_equal(second(images(7, 5)), expected[::-1])
    assert compute.seen == 0
    before = path.read_bytes()
    second.save()
    assert path.read_bytes() == before


def test_the_file_holds_one_run_s_images(tmp_path: Path) -> None:
    path = tmp_path / "features.safetensors"
    for value in range(4):
        cache = ContentCache(Counting(), path)
        cache(images(value, value + 1))
        assert cache.computed == (1 if value else 2)
        cache.save()
    cache = ContentCache(Counting(), path)
    cache(images(0))
    assert cache.computed == 1


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "features.safetensors"
    cache = ContentCache(Counting(), path)
    cache(images(1, 2, 3))
    cache.save()
    path.write_bytes(path.read_bytes()[:-5] if content is None else content)
    again = ContentCache(Counting(), path)
    assert again(images(1))[0, 0] == 1
    assert again.computed == 1
