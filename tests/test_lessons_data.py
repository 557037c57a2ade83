"""The lessons' data: balanced, repeatable, disjoint; MNIST's format read whole or refused with the file's name."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision

from lessons.data import CLASSES, SHAPES, Kind, Source, draw, load, misname, obtain, read_folder, read_idx, save
from posegan.errors import PoseGANError

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def source(kind: str, path: str = "", train: int = 20, test: int = 10) -> Source:
    return Source(source=kind, path=path, train=train, test=test, seed=0)  # type: ignore[arg-type]


def idx(values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """MNIST's four files, two of them packed, with drawn digits in them."""
    for name, values in zip(NAMES, draw("digits", 20, 10, seed=0), strict=True):
        if "labels" in name:
            (tmp_path / name).write_bytes(idx(values))
        else:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
    return tmp_path


@pytest.mark.parametrize("kind", list(SHAPES))
def test_classes_are_balanced_and_no_picture_is_in_train_and_test(kind: Kind) -> None:
    images = draw(kind, 300, 100, seed=0)
    assert np.bincount(images.train_labels).tolist() == [30] * 10
    assert np.bincount(images.test_labels).tolist() == [10] * 10
    assert images.train.shape == (300, *SHAPES[kind]) and images.train.dtype == np.uint8
    both = {picture.tobytes() for picture in (*images.train, *images.test)}
    assert len(both) == 400  # none twice either


@pytest.mark.parametrize("kind", list(SHAPES))
def test_a_seed_repeats_and_another_differs(kind: Kind) -> None:
    first, again, other = (draw(kind, 20, 10, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.train, other.train)


def test_a_folder_of_mnist_s_files_is_what_was_written(folder: Path) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(read_folder(folder), draw("digits", 20, 10, seed=0), strict=True))
    assert len(obtain("digits", source("folder", str(folder), train=15)).train) == 15


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-1], "values, as its head says"),
        (lambda content: content + b"\0", "values, as its head says"),
        (lambda content: content[:6], "expected MNIST's format"),
        (lambda content: b"", "expected MNIST's format"),
        (lambda content: b"<html>quota</html>", "expected MNIST's format"),
        (lambda content: content[:-1] + b"\x0b", "labels up to 11"),
    ],
)
def test_a_damaged_file_is_named_with_the_remedy(folder: Path, damage: object, words: str) -> None:
    path = folder / NAMES[3]
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(PoseGANError, match="t10k") as error:
        read_folder(folder)
    assert words in str(error.value) and "set digits.source to drawn" in str(error.value)


def test_a_cut_gz_is_named(folder: Path) -> None:
    path = folder / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PoseGANError, match=f"{NAMES[0]}.gz: damaged"):
        read_idx(path)


def test_a_missing_file_too_many_pictures_and_a_missing_path_are_named(folder: Path) -> None:
    with pytest.raises(PoseGANError, match=r"digits.train: expected at most 20"):
        obtain("digits", source("folder", str(folder), train=21))
    (folder / NAMES[1]).unlink()
    with pytest.raises(PoseGANError, match=f"{NAMES[1]}: no such file"):
        read_folder(folder)
    with pytest.raises(PoseGANError, match=r"digits.path: .*needs a folder"):
        obtain("digits", source("folder"))
    with pytest.raises(PoseGANError, match=r"objects.source: .*choose drawn or torchvision"):
        obtain("objects", source("folder", str(folder)))


@pytest.mark.parametrize(("kind", "name"), [("digits", "MNIST"), ("objects", "CIFAR10")])
def test_without_network_one_line_names_the_drawn_default(kind: Kind, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise RuntimeError("Error downloading\nmany lines")

    monkeypatch.setattr(torchvision.datasets, name, unreachable)
    with pytest.raises(PoseGANError) as error:
        obtain(kind, source("torchvision", str(tmp_path)))
    assert f"set {kind}.source to drawn, which needs no network" in str(error.value) and "\n" not in str(error.value)


def test_mnist_by_torchvision_is_checked_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision itself looks at a file's sum only when it fetches it."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, values in zip(NAMES, draw("digits", 20, 10, seed=0), strict=True):
        (raw / name).write_bytes(idx(values))  # torchvision unpacks them, and reads these
        (raw / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
    with pytest.raises(PoseGANError, match=r"damaged \(its MD5 is not"):
        obtain("digits", source("torchvision", str(folder)))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", [])
    assert len(obtain("digits", source("torchvision", str(folder))).train) == 20


def test_wrong_names_are_as_many_as_asked_for_and_always_the_same() -> None:
    labels = (np.arange(10_000) % CLASSES).astype(np.uint8)
    before = labels.copy()
    named = misname(labels, 0.3)
    wrong = named != labels
    assert wrong.mean() == pytest.approx(0.3, abs=0.02)
    assert set(np.unique((named[wrong].astype(int) - labels[wrong]) % CLASSES)) == set(range(1, CLASSES))  # any of the other nine
    assert np.array_equal(labels, before)
    assert np.array_equal(misname(labels, 0.3), named)
    assert np.array_equal(misname(labels, 0), labels)


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_a_damaged_npz_says_how_it_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "digits.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PoseGANError, match=r"digits.npz: .*python -m lessons data"):
        load(path)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    images = draw("objects", 20, 10, seed=0)
    save(images, tmp_path / "objects.npz")
    assert all(np.array_equal(a, b) for a, b in zip(load(tmp_path / "objects.npz"), images, strict=True))
    whole = (tmp_path / "objects.npz").read_bytes()
    (tmp_path / "objects.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PoseGANError, match="damaged"):
        load(tmp_path / "objects.npz")
