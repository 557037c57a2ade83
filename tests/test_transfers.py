"""Many transfers: in order, as one by one, whatever the size of the batches; a failure stays its own."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from posegan.inference.jobs import Drawn, Failed, Job, People, comparison, draw_all, pasted
from posegan.inference.pose_texts import PoseText, parse_pose
from posegan.inference.transfer import PoseTransfer
from tests.support.use_fixtures import write_model
from tests.test_posegan_people import Counting


@pytest.fixture(scope="module")
def transfer(tmp_path_factory: pytest.TempPathFactory) -> PoseTransfer:
    return PoseTransfer(write_model(tmp_path_factory.mktemp("model") / "g.safetensors"), "cpu", Counting())


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    for number in range(3):
        coarse = np.random.default_rng(number).integers(1, 256, (8, 4, 3), dtype=np.uint8)
        PIL.Image.fromarray(coarse).resize((64 + 30 * number, 128)).save(tmp_path / f"{number}.png")
    poses = [PoseText("sitting/left"), PoseText("waving"), parse_pose("1.png", tmp_path), PoseText("flying"), PoseText("standing/back")]
    sources = ["0", "1", "2", "0", "absent"]
    return [
        Job(tmp_path / f"{source}.png", pose, Path(f"{number}.png"))
        for number, (source, pose) in enumerate(zip(sources, poses, strict=True))
    ]


def run(jobs: list[Job], transfer: PoseTransfer, batch_size: int, photos: bool = False) -> list[Drawn | Failed]:
    with People(transfer, keep_photos=photos) as people:
        return list(draw_all(iter(jobs), transfer, people, batch_size))


def test_results_keep_the_order_and_failures_stay_alone(transfer: PoseTransfer, jobs: list[Job]) -> None:
    results = run(jobs, transfer, 2)
    assert [result.job for result in results] == jobs
    assert [isinstance(result, Failed) for result in results] == [False, False, False, True, True]
    assert "flying: no such pose" in str(results[3].error)  # type: ignore[union-attr]
    assert "absent.png: no such file" in str(results[4].error)  # type: ignore[union-attr]


def test_the_batch_s_size_changes_no_drawing(transfer: PoseTransfer, jobs: list[Job]) -> None:
    alone, together = run(jobs, transfer, 1), run(jobs, transfer, 100)
    for one, other in zip(alone[:3], together[:3], strict=True):
        assert isinstance(one, Drawn)
        assert isinstance(other, Drawn)
        assert np.abs(one.picture.astype(int) - other.picture).max() <= 1
    assert run([], transfer, 4) == []


def test_grids_and_photographs(transfer: PoseTransfer, jobs: list[Job]) -> None:
    results = [result for result in run(jobs, transfer, 4, photos=True) if isinstance(result, Drawn)]
    assert comparison(results[2]).width > comparison(results[0]).width  # a picture's pose shows its picture
    assert pasted(results[2]).size == (124, 128)
    [without, *_] = run(jobs[:1], transfer, 1)
    assert isinstance(without, Drawn)
    with pytest.raises(ValueError, match="photo was not kept"):
        pasted(without)
