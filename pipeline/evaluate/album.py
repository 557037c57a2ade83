"""The pictures and poses behind an evaluation, kept for its report and for comparisons: one zip beside the table of pairs.

`pictures.zip` holds `generated/000000.jpg`, ... by the pair's place in pairs.parquet, `real/<name in raw.zip>` once an
image at the network's size, and `keypoints.npy`. JPEG of quality 95: the metrics were taken before it.
Legend: N pairs, K = 18 joints, H and W height and width in pixels.
"""

import io
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from torch import Tensor

from posegan.data.batches import PairBatch, to_pictures
from posegan.errors import PoseGANError
from posegan.images import Picture, decode_image, encode_jpeg
from posegan.pictures import draw_skeleton
from posegan.skeleton import JOINT_COUNT

Poses = npt.NDArray[np.float32]
_KEYPOINTS = "keypoints.npy"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's own first date: equal pictures give equal bytes


class Pictures:
    """An album to look into.

    Raises:
        PoseGANError: no such file, or not an album.
    """

    def __init__(self, file: Path | IO[bytes]) -> None:
        self._name = str(file) if isinstance(file, Path) else "the album"
        self._file = file
        try:
            self._zip = zipfile.ZipFile(file)
            self.poses: Poses = np.load(io.BytesIO(self._zip.read(_KEYPOINTS)), allow_pickle=False)  # (N, 2, K, 3): source, target
        except FileNotFoundError:
            raise PoseGANError(f"{file}: no such file; evaluate again") from None
        except (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError) as error:
            raise PoseGANError(f"{self._name}: not an album of pictures ({error}); evaluate again") from error
        if not isinstance(file, Path):
            weakref.finalize(self, file.close)  # a file without a name goes with its album

    def __len__(self) -> int:
        return len(self.poses)

    def real(self, name: str) -> Picture:
        """The real image (H, W, 3) of a name in raw.zip."""
        return self._read(f"real/{name}")

    def generated(self, number: int) -> Picture:
        """What was generated for the pair at a place of the table."""
        return self._read(f"generated/{number:06d}.jpg")

    def target_pose(self, number: int, size: tuple[int, ...]) -> Picture:
        """The skeleton of a pair's target, on images of `size` (H, W, ...)."""
        return draw_skeleton(self.poses[number, 1], *size[:2])

    def row(self, number: int, source: str, target: str) -> tuple[Picture, Picture, Picture, Picture]:
        """Source, target pose, generated, real."""
        generated = self.generated(number)
        return self.real(source), self.target_pose(number, generated.shape), generated, self.real(target)

    def save(self, path: Path) -> None:
        """Copy an album that was just made to `path`."""
        if isinstance(self._file, Path):
            raise ValueError("this album has its place already")
        self._file.seek(0)
        with path.open("wb") as out:
            shutil.copyfileobj(self._file, out)

    def _read(self, member: str) -> Picture:
        try:
            return np.asarray(decode_image(self._zip.read(member)), dtype=np.uint8)
        except (KeyError, zipfile.BadZipFile, PoseGANError) as error:
            raise PoseGANError(f"{self._name}: {member}: missing or damaged; evaluate again") from error


class AlbumMaker:
    """Gathers batches in a temporary file without a name: memory does not grow, and a kill leaves nothing.

    Args:
        order: the row of the table of pairs in which each pair of the batches will stand, one after the other; None: as they come.
    """

    def __init__(self, order: Sequence[int] | npt.NDArray[np.int64] | None = None) -> None:
        self._order = order
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # `finish` hands it on
        self._zip = zipfile.ZipFile(self._file, "w")
        self._closing = weakref.finalize(self, _discard, self._zip, self._file)
        self._real: set[str] = set()
        self._poses: list[Poses] = []
        self._count = 0

    def add(self, batch: PairBatch, generated: Tensor) -> None:
        """Keep one batch, uint8 `(B, 3, H, W)`, in the order of the table."""
        for picture in to_pictures(generated):
            row = self._count if self._order is None else int(self._order[self._count])
            self._write(f"generated/{row:06d}.jpg", picture)
            self._count += 1
        self._add_real(zip(batch.sources, to_pictures(batch.source_images), strict=True))
        self._add_real(zip(batch.targets, to_pictures(batch.target_images), strict=True))
        ends = (joints.cpu().numpy().astype(np.float32) for joints in (batch.source_keypoints, batch.target_keypoints))
        self._poses.append(np.stack(list(ends), axis=1))

    def finish(self) -> Pictures:
        """The album; nothing can be added any more."""
        buffer = io.BytesIO()
        poses = np.concatenate(self._poses) if self._poses else np.zeros((0, 2, JOINT_COUNT, 3), np.float32)
        np.save(buffer, poses if self._order is None else poses[np.argsort(self._order, kind="stable")])
        self._zip.writestr(zipfile.ZipInfo(_KEYPOINTS, _EPOCH), buffer.getvalue(), zipfile.ZIP_DEFLATED)
        self._zip.close()
        self._closing.detach()
        return Pictures(self._file)

    def _add_real(self, named: Iterable[tuple[str, Picture]]) -> None:
        for name, picture in named:
            if name not in self._real:
                self._real.add(name)
                self._write(f"real/{name}", picture)

    def _write(self, member: str, picture: Picture) -> None:
        self._zip.writestr(zipfile.ZipInfo(member, _EPOCH), encode_jpeg(picture))


def _discard(archive: zipfile.ZipFile, file: IO[bytes]) -> None:
    archive.close()  # before its file, or it complains
    file.close()
