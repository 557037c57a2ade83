"""Broken and hostile images and archives, made here: fixed cases with what must become of each, and seeded mutations."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 12, 24
TRAIN, TEST = "bounding_box_train", "bounding_box_test"


class Picture(NamedTuple):
    """An image file and its fate: `used`, `unreadable` or `too_large`."""

    data: bytes
    fate: str


class Packed(NamedTuple):
    """An archive and its fate: how many images must come out of it, or None where it must be refused whole."""

    data: bytes
    images: int | None


def photo(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(1, 256, (4, 2, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height))


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def pictures() -> dict[str, Picture]:
    """The corpus of images, by what is odd about them; every one that can be shown is `WIDTH` x `HEIGHT` upright."""
    jpeg, frames = encoded(photo()), [photo(1), photo(2)]
    palette = photo().quantize(16)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    claimed = {name: _claims(name, 60_000, 60_000) for name in ("PNG", "JPEG", "BMP")}
    return {
        "plain": Picture(jpeg, "used"),
        "no_bytes": Picture(b"", "unreadable"),
        "cut_in_the_header": Picture(jpeg[:60], "unreadable"),
        "cut_in_the_pixels": Picture(jpeg[:-40], "unreadable"),
        "cut_png": Picture(encoded(photo(), "PNG")[:-30], "unreadable"),
        "text": Picture(b"<html>Quota exceeded</html>", "unreadable"),
        "zeros": Picture(bytes(4096), "unreadable"),
        "zip_inside": Picture(zipped({"a.jpg": jpeg}), "unreadable"),
        "png_called_jpg": Picture(encoded(photo(), "PNG"), "used"),
        "gif_called_jpg": Picture(encoded(palette, "GIF"), "unreadable"),
        "bytes_after_the_end": Picture(jpeg + b"PK\x03\x04" + bytes(1000), "used"),
        "cmyk": Picture(encoded(photo().convert("CMYK")), "used"),
        "grey": Picture(encoded(photo().convert("L")), "used"),
        "two_colours": Picture(encoded(photo().convert("1"), "PNG"), "used"),
        "sixteen_bit": Picture(encoded(Image.fromarray(np.arange(288, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 227), "PNG"), "used"),
        "palette": Picture(encoded(palette, "PNG"), "used"),
        "palette_with_a_clear_colour": Picture(encoded(palette, "PNG", transparency=0), "used"),
        "palette_without_colours": Picture(_chunk_renamed(encoded(palette, "PNG"), b"PLTE", b"pLTe"), "used"),
        "turned_by_exif": Picture(encoded(photo(width=HEIGHT, height=WIDTH), exif=exif), "used"),
        "exif_of_noise": Picture(encoded(photo(), exif=b"Exif\0\0" + bytes(np.random.default_rng(0).bytes(200))), "used"),
        "animated_png": Picture(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]), "used"),
        "animated_webp": Picture(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), "used"),
        **{f"claims_60000_squared_{name}": Picture(data, "too_large") for name, data in claimed.items()},
        "claims_100_megapixels": Picture(_claims("PNG", 10_000, 10_000), "too_large"),
        "no_width": Picture(_claims("PNG", 0, 10), "unreadable"),
    }


def archives() -> dict[str, Packed]:
    """The corpus of archives; `good` is Market-1501's layout, and the others are it with one thing wrong."""
    good = market()
    link, hard, device, pipe = (_special(kind) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE))
    name = f"{TRAIN}/0002_c1s1_000001_01.jpg"
    bomb = {**good, f"{TRAIN}/0002_c1s1_000009_01.jpg": bytes(20 << 20)}
    odd = {f"{TRAIN}/\uff10\uff10\uff10\uff12_c1s1_000001_01.jpg": good[name], f"{TRAIN}/人 é\u0301 \U0001f600.jpg": good[name]}
    return {
        "zip": Packed(zipped(good), len(good)),
        "stored_zip": Packed(zipped(good, zipfile.ZIP_STORED), len(good)),
        "tar": Packed(tarred(good), len(good)),
        "tar_gz": Packed(gzip.compress(tarred(good), mtime=0), len(good)),
        "zip_with_dots": Packed(zipped({**good, "../../escaped.jpg": b"x"}), None),
        "zip_with_dots_within": Packed(zipped({**good, f"{TRAIN}/../../escaped.jpg": b"x"}), None),
        "zip_with_an_absolute_name": Packed(zipped({**good, "/tmp/escaped.jpg": b"x"}), None),
        "zip_with_backslashes": Packed(zipped({**good, "..\\..\\escaped.jpg": b"x"}), len(good)),
        "zip_with_a_drive": Packed(zipped({**good, "C:\\escaped.jpg": b"x"}), len(good)),
        "zip_with_a_link": Packed(zipped(good, links={"escape.jpg": "/etc/passwd"}), None),
        "zip_with_a_name_twice": Packed(_twice(good, name), None),
        "zip_of_a_bomb": Packed(zipped(bomb), None),
        "zip_of_odd_letters": Packed(zipped({**good, **odd}), len(good) + 2),
        "zip_with_a_control_character": Packed(zipped({**good, f"{TRAIN}/a\x1b[2J.jpg": good[name]}), None),
        "zip_with_a_surrogate_in_a_tar": Packed(tarred({**good, f"{TRAIN}/\udcff.jpg": good[name]}), None),
        "zip_with_a_zip": Packed(zipped({**good, "more.zip": zipped(good)}), len(good)),
        "zip_of_only_a_zip": Packed(zipped({"market.zip": zipped(good)}), None),
        "tar_with_dots": Packed(tarred({**good, "../escaped.jpg": b"x"}), None),
        "tar_with_an_absolute_name": Packed(tarred({**good, "/tmp/escaped.jpg": b"x"}), None),
        "tar_with_a_name_twice": Packed(tarred(good, _regular(name)), None),
        "tar_with_a_link": Packed(tarred(good, link), None),
        "tar_with_a_hard_link": Packed(tarred(good, hard), None),
        "tar_with_a_device": Packed(tarred(good, device), None),
        "tar_with_a_pipe": Packed(tarred(good, pipe), None),
        "tar_gz_of_a_bomb": Packed(gzip.compress(bytes(300 << 20), 9, mtime=0), None),
        "no_bytes": Packed(b"", None),
        "text": Packed(b"<html>Quota exceeded</html>", None),
        "cut_zip": Packed(zipped(good)[:-100], None),
        "cut_tar": Packed(tarred(good)[:2000], None),
        "zip_behind_a_page": Packed(b"<html>" + zipped(good), None),
    }


def market() -> dict[str, bytes]:
    """A tiny Market-1501 with one broken image and one strange name in it."""
    folders = [(TRAIN, 2), (TRAIN, 7), (TEST, 1), ("query", 1)]
    images = {f"{folder}/{identity:04d}_c1s1_{identity:06d}_01.jpg": encoded(photo(identity)) for folder, identity in folders}
    first = encoded(photo(2))
    return images | {f"{TRAIN}/0002_c1s1_000001_01.jpg": first, f"{TEST}/0001_c2s1_000003_01.jpg": first[:99], f"{TEST}/me.png": first}


def zipped(contents: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED, links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in contents.items():
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.compress_type = compression
            archive.writestr(member, data)
        for name, target in (links or {}).items():
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.external_attr = 0o120777 << 16
            archive.writestr(member, target)
    return buffer.getvalue()


def tarred(contents: dict[str, bytes], *special: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", errors="surrogateescape") as archive:
        for name, data in contents.items():
            member = _regular(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in special:
            archive.addfile(member)
    return buffer.getvalue()


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """One to four wounds at random places: bits, bytes, sizes, cuts, blocks moved, doubled or blanked."""
    wounds: list[Callable[[bytearray, int, np.random.Generator], None]] = [_flip, _byte, _number, _cut, _double, _drop, _blank]
    broken = bytearray(data)
    for wound in random.choice(len(wounds), random.integers(1, 5), p=[0.25, 0.2, 0.2, 0.05, 0.1, 0.1, 0.1]):
        if broken:
            wounds[wound](broken, int(random.integers(len(broken))), random)
    return bytes(broken)


def mutated_image(form: str, data: bytes, random: np.random.Generator) -> bytes:
    """As `mutated`; half of the PNGs get their checksums right again, so that the wound is not seen at the door."""
    broken = mutated(data, random)
    return _png_mended(broken) if form == "PNG" and random.random() < 0.5 else broken


def mutated_archive(data: bytes, random: np.random.Generator) -> bytes:
    """As `mutated`; a tar.gz is wounded inside or outside, and half of the tars get their headers' checksums right again."""
    if data.startswith(b"\x1f\x8b") and random.random() < 0.5:
        return gzip.compress(mutated_archive(gzip.decompress(data), random), 1, mtime=0)
    broken = mutated(data, random)
    return _tar_mended(broken) if data[257:262] == b"ustar" and random.random() < 0.5 else broken


def _flip(data: bytearray, place: int, random: np.random.Generator) -> None:
    data[place] ^= 1 << int(random.integers(8))


def _byte(data: bytearray, place: int, random: np.random.Generator) -> None:
    data[place] = int(random.integers(256))


def _number(data: bytearray, place: int, random: np.random.Generator) -> None:
    number = int(random.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
    data[place : place + 4] = struct.pack(str(random.choice(["<I", ">I"])), number)


def _cut(data: bytearray, place: int, random: np.random.Generator) -> None:
    del data[place:]


def _double(data: bytearray, place: int, random: np.random.Generator) -> None:
    data[place:place] = data[place : place + int(random.integers(1, 600))]


def _drop(data: bytearray, place: int, random: np.random.Generator) -> None:
    del data[place : place + int(random.integers(1, 600))]


def _blank(data: bytearray, place: int, random: np.random.Generator) -> None:
    end = min(len(data), place + int(random.integers(1, 600)))
    data[place:end] = bytes([int(random.choice([0, 255]))]) * (end - place)


def _png_mended(data: bytes) -> bytes:
    mended, place = bytearray(data), 8
    while place + 12 <= len(mended):
        end = place + 8 + int.from_bytes(mended[place : place + 4], "big")
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(mended[place + 4 : end]))
        place = end + 4
    return bytes(mended)


def _tar_mended(data: bytes) -> bytes:
    mended = bytearray(data)
    for place in range(0, len(mended) - 511, 512):
        if mended[place + 257 : place + 262] == b"ustar":
            mended[place + 148 : place + 156] = b" " * 8
            mended[place + 148 : place + 156] = b"%06o\0 " % sum(mended[place : place + 512])
    return bytes(mended)


def _claims(form: str, width: int, height: int) -> bytes:
    """A small file whose header claims a size that its pixels do not have."""
    data = bytearray(encoded(photo(), form))
    if form == "PNG":
        data[16:24] = struct.pack(">II", width, height)
        return _png_mended(bytes(data))
    if form == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    else:
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _chunk_renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    return _png_mended(data.replace(old, new))


def _twice(contents: dict[str, bytes], name: str) -> bytes:
    """A zip with one name twice; made under another name of its length, since zipfile warns."""
    other = name[:-5] + "X" + name[-4:]
    return zipped({**contents, other: b"another"}).replace(other.encode(), name.encode())


def _regular(name: str) -> tarfile.TarInfo:
    return tarfile.TarInfo(name)


def _special(kind: bytes) -> tarfile.TarInfo:
    member = _regular(f"{TRAIN}/0002_c1s1_000008_01.jpg")
    member.type, member.linkname = kind, "../../../../etc/passwd"
    return member
