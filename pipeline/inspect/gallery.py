"""Pictures of people with their joints, for pages: from raw.zip where it is at hand, else the skeleton alone.

Legend: K = 18 joints.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.pages.page import Tile, data_uri
from pipeline.photo_table import read_photos
from pipeline.raw_archive import read_member
from posegan.errors import PoseGANError
from posegan.images import Fit, decode_image, fit_keypoints
from posegan.pictures import draw_skeleton, draw_skeleton_over

Keypoints = npt.NDArray[np.float32]

SIDE = 256  # pixels: the longer side of a tile
_QUALITY = 82
_UNKNOWN = (4, 3)  # width and height of the ground that stands for an image whose size is not known


class Photographer:
    """Makes the tiles of a page; `archive` is raw.zip, or None where there is none, `files` the own photos' that a table knows."""

    def __init__(self, archive: zipfile.ZipFile | None, files: Mapping[str, str] = MappingProxyType({})) -> None:
        self._archive = archive
        self._own = dict(files) | ({} if archive is None else {photo.image: photo.file for photo in read_photos(archive)})

    def tile(self, member: str, size: tuple[int, int] | None, keypoints: Keypoints, lines: Sequence[str] = ()) -> Tile:
        """An image of raw.zip by its name with the joints (K, 3) of its person over it, its file name and `lines` under it.

        A user's own photo has the name that it has in their folder.

        An image that is not there, or cannot be decoded, is dark ground of its `size` (width, height). One of another size says so.
        """
        image = self._read(member)
        if image is not None and size is not None and image.size != size:
            found, known = (f"{width}x{height}" for width, height in (image.size, size))
            lines = [*lines, f"the image has {found} pixels, the table says {known}"]
        width, height = size or _UNKNOWN if image is None else image.size
        scale = SIDE / max(width, height)
        joints = fit_keypoints(keypoints, Fit(scale, (scale - 1) / 2, (scale - 1) / 2))
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        if image is None:
            picture = draw_skeleton(joints, height, width)
        else:
            picture = draw_skeleton_over(np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8), joints)
        return Tile(data_uri(Image.fromarray(picture), "JPEG", _QUALITY), [self.name(member), *lines])

    def name(self, member: str) -> str:
        """What an image is called: as its file in a user's own folder, else as its file in the archive."""
        return self._own.get(member, PurePosixPath(member).name)

    def _read(self, member: str) -> Image.Image | None:
        if self._archive is None:
            return None
        try:
            return decode_image(read_member(self._archive, member))
        except (KeyError, PoseGANError):  # not in this archive, or broken: the caption says what is known
            return None
