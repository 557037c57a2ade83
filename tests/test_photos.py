"""One photo of any format: what is kept byte for byte, what is turned, shrunk and stored anew."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.download.own_photos import store_photo
from posegan.images import ImageError, decode_image, photo_formats

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)).resize((40, 60))
LOSSLESS = ["BMP", "DDS", "DIB", "GIF", "ICO", "JPEG2000", "PCX", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP"]


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def difference(data: bytes, expected: Image.Image) -> float:
    return float(np.abs(np.asarray(decode_image(data), float) - np.asarray(expected, float)).mean())


@pytest.mark.parametrize(("form", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png")])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_upright_jpeg_or_png_that_is_small_enough_stays_byte_for_byte(form: str, suffix: str, mode: str) -> None:
    data = encoded(PICTURE.convert(mode), form)
    stored = store_photo(data, 60)
    assert (stored.data, stored.suffix, stored.size, stored.orientation) == (data, suffix, (40, 60), 1)
    assert store_photo(data, 59).data != data


@pytest.mark.parametrize("form", LOSSLESS)
def test_every_format_shows_the_same_picture(form: str) -> None:
    picture = PICTURE.resize((32, 32)) if form == "ICO" else PICTURE
    stored = store_photo(encoded(picture, form, **({"lossless": True} if form == "WEBP" else {})), 64)
    assert stored.suffix == ".jpg"
    assert difference(stored.data, picture) < (12 if form == "GIF" else 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_lying_photo_is_stored_upright(form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = store_photo(encoded(PICTURE.transpose(Image.Transpose.ROTATE_90), form, exif=exif, quality=95), 64)
    with Image.open(io.BytesIO(stored.data)) as image:
        assert image.size == PICTURE.size
        assert 0x0112 not in image.getexif()
    assert (stored.size, stored.orientation) == (PICTURE.size, 6)
    assert difference(stored.data, PICTURE) < 5


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK", "I;16", "F"])
def test_what_is_stored_is_rgb(mode: str) -> None:
    source = PICTURE.convert("L") if mode in ("I;16", "F") else PICTURE
    image = Image.fromarray(np.asarray(source).astype(np.uint16) * 257) if mode == "I;16" else source.convert(mode)
    stored = store_photo(encoded(image, "TIFF"), 64)
    with Image.open(io.BytesIO(stored.data)) as result:
        assert (result.format, result.mode) == ("JPEG", "RGB")
    if mode in ("I;16", "F"):
        assert difference(stored.data, source.convert("RGB")) < 3


@pytest.mark.parametrize(("size", "expected"), [((300, 100), (60, 20)), ((100, 300), (20, 60)), ((61, 61), (60, 60)), ((900, 2), (60, 1))])
def test_a_large_photo_is_shrunk_as_a_whole(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert decode_image(store_photo(encoded(PICTURE.resize(size), "PNG"), 60).data).size == expected


def test_of_an_animation_the_first_picture_is_taken() -> None:
    data = encoded(PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", PICTURE.size)])
    assert difference(store_photo(data, 64).data, PICTURE) < 12


def test_programs_are_no_photos() -> None:
    assert not {"EPS", "WMF"} & set(photo_formats())
    assert set(LOSSLESS) <= set(photo_formats())
    with pytest.raises(ImageError, match="a format that Pillow reads"):
        store_photo(encoded(PICTURE, "EPS"), 64)


@pytest.mark.parametrize("form", ["JPEG", "PNG", *LOSSLESS])
def test_a_damaged_file_is_refused_with_a_reason_or_stored(form: str) -> None:
    data = encoded(PICTURE.resize((32, 32)), form)
    rng, stored, refused = np.random.default_rng(1), 0, 0
    for trial in range(60):
        broken = bytearray(data[: rng.integers(len(data))]) if trial % 2 else bytearray(data)
        for _ in range(3 if broken else 0):
            broken[rng.integers(min(len(broken), 200))] ^= 1 << rng.integers(8)
        try:
            assert decode_image(store_photo(bytes(broken), 64).data).mode == "RGB"
            stored += 1
        except ImageError:
            refused += 1
    assert stored + refused == 60
    assert refused > 5
