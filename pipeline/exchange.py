"""Keypoints and pairs to and from other programs: the commands beside the stages."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import click
import numpy as np
import pyarrow as pa
from pyarrow import compute

from pipeline.photo_table import read_photos
from pipeline.pose.annotations import file_name, meant_name, read_annotations, shown, table_annotations, way_to_names
from pipeline.pose.rows import BAD_NAME, Row, annotate_archive, keypoints_table, unseen
from pipeline.pose.stage import read_people, write_keypoints
from pipeline.raw_archive import DISTRACTOR, FOLDERS, JUNK, image_members, open_archive, parse_name
from pipeline.tables import read_pairs
from posegan.errors import PoseGANError
from posegan.files import atomic_folder, atomic_path, contents, note, noted
from posegan.formats.annotation import Annotation, in_pixels
from posegan.formats.coco import write_coco
from posegan.formats.detect import FORMATS, READ_FORMATS
from posegan.formats.keypoint_csv import read_keypoint_csv, write_keypoint_csv
from posegan.formats.names import is_image_name
from posegan.formats.openpose import write_openpose
from posegan.formats.pair_csv import write_pair_csv
from posegan.formats.table import Keypoints, read_keypoints
from posegan.places import FILE, OUTPUT, OUTPUT_FILE_OR_FOLDER, PlacedCommand
from posegan.skeleton import TORSO

ALL = "all"


class Size(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on only
    """Pixels as WIDTHxHEIGHT, such as 64x128."""

    name = "WIDTHxHEIGHT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """The (width, height) of the text."""
        width, _, height = str(value).partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            self.fail(f"expected WIDTHxHEIGHT such as 64x128, got {value!r}", param, ctx)
        return int(width), int(height)


def rows_without_archive(annotations: Sequence[Annotation], size: tuple[int, int], split: str) -> list[Row]:
    """Rows for annotations whose images are not at hand: all of one (width, height), named and split as they say.

    A name with a known folder has that folder's split; any other is put into the folder of `split`. A name
    without suffix, as OpenPose's, gets .jpg.

    Raises:
        PoseGANError: two annotations mean the same image, or joints were made on an image of another shape.
    """
    rows: dict[str, Row] = {}
    for annotation in annotations:
        member = _member(annotation.image, split)
        if member in rows:
            raise PoseGANError(f"{member}: annotated twice; remove one of them")
        name = parse_name(member)
        joints = name is not None and shown(annotation)
        status = "bad_name" if name is None else "ok" if joints else "no_person"
        detail = {"bad_name": BAD_NAME, "no_person": unseen(annotation), "ok": None}[status]
        rows[member] = Row(
            member, FOLDERS[member.split("/")[0]], name, size, status, detail, in_pixels(annotation, size) if joints else None
        )
    return list(rows.values())


def exported_annotations(keypoints: Keypoints, split: str) -> list[Annotation]:
    """The images of `split` (or of all) that could be decoded, by the order of the table."""
    if split == ALL:
        return table_annotations(keypoints)
    chosen = compute.equal(keypoints.table["split"], split)
    return table_annotations(Keypoints(keypoints.table.filter(chosen), keypoints.joints[chosen.to_numpy()]))


def bare_names(names: Sequence[str]) -> list[str]:
    """File names without folders, as the field's CSVs have them.

    Raises:
        PoseGANError: two images have the same file name.
    """
    bare = [PurePosixPath(name).name for name in names]
    seen: dict[str, str] = {}
    for short, name in zip(bare, names, strict=True):
        if (other := seen.setdefault(short, name)) != name:
            raise PoseGANError(f"{other} and {name} have the same file name, which the CSV could not tell apart; choose one --split")
    return bare


def write_annotations(out: Path, keypoints: Keypoints, form: str, split: str) -> int:
    """Export a table in a format but `table`; gives the number of images written."""
    annotations = exported_annotations(keypoints, split)
    if not annotations:
        raise PoseGANError(f"{out}: not written, because the table holds no image of split {split} with keypoints; choose another --split")
    table = keypoints.table
    if form == "openpose":
        with atomic_folder(out, noted) as folder:
            write_openpose(folder, annotations)
            note(folder, contents(folder))
        return len(annotations)
    with atomic_path(out) as temporary:
        if form == "csv":
            names = bare_names([annotation.image for annotation in annotations])
            write_keypoint_csv(temporary, [one._replace(image=name) for one, name in zip(annotations, names, strict=True)])
        else:
            sizes = zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)
            known = {name: size for name, size in zip(table["image"].to_pylist(), sizes, strict=True) if None not in size}
            write_coco(temporary, annotations, known)
    return len(annotations)


def _member(name: str, split: str) -> str:
    name = meant_name(name)
    folder = "" if "/" in name else next(f"{folder}/" for folder, of in FOLDERS.items() if of == split)
    return f"{folder}{name}" if is_image_name(name) else f"{folder}{name}.jpg"


@click.command("import-keypoints", cls=PlacedCommand)
@click.argument("sources", nargs=-1, required=True, type=FILE)
@click.option("--format", "form", type=click.Choice(["auto", *READ_FORMATS]), default="auto", show_default=True, help="Of all SOURCES.")
@click.option("--raw", type=FILE, default=Path("data/raw.zip"), show_default=True, help="The archive of images.")
@click.option("--size", type=Size(), help="Of every image, instead of --raw, when the images are not at hand.")
@click.option("--split", type=click.Choice(list(FOLDERS.values())), default="train", show_default=True, help="With --size: of bare names.")
@click.option("--out", type=OUTPUT, default=Path("data/annotations/keypoints.parquet"), show_default=True, help="Table to write.")
def import_keypoints(sources: tuple[Path, ...], form: str, raw: Path, size: tuple[int, int] | None, split: str, out: Path) -> None:
    """Turn keypoints from elsewhere into a table as the pose stage writes it.

    SOURCES are the field's CSVs (name:keypoints_y:keypoints_x), COCO JSON and results in its manner (predictions.json), folders of
    OpenPose's, ControlNet's, mmpose's, ultralytics' or MediaPipe's JSON and of YOLO labels, a file an image, or tables of
    keypoints. Each image of --raw becomes a row; images without annotation and annotations without image are counted.
    """
    chosen, origin = "" if form == "auto" else form, ", ".join(map(str, sources))
    if size is not None:
        annotations = [annotation for source in sources for annotation in read_annotations(source, chosen)]
        if not annotations:
            raise PoseGANError(f"{origin}: annotate no image; check what was written there")
        rows = rows_without_archive(annotations, size, split)
        if rows and all(row.name is None for row in rows):
            name = annotations[0].image
            way_out = way_to_names(sources[0], name, chosen)
            raise PoseGANError(f"{sources[0]}: no name is one of Market-1501's kind ({name}, not 0002_c1s1_000451_03.jpg); {way_out}")
        summary = write_keypoints(out, keypoints_table(rows), origin=origin)
    else:
        with open_archive(raw) as archive:
            photos = read_photos(archive)
            people, absent = read_people(sources, [member for member, _ in image_members(archive)], chosen, photos)
            summary = write_keypoints(out, keypoints_table(list(annotate_archive(archive, people))), absent, photos, origin)
    click.echo(f"import-keypoints: {summary}; written to {out}")


@click.command("export-keypoints", cls=PlacedCommand)
@click.argument("out", type=OUTPUT_FILE_OR_FOLDER)
@click.option("--format", "form", type=click.Choice([form for form in FORMATS if form != "table"]), required=True, help="What OUT becomes.")
@click.option(
    "--keypoints",
    type=FILE,
    default=Path("data/keypoints.parquet"),
    show_default=True,
    help="Table of the pose stage.",
)
@click.option("--split", type=click.Choice([ALL, *FOLDERS.values()]), default=ALL, show_default=True, help="Which images.")
def export_keypoints(out: Path, form: str, keypoints: Path, split: str) -> None:
    """Write a table of keypoints as the field's CSV, COCO-17 JSON, or a folder of OpenPose BODY_25 JSON.

    The CSV rounds to whole pixels and has no confidence; COCO has no neck, visibilities (0, 2) in its keypoints and their
    confidences in keypoint_scores; OpenPose has no confidence of a person. Images that could not be decoded, or whose name
    means nothing, are left out.
    """
    if form != "openpose" and out.is_dir():
        raise PoseGANError(f"OUT {out}: a folder; name a file in it, or another file")
    table = read_keypoints(keypoints)
    written = write_annotations(out, table, form, split)
    click.echo(f"export-keypoints: {written:,} of {table.table.num_rows:,} images written to {out}")


@click.command("export-pairs", cls=PlacedCommand)
@click.argument("out", type=OUTPUT)
@click.option(
    "--pairs",
    "pairs_path",
    type=FILE,
    default=Path("data/pairs.parquet"),
    show_default=True,
    help="Table of the pair stage.",
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Which pairs.")
def export_pairs(out: Path, pairs_path: Path, split: str) -> None:
    """Write the pairs of a split, in the table's order, as the field's CSV of file names (from,to)."""
    table = read_pairs(pairs_path)
    table = table.filter(compute.equal(table["split"], split))
    if not table.num_rows:
        raise PoseGANError(f"{out}: not written, because {pairs_path} holds no pair of split {split}; choose another --split")
    with atomic_path(out) as temporary:
        write_pair_csv(temporary, zip(_bare(table["source"]), _bare(table["target"]), strict=True))
    click.echo(f"export-pairs: {table.num_rows:,} {split} pairs written to {out}")


@click.command("published-pairs", cls=PlacedCommand)
@click.argument("annotations", type=FILE)
@click.option(
    "--out",
    type=OUTPUT,
    default=Path("data/pair_lists/market-pairs-test.csv"),
    show_default=True,
    help="List to write.",
)
def published_pairs(annotations: Path, out: Path) -> None:
    """Make the field's 12,000 test pairs of Market-1501 from the published annotations.

    ANNOTATIONS is market-annotation-test.csv (name:keypoints_y:keypoints_x). Name the list in pair.test_pairs.
    """
    pairs = market_test_pairs(read_keypoint_csv(annotations))
    with atomic_path(out) as temporary:
        write_pair_csv(temporary, pairs)
    click.echo(f"published-pairs: {len(pairs):,} pairs written to {out}")


def _bare(names: pa.ChunkedArray) -> list[str]:
    return [PurePosixPath(name).name for name in names.to_pylist()]


PAIRS, SEED = 12_000, 0
_FOLDER = "bounding_box_test"


def market_test_pairs(annotations: Sequence[Annotation], pairs: int = PAIRS, seed: int = SEED) -> list[tuple[str, str]]:
    """A seeded sample of all ordered pairs of one identity, as the field drew it.

    Images of distractors and junk, and those that lack a shoulder or a hip, are dropped; identities come in the order of their
    first image in the file; then NumPy's legacy generator draws without replacement, as pandas' `DataFrame.sample` does.

    Raises:
        PoseGANError: fewer candidates than `pairs`.
    """
    people: dict[int, list[str]] = defaultdict(list)
    for annotation in annotations:
        name = parse_name(f"{_FOLDER}/{file_name(annotation.image)}")
        if name is not None and name.identity not in (DISTRACTOR, JUNK) and (annotation.keypoints[TORSO, 2] > 0).all():
            people[name.identity].append(annotation.image)
    candidates = [(source, target) for images in people.values() for source in images for target in images if source != target]
    if len(candidates) < pairs:
        raise PoseGANError(f"the annotations give {len(candidates):,} pairs, fewer than {pairs:,}; take those of the whole test split")
    chosen = np.random.RandomState(seed).choice(len(candidates), pairs, replace=False)
    return [candidates[row] for row in chosen]
