"""Pictures that are almost the same: a copy is near, the search misses no pair, and inspect counts them by whom they show."""

import io
import re
import zipfile
from pathlib import Path

import imagehash
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageEnhance

from pipeline.__main__ import cli
from pipeline.download.own_photos import from_people
from pipeline.inspect.command import read_tables
from pipeline.inspect.duplicates import ACROSS, BETWEEN, OTHERS, WITHIN, find_duplicates
from pipeline.inspect.sections import Tables
from pipeline.near_duplicates import BITS, NEAR, Hashes, hash_members, near_pairs, perceptual_hash
from pipeline.pose.rows import estimate_archive, keypoints_table
from pipeline.tables import write_table
from posegan.config import PeopleConfig
from tests.support.small_market import FakeEstimator, pair_config
from tests.support.use_fixtures import drawn_person

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "real" / "market1501-part.zip"


def apart(one: Image.Image, other: Image.Image) -> int:
    return int(np.bitwise_count(perceptual_hash(one) ^ perceptual_hash(other)).sum())


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


COPIES = {
    "another JPEG": lambda image: as_jpeg(image, 50),
    "a pixel smaller": lambda image: image.resize((image.width - 1, image.height - 1), Image.Resampling.BICUBIC),
    "twice as large": lambda image: image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_near_and_another_person_is_not(copy: str) -> None:
    people = [drawn_person(seed) for seed in range(4)]
    for number, person in enumerate(people):
        assert apart(person, COPIES[copy](person)) <= NEAR
        assert apart(person, people[(number + 1) % 4]) > NEAR


def test_the_distance_is_imagehashs() -> None:
    one, other = drawn_person(0), drawn_person(1)
    assert apart(one, other) == imagehash.phash(one, 16) - imagehash.phash(other, 16)
    assert perceptual_hash(one).shape == (BITS // 64,)


def flipped(hashes: Hashes, bits: int, rng: np.random.Generator) -> Hashes:
    """A hash that differs from one (4,) in so many bits."""
    mask = np.zeros(BITS, np.uint8)
    mask[rng.choice(BITS, bits, replace=False)] = 1
    return hashes ^ np.packbits(mask).view(np.uint64)


def test_the_search_finds_every_pair_once_as_a_plain_loop_does() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, (700, 4), dtype=np.uint64)  # more than a block either way
    for number, bits in enumerate([0, 1, NEAR - 1, NEAR, NEAR + 1, 20, 20]):
        hashes[699 - 90 * number] = flipped(hashes[3 * number], bits, rng)
    distance = [
        (one, other, int(np.bitwise_count(hashes[one] ^ hashes[other]).sum())) for one in range(700) for other in range(one + 1, 700)
    ]
    found = [pair for near in near_pairs(hashes) for pair in zip(*(column.tolist() for column in near), strict=True)]
    assert sorted(found) == [pair for pair in distance if pair[2] <= NEAR]
    assert sorted(pair[2] for pair in found) == [0, 1, 20, 20, NEAR - 1, NEAR]
    assert list(near_pairs(hashes[:1])) == list(near_pairs(hashes[:0])) == []


def archive_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def photo(seed: int, larger: int = 0) -> bytes:
    """A drawn person in a picture that is so many pixels wider and higher."""
    buffer = io.BytesIO()
    drawn_person(seed).resize((64 + larger, 128 + larger), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


ONE, SAME, TWO, TESTED, OTHER_TESTED, JUNK, LONE = (
    "bounding_box_train/0001_c1s1_000001_01.jpg",
    "bounding_box_train/0001_c1s1_000002_01.jpg",
    "bounding_box_train/0002_c1s1_000001_01.jpg",
    "bounding_box_test/0003_c1s1_000001_01.jpg",
    "query/0003_c1s1_000002_01.jpg",
    "bounding_box_test/-1_c1s1_000001_01.jpg",
    "bounding_box_train/0004_c1s1_000001_01.jpg",
)


@pytest.fixture
def market(tmp_path: Path) -> tuple[Tables, Path]:
    """A picture that stands there for a train person twice, for another one, for a test person twice and as junk; one that stands alone."""
    copies = {name: photo(7, number) for number, name in enumerate((ONE, SAME, TWO, TESTED, OTHER_TESTED, JUNK))}
    raw = archive_of(tmp_path / "raw.zip", {**copies, LONE: photo(8), "bounding_box_train/0005_c1s1_000001_01.jpg": photo(7)[:100]})
    with zipfile.ZipFile(raw) as archive:
        write_table(tmp_path / "k.parquet", keypoints_table(list(estimate_archive(archive, FakeEstimator(), 5))))
    return read_tables(tmp_path / "k.parquet", pair_config()), raw


def test_pairs_are_counted_by_whom_they_show(market: tuple[Tables, Path]) -> None:
    tables, raw = market
    with zipfile.ZipFile(raw) as archive:
        found = find_duplicates(tables, archive, 3)
    # Of six copies 15 pairs: 5 with the junk; 3 train images and 2 of a test person make 6 across, 2 within a person, 2 of two people.
    assert {kind: found.counts[kind] for kind in (WITHIN, ACROSS, BETWEEN, OTHERS)} == {WITHIN: 2, ACROSS: 6, BETWEEN: 2, OTHERS: 5}
    assert found.looked_at == 7  # all but the broken one
    names = tables.rows["image"]
    assert {names.iloc[row] for row in (*found.nearest[WITHIN].first, *found.nearest[WITHIN].second)} == {ONE, SAME, TESTED, OTHER_TESTED}
    assert len(found.nearest[ACROSS].first) == 3 and sorted(found.nearest[ACROSS].apart) == found.nearest[ACROSS].apart.tolist()
    assert found.told() == "; pictures almost the same: 2 pairs of one person, 6 of train and test people"


def inspect(tmp_path: Path, *more: str) -> tuple[str, str]:
    line = ["--keypoints", "k.parquet", "--pairs", "no", "--raw", "raw.zip", "--out", "page.html"]
    paths = [part if part.startswith("--") or part == "no" else str(tmp_path / part) for part in line]
    result = CliRunner().invoke(cli, ["inspect", "--params", str(ROOT / "params.yaml"), *paths, *more])
    assert result.exit_code == 0, result.output
    return result.output, (tmp_path / "page.html").read_text()


def test_inspect_counts_them_and_names_the_first(market: tuple[Tables, Path], tmp_path: Path) -> None:
    output, page = inspect(tmp_path)
    assert "pictures almost the same: 2 pairs of one person, 6 of train and test people" in output
    section = page.split("Pictures that are almost the same")[1]
    for text in ("Of 7 images", f"at most {NEAR} of {BITS} bits", "a leak: what is tested was learnt", "0003_c1s1_000001_01.jpg"):
        assert text in section
    assert re.search(r"pairs of train and test people</t[dh]>\s*<td[^>]*>6<", section)
    output, page = inspect(tmp_path, "--no-duplicates")
    assert "almost the same" not in output
    assert "Not looked for" in page


def test_own_photos_that_two_people_have_are_told_by_their_own_names(tmp_path: Path) -> None:
    for number, (name, image) in enumerate(
        {"Ada/1.png": drawn_person(0), "Ada/2.png": drawn_person(1), "Ben/1.jpg": drawn_person(2), "Ben/2.jpg": drawn_person(0)}.items()
    ):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        image.resize((64 + number, 128 + number)).save(tmp_path / "photos" / name)
    config = PeopleConfig(test_share=0.5, maximum_side=1024, seed=0)
    (warning,) = from_people(tmp_path / "photos", tmp_path / "raw.zip", config).warnings
    assert warning == (
        "1 pairs of photos of two people are almost the same, such as Ada/1.png and Ben/2.jpg; 1 of them are of a train and a test person"
    )
    (tmp_path / "photos" / "Ben" / "2.jpg").unlink()
    drawn_person(3).save(tmp_path / "photos" / "Ben" / "2.jpg")
    assert from_people(tmp_path / "photos", tmp_path / "raw.zip", config).warnings == []


@pytest.mark.skipif(not REAL.is_file(), reason="the real images are not beside the project")
def test_no_two_real_people_are_near(tmp_path: Path) -> None:
    with zipfile.ZipFile(REAL) as archive:
        members = sorted(name for name in archive.namelist() if "_c1s" in name and "/-1_" not in name and "/0000_" not in name)[::2]
        hashes, positions = hash_members(archive, members)
    assert len(positions) == len(members) > 500
    people = [members[position].rsplit("/", 1)[1][:4] for position in positions]
    for near in near_pairs(hashes):
        assert [people[row] for row in near.first] == [people[row] for row in near.second]
    assert [near for near in near_pairs(hashes, 80) if near.apart.size]  # there are some to be mistaken for
