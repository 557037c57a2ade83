"""FID, KID and Inception Score: closed forms, agreement with torchmetrics, and the same numbers however the images come."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric
from torchmetrics.image.kid import poly_mmd

from pipeline.evaluate.image_sets import new_set
from pipeline.evaluate.metrics import METHODS, set_metrics
from pipeline.evaluate.train_images import train_moments
from posegan.data.index import ShardIndex
from posegan.errors import PoseGANError
from posegan.frozen.inception import CLASSES, FEATURES, InceptionNetwork, Moments, frechet_distance, inception_score, kernel_distance
from tests.support.random_weights import as_weights, random_state
from tests.support.small_market import Prepared
from tests.support.tiny_run import tiny_params

CPU = torch.device("cpu")


def features(seed: int, count: int = 60, size: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


def moments(*batches: np.ndarray) -> Moments:
    gathered = Moments(batches[0].shape[1])
    for batch in batches:
        gathered.add(batch)
    return gathered


def test_streamed_moments_are_those_of_all_at_once() -> None:
    rows = features(0, 101) * 3 + 100
    streamed = moments(rows[:1], rows[1:40], rows[40:40], rows[40:])
    np.testing.assert_allclose(streamed.mean, rows.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(streamed.covariance(), np.cov(rows.astype(np.float64), rowvar=False), rtol=1e-10, atol=1e-12)
    assert frechet_distance(streamed, moments(rows)) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(streamed.root().T @ streamed.root(), streamed.covariance(), atol=1e-9)
    few = moments(rows[:3], rows[3:6])
    assert few.root().shape == (6, 8)
    np.testing.assert_allclose(few.root().T @ few.root(), few.covariance(), atol=1e-9)
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        moments(rows[:1]).covariance()


def test_kept_moments_are_the_same_and_damaged_ones_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows, path = features(0), tmp_path / "train.safetensors"
    assert Moments.load(path) is None
    moments(rows).save(path)
    kept = Moments.load(path)
    assert kept is not None and kept.count == len(rows)
    assert frechet_distance(kept, moments(features(1))) == pytest.approx(frechet_distance(moments(rows), moments(features(1))))
    path.write_bytes(path.read_bytes()[:100])
    assert Moments.load(path) is None
    assert "not readable" in caplog.text


def test_every_train_image_counts_once(prepared: Prepared, tmp_path: Path) -> None:
    seen: list[np.ndarray] = []

    def network(images: torch.Tensor) -> np.ndarray:
        seen.extend(images.numpy())
        return images.flatten(1)[:, : FEATURES + CLASSES].numpy().astype(np.float32)

    index, path = ShardIndex.load(prepared.shards), tmp_path / "train.safetensors"
    found = train_moments(index, tiny_params().image, network, path)
    stored = [index.read(sample) for split in ("train", "val") for sample in index.split(split)]
    names = {name for sample in stored for name in sample.names}
    assert found is not None and found.count == len(seen) == len(names) > 10
    rows = np.stack(seen).reshape(len(seen), -1)[:, :FEATURES].astype(np.float64)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0))
    again = train_moments(index, tiny_params().image, network, path)
    assert len(seen) == len(names) and again is not None and again.count == found.count  # kept


def test_small_sets_say_that_fid_is_biased_and_a_missing_train_set_is_named() -> None:
    sets = {method: new_set() for method in METHODS}
    for number, images in enumerate(sets.values()):
        rows = np.random.default_rng(number).normal(size=(6, FEATURES + CLASSES)).astype(np.float32)
        images.add(rows, rows)
    train = Moments()
    train.add(np.random.default_rng(9).normal(size=(7, FEATURES)))
    values, reasons = set_metrics(sets, train, 0)
    assert values["generated"]["fid_train"] == frechet_distance(sets["generated"].moments, train)
    assert values["real_target"]["fid_train"] > 0 and "fid" not in values["real_target"]
    assert reasons["fid"] == reasons["fid_train"] == "of 6 images: too high by an unknown amount below 2,048; see kid, which is not"
    values, reasons = set_metrics(sets, None, 0)
    assert "fid_train" not in values["generated"]
    assert reasons["fid_train"] == "the shards hold no train images"


def test_fid_of_equal_covariances_is_the_squared_distance_of_the_means() -> None:
    rows = features(0)
    shift = np.arange(8, dtype=np.float32) / 4
    distance = frechet_distance(moments(rows), moments(rows + shift))
    assert distance == pytest.approx(float((shift**2).sum()), rel=1e-5)


def test_fid_of_a_scaled_set() -> None:
    # tr(C + s^2 C - 2 s C) = (1 - s)^2 tr C, and the means are (1 - s) m apart.
    rows = features(1).astype(np.float64)
    distance = frechet_distance(moments(rows), moments(1.5 * rows))
    expected = 0.25 * (np.trace(np.cov(rows, rowvar=False)) + (rows.mean(axis=0) ** 2).sum())
    assert distance == pytest.approx(expected, rel=1e-8)


def test_fid_is_symmetric_and_not_negative() -> None:
    first, second = moments(features(0)), moments(features(1) * 2)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first), rel=1e-8)
    assert frechet_distance(first, second) > 0


@pytest.mark.parametrize("count", [5, 60])  # fewer images than features, and more
def test_fid_agrees_with_torch_fidelity(count: int) -> None:
    sets = moments(features(0, count)), moments(features(1, count) * 1.5 + 0.2)
    statistics = [{"mu": each.mean, "sigma": each.covariance()} for each in sets]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    assert frechet_distance(*sets) == pytest.approx(expected, rel=1e-6)


def test_kid_agrees_with_torchmetrics_and_grows_with_distance() -> None:
    first, second = features(0), features(1) + 0.5
    expected = poly_mmd(torch.from_numpy(first.astype(np.float64)), torch.from_numpy(second.astype(np.float64))).item()
    assert kernel_distance(first, second, 0) == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(first, features(1), 0) < expected
    assert kernel_distance(second, first, 0) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="at least 2 images"):
        kernel_distance(first[:1], second[:1], 0)


def test_kid_of_large_sets_is_a_seeded_mean_over_subsets() -> None:
    first, second = features(0, 400, 4), features(1, 400, 4) + 0.3
    settings = {"subsets": 40, "subset_size": 100}
    distance = kernel_distance(first, second, 0, **settings)
    assert distance == kernel_distance(first, second, 0, **settings)
    assert distance != kernel_distance(first, second, 1, **settings)
    assert distance == pytest.approx(kernel_distance(first, second, 0), rel=0.1)


def test_the_inception_score_counts_classes() -> None:
    certain = np.full((50, 5), -60, np.float32)
    certain[np.arange(50), np.arange(50) % 5] = 60
    assert inception_score(certain, 1, 0) == pytest.approx(5, rel=1e-6)
    assert inception_score(np.zeros((50, 5), np.float32), 1, 0) == pytest.approx(1)
    assert inception_score(certain[:1], 1, 0) == pytest.approx(1)  # one image cannot differ from itself
    split = inception_score(certain, 10, 0)
    assert 1 <= split <= 5
    assert split == inception_score(certain, 10, 0)
    with pytest.raises(ValueError, match="one image a split"):
        inception_score(certain[:9], 10, 0)


def test_the_inception_score_is_its_definition() -> None:
    logits = features(0, 40, 7)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    divergence = (p * (np.log(p) - np.log(p.mean(axis=0)))).sum(axis=1).mean()
    assert inception_score(logits, 1, 0) == pytest.approx(math.exp(divergence), rel=1e-9)


@pytest.fixture(scope="module")
def network() -> InceptionNetwork:
    return InceptionNetwork(as_weights(random_state("inception")), CPU)


def test_features_of_an_image_are_its_own(network: InceptionNetwork) -> None:
    images = torch.randint(0, 256, (3, 3, 32, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    together = network(images)
    assert together.shape == (3, FEATURES + CLASSES)
    np.testing.assert_allclose(network(images[1:2])[0], together[1], rtol=1e-3, atol=1e-5)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(PoseGANError, match=r"random\.pth: not the Inception network of FID"):
        InceptionNetwork(as_weights(random_state("alexnet")), CPU)
