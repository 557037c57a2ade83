"""Samples read together, and those of their images decoded that are asked for, by several threads.

libjpeg-turbo decodes where an image needs nothing else, Pillow all others: both give the same pixels (a test compares), and straight
into place, without Pillow's objects, takes a third of the time.

NumPy throughout, since a torch operation in a reading thread would open a second pool of OpenMP threads; from then on there are
more of them than cores, they stop spinning between operations, and a training step on the CPU takes a third longer.

Legend: V samples, N images of these, U of the N that are decoded, n of one sample, H and W height and width in pixels, K = 18 joints.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from posegan.config import ImageConfig
from posegan.data.index import CorruptSampleError, Samples, ShardIndex
from posegan.data.packed_tar import Sample, StoredSample
from posegan.images import Fit, ImageError, decode_image, fit_image, fit_keypoints
from posegan.skeleton import JOINT_COUNT

AS_IT_IS = Fit(1.0, 0.0, 0.0)
_PLAIN = {("YCbCr", "444"), ("YCbCr", "422"), ("YCbCr", "420"), ("Gray", "Gray")}


def decode_images(files: list[bytes], out: npt.NDArray[np.uint8]) -> list[Fit]:
    """Decode `files` into `out` (n, 3, H, W), fitted to its size; returns how each was fitted.

    Raises:
        ImageError: one of them is no image.
    """
    pixels = np.empty((*out.shape[2:], 3), np.uint8)  # one for all, so that it stays in the processor's cache
    return [_decode(data, pixels, planes) for data, planes in zip(files, out, strict=True)]


def _decode(data: bytes, pixels: npt.NDArray[np.uint8], planes: npt.NDArray[np.uint8]) -> Fit:
    if _decode_jpeg(data, pixels):
        cv2.split(pixels, list(planes))  # a fifth of the time of a NumPy transpose
        return AS_IT_IS
    height, width = pixels.shape[:2]
    fitted, fit = fit_image(decode_image(data), height, width)
    planes[:] = fitted.transpose(2, 0, 1)
    return fit


def _decode_jpeg(data: bytes, pixels: npt.NDArray[np.uint8]) -> bool:
    """Decode into `pixels` if that is all there is to do; whatever else it is, Pillow decides."""
    if not data.startswith(b"\xff\xd8\xff") or b"Exif\0" in data:  # may have to be turned
        return False
    try:
        height, width, colours, subsampling = simplejpeg.decode_jpeg_header(data)
        if (height, width) != pixels.shape[:2] or (colours, subsampling) not in _PLAIN:
            return False
        simplejpeg.decode_jpeg(data, "RGB", buffer=pixels)
    except ValueError:
        return False
    return True


Ints = npt.NDArray[np.int64]


class Skipped:
    """The samples that could not be used, each once; true where there is one."""

    def __init__(self) -> None:
        self._samples: dict[str, Sample] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples.values())

    def add(self, sample: Sample) -> None:
        """Take note of a sample."""
        self._samples[f"{sample.shard}/{sample.key}"] = sample

    @property
    def names(self) -> list[str]:
        """Of each sample the shard and the key, sorted."""
        return sorted(self._samples)

    def update(self, other: "Skipped") -> None:
        """Take note of all that `other` has."""
        self._samples |= other._samples

    def summary(self) -> str:
        """One line: how many, and the first of them by name."""
        samples = [self._samples[name] for name in self.names]
        named = ", ".join(f"identity {sample.identity} in {sample.shard}" for sample in samples[:5])
        images, pairs = sum(sample.images for sample in samples), sum(sample.pairs for sample in samples)
        count = f"{len(samples):,} damaged sample{'s' if len(samples) > 1 else ''}"
        return f"{count} ({images:,} images, {pairs:,} pairs): {named}{', ...' if len(samples) > 5 else ''}"


def merged(parts: Iterable[Skipped]) -> Skipped:
    """What any of them has."""
    whole = Skipped()
    for part in parts:
        whole.update(part)
    return whole


class Pool(NamedTuple):
    """Decoded images."""

    images: npt.NDArray[np.uint8]  # (U, 3, H, W)
    keypoints: npt.NDArray[np.float32]  # (U, K, 3)
    names: list[str]


class Reader:
    """Reads samples of one split.

    Args:
        index: the shards.
        samples: the split's.
        image: the size that images are fitted to.
        threads: what reads and decodes; how many there are changes nothing but the time.
        skipped: takes note of damaged samples; where it is None they are errors.
    """

    def __init__(self, index: ShardIndex, samples: Samples, image: ImageConfig, threads: Executor, skipped: Skipped | None) -> None:
        self._index, self._samples, self._image, self._threads, self._skipped = index, samples, image, threads, skipped

    def read(self, rows: Ints) -> list[StoredSample | None]:
        """The samples in `rows` (V,), undecoded; None for one that is skipped.

        Raises:
            PoseGANError: a sample is damaged and damage is an error, or its shard is missing; names the shard and the identity.
        """
        self._index.fetch(self._samples, rows)
        return list(self._threads.map(self._read, rows.tolist()))

    def decode(self, samples: Ints, stored: Sequence[StoredSample | None], images: Ints | None = None) -> Pool:
        """Of the samples in rows `samples`, read as `stored`, the `images` (U,), ascending positions of their N; all N when None.

        Raises:
            PoseGANError: bytes that have the index's hash are no image; names the shard and the identity.
        """
        ends = image_ends(stored)
        images = np.arange(ends[-1]) if images is None else images
        pixels = np.empty((len(images), 3, self._image.height, self._image.width), np.uint8)
        keypoints, names = np.empty((len(images), JOINT_COUNT, 3), np.float32), [""] * len(images)

        def decode_one(number: int, first: int, stop: int) -> None:
            sample = stored[number]
            if sample is None or first == stop:
                return
            rows = images[first:stop] - (ends[number] - len(sample.names))
            try:
                fits = decode_images([sample.files[row] for row in rows], pixels[first:stop])
            except ImageError as error:
                about = self._samples[int(samples[number])]
                where = f"{about.shard}: identity {about.identity} (sample {about.key})"
                raise CorruptSampleError(f"{where} holds something else than images: {error}; run the shard stage again") from error
            keypoints[first:stop] = fit_keypoints(sample.keypoints[rows], AS_IT_IS)
            for place, fit in enumerate(fits, first):
                if fit != AS_IT_IS:
                    keypoints[place] = fit_keypoints(sample.keypoints[rows[place - first]], fit)
            names[first:stop] = [sample.names[row] for row in rows]

        stops = np.searchsorted(images, ends).tolist()
        list(self._threads.map(decode_one, range(len(stored)), [0, *stops[:-1]], stops))
        return Pool(pixels, keypoints, names)

    def _read(self, row: int) -> StoredSample | None:
        sample = self._samples[row]
        try:
            return self._index.read(sample)
        except CorruptSampleError:
            if self._skipped is None:
                raise
            self._skipped.add(sample)
            return None


def image_ends(stored: Sequence[StoredSample | None]) -> Ints:
    """One past the last of each sample's images, laid end to end (V,); a sample that is skipped has none."""
    return np.cumsum([0 if sample is None else len(sample.names) for sample in stored])
