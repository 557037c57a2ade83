"""A small Market-1501 of random crops, and the tables and shards that the stages make of it, without a detector."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.pair.stage import make_pairs
from pipeline.pose.rows import estimate_archive, keypoints_table
from pipeline.shard.stage import make_shards
from pipeline.tables import write_table
from posegan.config import ImageConfig, PairConfig, ShardConfig
from posegan.formats.table import read_keypoints
from posegan.people.estimator import PersonPose

HEIGHT, WIDTH = 64, 32


class Prepared(NamedTuple):
    """Paths of everything up to the shards, and the size of the images."""

    raw: Path
    keypoints: Path
    pairs: Path
    shards: Path
    image: ImageConfig


class FakeEstimator:
    """Joints that are a function of the image's own pixels, so that a mix-up of images shows."""

    def estimate(self, images: Sequence[Image.Image]) -> list[PersonPose | None]:
        return [fake_person(image) for image in images]


def fake_person(image: Image.Image) -> PersonPose | None:
    seed = int(np.asarray(image).astype(np.int64).sum())
    if not seed:  # a black image shows nobody
        return None
    keypoints = np.random.default_rng(seed).uniform(0.1, 1, (18, 3)).astype(np.float32)
    keypoints[:, :2] *= (image.width - 1, image.height - 1)
    keypoints[17] = 0
    return PersonPose(keypoints, 0.9, np.array([0, 0, image.width, image.height], np.float32))


def jpeg(seed: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    coarse = np.random.default_rng(seed).integers(1, 256, (8, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def market(path: Path, identities: int = 8, images: int = 4, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """Write a raw.zip: even identities train, odd ones test, a distractor, a broken file, a black crop, a strange name."""
    with zipfile.ZipFile(path, "w") as archive:
        for identity in range(1, identities + 1):
            folder = "bounding_box_test" if identity % 2 else "bounding_box_train"
            for number in range(images):
                name = f"{folder}/{identity:04d}_c{number % 3 + 1}s1_{number:06d}_01.jpg"
                archive.writestr(name, jpeg(1000 * identity + number, *size))
        archive.writestr("bounding_box_test/0000_c1s1_000001_01.jpg", jpeg(1))
        archive.writestr("bounding_box_test/-1_c1s1_000001_01.jpg", jpeg(2))
        archive.writestr("bounding_box_train/0002_c1s1_000900_01.jpg", jpeg(3)[:200])
        black = io.BytesIO()
        Image.new("RGB", (WIDTH, HEIGHT)).save(black, "JPEG")
        archive.writestr("bounding_box_train/0002_c1s1_000901_01.jpg", black.getvalue())
        archive.writestr("bounding_box_train/holiday.jpg", jpeg(4))
        archive.writestr("query/0001_c1s1_000000_00.jpg", jpeg(5))
        archive.writestr("keypoints_exact.parquet", b"not an image")
    return path


def pair_config(**changes: object) -> PairConfig:
    values: dict[str, object] = {
        "require_torso": True,
        "minimum_joints": 4,
        "minimum_joint_confidence": 0.0,
        "minimum_person_confidence": 0.25,
        "minimum_person_height": 0.0,
        "cameras": "any",
        "minimum_pose_difference": 0.0,
        "maximum_pairs_per_identity": 0,
        "validation_identities": 0.25,
        "train_pairs": "",
        "test_pairs": "",
        "seed": 0,
    }
    return PairConfig.model_validate({**values, **changes})


def prepare(folder: Path, target_bytes: float = 15_000, size: tuple[int, int] = (HEIGHT, WIDTH), images: int = 4) -> Prepared:
    """Run the stages' functions up to the shards."""
    raw = market(folder / "raw.zip", images=images, size=size)
    with zipfile.ZipFile(raw) as archive:
        write_table(folder / "keypoints.parquet", keypoints_table(list(estimate_archive(archive, FakeEstimator(), 5))))
        keypoints = read_keypoints(folder / "keypoints.parquet")
        pairs = make_pairs(keypoints, pair_config())
        write_table(folder / "pairs.parquet", pairs.table, pairs.counts)
    made = Prepared(
        raw, *(folder / name for name in ("keypoints.parquet", "pairs.parquet", "shards")), ImageConfig(height=HEIGHT, width=WIDTH)
    )
    config = ShardConfig(target_megabytes=target_bytes / 1e6, maximum_images_per_sample=64)
    make_shards(made.shards, raw, made.keypoints, made.pairs, config, None)
    return made
