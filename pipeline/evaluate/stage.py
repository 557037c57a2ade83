"""Stage evaluate: generated images against the real ones on held-out pairs, between a floor and a ceiling.

The floor is `copy_source`, the source image handed over as the answer; the ceiling is `real_target`. The images are the
generator's, or those of a folder that another program wrote.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import PIL.Image
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.evaluate.album import AlbumMaker
from pipeline.evaluate.judge import Judge
from pipeline.evaluate.networks import Networks, open_networks
from pipeline.evaluate.other_images import OtherImages
from pipeline.evaluate.own_names import archive_pairs, photo_files, with_photos
from pipeline.evaluate.report import Evaluation, report_files, write_report
from pipeline.evaluate.scores import Summary, flat_metrics, summarise
from pipeline.evaluate.stopwatch import Stopwatch
from pipeline.evaluate.train_images import train_moments
from pipeline.pose.weights import with_local_weights
from pipeline.unchanged import StageCommand
from posegan.cli import params_option
from posegan.config import EvaluateConfig, Params, PoseConfig, load_params
from posegan.data.batches import PairBatch, on_device, to_pictures
from posegan.data.index import ShardIndex
from posegan.data.named_stream import NamedStream
from posegan.data.streams import ListedStream
from posegan.device import choose_device, keep_freed_memory, measuring_device
from posegan.errors import PoseGANError
from posegan.files import atomic_path, check_replaceable, note, noted, write_atomically
from posegan.formats.pair_csv import read_pair_csv
from posegan.frozen.inception import Moments
from posegan.model.generator_file import GeneratorCard, load_generator, read_generator_card
from posegan.people.detectors import settled
from posegan.people.estimator import Detector, PoseEstimator
from posegan.places import FILE, OUTPUT, OUTPUT_FOLDER, WORKING_FOLDER, check_places
from posegan.training.samples import generate

_SEEN = 0.8  # share of the real images' people and joints that a detector has to find for its word to count
STATE = Path("state/evaluate")  # features of the real images, for the next run; outside DVC's outs
Stream = ListedStream | NamedStream


class Places(NamedTuple):
    """Where the evaluation reads."""

    shards: Path | str
    weights: Path
    downloads: Path
    state: Path | None = None


class Subject(NamedTuple):
    """What is judged: batches of pairs, each with the images generated for it and, where they lie in files, their names."""

    batches: Iterable[tuple[PairBatch, Tensor, Sequence[str] | None]]
    stream: Stream
    card: GeneratorCard | None  # of our generator


@click.command(cls=StageCommand)
@params_option()
@click.option(
    "--shards", default="data/shards", show_default=True, help="Folder of the shard stage, or the address of a copy (https://, s3://)."
)
@click.option("--model", type=FILE, default=Path("models/generator.safetensors"), show_default=True, help="Generator of the train stage.")
@click.option("--images", type=FILE, help="Judge the images of this folder, of whatever origin, instead of the generator's.")
@click.option("--pairs", type=FILE, help="Which pairs, a CSV from,to.  [default: those of evaluate.pairs and evaluate.seed]")
@click.option("--save-images", type=OUTPUT_FOLDER, help="Folder to write the generated images to, as <from>_2_<to>.png.")
@click.option("--weights", type=FILE, default=Path("data/weights"), show_default=True, help="Weights of the metrics' networks.")
@click.option("--live", type=FILE, default=Path("dvclive"), show_default=True, help="Training logs, for the report's curves.")
@click.option("--metrics", "metrics_path", type=OUTPUT, help="Numbers to write.  [default: metrics.json; beside the report with --images]")
@click.option("--report", type=OUTPUT_FOLDER, help="Folder to write.  [default: reports/evaluation; reports/judged/<name> with --images]")
@click.option("--downloads", type=WORKING_FOLDER, default=Path("data/downloads"), show_default=True, help="For weights that are fetched.")
def evaluate(
    params_path: Path,
    shards: str,
    model: Path,
    images: Path | None,
    pairs: Path | None,
    save_images: Path | None,
    weights: Path,
    live: Path,
    metrics_path: Path | None,
    report: Path | None,
    downloads: Path,
) -> None:
    """Judge generated images on held-out pairs and write the report (parameters: image, evaluate, pose).

    Beside the generated images the same numbers are taken for the source image, warped by the ten parts without any
    network (the floor) and copied, and for the real image (the ceiling). docs/metrics.md says what each number is.
    """
    started = time.monotonic()
    keep_freed_memory()
    if images and save_images:
        raise PoseGANError("--save-images is for the generator's images; leave it out with --images")
    default = Path("reports/judged") / images.resolve().name if images else Path("reports/evaluation")
    report = report or default
    metrics_path = metrics_path or (report.with_name(f"{report.name}.json") if images else Path("metrics.json"))
    check_replaceable(report, report_files)  # now, and not after all the work
    if save_images:
        check_replaceable(save_images, noted)
    check_places({"--report": report, "--metrics": metrics_path}, [images] if images else [])
    params = load_params(params_path)
    places = Places(shards, weights, downloads, STATE)
    files = photo_files(shards)
    listed = [(pair.source, pair.target) for pair in read_pair_csv(pairs)] if pairs else None
    stream = open_stream(params, shards, None if listed is None else archive_pairs(listed, files))
    subject = other_images(params, stream, images, listed) if images else own_images(params, stream, model, save_images)
    config = judging_detector(params)
    detector = PoseEstimator(with_local_weights(config, downloads))
    evaluation, watch = judge(params, subject, detector, places)
    evaluation = evaluation._replace(table=with_photos(evaluation.table, files))
    with watch.part("report"):
        write_report(report, evaluation, live)
    watch.write(report.with_name(f"{report.name}.times.json"))
    numbers = flat_metrics(evaluation.scores, len(evaluation.table))
    write_atomically(metrics_path, json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    click.echo(summary_table(evaluation))
    if warning := doubt(evaluation.scores, config.weights):
        click.echo(f"evaluate: {warning}", err=True)
    click.echo(f"evaluate: where the time went: {watch}")
    click.echo(f"evaluate: {len(evaluation.table):,} pairs in {time.monotonic() - started:.1f} s; report in {report / 'index.html'}")


def judging_detector(params: Params) -> PoseConfig:
    """The detector of `evaluate.detector`, with the thresholds of `pose`; `auto` goes by the size of the judged images."""
    judge = params.evaluate.detector.model_dump()
    config = params.pose.model_copy(update={**judge, "source": "detector", "device": params.evaluate.device})
    return settled(config, [(params.image.height, params.image.width)])


def doubt(scores: Summary, weights: str) -> str:
    """A sentence where the detector does not see the real images, and so cannot judge others; empty where it does."""
    real = scores.values["real_target"]
    if real.get("found", 1) >= _SEEN and real.get("pck", 1) >= _SEEN:
        return ""
    return (
        f"warning: on the real images {Path(weights).name} finds {real['found']:.0%} of the people and {real['pck']:.0%} of their "
        "joints, so DS and PCK say little; name a detector that sees such images in evaluate.detector.weights"
    )


def open_stream(params: Params, shards: Path | str, listed: list[tuple[str, str]] | None) -> Stream:
    """The listed pairs, or else the fixed seeded list of the test split.

    Raises:
        PoseGANError: no shards, none of the split test, or a pair that they do not hold.
    """
    index, config = ShardIndex.load(shards), params.evaluate
    if listed is not None:
        return NamedStream(index, "test", params.image, config.batch_size, listed)
    return ListedStream(index, "test", params.image, config.batch_size, config.pairs, config.seed)


def own_images(params: Params, stream: Stream, model: Path, save: Path | None = None) -> Subject:
    """What the generator draws for the pairs of a stream; also written into the folder `save`, where one is given.

    Raises:
        PoseGANError: no generator at `model`, or one for images of another size.
    """
    card, device = read_generator_card(model), choose_device(params.evaluate.device)
    ours, theirs = (f"{image.height} x {image.width}" for image in (params.image, card.image))
    if ours != theirs:
        raise PoseGANError(
            f"{model}: draws images of {theirs}, params ask for {ours}; train it again or correct image.height and image.width"
        )
    generator, measured = load_generator(model, device), measuring_device(device)

    def batches() -> Iterator[tuple[PairBatch, Tensor, Sequence[str] | None]]:
        for batch in stream:
            drawn = generate(generator, on_device(batch, device)).to(measured)
            yield on_device(batch, measured), drawn, _save(save, batch, drawn) if save else None

    return Subject(batches(), stream, card)


def other_images(params: Params, stream: Stream, folder: Path, listed: list[tuple[str, str]] | None) -> Subject:
    """The images of a folder, for the pairs of a stream.

    Raises:
        PoseGANError: an image is missing, damaged or of another size.
    """
    images = OtherImages(folder, params.image)
    if images.are_numbered and listed is None:
        raise PoseGANError(f"{folder}: its files have numbers, which are rows of a list of pairs; name that list with --pairs")
    # What is missing is said before any work is done.
    files = images.find(listed) if listed is not None else []
    ordered = iter([files[row] for row in stream.order] if isinstance(stream, NamedStream) else [])
    used: set[Path] = set()

    def batches() -> Iterator[tuple[PairBatch, Tensor, Sequence[str] | None]]:
        for batch in stream:
            pairs = list(zip(batch.sources, batch.targets, strict=True))
            paths = [next(ordered) for _ in pairs] if files else images.find(pairs, all_of_them=False)
            used.update(paths)
            yield batch, images.read(paths), [path.name for path in paths]
        if others := images.told_others(used):
            click.echo(f"evaluate: {folder}: {others}", err=True)

    return Subject(batches(), stream, None)


def judge(params: Params, subject: Subject, detector: Detector, places: Places) -> tuple[Evaluation, Stopwatch]:
    """Score everything; also gives where the time went.

    Raises:
        PoseGANError: weights that params name are missing or damaged, or the subject's own errors.
    """
    config, stream = params.evaluate, subject.stream
    networks = open_networks(config, places.weights, places.downloads, choose_device(config.device))
    order = stream.order if isinstance(stream, NamedStream) else None
    train = _train_moments(params, places, networks)
    scorer, album = Judge(detector, networks, config, _feature_file(places, networks, config), train), AlbumMaker(order)
    batches = tqdm(subject.batches, "evaluate", math.ceil(len(stream) / config.batch_size), unit="batch", mininterval=0.5, disable=None)
    started = time.perf_counter()
    for batch, generated, files in batches:
        scorer.watch.add("read and generate", time.perf_counter() - started, len(generated))
        scorer.add(batch, generated, files)
        with scorer.watch.part("pictures", len(generated)):
            album.add(batch, generated)
        started = time.perf_counter()
    table = scorer.table(order)
    sets, reasons = scorer.sets()
    with scorer.watch.part("intervals"):
        scores = summarise(table, sets, networks.reasons | reasons, config.bootstrap, config.seed)
    weights = tuple(networks.descriptions.items())
    told = Evaluation(table, scores.values, album.finish(), subject.card, params, scores, weights)
    return told._replace(listed=order is not None, detector=judging_detector(params)), scorer.watch


def summary_table(evaluation: Evaluation) -> str:
    """The numbers as text: a row a metric, the 95 % interval of the generated images behind their number."""
    scores = evaluation.scores
    lines = [f"{'':26}{'generated':>11}{'95 % interval':>21}{'warped':>11}{'copied':>11}{'real':>11}"]
    for name in scores.values["generated"]:
        own, *others = (_cell(scores.values[method][name]) for method in scores.values)
        low, high = scores.intervals["generated"].get(name, (math.nan, math.nan))
        interval = f"{_cell(low)} .. {_cell(high)}" if math.isfinite(low) else ""
        lines.append(f"{name:26}{own:>11}{interval:>21}{''.join(f'{cell:>11}' for cell in others)}")
    return "\n".join([*lines, *(f"{name}: {reason}" for name, reason in scores.reasons.items())])


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _save(folder: Path, batch: PairBatch, images: Tensor) -> list[str]:
    names = [f"{Path(source).stem}_2_{Path(target).stem}.png" for source, target in zip(batch.sources, batch.targets, strict=True)]
    note(folder, names)
    for name, picture in zip(names, to_pictures(images), strict=True):
        with atomic_path(folder / name) as temporary:
            PIL.Image.fromarray(picture).save(temporary, "PNG")
    return names


def _train_moments(params: Params, places: Places, networks: Networks) -> Moments | None:
    if networks.inception is None:
        return None
    index = ShardIndex.load(places.shards)
    shown = f"{index.sha256} {params.image.height} x {params.image.width}"
    return train_moments(index, params.image, networks.inception, _feature_file(places, networks, params.evaluate, shown))


def _feature_file(places: Places, networks: Networks, config: EvaluateConfig, images: str = "") -> Path | None:
    """Where the real images' features are kept: named after everything that decides them but the images, which `images` may name."""
    if places.state is None or networks.inception is None:
        return None
    key = f"{images}{networks.sha256s['inception']} {choose_device(config.device).type} torch {torch.__version__}"
    return places.state / f"inception-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
