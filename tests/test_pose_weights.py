import hashlib
from pathlib import Path

import pytest

from pipeline.pose.weights import with_local_weights
from posegan.config import PoseConfig, load_params
from posegan.errors import PoseGANError
from tests.support.loopback import serving

CONTENT = bytes(range(256)) * 200
CONFIG = load_params(Path(__file__).parent.parent / "params.yaml").pose


def config(url: str, sha256: str = hashlib.sha256(CONTENT).hexdigest()) -> PoseConfig:
    return PoseConfig.model_validate(CONFIG.model_dump() | {"weights": url, "sha256": sha256})


def test_weights_at_an_address_are_fetched_once(tmp_path: Path) -> None:
    with serving(lambda request, _: request.reply_file(CONTENT)) as server:
        for _ in range(2):
            assert Path(with_local_weights(config(f"{server.url}/w.pt"), tmp_path).weights).read_bytes() == CONTENT
        assert len(server.asked) == 1


def test_other_content_is_refused_and_an_address_without_a_sum_too(tmp_path: Path) -> None:
    with serving(lambda request, _: request.reply_file(CONTENT)) as server, pytest.raises(PoseGANError, match=r"correct pose\.sha256"):
        with_local_weights(config(f"{server.url}/w.pt", "0" * 64), tmp_path)
    assert not list(tmp_path.glob("*.pt"))
    with pytest.raises(ValueError, match="must be pinned"):
        config("https://a/w.pt", "")


def test_what_is_no_address_stays_as_it_is(tmp_path: Path) -> None:
    assert with_local_weights(CONFIG, tmp_path) is CONFIG
