"""An album gives back the pictures and poses that were put in, from memory and from disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.evaluate.album import AlbumMaker, Pictures
from posegan.errors import PoseGANError
from tests.support.judged import batch, flat, names, pose


def made(sizes: list[int]) -> Pictures:
    """Pairs of image i with i + 1, in batches of these sizes; generated pictures are flat, 100 + i."""
    images, maker, start = names(sum(sizes) + 1), AlbumMaker(), 0
    for size in sizes:
        some = slice(start, start + size), slice(start + 1, start + size + 1)
        maker.add(batch(images[some[0]], images[some[1]]), torch.stack([flat(100 + number) for number in range(start, start + size)]))
        start += size
    return maker.finish()


def test_pictures_come_back_in_their_places(tmp_path: Path) -> None:
    album, images = made([2, 1]), names(4)
    album.save(tmp_path / "pictures.zip")
    for opened in (album, Pictures(tmp_path / "pictures.zip")):
        assert len(opened) == 3
        for number in range(3):
            source, skeleton, generated, real = opened.row(number, images[number], images[number + 1])
            assert [round(float(picture.mean())) for picture in (source, generated, real)] == [10 * number, 100 + number, 10 * number + 10]
            assert skeleton.shape == generated.shape
            assert skeleton.max() > 200  # bones
            assert np.array_equal(opened.poses[number], np.stack([pose("front").numpy(), pose("back").numpy()]))


def test_batches_do_not_matter_and_equal_pictures_are_equal_bytes(tmp_path: Path) -> None:
    for name, sizes in (("one", [3]), ("two", [2, 1])):
        made(sizes).save(tmp_path / name)
    one, two = Pictures(tmp_path / "one"), Pictures(tmp_path / "two")
    assert np.array_equal(one.poses, two.poses)
    assert all(np.array_equal(one.generated(number), two.generated(number)) for number in range(3))
    made([3]).save(tmp_path / "again")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "again").read_bytes()


def test_pairs_that_come_in_another_order_stand_in_that_of_the_table() -> None:
    images = names(4)
    rows = [2, 0, 1]
    maker = AlbumMaker(rows)
    for row in rows:
        maker.add(batch([images[row]], [images[row + 1]], ("front", "back") if row else ("right", "right")), flat(100 + row)[None])
    album = maker.finish()
    assert [round(float(album.generated(row).mean())) for row in range(3)] == [100, 101, 102]
    assert np.array_equal(album.poses[0, 0], pose("right").numpy())
    assert np.array_equal(album.poses[1, 0], pose("front").numpy())


def test_an_album_of_nothing_is_an_album(tmp_path: Path) -> None:
    AlbumMaker().finish().save(tmp_path / "pictures.zip")
    assert len(Pictures(tmp_path / "pictures.zip")) == 0


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pictures.zip"
    with pytest.raises(PoseGANError, match=r"pictures\.zip: no such file; evaluate again"):
        Pictures(path)
    made([1]).save(path)
    with pytest.raises(PoseGANError, match=r"pictures\.zip: generated/000001\.jpg: missing or damaged"):
        Pictures(path).generated(1)
    content = path.read_bytes()
    path.write_bytes(content[:50])
    with pytest.raises(PoseGANError, match="not an album"):
        Pictures(path)
    place = content.index(b"generated/000000.jpg") + 200
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(PoseGANError, match=r"generated/000000\.jpg: missing or damaged"):
        Pictures(path).generated(0)


def test_an_album_that_is_given_up_goes_quietly() -> None:
    maker = AlbumMaker()
    maker.add(batch(names(2)[:1], names(2)[1:]), flat(100)[None])
    del maker  # warnings are errors
