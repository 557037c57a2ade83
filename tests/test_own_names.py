"""What a user calls their photos goes with them: into the table, the shards, lists of pairs, poses, and under every picture."""

import json
import shutil
import zipfile
from itertools import permutations
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pipeline.__main__ import cli
from pipeline.evaluate.own_names import archive_pairs, caption, photo_files, with_photos
from pipeline.evaluate.report import render, write_report
from pipeline.photo_table import TABLE, parse_photos
from pipeline.shard.stage import check_shards, shard_files
from pipeline.tables import read_pairs
from posegan.data.index import ShardIndex
from posegan.data.named_stream import NamedStream
from posegan.errors import PoseGANError
from posegan.files import contents
from posegan.formats import table as table_format
from posegan.formats.table import read_keypoints
from posegan.inference.pose_texts import read_row
from tests.support import judged
from tests.support.small_market import Prepared, jpeg
from tests.support.tiny_run import tiny_params

FILES = tuple(f"{person}/IMG_{number:04d}.JPG" for person in ("Ada", "Ben", "Cy") for number in range(3))


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, words)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the stages made shards of own photos, whose annotations name them as their user does."""
    folder = tmp_path_factory.mktemp("own")
    for number, file in enumerate(FILES):
        path = folder / "photos" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    images = [{"id": number, "file_name": file, "width": 32, "height": 64} for number, file in enumerate(FILES)]
    joints = [[[8 + joint % 3 * 6 + row % 3, 6 + 3 * joint, 2] for joint in range(17)] for row in range(len(FILES))]
    people = [{"image_id": row, "keypoints": person} for row, person in enumerate(joints)]
    (folder / "a.json").write_text(json.dumps({"images": images, "annotations": people}))
    params = tiny_params().model_dump()
    params["dataset"] |= {"source": "folder", "path": str(folder / "photos")}
    params["pose"] |= {"source": "annotations", "annotations": [str(folder / "a.json")]}
    params["pair"] |= {"test_pairs": str(folder / "list.csv")}
    (folder / "params.yaml").write_text(json.dumps(params))
    words = ("--params", folder / "params.yaml", "--out")
    raw, keypoints, pairs = (folder / name for name in ("raw.zip", "keypoints.parquet", "pairs.parquet"))
    steps = [run("download", *words, raw, "--downloads", folder / "d", "--record", folder / "r.json")]
    with zipfile.ZipFile(raw) as archive:
        tested = sorted(photo.file for photo in parse_photos(archive.read(TABLE)) if photo.image.startswith("bounding_box_test"))
    rows = [("from", "to"), *permutations(tested, 2)]
    (folder / "list.csv").write_text("".join(f"{source},{target}\n" for source, target in rows))
    steps += [run("pose", *words, keypoints, "--raw", raw, "--state", folder / "s"), run("pair", *words, pairs, "--keypoints", keypoints)]
    steps += [run("shard", *words, folder / "shards", "--raw", raw, "--keypoints", keypoints, "--pairs", pairs)]
    assert [step.exit_code for step in steps] == [0, 0, 0, 0], [step.output for step in steps]
    return folder


def files_of(folder: Path) -> dict[str, str]:
    return {photo.image: photo.file for photo in parse_photos((folder / TABLE).read_bytes())}


def test_the_table_and_the_shards_have_the_names_of_the_files(made: Path) -> None:
    assert sorted(files_of(made).values()) == list(FILES)
    assert table_format.photo_files(read_keypoints(made / "keypoints.parquet").table) == files_of(made)
    index = ShardIndex.load(made / "shards")
    stored = {name for sample in index.samples for name in index.read(sample).names}
    assert photo_files(made / "shards") == {image: file for image, file in files_of(made).items() if image in stored}
    assert shard_files(made / "shards") >= contents(made / "shards")


def test_damage_of_the_names_is_a_fault(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "shards", tmp_path / "shards"))
    assert check_shards(folder)[1] == []
    (folder / TABLE).write_bytes((folder / TABLE).read_bytes().replace(b"Ada", b"Eve").replace(b"Ben", b"Eve").replace(b"Cy", b"Ev"))
    assert check_shards(folder)[1] == [f"{folder / TABLE}: other bytes than were written"]
    with pytest.raises(PoseGANError, match=r"photos\.csv: its SHA-256 is"):
        photo_files(folder)


def test_a_list_of_test_pairs_may_name_the_files(made: Path) -> None:
    listed = pd.read_csv(made / "list.csv")
    pairs = read_pairs(made / "pairs.parquet").to_pandas().query("split == 'test'")
    files = files_of(made)
    assert [(files[row.source], files[row.target]) for row in pairs.itertuples()] == list(listed.itertuples(index=False, name=None))


def test_a_list_to_judge_by_may_name_the_files(made: Path) -> None:
    listed = list(pd.read_csv(made / "list.csv").itertuples(index=False, name=None))
    spelled = [(source.replace("/", "\\").replace(".JPG", ".jpg"), target) for source, target in listed]
    files = photo_files(made / "shards")
    for pairs in (listed, spelled):
        stream = NamedStream(ShardIndex.load(made / "shards"), "test", tiny_params().image, 4, archive_pairs(pairs, files))
        shown = [(files[source], files[target]) for batch in stream for source, target in zip(batch.sources, batch.targets, strict=True)]
        assert shown == [listed[row] for row in stream.order]
    assert archive_pairs([("nobody.jpg", "x/y.jpg")], files) == [("nobody.jpg", "x/y.jpg")]
    with pytest.raises(PoseGANError, match=r"a\.jpg: means Ada/a\.jpg as well as Ben/a\.jpg; name the folder too"):
        archive_pairs([("a.jpg", "a.jpg")], {"1": "Ada/a.jpg", "2": "Ben/a.jpg"})


def test_a_pose_may_be_the_row_of_a_file(made: Path) -> None:
    keypoints = made / "keypoints.parquet"
    for image, file in files_of(made).items():
        assert read_row(keypoints, file).keypoints.tolist() == read_row(keypoints, image).keypoints.tolist()
    with pytest.raises(PoseGANError, match=r"3 rows are called IMG_0001\.JPG; name its folder too, such as (Ada|Ben|Cy)/IMG_0001\.JPG"):
        read_row(keypoints, "IMG_0001.JPG")
    assert read_row(keypoints, "elsewhere/Ada/IMG_0001.JPG", "none").size == (32, 64)
    assert read_row(keypoints, "elsewhere/IMG_9.JPG", "Ada/IMG_0001.JPG").size == (32, 64)


def test_pages_say_what_the_user_calls_a_photo(made: Path, tmp_path: Path) -> None:
    evaluation = judged.evaluation([0.1, 0.5, 0.3])
    names = [*evaluation.table["source"], evaluation.table["target"].iloc[-1]]
    files = dict(zip(names[:-1], FILES, strict=False))  # the last one is no own photo
    named = evaluation._replace(table=with_photos(evaluation.table, files))
    assert [caption(named.table, row) for row in (0, 2)] == [f"{FILES[0]} → {FILES[1]}", f"{FILES[2]} → {names[3].split('/')[1]}"]
    page = render(named, [])
    assert f"{FILES[0]} → {FILES[1]}" in page
    assert names[0].split("/")[1] not in page
    assert with_photos(evaluation.table, {}) is evaluation.table
    write_report(tmp_path / "a", judged.evaluation([0.2, 0.4, 0.4]), tmp_path)  # of an older version
    write_report(tmp_path / "b", named, tmp_path)
    assert pq.read_table(tmp_path / "b" / "pairs.parquet")["target_photo"].to_pylist() == [FILES[1], FILES[2], None]
    assert run("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "page.html").exit_code == 0
    assert f"{FILES[0]} → {FILES[1]}" in (tmp_path / "page.html").read_text()
    inspected = ("--keypoints", made / "keypoints.parquet", "--raw", "none", "--pairs", "none", "--params", made / "params.yaml")
    assert run("inspect", *inspected, "--out", tmp_path / "k.html").exit_code == 0
    assert FILES[0] in (tmp_path / "k.html").read_text()


def test_shards_of_no_own_photos_have_no_such_table(prepared: Prepared) -> None:
    assert TABLE not in contents(prepared.shards)
    assert photo_files(prepared.shards) == {}
