"""Fixtures that many tests share."""

import multiprocessing
from pathlib import Path

import pytest

from posegan.people import detectors
from tests.support.small_market import Prepared, prepare

# What the processes that tests start need is imported once, where they are forked from.
multiprocessing.set_forkserver_preload(["pipeline.download.stage", "pipeline.train.stage"])


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(autouse=True)
def no_official_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests ask no network: `auto` does without the official detector, whether or not there is one to reach."""

    def unreachable(path: Path) -> None:
        raise OSError("tests ask no network")

    monkeypatch.setattr(detectors, "fetch_official", unreachable)
