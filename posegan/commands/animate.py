"""`posegan animate`: one person through a sequence of poses."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import numpy as np
from tqdm import tqdm

from posegan.commands.options import generator_options, listed_pictures, open_transfer
from posegan.errors import PoseGANError
from posegan.inference.pose_texts import PICTURES
from posegan.inference.video import MOVING, VIDEOS, read_video, write_moving
from posegan.places import FILE, OUTPUT, PlacedCommand

if TYPE_CHECKING:
    import PIL.Image

    from posegan.images import Picture
    from posegan.inference.transfer import Fitted, PoseTransfer
    from posegan.people.detection import Keypoints
    from posegan.people.placing import Poses

WALK = "walking"
BATCH = 16
STRIP = ".png"
_Item = TypeVar("_Item")
_TOLD = 20  # pictures whose loss is told one by one
_MOST_LOST = 0.5  # of a sequence's pictures; with more, too little is known of the movement


@click.command(cls=PlacedCommand)
@click.argument("source", type=FILE)
@click.option("--poses", required=True, help="walking/SIDE, a list such as standing/front,waving/front, a folder of pictures, or a video.")
@click.option("--out", required=True, type=OUTPUT, help="Where to write: .gif, .mp4, or .png for a strip.")
@click.option("--keypoints", type=FILE, help="A file that has the joints of SOURCE, by its name; then nobody looks for them.")
@click.option(
    "--frames", type=click.IntRange(2, 10_000), default=24, show_default=True, help="Of a walk; at most so many of a folder or video."
)
@click.option("--between", "steps", type=click.IntRange(1, 100), default=1, show_default=True, help="Pictures for each pose of a sequence.")
@click.option("--smooth", "sigma", type=click.FloatRange(0, 100), default=1.0, show_default=True, help="Of found poses: over how many.")
@click.option("--loop/--no-loop", default=None, help="Go from the last pose to the first.  [default: built-in poses do]")
@click.option("--rate", type=click.FloatRange(1, 100), default=12.0, show_default=True, help="Pictures a second.")
@click.option("--scale", type=click.IntRange(1, 8), default=2, show_default=True, help="Enlarge by.")
@click.option("--grid", is_flag=True, help="Show the source and the pose beside each picture.")
@generator_options
def animate(
    source: Path, poses: str, out: Path, keypoints: Path | None, frames: int, steps: int, sigma: float, loop: bool | None,
    rate: float, scale: int, grid: bool, model: Path | None, detector: str | None, params: Path | None, device: str,
) -> None:  # fmt: skip
    """Draw the person of the picture SOURCE moving.

    A walk closes into a loop. Poses of a folder (its pictures in the order of their names) or of a video are found; a joint that is lost
    for a few pictures is put between where it was before and after, and the movement is smoothed. The drawing follows the person.
    """
    if out.suffix.lower() not in (*MOVING, STRIP):
        raise PoseGANError(f"{out}: expected a name that ends in {', '.join((*MOVING, STRIP))}, got '{out.suffix}'")
    transfer = open_transfer(model, detector, params, device)
    from posegan.inference.jobs import People

    with People(transfer, keypoints=keypoints) as people:
        person = people.one(source)
    if person.doubt:
        click.echo(f"{source}: {person.doubt}", err=True)
    sequence = _sequence(poses, frames, steps, sigma, loop, transfer)
    drawn = [_enlarged(picture, scale) for picture in _draw(transfer, person.fitted, sequence, grid)]
    write_moving(out, drawn, rate)
    click.echo(f"{out}: {len(drawn)} pictures written")


def _sequence(text: str, frames: int, steps: int, sigma: float, loop: bool | None, transfer: "PoseTransfer") -> "Poses":
    from posegan.people.placing import between, fill_gaps, place_sequence, smooth
    from posegan.people.pose_library import POSES, library_pose, pose_names, walk

    if not text.strip():
        raise PoseGANError("--poses: expected walking/SIDE, a list of poses, a folder of pictures or a video, got nothing")
    path = Path(text)
    built_in = text in (WALK, *POSES, *pose_names())  # also where a folder is called so, as of earlier results
    if (path.is_dir() and not built_in) or path.suffix.lower() in VIDEOS:
        found = _found(path, frames, transfer)
        sequence = place_sequence(smooth(fill_gaps(found, longest=len(found)), sigma), *transfer.size)
        return between(sequence, steps, bool(loop))
    name, _, side = text.partition("/")
    if name == WALK:
        return walk(side or "front", frames, *transfer.size)
    keys = np.stack([library_pose(pose.strip(), *transfer.size) for pose in text.split(",")])
    return between(keys, steps if steps > 1 else max(1, frames // len(keys)), loop is not False)


def _found(path: Path, frames: int, transfer: "PoseTransfer") -> "Poses":
    """The poses of a folder's pictures or of a video, in pixels of the pictures; those before the first and after the last are left out."""
    from posegan.people.detection import torso_of
    from posegan.skeleton import JOINT_COUNT

    poses: list[Keypoints] = []
    lost: dict[int, str] = {}  # why, by number
    for pictures in _batched(tqdm(_pictures(path, frames), "poses", unit="image", disable=None), BATCH):
        for (name, _), person in zip(pictures, transfer.detector.estimate([image for _, image in pictures]), strict=True):
            try:
                poses.append(torso_of(person, name))
            except PoseGANError as error:
                lost[len(poses)] = str(error)
                poses.append(np.zeros((JOINT_COUNT, 3), np.float32))
    seen = [number for number in range(len(poses)) if number not in lost]
    if len(seen) < (1 - _MOST_LOST) * len(poses) or len(seen) < 2:
        why = f" ({next(iter(lost.values()))})" if lost else ""
        raise PoseGANError(
            f"{path}: only {len(seen)} of {len(poses)} pictures show a whole torso{why}; use one in which a person stays whole"
        )
    for number, reason in list(lost.items())[:_TOLD]:
        inside = seen[0] < number < seen[-1]
        click.echo(f"{reason}; {'put between its neighbours' if inside else 'left out'}", err=True)
    if len(lost) > _TOLD:
        click.echo(f"{path}: {len(lost) - _TOLD:,} more pictures without a whole torso", err=True)
    return np.stack(poses[seen[0] : seen[-1] + 1])


def _pictures(path: Path, most: int) -> "Iterator[tuple[str, PIL.Image.Image]]":
    """Names and pictures, at most `most`; what a folder holds besides, and what cannot be read, is told and left out."""
    from posegan.people.detection import read_image

    if not path.is_dir():
        yield from ((f"{path}, picture {number}", image) for number, image in enumerate(read_video(path, most), start=1))
        return
    files = listed_pictures(path)
    if len(files) < 2:
        raise PoseGANError(f"{path}: expected at least two pictures ({', '.join(PICTURES)}), found {len(files)}")
    if len(files) > most:
        click.echo(f"{path}: {len(files) - most:,} of {len(files):,} pictures left out, from {files[most].name} on; see --frames", err=True)
    for file in files[:most]:
        try:
            yield str(file), read_image(file)
        except PoseGANError as error:
            click.echo(f"{error}; left out", err=True)


def _batched(items: "Iterable[_Item]", size: int) -> "Iterator[list[_Item]]":
    waiting = iter(items)
    while batch := list(islice(waiting, size)):
        yield batch


def _draw(transfer: "PoseTransfer", person: "Fitted", poses: "Poses", grid: bool) -> "Iterator[Picture]":
    from posegan.pictures import draw_skeleton

    with tqdm(total=len(poses), desc="animate", unit="image", disable=None) as bar:
        for chunk in _batched(poses, BATCH):
            drawn = transfer.draw([person] * len(chunk), chunk).permute(0, 2, 3, 1).contiguous().numpy()
            for pose, picture in zip(chunk, drawn, strict=True):
                row = (person.pixels, draw_skeleton(pose, *transfer.size), picture)
                yield np.concatenate(row, axis=1) if grid else picture
            bar.update(len(chunk))


def _enlarged(picture: "Picture", scale: int) -> "Picture":
    import PIL.Image

    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    return np.asarray(PIL.Image.fromarray(picture).resize(size, PIL.Image.Resampling.BICUBIC))
