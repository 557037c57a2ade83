"""Strict parameters: every wrong key, type and range is named with its dotted path."""

import copy
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from posegan.config import Params, load_params, parse_params
from posegan.errors import PoseGANError

FILE = Path(__file__).parent.parent / "params.yaml"
VALUES = yaml.safe_load(FILE.read_text())
LEAVES = [(section, key) for section, values in VALUES.items() for key, value in values.items() if not isinstance(value, dict)]


def changed(section: str, key: str, value: object) -> dict:
    values = copy.deepcopy(VALUES)
    values[section][key] = value
    return values


def test_the_projects_own_file_is_valid_and_frozen():
    params = load_params(FILE)
    with pytest.raises(ValidationError, match="frozen"):
        params.train.seed = 1


@pytest.mark.parametrize("section", list(Params.model_fields))
def test_unknown_keys_are_named(section):
    with pytest.raises(PoseGANError, match=rf"{section}\.no_such_key: unknown key"):
        parse_params(changed(section, "no_such_key", 1))


@pytest.mark.parametrize(("section", "key"), LEAVES)
def test_missing_keys_are_named(section, key):
    values = copy.deepcopy(VALUES)
    del values[section][key]
    with pytest.raises(PoseGANError, match=rf"{section}\.{key}: missing"):
        parse_params(values)


@pytest.mark.parametrize(("section", "key"), LEAVES)
def test_wrong_types_are_named(section, key):
    with pytest.raises(PoseGANError, match=rf"{section}\.{key}: expected"):
        parse_params(changed(section, key, {"a": 1}))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("image", "height", 100), ("pose", "image_size", 0), ("pose", "sha256", "abc"), ("pair", "minimum_joints", 0),
        ("pair", "validation_identities", 1.0), ("shard", "target_megabytes", 0.0), ("model", "dropout", 1.0),
        ("model", "deformation", "thin-plate"), ("loss", "l1", -1.0), ("loss", "l1", float("nan")), ("train", "betas", [0.5]),
        ("train", "learning_rate", float("inf")), ("train", "device", "tpu"), ("evaluate", "pairs", 0), ("dataset", "source", "web"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_named(section, key, value):
    with pytest.raises(PoseGANError, match=rf"{section}\.{key}(\.\d+)?: expected"):
        parse_params(changed(section, key, value))


def test_a_number_that_yaml_reads_as_text_is_explained():
    with pytest.raises(PoseGANError, match=r"train\.learning_rate.*write it as 2\.0e-4"):
        parse_params(changed("train", "learning_rate", "2e-4"))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("pose", "source", "table"), ("pose", "annotations", "a.csv"), ("pose", "annotations", [""]),
        ("pair", "minimum_joint_confidence", 1.5),
        ("pair", "minimum_person_height", -1.0), ("pair", "minimum_pose_difference", float("inf")), ("pair", "require_torso", 1),
    ],
)  # fmt: skip
def test_what_filters_and_annotations_may_be(section, key, value):
    with pytest.raises(PoseGANError, match=rf"{section}\.{key}(\.\d+)?: expected"):
        parse_params(changed(section, key, value))


def test_a_source_asks_for_what_it_needs():
    with pytest.raises(PoseGANError, match=r"pose\.annotations: .*at least one"):
        parse_params(changed("pose", "source", "annotations"))
    with pytest.raises(PoseGANError, match=r"dataset\.path: .*'archive'"):
        parse_params(changed("dataset", "source", "archive"))


def test_image_sizes_are_multiples_of_16_that_the_discriminator_can_judge():
    for height, width in ((128, 64), (256, 176), (256, 256), (48, 48)):
        values = changed("image", "height", height)
        values["image"]["width"] = width
        assert parse_params(values).image.width == width
    with pytest.raises(PoseGANError, match=r"image\.width: expected a multiple of 16, got 100"):
        parse_params(changed("image", "width", 100))
    with pytest.raises(PoseGANError, match="yaml: image: height and width: expected at least 48"):
        parse_params(changed("image", "width", 32))


@pytest.mark.parametrize(("key", "value"), [("test_share", 1.0), ("test_share", -0.1), ("maximum_side", 0), ("seed", -1)])
def test_what_own_photos_may_ask_for(key, value):
    values = copy.deepcopy(VALUES)
    values["dataset"]["people"][key] = value
    with pytest.raises(PoseGANError, match=rf"dataset\.people\.{key}: expected"):
        parse_params(values)


def test_a_file_that_is_missing_or_no_yaml_is_said(tmp_path):
    with pytest.raises(PoseGANError, match="no such file"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train: [1,")
    with pytest.raises(PoseGANError, match="not valid YAML: line"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("12")
    with pytest.raises(PoseGANError, match="expected sections"):
        load_params(tmp_path / "params.yaml")
