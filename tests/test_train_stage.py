"""The train stage: same command again goes on, same seed same files, no trace outside its outputs."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from safetensors.torch import load_file

from pipeline.train.logs import open_live
from pipeline.train.model_card import counts, model_card
from pipeline.train.stage import stop_on_signals, train
from posegan.data.index import ShardIndex
from posegan.errors import PoseGANError
from posegan.model.generator_file import load_generator, read_generator_card
from tests.support import forked
from tests.support.kill_training import trainings
from tests.support.small_market import Prepared
from tests.support.tiny_run import tiny_params, train_options, train_outputs


def options(folder: Path, prepared: Prepared, **changes: object) -> list[str]:
    return train_options(folder, prepared.shards, **changes)


def run(folder: Path, prepared: Prepared, **changes: object) -> Result:
    return CliRunner().invoke(train, options(folder, prepared, **changes), catch_exceptions=False)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As the trainings that are killed have: sums of another number of threads round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    result = run(folder, prepared)
    assert result.exit_code == 0
    assert "train: 6 iterations" in result.output
    return folder


def test_writes_a_generator_logs_and_samples(finished: Path) -> None:
    names = train_outputs(finished).keys()
    assert {"generator.safetensors", "samples/step-00000003.png", "samples/step-00000006.png", "dvclive/metrics.json"} <= names
    for metric in (
        "loss_l1",
        "loss_adversarial",
        "loss_discriminator",
        "loss_offset_smoothness",
        "val_l1",
        "val_ssim",
        "val_sharpness",
        "val_quality",
    ):
        assert f"dvclive/plots/metrics/{metric}.tsv" in names
    assert (finished / "dvclive/plots/metrics/loss_l1.tsv").read_text().split()[::2] == ["step", "2", "4", "6"]
    assert not list(finished.rglob("dvc.yaml"))
    load_generator(finished / "generator.safetensors")
    provenance = read_generator_card(finished / "generator.safetensors").provenance
    assert (provenance["seed"], provenance["iterations"], provenance["features"]) == ("0", "6", "none")


def test_the_same_seed_gives_the_same_files(finished: Path, tmp_path: Path, prepared: Prepared) -> None:
    assert run(tmp_path, prepared).exit_code == 0
    assert train_outputs(tmp_path) == train_outputs(finished)


def test_a_finished_run_is_exported_again_after_dvc_removed_its_train_outputs(finished: Path, prepared: Prepared) -> None:
    before = train_outputs(finished)
    (finished / "generator.safetensors").unlink()
    for path in (*(finished / "dvclive").rglob("*.*"), *(finished / "samples").rglob("*.*")):
        path.unlink()
    result = run(finished, prepared)
    assert "goes on from step 6 of 6" in result.output
    assert train_outputs(finished) == before


def test_other_parameters_start_anew(finished: Path, tmp_path: Path, prepared: Prepared) -> None:
    line = options(tmp_path, prepared, seed=1)
    line[line.index("--state") + 1] = str(finished / "state")
    result = CliRunner().invoke(train, line, catch_exceptions=False)
    assert "goes on" not in result.output
    first, second = load_file(tmp_path / "generator.safetensors"), load_file(finished / "generator.safetensors")
    assert any(not first[name].equal(second[name]) for name in first)


@pytest.mark.parametrize(
    ("number", "under_dvc", "code"), [(signal.SIGTERM, False, 0), (signal.SIGINT, False, 130), (signal.SIGTERM, True, 1)]
)
def test_a_signal_saves_the_state_and_says_how_to_go_on(
    tmp_path: Path, prepared: Prepared, number: signal.Signals, under_dvc: bool, code: int
) -> None:
    line = ["-m", "pipeline", "train", *options(tmp_path, prepared, iterations=4000, checkpoint_every=10000, log_every=1)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({"DVC_STAGE": "train"} if under_dvc else {})
    with forked.started(*line, cwd=tmp_path, env=environment) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "dvclive/plots/metrics/loss_l1.tsv").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        said = "".join(process.communicate())
    assert process.returncode == code, said
    assert "state saved; the same command goes on from there" in said
    assert "Traceback" not in said
    assert not (tmp_path / "generator.safetensors").exists()
    assert not list(tmp_path.rglob("*.tmp"))
    [saved] = (tmp_path / "state").rglob("step-*.pt")
    assert int(saved.stem.removeprefix("step-")) < 4000


@pytest.mark.parametrize("writes", [1, 4, 11])
def test_killed_at_a_write_the_same_command_ends_with_the_same_files(
    finished: Path, tmp_path: Path, prepared: Prepared, writes: int
) -> None:
    line = train_options(tmp_path, prepared.shards)
    with trainings() as start:
        killed = start(line, writes)
        killed.join(60)
        assert killed.exitcode == -signal.SIGKILL
    assert list(tmp_path.rglob("*.tmp"))  # it hit the write itself
    assert not (tmp_path / "generator.md").exists()  # the last file of all
    assert CliRunner().invoke(train, line, catch_exceptions=False).exit_code == 0
    assert train_outputs(tmp_path) == train_outputs(finished)
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_first_signal_asks_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_dvclive_works_in_a_git_repository_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path)
    live = open_live(Path("dvclive"))
    live.log_metric("l1", 0.5)
    live.make_summary()
    live.end()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", "dvclive"]


def test_random_filters_are_named_in_all_that_they_touched(prepared: Prepared, tmp_path: Path) -> None:
    arguments = options(tmp_path, prepared, iterations=1, log_every=1)
    params = yaml.safe_load((tmp_path / "params.yaml").read_text())
    params["loss"] |= {"l1": 0.0, "nearest_neighbour": 0.01}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    result = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert "the feature losses look through VGG-19, random filters (seed 0)" in result.output
    assert read_generator_card(tmp_path / "generator.safetensors").provenance["features"] == "VGG-19, random filters (seed 0)"
    logged = {path.stem for path in (tmp_path / "dvclive" / "plots" / "metrics").glob("*.tsv")}
    assert "loss_nearest_neighbour_random_filters" in logged
    assert "loss_nearest_neighbour" not in logged


def test_the_best_by_validation_and_the_last_are_exported(finished: Path) -> None:
    table = pd.read_csv(finished / "dvclive/plots/metrics/val_quality.tsv", sep="\t")
    steps = [read_generator_card(folder / "generator.safetensors").provenance["step"] for folder in (finished, finished / "best")]
    assert steps == ["6", str(table.step[table.val_quality.idxmax()])]
    load_generator(finished / "best" / "generator.safetensors")


def test_the_card_says_what_was_done_and_what_came_of_it(finished: Path) -> None:
    card = (finished / "generator.md").read_text()
    provenance = read_generator_card(finished / "generator.safetensors").provenance
    for said in (
        provenance["shards_sha256"],
        provenance["torch"],
        "## Recipe: ours",
        "| train.iterations | 6 |",
        "| step | val_quality | val_sharpness | val_ssim | val_l1 |",
        "| best/generator.safetensors | step ",
    ):
        assert said in card
    assert str(finished) not in card


def test_without_validation_the_best_is_the_last(prepared: Prepared) -> None:
    params = tiny_params()
    origin = {"shards_sha256": "0", "features": "none", "seed": "0", "torch": "2", "python": "3"}
    card = model_card(params, origin, counts(ShardIndex.load(prepared.shards)), [(6, {"loss_l1": 0.5})], {"a": 6, "b": 6})
    assert "| b | step 6, as nothing was validated |" in card
    assert "| loss_l1 | 0.5 |" in card


def test_a_damaged_sample_stops_the_run_or_is_named_at_its_end(tmp_path: Path, prepared: Prepared) -> None:
    damaged = prepared._replace(shards=Path(shutil.copytree(prepared.shards, tmp_path / "shards")))
    sample = ShardIndex.load(damaged.shards).split("train")[0]
    content = bytearray((damaged.shards / sample.shard).read_bytes())
    content[sample.offset + sample.size // 2] ^= 1
    (damaged.shards / sample.shard).write_bytes(content)
    with pytest.raises(PoseGANError, match=rf"train-000000\.tar\.gz: identity {sample.identity} .* is damaged"):
        run(tmp_path, damaged, iterations=2)
    result = run(tmp_path, damaged, iterations=2, corrupt="skip")
    assert f"train: left out 1 damaged sample (4 images, 12 pairs): identity {sample.identity} in train/" in result.output
