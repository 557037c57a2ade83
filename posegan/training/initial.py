"""A warm start: weights of another run, to go on from on other people.

A run's generator goes with the discriminator that judged it: without that one, an untrained discriminator leads a trained generator
astray for a while. So each run writes its discriminator beside its generator, whose file names it by its SHA-256.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from posegan.config import ModelConfig, Params
from posegan.errors import PoseGANError
from posegan.files import atomic_path, sha256_of
from posegan.model.generator_file import DISCRIMINATOR, load_generator, read_generator_card
from posegan.training.state import TrainingState

DISCRIMINATOR_SHA256 = "discriminator_sha256"  # in a generator's provenance
_METADATA_KEY = "posegan-discriminator"
# What decides which weights there are, and what they mean.
_OF_GENERATOR = ("deformation", "generator_channels", "image_skip", "upsampling", "warped_skips", "heatmap_sigma")
_OF_DISCRIMINATOR = ("discriminator_channels", "local_patches", "judged_source", "heatmap_sigma")


def save_discriminator(path: Path, discriminator: nn.Module, model: ModelConfig, dtype: torch.dtype = torch.float32) -> str:
    """Write the discriminator, in `dtype`, with what describes it; equal inputs give equal bytes. Returns the file's SHA-256."""
    tensors = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in discriminator.state_dict().items()}
    described = {key: getattr(model, key) for key in _OF_DISCRIMINATOR}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_METADATA_KEY: json.dumps(described, sort_keys=True)})
    return sha256_of(path)


def start_warm(state: TrainingState, params: Params) -> str:
    """Give an untrained state the weights of `train.initial`; returns in words which.

    The discriminator's are taken where its file stands beside the generator's and is the one that this names.

    Raises:
        PoseGANError: no such file, one of another SHA-256 or architecture, or a discriminator that is not the named one.
    """
    path = Path(params.train.initial)
    if not path.is_file():
        raise PoseGANError(f'train.initial: {path}: no such file; name a generator\'s .safetensors file, or set it to ""')
    if (found := sha256_of(path)) != params.train.initial_sha256:
        raise PoseGANError(f"train.initial: {path}: its SHA-256 is {found}, train.initial_sha256 says {params.train.initial_sha256}")
    card = read_generator_card(path)
    _check(path, card.model.model_dump(), params.model.model_dump(), _OF_GENERATOR)
    weights = load_generator(path).state_dict()
    own = state.generator.state_dict()
    if unlike := [name for name in own if name not in weights or own[name].shape != weights[name].shape]:
        sizes = [f"{image.height} x {image.width}" for image in (card.image, params.image)]
        raise PoseGANError(
            f"train.initial: {path}: made for images of {sizes[0]} pixels, here they have {sizes[1]}, which is a network of other levels "
            f"({len(unlike)} weights differ)"
        )
    for network in (state.generator, state.ema):
        network.load_state_dict(weights)
    beside = path.with_name(DISCRIMINATOR)
    if not beside.is_file():
        return f"starts from {path}; there is no {DISCRIMINATOR} beside it, so the discriminator starts untrained"
    if sha256_of(beside) != card.provenance.get(DISCRIMINATOR_SHA256):
        raise PoseGANError(f"train.initial: {beside}: not the discriminator of {path.name} beside it; move it away to start without one")
    state.discriminator.load_state_dict(read_discriminator(beside, params.model))
    return f"starts from {path} and {beside.name} beside it"


def read_discriminator(path: Path, model: ModelConfig) -> dict[str, Tensor]:
    """The weights that `save_discriminator` wrote, in float32.

    Raises:
        PoseGANError: not such a file, or one of another architecture than `model`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})[_METADATA_KEY])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise PoseGANError(f"train.initial: {path}: not a discriminator's file ({error})") from error
    _check(path, described, model.model_dump(), _OF_DISCRIMINATOR)
    return tensors


def _check(path: Path, theirs: dict[str, object], ours: dict[str, object], keys: tuple[str, ...]) -> None:
    """Raise PoseGANError, naming both sides, if the file's network is another one than the parameters describe."""
    unlike = [key for key in keys if theirs.get(key) != ours[key]]
    if unlike:
        found, wanted = (", ".join(f"model.{key} {side.get(key)}" for key in unlike) for side in (theirs, ours))
        raise PoseGANError(f"train.initial: {path}: a network of {found}; params.yaml has {wanted}; use the file's values, or another file")
