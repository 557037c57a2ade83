"""All measurements of one file of weights: as figures for its card, and as Markdown to read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.pose_model.crops import Crop
from pipeline.pose_model.measure import (
    CROP_PIXELS,
    DRAWING_PIXELS,
    SCENE_SIZES,
    SIZES,
    Bin,
    Known,
    Score,
    estimator_of,
    invented,
    joint_bins,
    known_crops,
    known_drawings,
    known_scenes,
    person_bins,
    score,
    speed,
)
from pipeline.pose_model.negatives import SHAPES, draw_empty, kinds_at_hand

_SCENES = 400  # at 640 px each costs as much as ten crops at 256

Invented = Mapping[str, tuple[int, int]]  # kind: (pictures in which somebody was found, pictures)


class Pictures(NamedTuple):
    """People of one kind to measure on."""

    kind: str  # key of the card
    title: str
    pixels: float  # within which a joint is right
    sizes: Sequence[int]
    known: Sequence[Known]


class Measured(NamedTuple):
    """What was measured on one kind of pictures."""

    kind: str
    title: str
    pixels: float
    scores: dict[int, Score]  # by input size
    best: int  # the size at which the largest share of joints is right
    joints: list[Bin]  # at that size
    people: list[Bin]
    people_by_joints: list[Bin]


class Report(NamedTuple):
    """Everything that was measured."""

    people: list[Measured]
    invented: dict[int, Invented]  # by input size
    speeds: dict[int, float]  # images a second by input size
    skipped: list[str]  # what could not be measured, and what to do about it


def kinds_of_people(crops: Sequence[Crop], images: int, seed: int, root: Path) -> list[Pictures]:
    """The pictures to measure on; without real crops, drawings alone."""
    kinds = [
        Pictures("drawings", "drawings as the sample's, unseen seeds", DRAWING_PIXELS, SIZES, known_drawings(images, seed, 0.0)),
        Pictures("vivid_drawings", "more varied drawings, unseen seeds", DRAWING_PIXELS, SIZES, known_drawings(images, seed, 1.0)),
    ]
    if crops:
        kinds.append(Pictures("crops", "real crops of people, Market-1501's test", CROP_PIXELS, SIZES, known_crops(crops)))
        held_out, _ = kinds_at_hand(False, root)
        photographed = [kind for kind in held_out if kind.draw is None]
        scenes = known_scenes(crops, photographed, min(images, _SCENES), seed, root) if photographed else []
        kinds += [Pictures("scenes", "real people, small in 640 x 480 pictures", CROP_PIXELS, SCENE_SIZES, scenes)] if scenes else []
    return kinds


def measure_people(weights: Path, pictures: Pictures) -> Measured:
    """Find the people of one kind at every size."""
    found = {}
    for size in pictures.sizes:
        estimator = estimator_of(weights, size)
        found[size] = estimator.estimate([each.image for each in pictures.known])
    scores = {size: score(pictures.known, people, pictures.pixels) for size, people in found.items()}
    best = max(scores, key=lambda size: scores[size].right)
    at_best = pictures.known, found[best], pictures.pixels
    return Measured(
        pictures.kind, pictures.title, pictures.pixels, scores, best,
        joint_bins(*at_best), person_bins(*at_best), person_bins(*at_best, by_joints=True),
    )  # fmt: skip


def measure_all(weights: Path, crops: Sequence[Crop], images: int, empty: int, seed: int, root: Path) -> Report:
    """Measure `weights` on people of every kind and on `empty` pictures without people, of the kinds held out."""
    kinds = kinds_of_people(crops, images, seed, root)
    there, absent = kinds_at_hand(False, root)
    pictures = list(draw_empty(there, empty, seed, SHAPES, root))
    drawings = [each.image for each in kinds[0].known][:512]
    skipped = [f"pictures without people: no {kind.name} ({kind.install})" for kind in absent]
    if not crops:
        skipped.append("real crops: name Market-1501 with --real and --annotations (docs/market1501.md)")
    return Report(
        people=[measure_people(weights, kind) for kind in kinds],
        invented={size: invented(estimator_of(weights, size).estimate, pictures) for size in SIZES},
        speeds={size: speed(estimator_of(weights, size).estimate, drawings) for size in SIZES},
        skipped=skipped,
    )


def as_markdown(report: Report) -> str:
    """The tables."""
    tables = [_people_table(each) for each in report.people]
    tables += [_bins_table(each) for each in report.people]
    tables += [_invented_table(report.invented), _speed_table(report.speeds)]
    return "\n\n".join([*tables, *(f"Not measured: {reason}." for reason in report.skipped)])


def _people_table(measured: Measured) -> str:
    people = next(iter(measured.scores.values())).people
    lines = [
        f"| {people:,} {measured.title}: input, px | found | joints within {measured.pixels:g} px | median error, px | sides exchanged "
        "| median confidence |",
        "|---|---|---|---|---|---|",
    ]
    for size, each in measured.scores.items():
        name = f"**{size}**" if size == measured.best else str(size)
        lines.append(f"| {name} | {each.found:.1%} | {each.right:.3f} | {each.error:.1f} | {each.exchanged:.1%} | {each.confidence:.2f} |")
    return "\n".join(lines)


def _bins_table(measured: Measured) -> str:
    head = f"| {measured.title}, {measured.best} px: fifths by confidence | 1 | 2 | 3 | 4 | 5 |"
    rows = (("joints", measured.joints), ("people", measured.people), ("people, mean of their joints", measured.people_by_joints))
    lines = [f"| {name}: confidence -> right | " + " | ".join(_bin_text(each) for each in bins) + " |" for name, bins in rows]
    return "\n".join([head, "|---|---|---|---|---|---|", *lines])


def _bin_text(each: Bin) -> str:
    return f"{each.low:.2f} .. {each.high:.2f}, mean {each.mean:.2f} -> {each.right:.3f}"


def _invented_table(by_size: Mapping[int, Invented]) -> str:
    kinds = list(next(iter(by_size.values())))
    lines = ["| people found where nobody is | " + " | ".join(f"{size} px" for size in by_size) + " |", "|---|" + "---|" * len(by_size)]
    lines += [f"| {kind} | " + " | ".join(f"{found[kind][0]} of {found[kind][1]}" for found in by_size.values()) + " |" for kind in kinds]
    sums = [(sum(hit for hit, _ in found.values()), sum(count for _, count in found.values())) for found in by_size.values()]
    return "\n".join([*lines, "| **all** | " + " | ".join(f"**{hit} of {count}**" for hit, count in sums) + " |"])


def _speed_table(speeds: Mapping[int, float]) -> str:
    sizes, values = " | ".join(f"{size} px" for size in speeds), " | ".join(f"{value:.0f}" for value in speeds.values())
    return f"| crops, images a second | {sizes} |\n|---|{'---|' * len(speeds)}\n| here | {values} |"
