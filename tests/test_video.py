"""Moving pictures there and back, and what is no video."""

import sys
from pathlib import Path

import numpy as np
import pytest

from posegan.errors import PoseGANError
from posegan.inference.video import read_video, write_moving


def moving(count: int, height: int = 40, width: int = 30) -> list[np.ndarray]:
    """A bright square that goes down."""
    pictures = np.full((count, height, width, 3), 30, np.uint8)
    for number, picture in enumerate(pictures):
        picture[2 * number : 2 * number + 10, 5:20] = (220, 120, 60)
    return list(pictures)


def test_mp4_there_and_back(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra posegan[video]")
    pictures = moving(5, 41, 31)
    write_moving(tmp_path / "m.mp4", pictures, 12)
    back = [np.asarray(picture, int) for picture in read_video(tmp_path / "m.mp4", 100)]
    assert len(back) == 5
    for picture, original in zip(back, pictures, strict=True):
        assert picture.shape == (42, 32, 3)
        assert np.abs(picture[:41, :31] - original).mean() < 8
    assert len(list(read_video(tmp_path / "m.mp4", 2))) == 2


def test_gif_there_and_back(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra posegan[video]")
    write_moving(tmp_path / "m.gif", moving(5), 10)
    back = [np.asarray(picture, int) for picture in read_video(tmp_path / "m.gif", 100)]
    assert len(back) == 5
    assert np.abs(back[3] - moving(5)[3]).mean() < 4


def test_what_is_no_video_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av", reason="needs the extra posegan[video]")
    (tmp_path / "v.mp4").write_bytes(b"hello" * 100)
    with pytest.raises(PoseGANError, match=r"v\.mp4: not a video that can be read"):
        list(read_video(tmp_path / "v.mp4", 3))
    with pytest.raises(PoseGANError, match="no such file"):
        list(read_video(tmp_path / "absent.mp4", 3))
    write_moving(tmp_path / "whole.mp4", moving(30), 12)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:700])
    with pytest.raises(PoseGANError, match=r"cut\.mp4: not a video"):
        list(read_video(tmp_path / "cut.mp4", 99))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(PoseGANError, match=r'pip install "posegan\[video\]"'):
        write_moving(tmp_path / "o.mp4", moving(2), 12)
    assert not (tmp_path / "o.mp4").exists()
