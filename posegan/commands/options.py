"""What the commands share: which model draws, which detector looks, on what processor, and how pictures are written."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import PIL.Image

from posegan.config import AUTO, PoseConfig, load_params
from posegan.errors import PoseGANError
from posegan.files import write_atomically
from posegan.inference.pose_texts import PICTURES
from posegan.inference.shipped import DEFAULT
from posegan.people.detection import DEFAULTS
from posegan.people.detectors import shipped
from posegan.places import FILE

if TYPE_CHECKING:
    from posegan.inference.transfer import PoseTransfer


MODELS = Path("models")
PARAMS = Path("params.yaml")
MODEL_HELP = (
    "A trained generator, a folder that export wrote, or one that comes with posegan: real, drawn.  "
    f"[default: the newest in models/, else {DEFAULT}]"
)
DETECTOR_HELP = "auto, shipped (the one that comes with posegan), an official name such as yolo11m-pose.pt, or a file that you trust."


def generator_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --model, --detector, --params and --device."""
    for option in (
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."),
        click.option("--params", type=FILE, help="Its section 'pose' names the detector.  [default: params.yaml if it is there]"),
        click.option("--detector", help=DETECTOR_HELP),
        click.option("--model", type=FILE, help=MODEL_HELP),
    ):
        command = option(command)
    return command


def open_transfer(model: Path | None, detector: str | None, params: Path | None, device: str) -> "PoseTransfer":
    """The generator that the options name, else the newest, else the one that ships; which one is said on stderr unless it was named.

    Raises:
        PoseGANError: there is no such model, or it is no PoseGAN generator; the params are not valid; the device is not there.
    """
    config = pose_config(params, detector)
    from posegan.inference.transfer import PoseTransfer  # late, so that --help and a mistyped option answer at once

    chosen = chosen_model(model)
    transfer = PoseTransfer(chosen, device, config)
    if model is None:
        height, width = transfer.size
        click.echo(f"model: {chosen} ({height} x {width} pixels; {transfer.origin})", err=True)
    return transfer


def chosen_model(model: Path | None) -> Path:
    """The model that `--model` names; without one the newest in `MODELS`, else the shipped one of the name `DEFAULT`."""
    return model or newest_model(MODELS) or Path(DEFAULT)


def pose_config(params: Path | None, detector: str | None = None) -> PoseConfig | None:
    """The detector that the params and `--detector` name; None, which means the right one for each picture, where neither does.

    A file that is named on the command line is vouched for by who names it.
    """
    config = load_params(params or PARAMS).pose if params is not None or PARAMS.is_file() else None
    if detector is None:
        return config
    config = config or PoseConfig.model_validate(DEFAULTS)
    named = {
        "weights": str(shipped().path) if detector == "shipped" else detector,
        "sha256": "",
        "image_size": AUTO,
        "trust_unpinned": True,
    }
    return PoseConfig.model_validate(config.model_dump() | named)


def newest_model(folder: Path) -> Path | None:
    """The generator in `folder` that was written last: a .safetensors file, or an exported folder; None if there is none."""
    from posegan.model.generator_file import DISCRIMINATOR  # late, as it needs torch

    files = (path for path in folder.glob("*.safetensors") if path.name != DISCRIMINATOR)
    found = [*files, *(weights.parent for weights in folder.glob("*/model.safetensors"))]
    written = ((path / "model.safetensors" if path.is_dir() else path).stat().st_mtime_ns for path in found)
    return max(zip(written, found, strict=True), default=(0, None))[1]


def listed_pictures(folder: Path) -> list[Path]:
    """The picture files of a folder, by name; what else lies in it is told on stderr, since nothing is lost silently."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    pictures = [path for path in files if path.suffix.lower() in PICTURES and path.is_file()]
    if others := [path.name for path in files if path not in set(pictures)]:
        click.echo(
            f"{folder}: {len(others):,} left out that {'is' if len(others) == 1 else 'are'} no picture, such as {others[0]}", err=True
        )
    return pictures


FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def save_image(path: Path, image: PIL.Image.Image) -> None:
    """Write a picture in the format of the path's extension; errors as `picture_format`, and a disk that is full."""
    buffer = io.BytesIO()
    image.save(buffer, picture_format(path), quality=95)  # PNG has no quality and ignores it
    write_atomically(path, buffer.getvalue())


def picture_format(path: Path, *others: str) -> str:
    """Pillow's name of the format that a path's extension means; "" for one of the `others`.

    Raises:
        PoseGANError: another extension.
    """
    suffix = path.suffix.lower()
    if suffix not in (*FORMATS, *others):
        raise PoseGANError(f"{path}: expected a name that ends in {', '.join((*FORMATS, *others))}, got '{path.suffix}'")
    return FORMATS.get(suffix, "")
