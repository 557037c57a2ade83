"""A folder of people's photos as an archive: names, split, and a fate for every file."""

import io
import os
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.download.own_photos import REASONS, from_people, holds_people
from pipeline.download.people import same_person, test_people
from pipeline.download.stage import download
from pipeline.photo_table import TABLE, USED, read_photos
from pipeline.raw_archive import MEMBER_BYTES, image_members, parse_name, read_member
from posegan.config import PeopleConfig
from posegan.errors import PoseGANError
from posegan.images import decode_image
from tests.support.drawn_photos import write_people

held_out = test_people
del test_people  # pytest would take it for a test
CONFIG = PeopleConfig(test_share=0.34, maximum_side=64, seed=0)


def photo(seed: int, size: tuple[int, int] = (20, 30), form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def album(folder: Path, people: int = 3, photos: int = 3) -> Path:
    for person in range(people):
        for number in range(photos):
            write(folder / f"{'cab'[person % 3]}{person}" / f"{number}.png", photo(100 * person + number))
    return folder


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def members(out: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_each_photo_stands_under_the_name_that_the_table_tells(tmp_path: Path) -> None:
    table = from_people(album(tmp_path / "album"), tmp_path / "raw.zip", CONFIG).table
    content = members(tmp_path / "raw.zip")
    assert set(content) == {row.image for row in table} | {TABLE}
    for row in table:
        assert content[row.image] == (tmp_path / "album" / row.file).read_bytes()  # small PNGs are kept as they are
    with zipfile.ZipFile(tmp_path / "raw.zip") as archive:
        names = {member: (parse_name(member), split) for member, split in image_members(archive)}
    people = sorted({row.person for row in table})
    identities: dict[int, str] = {}
    for row in table:
        name, split = names[row.image]
        assert name is not None
        assert identities.setdefault(name.identity, row.person) == row.person
        assert (split == "test") == (row.person in held_out(people, CONFIG.test_share, CONFIG.seed))
    assert len(identities) == len(people)
    assert Counter(split for _, split in names.values()) == {"train": 6, "test": 3}


def test_the_table_is_the_same_inside_and_beside(tmp_path: Path) -> None:
    table = from_people(album(tmp_path / "album"), tmp_path / "raw.zip", CONFIG).table
    assert members(tmp_path / "raw.zip")[TABLE] == (tmp_path / TABLE).read_bytes()
    with zipfile.ZipFile(tmp_path / "raw.zip") as archive:
        assert read_photos(archive) == table
    assert {(row.width, row.height) for row in table} == {(20, 30)}


def test_equal_photos_give_equal_bytes_wherever_they_lie(tmp_path: Path) -> None:
    album(tmp_path / "album")
    for number, name in enumerate(["x", "y"]):
        (tmp_path / name / "album").mkdir(parents=True)
        for path in sorted((tmp_path / "album").rglob("*.png"), reverse=bool(number)):
            write(tmp_path / name / "album" / path.relative_to(tmp_path / "album"), path.read_bytes())
        from_people(tmp_path / name / "album", tmp_path / name / "raw.zip", CONFIG)
    assert (tmp_path / "x/raw.zip").read_bytes() == (tmp_path / "y/raw.zip").read_bytes()


def test_every_file_has_its_fate(tmp_path: Path) -> None:
    folder = album(tmp_path / "album")
    expected = {
        write(folder / "outside.png", photo(7)): "no_person",
        write(folder / "c0" / ".DS_Store", b"x"): "hidden",
        write(folder / ".git" / "config", b"x"): "hidden",
        write(folder / "c0" / "notes.txt", b"the best of them"): "unreadable",
        write(folder / "c0" / "empty.jpg", b""): "unreadable",
        write(folder / "c0" / "cut.png", photo(8)[:400]): "unreadable",
        write(folder / "c0" / "again.png", photo(0)): "duplicate",
        write(folder / "c0" / "of another.png", photo(100)): "duplicate",
        write(folder / "c0" / "trip" / "deep.png", photo(9)): USED,
        write(folder / "c0" / "Äpfel, \"grün\"\n.webp", photo(10, form="WEBP")): USED,
        write(folder / "single" / "one.png", photo(11)): USED,
    }  # fmt: skip
    bomb = io.BytesIO()
    Image.new("1", (12_000, 8_000)).save(bomb, "PNG")
    expected[write(folder / "c0" / "bomb.png", bomb.getvalue())] = "too_large"
    huge = write(folder / "c0" / "huge.png", b"")
    os.truncate(huge, 1 << 30)
    (folder / "c0" / "link.png").symlink_to(folder / "a1" / "0.png")
    (folder / "c0" / "linked").symlink_to(folder / "a1")
    os.mkfifo(folder / "c0" / "pipe.png")
    expected |= {huge: "too_large", folder / "c0/link.png": "link", folder / "c0/linked": "link", folder / "c0/pipe.png": "no_file"}
    expected[write(folder / "c0" / "IMG_1.HEIC", b"\0\0\0\x18ftypheic" + bytes(50))] = "unreadable"
    table = from_people(folder, tmp_path / "raw.zip", CONFIG).table
    assert [row.detail[-18:] for row in table if row.file == "c0/IMG_1.HEIC"] == ["convert it to JPEG"]
    fates = {row.file: row.status for row in table}
    assert {path.relative_to(folder).as_posix(): fate for path, fate in expected.items()}.items() <= fates.items()
    assert len(table) == len(fates) == 9 + len(expected)
    assert set(fates.values()) == {USED, *REASONS}
    assert all((row.status == USED) == bool(row.image) == (not row.detail) for row in table)
    assert len(members(tmp_path / "raw.zip")) == sum(row.status == USED for row in table) + 1


def test_a_name_that_is_no_text_is_told_apart(tmp_path: Path) -> None:
    folder = album(tmp_path / "album")
    for byte in (b"\xff", b"\xfe"):
        with open(os.fsencode(folder / "c0") + b"/" + byte + b".png", "wb") as file:
            file.write(photo(byte[0]))
    from_people(folder, tmp_path / "raw.zip", CONFIG)
    text = (tmp_path / TABLE).read_text(encoding="utf-8")
    assert "c0/\\xff.png" in text
    assert "c0/\\xfe.png" in text


@pytest.mark.parametrize("share", [0.01, 0.15, 0.5, 0.99])
def test_the_split_holds_out_its_share_and_never_all_or_none(share: float) -> None:
    people = [f"person {number}" for number in range(40)]
    chosen = held_out(people, share, 0)
    assert len(chosen) == min(max(1, round(40 * share)), 39)
    assert chosen == held_out(people[::-1], share, 0)
    assert held_out(people, share, 1) != chosen
    assert held_out(people[:2], share, 0) < set(people[:2])


def test_one_more_person_moves_at_most_one_other() -> None:
    people = [f"person {number}" for number in range(40)]
    for newcomer in ("Ada", "Béla", "person 99"):
        before, after = held_out(people, 0.2, 3), held_out([*people, newcomer], 0.2, 3)
        assert len(before ^ (after - {newcomer})) <= 1


def test_a_person_of_one_photo_is_never_held_out(tmp_path: Path) -> None:
    folder = album(tmp_path / "album", people=2)
    for number in range(6):
        write(folder / f"single {number}" / "one.png", photo(50 + number))
    for seed in range(8):
        table = from_people(folder, tmp_path / "raw.zip", CONFIG.model_copy(update={"seed": seed})).table
        held = {row.person for row in table if row.image.startswith("bounding_box_test/")}
        assert len(held) == 1
        assert held < {"c0", "a1"}


def test_too_few_people_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    folder = album(tmp_path / "album", people=1)
    with pytest.raises(PoseGANError, match=r"only 'c0' has two photos.*test_share to 0\.0"):
        from_people(folder, tmp_path / "raw.zip", CONFIG)
    with pytest.raises(PoseGANError, match="no person has two photos"):
        from_people(album(tmp_path / "singles", photos=1), tmp_path / "raw.zip", CONFIG)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoseGANError, match="no person has two photos"):
        from_people(tmp_path / "empty", tmp_path / "raw.zip", CONFIG)
    assert not [path for path in tmp_path.iterdir() if not path.is_dir()]
    table = from_people(folder, tmp_path / "raw.zip", CONFIG.model_copy(update={"test_share": 0.0})).table
    assert {row.image.split("/")[0] for row in table} == {"bounding_box_train"}


def test_a_market_copy_is_not_taken_for_people(tmp_path: Path) -> None:
    assert holds_people(album(tmp_path / "album"))
    write(tmp_path / "album" / "bounding_box_train" / "0002_c1s1_000451_03.jpg", photo(0))
    assert not holds_people(tmp_path / "album")
    assert not holds_people(tmp_path / "nowhere")


def test_drawn_photos_arrive_upright_and_no_larger_than_asked(tmp_path: Path) -> None:
    joints = write_people(tmp_path / "album", people=2, photos=6)
    table = from_people(tmp_path / "album", tmp_path / "raw.zip", CONFIG.model_copy(update={"maximum_side": 200})).table
    content = members(tmp_path / "raw.zip")
    assert {row.file for row in table} == set(joints)
    for row in table:
        image = decode_image(content[row.image])
        with Image.open(tmp_path / "album" / row.file) as original:
            width, height = original.size if row.file[-5:] != ".jpeg" else original.size[::-1]
        assert max(image.size) == min(200, max(width, height))
        assert abs(image.width / image.height - width / height) < 0.01


def test_the_command_counts_every_file(tmp_path: Path) -> None:
    folder = album(tmp_path / "album")
    write(folder / "c0" / "notes.txt", b"x")
    text = (Path(__file__).parents[1] / "params.yaml").read_text()
    text = text.replace("source: sample ", "source: folder ", 1).replace('path: "" ', f'path: "{folder}" ', 1)
    (tmp_path / "params.yaml").write_text(text)
    arguments = ["--params", str(tmp_path / "params.yaml"), "--out", str(tmp_path / "raw.zip")]
    result = CliRunner().invoke(download, arguments, catch_exceptions=False)
    assert "10 files in: 9 images (6 train of 2 people, 3 test of 1 people), 1 unreadable; train: a1, c0, test: b2; " in result.output


def test_a_newcomer_changes_no_name_of_the_others(tmp_path: Path) -> None:
    """A name by sort order would mean another photo then, in every annotation and list that was made before."""
    folder = album(tmp_path / "album")
    before = {row.file: row.image.split("/")[1] for row in from_people(folder, tmp_path / "raw.zip", CONFIG).table}
    write(folder / "Aaron" / "0.png", photo(900))
    write(folder / "Aaron" / "1.png", photo(901))
    write(folder / "c0" / "..0.png", photo(902))
    after = {row.file: row.image.split("/")[1] for row in from_people(folder, tmp_path / "raw.zip", CONFIG).table if row.image}
    assert before.items() < after.items()
    assert len(set(after.values())) == len(after)


def test_forms_of_one_name_are_one_person(tmp_path: Path) -> None:
    for number, name in enumerate(["A\u030asa", "\u00c5sa", "Ben", "ben ", "BEN", "Cy", "Di"]):
        for each in range(2):
            write(tmp_path / "album" / name / f"{each}.png", photo(10 * number + each))
    made = from_people(tmp_path / "album", tmp_path / "raw.zip", CONFIG)
    people: dict[str, set[tuple[str, str]]] = {}
    for row in made.table:
        people.setdefault(same_person(row.file.split("/")[0]), set()).add((row.person, row.image.split("_c")[0]))
    assert len(people) == 4
    assert all(len(found) == 1 for found in people.values())
    assert sum("taken for one person" in warning for warning in made.warnings) == 2


def test_a_folder_that_is_no_utf_8_is_told_and_means_whom_its_bytes_name(tmp_path: Path) -> None:
    """Windows' and DOS' bytes of Åsa are hers; others are somebody, whose name is shown as far as it can be."""
    folder = album(tmp_path / "album", people=2)
    for number, name in enumerate((b"\xc3\x85sa", b"\xc5sa", b"\x8fsa", b"\xff\xe5sa")):
        for each in range(2):
            write(folder / os.fsdecode(name) / f"{each}.png", photo(10 * number + each + 500))
    made = from_people(folder, tmp_path / "raw.zip", CONFIG)
    people = {row.file.split("/")[0]: row.person for row in made.table}
    assert {people[os.fsdecode(name)] for name in (b"\xc3\x85sa", b"\xc5sa", b"\x8fsa")} == {"Åsa"}
    assert people[os.fsdecode(b"\xff\xe5sa")] == os.fsdecode(b"\xff\xe5sa")
    assert made.warnings == [
        "the folders '\\x8fsa', '\\xc5sa', 'Åsa' are taken for one person",
        "the folder \\x8fsa has a name that is no UTF-8 text, and so have 2 more; rename it, to know whose it is",
    ]
    with zipfile.ZipFile(tmp_path / "raw.zip") as archive:
        assert len({photo.image for photo in read_photos(archive)}) == len(made.table)


def test_sessions_are_told_and_a_persons_folders_are_not(tmp_path: Path) -> None:
    for number, (session, person) in enumerate((("monday", "Ada"), ("monday", "Ben"), ("tuesday", "Cy"), ("tuesday", "Aaron"))):
        for each in range(2):
            write(tmp_path / "s" / session / person / f"{each}.png", photo(10 * number + each))
    [warning] = from_people(tmp_path / "s", tmp_path / "raw.zip", CONFIG).warnings
    assert "all photos lie a folder deeper, such as monday/Ada/0.png" in warning
    assert "monday, tuesday" in warning
    write(album(tmp_path / "album") / "c0" / "beach" / "17.png", photo(700))
    assert from_people(tmp_path / "album", tmp_path / "raw.zip", CONFIG).warnings == []


def test_a_copy_of_a_photo_in_another_persons_folder_is_told(tmp_path: Path) -> None:
    """It would count as the first one's, whoever it shows."""
    folder = album(tmp_path / "album")
    for copy in ("c0/copy.png", "a1/again.png"):
        write(folder / copy, (folder / "a1/0.png").read_bytes())
    [warning] = from_people(folder, tmp_path / "raw.zip", CONFIG).warnings
    assert warning == (
        "1 photo lies in the folders of two people, such as c0/copy.png and a1/0.png, and counts as the latter's; "
        "remove the one that is wrong"
    )


def test_a_photo_that_no_reader_of_the_archive_would_take_is_stored_anew(tmp_path: Path) -> None:
    """A small picture in a large file, as phones append videos to photos."""
    folder = album(tmp_path / "album")
    write(folder / "c0/0.png", photo(0) + bytes(MEMBER_BYTES))
    table = from_people(folder, tmp_path / "raw.zip", CONFIG).table
    [image] = [row.image for row in table if row.file == "c0/0.png"]
    with zipfile.ZipFile(tmp_path / "raw.zip") as archive:
        assert decode_image(read_member(archive, image)).size == (20, 30)


def test_splits_and_data_sets_are_no_people(tmp_path: Path) -> None:
    for split in ("Train", "test"):
        write(tmp_path / "splits" / split / "a.png", photo(1))
    with pytest.raises(PoseGANError, match="Train, test are named as a split"):
        from_people(tmp_path / "splits", tmp_path / "raw.zip", CONFIG)
    for identity in (2, 7):
        write(tmp_path / "set" / "images" / f"000{identity}_c1s1_000451_03.png", photo(identity))
    with pytest.raises(PoseGANError, match="images: holds photos named as 2 people's"):
        from_people(tmp_path / "set", tmp_path / "raw.zip", CONFIG)


def test_renamed_folders_are_the_data_set_that_their_names_say(tmp_path: Path) -> None:
    for name in ("train/0002_c1s1_000451_03.png", "test/0003_c1s1_000451_03.png"):
        write(tmp_path / "market" / name, photo(1))
    assert not holds_people(tmp_path / "market")
    write(album(tmp_path / "album") / "c0" / "0002_c1s1_000451_03.png", photo(2))
    assert holds_people(tmp_path / "album")
