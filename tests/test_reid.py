"""Re-identification: features of length 1, and consistency by hand."""

import numpy as np
import pytest
import torch

from posegan.errors import PoseGANError
from posegan.frozen.reid import ReIdNetwork, identity_consistency
from tests.support.random_weights import as_weights, random_state

CPU = torch.device("cpu")


def test_features_have_length_1_and_belong_to_their_image() -> None:
    state = random_state("reid")
    network = ReIdNetwork(
        as_weights({f"module.{name}": value for name, value in state.items()} | {"classifier.weight": torch.ones(1)}), CPU
    )
    images = torch.randint(0, 256, (2, 3, 64, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    features = network(images)
    assert features.shape == (2, 2048)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(network(images[1:])[0], features[1], atol=1e-5)
    with pytest.raises(PoseGANError, match=r"conv1\.weight: expected shape"):
        ReIdNetwork(as_weights({name: value for name, value in state.items() if name != "conv1.weight"}), CPU)


def direction(degrees: float) -> list[float]:
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


def test_consistency_by_hand() -> None:
    sources = np.array([direction(0), direction(40), direction(80), direction(80)], np.float32)
    people = np.array([1, 2, 3, 3])
    # The results: nearest to its own source; nearest to another's; between two others; as near to one other as to its own.
    results = np.array([direction(-10), direction(0), direction(80), direction(60)], np.float32)
    found = identity_consistency(results, sources, people)
    assert found[0] == 1
    assert found[1] == 0.5  # 0 is nearer than 40, 80 is farther; the two images at 80 are one
    assert found[2] == 1
    assert found[3] == pytest.approx(0.5 + 0.25, abs=0.26)  # 40 and 80 are 20 degrees away up to rounding: a tie counts half


def test_copies_are_perfect_and_alone_means_nothing() -> None:
    features = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert (identity_consistency(features, features, np.arange(20)) == 1).all()
    assert np.isnan(identity_consistency(features, features, np.zeros(20, int))).all()
    noise = np.random.default_rng(1).normal(size=(20, 5)).astype(np.float32)
    assert 0.3 < identity_consistency(noise / np.linalg.norm(noise, axis=1, keepdims=True), features, np.arange(20)).mean() < 0.7
