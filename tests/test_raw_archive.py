import io
import zipfile
from pathlib import Path

import pytest

from pipeline.raw_archive import ImageName, image_members, named_like, normalised_names, open_archive, parse_name
from posegan.errors import PoseGANError


def test_a_name_says_identity_camera_sequence_frame_and_box() -> None:
    assert parse_name("bounding_box_train/0002_c1s1_000451_03.jpg") == ImageName(2, 1, 1, 451, 3)
    assert parse_name("-1_c6s4_002902_04.jpg") == ImageName(-1, 6, 4, 2902, 4)
    assert parse_name("1488_c5s3_071737_01.jpg.jpg") == ImageName(1488, 5, 3, 71737, 1)  # the original has such
    assert parse_name("0000_c1s1_000151_00.JPG") == ImageName(0, 1, 1, 151, 0)


@pytest.mark.parametrize(
    "name",
    ["0002_c1s1_000451_03.gif", "0002_c1s1_000451.jpg", "x0002_c1s1_000451_03.jpg", "-2_c1s1_000451_03.jpg", "0002_c1_f046182.jpg", ""],
)
def test_another_grammar_is_no_name(name: str) -> None:
    assert parse_name(name) is None


def test_members_are_the_images_of_known_folders_in_sorted_order() -> None:
    with zipfile.ZipFile(io.BytesIO(), "w") as archive:
        names = [
            "query/b.jpg",
            "bounding_box_train/a.png",
            "bounding_box_train/Thumbs.db",
            "gt_bbox/a.jpg",
            "keypoints_exact.parquet",
            "x/query/c.jpg",
        ]
        for name in names:
            archive.writestr(name, b"")
        assert image_members(archive) == [("bounding_box_train/a.png", "train"), ("query/b.jpg", "query")]


def test_an_archive_without_images_is_refused() -> None:
    with zipfile.ZipFile(io.BytesIO(), "w") as archive, pytest.raises(PoseGANError, match="no image"):
        image_members(archive)


@pytest.mark.parametrize("top", ["", "Market-1501-v15.09.15/", "data/sets/market/"])
def test_folders_above_do_not_matter(top: str) -> None:
    names = [f"{top}bounding_box_test/b.jpg", f"{top}bounding_box_train/a.jpg", f"{top}gt_bbox/c.jpg", f"{top}readme.txt"]
    assert normalised_names(names) == {names[0]: "bounding_box_test/b.jpg", names[1]: "bounding_box_train/a.jpg"}


def test_shadows_and_nested_copies_do_not_count() -> None:
    names = [
        "m/bounding_box_train/a.jpg",
        "__MACOSX/m/bounding_box_train/._a.jpg",
        "__MACOSX/bounding_box_train/b.jpg",
        "m/old/bounding_box_train/c.jpg",
    ]
    assert normalised_names(names) == {names[0]: "bounding_box_train/a.jpg"}


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(PoseGANError, match="twice"):
        normalised_names(["bounding_box_train/a.jpg", "bounding_box_train/a.jpg"])


def test_open_archive_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match="no such file"):
        open_archive(tmp_path / "raw.zip")
    (tmp_path / "raw.zip").write_bytes(b"PK but not really")
    with pytest.raises(PoseGANError, match="not a zip"):
        open_archive(tmp_path / "raw.zip")


def test_names_of_other_sets_say_identity_and_camera() -> None:
    assert parse_name("0001_c3_f0046182.jpg") == ImageName(1, 3, None, 46182, None)
    assert parse_name("0003_c2_21.png") == ImageName(3, 2, None, 21, None)
    assert parse_name("2_001_1_05.png") == ImageName(2001, 1, None, 5, None)
    named = [named_like(name) for name in ("0002_c1s1_000451_03.jpg", "0001_c3_f0046182.jpg", "0003_c2_21.png", "a.jpg")]
    assert named == ["Market-1501", "DukeMTMC-reID", "CUHK03", ""]


def test_folders_of_other_names_count_with_named_images_alone() -> None:
    train, test, val = (f"{number:04d}_c1s1_000451_03.jpg" for number in (2, 3, 4))
    names = [f"p/train_all/0002/{train}", f"p/train_all/0004/{val}", f"p/train/0002/{train}", f"p/val/0004/{val}", f"p/gallery/0003/{test}"]
    assert normalised_names([*names, "p/train_all/x.jpg", f"p/multi-query/0003/{test}"]) == {
        names[4]: f"bounding_box_test/{test}", names[0]: f"bounding_box_train/{train}", names[1]: f"bounding_box_train/{val}"
    }  # fmt: skip
    assert normalised_names([f"train/{train}", f"train/{train}"][:1]) == {f"train/{train}": f"bounding_box_train/{train}"}
    assert normalised_names(["bounding_box_test/a.jpg"]) == {"bounding_box_test/a.jpg": "bounding_box_test/a.jpg"}
    assert normalised_names([f"query/{train}"]) == {}


def test_backslashes_are_folders_and_the_case_of_a_folder_means_nothing() -> None:
    """As zips from Windows have them."""
    train, test = "0002_c1s1_000451_03.jpg", "0003_c1s1_000451_03.JPG"
    assert normalised_names([f"Market\\bounding_box_train\\{train}", f"Market\\Bounding_Box_Test\\{test}", "Market\\readme.txt"]) == {
        f"Market\\Bounding_Box_Test\\{test}": f"bounding_box_test/{test}",
        f"Market\\bounding_box_train\\{train}": f"bounding_box_train/{train}",
    }
    assert normalised_names([f"p\\Train\\0002\\{train}"]) == {f"p\\Train\\0002\\{train}": f"bounding_box_train/{train}"}
