"""Inception features of sets of images, and the numbers that compare sets: FID, KID, Inception Score.

The network and the formulas of KID and Inception Score are torch-fidelity's, which agree with the TensorFlow originals; this
module gives it weights of known origin and adds statistics that are gathered batch by batch.

Legend: N images, F = 2048 features, C = 1008 classes.
"""

import io
import logging
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from posegan.errors import PoseGANError
from posegan.files import atomic_path
from posegan.frozen.weights import OfficialFile, Weights

logger = logging.getLogger(__name__)

INCEPTION = OfficialFile(
    "Inception v3 (2015-12-05)",
    ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"),
    URL_INCEPTION_V3,
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
FEATURES, CLASSES = 2048, 1008
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000  # Binkowski et al., 2018
PAPER_SPLITS = 10

Floats = npt.NDArray[np.float32]


class InceptionNetwork:
    """The network of the Inception Score's and FID's authors.

    Raises:
        PoseGANError: weights of another network.
    """

    def __init__(self, weights: Weights, device: torch.device) -> None:
        # torch-fidelity opens its file as a pickle that may run anything: it gets one that holds the verified tensors.
        safe = io.BytesIO()
        torch.save(dict(weights.state), safe)
        safe.seek(0)
        try:
            with torch.random.fork_rng(devices=[]):
                self._network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], safe).to(device)
        except RuntimeError as error:
            reason = str(error).splitlines()[1:2] or [str(error)]
            raise PoseGANError(
                f"{weights.path}: not the Inception network of FID ({reason[0].strip()[:160]}); get the right file"
            ) from error
        self._device = device

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Floats:
        """Features and, behind them, unbiased logits, `(N, F + C)`, of uint8 `(N, 3, H, W)`, resized as TensorFlow did."""
        features, logits = self._network(images.to(self._device))
        joined: Floats = torch.cat([features, logits], dim=1).cpu().numpy()
        return joined


class Moments:
    """Mean and covariance of features, gathered batch by batch in float64 (Chan et al., 1983)."""

    def __init__(self, features: int = FEATURES) -> None:
        self.count = 0
        self.mean = np.zeros(features)
        self._scatter = np.zeros((features, features))  # sum of outer products of deviations
        self._rows: list[npt.NDArray[np.float64]] = []  # as long as there are fewer than features

    def add(self, features: npt.NDArray[np.floating]) -> None:
        """Add a batch `(N, F)`."""
        count = len(features)
        if count == 0:
            return
        rows = features.astype(np.float64)
        apart, total = rows.mean(axis=0) - self.mean, self.count + count
        deviations = rows - rows.mean(axis=0)
        self._scatter += deviations.T @ deviations + np.outer(apart, apart) * (self.count * count / total)
        self.mean += apart * (count / total)
        self.count = total
        self._rows = [*self._rows, rows] if total <= len(self.mean) else []

    def save(self, path: Path) -> None:
        """Keep them in a file; one that cannot be written is told, and the next run takes longer."""
        try:
            with atomic_path(path) as temporary:
                safetensors.numpy.save_file({"count": np.array(self.count), "mean": self.mean, "scatter": self._scatter}, temporary)
        except (PoseGANError, safetensors.SafetensorError) as error:
            logger.warning("%s: not kept: %s", path, error)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """What `save` kept; None where there is no such file, or a damaged one."""
        try:
            stored = safetensors.numpy.load_file(path) if path.is_file() else None
            if stored is None:
                return None
            moments = cls(len(stored["mean"]))
            moments.count, moments.mean, moments._scatter = int(stored["count"]), stored["mean"], stored["scatter"]
            return moments
        except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
            logger.warning("%s: not readable (%s); it is computed again", path, error)
            return None

    def covariance(self) -> npt.NDArray[np.float64]:
        """`(F, F)`, of the sample (divided by N - 1).

        Raises:
            ValueError: fewer than two rows.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 images, got {self.count}")
        return self._scatter / (self.count - 1)

    def root(self) -> npt.NDArray[np.float64]:
        """A matrix R `(r, F)` with R^T R = covariance, r being the smaller of N and F; errors as `covariance`."""
        covariance = self.covariance()
        if self._rows:
            deviations: npt.NDArray[np.float64] = (np.concatenate(self._rows) - self.mean) / np.sqrt(self.count - 1)
            return deviations
        values, vectors = np.linalg.eigh(covariance)
        result: npt.NDArray[np.float64] = np.sqrt(values.clip(0))[:, None] * vectors.T
        return result


def frechet_distance(first: Moments, second: Moments) -> float:
    """FID (Heusel et al., 2017): `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`; 0 for equal sets.

    With C = R^T R the last trace is the sum of the singular values of R1 R2^T: a matrix no larger than the sets, and never the
    complex root of one that is not symmetric.

    Raises:
        ValueError: fewer than two images in a set.
    """
    shared = np.linalg.svd(first.root() @ second.root().T, compute_uv=False).sum()
    apart = first.mean - second.mean
    return float(apart @ apart + np.trace(first.covariance()) + np.trace(second.covariance()) - 2 * shared)


def kernel_distance(first: Floats, second: Floats, seed: int, subsets: int = KID_SUBSETS, subset_size: int = KID_SUBSET_SIZE) -> float:
    """KID (Binkowski et al., 2018) of features `(N, F)`: squared MMD of a cubic kernel, without bias, so it may fall below 0.

    The mean over seeded subsets, by default the authors' 100 of 1000 images; over all of them at once where there are no more.

    Raises:
        ValueError: fewer than two images in a set.
    """
    size = min(len(first), len(second))
    if size < 2:
        raise ValueError(f"features: KID needs at least 2 images a set, got {size}")
    whole = size <= subset_size and len(first) == len(second)
    found = kid_features_to_metric(
        torch.from_numpy(first.astype(np.float64)),
        torch.from_numpy(second.astype(np.float64)),
        kid_subsets=1 if whole else subsets,
        kid_subset_size=min(size, subset_size),
        rng_seed=seed,
        verbose=False,
    )
    return float(found[KEY_METRIC_KID_MEAN])


def inception_score(logits: Floats, splits: int, seed: int) -> float:
    """Inception Score (Salimans et al., 2016) of logits `(N, C)`: exp of the mean KL divergence of p(y|x) from p(y); at least 1.

    One split takes all images together; with more, the mean over splits of the images in a seeded random order.

    Raises:
        ValueError: fewer images than splits.
    """
    if len(logits) < splits:
        raise ValueError(f"logits: expected at least one image a split ({splits}), got {len(logits)}")
    found = isc_features_to_metric(torch.from_numpy(logits), splits=splits, shuffle=splits > 1, rng_seed=seed)
    return float(found[KEY_METRIC_ISC_MEAN])
