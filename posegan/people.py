"""People read from image files, many at a time: decoded, found, cut out; each remembered for when it comes again."""

from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import PIL.Image

from posegan.detection import Posed, read_image, torso_of
from posegan.errors import PoseGANError
from posegan.estimator import PersonPose
from posegan.inference import Fitted, PoseTransfer
from posegan.skeleton import JOINTS

DECODERS = 4  # threads


class Person(NamedTuple):
    """Somebody found in an image file."""

    path: Path
    size: tuple[int, int]  # width, height in pixels of the file's image
    pose: PersonPose  # in pixels of the file's image
    fitted: Fitted
    photo: PIL.Image.Image | None  # the file's image, where it was asked to be kept

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
    """

    def __init__(self, transfer: PoseTransfer, keep_photos: bool = False, remembered: int = 512) -> None:
        self._transfer, self._keep_photos, self._remembered = transfer, keep_photos, remembered
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
        people = self._transfer.detector.estimate(list(images.values())) if images else []
        for (path, image), person in zip(images.items(), people, strict=True):
            result[path] = self._person(path, image, person)
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

    def _person(self, path: Path, image: PIL.Image.Image, pose: PersonPose | None) -> Person | PoseGANError:
        try:
            keypoints = torso_of(pose, str(path))
        except PoseGANError as error:
            return error
        assert pose is not None  # `torso_of` refuses nobody
        return Person(path, image.size, pose, self._transfer.fit(Posed(image, keypoints)), image if self._keep_photos else None)
