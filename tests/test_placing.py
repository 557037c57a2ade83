"""A pose placed without its image stands as with it; a pasted picture stands where it came from."""

import numpy as np
import PIL.Image
import pytest

from posegan.images import fit_keypoints, fit_person
from posegan.people.placing import paste_back, place_keypoints
from posegan.people.pose_library import library_pose


def pose_in(width: int, height: int, left: float, top: float, tall: int) -> np.ndarray:
    """A standing pose `tall` pixels high in an image."""
    pose = library_pose("waving/front-left", tall, tall)
    pose[:, 0] = np.where(pose[:, 2] > 0, pose[:, 0] + left, 0)
    pose[:, 1] = np.where(pose[:, 2] > 0, pose[:, 1] + top, 0)
    return pose


@pytest.mark.parametrize("size", [(64, 128), (90, 150), (640, 480), (300, 300)])
def test_a_pose_without_its_image_is_placed_as_with_it(size: tuple[int, int]) -> None:
    width, height = size
    pose = pose_in(width, height, width / 2 - height / 3, height / 10, round(height * 0.7))
    _, fit = fit_person(PIL.Image.new("RGB", size), pose, 128, 64)
    np.testing.assert_allclose(place_keypoints(pose, size, 128, 64), fit_keypoints(pose, fit), atol=0.75)


def test_an_unknown_size_does_not_change_where_the_person_stands() -> None:
    pose = pose_in(2000, 1500, 900, 500, 400)
    placed = place_keypoints(pose, None, 128, 64)
    np.testing.assert_allclose(placed, place_keypoints(pose, (2000, 1500), 128, 64), atol=0.1)
    shifted = pose.copy()
    shifted[:, :2] += np.where(pose[:, 2:] > 0, 300, 0)
    np.testing.assert_allclose(place_keypoints(shifted, None, 128, 64), placed, atol=0.3)


def test_a_picture_pasted_unchanged_changes_little_and_nothing_outside() -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    photo = PIL.Image.fromarray(coarse).resize((320, 240), PIL.Image.Resampling.BICUBIC)
    pose = pose_in(320, 240, 110, 40, 150)
    pixels, fit = fit_person(photo, pose, 256, 128)
    pasted = np.asarray(paste_back(photo, PIL.Image.fromarray(pixels), fit), int)
    assert pasted.shape == (240, 320, 3)
    assert np.abs(pasted - np.asarray(photo, int)).max() < 12
    red = np.asarray(paste_back(photo, PIL.Image.new("RGB", (128, 256), "red"), fit), int)
    changed = np.abs(red - np.asarray(photo, int)).max(axis=2) > 0
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    left, top = -fit.left / fit.scale, -fit.top / fit.scale
    assert left - 1 <= columns[0]
    assert columns[-1] <= left + 128 / fit.scale + 1
    assert top - 1 <= rows[0]
    assert rows[-1] <= top + 256 / fit.scale + 1
    middle = red[(rows[0] + rows[-1]) // 2, (columns[0] + columns[-1]) // 2]
    assert middle.tolist() == [255, 0, 0]
