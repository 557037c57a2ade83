"""Whatever comes in: an image is used or a row with its reason, an archive is used or refused, and nothing else happens."""

import io
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.download.archives import Limits
from pipeline.download.stage import from_archive
from pipeline.pose.rows import annotate_archive, keypoints_table
from pipeline.pose.stage import write_keypoints
from pipeline.raw_archive import image_members, open_archive
from pipeline.tables import read_counts
from posegan.errors import PoseGANError
from posegan.formats.table import STATUSES, read_keypoints
from posegan.images import ImageError, decode_image
from tests.support import hostile

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow's remarks on what it reads

FORMS = ("JPEG", "PNG", "WEBP", "BMP")
PICTURES, ARCHIVES = hostile.pictures(), hostile.archives()
READABLE = sum(picture.fate == "used" for picture in PICTURES.values())


def fate(data: bytes) -> str:
    try:
        image = decode_image(data)
    except ImageError as error:
        return error.reason if str(error) else "without a word"
    assert (image.mode, min(image.size) > 0) == ("RGB", True)
    return "used"


def rows_of(raw: Path) -> Counter[str]:
    """Statuses of the rows that raw.zip becomes; each image one row, each row without a size its reason."""
    with open_archive(raw) as archive:
        members = [member for member, _ in image_members(archive)]
        table = keypoints_table(list(annotate_archive(archive, {})))
    assert table["image"].to_pylist() == members
    assert all(detail for detail in table["detail"].to_pylist())  # without annotations none is `ok`
    return Counter(table["status"].to_pylist())


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Path]:
    """A folder for the target, deep enough to see what climbs out of it."""
    target = tmp_path / "a" / "b" / "target"
    target.mkdir(parents=True)
    yield target
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if not path.is_dir()} <= {
        "a/b/target/source",
        "a/b/target/raw.zip",
    }


@pytest.mark.parametrize("name", PICTURES)
def test_each_odd_picture_has_its_fate(name: str) -> None:
    assert fate(PICTURES[name].data) == PICTURES[name].fate
    if PICTURES[name].fate == "used":
        assert decode_image(PICTURES[name].data).size == (hostile.WIDTH, hostile.HEIGHT)


def test_an_archive_of_all_odd_pictures_gives_a_row_for_each(sandbox: Path) -> None:
    names = [f"{hostile.TRAIN}/0002_c1s1_{number + 100:06d}_01.jpg" for number in range(len(PICTURES))]
    contents = dict(zip(names, (picture.data for picture in PICTURES.values()), strict=True))
    (sandbox / "source").write_bytes(hostile.zipped({**hostile.market(), **contents}))
    outcome = from_archive(sandbox / "source", sandbox / "raw.zip", "")
    assert (outcome.images, outcome.ignored) == (len(PICTURES) + len(hostile.market()), 0)
    statuses = rows_of(sandbox / "raw.zip")
    assert statuses == {"no_person": READABLE + 5, "unreadable": len(PICTURES) - READABLE + 1, "bad_name": 1}


def test_the_table_says_why(sandbox: Path) -> None:
    (sandbox / "source").write_bytes(ARCHIVES["zip"].data)
    from_archive(sandbox / "source", sandbox / "raw.zip", "")
    with open_archive(sandbox / "raw.zip") as archive:
        write_keypoints(sandbox / "table", keypoints_table(list(annotate_archive(archive, {}))))
    counts = read_counts(read_keypoints(sandbox / "table").table)
    (sandbox / "table").unlink()
    assert sum(counts[status] for status in STATUSES) == len(hostile.market())
    assert (counts["unreadable"], counts["bad_name"]) == (1, 1)


@pytest.mark.parametrize("name", ARCHIVES)
def test_each_odd_archive_is_used_or_refused_whole(name: str, sandbox: Path) -> None:
    data, images = ARCHIVES[name]
    (sandbox / "source").write_bytes(data)
    if images is None:
        with pytest.raises(PoseGANError, match="source|stands twice") as caught:
            from_archive(sandbox / "source", sandbox / "raw.zip", "")
        assert len(str(caught.value).splitlines()) <= 2
        assert str(caught.value).isprintable()
        assert not (sandbox / "raw.zip").exists()
    else:
        assert from_archive(sandbox / "source", sandbox / "raw.zip", "").images == images
        assert rows_of(sandbox / "raw.zip").total() == images


@pytest.mark.parametrize("form", FORMS)
def test_mutated_images_are_used_or_have_a_reason(form: str) -> None:
    random = np.random.default_rng(0)
    data = hostile.encoded(hostile.photo(), form)
    fates = Counter(fate(hostile.mutated_image(form, data, random)) for _ in range(150))
    assert fates["used"] > 0
    assert fates["unreadable"] > 0


@pytest.mark.parametrize("name", ["zip", "stored_zip", "tar", "tar_gz"])
def test_mutated_archives_are_used_or_refused(name: str, sandbox: Path) -> None:
    random, good = np.random.default_rng(0), 0
    for _ in range(60):
        (sandbox / "source").write_bytes(hostile.mutated_archive(ARCHIVES[name].data, random))
        try:
            images = from_archive(sandbox / "source", sandbox / "raw.zip", "", Limits()).images
        except PoseGANError:
            continue
        assert rows_of(sandbox / "raw.zip").total() == images
        good += 1
    assert good < 60


def test_a_raw_zip_damaged_later_gives_rows_or_is_refused(sandbox: Path) -> None:
    random, fates = np.random.default_rng(1), Counter[str]()
    for _ in range(200):
        (sandbox / "raw.zip").write_bytes(hostile.mutated(ARCHIVES["zip"].data, random))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile's, on names
            try:
                fates.update(rows_of(sandbox / "raw.zip"))
            except PoseGANError:
                fates["refused"] += 1
    assert min(fates["refused"], fates["unreadable"], fates["no_person"]) > 0


def test_a_member_that_inflates_beyond_its_claim_is_unreadable(sandbox: Path) -> None:
    name = f"{hostile.TRAIN}/0002_c1s1_000001_01.jpg"
    data = bytearray(hostile.zipped({name: bytes(5 << 20)}))
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (1000).to_bytes(4, "little")  # of 5 MB
    (sandbox / "raw.zip").write_bytes(data)
    assert rows_of(sandbox / "raw.zip") == {"unreadable": 1}
    assert io.BytesIO(data).getbuffer().nbytes < 10_000
