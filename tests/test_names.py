"""What a name of an image means: one rule, wherever the name is written."""

from pathlib import Path

import pytest

from pipeline.raw_archive import FOLDERS
from posegan.errors import PoseGANError
from posegan.formats.names import MARKET_FOLDERS, ImageNames
from posegan.formats.pair_csv import read_pair_csv

MEMBERS = ["bounding_box_test/0002_c1s1_000451_03.jpg", "bounding_box_train/0002_c1s1_000451_03.jpg", "bounding_box_train/b.jpg.jpg"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("0002_c1s1_000451_03.jpg", [0, 1]),
        ("0002_c1s1_000451_03", [0, 1]),
        ("0002_c1s1_000451_03.JPG", [0, 1]),
        ("test/0002_c1s1_000451_03.jpg", [0, 1]),  # a folder of another program says nothing of Market-1501's
        ("bounding_box_test/0002_c1s1_000451_03", [0]),
        ("/data/Market/bounding_box_test/0002_c1s1_000451_03.jpg", [0]),
        ("D:\\Market\\bounding_box_train\\0002_c1s1_000451_03.JPG", [1]),
        ("query/0002_c1s1_000451_03.jpg", []),
        ("0002_c1s1_000451_03.png", []),
        ("b.jpg", [2]),
        ("", []),
        ("bounding_box_test/", []),
    ],
)
def test_a_name_means_every_image_of_its_file_name_that_its_folder_allows(text: str, meant: list[int]) -> None:
    assert ImageNames(MEMBERS).find(text) == meant


def test_other_folders_tell_images_apart_and_the_nearest_counts() -> None:
    names = ImageNames(["Ada/1.jpg", "Ben/1.jpg", "old/Ada/2.jpg", "new/Ada/2.jpg", "3.jpg"])
    assert names.find("photos/Ben/1.jpg") == [1]
    assert names.find("Cy/1.jpg") == []
    assert names.find("x/new/Ada/2.jpg") == [3]
    assert names.find("Ada/2") == [2, 3]
    assert names.find("anywhere/3.jpg") == [4]


def test_what_is_written_exactly_so_comes_first() -> None:
    names = ImageNames(["a.JPG", "a.jpg", "a", "b"])
    assert (names.find("a.jpg"), names.find("a.JPG"), names.find("a")) == ([1], [0], [2])
    assert names.find("b.jpeg") == [3]  # a row without suffix, as OpenPose leaves it out
    assert ImageNames(["Zoe\u0308.jpg"]).find("Zo\u00eb.jpg") == [0]


def test_a_number_means_the_one_name_that_is_it_with_zeros_before() -> None:
    names = ImageNames(["Ada/000012.jpg", "Ben/000012.jpg", "0007.jpg", "007.jpg", "x12.jpg"])
    assert names.find("12") == [0, 1]
    assert names.find("Ben/12") == [1]
    assert names.find("0012") == []  # not a number that lost its zeros
    assert names.find("007") == [3]
    assert names.find("9" * 5000) == []
    assert ImageNames(["Ada/0000.jpg", "Ada/0001.jpg"]).find("0") == [0]
    with pytest.raises(PoseGANError, match=r"7: a number, which 0007\.jpg and 007\.jpg both are"):
        names.find("7")


def test_the_folders_are_those_of_the_archive() -> None:
    assert set(MARKET_FOLDERS) == set(FOLDERS)


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        ("0321_c1s1_000124_01.jpg,0321_c1s1_000212_01.jpg\n", "a pair already; mend the file: put a line from,to above it"),
        ("0321_c1s1_000124_01,0321_c1s1_000212_01\n", "put a line from,to above it"),
        (",from,to\n0,a.jpg,b.jpg\n", r"row numbers stand first; .*without them \(pandas: index=False\)"),
        ("from;to\na.jpg;b.jpg\n", "separated by ;; .*save it with commas"),
        ("from\tto\na.jpg\tb.jpg\n", "separated by tabs; .*save it with commas"),
        ("source,target,identity,split\na,b,1,test\n", "the columns of pairs.parquet; python -m pipeline export-pairs makes a list of it"),
        ("first,second\na,b\n", "'first,second'; mend that line"),
        ("to,from\na.jpg,b.jpg\n", "'to,from': its columns stand the other way round; mend the file: exchange the columns, names and all"),
        ("from,to,identity\na.jpg,b.jpg,1\n", "'from,to,identity': more columns than two; mend the file: save it with these two alone"),
        ("from to\na.jpg b.jpg\n", "'from to': its columns are separated by spaces; mend the file: save it with commas"),
    ],
)
def test_what_is_wrong_with_the_first_line_of_a_list_is_said(tmp_path: Path, content: str, remedy: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(PoseGANError, match=rf"a\.csv, line 1: expected the header from,to, got .*{remedy}"):
        read_pair_csv(tmp_path / "a.csv")


def test_a_table_of_pairs_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1\xff\xfe")
    with pytest.raises(PoseGANError, match=r"pairs\.parquet: a Parquet table; make a list of it with python -m pipeline export-pairs"):
        read_pair_csv(tmp_path / "pairs.parquet")


def test_a_header_may_be_written_large(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\ufeffFrom, To\na.jpg,b.jpg\n", encoding="utf-8")
    assert [(pair.source, pair.target) for pair in read_pair_csv(tmp_path / "a.csv")] == [("a.jpg", "b.jpg")]


def test_a_quotation_mark_that_swallows_lines_is_named(tmp_path: Path) -> None:
    """Two of them make one name of all that stands between: rows would be lost, and nobody would count them."""
    (tmp_path / "a.csv").write_text('from,to\na.jpg,b.jpg\n"c.jpg,d.jpg\ne.jpg,f.jpg\n"g.jpg,h.jpg\n')
    with pytest.raises(PoseGANError, match=r"a\.csv, line 5: a name of several lines, 'c\.jpg,d\.jpg.*; a quotation mark is too much"):
        read_pair_csv(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("from,to\na\0.jpg,b.jpg\n")
    with pytest.raises(PoseGANError, match=r"a\.csv, line 2: expected two names, got 'a\\x00\.jpg,b\.jpg'"):
        read_pair_csv(tmp_path / "a.csv")
