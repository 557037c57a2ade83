"""Annotations of own photos: found by the photos' own names, in the photos' own pixels, and never on another photo."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.download.own_photos import from_people
from pipeline.inspect.gallery import Photographer
from pipeline.photo_table import Photo, read_photos
from pipeline.pose.annotations import match_annotations
from pipeline.pose.rows import annotate_archive
from pipeline.pose.stage import read_people
from pipeline.raw_archive import image_members
from posegan.config import PeopleConfig
from posegan.errors import PoseGANError
from posegan.formats.annotation import Annotation, in_pixels
from posegan.formats.names import OwnNames
from posegan.inference.pose_texts import read_row

FILES = ("Ada/IMG_0001.JPG", "Ada/trip/IMG_0002.JPG", "Ben/IMG_0001.JPG", "Ben/IMG_0003.png", "\u00c5sa/4.jpg")
PHOTOS = [Photo(file, file.split("/")[0], f"bounding_box_train/{number}.jpg", "used", "", 640, 1280) for number, file in enumerate(FILES)]
JOINTS = np.array([[8 * joint, 10 * joint, joint % 3 > 0] for joint in range(18)], np.float32)
JOINTS[JOINTS[:, 2] == 0] = 0


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("Ada/IMG_0001.JPG", 0), ("Ada\\IMG_0001.jpg", 0), ("Ada/IMG_0001", 0), ("/home/me/photos/Ada/IMG_0001.JPG", 0),
        ("IMG_0002.JPG", 1), ("trip/IMG_0002", 1), ("IMG_0003.png", 3), ("A\u030asa/4.jpg", 4),
        ("Eve/IMG_0003.png", None), ("IMG_0003.gif", None), ("0.jpg", None),
    ],
)  # fmt: skip
def test_a_name_means_its_photo_and_no_other(name: str, number: int | None) -> None:
    names = OwnNames([photo.image for photo in PHOTOS], {photo.image: photo.file for photo in PHOTOS})
    assert names.photos(name) == ([] if number is None else [number])


def test_a_name_of_two_photos_is_refused() -> None:
    with pytest.raises(
        PoseGANError, match=r"IMG_0001\.JPG: means 2 photos, such as Ada/IMG_0001\.JPG and Ben/IMG_0001\.JPG; name the folder"
    ):
        match_annotations([Annotation("IMG_0001.JPG", JOINTS, 1.0)], [photo.image for photo in PHOTOS], PHOTOS)


def test_joints_follow_the_image_to_its_size() -> None:
    small = in_pixels(Annotation("a", JOINTS, 1.0, (640, 1280)), (512, 1024))
    seen = JOINTS[:, 2] > 0
    assert np.allclose(small.keypoints[seen, :2], (JOINTS[seen, :2] + 0.5) * 0.8 - 0.5, atol=1e-4)
    assert not small.keypoints[~seen].any()
    assert in_pixels(Annotation("a", JOINTS, 1.0), (5, 5)).keypoints is JOINTS
    assert in_pixels(Annotation("a", JOINTS, 1.0, (1001, 667)), (500, 333)).size == (500, 333)  # rounded to whole pixels
    for size in ((1280, 640), (512, 700)):
        with pytest.raises(PoseGANError, match="says 640x1280 pixels"):
            in_pixels(Annotation("a", JOINTS, 1.0, (640, 1280)), size)


def write_photos(folder: Path, *names: str) -> None:
    for name in names:
        pixels = np.random.default_rng(len(name) + sum(map(ord, name))).integers(0, 256, (128, 64, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(buffer.getvalue())


def test_annotations_survive_a_newcomer_and_say_the_users_names(tmp_path: Path) -> None:
    """By the archive's names, which an export has, and by the user's: each joint stays on its photo, at half its size."""
    names = ("Ada/1.png", "Ada/2.png", "Ben/1.png", "Ben/2.png")
    folder, raw = tmp_path / "photos", tmp_path / "raw.zip"
    write_photos(folder, *names)
    config = PeopleConfig(test_share=0.5, maximum_side=64, seed=0)
    before = {photo.file: photo.image for photo in from_people(folder, raw, config).table}
    write_photos(folder, "Aaron/1.png", "Aaron/2.png", "Ada/0.png")
    from_people(folder, raw, config)
    for number, called in enumerate((before, {name: name for name in names})):
        images = [{"id": row, "file_name": called[name], "width": 64, "height": 128} for row, name in enumerate(names)]
        people = [{"image_id": row, "keypoints": [row * 8 + 4, 20, 2] * 17} for row in range(len(names))]
        (tmp_path / f"{number}.json").write_text(json.dumps({"images": images, "annotations": people}))
        with zipfile.ZipFile(raw) as archive:
            photos = {photo.image: photo.file for photo in read_photos(archive)}
            members = [member.rpartition("/")[2] if number == 0 else member for member, _ in image_members(archive)]
            assert number or {name.rpartition("/")[2] for name in before.values()} <= set(members)
            matched = read_people([tmp_path / f"{number}.json"], [member for member, _ in image_members(archive)], "", read_photos(archive))
            rows = {photos[row.member]: row for row in annotate_archive(archive, matched.people)}
            assert Photographer(archive).tile(next(iter(photos)), None, JOINTS).lines[0] in photos.values()
        found = {name: row.person.keypoints[0, 0] for name, row in rows.items() if row.person is not None}
        expected = {name: (row * 8 + 4.5) / 2 - 0.5 for row, name in enumerate(names)}
        assert found == pytest.approx({name: expected[name] for name in found})
        assert len(found) == 4
        assert not matched.absent


def test_a_pose_of_coco_is_placed_by_the_size_of_its_image(tmp_path: Path) -> None:
    people = [{"image_id": 1, "keypoints": [5, 5, 2] * 17}]
    for size, expected in (({"width": 64, "height": 128}, (64, 128)), ({}, None), ({"width": 0, "height": 0}, None)):
        path = tmp_path / f"{len(size)}{expected}.json"
        path.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.jpg", **size}], "annotations": people}))
        assert read_row(path, "a.jpg").size == expected
