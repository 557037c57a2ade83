"""The generators that come with the program: whole, as their cards say, drawing without --model, and made again by one command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
import yaml
from click.testing import CliRunner

from pipeline.generators import command
from pipeline.generators.card import COLUMNS, figures, pack, page, write_card
from pipeline.generators.command import main
from pipeline.generators.plans import ANNOTATIONS, PLANS, Market, changed, data_of
from posegan import PoseTransfer
from posegan.__main__ import cli
from posegan.config import parse_params
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.inference.model_names import named_model
from posegan.inference.shipped import CARD, DEFAULT, FOLDER, GENERATOR, shipped_generators
from posegan.model.generator_file import DISCRIMINATOR, load_generator, read_generator_card, save_generator
from posegan.training.initial import DISCRIMINATOR_SHA256, read_discriminator, save_discriminator, start_warm
from posegan.training.state import TrainingState
from tests.support.tiny_run import ROOT, tiny_params
from tests.support.use_fixtures import drawn_person

NAMES = sorted(PLANS)
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def card_of(name: str) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((FOLDER / name / CARD).read_text())
    return card


@pytest.mark.parametrize("name", NAMES)
def test_each_plan_ships_small_and_as_its_card_says(name: str) -> None:
    shipped, card = shipped_generators()[name], card_of(name)
    assert shipped.path.stat().st_size == card["bytes"] <= 20e6
    assert sha256_of(shipped.path) == card["sha256"]
    made = read_generator_card(shipped.path)
    assert (made.model.model_dump(), [made.image.height, made.image.width]) == (card["model"], card["size"])
    assert made.provenance[DISCRIMINATOR_SHA256] == sha256_of(shipped.path.with_name(DISCRIMINATOR))
    assert shipped.terms == PLANS[name].terms == card["terms"]
    assert {kind: sorted(each["rows"]) for kind, each in card["measured"].items()} == {
        kind: ["copied", "generated", "real", "warped"] for kind in ("drawn", "real")
    }


def test_the_plans_are_what_ships_and_the_page_is_that_of_the_cards() -> None:
    assert sorted(shipped_generators()) == NAMES
    assert DEFAULT in NAMES
    assert (FOLDER / "README.md").read_text() == page([card_of(name) for name in NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_is_what_its_weights_were_trained_with(name: str) -> None:
    card = card_of(name)
    cards = card["train"]
    for stretch, was, loss in zip(PLANS[name].stretches, cards, card["loss"], strict=True):
        planned = parse_params(changed(PARAMS, stretch)).train.model_dump()
        assert {key: loss[key] for key in stretch.get("loss", {})} == stretch.get("loss", {})
        own = {key: value for key, value in was.items() if value != "recipe" and key != "initial_sha256"}
        assert {key: value for key, value in own.items() if planned[key] != value} == {}
    assert tuple(card["averaged"]) == PLANS[name].averaged
    assert [bool(was["initial_sha256"]) for was in cards] == [number > 0 for number in range(len(cards))]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_generator_draws_by_its_name_and_is_a_warm_start(name: str) -> None:
    drawn = PoseTransfer(name, "cpu")(drawn_person(0), "walking-3/left")
    assert np.asarray(drawn).std() > 20
    path = shipped_generators()[name].path
    start = {"initial": str(path), "initial_sha256": sha256_of(path)}
    params = parse_params(changed(PARAMS, {"train": start}))
    told = start_warm(TrainingState(params, torch.device("cpu")), params)
    assert told == f"starts from {path} and {DISCRIMINATOR} beside it"


def test_a_name_means_the_shipped_one_and_all_else_is_a_path() -> None:
    assert named_model(DEFAULT) == FOLDER / DEFAULT / GENERATOR
    assert named_model("models/real.safetensors") == Path("models/real.safetensors")


def test_without_any_trained_model_the_shipped_one_draws_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn_person(0).save("p.png")
    result = CliRunner().invoke(cli, ["transfer", "p.png", "--pose", "standing", "--out", "o.png"])
    assert result.exit_code == 0, result.output
    card = card_of(DEFAULT)
    assert f"model: {DEFAULT} (128 x 64 pixels; comes with posegan, trained on {card['trained_on']}. {card['terms']})" in result.output
    named = CliRunner().invoke(cli, ["transfer", "p.png", "--pose", "standing", "--out", "named.png", "--model", DEFAULT])
    assert named.exit_code == 0 and "model:" not in named.output
    assert Path("named.png").read_bytes() == Path("o.png").read_bytes()
    exported = CliRunner().invoke(cli, ["export", "folder"])
    assert exported.exit_code == 0, exported.output
    with PIL.Image.open("o.png") as image:
        assert np.array_equal(np.asarray(PoseTransfer("folder", "cpu")(drawn_person(0), "standing")), np.asarray(image))


# --- making them again


def trained(folder: Path) -> Path:
    """What a training leaves: the two networks, and the parameters."""
    params = tiny_params()
    state = TrainingState(params, torch.device("cpu"))
    judge = save_discriminator(folder / "models" / DISCRIMINATOR, state.discriminator, params.model)
    provenance = {"step": "6", "recipe": "ours", "torch": "2", DISCRIMINATOR_SHA256: judge}
    save_generator(folder / "models" / GENERATOR, state.ema, params.model, params.image, provenance)
    (folder / "params.yaml").write_text(yaml.safe_dump(params.model_dump()))
    return folder


def sections(iterations: int) -> dict[str, dict[str, Any]]:
    return {"train": {"batch_size": 2, "iterations": iterations}, "loss": {"l1": 1.0}}


def test_packing_halves_both_networks_and_keeps_them_a_pair(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run")
    pack("real", [folder / "models"], tmp_path / "shipped" / "real", [sections(4), sections(2)])
    out = tmp_path / "shipped" / "real"
    card = json.loads((out / CARD).read_text())
    assert card["trained_on"] == f"12 pairs of {PLANS['real'].people}"
    assert (out / GENERATOR).stat().st_size < 0.6 * (folder / "models" / GENERATOR).stat().st_size
    params = tiny_params(train={"initial": str(out / GENERATOR), "initial_sha256": card["sha256"]})
    assert "and discriminator.safetensors beside it" in start_warm(TrainingState(params, torch.device("cpu")), params)
    assert "## real" in (tmp_path / "shipped" / "README.md").read_text()


def test_the_mean_of_several_ends_is_packed_with_the_last_one_s_discriminator(tmp_path: Path) -> None:
    one, other = trained(tmp_path / "one"), tmp_path / "other"
    state = TrainingState(tiny_params(train={"seed": 5}), torch.device("cpu"))
    judge = save_discriminator(other / "models" / DISCRIMINATOR, state.discriminator, tiny_params().model)
    provenance = {"step": "6", "recipe": "ours", "torch": "2", DISCRIMINATOR_SHA256: judge}
    save_generator(other / "models" / GENERATOR, state.ema, tiny_params().model, tiny_params().image, provenance)
    pack("real", [one / "models", other / "models"], tmp_path / "real", [sections(4), sections(2)])
    files = [load_generator(folder / GENERATOR) for folder in (one / "models", other / "models", tmp_path / "real")]
    for first, last, mean in zip(*(network.parameters() for network in files), strict=True):
        torch.testing.assert_close(mean, (first + last) / 2, atol=1e-3, rtol=1e-3)  # half precision
    kept = read_discriminator(tmp_path / "real" / DISCRIMINATOR, tiny_params().model)
    torch.testing.assert_close(kept["first.weight"], state.discriminator.first.weight.detach(), atol=1e-3, rtol=1e-3)
    assert "- weights averaged: after stretch 4, the mean of what 3 came to; after stretch 5" in (tmp_path / "README.md").read_text()


def test_a_card_has_what_was_measured_and_a_page_shows_it(tmp_path: Path) -> None:
    metrics = {"pairs": 9, "ssim": 0.25, "pck": 0.5, "warp_pck": 0.125, "real_pck": 0.9, "mask_l1": 0.1, "sharpness": None}
    found = figures(metrics, "a detector")
    assert found["rows"]["generated"] == dict.fromkeys(COLUMNS) | {"ssim": 0.25, "pck": 0.5, "mask_l1": 0.1}
    assert found["rows"]["warped"]["pck"] == 0.125
    assert found["rows"]["real"] == {"ssim": 1.0, "mask_ssim": 1.0, "mask_l1": 0.0, "pck": 0.9, "ds": None, "sharpness": 1.0}
    pack("drawn", [trained(tmp_path / "run") / "models"], tmp_path / "drawn", [sections(6)])
    write_card(tmp_path / "drawn", {"measured": {"real": found}})
    text = (tmp_path / "README.md").read_text()
    assert "9 test pairs of real people, whom no training saw; joints found by a detector" in text
    assert "| generated | 0.250 |  | 0.100 | 0.500 |  |  |" in text


def market(folder: Path) -> Market:
    folder.mkdir()
    for name in (*ANNOTATIONS, "market.zip"):
        (folder / name).touch()
    (folder / "pairs.csv").write_text("from,to\na.jpg,b.jpg\nb.jpg,a.jpg\n")
    return Market(folder / "market.zip", folder, folder / "pairs.csv", str(folder / "judge.pt"))


def test_the_network_that_features_are_of_is_pinned_where_it_is_named(tmp_path: Path) -> None:
    files = market(tmp_path / "market")
    assert data_of("real", files)["features"] == {"weights": "official"}
    (tmp_path / "vgg.pth").write_bytes(b"weights")
    named = {"weights": str(tmp_path / "vgg.pth"), "sha256": sha256_of(tmp_path / "vgg.pth")}
    assert data_of("real", files._replace(vgg=tmp_path / "vgg.pth"))["features"] == named
    (tmp_path / "vgg.pth").unlink()
    with pytest.raises(PoseGANError, match=r"vgg.pth: no such file"):
        files._replace(vgg=tmp_path / "vgg.pth").checked()


@pytest.mark.parametrize("kind", NAMES)
def test_every_plans_parameters_are_valid(tmp_path: Path, kind: str) -> None:
    data = data_of(kind, market(tmp_path / "market"))
    params = [parse_params(changed(PARAMS, data, stretch)) for stretch in PLANS[kind].stretches][-1]
    assert params.evaluate.pairs == (2 if kind == "real" else PARAMS["evaluate"]["pairs"])
    assert params.evaluate.detector.image_size == (256 if kind == "real" else "auto")


def test_changes_leave_the_rest_and_the_original_as_they_are() -> None:
    before = {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "f": {"g": 4}}
    assert changed(before, {"a": {"c": {"d": 5}}}, {"f": {"g": 6}}) == {"a": {"b": 1, "c": {"d": 5, "e": 3}}, "f": {"g": 6}}
    assert before == {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "f": {"g": 4}}


def test_one_command_runs_the_stages_once_packs_and_measures_on_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, str]] = []
    starts: list[str] = []

    def run(folder: Path, stage: str, *arguments: str) -> None:
        ran.append((folder.name, stage))
        if stage == "train":
            starts.append(yaml.safe_load((folder / "params.yaml").read_text())["train"]["initial"])
            trained(folder)
        if stage == "evaluate":
            name = arguments[arguments.index("--metrics") + 1]
            (folder / name).write_text(json.dumps({"pairs": 3, "pck": 0.5}))

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command, "FOLDER", tmp_path / "shipped")
    stretches = tuple({"train": {"iterations": iterations}} for iterations in (5, 7))
    monkeypatch.setitem(PLANS, "real", PLANS["real"]._replace(stretches=stretches, averaged=(1, 2)))
    files = market(tmp_path / "market")
    options = ["--work", str(tmp_path), "--real", str(files.archive), "--annotations", str(files.annotations), "--pairs", str(files.pairs)]
    result = CliRunner().invoke(main, ["train", "real", *options])
    assert result.exit_code == 0, result.output
    data = ["download", "pose", "pair", "shard"]
    assert ran == [
        *(("train-real", stage) for stage in (*data, *["train"] * 2)),
        *(("judge-drawn", stage) for stage in (*data, "evaluate")),
        *(("judge-real", stage) for stage in (*data, "evaluate")),
    ]
    card = json.loads((tmp_path / "shipped" / "real" / CARD).read_text())
    assert card["averaged"] == [1, 2]
    assert starts == ["", str(tmp_path / "train-real" / "stretch-1" / GENERATOR)]
    assert card["train"][1]["initial_sha256"] == sha256_of(tmp_path / "train-real" / "stretch-1" / GENERATOR)
    assert {kind: each["rows"]["generated"]["pck"] for kind, each in card["measured"].items()} == {"drawn": 0.5, "real": 0.5}
    ran.clear()
    assert CliRunner().invoke(main, ["measure", "real", "--work", str(tmp_path)]).exit_code == 0
    assert ran == [("judge-drawn", "evaluate")]
    assert set(json.loads((tmp_path / "shipped" / "real" / CARD).read_text())["measured"]) == {"drawn", "real"}


def test_finished_trainings_are_taken_in_order_and_as_many_as_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[tuple[list[Path], list[dict[str, Any]]]] = []
    monkeypatch.setattr(command, "pack", lambda name, ends, folder, stretches: packed.append((list(ends), list(stretches))))
    monkeypatch.setattr(command, "measure_all", lambda *_: None)
    monkeypatch.setitem(PLANS, "real", PLANS["real"]._replace(averaged=(1,) * 5))
    folders = [trained(tmp_path / str(number)) for number in range(3)]
    options = [option for folder in folders for option in ("--trained", str(folder))]
    assert CliRunner().invoke(main, ["train", "real", *options]).exit_code == 0
    ends, stretches = packed[0]
    assert ends == [folders[-1] / "models"]
    assert [stretch["train"]["iterations"] for stretch in stretches] == [10_000, 7_000, *[tiny_params().train.iterations] * 3]
    monkeypatch.setitem(PLANS, "real", PLANS["real"]._replace(averaged=(1, 1, 1, 1, 2)))
    result = CliRunner().invoke(main, ["train", "real", *options[:2]])
    assert (result.exit_code, result.output.count("--trained: the mean is one of 2 weights, and these folders have 1")) == (1, 1)
    result = CliRunner().invoke(main, ["train", "real", *options, *options])
    assert (result.exit_code, result.output) == (1, "error: --trained: expected up to 5 folders, one a stretch, got 6\n")


def test_a_finished_training_goes_on_from_what_ships_and_the_mean_begins_with_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[tuple[list[Path], list[dict[str, Any]]]] = []
    monkeypatch.setattr(command, "pack", lambda name, ends, folder, stretches: packed.append((list(ends), list(stretches))))
    monkeypatch.setattr(command, "measure_all", lambda *_: None)
    folder = trained(tmp_path / "run")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["train"]["initial"] = str(tmp_path / "before" / GENERATOR)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    assert CliRunner().invoke(main, ["train", "real", "--trained", str(folder)]).exit_code == 0
    ends, stretches = packed[0]
    assert ends == [tmp_path / "before", folder / "models"]
    assert [stretch["train"] for stretch in stretches[:-1]] == card_of("real")["train"][:4]
    assert stretches[-1]["train"] == params["train"]


def test_a_stretch_in_the_middle_comes_to_a_mean_from_which_the_next_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, seeds, starts = tmp_path / "train", iter((1, 2, 3)), list[str]()
    folder.mkdir()
    (folder / "params.yaml").write_text("{}")

    def run(folder: Path, _: str) -> None:
        starts.append(yaml.safe_load((folder / "params.yaml").read_text())["train"].get("initial_sha256", ""))
        trained(folder)
        params = tiny_params(train={"seed": next(seeds)})
        made = read_generator_card(folder / "models" / GENERATOR)
        ema = TrainingState(params, torch.device("cpu")).ema
        save_generator(folder / "models" / GENERATOR, ema, made.model, made.image, made.provenance)

    monkeypatch.setattr(command, "run", run)
    ends = command.train_stretches(folder, [sections(1), sections(1), sections(1)], (1, 2, 2))
    assert ends == [folder / f"stretch-{number}" for number in (1, 2, 3)]
    own = [TrainingState(tiny_params(train={"seed": seed}), torch.device("cpu")).ema for seed in (1, 2, 3)]
    first, second, third = (list(load_generator(end / GENERATOR).parameters()) for end in ends)
    for number, weights in enumerate(zip(*(list(network.parameters()) for network in own), strict=True)):
        torch.testing.assert_close(first[number], weights[0])
        torch.testing.assert_close(second[number], (weights[0] + weights[1]) / 2)
        torch.testing.assert_close(third[number], weights[2])  # its mean is taken where it is packed
    assert starts == ["", *(sha256_of(end / GENERATOR) for end in ends[:2])]


def test_a_stage_that_fails_ends_it_and_missing_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(PoseGANError, match=r"train in .* failed with exit code 1; its message is above"):
        command.run(tmp_path, "train")
    for options, told in (
        ([], "--real and --annotations are missing"),
        (["--real", "absent.zip"], "--real and --annotations belong together"),
        (["--real", "absent.zip", "--annotations", str(tmp_path)], "absent.zip: no such file; docs/market1501.md tells"),
    ):
        result = CliRunner().invoke(main, ["train", "real", "--work", str(tmp_path), *options])
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert told in result.output
