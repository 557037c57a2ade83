"""Command inspect: a page about a table of keypoints, with its pairs and pictures, perhaps against another table."""

import contextlib
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import numpy as np
from click.core import ParameterSource

from pipeline.doubts import told
from pipeline.inspect.changes import changes_section, compare_tables
from pipeline.inspect.doubts import doubts_section
from pipeline.inspect.duplicates import Duplicates, duplicates_section, find_duplicates
from pipeline.inspect.gallery import Photographer
from pipeline.inspect.sections import (
    Tables,
    cameras_section,
    frame,
    identities_section,
    images_section,
    joints_section,
    pairing_section,
    pictures_section,
    poses_section,
)
from pipeline.padding import padding_note
from pipeline.pages.page import render_sections
from pipeline.pair.rules import first_reasons
from pipeline.raw_archive import open_archive
from pipeline.tables import read_pairs
from posegan.cli import params_option
from posegan.config import ImageConfig, PairConfig, load_params
from posegan.files import write_atomically
from posegan.formats.table import photo_files, read_keypoints
from posegan.places import FILE, OUTPUT, PlacedCommand

_PAIRS = 24  # of almost the same pictures, of each kind, that are kept for the page
_ROW_GROUPS = 8  # of the table of pairs, about a million rows: enough for its distributions, whatever its size


def read_tables(keypoints: Path, config: PairConfig, pairs: Path | None = None) -> Tables:
    """Read a table of keypoints and, where the file is there, the pairs."""
    table = read_keypoints(keypoints)
    there = pairs is not None and pairs.exists()
    return Tables(
        table, frame(table), first_reasons(table, config), read_pairs(pairs, _ROW_GROUPS) if pairs is not None and there else None
    )


def page_of(
    tables: Tables,
    archive: zipfile.ZipFile | None,
    name: str,
    pictures: int,
    duplicates: Duplicates | None,
    against: tuple[str, Tables] | None = None,
) -> str:
    """The whole page; `name` and the name in `against` say which tables it is about."""
    photographer = Photographer(archive, photo_files(tables.keypoints.table))
    note = (
        [] if archive is not None else ["The archive of images is not at hand, so the skeletons stand alone: the download stage makes it."]
    )
    sections = [images_section(tables), doubts_section(tables), pairing_section(tables), joints_section(tables), poses_section(tables)]
    sections += [identities_section(tables), cameras_section(tables)]
    sections += [duplicates_section(duplicates, tables, photographer, pictures), pictures_section(tables, photographer, pictures, note)]
    lead = f"{name}: {len(tables.rows):,} images, {int((tables.rows['status'] == 'ok').sum()):,} with a person."
    if against is not None:
        other = against[1]
        sections.insert(0, changes_section(tables, other, compare_tables(tables, other), photographer, pictures))
        lead += f" The other table: {against[0]}, {len(other.rows):,} images."
    return render_sections("PoseGAN keypoints", lead, sections)


def padding_of(tables: Tables, image: ImageConfig) -> str:
    """How much of the pictures of size `image` would be padding, of the images with a person."""
    rows = np.flatnonzero((tables.rows["status"] == "ok").to_numpy(dtype=bool))
    sizes = list(zip(*(tables.rows[side].iloc[rows].astype(int).tolist() for side in ("width", "height")), strict=True))
    return f"at {image.height}x{image.width}, {padding_note(sizes, tables.keypoints.joints[rows], image)}"


def _tell_mistyped(files: Mapping[str, Path]) -> None:
    """Name those `files`, by option, that somebody asked for and that are not there; a default may be absent."""
    context = click.get_current_context()
    for option, path in files.items():
        if context.get_parameter_source(option.removeprefix("--")) is ParameterSource.COMMANDLINE and not path.exists():
            click.echo(f"inspect: {option} {path}: no such file; the page does without it", err=True)


@contextlib.contextmanager
def _archive_if_there(raw: Path) -> Iterator[zipfile.ZipFile | None]:
    if not raw.exists():
        yield None
        return
    with open_archive(raw) as archive:
        yield archive


@click.command("inspect", cls=PlacedCommand)
@params_option("Parameters: the rules of pairing.")
@click.option("--keypoints", type=FILE, default=Path("data/keypoints.parquet"), show_default=True, help="Table of the pose stage.")
@click.option("--pairs", type=FILE, default=Path("data/pairs.parquet"), show_default=True, help="Table of the pair stage, if there.")
@click.option("--raw", type=FILE, default=Path("data/raw.zip"), show_default=True, help="The archive of images, if there.")
@click.option("--against", type=FILE, help="Another table of keypoints of the same images, to compare with.")
@click.option(
    "--duplicates/--no-duplicates", default=True, show_default=True, help="Look for pictures that are almost the same: every image is read."
)
@click.option("--pictures", type=click.IntRange(0, 1000), default=24, show_default=True, help="At most so many in a row of pictures.")
@click.option("--out", type=OUTPUT, default=Path("reports/keypoints.html"), show_default=True, help="Page to write.")
def inspect(
    params_path: Path, keypoints: Path, pairs: Path, raw: Path, against: Path | None, duplicates: bool, pictures: int, out: Path
) -> None:
    """Show a table of keypoints as a page that opens in any browser, without network.

    Counts and reasons, how often each joint was found, poses, identities and cameras, pictures that are almost the same, and skeletons
    over images: at random, the least sure, and those that pairing leaves out. With --against, what changed between two tables.
    """
    started = time.monotonic()
    _tell_mistyped({"--pairs": pairs, "--raw": raw})
    params = load_params(params_path)
    config = params.pair
    tables = read_tables(keypoints, config, pairs)
    other = None if against is None else (str(against), read_tables(against, config))
    padding = padding_of(tables, params.image)
    with _archive_if_there(raw) as archive:
        found = find_duplicates(tables, archive, max(_PAIRS, pictures)) if archive is not None and duplicates else None
        page = page_of(tables, archive, f"{keypoints} ({padding})", pictures, found, other)
    write_atomically(out, page)
    size = f"{padding}; {len(page) / 1e6:.1f} MB; {time.monotonic() - started:.1f} s"
    doubtful = told(tables.keypoints) + (found.told() if found else "")
    click.echo(f"inspect: {len(tables.rows):,} images; {size}; page in {out}{doubtful}")
