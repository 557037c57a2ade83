"""A Market-1501 shaped folder of generated images, to train re-identification with: the paper's application.

Every train image with a whole torso becomes the source of k drawings, in poses of other train images, drawn by seed and source alone.
A drawing keeps its source's identity and camera; its name says `s9`, a sequence that no camera has, then its source's number and its own:
`0002_c1s9_000123_02.jpg`. So the drawings can be told from photographs anywhere, and lie beside them in one folder.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline.doubts import refuse_unbelievable, told
from pipeline.raw_archive import ImageName, image_members, open_archive, parse_name, read_member
from posegan.device import keep_freed_memory
from posegan.errors import PoseGANError
from posegan.files import atomic_path, check_replaceable, contents, sha256_of, write_atomically
from posegan.formats.table import Keypoints, other_size, read_keypoints
from posegan.images import Picture, decode_image, encode_jpeg
from posegan.inference.transfer import Fitted, PoseTransfer
from posegan.people.detection import Posed
from posegan.people.placing import place_keypoints
from posegan.places import FILE, OUTPUT_FOLDER, PlacedCommand
from posegan.skeleton import TORSO

GENERATED_SEQUENCE = 9
MANIFEST = "manifest.parquet"
TRAIN = "bounding_box_train"
_SOURCES_A_PART = 64  # finished at once; a killed run repeats at most so many
_WRITERS = 4  # threads


class Source(NamedTuple):
    """A train image that drawings are made of."""

    number: int  # in the sorted list of all train images
    image: str  # member of raw.zip
    name: ImageName
    joints: Any  # (18, 3)
    size: tuple[int, int]  # width, height


class Made(NamedTuple):
    """A drawing: a row of the manifest."""

    image: str
    source: str
    pose: str
    identity: int
    camera: int
    sha256: str


@click.command(cls=PlacedCommand)
@click.option("--raw", type=FILE, default=Path("data/raw.zip"), show_default=True, help="The archive of images.")
@click.option("--keypoints", type=FILE, default=Path("data/keypoints.parquet"), show_default=True, help="Table of the pose stage.")
@click.option("--model", type=FILE, default=Path("models/generator.safetensors"), show_default=True, help="Generator of the train stage.")
@click.option("--out", type=OUTPUT_FOLDER, default=Path("data/augmented"), show_default=True, help="Folder to write.")
@click.option("--per-image", type=click.IntRange(1, 99), default=4, show_default=True, help="Drawings of each train image.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides the poses.")
@click.option("--with-real", is_flag=True, help="Put the archive's own images beside them: train, test and query.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
def augment(raw: Path, keypoints: Path, model: Path, out: Path, per_image: int, seed: int, with_real: bool, device: str) -> None:
    """Draw each train image in random poses of the train set, as a Market-1501 folder with a manifest.

    Interrupted, the same command goes on; finished, it does nothing. The same inputs give the same files on the same machine.
    """
    keep_freed_memory()
    check_replaceable(out, lambda folder: contents(folder) if _recipe_of(folder) is not None else set())
    table, transfer = read_keypoints(keypoints), PoseTransfer(model, device)
    sources = train_sources(table)
    recipe = {"model": sha256_of(model), "keypoints": sha256_of(keypoints), "per_image": per_image, "seed": seed, "with_real": with_real}
    if out.exists() and contents(out):
        if _recipe_of(out) == recipe:
            click.echo(f"augment: {out} is complete")
            return
        raise PoseGANError(f"{out}: holds drawings of other settings; remove it or choose another --out")
    refuse_unbelievable(str(keypoints), table)
    written, skipped = write_augmented(out, raw, sources, transfer, recipe)
    drawn = f"{written:,} drawings of {len(sources) - skipped:,} images written to {out}"
    click.echo(f"augment: {drawn}; {skipped:,} images were unreadable{told(table)}")


def train_sources(table: Keypoints) -> list[Source]:
    """The train images of a person of an identity, with a whole torso, by the order of their names.

    Raises:
        PoseGANError: there are fewer than two.
    """
    columns = (table.table[name].to_pylist() for name in ("image", "split", "status", "width", "height"))
    rows = sorted((*row, number) for number, row in enumerate(zip(*columns, strict=True)) if row[1] == "train")
    sources = []
    for place, (image, _, status, width, height, number) in enumerate(rows):
        name, joints = parse_name(image), table.joints[number]
        if status == "ok" and name is not None and name.identity > 0 and (joints[list(TORSO), 2] > 0).all():
            sources.append(Source(place, image, name, joints, (width, height)))
    if len(sources) < 2:
        raise PoseGANError(f"augment: only {len(sources)} train images show a whole torso; run the pose stage on more images")
    return sources


def chosen_poses(source: int, sources: int, count: int, seed: int, number: int) -> list[int]:
    """Which of the `sources` lend their pose to drawings 1 .. `count` of the source at `source`: any but itself, no one twice if possible.

    `number` is the source's in the sorted list of all train images, so that a choice depends on nothing but it and the seed.
    """
    random = np.random.default_rng(np.random.SeedSequence((seed, number)))
    others = sources - 1
    drawn = random.choice(others, count, replace=count > others)
    return [int(other) + (other >= source) for other in drawn]


def generated_name(source: Source, draw: int) -> str:
    """`0002_c1s9_000123_02.jpg`: the second drawing of train image number 123."""
    return f"{source.name.identity:04d}_c{source.name.camera}s{GENERATED_SEQUENCE}_{source.number:06d}_{draw:02d}.jpg"


def write_augmented(out: Path, raw: Path, sources: Sequence[Source], transfer: PoseTransfer, recipe: dict[str, Any]) -> tuple[int, int]:
    """Write the folder, part by part beside its name; gives the number of drawings and of sources that could not be read."""
    mark = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    staging = out.with_name(f".{out.name}.{mark}.part")
    (staging / "parts").mkdir(parents=True, exist_ok=True)
    (staging / TRAIN).mkdir(exist_ok=True)
    parts = range(0, len(sources), _SOURCES_A_PART)
    with open_archive(raw) as archive, ThreadPoolExecutor(_WRITERS) as pool:
        for start in tqdm(parts, "augment", unit="part", disable=None):
            done = staging / "parts" / f"{start:08d}.json"
            if not done.is_file():
                drawn = _draw_part(archive, sources, start, transfer, recipe)
                made = list(pool.map(partial(_store, staging / TRAIN), drawn))
                write_atomically(done, json.dumps(made))
        if recipe["with_real"]:
            for member, _ in tqdm(image_members(archive), "copy", unit="image", disable=None):
                (staging / member).parent.mkdir(exist_ok=True)
                (staging / member).write_bytes(read_member(archive, member))
    rows = [Made(*row) for start in parts for row in json.loads((staging / "parts" / f"{start:08d}.json").read_text())]
    if not rows:
        shutil.rmtree(staging)
        raise PoseGANError(f"{raw}: none of the {len(sources):,} train images can be read, such as {sources[0].image}; get a whole copy")
    _write_manifest(staging / MANIFEST, rows, recipe)
    shutil.rmtree(staging / "parts")
    if out.is_dir():
        out.rmdir()  # an empty one
    staging.replace(out)
    return len(rows), len(sources) - len({row.source for row in rows})


def _draw_part(
    archive: Any, sources: Sequence[Source], start: int, transfer: PoseTransfer, recipe: dict[str, Any]
) -> Iterator[tuple[Made, Picture]]:
    """The drawings of a part, their sums not known yet."""
    names, people, poses = list[tuple[str, Source, Source]](), list[Fitted](), list[Any]()
    for place in range(start, min(start + _SOURCES_A_PART, len(sources))):
        source = sources[place]
        try:
            image = decode_image(read_member(archive, source.image))
        except KeyError:
            raise PoseGANError(
                f"{archive.filename}: has no member {source.image}, which the table of keypoints names; run the pose stage again"
            ) from None
        except PoseGANError:
            continue  # counted by the caller: no row of the manifest has this source
        if image.size != source.size:
            raise other_size(str(archive.filename), source.image, image.size, source.size)
        fitted = transfer.fit(Posed(image, source.joints))
        others = chosen_poses(place, len(sources), recipe["per_image"], recipe["seed"], source.number)
        for draw, other in enumerate(others, start=1):
            names.append((generated_name(source, draw), source, sources[other]))
            people.append(fitted)
            poses.append(place_keypoints(sources[other].joints, sources[other].size, *transfer.size))
    if not names:
        return
    pictures = transfer.draw(people, poses).permute(0, 2, 3, 1).contiguous().numpy()
    for (name, source, lender), picture in zip(names, pictures, strict=True):
        yield Made(name, source.image, lender.image, source.name.identity, source.name.camera, ""), picture


def _store(folder: Path, drawing: tuple[Made, Picture]) -> Made:
    made, picture = drawing
    jpeg = encode_jpeg(picture)
    (folder / made.image).write_bytes(jpeg)
    return made._replace(sha256=hashlib.sha256(jpeg).hexdigest())


def _write_manifest(path: Path, rows: Sequence[Made], recipe: dict[str, Any]) -> None:
    columns: dict[str, Any] = {field: [getattr(row, field) for row in rows] for field in Made._fields}
    columns["image"] = [f"{TRAIN}/{name}" for name in columns["image"]]
    table = pa.table({**columns, "generated": [True] * len(rows)})
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({"recipe": json.dumps(recipe, sort_keys=True)}), temporary, compression="zstd")


def _recipe_of(folder: Path) -> dict[str, Any] | None:
    try:
        metadata = pq.read_schema(folder / MANIFEST).metadata or {}
        recipe: dict[str, Any] = json.loads(metadata[b"recipe"])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        return None
    return recipe
