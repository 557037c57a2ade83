"""DeepFashion's in-shop benchmark, on files of the same form: names, splits, frames, published joints and lists, and the page's recipes."""

import csv
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from pipeline.__main__ import cli
from pipeline.download.deepfashion import field_name, from_deepfashion, in_frame
from pipeline.download.stage import from_folder
from pipeline.raw_archive import DEEPFASHION, ImageName, named_like, parse_name
from pipeline.tables import read_pairs
from posegan.config import DeepFashionConfig, load_params, parse_params
from posegan.data.index import ShardIndex
from posegan.errors import PoseGANError
from posegan.formats.table import read_keypoints
from posegan.images import decode_image
from tests.support.small_market import jpeg
from tests.support.tiny_run import ROOT, tiny_params

SIDE, EDGE = 256, 40  # pixels: as the published scripts cut
PAGE = ROOT / "docs" / "deepfashion.md"
# Two train people in two items, one test person, and one test person in another colour of a train item.
SHOTS = ("1_front", "2_side", "3_back")
TRAIN = ("WOMEN/Blouses_Shirts/id_00000011/01", "MEN/Denim/id_00000012/01")
TEST = ("WOMEN/Dresses/id_00000013/02", "WOMEN/Blouses_Shirts/id_00000011/02")
PLACES = {side: [f"{person}_{shot}.jpg" for person in people for shot in SHOTS] for side, people in (("train", TRAIN), ("test", TEST))}
PHOTOS = {place: jpeg(number, SIDE, SIDE) for number, place in enumerate([*PLACES["train"], *PLACES["test"]])}
ITEM = "fashionWOMENBlouses_Shirtsid0000001101"


def named(place: str) -> str:
    name = field_name(f"img/{place}")
    assert name is not None
    return name


def write(path: Path, members: dict[str, bytes]) -> Path:
    """A folder, or a zip if its name says so."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return path
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def lists(**sides: list[str]) -> dict[str, bytes]:
    return {f"{side}.lst": "".join(f"{named(place)}\n" for place in places).encode() for side, places in sides.items()}


def partition() -> dict[str, bytes]:
    meant = dict.fromkeys(PLACES["train"], "train") | {place: "query" if "front" in place else "gallery" for place in PLACES["test"]}
    lines = [f"img/{place}    {place.split('/')[2]}  {status}   " for place, status in meant.items()]
    return {"Eval/list_eval_partition.txt": "\n".join([str(len(lines)), "image_name item_id evaluation_status", *lines]).encode()}


def config(split: str = "lists", width: int = 256) -> DeepFashionConfig:
    return DeepFashionConfig.model_validate({"split": split, "width": width})


def content(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


RAW = {f"img/{place}": data for place, data in PHOTOS.items()}
COPY = {**RAW, **lists(**PLACES)}
EXPECTED = {f"bounding_box_{side}/{named(place)}": PHOTOS[place] for side, places in PLACES.items() for place in sorted(places, key=named)}


def test_a_place_in_the_benchmark_is_a_name_of_the_lists_and_an_item_in_one_colour_is_a_person() -> None:
    assert field_name("img/WOMEN/Blouses_Shirts/id_00006370/03_1_front.jpg") == "fashionWOMENBlouses_Shirtsid0000637003_1front.jpg"
    assert field_name("a/img_highres/MEN/Denim/id_00000080/01_7_additional.jpg") == "fashionMENDenimid0000008001_7additional.jpg"
    assert field_name("train/fashionMENDenimid0000008001_7additional.jpg") == "fashionMENDenimid0000008001_7additional.jpg"
    assert parse_name("fashionWOMENBlouses_Shirtsid0000637003_1front.jpg") == ImageName(637003, 1, None, 1, None)
    assert named_like("fashionMENDenimid0000008001_7additional.jpg") == DEEPFASHION
    for other in ("img/WOMEN/Dresses/id_02/02_1_front.jpg", "__MACOSX/img/WOMEN/Dresses/id_00000002/._02_1_front.jpg", "photo.jpg"):
        assert field_name(other) is None
    assert parse_name("fashionWOMENDressesid9999999999_1front.jpg") is None  # more than an identity's 31 bits hold


@pytest.mark.parametrize(
    ("split", "members"),
    [
        ("lists", COPY),
        ("lists", {f"top/{name}": data for name, data in COPY.items()}),
        ("lists", {**{f"all/{named(place)}": data for place, data in PHOTOS.items()}, **lists(**PLACES)}),
        ("partition", {**RAW, **partition()}),
        ("folders", {f"{side}/{named(place)}": PHOTOS[place] for side, places in PLACES.items() for place in places}),
        ("folders", {f"{side}/img/{place}": PHOTOS[place] for side, places in PLACES.items() for place in places}),
    ],
    ids=["as it comes", "below another folder", "renamed", "the benchmark's own split", "sorted and renamed", "sorted"],
)
@pytest.mark.parametrize("kind", ["copy", "copy.zip"])
def test_every_form_of_a_copy_gives_the_same_archive(tmp_path: Path, kind: str, split: str, members: dict[str, bytes]) -> None:
    from_deepfashion(write(tmp_path / kind, members), tmp_path / "raw.zip", config(split))
    assert content(tmp_path / "raw.zip") == EXPECTED
    assert list(content(tmp_path / "raw.zip")) == sorted(EXPECTED)


def test_what_somebodys_script_has_sorted_and_renamed_is_read_as_any_folder(tmp_path: Path) -> None:
    sorted_out = {f"{side}/{named(place)}": PHOTOS[place] for side, places in PLACES.items() for place in places}
    assert "12 named as DeepFashion's" in from_folder(write(tmp_path / "copy", sorted_out), tmp_path / "raw.zip").naming
    assert content(tmp_path / "raw.zip") == EXPECTED


def test_every_file_is_counted(tmp_path: Path) -> None:
    more = {
        "img/WOMEN/Dresses/id_00000099/01_1_front.jpg": jpeg(90, SIDE, SIDE),  # in no list
        f"img/{PLACES['train'][0]}": jpeg(91, 300, 300),  # of another shape
        f"img/{PLACES['train'][1]}": PHOTOS[PLACES["train"][1]][:100],  # broken, which the pose stage reports
        "readme.txt": b"about",
    }
    listed = lists(train=[*PLACES["train"], "MEN/Denim/id_00000055/01_1_front.jpg"], test=PLACES["test"])
    made = from_deepfashion(write(tmp_path / "copy", {**COPY, **more, **listed}), tmp_path / "raw.zip", config())
    assert made.summary() == (
        "16 files in: 11 images (5 train of 2 people, 6 test of 2 people), 1 not in the split, 1 of another shape, 3 ignored; "
        "1 images of the split are not there; 1 of 2 test items are train items in another colour"
    )
    assert f"bounding_box_train/{named(PLACES['train'][1])}" in content(tmp_path / "raw.zip")


def striped(width: int, height: int) -> bytes:
    """A picture whose red is the share of its width, its green that of its height."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    buffer = io.BytesIO()
    Image.fromarray(np.stack([x, y, 0 * x], axis=2).astype(np.uint8)).save(buffer, "JPEG", quality=98, subsampling=0)
    return buffer.getvalue()


def test_images_come_into_the_frame_that_joints_are_published_in() -> None:
    square, narrow, large = striped(256, 256), striped(176, 256), striped(750, 1101)
    cut = in_frame(square, 176)
    assert cut is not None
    assert np.abs(np.asarray(decode_image(cut)).astype(int) - np.asarray(decode_image(square)).astype(int)[:, EDGE:-EDGE]).max() < 8
    scaled = in_frame(large, 176)
    assert scaled is not None
    assert np.abs(np.asarray(decode_image(scaled)).astype(int) - np.asarray(decode_image(narrow)).astype(int)).max() < 8
    assert (in_frame(narrow, 176), in_frame(square, 256)) == (narrow, square)  # byte for byte
    assert in_frame(b"no image", 176) == b"no image"
    assert [in_frame(striped(*size), width) for size, width in (((300, 300), 176), ((300, 300), 256), ((750, 1101), 256))] == [None] * 3


@pytest.mark.parametrize(
    ("members", "split", "message"),
    [
        ({"a/photo.jpg": b""}, "lists", "holds no image of DeepFashion's in-shop benchmark, such as WOMEN/Dresses"),
        (RAW, "lists", r"holds no train\.lst; put it beside the images, or set dataset\.deepfashion\.split"),
        (RAW, "partition", r"holds no list_eval_partition\.txt"),
        (RAW, "folders", "the split names none of 12 images, such as fashion"),
        (
            {**COPY, f"img_highres/{PLACES['test'][0]}": b"x"},
            "lists",
            r"img/.* and img_highres/.* are one image; keep one of their folders",
        ),
        ({**RAW, **lists(train=PLACES["train"], test=PLACES["train"])}, "lists", r"stands in train\.lst and in test\.lst"),
        ({**RAW, **lists(train=PLACES["train"][:2], test=PLACES["train"][2:])}, "lists", "1 people are train and test, such as 0000001101"),
        (
            {**RAW, "list_eval_partition.txt": b"1\nimage_name\nimg/x.jpg train"},
            "partition",
            r"line 3: expected an image, its item and train",
        ),
        ({**COPY, "train.lst": b"\xff\xfe"}, "lists", r"train\.lst is no text"),
    ],
)
def test_what_is_no_copy_of_the_benchmark_is_refused_by_name(tmp_path: Path, members: dict[str, bytes], split: str, message: str) -> None:
    with pytest.raises(PoseGANError, match=message):
        from_deepfashion(write(tmp_path / "copy", members), tmp_path / "raw.zip", config(split))
    assert not (tmp_path / "raw.zip").exists()


def test_no_copy_and_images_of_another_size_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match=r"set dataset\.path to your copy"):
        from_deepfashion(tmp_path / "copy", tmp_path / "raw.zip", config())
    large = {f"img_highres/{place}": striped(75, 110) for place in PHOTOS}
    with pytest.raises(PoseGANError, match=r"width 256 takes images of 256x256, of which none of 12 images is"):
        from_deepfashion(write(tmp_path / "copy", {**large, **lists(**PLACES)}), tmp_path / "raw.zip", config())


def merged(values: dict, changes: dict) -> dict:
    return {
        key: merged(values[key], changes[key]) if isinstance(changes.get(key), dict) else changes.get(key, values[key]) for key in values
    }


def page_recipes() -> list[dict]:
    """params.yaml with each recipe of the page; the second changes the first."""
    values = [yaml.safe_load((ROOT / "params.yaml").read_text())]
    for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL):
        changes = yaml.safe_load(block)
        assert not [key for section, keys in changes.items() if isinstance(keys, dict) for key in keys if key not in values[-1][section]]
        values.append(merged(values[-1], changes))
    return values[1:]


def test_the_pages_recipes_are_the_papers_settings() -> None:
    narrow, square = (parse_params(values) for values in page_recipes())
    for params in (narrow, square):
        assert (params.loss.nearest_neighbour_window, params.train.batch_size, params.recipe) == (5, 2, "full")
        assert params.image.width == params.dataset.deepfashion.width
        assert params.image.height == SIDE
    assert (narrow.image.width, square.image.width) == (176, 256)


JOINTS_X = (88, 88, 70, 60, 55, 106, 116, 121, 76, 76, 76, 100, 100, 100, 84, 92, 80, 96)
JOINTS_Y = (30, 50, 50, 80, 110, 50, 80, 110, 120, 170, 220, 120, 170, 220, 25, 25, 28, 28)


def published(folder: Path, frame: int) -> None:
    """Annotations and lists in the manner of the published files; one train image lacks a hip, one joint is missing everywhere."""
    for side, places in PLACES.items():
        names = [named(place) for place in places]
        lines = ["name:keypoints_y:keypoints_x"]
        for number, name in enumerate(names):
            x, y = ([value + (frame - 176) // 2 + number for value in JOINTS_X], list(JOINTS_Y))
            for joint in (17, *([8] if side == "train" and number == 1 else [])):
                x[joint] = y[joint] = -1
            lines.append(f"{name}: {y}: {x}")
        (folder / f"fasion-resize-annotation-{side}.csv").write_text("\n".join(lines) + "\n")
        with (folder / f"fasion-resize-pairs-{side}.csv").open("w", newline="") as file:
            pairs = csv.writer(file)
            pairs.writerow(["from", "to"])
            pairs.writerows(
                (one, other) for one in names for other in names if one.rpartition("_")[0] == other.rpartition("_")[0] and one < other
            )


def run(folder: Path, *arguments: str) -> str:
    result = CliRunner().invoke(
        cli, [*arguments, *(("--params", str(folder / "params.yaml")) if arguments[0] != "import-keypoints" else ())]
    )
    assert result.exit_code == 0, result.output
    return result.output


def test_the_whole_way_to_shards_with_published_joints_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "copy", COPY)
    published(tmp_path, 176)
    files = {side: f"fasion-resize-pairs-{side}.csv" for side in PLACES}
    params = tiny_params(
        image={"height": 256, "width": 176},
        dataset={"source": "deepfashion", "path": "copy"},
        pose={"source": "annotations", "annotations": [f"fasion-resize-annotation-{side}.csv" for side in PLACES]},
        pair={"train_pairs": files["train"], "test_pairs": files["test"], "validation_identities": 0.0},
    )
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params.model_dump()))
    assert "12 images (6 train of 2 people, 6 test of 2 people)" in run(tmp_path, "download")
    assert "left part" not in run(tmp_path, "pose", "--raw", "data/raw.zip", "--out", "data/keypoints.parquet")
    table = read_keypoints(Path("data/keypoints.parquet"))
    assert set(table.table["status"].to_pylist()) == {"ok"}
    assert {*zip(table.table["width"].to_pylist(), table.table["height"].to_pylist(), strict=True)} == {(176, 256)}
    first = table.table["image"].to_pylist().index(f"bounding_box_train/{named(PLACES['train'][0])}")
    assert table.joints[first, :17, 0].tolist() == list(JOINTS_X[:17])
    assert table.table["identity"].to_pylist()[first] == 1101
    output = run(tmp_path, "pair")
    pairs = read_pairs(Path("data/pairs.parquet"))
    # Three of the six pairs of each full person are listed; the person of whom one image lacks a hip has one listed pair left.
    assert "6 test_pairs" in output and "4 train_pairs" in output and "2 listed_train_torso_missing" in output
    listed = {side: [tuple(line.split(",")) for line in Path(file).read_text().split()][1:] for side, file in files.items()}
    kept = [(row["source"].split("/")[1], row["target"].split("/")[1]) for row in pairs.to_pylist()]
    assert kept[4:] == listed["test"]
    assert set(kept[:4]) < set(listed["train"])
    run(tmp_path, "shard")
    samples = ShardIndex.load("data/shards").samples
    assert sorted(sample.identity for sample in samples) == [1101, 1102, 1201, 1302]


def test_published_joints_are_moved_to_the_square_images_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "annotations").mkdir(parents=True)
    published(tmp_path / "data" / "annotations", 176)
    from_deepfashion(write(tmp_path / "copy", COPY), tmp_path / "data" / "raw.zip", config())
    section = PAGE.read_text().split("## 256x256")[1]
    (command,) = re.findall(r"^python -m pipeline (import-keypoints .*)$", section, re.MULTILINE)
    run(tmp_path, *command.split())
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    exec(code, {})
    moved = pd.read_parquet("data/annotations/square.parquet").set_index("image")
    row = moved.loc[f"bounding_box_train/{named(PLACES['train'][0])}"]
    assert [row["nose_x"], row["nose_y"], row["width"]] == [JOINTS_X[0] + EDGE, JOINTS_Y[0], SIDE]
    read_keypoints(Path("data/annotations/square.parquet"))  # valid


def test_the_source_needs_a_path() -> None:
    values = load_params(ROOT / "params.yaml").model_dump()
    values["dataset"]["source"] = "deepfashion"
    with pytest.raises(PoseGANError, match=r"dataset\.path: dataset\.source is 'deepfashion', which needs the path of your copy"):
        parse_params(values)
