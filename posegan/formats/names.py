"""What a name of an image means, wherever one is written: in annotations, in lists of pairs, after `FILE#`.

One rule for all of them. A name means every image of the same file name:

- Folders before it may be more, fewer, or missing, and backslashes are folders too. Where both names have a folder, the last ones are
  the same, or just one of them is a folder of Market-1501: programs lay its images into folders of their own. Of several images,
  those count that share the most folders with the name.
- A name may lack its suffix, on either side, and the case of a suffix means nothing. A name that is written exactly so comes first.
- A number, which is what is left of a name of digits once it went through a program that takes it for one, means the images whose
  names are that number with zeros before it.

A user's own photos are called in the archive what nobody calls them. Where it is known how their files are called, such a name comes
first (`OwnNames`), by the same rule.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from posegan.errors import PoseGANError

MARKET_FOLDERS = ("bounding_box_train", "bounding_box_test", "query")
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
    ".jp2", ".j2k", ".tga", ".ppm", ".pgm",
)  # fmt: skip
_DIGITS = 18  # a name of more is no number that a program counts by


class _Name(NamedTuple):
    folders: tuple[str, ...]
    file: str  # the suffix in lower case
    exact: str  # as it was written

    @property
    def bare(self) -> str:
        """The file without its suffix; itself where it has none."""
        suffix = PurePosixPath(self.file).suffix
        return self.file.removesuffix(suffix) if suffix in SUFFIXES else self.file


class ImageNames:
    """Images by name, such as the members of an archive or the rows of a file; `find` gives their positions."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = [_parsed(name) for name in names]
        self._by_file: dict[str, list[int]] = {}
        self._by_bare: dict[str, list[int]] = {}  # of those that have a suffix
        self._by_number: dict[int, list[int]] = {}
        for position, name in enumerate(self._names):
            self._by_file.setdefault(name.file, []).append(position)
            if name.bare != name.file:
                self._by_bare.setdefault(_parsed(name.bare).file, []).append(position)
            if _is_number(name.bare):
                self._by_number.setdefault(int(name.bare), []).append(position)

    def find(self, text: str) -> list[int]:
        """The positions of the images that a name means, in order; none where it means no image.

        Raises:
            PoseGANError: a number that two names of digits are, such as 7 for 007.jpg and 0007.jpg.
        """
        asked = _parsed(text)
        if _is_number(asked.file) and (asked.file == "0" or not asked.file.startswith("0")):
            return self._numbered(asked)
        tiers = [self._by_file.get(asked.file, []), self._by_bare.get(asked.file, [])]
        if asked.bare != asked.file:
            tiers.append(self._by_file.get(_parsed(asked.bare).file, []))
        for positions in tiers:
            if chosen := self._nearest(asked, positions):
                return chosen
        return []

    def _nearest(self, asked: _Name, positions: Sequence[int]) -> list[int]:
        """Those whose folders do not contradict the name's: written exactly so, and then of the most common folders."""
        possible = [position for position in positions if _may_be(asked.folders, self._names[position].folders)]
        exact = [position for position in possible if self._names[position].exact == asked.exact] or possible
        shared = [_common(asked.folders, self._names[position].folders) for position in exact]
        return [position for position, count in zip(exact, shared, strict=True) if count == max(shared)]

    def _numbered(self, asked: _Name) -> list[int]:
        found = self._nearest(asked, self._by_number.get(int(asked.file), []))
        spelled = sorted({self._names[position].exact for position in self._by_number.get(int(asked.file), [])})
        if len({_parsed(name).bare for name in spelled}) > 1:
            raise PoseGANError(f"{asked.exact}: a number, which {' and '.join(spelled[:2])} both are; name the image in full")
        return found


class OwnNames:
    """Images some of which are a user's own photos: by the names that these photos' files have, else by the images' own.

    Args:
        names: of the images.
        files: the path below the photos' folder, such as Ada/IMG_0001.JPG, of those that are own photos, by the image's name.
    """

    def __init__(self, names: Sequence[str], files: Mapping[str, str]) -> None:
        self._called = [files.get(name, name) for name in names]
        self._own = [position for position, name in enumerate(names) if name in files]
        self._photos, self._names = ImageNames(self._called[position] for position in self._own), ImageNames(names)

    def photos(self, text: str) -> list[int]:
        """The positions of the photos whose files are called so; errors as `ImageNames.find`."""
        return [self._own[photo] for photo in self._photos.find(text)] if self._own else []

    def find(self, text: str) -> list[int]:
        """The positions of the images that a name means, in order, own photos first; none where it means no image; errors as there."""
        return self.photos(text) or self._names.find(text)

    def called(self, position: int) -> str:
        """What people call the image at a position: its file's name where it is an own photo, else its own."""
        return self._called[position]


def bare_file(text: str) -> str:
    """The file of a name, without its folders and its suffix."""
    return _parsed(text).bare


def is_image_name(text: str) -> bool:
    """Whether a text ends as the names of image files do."""
    return PurePosixPath(text).suffix.lower() in SUFFIXES


def _parsed(text: str) -> _Name:
    # One text has two Unicode forms: macOS writes é as two characters.
    *folders, file = [
        part for part in unicodedata.normalize("NFC", text.strip()).replace("\\", "/").split("/") if part not in ("", ".")
    ] or [""]
    suffix = PurePosixPath(file).suffix
    lower = file.removesuffix(suffix) + suffix.lower() if suffix.lower() in SUFFIXES else file
    return _Name(tuple(folders), lower, file)


def _may_be(asked: Sequence[str], folders: Sequence[str]) -> bool:
    if not asked or not folders or asked[-1] == folders[-1]:
        return True
    return (asked[-1] in MARKET_FOLDERS) != (folders[-1] in MARKET_FOLDERS)


def _common(asked: Sequence[str], folders: Sequence[str]) -> int:
    """How many folders, from the last one on, are the same."""
    pairs = zip(reversed(asked), reversed(folders), strict=False)
    return next((count for count, (one, other) in enumerate(pairs) if one != other), min(len(asked), len(folders)))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS
