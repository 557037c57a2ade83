"""The pose stage on Ray: the archive stays on one machine, the detector works on as many as a cluster has.

Parts of the archive travel as blocks of bytes through Ray's object store, so the machines share no disk. Code and weights
travel too; a machine needs the same environment and no more. A part whose worker dies is given to another worker.
"""

import logging
import math
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

import pipeline
import posegan
from pipeline.pose.rows import Members, Reader, estimate_members, keypoints_table
from posegan.config import PoseConfig
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.formats.table import KEYPOINTS_SCHEMA
from posegan.people.detectors import verified_weights
from posegan.people.estimator import PoseEstimator

_PARTS_A_JOB = 64  # held in the object store at once: about half a gigabyte of Market-1501's crops
_BLOCK = pa.schema(
    [
        pa.field("part", pa.int64(), nullable=False),
        pa.field("member", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("content", pa.binary()),  # the image's file; null where `fault` says why it cannot be read
        pa.field("fault", pa.string()),
    ]
)


def estimate_on_ray(read: Reader, parts: Mapping[int, Members], config: PoseConfig) -> Iterator[tuple[int, pa.Table]]:
    """The table of each part, by its number, in the order in which they are done.

    Raises:
        PoseGANError: Ray is not installed, the cluster cannot be reached or lacks what a worker asks for, or a worker fails.
    """
    with _cluster(config) as ray:
        weights = verified_weights(config.weights, config.sha256, config.trust_unpinned)
        pinned = config.model_copy(update={"sha256": sha256_of(weights)})
        settings, content = pinned.model_dump_json(), ray.put(weights.read_bytes())
        workers, numbers = min(_workers(ray, config), len(parts)), sorted(parts)
        for start in range(0, len(numbers), _PARTS_A_JOB):
            blocks = [ray.put(_block(read, number, parts[number])) for number in numbers[start : start + _PARTS_A_JOB]]
            found = ray.data.from_arrow_refs(blocks).map_batches(
                _Worker, fn_constructor_args=(settings, content), batch_size=None, batch_format="pyarrow",
                concurrency=workers, num_cpus=config.ray.cpus, num_gpus=config.ray.gpus,
            )  # fmt: skip
            yield from _whole_parts(found, parts)


def _block(read: Reader, number: int, members: Members) -> pa.Table:
    contents: list[tuple[bytes | None, str | None]] = []
    for member, _ in members:
        try:
            contents.append((read(member), None))
        except PoseGANError as error:
            contents.append((None, str(error)))
    names, splits = zip(*members, strict=True)
    files, faults = zip(*contents, strict=True)
    return pa.table([[number] * len(names), names, splits, files, faults], schema=_BLOCK)


def _whole_parts(found: Any, parts: Mapping[int, Members]) -> Iterator[tuple[int, pa.Table]]:
    """Tables of whole parts; Ray may hand over a block in pieces."""
    pieces: dict[int, list[pa.Table]] = {}
    try:
        for table in found.iter_batches(batch_size=None, batch_format="pyarrow"):
            for number in table["part"].unique().to_pylist():
                rows = table.filter(pa.compute.equal(table["part"], number)).select(KEYPOINTS_SCHEMA.names).cast(KEYPOINTS_SCHEMA)
                pieces.setdefault(number, []).append(rows)
                if sum(map(len, pieces[number])) == len(parts[number]):
                    yield number, pa.concat_tables(pieces.pop(number)).sort_by("image")
    except Exception as error:
        raise _told(error) from error
    if pieces:
        raise RuntimeError(f"Ray lost images of the parts {sorted(pieces)}")


class _Worker:
    """One detector in a process of its own, somewhere in the cluster."""

    def __init__(self, settings: str, weights: Any) -> None:
        import ray

        config = PoseConfig.model_validate_json(settings)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(config.weights).name
            path.write_bytes(ray.get(weights))
            self._estimator = PoseEstimator(config.model_copy(update={"weights": str(path)}))
        self._chunk = config.batch_size

    def __call__(self, block: pa.Table) -> pa.Table:
        """The rows of a block of images, with their part's number."""
        contents = {row["member"]: row for row in block.to_pylist()}

        def read(member: str) -> bytes:
            if contents[member]["content"] is None:
                raise PoseGANError(contents[member]["fault"])
            return bytes(contents[member]["content"])

        members = [(row["member"], row["split"]) for row in contents.values()]
        rows = keypoints_table(list(estimate_members(read, members, self._estimator, self._chunk)))
        return rows.append_column("part", block["part"])


@contextmanager
def _cluster(config: PoseConfig) -> Iterator[Any]:
    """Ray, connected to the cluster of `pose.ray.address`, or started on this machine, and left at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise PoseGANError(f'pose.engine: ray: {error}; install it with pip install "posegan[ray]", or take the engine local') from error
    address = config.ray.address
    try:
        _knock(address)
        ray.init(
            address=address or "local", log_to_driver=False, logging_level=logging.ERROR, configure_logging=True,
            runtime_env={"py_modules": [str(Path(module.__file__ or "").parent) for module in (posegan, pipeline)]},
            **({} if address else {"include_dashboard": False}),
        )  # fmt: skip
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = f"the cluster at pose.ray.address: {address} cannot be reached" if address else "Ray cannot be started here"
        raise PoseGANError(f"pose.engine: ray: {where} ({str(error).splitlines()[0]})") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Find out within seconds that nobody listens at `address`; Ray itself tries again for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()


def _workers(ray: Any, config: PoseConfig) -> int:
    """How many workers the cluster holds, or as many as `pose.ray.workers` asks for."""
    held = ray.cluster_resources()
    room = math.floor(held.get("CPU", 0) / config.ray.cpus)
    if config.ray.gpus:
        room = min(room, math.floor(held.get("GPU", 0) / config.ray.gpus))
    wanted = config.ray.workers or room
    if wanted > room or room == 0:
        raise PoseGANError(
            f"pose.ray: {max(wanted, 1)} workers of {config.ray.cpus:g} CPUs and {config.ray.gpus:g} GPUs do not fit a cluster of "
            f"{held.get('CPU', 0):g} CPUs and {held.get('GPU', 0):g} GPUs; lower pose.ray.workers, cpus or gpus"
        )
    return int(wanted)


def _told(error: Exception) -> Exception:
    """What a worker raised, as this project says it; Ray wraps it in pages of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, PoseGANError):
        cause = getattr(cause, "cause", None) or cause.__cause__
    lines = str(cause or error).strip().splitlines() or [type(error).__name__]
    return PoseGANError(f"pose.engine: ray: {lines[0] if cause else lines[-1]}")
