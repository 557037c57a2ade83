"""The model card of a training: what the generator learned from, how, and how far; equal runs give equal text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from posegan.config import Params
from posegan.data.index import ShardIndex
from posegan.training.run_name import FREE

LEFT_OUT = "left_out"  # in a generator's provenance: the damaged samples that it was trained without, in words
_VALIDATED = ("val_quality", "val_sharpness", "val_ssim", "val_l1")


class SplitCount(NamedTuple):
    """What a split of the shards holds; an image that stands in two samples counts twice."""

    split: str
    samples: int
    images: int
    pairs: int


def counts(index: ShardIndex) -> list[SplitCount]:
    """The splits of the shards, in the order of the index."""
    splits = ((name, index.split(name, check_sizes=False)) for name in index.splits)
    return [SplitCount(name, len(split), int(split.images.sum()), int(split.pairs.sum())) for name, split in splits]


def trained_on(index: ShardIndex) -> str:
    """How many people and images the split `train` has, in words; an image that stands in two samples counts twice."""
    split = index.split("train", check_sizes=False)
    return f"{int(split.images.sum()):,} images of {len(set(split.identities)):,} people"


def model_card(
    params: Params,
    provenance: Mapping[str, str],
    data: Sequence[SplitCount],
    history: Sequence[tuple[int, Mapping[str, float]]],
    files: Mapping[str, int],
) -> str:
    """The card as Markdown.

    Args:
        params: the parameters of the run.
        provenance: what the generators' files say of themselves, versions among it.
        data: what the shards hold.
        history: the run's records, in order.
        files: the step of each generator, the evaluated one first, the best by validation second.
    """
    (last, last_step), (best, best_step) = files.items()
    validated = [(step, values) for step, values in history if "val_quality" in values]
    losses: dict[str, float] = {name: value for _, values in history for name, value in values.items() if name.startswith("loss_")}
    liked = (
        f"step {best_step:,}, the highest val_quality of {len(validated)}" if validated else f"step {best_step:,}, as nothing was validated"
    )
    train = params.train.model_dump(exclude=FREE - {"initial"})
    sections = [
        f"# PoseGAN generator, {params.image.height} x {params.image.width} pixels",
        "Draws the person of a photo in another pose: the Deformable GAN of Siarohin et al. (CVPR 2018).",
        "## Files\n\nEMA weights; the first is the one that `metrics.json` judges.\n\n"
        + _table(("file", "of"), [(last, f"step {last_step:,}, the last"), (best, liked)]),
        f"## Data\n\nShards of SHA-256 `{provenance['shards_sha256']}`.\n\n"
        + _table(SplitCount._fields, data)
        + (f"\n\nTrained without {left_out}." if (left_out := provenance.get(LEFT_OUT)) else ""),
        f"## Recipe: {params.recipe}\n\n"
        + _table(
            ("parameter", "value"),
            [(f"{name}.{key}", value) for name in ("model", "loss") for key, value in getattr(params, name).model_dump().items()],
        ),
        f"Feature losses look through: {provenance['features']}.",
        "## Training\n\n" + _table(("parameter", "value"), [(f"train.{key}", value) for key, value in train.items()]),
        "## Validation\n\n" + _validation(validated),
        "## Last training losses, weighted\n\n" + _table(("term", "mean"), [(name, f"{value:.5g}") for name, value in losses.items()]),
        f"## Seed and versions\n\nSeed {provenance['seed']}, torch {provenance['torch']}, Python {provenance['python']}.",
        "## Use\n\nIt draws people who look as those of its training images do; what it draws of anybody else is not known. Its pictures\n"
        "show a person in poses that they never took: use it only with pictures of people who agree to that, and say that a\n"
        "picture is generated.",
    ]
    return "\n\n".join(sections) + "\n"


def _validation(validated: Sequence[tuple[int, Mapping[str, float]]]) -> str:
    if not validated:
        return "The split `val` is empty: nothing was validated."
    return _table(("step", *_VALIDATED), [(f"{step:,}", *(f"{values[name]:.4f}" for name in _VALIDATED)) for step, values in validated])


def _table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    lines = [" | ".join(str(cell) for cell in row) for row in (header, *rows)]
    return "\n".join(f"| {line} |" for line in (lines[0], " | ".join("---" for _ in header), *lines[1:]))
