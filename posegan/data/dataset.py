"""Pairs one by one: a plain map-style dataset over the tables and the archive.

Legend: K = 18 joints, H and W height and width in pixels.
"""

import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import Dataset

from posegan.config import ImageConfig
from posegan.data.batches import to_float
from posegan.errors import PoseGANError
from posegan.formats.plausible import refuse_shares
from posegan.formats.table import other_size, read_keypoints
from posegan.images import ImageError, decode_image, fit_keypoints, fit_person
from posegan.model.geometry import heatmaps


class PoseItem(NamedTuple):
    """One pair, ready for a network."""

    source_image: Tensor  # (3, H, W) float32 in [-1, 1]
    target_image: Tensor  # (3, H, W) float32 in [-1, 1]
    source_heatmap: Tensor  # (K, H, W) float32 in [0, 1]
    target_heatmap: Tensor  # (K, H, W) float32 in [0, 1]


class MarketPoseDataset(Dataset[PoseItem]):
    """The pairs of one split, item by item, straight from keypoints.parquet, pairs.parquet and raw.zip.

    For looking at the data, and for training loops of one's own through a plain `DataLoader`, with workers
    or without. Each item decodes two JPEGs and draws two stacks of heatmaps; `TrainStream` is many times faster.

    Args:
        keypoints: `keypoints.parquet`, with the 18 joints of every image.
        pairs: `pairs.parquet`.
        archive: `raw.zip`, which holds the images.
        image: the size that images are fitted to.
        sigma: width of a heatmap's peak in pixels.
        split: `train`, `val` or `test`.

    Raises:
        PoseGANError: a file is missing, is not such a table, or the split holds no pair.
    """

    def __init__(self, keypoints: Path, pairs: Path, archive: Path, image: ImageConfig, sigma: float = 6.0, split: str = "train") -> None:
        rows = _read_pairs(pairs)
        rows = rows.filter(pa.compute.equal(rows["split"], split))
        if not rows.num_rows:
            raise PoseGANError(f"{pairs}: holds no pair of split '{split}'; expected one of train, val, test that pairing filled")
        self.sources: list[str] = rows["source"].to_pylist()
        self.targets: list[str] = rows["target"].to_pylist()
        known = read_keypoints(keypoints)
        refuse_shares(str(keypoints), known.joints)
        self._row = {name: row for row, name in enumerate(known.table["image"].to_pylist())}
        self._keypoints = known.joints
        self._sizes = list(zip(known.table["width"].to_pylist(), known.table["height"].to_pylist(), strict=True))
        if unknown := {*self.sources, *self.targets} - self._row.keys():
            raise PoseGANError(f"{pairs}: names {len(unknown):,} images that {keypoints} lacks, such as {min(unknown)}; run pair again")
        self._image, self._sigma = image, sigma
        self._archive_path, self._archive, self._opened_by = archive, _open_archive(archive), os.getpid()

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> PoseItem:
        """Pair number `index`, in the order of pairs.parquet.

        Raises:
            PoseGANError: the archive lacks one of the two images, it cannot be decoded, or is of another size than the table says.
        """
        source, source_keypoints = self.fitted(self.sources[index])
        target, target_keypoints = self.fitted(self.targets[index])
        both = torch.stack([source_keypoints, target_keypoints])
        source_heatmap, target_heatmap = heatmaps(both, self._image.height, self._image.width, self._sigma)
        return PoseItem(to_float(source), to_float(target), source_heatmap, target_heatmap)

    def fitted(self, name: str) -> tuple[Tensor, Tensor]:
        """One image by its name in the archive: uint8 (3, H, W), and its keypoints (K, 3) in that frame; errors as `__getitem__`."""
        if self._opened_by != os.getpid():  # each process for itself: a file position shared after a fork would mix reads up
            self._archive, self._opened_by = _open_archive(self._archive_path), os.getpid()
        try:
            image = decode_image(self._archive.read(name))
        except KeyError:
            raise PoseGANError(f"{self._archive_path}: has no member {name}; run pose and pair again for this archive") from None
        except (ImageError, zipfile.BadZipFile) as error:
            raise PoseGANError(f"{self._archive_path}: {name}: {error}; run pose and pair again for this archive") from error
        row = self._row[name]
        joints, known = self._keypoints[row], self._sizes[row]
        if known != image.size and None not in known:
            raise other_size(str(self._archive_path), name, image.size, known)
        pixels, fit = fit_person(image, joints, self._image.height, self._image.width)
        keypoints = fit_keypoints(joints, fit)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), torch.from_numpy(keypoints)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None, "_opened_by": None}


def _read_pairs(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, columns=["source", "target", "split"])
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; run the pipeline (`dvc repro`) first") from None
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise PoseGANError(f"{path}: not a table of pairs ({str(error).splitlines()[0]}); run the pair stage again") from error


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; run the pipeline (`dvc repro`) first") from None
    except zipfile.BadZipFile as error:
        raise PoseGANError(f"{path}: not a zip archive ({error}); run the download stage again") from error
