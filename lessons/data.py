"""Pictures to learn from: drawn ones, MNIST and CIFAR-10 by torchvision, or a folder of files in MNIST's own format.

All of one shape, whatever they show: uint8, `(n, 28, 28)` grey or `(n, 32, 32, 3)` RGB, with a label 0 ... 9 each.
"""

import gzip
import hashlib
import math
import zipfile
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lessons.drawing import DIGIT_SIDE, OBJECT_SIDE, draw_digits, draw_objects
from posegan.config import Positive, Section, Seed
from posegan.errors import PoseGANError
from posegan.files import atomic_path

Kind = Literal["digits", "objects"]
Bytes = npt.NDArray[np.uint8]
SHAPES: dict[Kind, tuple[int, ...]] = {"digits": (DIGIT_SIDE, DIGIT_SIDE), "objects": (OBJECT_SIDE, OBJECT_SIDE, 3)}
CLASSES = 10
_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class Images(NamedTuple):
    """Pictures `(n, h, w)` or `(n, h, w, 3)` and their labels `(n,)`: to learn from, and to be judged on."""

    train: Bytes
    train_labels: Bytes
    test: Bytes
    test_labels: Bytes


class Source(Section):
    """Where pictures of one kind come from; of a data set, its first `train` and `test` pictures are taken.

    source: `drawn` by this program, MNIST or CIFAR-10 by `torchvision`, or `folder` (digits only).
    path: the folder of MNIST's files, or the one that torchvision keeps its downloads in.
    """

    source: Literal["drawn", "torchvision", "folder"]
    path: str
    train: Positive
    test: Positive
    seed: Seed


def obtain(kind: Kind, source: Source) -> Images:
    """Draw, fetch or read.

    Raises:
        PoseGANError: no network, or a file that is missing or damaged; the message names the remedy.
    """
    if source.source == "drawn":
        return draw(kind, source.train, source.test, source.seed)
    if not source.path:
        raise PoseGANError(f"{kind}.path: {kind}.source is '{source.source}', which needs a folder here; or set {kind}.source to drawn")
    folder = Path(source.path).expanduser()
    if source.source == "torchvision":
        found = _fetch_mnist(folder) if kind == "digits" else _fetch_cifar(folder)
    elif kind == "digits":
        found = read_folder(folder)
    else:
        raise PoseGANError("objects.source: MNIST's format holds no colours; choose drawn or torchvision")
    for name, pictures, wanted in (("train", found.train, source.train), ("test", found.test, source.test)):
        if len(pictures) < wanted:
            raise PoseGANError(f"{kind}.{name}: expected at most {len(pictures)}, which is what {folder} has, got {wanted}")
    return Images(*(part[:wanted] for part, wanted in zip(found, np.repeat([source.train, source.test], 2), strict=True)))


def draw(kind: Kind, train: int, test: int, seed: int) -> Images:
    """Drawn pictures, as many of each class; those of train and test come from two streams of random numbers."""
    drawn: list[Bytes] = []
    for number, count in enumerate((train, test)):
        rng = np.random.default_rng([seed, list(SHAPES).index(kind), number])
        labels = rng.permutation(np.arange(count) % CLASSES).astype(np.uint8)
        drawn += [(draw_digits if kind == "digits" else draw_objects)(labels, rng), labels]
    return Images(*drawn)


def misname(labels: Bytes, share: float) -> Bytes:
    """The labels `(n,)`, a random `share` of them another class's; always the same ones, whatever the seed of a network."""
    rng, named = np.random.default_rng(0), labels.copy()
    wrong = rng.random(len(labels)) < share
    named[wrong] = (labels[wrong] + rng.integers(1, CLASSES, wrong.sum())) % CLASSES
    return named


def save(images: Images, path: Path) -> None:
    """As one .npz, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **images._asdict())


def load(path: Path) -> Images:
    """What `save` wrote."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            return Images(*(file[name] for name in Images._fields))
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; make it with `python -m lessons data`") from None
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise PoseGANError(f"{path}: damaged ({error}); remove it and run `python -m lessons data`") from error


def read_folder(folder: Path) -> Images:
    """The four files of MNIST's format (Fashion-MNIST's too), each plain or as .gz."""
    return Images(*_checked([read_idx(_present(folder, name)) for name in _FILES], folder))


def read_idx(path: Path) -> Bytes:
    """One file of that format: two zero bytes, the type (8: bytes), the number of axes, their lengths (big-endian), the values."""
    remedy = "fetch it again, or set digits.source to drawn"
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise PoseGANError(f"{path}: damaged ({error}); {remedy}") from error
    axes = content[3] if len(content) > 3 and content[:3] == b"\0\0\x08" else 0
    if axes not in (1, 3) or len(content) < 4 + 4 * axes:
        raise PoseGANError(f"{path}: expected MNIST's format (IDX of bytes), got bytes that begin with {content[:4].hex()}; {remedy}")
    shape = tuple(int(side) for side in np.frombuffer(content, ">u4", axes, 4))
    if len(content) != 4 + 4 * axes + math.prod(shape):
        raise PoseGANError(f"{path}: expected {math.prod(shape)} values, as its head says, got {len(content) - 4 - 4 * axes}; {remedy}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _present(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise PoseGANError(f"{folder / name}: no such file, and none with .gz; put MNIST's four files there, or set digits.source to drawn")


def _checked(parts: list[Bytes], folder: Path) -> list[Bytes]:
    for name, pictures, labels in (("train", parts[0], parts[1]), ("t10k", parts[2], parts[3])):
        if pictures.shape[1:] != SHAPES["digits"] or labels.shape != pictures.shape[:1] or labels.max(initial=0) >= CLASSES:
            raise PoseGANError(
                f"{folder}/{name}-*: expected pictures of 28 x 28 and as many labels from 0 to 9, got {pictures.shape} and {labels.shape}, "
                f"labels up to {labels.max(initial=0)}; fetch them again, or set digits.source to drawn"
            )
    return parts


def _fetch_mnist(folder: Path) -> Images:
    """torchvision fetches; what lies there is checked each time, since torchvision does so only after a download."""
    from torchvision.datasets import MNIST

    try:
        MNIST(folder, download=True)
    except (OSError, RuntimeError) as error:
        raise _unreachable("digits", folder, error) from error
    raw = folder / "MNIST" / "raw"
    for name, md5 in MNIST.resources:
        path = _present(raw, name.removesuffix(".gz")).with_name(name)
        if not path.is_file() or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
            raise PoseGANError(f"{path}: damaged (its MD5 is not {md5}); remove {raw} and run again, or set digits.source to drawn")
    return Images(*_checked([read_idx(raw / f"{name}.gz") for name in _FILES], raw))


def _fetch_cifar(folder: Path) -> Images:
    """torchvision compares every file with its MD5 whenever it reads one."""
    from torchvision.datasets import CIFAR10

    try:
        parts = [CIFAR10(folder, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise _unreachable("objects", folder, error) from error
    return Images(*(part for data in parts for part in (np.asarray(data.data, np.uint8), np.asarray(data.targets, np.uint8))))


def _unreachable(kind: Kind, folder: Path, error: Exception) -> PoseGANError:
    reason = str(error).splitlines()[0]
    return PoseGANError(f"{kind}: could not be fetched into {folder} ({reason}); set {kind}.source to drawn, which needs no network")
