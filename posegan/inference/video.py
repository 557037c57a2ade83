"""Moving pictures to and from files: GIF by Pillow, others by PyAV (the extra `video`), and strips.

Legend: T pictures, uint8 (H, W, 3) RGB.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image

from posegan.errors import PoseGANError
from posegan.files import atomic_path
from posegan.images import MAX_PIXELS, Picture
from posegan.pictures import image_grid

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")
MOVING = (".gif", ".mp4")  # what is written; .png is a strip


def read_video(path: Path, most: int) -> Iterator[PIL.Image.Image]:
    """The first `most` pictures of a video, upright.

    Raises:
        PoseGANError: no such file, not a video, damaged, or of pictures above 64 megapixels.
    """
    av = _pyav(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise PoseGANError(f"{path}: holds no moving picture; name a video")
            for number, frame in enumerate(container.decode(video=0)):
                if number == most:
                    return
                if frame.width * frame.height > MAX_PIXELS:
                    raise PoseGANError(f"{path}: {frame.width} x {frame.height} pixels, more than the {MAX_PIXELS:,} allowed")
                pixels = frame.to_ndarray(format="rgb24")
                yield PIL.Image.fromarray(np.rot90(pixels, round(frame.rotation / 90)).copy() if frame.rotation else pixels)
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise PoseGANError(f"{path}: not a video that can be read ({error})") from error


def write_moving(path: Path, pictures: Sequence[Picture], rate: float) -> None:
    """Write `pictures`, all of one size, at `rate` a second: .gif, which repeats, .mp4 (H.264), or .png, a strip of them.

    Raises:
        PoseGANError: the file cannot be written, or PyAV is needed and not installed.
    """
    suffix = path.suffix.lower()
    with atomic_path(path) as temporary:
        if suffix == ".png":
            image_grid([pictures], scale=1).save(temporary, "PNG")
        elif suffix == ".gif":
            frames = [PIL.Image.fromarray(picture).quantize(256, dither=PIL.Image.Dither.NONE) for picture in pictures]
            # GIF counts in hundredths of a second, and browsers slow anything below two of them down.
            delay = max(2, round(100 / rate)) * 10
            frames[0].save(temporary, "GIF", save_all=True, append_images=frames[1:], duration=delay, loop=0, disposal=1)
        else:
            _write_mp4(path, temporary, pictures, rate)


def _write_mp4(path: Path, temporary: Path, pictures: Sequence[Picture], rate: float) -> None:
    av = _pyav(path)
    height, width = (side + side % 2 for side in pictures[0].shape[:2])  # its colours are stored for blocks of 2 x 2
    try:
        with av.open(str(temporary), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"crf": "16"}
            for picture in pictures:
                padded = np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)), mode="edge")
                for packet in stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
    except av.error.FFmpegError as error:
        raise PoseGANError(f"{path}: could not be written ({error}); free some space, or write a .gif") from error


def _pyav(path: Path) -> ModuleType:
    try:
        import av
    except ImportError:
        raise PoseGANError(f'{path}: videos need PyAV; install it with pip install "posegan[video]", or use pictures and .gif') from None
    return av
