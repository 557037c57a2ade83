"""Other people's images: how files are named, and what is refused."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from pipeline.evaluate.other_images import OtherImages
from posegan.config import ImageConfig
from posegan.errors import PoseGANError

SIZE = ImageConfig(height=64, width=32)
A, B, C = "0001_c1s1_000001_01.jpg", "0001_c2s1_000002_01.jpg", "0001_c3s1_000003_01.jpg"
PAIRS = [(f"bounding_box_test/{A}", f"bounding_box_test/{B}"), (A, C), (C, A)]


def write(folder: Path, names: list[str], size: tuple[int, int] = (32, 64)) -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[:, -32:] = 10 * number + 5
        image = PIL.Image.fromarray(pixels)
        image.save(folder / name)
    return folder


GRAMMARS = {
    "short": "{a}_2_{b}.png",
    "patn": "{a}.jpg___{b}.jpg_vis.png",
    "gfla": "{a}_2_{b}_vis.png",
    "original": "{a}.jpg_{b}.jpg.png",
    "plain": "{a}_{b}.bmp",
    "ours": "{a}_to_{b}.png",
    "large": "{a}.JPG_2_{b}.Jpeg_VIS.PNG",
}


@pytest.mark.parametrize("grammar", GRAMMARS)
@pytest.mark.parametrize("strip", [1, 3, 5])
def test_published_ways_to_name_files(tmp_path: Path, grammar: str, strip: int) -> None:
    stems = [tuple(Path(name).stem for name in pair) for pair in PAIRS]
    write(tmp_path, [GRAMMARS[grammar].format(a=a, b=b) for a, b in stems], (32 * strip, 64))
    images = OtherImages(tmp_path, SIZE)
    pixels = images.read(images.find(PAIRS))
    assert pixels.shape == (3, 3, 64, 32)
    assert [int(image[0, 0, 0]) for image in pixels] == [5, 15, 25]


@pytest.mark.parametrize("names", [["0.png", "1.png", "2.png"], ["000000.png", "000001.png", "000002.png"]])
def test_rows_of_the_list(tmp_path: Path, names: list[str]) -> None:
    images = OtherImages(write(tmp_path, names), SIZE)
    assert [path.name for path in images.find(PAIRS)] == names
    assert [path.name for path in images.find([PAIRS[0]])] == names[:1]
    with pytest.raises(PoseGANError, match="1 of 4 pairs have no image"):
        images.find([*PAIRS, PAIRS[0]])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match="no such folder"):
        OtherImages(tmp_path / "absent", SIZE)
    with pytest.raises(PoseGANError, match="holds no image"):
        OtherImages(tmp_path, SIZE)
    images = OtherImages(write(tmp_path, [f"{Path(A).stem}_2_{Path(B).stem}.png"]), SIZE)
    expected = rf"2 of 3 pairs have no image, the first {A} to {C}; expected {Path(A).stem}_2_{Path(C).stem}\.png"
    with pytest.raises(PoseGANError, match=expected):
        images.find(PAIRS)


def test_names_that_are_there_and_mean_no_pair_are_named_and_counted(tmp_path: Path) -> None:
    first = f"{Path(A).stem}_2_{Path(B).stem}.png"
    images = OtherImages(write(tmp_path, [first, "0001_fake_0002.png", "x-y.png", "z.png", "zz.png"]), SIZE)
    with pytest.raises(PoseGANError, match=r"lists; 4 of its files belong to no pair, such as 0001_fake_0002\.png, x-y\.png, z\.png; if"):
        images.find(PAIRS)
    with pytest.raises(PoseGANError, match=r"lists; its files are called such as 0001_c1s1"):
        images.find(PAIRS[1:], all_of_them=False)
    assert images.told_others(images.find(PAIRS[:1])).startswith("4 of its files belong to no pair")
    assert OtherImages(write(tmp_path / "all", [first]), SIZE).told_others([tmp_path / "all" / first]) == ""


def test_what_file_managers_leave_is_no_image(tmp_path: Path) -> None:
    write(tmp_path, ["a_2_b.png"])
    (tmp_path / "._a_2_b.png").write_bytes(b"Mac OS X")
    assert OtherImages(tmp_path, SIZE).find([("a", "b")]) == [tmp_path / "a_2_b.png"]


def test_two_files_for_one_pair_are_refused(tmp_path: Path) -> None:
    write(tmp_path, ["a_2_b.png", "a.jpg_2_b.jpg.png"])
    with pytest.raises(PoseGANError, match="are the same pair's"):
        OtherImages(tmp_path, SIZE)
    with pytest.raises(PoseGANError, match="same number"):
        OtherImages(write(tmp_path / "numbers", ["1.png", "01.png"]), SIZE)
    with pytest.raises(PoseGANError, match=r"a_2_b\.png and a_to_b\.png are the same pair's; remove one of them"):
        OtherImages(write(tmp_path / "joiners", ["a_2_b.png", "a_to_b.png"]), SIZE).find([("a", "b")])


@pytest.mark.parametrize("size", [(32, 63), (64, 64), (31, 64), (128, 64)])
def test_images_of_another_size_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    images = OtherImages(write(tmp_path, ["a_2_b.png"], size), SIZE)
    with pytest.raises(PoseGANError, match=rf"a_2_b\.png: {size[1]} x {size[0]} pixels .*expected 64 x 32"):
        images.read(images.find([("a", "b")]))


def test_damaged_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a_2_b.png").write_bytes(b"\x89PNG\r\n\x1a\n nonsense")
    images = OtherImages(tmp_path, SIZE)
    with pytest.raises(PoseGANError, match=r"a_2_b\.png: .*generate it again"):
        images.read(images.find([("a", "b")]))
