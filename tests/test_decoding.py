import io
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from posegan.data.reader import AS_IT_IS, decode_images
from posegan.images import ImageError, decode_image, fit_image

HEIGHT, WIDTH = 64, 48


def encoded(mode: str = "RGB", format: str = "JPEG", size: tuple[int, int] = (WIDTH, HEIGHT), seed: int = 0, **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size).convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    return encoded(exif=exif)


PLAIN = {
    f"quality {quality}, subsampling {each}": encoded(quality=quality, subsampling=each) for quality in (30, 75, 95) for each in (0, 1, 2)
}
PLAIN |= {"progressive": encoded(progressive=True), "optimised": encoded(optimize=True), "grey": encoded("L")}
PLAIN |= {"restarts": encoded(restart_marker_rows=1)}
OTHER = {"CMYK": encoded("CMYK"), "turned": turned(), "PNG": encoded(format="PNG"), "grey PNG": encoded("L", "PNG")}
OTHER |= {"larger": encoded(size=(2 * WIDTH, 2 * HEIGHT)), "another shape": encoded(size=(50, 50)), "WebP": encoded(format="WEBP")}
OTHER |= {"something behind it": encoded() + b"trailing"}


@pytest.mark.parametrize("name", [*PLAIN, *OTHER])
def test_pixels_are_those_of_the_decoder_of_all_stages(name: str) -> None:
    data = {**PLAIN, **OTHER}[name]
    out = np.empty((1, 3, HEIGHT, WIDTH), np.uint8)
    (fit,) = decode_images([data], out)
    pixels, expected = fit_image(decode_image(data), HEIGHT, WIDTH)
    assert np.array_equal(out[0].transpose(1, 2, 0), pixels)
    assert fit == expected


@pytest.mark.parametrize("name", PLAIN)
def test_plain_jpegs_do_without_pillow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("posegan.data.reader.decode_image")
    assert decode_images([PLAIN[name]], np.empty((1, 3, HEIGHT, WIDTH), np.uint8)) == [AS_IT_IS]


def test_every_image_goes_to_its_own_row() -> None:
    files = [encoded(seed=1), OTHER["PNG"], encoded(seed=2), OTHER["larger"], encoded(seed=3)]
    together = np.empty((5, 3, HEIGHT, WIDTH), np.uint8)
    decode_images(files, together)
    for data, row in zip(files, together, strict=True):
        alone = np.empty((1, 3, HEIGHT, WIDTH), np.uint8)
        decode_images([data], alone)
        assert np.array_equal(alone[0], row)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", encoded()[:400], encoded()[:-200], encoded(format="PNG")[:100], b"text"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode_images([data], np.empty((1, 3, HEIGHT, WIDTH), np.uint8))


def test_headers_say_what_this_module_believes() -> None:
    assert simplejpeg.decode_jpeg_header(encoded("L")) == (HEIGHT, WIDTH, "Gray", "Gray")
    assert simplejpeg.decode_jpeg_header(encoded(subsampling=2)) == (HEIGHT, WIDTH, "YCbCr", "420")
