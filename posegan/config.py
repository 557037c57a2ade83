"""params.yaml as frozen, typed, strictly validated sections.

The file is complete: a missing key is an error, as are an unknown one, a value of the wrong type
and one out of range. Each error names the dotted key, what was expected and what came.

A value that says `recipe` is taken from the recipe that the file names; what the sections hold after
loading are the values themselves.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from posegan.errors import PoseGANError
from posegan.recipes import follow_recipe

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Md5 = Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]
Address = Annotated[str, Field(pattern=r"^(https?://[^\s/]\S*|gdrive:[\w-]+(/[\w-]+)?)?$")]
SMALLEST_JUDGED = 48  # pixels: five halvings without padding at the first leave the discriminator one patch
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")]
Deformation = Literal["none", "global", "parts", "learned", "parts+learned"]
Upsampling = Literal["transposed", "bilinear"]
AUTO = "auto"
RecipeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


def _detector_size(value: Any) -> Any:
    if value == AUTO or (type(value) is int and 32 <= value <= 2048 and value % 32 == 0):
        return value
    raise PydanticCustomError("detector_size", "auto or a multiple of 32 from 32 to 2048")


DetectorSize = Annotated[int | Literal["auto"], PlainValidator(_detector_size)]  # pixels of the network's input, longer side


class Section(BaseModel):
    """A section of params.yaml: frozen, no unknown keys, no conversion between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ImageConfig(Section):
    """Size in pixels at which images are paired, drawn and judged."""

    height: Annotated[int, Field(ge=32, le=1024, multiple_of=16)]
    width: Annotated[int, Field(ge=32, le=1024, multiple_of=16)]


class SampleConfig(Section):
    """The drawn people of the built-in sample."""

    train_identities: Positive
    test_identities: Positive
    images_per_identity: Annotated[int, Field(ge=2, le=200)]
    distractors: Count
    broken_files: Count
    seed: Seed


class Mirror(Section):
    """A place that has the Market-1501 zip, and the hashes that its copy claims to have; `""` claims nothing."""

    url: Annotated[Address, Field(min_length=1)]
    md5: Md5 = ""
    sha256: Sha256 = ""


class PeopleConfig(Section):
    """Own photos: how a folder that holds one folder a person is turned into the archive.

    test_share: share of the people who are held out for the test split.
    maximum_side: pixels; larger photos are shrunk until their longer side has it.
    """

    test_share: Annotated[float, Field(ge=0, lt=1)]
    maximum_side: Annotated[int, Field(ge=64, le=8192)]
    seed: Seed


class DeepFashionConfig(Section):
    """DeepFashion's in-shop benchmark, from a copy at `dataset.path`.

    split: what tells train from test: `lists` (PATN's), `partition` (list_eval_partition.txt), or `folders` (train/ and test/).
    width: pixels of images that are 256 high: 176, cut or scaled as the published joints are, or 256, square as they came.
    """

    split: Literal["lists", "partition", "folders"]
    width: Literal[176, 256]


class DatasetConfig(Section):
    """Where `raw.zip` comes from."""

    source: Literal["sample", "market1501", "deepfashion", "archive", "folder", "url"]
    mirrors: list[Mirror]
    path: str
    url: Address
    sha256: Sha256
    people: PeopleConfig
    deepfashion: DeepFashionConfig
    sample: SampleConfig

    @model_validator(mode="after")
    def _needs_of_the_source(self) -> Self:
        if self.source in ("archive", "folder") and not self.path:
            raise ValueError(f"path: dataset.source is '{self.source}', which needs the {self.source}'s path here")
        if self.source == "deepfashion" and not self.path:
            raise ValueError("path: dataset.source is 'deepfashion', which needs the path of your copy here; docs/deepfashion.md")
        if self.source == "url" and not (self.url and self.sha256):
            raise ValueError("url and sha256: dataset.source is 'url', which needs both")
        return self


class RayConfig(Section):
    """Where and how widely the pose stage runs on Ray.

    address: "" starts Ray on this machine; else a cluster's, such as 10.0.0.5:6379.
    workers: detectors at once, each with a model of its own; 0: as many as fit.
    cpus, gpus: what each of them is given.
    """

    address: str
    workers: Annotated[int, Field(ge=0)]
    cpus: Annotated[float, Field(gt=0)]
    gpus: Annotated[float, Field(ge=0)]


class PoseConfig(Section):
    """Where joints come from, and for the detector what counts as found.

    annotations: files or folders of keypoints in any format that the pose stage reads, used when source is `annotations`.
    weights: `auto`: the shipped ones for crops of people, official ones for photographs; else an official name, a file, or an address.
    image_size: `auto`: the size that is best for crops; in photographs the person is found at a larger one, then looked at closer.
    """

    source: Literal["detector", "annotations"]
    annotations: list[Annotated[str, Field(min_length=1)]]
    weights: Annotated[str, Field(min_length=1)]
    sha256: Sha256
    trust_unpinned: bool
    image_size: DetectorSize
    batch_size: Positive
    person_confidence: Fraction
    joint_confidence: Fraction
    precision: Literal["float32", "bfloat16", "float16"]
    device: Device
    engine: Literal["local", "ray"]
    ray: RayConfig

    @model_validator(mode="after")
    def _needs_of_the_source(self) -> Self:
        if self.source == "annotations" and not self.annotations:
            raise ValueError("annotations: pose.source is 'annotations', which needs the path of at least one file or folder here")
        if self.weights.startswith(("http://", "https://")) and not self.sha256:
            raise ValueError("sha256: pose.weights is an address, whose content must be pinned by its SHA-256 here")
        if self.weights == AUTO and self.sha256:
            raise ValueError("sha256: pose.weights is 'auto', whose content the program knows; set sha256 to \"\"")
        return self


class PairConfig(Section):
    """Which images pair up, and which identities are held out for validation; a filter of 0 lets all pass.

    train_pairs: a CSV of pairs (`from,to`): of the rule's pairs of train images only those in it are kept; empty: all.
    test_pairs: a CSV of pairs (`from,to`) that replaces the rule for the test split; empty: the rule.
    """

    require_torso: bool
    minimum_joints: Annotated[int, Field(ge=1, le=18)]
    minimum_joint_confidence: Fraction
    minimum_person_confidence: Fraction
    minimum_person_height: Weight
    cameras: Literal["any", "same", "different"]
    minimum_pose_difference: Weight
    maximum_pairs_per_identity: Count
    validation_identities: Annotated[float, Field(ge=0, lt=1)]
    train_pairs: str
    test_pairs: str
    seed: Seed


class ShardConfig(Section):
    """How identities are packed into WebDataset tars."""

    target_megabytes: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    maximum_images_per_sample: Annotated[int, Field(ge=2)]


class ModelConfig(Section):
    """Generator and discriminator; 64 channels are the paper's width."""

    deformation: Deformation
    combine: Literal["max", "average"]
    stacked_steps: Annotated[int, Field(ge=1, le=8)]
    generator_channels: Positive
    discriminator_channels: Positive
    warped_skips: Annotated[int, Field(ge=0, le=8)]
    maximum_offset: Annotated[float, Field(ge=0, le=64)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    heatmap_sigma: Annotated[float, Field(gt=0, le=64)]
    image_skip: bool
    upsampling: Upsampling
    local_patches: bool
    judged_source: Literal["whole", "body"]

    @model_validator(mode="after")
    def _something_to_move(self) -> Self:
        if self.image_skip and self.deformation == "none":
            raise ValueError("image_skip: expected false where model.deformation is 'none', which moves nothing")
        return self


class LossConfig(Section):
    """Weights of the loss terms; a term of weight 0 is not computed.

    l1_ground: what a pixel off the target's body counts in L1, where one on it counts 1, before all are scaled to a mean of 1.
    l1_block: pixels, the side of the blocks whose means L1 compares; 1: the pixels themselves.
    """

    adversarial: Weight
    l1: Weight
    l1_ground: Fraction
    l1_block: Literal[1, 2, 4, 8]
    perceptual: Weight
    nearest_neighbour: Weight
    nearest_neighbour_window: Literal[1, 3, 5, 7]
    offset_smoothness: Weight
    feature_matching: Weight
    gradient_penalty: Weight

    @model_validator(mode="after")
    def _by_a_discriminator(self) -> Self:
        for name in ("feature_matching", "gradient_penalty"):
            if getattr(self, name) > 0 and self.adversarial == 0:
                raise ValueError(f"{name}: expected 0 where loss.adversarial is 0, with which no discriminator is trained")
        return self


class FeaturesConfig(Section):
    """The frozen VGG-19 of the perceptual and nearest-neighbour losses.

    weights: `random` (filters of a fixed seed), `official` (torchvision's own loader), or a path
    to a state dict, with its SHA-256.
    """

    weights: Annotated[str, Field(min_length=1)]
    sha256: Sha256

    @model_validator(mode="after")
    def _hash_of_a_file(self) -> Self:
        if self.weights == "random" and self.sha256:
            raise ValueError("sha256: features.weights is 'random', filters drawn here, which no file holds; set sha256 to \"\"")
        if self.weights not in ("random", "official") and not self.sha256:
            raise ValueError("sha256: features.weights is a file, whose content must be pinned by its SHA-256 here (sha256sum FILE)")
        return self


class RecipeModel(Section):
    """What a recipe says of the section `model`."""

    deformation: Deformation
    image_skip: bool
    upsampling: Upsampling
    local_patches: bool
    judged_source: Literal["whole", "body"]


class RecipeLoss(Section):
    """What a recipe says of the section `loss`."""

    l1: Weight
    l1_ground: Fraction
    l1_block: Literal[1, 2, 4, 8]
    perceptual: Weight
    nearest_neighbour: Weight
    offset_smoothness: Weight
    feature_matching: Weight


class RecipeTrain(Section):
    """What a recipe says of the section `train`."""

    mirrored: Fraction


class Recipe(Section):
    """A variant of the method; complete, so that two recipes differ only in what they say."""

    model: RecipeModel
    loss: RecipeLoss
    train: RecipeTrain


class TrainConfig(Section):
    """One training run; an iteration is one update of the discriminator and one of the generator.

    pair_law: how often an identity's pairs are drawn: in proportion to its images, or every pair equally often as in the original.
    mirrored: share of the pairs that are mirrored, left for right, before they are learned from.
    corrupt: whether a damaged sample of the shards ends the run, or is left out and named when it is over.
    initial: a generator's file to go on from; `""`: start untrained.
    tensorboard: whether the log is written for TensorBoard as well, beside the run's state.
    """

    seed: Seed
    initial: str
    initial_sha256: Sha256
    iterations: Positive
    batch_size: Positive
    accumulate: Positive
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    constant_rate: Fraction
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    precision: Literal["float32", "bfloat16"]
    channels_last: bool
    compile: Literal["none", "default", "reduce-overhead"]
    device: Device
    pool_identities: Positive
    pairs_per_image: Positive
    pair_law: Literal["by_identity", "uniform"]
    mirrored: Fraction
    corrupt: Literal["error", "skip"]
    log_every: Positive
    validate_every: Positive
    validation_pairs: Positive
    sample_every: Positive
    checkpoint_every: Positive
    keep_checkpoints: Positive
    tensorboard: bool

    @model_validator(mode="after")
    def _equal_parts(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate: expected a divisor of train.batch_size, {self.batch_size}, got {self.accumulate}")
        return self

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.initial and not self.initial_sha256:
            raise ValueError("initial_sha256: train.initial is a file, whose content must be pinned by its SHA-256 here (sha256sum FILE)")
        if self.initial_sha256 and not self.initial:
            raise ValueError('initial_sha256: train.initial names no file; set it to ""')
        return self


class WeightsConfig(Section):
    """Files of the networks that metrics look through; `""`: the official file, where it is found."""

    inception: str
    alexnet: str
    vgg16: str
    reid: str


class DetectorConfig(Section):
    """The detector that judges: its weights, their SHA-256 and the size of its input, each as in the section `pose`."""

    weights: Annotated[str, Field(min_length=1)]
    sha256: Sha256
    image_size: DetectorSize

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.weights.startswith(("http://", "https://")) and not self.sha256:
            raise ValueError("sha256: evaluate.detector.weights is an address, whose content must be pinned by its SHA-256 here")
        if self.weights == AUTO and self.sha256:
            raise ValueError("sha256: evaluate.detector.weights is 'auto', whose content the program knows; set sha256 to \"\"")
        return self


class EvaluateConfig(Section):
    """Which held-out pairs are judged, how joints are compared, by which detector, and through which networks.

    bootstrap: resamples behind each interval.
    """

    pairs: Positive
    batch_size: Positive
    seed: Seed
    pck_threshold: Annotated[float, Field(gt=0, le=1)]
    grid_rows: Positive
    detector: DetectorConfig
    weights: WeightsConfig
    download_weights: bool
    bootstrap: Annotated[int, Field(ge=100, le=100_000)]
    device: Device


class Params(Section):
    """All of params.yaml."""

    image: ImageConfig
    recipe: RecipeName
    recipes: dict[RecipeName, Recipe]
    dataset: DatasetConfig
    pose: PoseConfig
    pair: PairConfig
    shard: ShardConfig
    model: ModelConfig
    loss: LossConfig
    features: FeaturesConfig
    train: TrainConfig
    evaluate: EvaluateConfig

    @model_validator(mode="before")
    @classmethod
    def _follow_the_recipe(cls, values: Any) -> Any:
        return follow_recipe(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _image_large_enough(self) -> Self:
        if min(self.image.height, self.image.width) < SMALLEST_JUDGED:
            raise ValueError(f"image: height and width: expected at least {SMALLEST_JUDGED}, which the discriminator's patches need")
        return self


class _TwiceError(Exception):
    """A key that stands twice in one section."""


class _Once(yaml.SafeLoader):
    """YAML's safe loader, which would take the last of two equal keys and drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The section, each of its keys once."""
        seen = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):  # which the loader refuses
                continue
            if key.value in seen:
                place = key.start_mark
                raise _TwiceError(f"line {place.line + 1}, column {place.column + 1}: {key.value} stands twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_params(path: Path) -> Params:
    """Read and validate a params.yaml.

    Raises:
        PoseGANError: no such file, not YAML, or a key that is unknown, missing, of the wrong type
            or out of range; every offending key is named.
    """
    return parse_params(read_values(path), str(path))


def read_values(path: Path) -> Any:
    """The content of a YAML file of parameters, not validated yet.

    Raises:
        PoseGANError: no such file, or not YAML; the message names the place.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Once)
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; run this in the project's folder, or name one with --params") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PoseGANError(f"{path}: could not be read ({error})") from error
    except _TwiceError as error:
        raise PoseGANError(f"{path}: {error}; remove one of them") from None
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}, column {place.column + 1}: " if place else ""
        raise PoseGANError(f"{path}: not valid YAML: {where}{getattr(error, 'problem', error)}") from error


def parse_params(values: object, origin: str = "params.yaml") -> Params:
    """Validate the content of a params.yaml that is already in memory; errors as `load_params`."""
    if not isinstance(values, dict):
        raise PoseGANError(f"{origin}: expected sections such as 'train:', got {type(values).__name__}")
    return parse_section(Params, values, origin)


_Section = TypeVar("_Section", bound=Section)


def parse_section(section: type[_Section], values: object, origin: str) -> _Section:
    """Validate `values` as one `section`; the error names `origin` and every offending key."""
    try:
        return section.model_validate(values)
    except ValidationError as error:
        complaints = [_complaint(dict(item)) for item in error.errors(include_url=False)]
        raise PoseGANError(f"{origin}: " + "; ".join(complaints)) from None


def _complaint(error: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{key}: missing; every key must be present"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; check its spelling"
    if error["type"] == "value_error":  # a validator of ours, which names the keys itself
        return f"{key}.{error['ctx']['error']}".removeprefix(".")
    expected = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    hint = ""
    if isinstance(error["input"], str) and error["type"] == "float_type" and _is_number(error["input"]):
        hint = "; YAML reads this as text: write it as 2.0e-4"
    return f"{key}: expected {expected}, got {error['input']!r}{hint}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
