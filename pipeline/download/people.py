"""Who the people of a folder of own photos are: one folder a person, looked at before it is believed.

A person's number and a photo's do not depend on who else is there: they follow from the person's name and the photo's bytes, so a
name in the archive never comes to mean another photo, in annotations, lists and tables that were made before.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from pipeline.photo_table import USED, Photo
from pipeline.raw_archive import FOLDERS, image_name, parse_name
from posegan.errors import PoseGANError

MAXIMUM_PEOPLE, _FRAMES, _BOXES = 9_999, 1_000_000, 100  # what the names' digits can tell apart
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "query", "gallery", "train_all", "trainval", *FOLDERS}
_NAMED = 6  # people that a summary names
_OLD_ENCODINGS = ("cp1252", "cp437", "cp850", "mac_roman")  # of Windows, DOS and zip archives, and Macs


def same_person(folder: str) -> str:
    """What the names of a person's folders have in common: case, spaces and the Unicode form of accents do not count."""
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", folder).casefold().split()))


def people_of(folders: Iterable[str]) -> dict[str, str]:
    """Who each of the folders is, by its name: the first name of all that mean this person.

    A name that is no UTF-8, as old disks and archives have them, is read in the encodings of its time, and is the person whom another
    folder names so; else somebody of its own.
    """
    first: dict[str, str] = {}
    people: dict[str, str] = {}
    for folder in sorted(set(folders), key=lambda folder: (not _is_text(folder), folder)):
        key = next((key for key in map(same_person, _readings(folder)) if key in first), same_person(folder))
        people[folder] = first.setdefault(key, folder)
    return people


def merge_people(photos: Sequence[Photo]) -> list[Photo]:
    """The photos, those of folders that mean one person under the first of these folders' names."""
    people = people_of(photo.person for photo in photos)
    return [photo._replace(person=people[photo.person]) for photo in photos]


def check_folders(folder: Path, photos: Sequence[Photo]) -> None:
    """Refuse folders that are splits or data sets, not people.

    Raises:
        PoseGANError: a folder is called train, test or the like, or holds photos that are named as several people's.
    """
    if splits := sorted({photo.person for photo in photos if same_person(photo.person) in _SPLITS}):
        raise PoseGANError(
            f"{folder}: {', '.join(splits)} {'is' if len(splits) == 1 else 'are'} named as a split, not as a person; "
            "put each person's folder at the top (dataset.people.test_share makes the split), or, of Market-1501, "
            f"name the folders {' and '.join(list(FOLDERS)[:2])}"
        )
    identities: dict[str, dict[int, str]] = {}
    for photo in photos:
        if (name := parse_name(photo.file)) is not None:
            identities.setdefault(photo.person, {}).setdefault(name.identity, PurePosixPath(photo.file).name)
    for person, found in identities.items():
        if len(found) > 1:
            raise PoseGANError(
                f"{folder / _shown(person)}: holds photos named as {len(found):,} people's ({', '.join(list(found.values())[:2])}), "
                f"so it is no person; of Market-1501 and the like, name the folders {' and '.join(list(FOLDERS)[:2])}"
            )


def test_people(people: Sequence[str], share: float, seed: int) -> set[str]:
    """The `share` of `people` that is held out: at least one where there are two, and never all.

    People are ranked by a hash of seed and name, so that one more person moves at most one other.
    """
    if share == 0 or len(people) < 2:
        return set()
    ranked = sorted(people, key=lambda person: _digest(f"{seed}/{same_person(person)}"))
    return set(ranked[: min(max(1, round(share * len(people))), len(people) - 1)])


def archive_names(photos: Sequence[Photo], sums: Mapping[str, str], suffixes: Mapping[str, str]) -> dict[str, str]:
    """The file name in the archive of each photo, by the photo's path.

    Args:
        photos: those that are used.
        sums: SHA-256 of each file's bytes, by path.
        suffixes: such as `.jpg`, by path.

    Raises:
        PoseGANError: more people than the names can tell apart.
    """
    people = {same_person(photo.person) for photo in photos}
    if len(people) > MAXIMUM_PEOPLE:
        raise PoseGANError(f"{len(people):,} people, more than the {MAXIMUM_PEOPLE:,} that names can tell apart; make several data sets")
    identities = _places({person: _digest(person) for person in people}, MAXIMUM_PEOPLE)
    own: dict[str, dict[str, bytes]] = {person: {} for person in people}
    for photo in photos:
        own[same_person(photo.person)][photo.file] = bytes.fromhex(sums[photo.file])
    return {
        file: image_name(identities[person] + 1, 1, *divmod(place, _BOXES), suffixes[file])
        for person, digests in own.items()
        for file, place in _places(digests, _FRAMES * _BOXES).items()
    }


def warnings_about(photos: Sequence[Photo], table: Sequence[Photo]) -> list[str]:
    """What may not be meant: folders taken for one person, and sessions taken for people; `photos` as before `merge_people`."""
    spelt: dict[str, list[str]] = {}
    for folder, person in people_of(photo.person for photo in photos).items():
        spelt.setdefault(person, []).append(f"'{_shown(folder)}'")
    warnings = [f"the folders {', '.join(sorted(folders))} are taken for one person" for folders in spelt.values() if len(folders) > 1]
    if odd := sorted(_shown(folder) for folder in {photo.person for photo in photos} if not _is_text(folder)):
        warnings.append(f"the folder {odd[0]} has a name that is no UTF-8 text{_more(odd)}; rename it, to know whose it is")
    below: dict[str, set[str]] = {}  # "" for a photo that lies in the person's folder itself
    for photo in table:
        if photo.status == USED:
            parts = PurePosixPath(photo.file).parts
            below.setdefault(photo.person, set()).add(parts[1] if len(parts) > 2 else "")
    deep = [person for person, folders in below.items() if "" not in folders]
    if deep and (len(deep) == len(below) or any(len(below[person]) > 1 for person in deep)):
        example = next(photo.file for photo in table if photo.status == USED and photo.person in deep)
        all_of = "all photos lie" if len(deep) == len(below) else f"all photos of {_few(deep)} lie"
        warnings.append(
            f"{all_of} a folder deeper, such as {example}: the first level, {_few(sorted(below))}, is taken for the people; "
            "where the people are the folders below, move those to the top"
        )
    return warnings


def counted_people(photos: Iterable[Photo]) -> tuple[str, str]:
    """How many photos there are of how many people, and the names of these as far as a line has room."""
    counts = Counter(photo.person for photo in photos)
    return f"{sum(counts.values()):,} of {len(counts):,} people", _few(sorted(counts))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(map(_shown, names[:_NAMED])) + more


def _more(names: Sequence[str]) -> str:
    return f", and so have {len(names) - 1:,} more" if len(names) > 1 else ""


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8: Python keeps other bytes as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _readings(name: str) -> list[str]:
    """What a name may say: itself, or where it is no UTF-8, its bytes in the encodings that it may have."""
    if _is_text(name):
        return [name]
    return [os.fsencode(name).decode(encoding, "replace") for encoding in _OLD_ENCODINGS]


def _shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _places(digests: Mapping[str, bytes], size: int) -> dict[str, int]:
    """A place below `size` for each name, from its digest alone unless another has that place; then the next one that is free."""
    taken: dict[int, str] = {}
    for name in sorted(digests, key=lambda name: digests[name]):
        place = int.from_bytes(digests[name], "big") % size
        while place in taken:
            place = (place + 1) % size
        taken[place] = name
    return {name: place for place, name in taken.items()}
