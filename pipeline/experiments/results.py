"""What a DVC experiment left, read by its name from git and DVC's cache; the workspace stays as it is."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pandas as pd
import yaml
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException

from pipeline.pages.album import Pictures
from posegan.errors import PoseGANError
from posegan.recipes import FROM_RECIPE

Read = Callable[[str], bytes]  # the content of a file, by its path in the project


class Experiment(NamedTuple):
    """An experiment's numbers, and the pairs that they were taken on."""

    metrics: Mapping[str, Any]  # metrics.json
    params: Mapping[str, Any]  # params.yaml, nested
    pairs: pd.DataFrame  # a row a judged pair: source, target, identity


def reader(name: str) -> Read:
    """Reads the files of an experiment as it ended; asks no network unless a DVC remote is set up and the cache lacks a file.

    Raises:
        PoseGANError: by what it gives: no such experiment, or a file that neither git nor the cache has.
    """
    files = DVCFileSystem(".", rev=name)

    def read(path: str) -> bytes:
        try:
            content: bytes = files.cat_file(path)
        except (DvcException, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PoseGANError(f"experiment {name}: {path}: {reason}; `dvc exp remove {name}`, then run again") from error
        return content

    return read


def read_experiment(read: Read) -> Experiment:
    """Numbers, parameters and pairs of an experiment."""
    pairs = pd.read_parquet(io.BytesIO(read("reports/evaluation/pairs.parquet")), columns=["source", "target", "identity"])
    return Experiment(json.loads(read("metrics.json")), yaml.safe_load(read("params.yaml")), pairs)


def read_pictures(read: Read) -> Pictures:
    """What was generated for each of its pairs, with the real images.

    Raises:
        PoseGANError: a damaged album.
    """
    return Pictures(io.BytesIO(read("reports/evaluation/pictures.zip")))


def value_of(params: Mapping[str, Any], key: str) -> Any:
    """What stands in params.yaml at `section.key`; None where nothing does."""
    value: Any = params
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def has_random_filters(params: Mapping[str, Any]) -> bool:
    """Whether a loss of this training looks through a VGG-19 whose filters are random."""
    weights = [_decided(params, f"loss.{name}") for name in ("perceptual", "nearest_neighbour")]
    return value_of(params, "features.weights") == "random" and any(weight > 0 for weight in weights)


def _decided(params: Mapping[str, Any], key: str) -> Any:
    """The value of a key, the recipe's where it says `recipe`."""
    value = value_of(params, key)
    return value_of(params, f"recipes.{params['recipe']}.{key}") if value == FROM_RECIPE else value
