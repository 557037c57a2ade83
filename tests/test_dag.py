"""dvc.yaml says what the code does, imports point one way, and no list of modules is kept by hand."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from setuptools import find_packages

from pipeline.__main__ import STAGES as COMMANDS
from pipeline.stage_code import NO_BEHAVIOUR, ROOT, imported_files, imported_names, stage_code
from posegan.config import Params

STAGES = tuple(COMMANDS)
PACKAGES = ("posegan", "pipeline")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def files_of(stage: str) -> set[str]:
    """The project's own modules that the stage rests on, itself included."""
    return set(map(named, stage_code(f"pipeline.{stage}.stage")))


def dvc_yaml() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())


def stages() -> dict[str, dict[str, list[str]]]:
    return dvc_yaml()["stages"]


def code_deps(stage: str) -> set[str]:
    return {dep for dep in stages()[stage]["deps"] if dep.startswith(PACKAGES) and dep != "posegan/weights"}


def modules_under(dep: str) -> set[str]:
    """The modules of a dep; `__init__` files hold names alone, which another test says."""
    path = ROOT / dep
    return {named(file) for file in path.rglob("*.py") if file.name != "__init__.py"} if path.is_dir() else {dep}


def test_stages_stand_in_their_order():
    assert tuple(stages()) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_lies_under_a_dep(stage):
    covered = set[str]().union(*map(modules_under, code_deps(stage)))
    missing = sorted(files_of(stage) - covered)
    assert not missing, f"dvc.yaml: add to the deps of {stage}: {', '.join(missing)}"


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_under_a_dep_is_imported(stage):
    imported = set(map(named, imported_files(f"pipeline.{stage}.stage")))
    unused = sorted(set[str]().union(*map(modules_under, code_deps(stage))) - imported)
    assert not unused, f"dvc.yaml: {stage} depends on what it does not import: {', '.join(unused)}"


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_imported_whole_is_named_as_a_folder_and_nothing_twice(stage):
    """So a new module in a stage's own folder, and in every other folder of which it imports all, needs no line."""
    deps, imported = code_deps(stage), files_of(stage)
    folders = {file.rsplit("/", 1)[0] for file in imported if file.count("/") == 2}
    assert {folder for folder in folders if modules_under(folder) <= imported} == {dep for dep in deps if not dep.endswith(".py")}
    assert f"pipeline/{stage}" in deps
    assert not [dep for dep in deps if dep.rsplit("/", 1)[0] in deps]


@pytest.mark.parametrize("stage", STAGES)
def test_a_new_parameter_and_another_word_run_no_stage_again(stage):
    """What decides nothing is no dep: at most six modules, each with its reason; what a recipe decides, training depends on."""
    assert len(NO_BEHAVIOUR) <= 6 and all(NO_BEHAVIOUR.values())
    assert code_deps(stage) & set(NO_BEHAVIOUR) == ({"posegan/recipes.py"} if stage == "train" else set())


def test_every_section_of_the_parameters_is_declared_by_a_stage():
    declared = {key.split(".")[0] for stage in stages().values() for key in stage.get("params", [])}
    assert declared == set(Params.model_fields)


def test_training_depends_on_the_recipe_in_use_and_on_no_other():
    assert {"recipe", "recipes.${recipe}"} <= set(stages()["train"]["params"])
    assert "recipes" not in stages()["train"]["params"]


@pytest.mark.parametrize(
    ("module", "needing"),
    [
        ("posegan/training/losses.py", {"train"}),
        ("posegan/pictures.py", {"train", "evaluate"}),
        ("posegan/people/estimator.py", {"pose", "evaluate"}),
        ("posegan/metrics/keypoints.py", {"evaluate"}),
        ("posegan/metrics/similarity.py", {"train", "evaluate"}),  # validation's
        ("posegan/frozen/inception.py", {"evaluate"}),
        ("posegan/data/prefetch.py", {"train"}),
        ("pipeline/drawing/figure.py", {"download"}),
    ],
)
def test_an_edit_concerns_the_stages_that_it_can_change(module, needing):
    assert {stage for stage in STAGES if module in files_of(stage)} == needing


@pytest.mark.parametrize("path", sorted((ROOT / "posegan").rglob("*.py")), ids=named)
def test_the_library_knows_nothing_of_the_pipeline(path):
    roots = {name.split(".")[0] for name in imported_names(path)}
    assert not roots & {"pipeline", "dvc", "dvclive", "pandas"}


@pytest.mark.parametrize("stage", ["download", "pair", "shard"])
def test_table_stages_need_no_torch(stage):
    names = {name.split(".")[0] for file in imported_files(f"pipeline.{stage}.stage") for name in imported_names(file)}
    assert "torch" not in names


# Each folder imports only from those above it, where it imports from folders at all; as in docs/design.md.
LAYERS = {
    "posegan": ("formats", "metrics", "model", "data", "frozen", "people", "training", "inference", "demo", "commands"),
    "pipeline": ("http", "drawing", "pages", *STAGES, "inspect", "compare", "ablation", "pose_model", "generators"),
}


@pytest.mark.parametrize(("package", "folder"), [(package, folder) for package, folders in LAYERS.items() for folder in folders])
def test_a_folder_imports_only_from_those_above_it(package, folder):
    below = set(LAYERS[package][LAYERS[package].index(folder) + 1 :])
    for path in (ROOT / package / folder).rglob("*.py"):
        if path.name != "__init__.py":
            imported = {name.split(".")[1] for name in imported_names(path) if name.startswith(f"{package}.")}
            assert not imported & below, named(path)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_has_its_place(package):
    assert {path.parent.name for path in (ROOT / package).glob("*/__init__.py")} == set(LAYERS[package])


@pytest.mark.parametrize("path", sorted(path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")), ids=named)
def test_an_init_file_holds_names_alone(path):
    """A docstring, and where it is a public face, the names and where they lie: nothing that a stage could depend on."""
    allowed = (ast.Import, ast.ImportFrom, ast.If, ast.Expr, ast.Assign, ast.FunctionDef)
    body = ast.parse(path.read_text()).body
    assert isinstance(body[0], ast.Expr)
    assert all(isinstance(node, allowed) for node in body)
    assert {node.name for node in body if isinstance(node, ast.FunctionDef)} <= {"__getattr__"}


@pytest.mark.parametrize("path", sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")), ids=named)
def test_nobody_in_the_house_goes_through_a_public_face(path):
    """`from posegan.data import TrainStream` is for users: here it would hide from dvc.yaml what is imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            place = ROOT / node.module.replace(".", "/")
            if place.is_dir():
                assert all((place / f"{alias.name}.py").is_file() for alias in node.names), f"{named(path)}: {ast.unparse(node)}"


def test_the_library_is_installed_whole_and_alone():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {named(path.parent).replace("/", ".") for path in (ROOT / "posegan").rglob("__init__.py")}
    assert set(find_packages(str(ROOT), include=settings["packages"]["find"]["include"])) == found


def test_what_dvc_shows_is_declared_once_at_the_top_and_made_by_a_stage():
    outs = [out for stage in stages().values() for out in stage["outs"]]
    assert not [name for name, stage in stages().items() if stage.keys() & {"metrics", "plots"}]
    plots = [{plot: {}} if isinstance(plot, str) else plot for plot in dvc_yaml()["plots"]]
    plotted = [path for plot in plots for name, spec in plot.items() for path in spec.get("y", [name])]
    shown = [*dvc_yaml()["metrics"], *plotted]
    assert {"metrics.json", "dvclive/metrics.json", "dvclive/plots/metrics"} <= set(shown)
    assert not [path for path in shown if not any(f"{path}/".startswith(f"{out}/") for out in outs)]


@pytest.mark.parametrize("stage", STAGES)
def test_git_leaves_the_outputs_to_dvc(stage):
    """Else DVC writes .gitignore files into the tree on its own."""
    for out in stages()[stage]["outs"]:
        ignored = subprocess.run(["git", "check-ignore", out, f"{out}/"], cwd=ROOT, check=False, capture_output=True)
        assert ignored.returncode == 0, f".gitignore lacks {out}"


def test_what_python_writes_beside_the_sources_is_none_of_a_stages_inputs() -> None:
    line = [sys.executable, "-m", "dvc", "check-ignore", "pipeline/train/__pycache__/stage.cpython-311.pyc"]
    assert subprocess.run(line, cwd=ROOT, capture_output=True, check=False).returncode == 0
