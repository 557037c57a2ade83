"""The built-in sample: drawn people as a Market-1501 archive.

Same folders, same name grammar, distractors and broken files included, so that everything after
`raw.zip` treats it as the real one. Beside the images stands `keypoints_exact.parquet`, which knows
where every joint was drawn. Every identity has its own seed: the archive's bytes depend on nothing
but `dataset.sample`.
"""

import io
import math
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from pipeline.drawing.picture import HEIGHT, WIDTH, Drawing, Identity, draw_identity, draw_people, draw_placement
from pipeline.drawing.scene import Camera, backdrop, draw_camera, expose
from pipeline.processes import all_cores
from pipeline.raw_archive import image_name, write_archive
from posegan.config import SampleConfig
from posegan.skeleton import JOINTS

CAMERAS = 6
EXACT_TABLE = "keypoints_exact.parquet"

# First word of every seed: each kind of thing draws from its own stream.
_CAMERA, _IDENTITY, _DISTRACTOR, _BROKEN = range(4)
_IDENTITIES_A_TASK = 4  # of one process: about half a second


def write_sample(path: Path, config: SampleConfig, progress: bool) -> dict[str, int]:
    """Draw the sample and write it as a zip at `path`; the same `config` gives the same bytes.

    Returns the number of files of each kind.
    """
    cameras = _cameras(config)
    counts = {"train": 0, "test": 0, "query": 0, "distractors": 0, "broken": 0}
    members: dict[str, bytes] = {}
    exact: list[tuple[str, npt.NDArray[np.float32]]] = []
    total = config.train_identities + config.test_identities
    with all_cores() as pool:
        drawn = pool.map(partial(_draw_visits, config), range(1, total + 1), chunksize=_IDENTITIES_A_TASK)
        for drawings in tqdm(drawn, "drawing", total, unit="identity", disable=not progress):
            for member, drawing in drawings:
                members[member] = drawing.jpeg
                exact.append((member, drawing.joints))
                counts[{"bounding_box_train": "train", "bounding_box_test": "test", "query": "query"}[member.split("/")[0]]] += 1
    for member, jpeg in _draw_distractors(config, cameras):
        members[member] = jpeg
        counts["distractors"] += 1
    for member, data in _break_files(config, members):
        members[member] = data
        counts["broken"] += 1
    members[EXACT_TABLE] = _exact_table(exact)
    # Without a file type in their modes, as the sample has always been: its bytes stay what they were.
    write_archive(path, {name: partial(members.__getitem__, name) for name in sorted(members)}, kind=0)
    return counts


@cache
def _cameras(config: SampleConfig) -> list[Camera]:
    return [draw_camera(_rng(config, _CAMERA, number)) for number in range(CAMERAS)]


def _draw_visits(config: SampleConfig, number: int) -> list[tuple[str, Drawing]]:
    """All images of one identity: it passes two to four cameras, and keeps about its heading before each."""
    rng, cameras = _rng(config, _IDENTITY, number), _cameras(config)
    drawings: list[tuple[str, Drawing]] = []
    identity = draw_identity(rng)
    test = number > config.train_identities
    visited = rng.choice(len(cameras), size=int(rng.integers(2, 5)), replace=False)
    headings = rng.uniform(0, 2 * math.pi, len(visited))
    images = max(2, config.images_per_identity + int(rng.integers(-2, 3)))
    for image in range(images):
        visit = image % len(visited)
        drawing = _draw_visit(rng, identity, headings[visit], cameras[visited[visit]])
        folder = "bounding_box_test" if test else "bounding_box_train"
        name = image_name(number, int(visited[visit]) + 1, 100 + 25 * image + int(rng.integers(25)), 1)
        drawings.append((f"{folder}/{name}", drawing))
    if test:  # a query image from each of two cameras
        for visit in range(2):
            drawing = _draw_visit(rng, identity, headings[visit], cameras[visited[visit]])
            drawings.append((f"query/{image_name(number, int(visited[visit]) + 1, 5000 + int(rng.integers(999)), 0)}", drawing))
    return drawings


def _draw_visit(rng: np.random.Generator, identity: Identity, heading: float, camera: Camera) -> Drawing:
    place = draw_placement(rng, camera.pitch, cut_off=rng.random() < 0.05)
    return draw_people(rng, [(identity, heading + rng.normal(0, 0.4), place)], camera, occluded=rng.random() < 0.06)[0]


def _draw_distractors(config: SampleConfig, cameras: list[Camera]) -> Iterator[tuple[str, bytes]]:
    """What a person detector gets wrong: 0000 is no person or a stranger's part, -1 a useless box of somebody."""
    for number in range(config.distractors):
        rng = _rng(config, _DISTRACTOR, number)
        camera = int(rng.integers(len(cameras)))
        junk = number % 2 == 1
        people = []
        if junk or rng.random() < 0.5:
            place = draw_placement(rng, cameras[camera].pitch, cut_off=True)
            away = place._replace(x=place.x + 18 * (1 if rng.random() < 0.5 else -1), scale=place.scale * 1.5)
            people = [(draw_identity(rng), float(rng.uniform(0, 2 * math.pi)), away)]
        if people:
            jpeg = draw_people(rng, people, cameras[camera], occluded=True)[0].jpeg
        else:
            jpeg = expose(cameras[camera], backdrop(cameras[camera], rng, 2 * HEIGHT, 2 * WIDTH), rng)
        name = image_name(-1 if junk else 0, camera + 1, 20000 + number, 1 + number % 4)
        yield f"bounding_box_test/{name}", jpeg


def _break_files(config: SampleConfig, members: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Damaged train images: cut short, empty, or something else under an image's name."""
    whole = sorted(name for name in members if name.startswith("bounding_box_train/"))
    rng = _rng(config, _BROKEN, 0)
    for number, name in enumerate(rng.choice(whole, size=min(config.broken_files, len(whole)), replace=False)):
        jpeg = members[str(name)]
        damaged = (jpeg[: len(jpeg) // 3], b"", b"<html><title>404 Not Found</title></html>\n")[number % 3]
        yield str(name).replace("_01.jpg", "_02.jpg"), damaged


def _exact_table(rows: list[tuple[str, npt.NDArray[np.float32]]]) -> bytes:
    rows = sorted(rows, key=lambda row: row[0])
    joints = np.stack([row[1] for row in rows])
    columns: dict[str, pa.Array] = {"image": pa.array([row[0] for row in rows])}
    for joint, name in enumerate(JOINTS):
        hidden = joints[:, joint, 2] == 0
        columns[f"{name}_x"] = pa.array(joints[:, joint, 0], mask=hidden)
        columns[f"{name}_y"] = pa.array(joints[:, joint, 1], mask=hidden)
        columns[f"{name}_visibility"] = pa.array(joints[:, joint, 2].astype(np.int8))
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, compression="zstd")
    return stream.getvalue()


def _rng(config: SampleConfig, kind: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence((config.seed, kind, number)))
