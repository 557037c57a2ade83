"""Many transfers in a row: files in, drawings out, read ahead and drawn in batches."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image

from posegan.detection import Keypoints
from posegan.errors import PoseGANError
from posegan.images import draw_skeleton, image_grid
from posegan.inference import PoseTransfer
from posegan.people import People, Person
from posegan.placing import paste_back, place_keypoints
from posegan.pose_library import library_pose
from posegan.pose_texts import PoseText, read_row
from posegan.samples import Picture


class Job(NamedTuple):
    """What to draw, and where to put it."""

    source: Path
    pose: PoseText
    out: Path


class Aim(NamedTuple):
    """A target pose in the generator's frame, and who showed it, if somebody did."""

    keypoints: Keypoints
    person: Person | None


class Drawn(NamedTuple):
    """A job that was done."""

    job: Job
    source: Person
    aim: Aim
    picture: Picture  # (H, W, 3)


class Failed(NamedTuple):
    """A job that could not be done, and why."""

    job: Job
    error: PoseGANError


def draw_all(jobs: Iterable[Job], transfer: PoseTransfer, people: People, batch_size: int) -> Iterator[Drawn | Failed]:
    """Every job in order, `batch_size` at a time; while one batch is drawn, the files of the next are decoded."""
    waiting = iter(jobs)
    batch = list(islice(waiting, batch_size))
    while batch:
        following = list(islice(waiting, batch_size))
        found = people.read(_files(batch))
        people.expect(_files(following))
        yield from _draw_batch(batch, transfer, found)
        batch = following


def comparison(drawn: Drawn) -> PIL.Image.Image:
    """Source, target pose, drawing and, where the pose is that of a picture, the picture, side by side."""
    height, width = drawn.picture.shape[:2]
    row = [drawn.source.fitted.pixels, draw_skeleton(drawn.aim.keypoints, height, width), drawn.picture]
    header = ["source", "target pose", "generated"]
    if drawn.aim.person is not None:
        row.append(drawn.aim.person.fitted.pixels)
        header.append("target")
    return image_grid([row], header)


def pasted(drawn: Drawn) -> PIL.Image.Image:
    """The drawing in its source's photograph, in the source's place; `People` must keep photos for it."""
    if drawn.source.photo is None:
        raise ValueError("source: its photo was not kept")
    return paste_back(drawn.source.photo, PIL.Image.fromarray(drawn.picture), drawn.source.fitted.fit)


def read_aim(pose: PoseText, transfer: PoseTransfer, found: dict[Path, Person | PoseGANError], size: tuple[int, int] | None = None) -> Aim:
    """The pose that a text means, in the generator's frame; a picture's person stands in `found`.

    Args:
        size: width and height of the image whose row of keypoints it is, if its file does not say.

    Raises:
        PoseGANError: no such pose or row, or nobody whole in the picture.
    """
    if pose.picture is not None:
        person = found[pose.picture]
        if isinstance(person, PoseGANError):
            raise person
        return Aim(person.fitted.keypoints, person)
    if pose.table is not None:
        row = read_row(pose.table, pose.row)
        return Aim(place_keypoints(row.keypoints, row.size or size, *transfer.size), None)
    return Aim(library_pose(pose.name, *transfer.size), None)


def _files(jobs: list[Job]) -> list[Path]:
    return [path for job in jobs for path in (job.source, job.pose.picture) if path is not None]


def _draw_batch(jobs: list[Job], transfer: PoseTransfer, found: dict[Path, Person | PoseGANError]) -> Iterator[Drawn | Failed]:
    results: list[tuple[Job, Person, Aim] | Failed] = []
    for job in jobs:
        source = found[job.source]
        try:
            if isinstance(source, PoseGANError):
                raise source
            results.append((job, source, read_aim(job.pose, transfer, found)))
        except PoseGANError as error:
            results.append(Failed(job, error))
    ready = [result for result in results if not isinstance(result, Failed)]
    pictures: Iterator[Picture] = iter(())
    if ready:
        drawn = transfer.draw([source.fitted for _, source, _ in ready], [aim.keypoints for _, _, aim in ready])
        pictures = iter(np.asarray(drawn.permute(0, 2, 3, 1)))
    for result in results:
        yield result if isinstance(result, Failed) else Drawn(*result, next(pictures))
