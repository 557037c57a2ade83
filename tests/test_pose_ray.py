"""The Ray engine gives the local engine's bytes, whatever dies; needs the extra: pip install "posegan[ray]"."""

import os
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from pipeline.pose.ray import estimate_on_ray
from pipeline.pose.stage import PoseParts, estimate_in_parts, write_keypoints
from pipeline.raw_archive import image_members, read_member
from posegan.config import PoseConfig, load_params
from posegan.errors import PoseGANError
from tests.support.small_market import Prepared

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "posegan[ray]"')
ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of many kinds


def config_of(engine: str, **settings: object) -> PoseConfig:
    config = load_params(ROOT / "params.yaml").pose
    found = {"engine": engine, "image_size": 64, "batch_size": 4, "ray": config.ray.model_copy(update=settings)}
    return config.model_copy(update={**found, "weights": str(ROOT / config.weights)})


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with one core each."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes.address
    nodes.shutdown()


def table_file(raw: Path, config: PoseConfig, state: Path, size: int) -> bytes:
    with zipfile.ZipFile(raw) as archive:
        table = estimate_in_parts(archive, image_members(archive), config, PoseParts(state, "f"), size)
    write_keypoints(state.with_suffix(".parquet"), table)
    return state.with_suffix(".parquet").read_bytes()


def workers() -> list[psutil.Process]:
    return [process for process in psutil.process_iter(["cmdline"]) if "_Worker" in " ".join(process.info["cmdline"] or [])]


def test_two_nodes_give_the_local_engines_bytes(prepared: Prepared, tmp_path: Path, cluster: str) -> None:
    local = table_file(prepared.raw, config_of("local"), tmp_path / "local", 7)
    assert table_file(prepared.raw, config_of("ray", address=cluster), tmp_path / "ray", 7) == local


def test_a_killed_worker_costs_no_image(prepared: Prepared, tmp_path: Path, cluster: str) -> None:
    killed = []

    def kill_one() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            if list((tmp_path / "ray").rglob("*.parquet")) and (running := workers()):
                os.kill(running[0].pid, signal.SIGKILL)
                killed.append(running[0].pid)
            time.sleep(0.01)

    local = table_file(prepared.raw, config_of("local"), tmp_path / "local", 2)
    killer = threading.Thread(target=kill_one)
    killer.start()
    found = table_file(prepared.raw, config_of("ray", address=cluster), tmp_path / "ray", 2)
    killer.join()
    assert killed
    assert found == local


def test_a_local_ray_serves_too(prepared: Prepared, tmp_path: Path) -> None:
    local = table_file(prepared.raw, config_of("local"), tmp_path / "local", 20)
    assert table_file(prepared.raw, config_of("ray", workers=1), tmp_path / "ray", 20) == local


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"address": "127.0.0.1:1"}, r"cluster at pose.ray.address: 127.0.0.1:1 cannot be reached"),
        ({"workers": 10_000}, "10000 workers of 1 CPUs and 0 GPUs do not fit a cluster"),
        ({"gpus": 1000.0}, "do not fit a cluster"),
    ],
)
def test_a_cluster_that_is_not_there_or_too_small_is_named(prepared: Prepared, settings: dict[str, object], words: str) -> None:
    with zipfile.ZipFile(prepared.raw) as archive, pytest.raises(PoseGANError, match=words) as caught:
        list(estimate_on_ray(partial(read_member, archive), {0: image_members(archive)}, config_of("ray", **settings)))
    assert len(str(caught.value).splitlines()) == 1


def test_a_workers_error_is_told_in_its_own_words(prepared: Prepared) -> None:
    config = config_of("ray", workers=1).model_copy(update={"precision": "float16", "device": "cpu"})
    with zipfile.ZipFile(prepared.raw) as archive, pytest.raises(PoseGANError, match="float16 needs a CUDA device"):
        list(estimate_on_ray(partial(read_member, archive), {0: image_members(archive)}, config))


def test_no_image_gives_no_table() -> None:
    assert pa.concat_tables([table for _, table in estimate_on_ray(bytes, {}, config_of("ray", workers=0))] or [pa.table({})]).num_rows == 0
