"""Colours of 16 bits: whatever number of them a file uses, the picture is the one that grey files and arrays of these numbers give."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from pipeline.download.own_photos import store_photo
from posegan.images import ImageError, decode_image, eight_bits
from posegan.inference.picture_types import open_pictures
from posegan.people.detection import read_image
from posegan.photos import read_photo, upright_photo

Numbers = np.ndarray
RGB, GREY_ALPHA, RGBA = 2, 4, 6  # PNG's colour types
COMPRESSION = {"none": 1, "lzw": 5, "deflate": 8}


def numbers(bits: int, channels: int = 3) -> Numbers:
    return np.random.default_rng(bits).integers(0, 2**bits, (24, 20, channels)).astype(np.uint16)


def png(values: Numbers, colours: int, key: tuple[int, ...] = (), orientation: int = 1) -> bytes:
    """A PNG of 16 bits, which Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0))]
    parts += [chunk(b"tRNS", struct.pack(">HHH", *key))] if key else []
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    parts += [chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))] if orientation > 1 else []
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def by_opencv(values: Numbers, suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, values[..., ::-1], list(options))[1].tobytes()


def pixels(image: PIL.Image.Image) -> Numbers:
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_file_gives_what_its_numbers_give(bits: int, tmp_path: Path) -> None:
    values = numbers(bits)
    expected = pixels(open_pictures(values, "image")[0][0])
    files = {"a.png": png(values, RGB), "a.ppm": by_opencv(values, ".ppm")}
    files |= {f"{name}.tif": by_opencv(values, ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, way) for name, way in COMPRESSION.items()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert np.array_equal(pixels(read_image(tmp_path / name)), expected), name
        stored = decode_image(store_photo(data, 64).data)
        assert np.abs(pixels(stored) - expected).mean() < 6, name  # a JPEG of noise
        with PIL.Image.open(tmp_path / name) as opened:
            assert np.array_equal(pixels(open_pictures(opened, "image")[0][0]), expected), name
    assert expected.max() > 50  # 14 bits are taken for 16


def test_opacity_stays_and_has_its_own_bits() -> None:
    values, grey = numbers(12), numbers(12, 1)
    for opacity, clear in ((65_535, 0), (4_095, 0)):
        alpha = np.full((24, 20, 1), opacity, np.uint16)
        alpha[0] = clear
        whole = pixels(read_photo(png(np.concatenate([values, alpha], axis=2), RGBA)))
        assert (whole[0] == 255).all()
        assert np.array_equal(whole[1:], eight_bits(values[1:]))
        both = pixels(read_photo(png(np.concatenate([grey, alpha], axis=2), GREY_ALPHA)))
        assert np.array_equal(both[1:], np.repeat(eight_bits(grey[1:]), 3, axis=2))
    keyed = pixels(read_photo(png(values, RGB, key=tuple(values[2, 3].tolist()))))
    assert (keyed[2, 3] == 255).all()
    assert np.array_equal(keyed[5:], eight_bits(values[5:]))


def test_it_is_turned_as_its_exif_says() -> None:
    values = numbers(12)
    assert np.array_equal(pixels(read_photo(png(values, RGB, orientation=6))), np.rot90(eight_bits(values), -1))


def test_what_cannot_be_known_is_refused_and_not_black() -> None:
    """Once Pillow has loaded it, the lower bits are gone; of formats whose lower bytes it does not give, they never came."""
    with PIL.Image.open(io.BytesIO(png(numbers(12), RGB))) as image:
        image.load()
        with pytest.raises(ImageError, match="nothing in it is brighter than black: perhaps it keeps 12 bits in 16; save it with 8 bits"):
            upright_photo(image)
    text = b"P3 20 24 65535 " + b" ".join(b"%d" % number for number in numbers(12).ravel())
    with pytest.raises(ImageError, match="12 bits in 16"):
        read_photo(text)
    black = PIL.Image.new("RGB", (20, 24))
    assert upright_photo(black).getextrema() == ((0, 0),) * 3  # of no file


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of a TIFF that was cut
@pytest.mark.parametrize("cut", [30, 60, 400, -100])
def test_damage_is_said_as_of_any_image(cut: int) -> None:
    for data in (png(numbers(12), RGB), by_opencv(numbers(12), ".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 8), by_opencv(numbers(12), ".ppm")):
        with pytest.raises(ImageError):
            read_photo(data[:cut])


def test_the_size_is_checked_before_any_pixel() -> None:
    with pytest.raises(ImageError, match="more than the 100 allowed"):
        read_photo(png(numbers(12), RGB), 100)
