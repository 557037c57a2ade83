"""dvc.yaml says what the code does, and imports point one way."""

import ast
import tomllib
from pathlib import Path

import pytest
import yaml

from posegan.config import Params

ROOT = Path(__file__).parent.parent
STAGES = ("download", "pose", "pair", "shard", "train", "evaluate")


def imported_files(stage: str) -> list[str]:
    """The project's own modules that `pipeline/<stage>.py` needs, itself included, wherever the import stands."""
    found: set[Path] = set()
    waiting = [ROOT / "pipeline" / f"{stage}.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports(path)
    return sorted(str(path.relative_to(ROOT)) for path in found)


def _imports(path: Path) -> list[Path]:
    return [file for name in imported_names(path) if (file := ROOT / f"{name.replace('.', '/')}.py").is_file()]


def imported_names(path: Path) -> set[str]:
    """Dotted names that a module imports, as modules and as members of modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def stages() -> dict[str, dict[str, list[str]]]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_stages_stand_in_their_order():
    assert tuple(stages()) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_modules_that_the_stage_imports(stage):
    declared = [dep for dep in stages()[stage]["deps"] if dep.endswith(".py")]
    assert sorted(declared) == imported_files(stage)


def test_every_section_of_the_parameters_is_declared_by_a_stage():
    declared = {key.split(".")[0] for stage in stages().values() for key in stage["params"]}
    assert declared == set(Params.model_fields)


def test_training_depends_on_the_recipe_in_use_and_on_no_other():
    assert {"recipe", "recipes.${recipe}"} <= set(stages()["train"]["params"])
    assert "recipes" not in stages()["train"]["params"]


@pytest.mark.parametrize("path", sorted((ROOT / "posegan").rglob("*.py")), ids=lambda path: path.name)
def test_the_library_knows_nothing_of_the_pipeline(path):
    roots = {name.split(".")[0] for name in imported_names(path)}
    assert not roots & {"pipeline", "dvc", "dvclive", "pandas"}


def test_a_loss_concerns_only_training_and_evaluation():
    assert [stage for stage in STAGES if "posegan/losses.py" in imported_files(stage)] in (["train"], ["train", "evaluate"])


@pytest.mark.parametrize("stage", ["download", "pair", "shard"])
def test_table_stages_need_no_torch(stage):
    names = {name.split(".")[0] for file in imported_files(stage) for name in imported_names(ROOT / file)}
    assert "torch" not in names


FOLDERS = (
    "drawing",
    "sources",
    "keypoints",
    "pairing",
    "sharding",
    "judging",
    "pages",
    "experiments",
)  # of pipeline/, as in docs/design.md


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_the_pipeline_imports_only_from_those_above_it(folder):
    allowed = {*FOLDERS[: FOLDERS.index(folder) + 1], "market1501", "tables", "processes"}
    for path in (ROOT / "pipeline" / folder).glob("*.py"):
        imported = {name.split(".")[1] for name in imported_names(path) if name.startswith("pipeline.")}
        assert imported <= allowed, path.name


def test_every_folder_of_the_pipeline_has_its_place():
    assert {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")} == set(FOLDERS)


def test_every_package_is_installed():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for top in ("posegan", "pipeline")
        for path in (ROOT / top).rglob("__init__.py")
    ]
    assert sorted(declared) == sorted(found)
