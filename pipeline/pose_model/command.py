"""`python -m pipeline.pose_model train` makes the shipped detector again; `measure` tells how good a file of weights is."""

import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from pipeline.pose_model.calibration import measured_temperatures
from pipeline.pose_model.card import check_cards, figures, provenance, write_card
from pipeline.pose_model.crops import SCENE_HEIGHT, SCENE_WIDTH, Crop, label_crops, read_crops, write_crops, write_scenes
from pipeline.pose_model.drawings import CHECKING, TRAINING, write_drawings
from pipeline.pose_model.measure import estimator_of
from pipeline.pose_model.negatives import SHAPES, draw_empty, kinds_at_hand, write_empty
from pipeline.pose_model.report import as_markdown, measure_all
from pipeline.pose_model.training import BLEND, LEAST_SURE, PHASES, blended, prepared_start, save_weights, train_detector
from posegan.cli import ProgramGroup
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.places import FILE, OUTPUT, WORKING_FOLDER
from posegan.skeleton import COCO_JOINTS

WEIGHTS = Path("posegan/weights/yolov8n-pose-people.pt")
# Pictures to train on; of real crops all that there are.
DRAWINGS, SCENES, EMPTY, CHECKED = 28_000, 5_000, 6_000, 100
_BACKDROPS = 600  # different pictures without people that real crops are pasted into
_TEACHER_SIZE = 256  # px at which the starting weights find the joints that nobody published
_CSV = {"bounding_box_train": "market-annotation-train.csv", "bounding_box_test": "market-annotation-test.csv"}

IMAGES, EMPTY_MEASURED = 1000, 500  # drawings, and pictures without people, to measure on; of real crops all

_Command = Callable[..., Any]


def _data(command: _Command) -> _Command:
    options = [
        click.option("--real", type=FILE, help="Market-1501's zip, whole or in part."),
        click.option(
            "--annotations", type=FILE, help="Folder of the published market-annotation-train.csv and -test.csv."
        ),
        click.option(
            "--root", type=FILE, default=Path("/"), show_default=True,
            help="Where Debian packages with pictures without people are unpacked.",
        ),
        click.option("--seed", type=int, default=0, show_default=True),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=ProgramGroup)
def main() -> None:
    """Train or measure the pose detector that ships with the project."""


@main.command()
@click.option("--out", type=OUTPUT, default=WEIGHTS, show_default=True)
@click.option("--start", type=FILE, help="Official YOLOv8n-pose weights to start from.")
@click.option("--work", type=WORKING_FOLDER, help="Folder to keep pictures and checkpoints in; else they are removed.")
@_data
def train(
    out: Path, start: Path | None, work: Path | None, real: Path | None, annotations: Path | None, root: Path, seed: int
) -> None:  # fmt: skip
    """Train the detector on drawings, real crops and pictures without people, measure it, and write its card.

    About an hour on two CPU cores. The real crops are Market-1501's, for research only: so are the weights.
    """
    check_cards(out)  # now, and not after the training
    start = there(start, "--start", "official YOLOv8n-pose weights, yolov8n-pose.pt, which ultralytics fetches")
    crops = real_crops(real, annotations, "bounding_box_train")
    with ExitStack() as stack:
        folder = (work or Path(stack.enter_context(tempfile.TemporaryDirectory()))).absolute()
        trained_on = write_pictures(folder, crops, start, root, seed)
        click.echo("pictures: " + ", ".join(f"{count:,} {kind}" for kind, count in trained_on.items()))
        weights = prepared = prepared_start(start, folder)
        for number, phase in enumerate(PHASES):
            weights = train_detector(folder, phase, seed, weights, str(number))
        stricter = folder / "stricter.pt"
        save_weights(blended(prepared, weights, BLEND, folder), stricter, LEAST_SURE)
        by_joint = measured_temperatures(stricter, PHASES[-1].image_size, crops, seed)
        save_weights(stricter, out, by_joint=by_joint)
    how = {
        "seed": seed, "phases": [phase._asdict() for phase in PHASES], "blend": BLEND, "least_sure": LEAST_SURE,
        "temperatures": {joint: round(float(each), 3) for joint, each in zip(COCO_JOINTS, by_joint, strict=True)},
    }  # fmt: skip
    write_card(out, provenance(out, start, trained_on, how))
    click.echo(f"pose model: {out}, {out.stat().st_size / 1e6:.2f} MB, SHA-256 {sha256_of(out)}")
    report_on(out, real_crops(real, annotations, "bounding_box_test"), root, IMAGES, EMPTY_MEASURED, seed, card=True)


@main.command()
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--card", is_flag=True, help="Write the figures into the weights' card, the .json beside them.")
@click.option("--images", type=click.IntRange(min=1), default=IMAGES, show_default=True, help="Drawings to measure on.")
@click.option("--crops", "count", type=click.IntRange(min=1), help="Real crops to measure on, evenly chosen; else all.")
@click.option("--empty", type=click.IntRange(min=1), default=EMPTY_MEASURED, show_default=True, help="Pictures without people.")
@_data
def measure(
    weights: Path,
    card: bool,
    images: int,
    count: int | None,
    empty: int,
    real: Path | None,
    annotations: Path | None,
    root: Path,
    seed: int,
) -> None:
    """Print the accuracy of WEIGHTS as Markdown tables: on real crops, on drawings, and where nobody is.

    Nothing of it was ever trained on. Without --real and --annotations, drawings and pictures without people alone.
    """
    if card:
        check_cards(weights)
    crops = real_crops(real, annotations, "bounding_box_test") if real or annotations else []
    report_on(weights, crops[:: max(1, len(crops) // (count or len(crops) or 1))], root, images, empty, seed, card)


def report_on(weights: Path, crops: list[Crop], root: Path, images: int, empty: int, seed: int, card: bool) -> None:
    """Measure, print, and perhaps write the card."""
    report = measure_all(weights, crops, images, empty, seed, root)
    if card:
        write_card(weights, figures(report))
    click.echo(as_markdown(report))


def there(path: Path | None, option: str, what: str) -> Path:
    """The path that an option names.

    Raises:
        PoseGANError: it names none, or nothing is there.
    """
    if path is None:
        raise PoseGANError(f"{option} is missing: name {what}")
    if not path.exists():
        raise PoseGANError(f"{option}: {path}: no such file or folder; name {what}")
    return path


def real_crops(real: Path | None, annotations: Path | None, folder: str) -> list[Crop]:
    """Market-1501's crops of one of its folders with their published joints; errors as `there`."""
    archive = there(real, "--real", "the zip of Market-1501 (docs/market1501.md tells where to get it)")
    csvs = there(annotations, "--annotations", f"the folder of the published {' and '.join(_CSV.values())}")
    return read_crops(archive, csvs / _CSV[folder], folder)


def write_pictures(folder: Path, crops: list[Crop], start: Path, root: Path, seed: int) -> dict[str, int]:
    """Write all that is trained on, and count it by kind; a kind of pictures whose package is absent is told and left out."""
    kinds, absent = kinds_at_hand(True, root)
    for kind in absent:
        click.echo(f"pictures without people: no {kind.name}; {kind.install} would add them")
    write_drawings(folder, "val", CHECKED, seed, CHECKING)  # ultralytics wants some to check on; nobody looks at it
    write_drawings(folder, "train", DRAWINGS, seed, TRAINING)
    pictures = list(draw_empty(kinds, EMPTY, seed, SHAPES[:1], root))
    write_empty(folder, "train", pictures, seed)
    labelled = list(label_crops(crops, estimator_of(start, _TEACHER_SIZE)))
    write_crops(folder, "train", labelled)
    scenes = [each.image for each in draw_empty(kinds, _BACKDROPS, seed + 1, [(SCENE_HEIGHT, SCENE_WIDTH)], root)]
    write_scenes(folder, "train", SCENES, seed, labelled, scenes)
    counted = Counter(f"without people: {each.kind}" for each in pictures)
    return {"drawings": DRAWINGS, "real crops, Market-1501's train": len(labelled), "scenes with such crops": SCENES, **counted}
