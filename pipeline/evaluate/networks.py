"""The networks that metrics look through, as far as their weights are at hand; for the others, the reason."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.evaluate.metrics import METRICS
from pipeline.http.transfer import Limits, fetch
from posegan.config import EvaluateConfig
from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.frozen.inception import INCEPTION, InceptionNetwork
from posegan.frozen.lpips import ALEXNET, VGG16, PerceptualDistance, RandomFilterDistance
from posegan.frozen.reid import REID, ReIdNetwork
from posegan.frozen.weights import OfficialFile, Weights, WeightsAbsentError, find_weights

logger = logging.getLogger(__name__)

FILES = {"inception": INCEPTION, "alexnet": ALEXNET, "vgg16": VGG16, "reid": REID}
# A machine without network should say so in seconds; the largest of the files has 530 MB.
_LIMITS = Limits(size=1 << 30, deadline=1800.0, silence=15.0, connect=5.0, attempts=2)


class Networks(NamedTuple):
    """Each network, or None; which weights they have; and why metrics have none."""

    inception: InceptionNetwork | None
    alexnet: PerceptualDistance | None
    vgg16: PerceptualDistance | None
    reid: ReIdNetwork | None
    random_filters: RandomFilterDistance | None  # stands in for `alexnet` where that is None, and only there
    descriptions: dict[str, str]  # network -> its file, or what stands in for it
    sha256s: dict[str, str]  # network -> its file's
    reasons: dict[str, str]  # metric -> why it has no number

    @property
    def comparing(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """Those at hand that say how far two images are apart."""
        networks = {"alexnet": self.alexnet, "random_filters": self.random_filters, "vgg16": self.vgg16}
        return {name: network for name, network in networks.items() if network is not None}


def open_networks(config: EvaluateConfig, folder: Path, downloads: Path, device: torch.device) -> Networks:
    """Find, perhaps fetch, verify and build the networks.

    Args:
        config: says which files, and whether missing ones are fetched.
        folder: where people put official files.
        downloads: where fetched ones are.
        device: where they compute.

    Raises:
        PoseGANError: a file that `config` names is missing, damaged or another network's.
    """
    found: dict[str, Weights] = {}
    reasons: dict[str, str] = {}
    for name, file in FILES.items():
        try:
            found[name] = _obtain(name, file, config, folder, downloads)
        except WeightsAbsentError as error:
            reasons |= {metric.name: str(error) for metric in METRICS.values() if metric.network == name}
    random_filters = None if "alexnet" in found else RandomFilterDistance(device)
    stand_in = {"alexnet": random_filters.description} if random_filters else {}
    return Networks(
        inception=InceptionNetwork(found["inception"], device) if "inception" in found else None,
        alexnet=PerceptualDistance("alex", found["alexnet"], device) if "alexnet" in found else None,
        vgg16=PerceptualDistance("vgg", found["vgg16"], device) if "vgg16" in found else None,
        reid=ReIdNetwork(found["reid"], device) if "reid" in found else None,
        random_filters=random_filters,
        descriptions={name: weights.description for name, weights in found.items()} | stand_in,
        sha256s={name: weights.sha256 for name, weights in found.items()},
        reasons=reasons,
    )


def _obtain(name: str, file: OfficialFile, config: EvaluateConfig, folder: Path, downloads: Path) -> Weights:
    chosen, key, folders = getattr(config.weights, name), f"evaluate.weights.{name}", (folder, downloads)
    try:
        return find_weights(file, chosen, folders, key)
    except WeightsAbsentError:
        if not (config.download_weights and file.url):
            raise
    try:
        fetch_weights(file, downloads)
    except PoseGANError as error:
        logger.warning("%s", error)
        raise WeightsAbsentError(f"no weights of {file.title}: {error}") from error
    return find_weights(file, chosen, (downloads, folder), key)


def fetch_weights(file: OfficialFile, downloads: Path, limits: Limits = _LIMITS) -> Path:
    """Bring an official file into `downloads`, if its bytes are the official ones.

    Raises:
        PoseGANError: as `fetch`, or what came has another SHA-256.
    """
    path = downloads / file.names[0]

    def verify(part: Path) -> None:
        if not (found := sha256_of(part)).startswith(file.sha256):
            raise PoseGANError(f"{file.url}: gave SHA-256 {found[:16]}..., expected {file.sha256[:16]}; try again later")

    fetch(file.url, path, verify, limits)
    return path
