import gzip
import hashlib
import io
import tarfile
import zlib

import numpy as np
import pytest

from posegan.data.packed_tar import PackedTar, Span
from tests.support.small_market import jpeg

NOISE = np.random.default_rng(0).bytes(5000)
SAMPLES = [
    [("a.json", b'{"images": []}'), ("a.keypoints.npy", b"\x93NUMPY" + NOISE), ("a.000.jpg", jpeg(0)), ("a.001.jpg", jpeg(1))],
    [
        ("b.json", b"{}"),
        ("b.000.png", b"\x89PNG" + NOISE),
        ("b.001.jpg", jpeg(2)[:300]),
        ("b.002.jpg", b""),
        ("b.003.jpg", b"\xff\xd8\xff"),
    ],
    [("c.000.jpg", b"\xff\xd8" + b"\xff\xe0\0\x10" + bytes(512 - 6))],  # of whole blocks: no padding
]


def packed(samples: list[list[tuple[str, bytes]]]) -> tuple[bytes, list[Span]]:
    file = io.BytesIO()
    tar = PackedTar(file)
    spans = [tar.add(members) for members in samples]
    tar.close()
    assert tar.size == len(file.getvalue())
    return file.getvalue(), spans


@pytest.mark.parametrize("mode", ["r:gz", "r|*"])
def test_any_program_reads_it_as_a_tar_gz(mode: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(SAMPLES)[0]), mode=mode) as tar:  # type: ignore[call-overload]
        found = [(member, tar.extractfile(member).read()) for member in tar]
    assert [(member.name, data) for member, data in found] == [member for members in SAMPLES for member in members]
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member, _ in found} == {(0, 0, 0, "posegan", 0o644)}


def test_a_sample_is_inflated_from_its_place_alone() -> None:
    content, spans = packed(SAMPLES)
    whole = gzip.decompress(content)
    start = 0
    for span in spans:
        part = content[span.offset : span.offset + span.size]
        assert hashlib.sha256(part).hexdigest() == span.sha256
        assert zlib.decompressobj(-15).decompress(part) == whole[start : start + span.unpacked]
        start += span.unpacked
    assert whole[start:] == bytes(1024)


def test_samples_lie_end_to_end_between_a_gzip_header_and_trailer() -> None:
    content, spans = packed(SAMPLES)
    ends = [10, *(span.offset + span.size for span in spans)]
    assert [span.offset for span in spans] == ends[:-1]
    assert ends[-1] < len(content) - 8


def test_the_same_samples_give_the_same_bytes() -> None:
    assert packed(SAMPLES) == packed(SAMPLES)


def test_coded_pixels_are_passed_on_and_what_images_repeat_is_not() -> None:
    images = [jpeg(number, 128, 64) for number in range(16)]
    tables = len(images[0]) - (len(images[0]) - images[0].index(b"\xff\xda"))
    content, _ = packed([[(f"a.{number:03d}.jpg", data) for number, data in enumerate(images)]])
    scans = sum(len(data) - tables for data in images)
    assert all(data[data.index(b"\xff\xda") :] in content for data in images)
    assert scans < len(content) < scans + tables + 16 * 100  # 100 bytes an image instead of 600 of tables and 770 of tar
