"""No command harms what it did not write: the commands are those of the programs themselves, the places those of their options."""

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml
from click.testing import CliRunner, Result

from lessons.__main__ import cli as lessons
from pipeline.__main__ import cli as pipeline
from pipeline.download.stage import _remove_table
from pipeline.exchange import export_keypoints
from pipeline.generators.command import main as generators
from pipeline.pose_model.command import main as pose_model
from pipeline.shard.stage import shard, shard_files
from posegan.__main__ import cli as posegan
from posegan.cli import ProgramGroup
from posegan.errors import PoseGANError
from posegan.files import contents
from posegan.model.generator_file import save_pretrained
from posegan.places import OUTPUT, OUTPUT_FILE_OR_FOLDER, Output, PlacedCommand, check_places
from tests.support.small_market import Prepared
from tests.support.tiny_run import tiny_params
from tests.support.use_fixtures import drawn_person, write_model

PROGRAMS: dict[str, ProgramGroup] = {
    "posegan": posegan,
    "pipeline": pipeline,
    "pose_model": pose_model,
    "generators": generators,
    "lessons": lessons,
}


class Row(NamedTuple):
    """How a command is called: `line` is all but its outputs, `outputs` by option, those behind it are read as well."""

    line: str
    outputs: dict[str, str]


# Inputs stand in the folder that the test works in. A new command needs a row; one that writes nothing has no outputs.
ROWS = {
    "posegan transfer": Row("people --pose standing/front --model g.safetensors", {"--out": "drawn"}),
    "posegan animate": Row("person.jpg --poses walking/front --model g.safetensors", {"--out": "walk.gif"}),
    "posegan demo": Row("--model g.safetensors", {}),
    "posegan export": Row("--model g.safetensors", {"OUT": "hub"}),
    "pipeline download": Row("", {"--out": "new.zip", "--downloads": "downloads", "--record": "record.json"}),
    "pipeline pose": Row("--raw raw.zip", {"--out": "k.parquet", "--downloads": "downloads", "--state": "state"}),
    "pipeline pair": Row("--keypoints keypoints.parquet", {"--out": "p.parquet"}),
    "pipeline shard": Row("--raw raw.zip --keypoints keypoints.parquet --pairs pairs.parquet", {"--out": "new"}),
    "pipeline train": Row(
        "--shards shards",
        {
            "--out": "models/g.safetensors",
            "--best": "models/best.safetensors",
            "--card": "models/g.md",
            "--live": "live",
            "--samples": "samples",
            "--state": "state",
            "--cache": "cache",
        },
    ),
    "pipeline evaluate": Row(
        "--shards shards --model g.safetensors --pairs list.csv",
        {"--metrics": "m.json", "--report": "report", "--save-images": "saved", "--downloads": "downloads"},
    ),
    "pipeline inspect": Row("--keypoints keypoints.parquet --pairs pairs.parquet --raw raw.zip", {"--out": "page.html"}),
    "pipeline compare": Row("first second", {"--out": "page.html"}),
    "pipeline import-keypoints": Row("keypoints.parquet list.csv --raw raw.zip", {"--out": "k.parquet"}),
    "pipeline export-keypoints": Row("--keypoints keypoints.parquet --format openpose", {"OUT": "openpose"}),
    "pipeline export-pairs": Row("--pairs pairs.parquet", {"OUT": "p.csv"}),
    "pipeline published-pairs": Row("list.csv", {"--out": "p.csv"}),
    "pipeline export-dataset": Row("--shards shards", {"OUT": "p.parquet", "--cache": "cache"}),
    "pipeline augment": Row("--raw raw.zip --keypoints keypoints.parquet --model g.safetensors", {"--out": "augmented"}),
    "pipeline ablation": Row("", {"--out": "table.md", "--grid": "grid.png"}),
    "pose_model train": Row("--start g.safetensors --real raw.zip", {"--out": "w.pt", "--work": "work"}),
    "pose_model measure": Row("g.safetensors", {}),
    "generators train": Row("drawn", {"--work": "work"}),
    "generators measure": Row("drawn", {"--work": "work"}),
    "lessons data": Row("", {"--data": "digits"}),
    "lessons run": Row("lesson1", {"--data": "digits", "--results": "results"}),
    "lessons table": Row("", {"--data": "digits", "--results": "results"}),
}


def command(name: str) -> click.Command:
    program, _, verb = name.partition(" ")
    found = PROGRAMS[program].get_command(click.Context(PROGRAMS[program]), verb)
    assert found is not None
    return found


def outputs_of(name: str) -> dict[str, str]:
    """What each output of a command is, by its option, as its own types say."""
    return {
        param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name: param.type.what
        for param in command(name).params
        if isinstance(param.type, Output)
    }


def each(*kinds: str) -> list[tuple[str, str]]:
    return [(name, option) for name in ROWS for option, what in outputs_of(name).items() if what in kinds]


def run(name: str, **changed: str) -> Result:
    """Call a command in the current folder, with an output or a part of its line changed."""
    row = ROWS[name]
    program, _, verb = name.partition(" ")
    words = [part for option, value in (row.outputs | changed).items() for part in ([value] if option.isupper() else [option, value])]
    return CliRunner().invoke(PROGRAMS[program], [verb, *row.line.split(), *words])


def refused(result: Result, words: str) -> None:
    """One line that says why, and the code of what a user can mend."""
    assert result.exit_code == 1, result.output
    assert words in result.output
    assert len(result.output.splitlines()) == 1
    assert result.output.startswith("error: ")


def tree(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in contents(folder) if (folder / name).is_file()}


@pytest.fixture(scope="module")
def inputs(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    for path in (prepared.raw, prepared.keypoints, prepared.pairs):
        shutil.copy(path, folder)
    shutil.copytree(prepared.shards, folder / "shards")
    write_model(folder / "g.safetensors")
    drawn_person(0).save(folder / "person.jpg")
    (folder / "people").mkdir()
    drawn_person(1).save(folder / "people" / "a.jpg")
    (folder / "list.csv").write_text("name:keypoints_y:keypoints_x\n")
    for name in ("first", "second", "theirs"):
        (folder / name).mkdir()
        (folder / name / "theirs.txt").write_text("theirs")
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params().model_dump()))
    return folder


@pytest.fixture
def here(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, whose files are as they were when the test is over."""
    folder = tmp_path / "here"
    shutil.copytree(inputs, folder)
    monkeypatch.chdir(folder)
    before = tree(folder)
    yield folder
    assert tree(folder) == before


def test_every_command_of_the_programs_has_its_row_and_every_output_its_place() -> None:
    names = {f"{program} {verb}" for program, group in PROGRAMS.items() for verb in group.list_commands(click.Context(group))}
    assert names == set(ROWS)
    for name, row in ROWS.items():
        assert isinstance(command(name), PlacedCommand), name
        assert row.outputs.keys() == outputs_of(name).keys(), name


@pytest.mark.parametrize("place", ["", ".", "/", "..", "people/.."])
@pytest.mark.parametrize(("name", "option"), each("file", "folder", "either"))
def test_a_place_without_a_name_is_one_line(name: str, option: str, place: str, here: Path) -> None:
    refused(run(name, **{option: place}), f"{option} {place!r}: expected the name of a")


@pytest.mark.parametrize(("name", "option"), each("file", "folder", "either"))
def test_no_output_is_an_input(name: str, option: str, here: Path) -> None:
    read = [word for word in ROWS[name].line.split() if (here / word).exists()] + ["params.yaml"]
    for word in read:
        is_folder, what = (here / word).is_dir(), outputs_of(name)[option]
        words = (
            "is read as well" if what == "either" or is_folder == (what == "folder") else ": a fil" if what == "folder" else ": a folder"
        )
        refused(run(name, **{option: word}), words)
        refused(run(name, **{option: f"people/../{word}"}), words)


@pytest.mark.parametrize(("name", "option"), each("file"))
def test_no_file_takes_a_folders_place(name: str, option: str, here: Path) -> None:
    refused(run(name, **{option: "theirs"}), f"{option} theirs: a folder")


@pytest.mark.parametrize(("name", "option"), each("folder", "working folder"))
def test_no_folder_takes_a_files_place(name: str, option: str, here: Path) -> None:
    refused(run(name, **{option: "person.jpg"}), f"{option} person.jpg: a file; name a folder")


@pytest.mark.parametrize(("name", "option"), each("file", "folder", "either", "working folder"))
def test_no_place_is_below_a_file(name: str, option: str, here: Path) -> None:
    for place in ("person.jpg/x", "person.jpg/new/x"):
        refused(run(name, **{option: place}), "/person.jpg is no folder; name a place in a folder")


@pytest.mark.parametrize(("name", "option"), each("folder", "either"))
def test_a_folder_that_holds_anything_else_is_refused_before_the_work(name: str, option: str, here: Path) -> None:
    refused(run(name, **{option: "theirs"}), "theirs: holds other files, such as theirs.txt")


@pytest.mark.parametrize("name", sorted({name for name, _ in each("file", "folder")}))
def test_two_outputs_have_two_places(name: str, here: Path) -> None:
    options = [option for key, option in each("file", "folder") if key == name]
    for first, second in itertools.combinations(options, 2):
        refused(run(name, **{first: "same", second: "./same"}), f"{second} same: the same place as {first}")


def test_the_files_that_the_parameters_name_are_inputs(here: Path) -> None:
    (here / "params.yaml").write_text(
        yaml.safe_dump(tiny_params(dataset={"source": "archive", "path": "raw.zip"}, pair={"test_pairs": "list.csv"}).model_dump())
    )
    refused(run("pipeline download", **{"--out": "raw.zip"}), "--out raw.zip: is read as well")
    refused(run("pipeline pair", **{"--out": "list.csv"}), "--out list.csv: is read as well")
    (here / "params.yaml").write_text(yaml.safe_dump(tiny_params().model_dump()))


def test_a_table_beside_the_archive_is_removed_only_where_it_is_of_photos(here: Path) -> None:
    (here / "params.yaml").write_text(yaml.safe_dump(tiny_params(dataset={"source": "archive", "path": "absent.zip"}).model_dump()))
    table = here / "photos.csv"
    table.write_text("what,I,noted\n")
    refused(run("pipeline download"), "photos.csv: not a table that this stage wrote")
    assert table.read_text() == "what,I,noted\n"
    table.write_text("file,person,image,status,detail\n")  # DVC has removed the archive that it belongs to
    refused(run("pipeline download"), "absent.zip")
    assert not table.exists()
    (here / "params.yaml").write_text(yaml.safe_dump(tiny_params().model_dump()))


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    """A pipe or a device, such as /dev/null: renaming a file over it would take it from everybody."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PoseGANError, match=r"--out .*pipe: a device or pipe, which would be replaced; name a file"):
        OUTPUT.convert(str(tmp_path / "pipe"), click.Option(["--out"]), None)
    with pytest.raises(PoseGANError, match=r"/dev/null: a device or pipe"):
        OUTPUT_FILE_OR_FOLDER.convert("/dev/null", click.Option(["--out"]), None)
    (tmp_path / "link").symlink_to("/dev/null")  # of which the link alone would be replaced
    assert OUTPUT.convert(str(tmp_path / "link"), click.Option(["--out"]), None) == tmp_path / "link"


def test_an_input_of_a_name_that_no_file_can_have_is_passed_over(tmp_path: Path) -> None:
    check_places({"--out": tmp_path / "x"}, [Path("a" * 300)])


def test_a_file_is_not_exported_over_a_folder(here: Path) -> None:
    (here / "mine").mkdir()
    result = CliRunner().invoke(pipeline, ["export-keypoints", "mine", "--format", "csv", "--keypoints", "keypoints.parquet"])
    assert result.exit_code == 1 and "OUT mine: a folder; name a file in it, or another file" in result.output, result.output


def test_a_folder_in_the_place_of_the_table_of_photos_is_kept(here: Path) -> None:
    (here / "photos.csv").mkdir()
    with pytest.raises(PoseGANError, match=r"photos\.csv: a folder; move it away, since a table of that name is written there"):
        _remove_table(here / "raw.zip")
    assert (here / "photos.csv").is_dir()


def test_a_link_that_is_read_protects_what_it_shows_and_one_that_is_written_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("theirs")
    link.symlink_to(real)
    check_places({"--out": link}, [real])
    with pytest.raises(PoseGANError, match="is read as well"):
        check_places({"--out": real}, [link])


def test_a_file_of_a_folder_that_is_read_is_kept(here: Path) -> None:
    refused(run("posegan animate", **{"--poses": "people", "--out": "people/a.jpg"}), "a file of people, which is read")


def test_results_never_replace_pictures_that_are_read(here: Path) -> None:
    line = ["transfer", "people", "--pose", "standing", "--model", "g.safetensors", "--format", "jpg", "--out", "people"]
    refused(CliRunner().invoke(posegan, line), "people: is read as well")
    (here / "pairs.csv").write_text("from,to\na.jpg,standing\n")
    try:
        line = ["transfer", "--pairs", "pairs.csv", "--model", "g.safetensors", "--out", "people"]
        refused(CliRunner().invoke(posegan, line), "people: holds other files, such as a.jpg")
    finally:
        (here / "pairs.csv").unlink()


def test_what_a_command_wrote_it_replaces(prepared: Prepared, tmp_path: Path) -> None:
    def again(*line: str, to: click.Command) -> None:
        result = CliRunner().invoke(to, line)
        assert result.exit_code == 0, result.output

    openpose = str(tmp_path / "openpose")
    for split in ("train", "test"):
        again(openpose, "--format", "openpose", "--keypoints", str(prepared.keypoints), "--split", split, to=export_keypoints)
    assert not list((tmp_path / "openpose").glob("bounding_box_train"))  # of the first time
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tiny_params().model_dump()))
    options = {"params": tmp_path / "params.yaml", "raw": prepared.raw, "keypoints": prepared.keypoints, "pairs": prepared.pairs}
    line = [part for name, path in options.items() for part in (f"--{name}", str(path))] + ["--out", str(tmp_path / "shards")]
    again(*line, to=shard)
    (next((tmp_path / "shards").glob("train/*.tar.gz"))).unlink()  # lost: what is left is ours
    again(*line, to=shard)
    (tmp_path / "shards" / "mine.txt").touch()
    assert CliRunner().invoke(shard, line).exit_code == 1
    for _ in range(2):
        save_pretrained(write_model(tmp_path / "g.safetensors"), tmp_path / "hub")
    with (tmp_path / "hub" / "README.md").open("a") as card:
        card.write("My own words.\n")
    with pytest.raises(PoseGANError, match="hub: holds other files"):
        save_pretrained(tmp_path / "g.safetensors", tmp_path / "hub")


def test_shards_elsewhere_than_named_are_nobodys(prepared: Prepared, tmp_path: Path) -> None:
    """A folder with a list of checksums of its own is not one of shards."""
    theirs = tmp_path / "iso"
    theirs.mkdir()
    (theirs / "SHA256SUMS").write_text(f"{'0' * 64}  a.iso\n")
    (theirs / "a.iso").touch()
    assert shard_files(theirs) == set()
    assert shard_files(prepared.shards) >= contents(prepared.shards)
