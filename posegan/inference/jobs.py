"""Many transfers in a row: files in, drawings out, read ahead and drawn in batches.

People are read from image files many at a time: decoded, found, cut out; each is remembered for when it comes again.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import PIL.Image

from posegan.errors import PoseGANError
from posegan.formats.annotation import FRACTIONS, Annotation, in_pixels, scaled
from posegan.formats.plausible import outside_doubt, refuse_outside
from posegan.images import Picture
from posegan.inference.pose_texts import PoseText, Row, read_row
from posegan.inference.transfer import Fitted, PoseTransfer
from posegan.orientation import UPRIGHT, stored_orientation
from posegan.people.detection import Keypoints, Posed, read_image, torso_of
from posegan.people.estimator import PersonPose
from posegan.people.placing import paste_back, place_keypoints
from posegan.people.pose_library import library_pose
from posegan.pictures import draw_skeleton, image_grid
from posegan.skeleton import JOINTS

DECODERS = 4  # threads


class Person(NamedTuple):
    """Somebody found in an image file."""

    path: Path
    size: tuple[int, int]  # width, height in pixels of the file's image
    pose: PersonPose  # in pixels of the file's image
    fitted: Fitted
    photo: PIL.Image.Image | None  # the file's image, where it was asked to be kept
    doubt: str = ""  # what is hard to believe of joints that a file has for it

    def described(self) -> dict[str, Any]:
        """What was detected, as JSON has it."""
        joints = {
            name: [round(float(value), 3) for value in joint] if joint[2] > 0 else None
            for name, joint in zip(JOINTS, self.pose.keypoints, strict=True)
        }
        box = [round(float(value), 3) for value in self.pose.box]
        width, height = self.size
        confidence = round(self.pose.confidence, 4)
        return {"image": str(self.path), "width": width, "height": height, "confidence": confidence, "box": box, "keypoints": joints}


class People:
    """Reads image files into people; use it as a context, which ends its threads.

    Args:
        transfer: whose size and detector are used.
        keep_photos: keep the whole image, to paste a result back.
        remembered: how many people stay in memory.
        keypoints: a file that has the joints of the images, by their names; None: they are found.
    """

    def __init__(self, transfer: PoseTransfer, keep_photos: bool = False, remembered: int = 512, keypoints: Path | None = None) -> None:
        self._transfer, self._keep_photos, self._remembered, self._keypoints = transfer, keep_photos, remembered, keypoints
        self._people: OrderedDict[Path, Person | PoseGANError] = OrderedDict()
        self._decoding: dict[Path, Future[PIL.Image.Image]] = {}
        self._pool = ThreadPoolExecutor(DECODERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def expect(self, paths: Iterable[Path]) -> None:
        """Begin to decode files that `read` will be asked for."""
        for path in paths:
            if path not in self._people and path not in self._decoding:
                self._decoding[path] = self._pool.submit(read_image, path)

    def read(self, paths: Iterable[Path]) -> dict[Path, Person | PoseGANError]:
        """The person of each file, or why there is none."""
        wanted = list(dict.fromkeys(paths))
        self.expect(wanted)
        images: dict[Path, PIL.Image.Image] = {}
        result: dict[Path, Person | PoseGANError] = {path: self._people[path] for path in wanted if path in self._people}
        for path in wanted:
            if path not in result:
                try:
                    images[path] = self._decoding.pop(path).result()
                except PoseGANError as error:
                    result[path] = error
        result |= self._find(images) if self._keypoints is None else {path: self._look_up(path, image) for path, image in images.items()}
        self._people.update(result)
        while len(self._people) > self._remembered:
            self._people.popitem(last=False)
        return result

    def one(self, path: Path) -> Person:
        """The person of one file.

        Raises:
            PoseGANError: not a usable image, or nobody whole in it.
        """
        person = self.read([path])[path]
        if isinstance(person, PoseGANError):
            raise person
        return person

    def _find(self, images: dict[Path, PIL.Image.Image]) -> dict[Path, Person | PoseGANError]:
        people = self._transfer.detector.estimate(list(images.values())) if images else []
        return {path: self._person(path, image, person) for (path, image), person in zip(images.items(), people, strict=True)}

    def _look_up(self, path: Path, image: PIL.Image.Image) -> Person | PoseGANError:
        try:
            row = read_row(self._keypoints or Path(), str(path), path.name)
            same = row.size in (None, image.size)
            placed = as_person(row, path.name, image.size, UPRIGHT if same else stored_orientation(path.read_bytes()))
        except PoseGANError as error:
            return error
        person = self._person(path, image, placed)
        return person if isinstance(person, PoseGANError) else person._replace(doubt=outside_doubt(placed.keypoints, image.size))

    def _person(self, path: Path, image: PIL.Image.Image, pose: PersonPose | None) -> Person | PoseGANError:
        try:
            keypoints = torso_of(pose, str(path))
        except PoseGANError as error:
            return error
        assert pose is not None  # `torso_of` refuses nobody
        return Person(path, image.size, pose, self._transfer.fit(Posed(image, keypoints)), image if self._keep_photos else None)


def as_person(row: Row, name: str, size: tuple[int, int], orientation: int = UPRIGHT) -> PersonPose:
    """Joints that a file has for the image `name` of `size` (width, height), as if found in it.

    Raises:
        PoseGANError: they were made on an image of another shape, or all lie outside of this one.
    """
    joints = in_pixels(Annotation(name, row.keypoints, 1.0, row.size), size, orientation).keypoints
    refuse_outside(name, joints, size)
    there = joints[:, 2] > 0
    box = np.concatenate([joints[there, :2].min(axis=0), joints[there, :2].max(axis=0)])
    return PersonPose(joints.astype(np.float32), float(joints[there, 2].mean()), box.astype(np.float32))


class Job(NamedTuple):
    """What to draw, and where to put it."""

    source: Path
    pose: PoseText
    out: Path


class Aim(NamedTuple):
    """A target pose in the generator's frame, and who showed it, if somebody did."""

    keypoints: Keypoints
    person: Person | None
    doubt: str = ""  # what is hard to believe of its joints


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
        PoseGANError: no such pose or row, nobody whole in the picture, or joints that all lie outside of their image.
    """
    if pose.picture is not None:
        person = found[pose.picture]
        if isinstance(person, PoseGANError):
            raise person
        return Aim(person.fitted.keypoints, person)
    if pose.table is not None:
        row = read_row(pose.table, pose.row)
        if row.size != FRACTIONS:
            known = row.size or size
            if known:
                refuse_outside(pose.name, row.keypoints, known)
            doubt = outside_doubt(row.keypoints, known) if known else ""
            return Aim(place_keypoints(row.keypoints, known, *transfer.size), None, doubt)
        if size is None:
            raise PoseGANError(
                f"{pose.table}: gives joints in fractions of an image and does not say its size; make a table of it with "
                "`python -m pipeline import-keypoints --size WIDTHxHEIGHT`, and name that"
            )
        return Aim(place_keypoints(scaled(row.keypoints, FRACTIONS, size), size, *transfer.size), None)
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
