"""How good detector weights are: on real crops, on drawings, on people who are small in a picture, and where nobody is.

Legend: K = 18 joints, N pictures. A joint is right when it is found within some pixels of where it is known to be; a person who is
not found has no joint right. What is known of a crop are the published joints, of a drawing the joints that can be seen.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.pose_model.crops import Crop, paste
from pipeline.pose_model.drawings import HELD_OUT, draw_block
from pipeline.pose_model.labels import COCO_TO_JOINT, SEEN, Labelled, Person
from pipeline.pose_model.negatives import Empty, Kind, draw_empty
from posegan.config import PoseConfig, RayConfig
from posegan.files import sha256_of
from posegan.images import decode_image
from posegan.people.estimator import PersonPose, PoseEstimator
from posegan.skeleton import MIRROR, NECK

Floats = npt.NDArray[np.float64]
Find = Callable[[Sequence[Image.Image]], list[PersonPose | None]]

CROP_PIXELS, DRAWING_PIXELS = 6.4, 5.0  # a twentieth of a crop's height; what the drawn people were always measured by
SIZES = (128, 192, 256, 320)  # px of the detector's input for a crop
SCENE_SIZES = (256, 320, 640)
PERSON_CONFIDENCE, JOINT_CONFIDENCE = 0.25, 0.3  # params.yaml's defaults
BINS = 5
_SCENE = (480, 640)  # height, width

# The joints that count: the neck is no joint of the detector's, but the middle of two others.
_COUNTED = [joint for joint in range(len(MIRROR)) if joint != NECK]
_SIDED = [joint for joint in _COUNTED if MIRROR[joint] != joint]


class Known(NamedTuple):
    """A picture and where its one person's joints are: `(K, 3)` x, y, and above 0 where that is known."""

    image: Image.Image
    joints: npt.NDArray[np.float32]


class Score(NamedTuple):
    """What was found of N people of one kind at one input size."""

    people: int
    found: float  # share
    right: float  # share of the known joints, those of people not found among the wrong
    error: float  # px, median of the known joints of people found
    exchanged: float  # share of the found whose joints fit better with left and right exchanged
    confidence: float  # median of the found people's


class Bin(NamedTuple):
    """Things found with a confidence between two bounds, and the share of them that are right."""

    low: float
    high: float
    mean: float  # of their confidences
    things: int
    right: float


def estimator_of(weights: Path, image_size: int) -> PoseEstimator:
    """The project's own estimator, which keeps every joint however unsure."""
    return PoseEstimator(
        PoseConfig(
            source="detector", annotations=[], weights=str(weights), sha256=sha256_of(weights), trust_unpinned=False,
            image_size=image_size, batch_size=64, person_confidence=PERSON_CONFIDENCE, joint_confidence=0.0, precision="float32",
            device="cpu", engine="local", ray=RayConfig(address="", workers=0, cpus=1.0, gpus=0.0),
        )
    )  # fmt: skip


def known_crops(crops: Sequence[Crop]) -> list[Known]:
    """Real crops with their published joints."""
    return [Known(decode_image(crop.jpeg), crop.published) for crop in crops]


def known_drawings(count: int, seed: int, vivid_share: float, stream: int = HELD_OUT) -> list[Known]:
    """Drawings of seeds that no training saw, with the joints that can be seen in them; the one in front is meant."""
    drawings = [people[-1] for people in draw_block(seed, stream, 0, count, vivid_share)]
    known = []
    for drawing in drawings:
        if drawing.box is not None:
            joints = drawing.joints.copy()
            joints[:, 2] = joints[:, 2] == SEEN
            known.append(Known(decode_image(drawing.jpeg), joints))
    return known


def known_scenes(crops: Sequence[Crop], kinds: Sequence[Kind], count: int, seed: int, root: Path) -> list[Known]:
    """Larger pictures in which one real crop was pasted, at a third of its size to its size, and its published joints."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 4000)))
    chosen = rng.choice(len(crops), size=min(count, len(crops)), replace=False)
    known = []
    for number, empty in zip(chosen, draw_empty(kinds, len(chosen), seed + 1, [_SCENE], root), strict=True):
        crop = crops[int(number)]
        image = decode_image(crop.jpeg)
        whole = Person((0.0, 0.0, float(image.width), float(image.height)), crop.published[COCO_TO_JOINT])
        scene = paste(rng, empty.image, [Labelled(crop.jpeg, image.height, image.width, [whole])])
        joints = np.zeros_like(crop.published)
        joints[COCO_TO_JOINT] = scene.people[0].joints
        known.append(Known(decode_image(scene.jpeg), joints))
    return known


def distances(truth: npt.NDArray[np.float32], found: npt.NDArray[np.float32] | None) -> Floats:
    """Distances in px of the known joints of `truth` (K, 3), the neck left out; infinite where a joint, or nobody, was found."""
    known = [joint for joint in _COUNTED if truth[joint, 2] > 0]
    if found is None:
        return np.full(len(known), np.inf)
    result: Floats = np.linalg.norm(found[known, :2].astype(float) - truth[known, :2], axis=1)
    result[found[known, 2] == 0] = np.inf
    return result


def is_exchanged(truth: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> bool:
    """Whether the joints `found` (K, 3) are nearer to the known ones of `truth` (K, 3) with the body's sides exchanged.

    Only joints of a side count, those of which both readings have a place; the sums of their distances are compared.
    """
    other = found[list(MIRROR)]
    joints = [joint for joint in _SIDED if truth[joint, 2] > 0 and found[joint, 2] > 0 and other[joint, 2] > 0]
    straight, crossed = (np.linalg.norm(each[joints, :2] - truth[joints, :2], axis=1).sum() for each in (found, other))
    return bool(crossed < straight)


def score(known: Sequence[Known], people: Sequence[PersonPose | None], pixels: float) -> Score:
    """Compare what was found with what is known."""
    errors = [distances(each.joints, None if person is None else person.keypoints) for each, person in zip(known, people, strict=True)]
    every = np.concatenate(errors)
    seen = [(each, person) for each, person in zip(known, people, strict=True) if person is not None]
    return Score(
        people=len(known),
        found=len(seen) / len(known),
        right=float((every <= pixels).mean()),
        error=float(np.median(every[np.isfinite(every)])) if np.isfinite(every).any() else float("inf"),
        exchanged=sum(is_exchanged(each.joints, person.keypoints) for each, person in seen) / max(1, len(seen)),
        confidence=float(np.median([person.confidence for _, person in seen])) if seen else 0.0,
    )


def bins(confidences: Floats, right: Floats, count: int = BINS) -> list[Bin]:
    """`count` bins of equally many things, from the least to the most confident, and how right each is; (N,) and (N,) shares."""
    order = np.argsort(confidences, kind="stable")
    parts = [(confidences[part], right[part]) for part in np.array_split(order, count) if len(part)]
    return [Bin(float(sure[0]), float(sure[-1]), float(sure.mean()), len(sure), float(correct.mean())) for sure, correct in parts]


def joint_bins(known: Sequence[Known], people: Sequence[PersonPose | None], pixels: float) -> list[Bin]:
    """How often a joint is right, by the confidence it was found with; all of a person's known joints, those of no confidence too."""
    confidences, right = [], []
    for each, person in zip(known, people, strict=True):
        if person is not None:
            joints = [joint for joint in _COUNTED if each.joints[joint, 2] > 0]
            confidences.append(person.keypoints[joints, 2].astype(float))
            right.append((distances(each.joints, person.keypoints) <= pixels).astype(float))
    return bins(np.concatenate(confidences), np.concatenate(right))


def person_bins(known: Sequence[Known], people: Sequence[PersonPose | None], pixels: float, by_joints: bool = False) -> list[Bin]:
    """What share of a person's joints is right, by the confidence that somebody is there, or by the mean confidence of the joints found."""
    pairs = [(person, distances(each.joints, person.keypoints)) for each, person in zip(known, people, strict=True) if person is not None]
    pairs = [(person, errors) for person, errors in pairs if len(errors)]
    confidences = [_mean_confidence(person) if by_joints else person.confidence for person, _ in pairs]
    return bins(np.array(confidences), np.array([(errors <= pixels).mean() for _, errors in pairs]))


def _mean_confidence(person: PersonPose) -> float:
    """Over the joints that a table of keypoints would hold; 0 without any."""
    joints = person.keypoints[_COUNTED, 2]
    return float(joints[joints >= JOINT_CONFIDENCE].mean()) if (joints >= JOINT_CONFIDENCE).any() else 0.0


def invented(find: Find, pictures: Sequence[Empty]) -> dict[str, tuple[int, int]]:
    """For each kind of pictures without people: in how many somebody was found, and of how many."""
    people = find([picture.image for picture in pictures])
    hits = Counter(picture.kind for picture, person in zip(pictures, people, strict=True) if person is not None)
    return {kind: (hits[kind], count) for kind, count in Counter(picture.kind for picture in pictures).items()}


def speed(find: Find, images: Sequence[Image.Image]) -> float:
    """Images a second, the first batch left out as warm-up."""
    find(images[:64])
    started = time.perf_counter()
    find(images)
    return len(images) / (time.perf_counter() - started)
