"""Pictures to files: PNG or JPEG by the name, whole or not at all."""

import io
from pathlib import Path

import PIL.Image

from posegan.errors import PoseGANError
from posegan.files import write_atomically

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
