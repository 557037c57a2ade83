"""Strict parameters: every wrong key, type and range is named with its dotted path; recipes decide what says `recipe`."""

import copy
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from posegan.config import Params, load_params, parse_params
from posegan.errors import PoseGANError

FILE = Path(__file__).parent.parent / "params.yaml"
VALUES = yaml.safe_load(FILE.read_text())
SECTIONS = {name: values for name, values in VALUES.items() if name not in ("recipe", "recipes")}
LEAVES = [(section, key) for section, values in SECTIONS.items() for key, value in values.items() if not isinstance(value, dict)]
RECIPES = ("baseline", "dsc", "perceptual", "full", "ours")
DECIDED = [(section, key) for section, values in VALUES["recipes"]["ours"].items() for key in values]


def changed(section: str, key: str, value: object) -> dict:
    values = copy.deepcopy(VALUES)
    values[section][key] = value
    return values


def test_the_projects_own_file_is_valid_and_frozen():
    params = load_params(FILE)
    with pytest.raises(ValidationError, match="frozen"):
        params.train.seed = 1


def followed(name: str) -> Params:
    return parse_params({**copy.deepcopy(VALUES), "recipe": name})


def test_every_section_is_in_the_file():
    assert set(SECTIONS) == set(Params.model_fields) - {"recipe", "recipes"}


@pytest.mark.parametrize("section", SECTIONS)
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


def test_recipes_are_the_paper_s_four_and_ours():
    assert tuple(VALUES["recipes"]) == RECIPES
    rows = {}
    for name in RECIPES:
        model, loss = followed(name).model, followed(name).loss
        rows[name] = model.deformation, loss.adversarial, loss.l1, loss.perceptual, loss.nearest_neighbour, loss.offset_smoothness
    assert rows == {
        "baseline": ("none", 1, 100, 0, 0, 0),
        "dsc": ("parts", 1, 100, 0, 0, 0),
        "perceptual": ("parts", 1, 0, 0.5, 0, 0),
        "full": ("parts", 1, 0, 0, 0.01, 0),
        "ours": ("parts+learned", 1, 10, 0, 0, 1),
    }
    for name in RECIPES[:4]:  # nothing in them that the original has not
        params = followed(name)
        assert (params.model.image_skip, params.model.upsampling) == (False, "transposed")
        assert (params.model.local_patches, params.model.judged_source) == (False, "whole")
        assert (params.loss.l1_ground, params.loss.l1_block, params.loss.feature_matching, params.train.mirrored) == (1, 1, 0, 0)
    assert followed("full").loss.nearest_neighbour_window == 3


def test_recipes_differ_only_in_what_they_decide():
    dumps = []
    for name in RECIPES:
        dump = followed(name).model_dump()
        for section, key in DECIDED:
            del dump[section][key]
        dumps.append({**dump, "recipe": ""})
    assert all(dump == dumps[0] for dump in dumps)


@pytest.mark.parametrize(("section", "key"), DECIDED)
def test_the_default_leaves_to_the_recipe_what_it_decides(section, key):
    assert VALUES[section][key] == "recipe"


def test_a_value_in_its_section_overrules_the_recipe():
    params = parse_params(changed("model", "deformation", "global"))
    assert params.model.deformation == "global"
    assert params.loss == followed("ours").loss
    assert parse_params(changed("loss", "l1", 7.0)).loss.l1 == 7


def test_what_was_followed_can_be_read_again_as_it_is():
    dump = followed("full").model_dump()
    assert Params.model_validate({**dump, "recipe": "baseline"}).loss == followed("full").loss


@pytest.mark.parametrize("recipe", ["fulll", "Full", ""])
def test_an_unknown_recipe_is_named_with_the_known_ones(recipe):
    with pytest.raises(PoseGANError, match=f"yaml: recipe: expected one of baseline, dsc, perceptual, full, ours, got '{recipe}'"):
        followed(recipe)


def test_only_a_key_that_the_recipe_knows_may_say_recipe():
    for section, key in (("model", "dropout"), ("loss", "adversarial"), ("train", "iterations")):
        with pytest.raises(PoseGANError, match=rf"{section}\.{key}: expected .*, got 'recipe'"):
            parse_params(changed(section, key, "recipe"))


@pytest.mark.parametrize("recipe", [None, 3, ["ours"]])
def test_a_recipe_is_a_name(recipe):
    with pytest.raises(PoseGANError, match="recipe: expected string"):
        parse_params({**copy.deepcopy(VALUES), "recipe": recipe})


def test_recipes_are_as_strict_as_sections():
    for spoil, complaint in (
        (lambda recipes: recipes["dsc"]["loss"].pop("l1"), r"recipes\.dsc\.loss\.l1: missing"),
        (lambda recipes: recipes["dsc"]["model"].update(channels=3), r"recipes\.dsc\.model\.channels: unknown key"),
        (lambda recipes: recipes["dsc"]["loss"].update(l1=-1.0), r"recipes\.dsc\.loss\.l1: expected"),
        (lambda recipes: recipes["ours"].update(model=None), r"recipes\.ours\.model: expected"),
        (lambda recipes: recipes.update(ours=None), r"recipes\.ours: expected"),
        (lambda recipes: recipes["ours"]["loss"].update(l1="recipe"), r"recipes\.ours\.loss\.l1: expected"),
    ):
        values = copy.deepcopy(VALUES)
        spoil(values["recipes"])
        with pytest.raises(PoseGANError, match=complaint):
            parse_params(values)
    with pytest.raises(PoseGANError, match="recipes: expected"):
        parse_params({**copy.deepcopy(VALUES), "recipes": None})


@pytest.mark.parametrize(("steps", "fits"), [(0, False), (1, True), (8, True), (9, False)])
def test_stacked_steps_have_a_range(steps, fits):
    if fits:
        assert parse_params(changed("model", "stacked_steps", steps)).model.stacked_steps == steps
    else:
        with pytest.raises(PoseGANError, match=r"model\.stacked_steps: expected"):
            parse_params(changed("model", "stacked_steps", steps))


def test_a_hash_of_features_belongs_to_a_file():
    for weights, sha256, complaint in (
        ("random", "0" * 64, "features.sha256: .*'random'.*no file holds"),
        ("vgg19.pth", "", "features.sha256: .*must be pinned"),
        ("official", "abc", "features.sha256: expected"),
    ):
        values = changed("features", "weights", weights)
        values["features"]["sha256"] = sha256
        with pytest.raises(PoseGANError, match=complaint):
            parse_params(values)
    for weights, sha256 in (("official", "0" * 64), ("official", ""), ("vgg19.pth", "0" * 64)):
        values = changed("features", "weights", weights)
        values["features"]["sha256"] = sha256
        assert parse_params(values).features.sha256 == sha256


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


def test_a_key_that_stands_twice_is_named(tmp_path):
    """YAML's readers take the last one and drop the first without a word."""
    path = tmp_path / "params.yaml"
    for twice, message in (
        (FILE.read_text() + "pair:\n  seed: 1\n", r"line \d+, column 1: pair stands twice"),
        ("train:\n  seed: 1\n  seed: 2\n", "line 3, column 3: seed stands twice"),
    ):
        path.write_text(twice)
        with pytest.raises(PoseGANError, match=rf"params\.yaml: {message}; remove one of them"):
            load_params(path)
    path.write_text("? [train, seed]\n: 1\n")
    with pytest.raises(PoseGANError, match=r"params\.yaml: not valid YAML: line 1, column 3: found unhashable key"):
        load_params(path)


def test_a_file_that_is_missing_or_no_yaml_is_said(tmp_path):
    with pytest.raises(PoseGANError, match="no such file"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train: [1,")
    with pytest.raises(PoseGANError, match="not valid YAML: line"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("12")
    with pytest.raises(PoseGANError, match="expected sections"):
        load_params(tmp_path / "params.yaml")
