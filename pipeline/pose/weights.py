"""Weights of the detector that stand at an address: fetched once, and only with a SHA-256."""

from pathlib import Path

from pipeline.http.transfer import fetch
from posegan.config import PoseConfig
from posegan.files import check_sha256, sha256_of


def with_local_weights(config: PoseConfig, downloads: Path) -> PoseConfig:
    """`config` with a file for `weights`: what is an address is fetched into `downloads`, unless it is there already.

    Raises:
        PoseGANError: as `fetch`, or what came has another SHA-256.
    """
    if not config.weights.startswith(("http://", "https://")):
        return config
    path = downloads / f"{config.sha256[:16]}.pt"

    def verify(part: Path) -> None:
        check_sha256(part, config.sha256, f"{config.weights} gave something else; try again, or correct pose.sha256")

    if not (path.is_file() and sha256_of(path) == config.sha256):
        fetch(config.weights, path, verify)
    return config.model_copy(update={"weights": str(path)})
