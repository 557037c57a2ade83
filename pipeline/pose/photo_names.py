"""Annotations by the names that a user's own photos have, and in the pixels that these photos have."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from pipeline.photo_table import Photo
from posegan.errors import PoseGANError


class PhotoNames:
    """Finds the photo that a name means: its path below the photos' folder, any end of that path, or the path under other folders.

    The suffix may be missing, or be of another case; accents may be of another Unicode form.
    """

    def __init__(self, photos: Sequence[Photo]) -> None:
        self._photos: dict[str, list[Photo]] = defaultdict(list)  # by every end of their paths
        self._whole: dict[str, list[Photo]] = defaultdict(list)
        for photo in photos:
            path = _normal(photo.file)
            for key in {path, str(PurePosixPath(path).with_suffix(""))}:
                self._whole[key].append(photo)
                for end in _ends(key):
                    self._photos[end].append(photo)

    def find(self, name: str) -> Photo | None:
        """The photo called `name`, or None.

        Raises:
            PoseGANError: several photos are called so.
        """
        key = _normal(name)
        found = self._photos.get(key) or next((self._whole[end] for end in _ends(key) if end in self._whole), [])
        if len(found) > 1:
            raise PoseGANError(f"{name}: means {len(found):,} photos, such as {found[0].file} and {found[1].file}; name the folder too")
        return found[0] if found else None


def _normal(name: str) -> str:
    path = PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")))
    return str(path.with_suffix(path.suffix.lower()))


def _ends(path: str) -> list[str]:
    """Every end of a path of whole parts, the path itself first."""
    parts = PurePosixPath(path).parts
    return [str(PurePosixPath(*parts[start:])) for start in range(len(parts))]
