"""`posegan`: the command line for people who have a trained generator."""

import io
import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import PIL.Image

from posegan.cli import ProgramGroup
from posegan.config import load_params
from posegan.errors import PoseGANError
from posegan.files import write_atomically

FILE = click.Path(path_type=Path)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def _version() -> str:
    try:
        return version("posegan")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"


@click.group(cls=ProgramGroup, name="posegan")
@click.version_option(_version(), prog_name="posegan")
def cli() -> None:
    """Draw a person in another person's pose."""


@cli.command()
@click.argument("source", type=FILE)
@click.option("--pose", required=True, type=FILE, help="Image of somebody in the pose to take.")
@click.option("--out", required=True, type=FILE, help="Where to write the result: .png, .jpg or .jpeg.")
@click.option("--grid", is_flag=True, help="Write source, target pose, result and target side by side.")
@click.option("--model", default="models/generator.safetensors", show_default=True, type=FILE, help="Trained generator.")
@click.option("--params", default="params.yaml", show_default=True, type=FILE, help="Its section 'pose' names the detector.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
def transfer(source: Path, pose: Path, out: Path, grid: bool, model: Path, params: Path, device: str) -> None:
    """Draw the person of the image SOURCE in the pose of another image.

    Both poses are detected. Each picture should show one person whole; the result has the size
    that the generator was trained for.
    """
    _format_of(out)  # an unknown extension should not show only after the work
    config = load_params(params).pose
    # Late, so that --help and a mistyped extension answer at once.
    from posegan.detection import read_posed
    from posegan.estimator import PoseEstimator
    from posegan.inference import PoseTransfer

    generator = PoseTransfer(model, device)
    detector = PoseEstimator(config)
    person, target = read_posed(source, detector), read_posed(pose, detector)
    result = generator.transfer(person, target)
    save_image(out, generator.grid(person, target, result) if grid else result)
    click.echo(f"{out}: written")


def save_image(path: Path, image: PIL.Image.Image) -> None:
    """Write a picture, whole or not at all, in the format of the path's extension."""
    buffer = io.BytesIO()
    image.save(buffer, _format_of(path), quality=95)  # PNG has no quality and ignores it
    write_atomically(path, buffer.getvalue())


def _format_of(path: Path) -> str:
    if path.suffix.lower() not in FORMATS:
        raise PoseGANError(f"{path}: expected a name that ends in {', '.join(FORMATS)}, got '{path.suffix}'")
    return FORMATS[path.suffix.lower()]


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    cli(prog_name="posegan")


if __name__ == "__main__":
    main()
