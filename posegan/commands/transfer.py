"""`posegan transfer`: one person, or a folder of them, in other poses."""

import json
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from posegan.commands.options import generator_options, listed_pictures, open_transfer, picture_format, save_image
from posegan.errors import PoseGANError
from posegan.files import check_replaceable, note, noted, write_atomically
from posegan.formats.names import ImageNames
from posegan.formats.pair_csv import read_pair_csv
from posegan.inference.pose_texts import PICTURES, parse_pose
from posegan.places import FILE, MEANT, OUTPUT_FILE_OR_FOLDER, PlacedCommand, check_places, is_there

if TYPE_CHECKING:
    from posegan.inference.jobs import Aim, Drawn, Job
    from posegan.inference.transfer import PoseTransfer

JSON = ".json"
_SEPARATORS = re.compile(r'[/\\:*?"<>|]')  # what some system takes for more than a part of a name
_WRITERS, _WAITING = 4, 64  # threads, and results that may wait for them


@click.command(cls=PlacedCommand)
@click.argument("source", type=FILE, required=False)
@click.option(
    "--pose", type=MEANT, help="A built-in pose such as walking-3/left, a picture of somebody, or FILE#IMAGE, a row of a file of keypoints."
)
@click.option("--pairs", type=FILE, help="A CSV from,to of pictures and poses, instead of SOURCE and --pose; its files are beside it.")
@click.option(
    "--out", required=True, type=OUTPUT_FILE_OR_FOLDER, help="Where to write: .png, .jpg, .json (what was detected), or a folder for many."
)
@click.option("--keypoints", type=FILE, help="A file that has the joints of all pictures, by their names; then nobody looks for them.")
@click.option("--grid", is_flag=True, help="Write source, target pose and result side by side.")
@click.option("--paste", is_flag=True, help="Write the whole SOURCE with the result in its person's place.")
@click.option("--format", "suffix", type=click.Choice(["png", "jpg", "json"]), default="png", show_default=True, help="In a folder.")
@click.option("--batch-size", type=click.IntRange(1, 1024), default=16, show_default=True, help="People drawn at once.")
@generator_options
def transfer(
    source: Path | None, pose: str | None, pairs: Path | None, out: Path, keypoints: Path | None, grid: bool, paste: bool, suffix: str,
    batch_size: int, model: Path | None, detector: str | None, params: Path | None, device: str,
) -> None:  # fmt: skip
    """Draw the person of the picture SOURCE, or of every picture in the folder SOURCE, in another pose.

    SOURCE may be a crop or a whole photograph: the person is found and cut out. Each picture should show one person whole. Poses are
    found in pictures too, or taken from keypoints.parquet, a keypoint CSV, COCO or OpenPose JSON, or the built-in ones: standing,
    sitting, waving, arms-raised, walking-1 to walking-8, from the sides /front, /front-right, /right, /back-right, /back, /back-left,
    /left, /front-left.
    """
    if (pairs is None) == (source is None) or (source is None) == (pose is not None):
        raise click.UsageError("name SOURCE and --pose, or --pairs alone")
    if grid and paste:
        raise click.UsageError("--grid and --paste cannot both be written; choose one")
    many = pairs is not None or (source is not None and source.is_dir())
    if not many:
        picture_format(out, JSON)  # an unknown extension should not show only after the work
    jobs = list(_listed_jobs(pairs, out, suffix)) if pairs is not None else list(_jobs(source or Path(), pose or "", out, suffix))
    if many and (out.suffix or out.is_file()) and not out.is_dir():
        raise PoseGANError(f"{out}: expected a folder's name for {len(jobs):,} results")
    _check_harmless(jobs, out, many, keypoints)
    _run(jobs, many, grid, paste, batch_size, open_transfer(model, detector, params, device), keypoints)


def _check_harmless(jobs: "list[Job]", out: Path, many: bool, keypoints: Path | None) -> None:
    """Refuse results that would replace a picture that is read, or stand among files of somebody else."""
    read = [path for job in jobs for path in (job.source, job.pose.picture, job.pose.table, keypoints) if path is not None]
    check_places({f"--out, result {number}" if many else "--out": job.out for number, job in enumerate(jobs, 1)}, dict.fromkeys(read))
    if many:
        check_replaceable(out, noted)


def _run(jobs: "list[Job]", many: bool, grid: bool, paste: bool, batch_size: int, transfer: "PoseTransfer", keypoints: Path | None) -> None:
    from posegan.inference.jobs import Failed, People, draw_all

    failures = 0
    if many:
        note(jobs[0].out.parent, {job.out.name for job in jobs})
    with ExitStack() as stack:
        writers, writing = stack.enter_context(ThreadPoolExecutor(_WRITERS)), deque[Future[None]]()
        people = stack.enter_context(People(transfer, keep_photos=paste, remembered=4 * batch_size, keypoints=keypoints))
        bar = stack.enter_context(tqdm(total=len(jobs), unit="image", disable=None if many else True, desc="transfer"))
        for result in draw_all(jobs, transfer, people, batch_size):
            if isinstance(result, Failed):
                if not many:
                    raise result.error
                failures += 1
                bar.write(f"{result.job.source}, {result.job.pose.name}: not drawn: {result.error}")
            else:
                writing.append(writers.submit(_write, result, grid, paste))
                for name, doubt in ((result.job.source, result.source.doubt), (result.job.pose.name, _doubt(result.aim))):
                    if doubt:
                        bar.write(f"{name}: {doubt}")
                if many:
                    bar.write(f"{result.job.source}, {result.job.pose.name}: {result.job.out}")
            while len(writing) > _WAITING:
                writing.popleft().result()
            bar.update()
        for written in writing:
            written.result()
    if failures:
        raise PoseGANError(f"{failures:,} of {len(jobs):,} were not drawn, for the reasons above; the others are written")
    click.echo(f"{len(jobs):,} results written to {jobs[0].out.parent}" if many else f"{jobs[0].out}: written")


def _doubt(aim: "Aim") -> str:
    return aim.doubt if aim.person is None else aim.person.doubt


def _write(drawn: "Drawn", grid: bool, paste: bool) -> None:
    import PIL.Image

    from posegan.inference.jobs import comparison, pasted

    path = drawn.job.out
    if path.suffix.lower() == JSON:
        write_atomically(path, json.dumps(_detected(drawn), indent=1) + "\n")
    else:
        save_image(path, comparison(drawn) if grid else pasted(drawn) if paste else PIL.Image.fromarray(drawn.picture))


def _detected(drawn: "Drawn") -> dict[str, Any]:
    person = drawn.aim.person
    return {"source": drawn.source.described(), "target": {"pose": drawn.job.pose.name} if person is None else person.described()}


def _jobs(source: Path, text: str, out: Path, suffix: str) -> "Iterator[Job]":
    from posegan.inference.jobs import Job

    pose = parse_pose(text)
    if not source.is_dir():
        yield Job(source, pose, out)
        return
    files = listed_pictures(source)
    if not files:
        raise PoseGANError(f"{source}: holds no picture ({', '.join(PICTURES)})")
    yield from _unique([Job(file, pose, out / f"{_writable(file.stem)}.{suffix}") for file in files])


def _listed_jobs(pairs: Path, out: Path, suffix: str) -> "Iterator[Job]":
    from posegan.inference.jobs import Job

    jobs = []
    for pair in read_pair_csv(pairs):
        source, target = (_on_disk(pairs.parent, name) for name in (pair.source, pair.target))
        try:
            pose = parse_pose(target, pairs.parent)
        except PoseGANError as error:
            raise PoseGANError(f"{pair.where}: {error}") from error
        to = _SEPARATORS.sub("-", (pose.row or pose.name).strip("/\\"))
        to = Path(to).stem if pose.picture or pose.row else to
        jobs.append(Job(pairs.parent / source, pose, out / f"{_writable(f'{Path(source).stem}_to_{to}')}.{suffix}"))
    if not jobs:
        raise PoseGANError(f"{pairs}: holds no pair; write one `from,to` a line")
    yield from _unique(jobs)


def _on_disk(folder: Path, name: str) -> str:
    """A listed name as the file below `folder` that it means: with slashes, or of another suffix's case, or without one."""
    if is_there(folder / name):
        return name
    path = Path(name.replace("\\", "/"))
    place = folder / path.parent
    if is_there(folder / path) or not (is_there(place) and place.is_dir()):
        return path.as_posix()
    files = sorted(file.name for file in place.iterdir() if file.is_file())
    found = ImageNames(files).find(path.name)
    return (path.parent / files[found[0]]).as_posix() if len(found) == 1 else path.as_posix()


def _writable(stem: str) -> str:
    """A result's name: the picture's, without what is no text, or ends a line."""
    return "".join(character if character.isprintable() else "_" for character in stem)


def _unique(jobs: "list[Job]") -> "Iterator[Job]":
    """The jobs, those whose result would overwrite an earlier one under a numbered name that is nobody's."""
    taken = {job.out for job in jobs}
    seen: dict[Path, int] = {}
    for job in jobs:
        number = seen[job.out] = seen.get(job.out, 0) + 1
        out = job.out
        while number > 1 and (out := job.out.with_stem(f"{job.out.stem}-{number}")) in taken:
            number = seen[job.out] = number + 1
        taken.add(out)
        yield job._replace(out=out)
