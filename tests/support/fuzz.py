"""Mutated images and archives by the thousand: `python -m tests.support.fuzz`, or fewer by --images and --archives.

The ordinary tests do a few hundred of the same (test_hostile.py). Everything happens in one temporary folder. The
script ends with an error at the first thing that is neither used nor refused with a reason, at a file where none
should be, and when its memory passes 1 GB.
"""

import argparse
import resource
import shutil
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from pipeline.download.stage import from_archive
from pipeline.pose.rows import annotate_archive, keypoints_table
from pipeline.raw_archive import image_members, open_archive
from posegan.errors import PoseGANError
from tests.support import hostile

MEMORY = 1_000_000_000  # bytes
BLOCK = 500  # mutated images an archive
FORMS = ("JPEG", "PNG", "WEBP", "BMP")


def check_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if peak > MEMORY:
        raise MemoryError(f"{peak:,} bytes")
    return peak


def statuses(raw: Path) -> Counter[str]:
    """Statuses of the rows of a raw.zip, one a member, each with its reason."""
    with open_archive(raw) as archive:
        members = [member for member, _ in image_members(archive)]
        table = keypoints_table(list(annotate_archive(archive, {})))
    if table["image"].to_pylist() != members or not all(table["detail"].to_pylist()):
        raise AssertionError(f"{len(members)} images, {table.num_rows} rows, or a row without a reason")
    return Counter(table["status"].to_pylist())


def bases() -> list[tuple[str, bytes]]:
    plain = [(form, hostile.encoded(hostile.photo(), form)) for form in FORMS]
    odd = [picture.data for picture in hostile.pictures().values() if picture.data]
    return plain * 4 + [("PNG" if data[1:4] == b"PNG" else "", data) for data in odd]


def fuzz_images(count: int, folder: Path, random: np.random.Generator) -> Counter[str]:
    originals, fates = bases(), Counter[str]()
    for start in range(0, count, BLOCK):
        chosen = random.integers(len(originals), size=min(BLOCK, count - start))
        images = [hostile.mutated_image(*originals[number], random) for number in chosen]
        names = [f"{hostile.TRAIN}/0002_c1s1_{number:06d}_01.jpg" for number in range(len(images))]
        (folder / "raw.zip").write_bytes(hostile.zipped(dict(zip(names, images, strict=True))))
        fates.update(statuses(folder / "raw.zip"))
        check_memory()
    if fates.total() != count:
        raise AssertionError(f"{count} images went in, {fates.total()} came out")
    return fates


def fuzz_archives(count: int, folder: Path, random: np.random.Generator) -> Counter[str]:
    originals = [packed.data for packed in hostile.archives().values() if 1000 < len(packed.data) < 100_000]
    source, raw, fates = folder / "target" / "source", folder / "target" / "raw.zip", Counter[str]()
    source.parent.mkdir()
    for number in range(count):
        source.write_bytes(hostile.mutated_archive(originals[random.integers(len(originals))], random))
        try:
            images = from_archive(source, raw, "").images
        except PoseGANError:
            fates["refused"] += 1
        else:
            if statuses(raw).total() != images:
                raise AssertionError(f"archive {number}: {images} images, {statuses(raw)}")
            fates["used"] += 1
            fates["images of used ones"] += images
        if number % 1000 == 0:
            check_memory()
            check_files(folder, {"raw.zip", "target/source", "target/raw.zip"})
    return fates


def check_files(folder: Path, allowed: set[str]) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if found - allowed:
        raise AssertionError(f"files where none should be: {sorted(found - allowed)[:5]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--archives", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's and zipfile's remarks on what they read
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="posegan-fuzz-", dir=memory if memory.is_dir() else None))
    try:
        for what, fuzz, count in (("images", fuzz_images, chosen.images), ("archives", fuzz_archives, chosen.archives)):
            started = time.process_time()
            fates = fuzz(count, folder, np.random.default_rng(chosen.seed))
            shown = ", ".join(f"{number:,} {fate}" for fate, number in sorted(fates.items()))
            print(f"{count:,} {what}: {shown}; {time.process_time() - started:.0f} s of CPU", flush=True)
        check_files(folder, {"raw.zip", "target/source", "target/raw.zip"})
        print(f"peak memory {check_memory() / 1e6:.0f} MB")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
