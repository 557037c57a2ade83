"""EXIF's orientation, and joints on pixels as they are stored: they turn with these, and only where the sizes say so."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from pipeline.download.own_photos import from_people
from pipeline.photo_table import read_photos
from pipeline.pose.rows import annotate_archive
from pipeline.pose.stage import read_people
from pipeline.raw_archive import image_members
from posegan.config import PeopleConfig
from posegan.errors import PoseGANError
from posegan.formats.annotation import FRACTIONS, Annotation, in_pixels
from posegan.inference.jobs import as_person
from posegan.inference.pose_texts import Row
from posegan.orientation import is_turned, orientation_of, stored_orientation, turned_upright
from posegan.skeleton import MIRROR

WIDTH, HEIGHT = 80, 128  # of the stored pixels
PLACES = np.array([(2 * joint + 1, 3 * joint + 2) for joint in range(18)])


def marked(orientation: int, form: str = "PNG", corner: int = 0) -> bytes:
    """An image with a bright pixel at each of PLACES, each of its own level, and one more in a corner."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[-1, -1] = corner
    pixels[PLACES[:, 1], PLACES[:, 0]] = 100 + np.arange(18)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, form, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_joints_turn_with_the_pixels(orientation: int) -> None:
    data = marked(orientation)
    with PIL.Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(PIL.ImageOps.exif_transpose(image))
        assert orientation_of(image) == stored_orientation(data) == orientation
    joints = np.concatenate([PLACES, np.ones((18, 1))], axis=1).astype(np.float32)
    joints[7] = 0
    turned = turned_upright(joints, (WIDTH, HEIGHT), orientation)
    mirror = np.array(MIRROR) if orientation in (2, 4, 5, 7) else np.arange(18)  # in a mirror image, left looks right
    for joint in range(18):
        if mirror[joint] == 7:
            assert not turned[joint].any()
        else:
            x, y = turned[joint, :2].astype(int)
            assert upright[y, x] == 100 + mirror[joint]


def test_a_damaged_or_odd_tag_turns_nothing() -> None:
    assert stored_orientation(b"no image") == stored_orientation(marked(9)) == stored_orientation(marked(0)) == 1


def test_only_a_quarter_turn_that_the_shape_shows_is_one() -> None:
    assert is_turned((100, 200), (200, 100), 6)
    assert is_turned((50, 100), (200, 100), 8)
    assert not is_turned((200, 100), (200, 100), 6)
    assert not is_turned((100, 200), (200, 100), 1)  # the file's sides are exchanged, and nothing says how it is turned
    assert not is_turned((100, 200), (200, 100), 3)
    assert not is_turned((100, 100), (100, 100), 6)
    assert is_turned((110, 100), (100, 110), 6)  # nearly square: what is exact comes before what could be stretched


def test_an_annotation_in_stored_pixels_is_brought_upright_and_to_size() -> None:
    joints = np.tile(np.float32([10, 20, 1]), (18, 1))
    turned = in_pixels(Annotation("a", joints, 1.0, (100, 200)), (400, 200), 6)
    assert turned.size == (400, 200)
    np.testing.assert_allclose(turned.keypoints[0], [(199 - 20 + 0.5) * 2 - 0.5, (10 + 0.5) * 2 - 0.5, 1])
    upright = in_pixels(Annotation("a", joints, 1.0, (200, 100)), (400, 200), 6)
    np.testing.assert_allclose(upright.keypoints[0], [20.5, 40.5, 1])
    shares = in_pixels(Annotation("a", joints / 200, 1.0, FRACTIONS), (200, 100), 6)
    np.testing.assert_allclose(shares.keypoints[0, :2], [10, 10])
    with pytest.raises(PoseGANError, match="says 100x200 pixels"):
        in_pixels(Annotation("a", joints, 1.0, (100, 200)), (400, 200))
    with pytest.raises(PoseGANError, match=r"b\.jpg: its file of keypoints says 100x200"):
        as_person(Row(joints, (100, 200)), "b.jpg", (400, 200))
    assert as_person(Row(joints, (100, 200)), "b.jpg", (400, 200), 6).keypoints[0].tolist() == turned.keypoints[0].tolist()


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "upright"])
def test_own_photos_are_annotated_in_either_orientation(tmp_path: Path, stored: bool) -> None:
    """COCO's width and height say which one it is; both put the nose on the same pixel of the archive's upright, smaller image."""
    images, people = [], []
    for number, name in enumerate(("Ada/1.png", "Ada/2.png", "Ben/3.png", "Ben/4.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(marked(6, corner=number))
        x, y = (int(PLACES[3, 0]), int(PLACES[3, 1])) if stored else (HEIGHT - 1 - int(PLACES[3, 1]), int(PLACES[3, 0]))
        images.append({"id": number, "file_name": name, "width": WIDTH if stored else HEIGHT, "height": HEIGHT if stored else WIDTH})
        people.append({"image_id": number, "keypoints": [x, y, 2] * 17})
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": people}))
    from_people(tmp_path / "photos", tmp_path / "raw.zip", PeopleConfig(test_share=0.5, maximum_side=64, seed=0))
    with zipfile.ZipFile(tmp_path / "raw.zip") as archive:
        photos = read_photos(archive)
        assert {photo.orientation for photo in photos} == {6}
        matched = read_people([tmp_path / "a.json"], [member for member, _ in image_members(archive)], "", photos)
        rows = list(annotate_archive(archive, matched.people))
    expected = (HEIGHT - 1 - PLACES[3, 1] + 0.5) / 2 - 0.5, (PLACES[3, 0] + 0.5) / 2 - 0.5
    for row in rows:
        assert row.size == (64, 40)
        assert row.person is not None
        np.testing.assert_allclose(row.person.keypoints[0, :2], expected, atol=1e-4)


def test_an_archives_turned_image_is_annotated_in_its_stored_pixels(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        archive.writestr("bounding_box_train/0002_c1s1_000451_03.jpg", marked(8, "JPEG"))
    joints = np.tile(np.float32([10, 20, 1]), (18, 1))
    with zipfile.ZipFile(tmp_path / "raw.zip") as archive:
        member = "bounding_box_train/0002_c1s1_000451_03.jpg"
        [row] = annotate_archive(archive, {member: Annotation(member, joints, 1.0, (WIDTH, HEIGHT))})
    assert row.size == (HEIGHT, WIDTH)
    assert row.person is not None
    assert row.person.keypoints[0].tolist() == [20, WIDTH - 1 - 10, 1]
