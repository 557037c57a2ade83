"""What a user calls the photos that the shards hold, for lists of pairs and for what stands under pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline.photo_table import TABLE, parse_photos
from posegan.data.index import CACHE, CHECKSUMS, read_checksums
from posegan.data.stores import LocalStore, RemoteStore, Store, is_address
from posegan.errors import PoseGANError
from posegan.formats.names import OwnNames

_AGAIN = "delete the folder and run the shard stage again"
_COLUMNS = {"source": "source_photo", "target": "target_photo"}


def photo_files(shards: Path | str) -> dict[str, str]:
    """The file of each own photo in a folder of shards, or at an address, by its name in the archive; none where there are none.

    Raises:
        PoseGANError: the table of photos is missing or damaged.
    """
    store: Store = RemoteStore(str(shards), CACHE) if is_address(str(shards)) else LocalStore(Path(shards))
    sums = read_checksums(store.small_file(CHECKSUMS), f"{shards}/{CHECKSUMS}")
    if TABLE not in sums:
        return {}
    path = store.verified(TABLE, sums[TABLE], _AGAIN)
    try:
        return {photo.image: photo.file for photo in parse_photos(path.read_bytes())}
    except PoseGANError as error:
        raise PoseGANError(f"{path}: not a table of photos ({error}); {_AGAIN}") from error


def archive_pairs(pairs: Sequence[tuple[str, str]], files: Mapping[str, str]) -> list[tuple[str, str]]:
    """Listed pairs in which photos have their names in the archive; whatever is no photo's name stays.

    Raises:
        PoseGANError: a name means two photos.
    """
    images = list(files)
    names = OwnNames(images, files)

    def image_of(text: str) -> str:
        found = names.photos(text)
        if len(found) > 1:
            raise PoseGANError(f"{text}: means {' as well as '.join(map(names.called, found[:2]))}; name the folder too")
        return images[found[0]] if found else text

    return [(image_of(source), image_of(target)) for source, target in pairs]


def with_photos(table: pd.DataFrame, files: Mapping[str, str]) -> pd.DataFrame:
    """The table of pairs, with what the user calls sources and targets where any is an own photo."""
    return table.assign(**{column: table[end].map(files) for end, column in _COLUMNS.items()}) if files else table


def names_photos(table: pd.DataFrame) -> bool:
    """Whether a table says what the user calls the images."""
    return set(_COLUMNS.values()) <= set(table)


def caption(table: pd.DataFrame, row: int) -> str:
    """What stands under the pictures of a pair: both names, the user's where it is an own photo."""
    return " → ".join(_called(table, row, end) for end in _COLUMNS)


def _called(table: pd.DataFrame, row: int, end: str) -> str:
    file = table[_COLUMNS[end]].iloc[row] if names_photos(table) else None
    return file if isinstance(file, str) else PurePosixPath(table[end].iloc[row]).name
