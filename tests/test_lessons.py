"""Laws of the lessons: gradients and optimisers by hand are the known ones, NumPy and PyTorch agree, seeds repeat, each lesson runs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from torch import nn

from lessons import lesson1_numpy_network as lesson1
from lessons import lesson2_optimisers as lesson2
from lessons import lesson3_pytorch_digits as lesson3
from lessons import lesson4_objects_cnn as lesson4
from lessons import lesson5_gan as lesson5
from lessons import lesson6_conditional_gan as lesson6
from lessons.__main__ import HERE, LESSONS, cli, sections
from lessons.data import Images, draw
from pipeline.stage_code import imported_files
from tests.support.tiny_run import ROOT

TINY = {
    "digits": {"train": 100, "test": 40},
    "objects": {"train": 60, "test": 40},
    "lesson1": {"hidden": 8, "batch_size": 20, "epochs": 1},
    "lesson2": {"hidden": 8, "batch_size": 2, "epochs": 1, "study_rates": [0.01], "study_images": 40, "study_epochs": 1},
    "lesson3": {"hidden": 8, "channels": 2, "batch_size": 20, "epochs": 1},
    "lesson4": {"images": 40, "channels": 2, "batch_size": 20, "epochs": 1},
    "lesson5": {"noise": 4, "channels": 2, "images": 40, "batch_size": 20, "epochs": 1, "collapse_epochs": 1},
    "lesson6": {"noise": 4, "channels": 2, "images": 40, "batch_size": 20, "epochs": 1},
}


@pytest.fixture(scope="module")
def digits() -> Images:
    return draw("digits", 60, 20, seed=3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small params.yaml and the data drawn by it."""
    folder = tmp_path_factory.mktemp("lessons")
    values = yaml.safe_load((HERE / "params.yaml").read_text())
    for name, section in TINY.items():
        values[name].update(section)
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    ended = CliRunner().invoke(cli, ["data", *options(folder)[:4]])
    assert ended.exit_code == 0, ended.output
    return folder


def options(folder: Path) -> list[str]:
    return ["--params", str(folder / "params.yaml"), "--data", str(folder / "data"), "--results", str(folder / "results")]


def test_a_lesson_replaces_its_own_results_alone(tiny: Path, tmp_path: Path) -> None:
    line = ["run", "lesson1", *options(tiny)[:4], "--results", str(tmp_path)]
    for _ in range(2):
        assert CliRunner().invoke(cli, line).exit_code == 0
    (tmp_path / "lesson1" / "theirs.txt").write_text("theirs")
    ended = CliRunner().invoke(cli, line)
    assert (ended.exit_code, "lesson1: holds other files, such as theirs.txt" in ended.output) == (1, True), ended.output
    assert (tmp_path / "lesson1" / "theirs.txt").read_text() == "theirs"
    assert (tmp_path / "lesson1" / "metrics.json").exists()


@pytest.mark.parametrize("sizes", [[784, 10], [784, 6, 10], [784, 6, 5, 10]])
def test_gradients_by_hand_are_finite_differences(digits: Images, sizes: list[int]) -> None:
    rng = np.random.default_rng(0)
    network = [(weights, rng.normal(0, 0.1, biases.shape)) for weights, biases in lesson1.new_network(sizes, rng)]
    x, labels = lesson1.as_rows(digits.train[:12]), digits.train_labels[:12]

    def loss() -> float:
        return lesson1.cross_entropy(lesson1.forward(network, x)[0], labels)

    gradients = lesson1.backward(network, *lesson1.forward(network, x), labels)
    for layer, of_layer in zip(network, gradients, strict=True):
        for w, g in zip(layer, of_layer, strict=True):
            assert g.shape == w.shape
            for place in rng.choice(w.size, 8):
                before, step = w.flat[place], 1e-5
                w.flat[place] = before + step
                above = loss()
                w.flat[place] = before - step
                below = loss()
                w.flat[place] = before
                assert g.flat[place] == pytest.approx((above - below) / (2 * step), abs=1e-6)


def test_softmax_is_a_distribution_whatever_the_scores() -> None:
    scores = np.array([[1e4, 0.0, -1e4], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(lesson1.softmax(scores).sum(axis=1), 1)
    np.testing.assert_allclose(lesson1.softmax(scores), lesson1.softmax(scores + 7))


def test_the_convolution_by_hand_is_that_of_pytorch() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 7, 5, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(lesson3.convolution(x, weight), torch.nn.functional.conv2d(x, weight, padding=1))


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("name", list(lesson2.OPTIMISERS))
def test_optimisers_are_those_of_pytorch_over_100_steps(name: lesson2.Name, decay: float) -> None:
    rng = np.random.default_rng(1)
    ours, goal, memory = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), lesson2.Memory()
    theirs = torch.from_numpy(ours.copy()).requires_grad_()
    optimiser: torch.optim.Optimizer
    if name in ("sgd", "momentum"):
        optimiser = torch.optim.SGD([theirs], lr=0.02, momentum=0.9 if name == "momentum" else 0, weight_decay=decay)
    else:
        optimiser = {"rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}[name]([theirs], lr=0.02, weight_decay=decay)
    for t in range(1, 101):
        lesson2.update(ours, np.sin(ours - goal), memory, t, name, 0.02, decay)
        theirs.grad = torch.sin(theirs.detach() - torch.from_numpy(goal))
        optimiser.step()
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-6)


def test_numpy_and_pytorch_networks_are_equal_before_and_after_learning(digits: Images) -> None:
    network = lesson1.new_network([784, 8, 10], np.random.default_rng(0))
    same = lesson3.two_layers(784, 8).double()
    layers = [module for module in same.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for layer, (weights, biases) in zip(layers, network, strict=True):
            layer.weight.copy_(torch.from_numpy(weights.T))
            layer.bias.copy_(torch.from_numpy(biases))
    optimiser, x, labels = torch.optim.SGD(same.parameters(), lr=0.3), lesson1.as_rows(digits.train), digits.train_labels
    for _ in range(10):
        scores, inputs = lesson1.forward(network, x)
        theirs = same(torch.from_numpy(x))
        np.testing.assert_allclose(scores, theirs.detach().numpy(), rtol=0, atol=1e-10)
        for ours, gradients in zip(network, lesson1.backward(network, scores, inputs, labels), strict=True):
            for w, g in zip(ours, gradients, strict=True):
                w -= 0.3 * g
        optimiser.zero_grad()
        nn.functional.cross_entropy(theirs, torch.from_numpy(labels).long()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def test_batch_normalisation_by_hand_is_pytorch_s_in_training_and_after() -> None:
    ours, theirs = lesson4.BatchNorm(3), nn.BatchNorm2d(3)
    torch.manual_seed(0)
    for _ in range(3):
        x = 2 + 3 * torch.randn(4, 3, 5, 6)
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_dropout_keeps_the_mean_and_does_nothing_after_training() -> None:
    torch.manual_seed(0)
    x = torch.ones(100_000)
    dropped = lesson4.dropout(x, 0.4, training=True)
    assert sorted(set(dropped.tolist())) == pytest.approx([0, 1 / 0.6])
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert lesson4.dropout(x, 0.4, training=False) is x


def test_losses_of_the_game_are_cross_entropies() -> None:
    real, drawn = torch.randn(2, 50, 1, generator=torch.Generator().manual_seed(0))
    entropy = nn.functional.binary_cross_entropy_with_logits
    expected = entropy(real, torch.ones_like(real)) + entropy(drawn, torch.zeros_like(drawn))
    torch.testing.assert_close(lesson5.discriminator_loss(real, drawn), expected)
    torch.testing.assert_close(lesson5.generator_loss(drawn), entropy(drawn, torch.ones_like(drawn)))


def test_variety_is_ten_of_all_classes_and_one_of_a_single_picture(digits: Images) -> None:
    assert lesson5.variety(digits.train, digits.train_labels.astype(np.int64))["classes"] == pytest.approx(10)
    one = lesson5.variety(np.repeat(digits.train[:1], 5, axis=0), np.zeros(5, np.int64))
    assert one == {"classes": pytest.approx(1), "distance": 0}


def test_nearest_is_the_least_of_all_distances_and_zero_for_a_copy(digits: Images) -> None:
    a, b = (part.reshape(len(part), -1) / 255.0 for part in (digits.test, digits.train))
    slow = [min(np.linalg.norm(one - other) for other in b) for one in a]
    np.testing.assert_allclose(lesson6.nearest(digits.test, digits.train), slow, atol=1e-6)
    np.testing.assert_allclose(lesson6.nearest(digits.train[:3], digits.train), 0, atol=1e-6)


def test_the_asked_class_reaches_both_players() -> None:
    torch.manual_seed(0)
    generator, discriminator, noise = lesson6.Generator(4, 2).eval(), lesson6.Discriminator(2).eval(), torch.randn(1, 4)
    three, seven = (generator(noise, torch.tensor([label])) for label in (3, 7))
    assert not torch.equal(three, seven)
    assert discriminator(three, torch.tensor([3])) != discriminator(three, torch.tensor([7]))


@pytest.mark.parametrize("name", list(LESSONS))
def test_each_lesson_runs_and_its_seed_repeats(tiny: Path, name: str) -> None:
    written = []
    for _ in range(2):
        ended = CliRunner().invoke(cli, ["run", name, *options(tiny)])
        assert ended.exit_code == 0, ended.output
        metrics = json.loads((tiny / "results" / name / "metrics.json").read_text())
        assert metrics.pop("seconds") >= 0
        assert all(np.isfinite(value) for value in metrics.values())
        pictures = sorted((tiny / "results" / name / "pictures").glob("*.png"))
        written.append((metrics, [(path.name, path.read_bytes()) for path in pictures]))
    assert written[0] == written[1]
    assert len(written[0][1]) >= 2 and written[0][0]


def test_a_wrong_setting_is_named(tiny: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((tiny / "params.yaml").read_text())
    values["lesson1"]["hidden"] = "many"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    ended = CliRunner().invoke(cli, ["run", "lesson1", *options(tiny), "--params", str(tmp_path / "params.yaml")])
    assert ended.exit_code == 1 and ended.output.startswith("error:") and "lesson1: hidden: expected" in ended.output
    del values["lesson1"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    ended = CliRunner().invoke(cli, ["run", "lesson1", *options(tiny), "--params", str(tmp_path / "params.yaml")])
    assert ended.exit_code == 1 and "expected the sections" in ended.output


def test_lessons_without_lesson_3_s_reader_say_so(tiny: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(cli, ["run", "lesson6", *options(tiny), "--results", str(tmp_path)])
    assert ended.exit_code == 1 and "run lesson 3 again" in ended.output and len(ended.output.splitlines()) == 1


def stages() -> dict[str, dict[str, list[str]]]:
    return yaml.safe_load((HERE / "dvc.yaml").read_text())["stages"]  # type: ignore[no-any-return]


def test_stages_are_the_lessons_and_depend_on_what_they_import() -> None:
    assert list(stages()) == ["data", *LESSONS]
    assert set(sections(HERE / "params.yaml")) == {key for stage in stages().values() for key in stage["params"]}
    for name, module in {"data": "lessons.data", **LESSONS}.items():
        imported = {path.name for path in imported_files(module) if path.parent == HERE}
        assert {dep for dep in stages()[name]["deps"] if dep.endswith(".py")} == imported, name


def test_a_lesson_is_an_essay_and_shares_data_and_pictures_alone() -> None:
    for module in LESSONS.values():
        text = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert 60 <= len(text.splitlines()) <= 150, module
        shared = set(re.findall(r"^from lessons\.(\w+)", text, re.MULTILINE))
        assert {name for name in shared if not name.startswith("lesson")} == {"data", "pictures"}, module


def test_files_and_names_that_lesson_6_ends_with_exist() -> None:
    end = Path(lesson6.__file__).read_text().rsplit("# --- ", 1)[1]
    rows = re.findall(r"((?:posegan|pipeline)/[\w/]+(?:\.py)?)[/,:]? ?([^:\n]*)", end)
    assert len(rows) >= 10
    for file, names in rows:
        assert (ROOT / file).exists(), file
        for name in re.findall(r"\b(?:[a-z]+_\w+|[A-Z]\w+|train)\b", names):
            assert name in (ROOT / file).read_text(), f"{file}: {name}"
