"""Pictures that are almost the same: a perceptual hash of each, and a search that finds every pair of near hashes.

The hash is imagehash's pHash of 16 x 16: the lowest frequencies of the cosine transform of the grey picture at 64 x 64 pixels, each
above their median or not. What a copy goes through (another JPEG, another size, other brightness) turns few of its 256 bits.
docs/annotations.md has the distances that were measured, and with them why `NEAR` is 40.

Legend: N pictures, P pairs.
"""

import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import NamedTuple

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from pipeline.raw_archive import read_member
from posegan.errors import PoseGANError
from posegan.images import decode_image

SIDE = 16  # of the square of frequencies; 8, as usual, tells crops of two people apart badly: both stand upright in the middle
BITS = SIDE * SIDE
NEAR = 40  # bits; copies are nearer, and crops of two people were never nearer than 61
_WORDS = BITS // 64
_ROWS, _COLUMNS = 128, 512  # hashes against hashes: what is made of a block of them fits into a core's cache
_READ_TOGETHER = 512  # pictures

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


class Near(NamedTuple):
    """Pairs of near hashes."""

    first: Ints  # (P,) positions, each smaller than its `second`
    second: Ints  # (P,)
    apart: Ints  # (P,) bits in which they differ


def perceptual_hash(image: Image.Image) -> Hashes:
    """The hash of a picture, (4,): 256 bits."""
    found: Hashes = np.packbits(imagehash.phash(image, SIDE).hash).view(np.uint64)
    return found


def hash_members(archive: zipfile.ZipFile, members: Sequence[str]) -> tuple[Hashes, Ints]:
    """The hashes (N, 4) of the members of raw.zip that can be read, on all cores, and their positions (N,) in `members`."""

    def hashed(data: bytes) -> Hashes | None:
        try:
            return perceptual_hash(decode_image(data))
        except PoseGANError:  # the pose stage has its reason
            return None

    found: list[Hashes | None] = []
    with ThreadPoolExecutor(cpu_count()) as threads, tqdm(total=len(members), desc="hashes", unit="image", disable=None) as bar:
        for start in range(0, len(members), _READ_TOGETHER):
            here = members[start : start + _READ_TOGETHER]
            found += threads.map(hashed, [_read(archive, member) for member in here])
            bar.update(len(here))
    there = [position for position, each in enumerate(found) if each is not None]
    return np.array([found[position] for position in there], np.uint64).reshape(-1, _WORDS), np.array(there, np.int64)


def near_pairs(hashes: Hashes, most: int = NEAR) -> Iterator[Near]:
    """All pairs of `hashes` (N, 4) that differ in at most `most` bits, some at a time, in the order of their first.

    Every hash meets every other one: N squared over two comparisons, some seconds for Market-1501's 32,668 images.
    Half of the bits decide for all but one pair in thousands; only the rest is compared in full.
    """
    for top in range(0, len(hashes), _ROWS):
        for left in range(top, len(hashes), _COLUMNS):
            rows, columns = hashes[top : top + _ROWS], hashes[left : left + _COLUMNS]
            half = sum(np.bitwise_count(rows[:, None, word] ^ columns[None, :, word]) for word in range(_WORDS // 2))
            first, second = np.nonzero(half <= most)
            ahead = first + top < second + left  # each pair once
            first, second = first[ahead], second[ahead]
            apart = np.bitwise_count(rows[first] ^ columns[second]).sum(axis=1, dtype=np.int64)
            near = apart <= most
            if near.any():
                yield Near(first[near] + top, second[near] + left, apart[near])


def _read(archive: zipfile.ZipFile, member: str) -> bytes:
    try:
        return read_member(archive, member)
    except (KeyError, PoseGANError):  # not in this archive, or damaged
        return b""
