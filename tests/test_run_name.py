"""A run's name stands for what decides its weights and logs; a state without some samples says so and is not passed off."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.train.stage import train
from posegan.data.index import ShardIndex
from posegan.errors import PoseGANError
from posegan.model.generator_file import read_generator_card
from posegan.training.checkpoints import CheckpointFolder, saved_steps
from posegan.training.data import open_training_data
from posegan.training.run_name import passed_over, record_run, run_content, run_name
from tests.support.small_market import Prepared
from tests.support.tiny_run import tiny_params, train_options, train_outputs


def name(shards: str = "a", code: str = "c", **changes: dict[str, object]) -> str:
    return run_name(run_content(tiny_params(**changes), shards, code))


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"keep_checkpoints": 7, "checkpoint_every": 9, "device": "auto", "corrupt": "skip", "tensorboard": True}},
        {"evaluate": {"pairs": 7}, "pose": {"batch_size": 3}},
    ],
)
def test_what_changes_neither_weights_nor_logs_is_no_part_of_the_name(changes: dict[str, dict[str, object]]) -> None:
    assert name(**changes) == name()


def test_the_place_of_a_file_is_no_part_of_the_name_and_its_content_is() -> None:
    def of(place: str, sha256: str) -> str:
        files = {"train": {"initial": place, "initial_sha256": sha256}, "features": {"weights": place, "sha256": sha256}}
        return name(**files)

    assert of("a.pt", "0" * 64) == of("b/c.pt", "0" * 64)
    assert len({of("a.pt", "0" * 64), of("a.pt", "1" * 64), name(), name(features={"weights": "official"})}) == 4


def test_what_matters_is_a_part_of_the_name() -> None:
    changed = [{"seed": 1}, {"log_every": 3}, {"validate_every": 2}, {"compile": "default"}, {"iterations": 7}, {"accumulate": 2}]
    names = [name(), name(shards="b"), name(code="d"), name(loss={"l1": 9.0}), *(name(train=train) for train in changed)]
    assert len(set(names)) == len(names)


def test_another_name_says_which_state_it_passes_over_and_what_differs(tmp_path: Path) -> None:
    content = run_content(tiny_params(), "a", "c")
    assert passed_over(tmp_path / "absent", content) == ""
    record_run(tmp_path / run_name(content), content)
    CheckpointFolder(tmp_path / run_name(content), 3).save(4, {"step": 4})
    assert passed_over(tmp_path, content) == ""  # its own
    other = run_content(tiny_params(train={"compile": "default"}, loss={"l1": 9.0}), "a", "d")
    said = passed_over(tmp_path, other)
    assert said.startswith(f"passes over {tmp_path / run_name(content)}, step 4 of 6, whose run differs in the code, loss.l1 (")
    assert "train.compile (none, now default)" in said
    (tmp_path / run_name(content) / "run.json").unlink()
    assert "differs in what, is not recorded; " in passed_over(tmp_path, other)


def run(folder: Path, shards: Path, **changes: object) -> Result:
    return CliRunner().invoke(train, train_options(folder, shards, **changes), catch_exceptions=False)


def damage(shards: Path, split: str = "train", most: int = 1) -> None:
    for sample in list(ShardIndex.load(shards).split(split))[:most]:
        content = bytearray((shards / sample.shard).read_bytes())
        content[sample.offset + sample.size // 2] ^= 1
        (shards / sample.shard).write_bytes(content)


@pytest.fixture
def shards(prepared: Prepared, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared.shards, tmp_path / "shards"))


def test_a_model_made_from_damaged_shards_says_so_and_is_no_model_of_whole_ones(shards: Path, prepared: Prepared, tmp_path: Path) -> None:
    folder, whole = tmp_path / "damaged", tmp_path / "whole"
    folder.mkdir(), whole.mkdir()
    damage(shards)
    words = "1 damaged sample (4 images, 12 pairs): identity "
    for again in (False, True):  # a finished run's summary says it as well
        result = run(folder, shards, corrupt="skip", iterations=3)
        assert ("goes on from step 3 of 3" in result.output) is again
        assert f"train: left out {words}" in result.output
        assert f"Trained without {words}" in (folder / "generator.md").read_text()
        assert read_generator_card(folder / "generator.safetensors").provenance["left_out"].startswith(words)
    with pytest.raises(PoseGANError, match="is damaged"):  # not the finished one, under the same name
        run(folder, shards, iterations=3)
    shutil.copytree(prepared.shards, shards, dirs_exist_ok=True)
    result = run(folder, shards, corrupt="skip", iterations=3)  # repaired
    assert "goes on" not in result.output
    assert "left out" not in result.output
    run(whole, shards, iterations=3)
    made, right = train_outputs(folder), train_outputs(whole)
    assert made == right


def test_a_state_without_samples_is_passed_over_for_an_older_one_with_all(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    run(tmp_path / "run", shards, iterations=6, checkpoint_every=2)
    [states] = [path for path in (tmp_path / "run" / "state").iterdir() if path.is_dir()]
    kept = CheckpointFolder(states, 3)
    step, state = kept.latest() or (0, {})
    kept.save(step, state | {"skipped": [f"{ShardIndex.load(shards).samples[0].shard}/{ShardIndex.load(shards).samples[0].key}"]})
    result = run(tmp_path / "run", shards, iterations=6, corrupt="skip")
    assert "goes on from step 4 of 6" in result.output
    assert saved_steps(states)[-1] == 6


def test_nothing_readable_at_all_is_an_error(shards: Path) -> None:
    for split in ("train", "val"):
        if split in ShardIndex.load(shards).splits:
            damage(shards, split, most=1000)
    with pytest.raises(PoseGANError, match=r"damaged samples.*no pair is left to show; run `python -m pipeline shard --verify`"):
        open_training_data(shards, tiny_params(train={"corrupt": "skip"}))
