"""dvc.yaml says what the code does, and imports point one way."""

import tomllib
from pathlib import Path

import pytest
import yaml

from pipeline.stage_code import NO_BEHAVIOUR, imported_files, imported_names, stage_code
from posegan.config import Params

ROOT = Path(__file__).parent.parent
STAGES = ("download", "pose", "pair", "shard", "train", "evaluate")


def files_of(stage: str) -> list[str]:
    """The project's own modules that the stage rests on, itself included."""
    return [path.relative_to(ROOT).as_posix() for path in stage_code(f"pipeline.{stage}")]


def stages() -> dict[str, dict[str, list[str]]]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_stages_stand_in_their_order():
    assert tuple(stages()) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_modules_that_the_stage_imports(stage):
    declared = {dep for dep in stages()[stage]["deps"] if dep.endswith(".py")}
    assert declared == {*files_of(stage), *(["posegan/recipes.py"] if stage == "train" else [])}


@pytest.mark.parametrize("stage", STAGES)
def test_a_new_parameter_and_another_word_run_no_stage_again(stage):
    every = {path.relative_to(ROOT).as_posix() for path in imported_files(f"pipeline.{stage}")}
    assert every - set(files_of(stage)) == every & set(NO_BEHAVIOUR)
    assert not {"posegan/config.py", "posegan/errors.py", "posegan/cli.py"} & set(stages()[stage]["deps"])


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
    assert [stage for stage in STAGES if "posegan/losses.py" in files_of(stage)] in (["train"], ["train", "evaluate"])


@pytest.mark.parametrize("stage", ["download", "pair", "shard"])
def test_table_stages_need_no_torch(stage):
    names = {name.split(".")[0] for file in files_of(stage) for name in imported_names(ROOT / file)}
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
