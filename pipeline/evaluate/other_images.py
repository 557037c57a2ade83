"""Images that another program generated: which file belongs to which pair, and their pixels.

A file is named after its pair in one of the ways in which published code writes them, `a` and `b` being the names of source and
target, with or without `.jpg`: `a_2_b.png`, `a_to_b.png`, `a___b.png`, `a_b.png`, each also with `_vis` before the suffix; or after
the row of the list, from 0, with any number of leading zeros: `000012.png`. Case means nothing.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from posegan.config import ImageConfig
from posegan.errors import PoseGANError
from posegan.formats.names import SUFFIXES, bare_file
from posegan.images import ImageError, decode_image

READ = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
JOINERS = ("_2_", "_to_", "___", "_")
_VISIBLE = "_vis"
_INSIDE = re.compile(f"(?:{'|'.join(map(re.escape, SUFFIXES))})(?=_|$)")
_SHOWN = 3  # files that an error names
# PATN's and the Deformable GAN's own code write the result as the last of five or three pictures side by side.
STRIPS = (1, 3, 5)


class OtherImages:
    """The files of a folder, by pair.

    Args:
        folder: holds them, without folders inside.
        image: the size that they must have.

    Raises:
        PoseGANError: no such folder, no image in it, or two files for one name.
    """

    def __init__(self, folder: Path, image: ImageConfig) -> None:
        if not folder.is_dir():
            raise PoseGANError(f"{folder}: no such folder; name the one that holds the generated images")
        self._folder, self._image = folder, image
        self._files: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in READ and path.is_file() and not path.name.startswith("."):
                key = _plain(path.stem).removesuffix(_VISIBLE)
                if (other := self._files.setdefault(key, path)) is not path:
                    raise PoseGANError(f"{folder}: {other.name} and {path.name} are the same pair's; remove one of them")
        if not self._files:
            raise PoseGANError(f"{folder}: holds no image ({', '.join(READ)}); name the folder that holds the files themselves")
        numbered = all(key.isdecimal() for key in self._files)
        self._rows = {int(key): path for key, path in self._files.items()} if numbered else {}
        if numbered and len(self._rows) < len(self._files):
            raise PoseGANError(f"{folder}: two files have the same number, such as 1 and 01; remove one of them")

    @property
    def are_numbered(self) -> bool:
        """Whether the files are named by the rows of a list."""
        return bool(self._rows)

    def find(self, pairs: Sequence[tuple[str, str]], all_of_them: bool = True) -> list[Path]:
        """The file of each pair, in order; of all pairs, or of some, where a file may well be another one's.

        Raises:
            PoseGANError: one is missing; the first is named as it is expected, beside the names that are there. Or one has two files.
        """
        found = [self._of_pair(row, *pair) for row, pair in enumerate(pairs)]
        missing = [pair for pair, path in zip(pairs, found, strict=True) if path is None]
        if missing:
            source, target = missing[0]
            there = self.told_others([path for path in found if path]) if all_of_them else ""
            there = there or f"its files are called such as {', '.join(path.name for path in list(self._files.values())[:_SHOWN])}"
            raise PoseGANError(
                f"{self._folder}: {len(missing):,} of {len(pairs):,} pairs have no image, the first {source} to {target}; expected "
                f"{bare_file(source)}_2_{bare_file(target)}.png, or another name that docs/metrics.md lists; {there}; if they are of "
                "other pairs, name their list with --pairs"
            )
        return [path for path in found if path]

    def told_others(self, used: Iterable[Path]) -> str:
        """How many of the folder's images are none of those that are `used`, and the first of them; empty where there are none."""
        known = set(used)
        others = [path.name for path in self._files.values() if path not in known]
        belong = "belongs" if len(others) == 1 else "belong"
        return f"{len(others):,} of its files {belong} to no pair, such as {', '.join(others[:_SHOWN])}" if others else ""

    def read(self, paths: Sequence[Path]) -> Tensor:
        """The pixels, uint8 `(B, 3, H, W)`, as they were saved: nothing is resized.

        Raises:
            PoseGANError: a file that is no image, or one of another size.
        """
        height, width = self._image.height, self._image.width
        images = np.empty((len(paths), height, width, 3), np.uint8)
        for row, path in enumerate(paths):
            try:
                pixels = np.asarray(decode_image(path.read_bytes()))
            except ImageError as error:
                raise PoseGANError(f"{path}: {error}; generate it again") from error
            if pixels.shape[0] != height or pixels.shape[1] not in [count * width for count in STRIPS]:
                raise PoseGANError(
                    f"{path}: {pixels.shape[0]} x {pixels.shape[1]} pixels (height x width), expected {height} x {width}, or 3 or 5 such "
                    "side by side with the result last; another size is measured by setting image.height and image.width"
                )
            images[row] = pixels[:, -width:]
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def _of_pair(self, row: int, source: str, target: str) -> Path | None:
        if self._rows:
            return self._rows.get(row)
        first, second = (_plain(bare_file(name)) for name in (source, target))
        found = [self._files[key] for joiner in JOINERS if (key := f"{first}{joiner}{second}") in self._files]
        if len(found) > 1:
            raise PoseGANError(f"{self._folder}: {found[0].name} and {found[1].name} are the same pair's; remove one of them")
        return found[0] if found else None


def _plain(name: str) -> str:
    """A name without the suffixes of images, which may also stand in its middle; of one case and one Unicode form."""
    return _INSIDE.sub("", unicodedata.normalize("NFC", name).lower())
