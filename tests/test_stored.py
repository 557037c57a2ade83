import io
import json
import tarfile
import zlib

import numpy as np
import pytest

from posegan.data.packed_tar import Sample, read_npy, unpack


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


JOINTS, PAIRS = np.random.default_rng(0).random((2, 18, 3), np.float32), np.array([[0, 1], [1, 0]], np.int32)
ABOUT = {"split": "train", "identity": 7, "piece": 0, "images": ["a", "b"]}
MEMBERS = {"json": json.dumps(ABOUT).encode(), "keypoints.npy": npy(JOINTS), "pairs.npy": npy(PAIRS), "000.jpg": b"one", "001.png": b""}


def sample(**changes: object) -> Sample:
    values = dict(zip(Sample._fields, ("train", "s", "k", 7, 0, 0, 0, 2, 2, "", "", 0), strict=True))
    return Sample(**{**values, **changes})  # type: ignore[arg-type]


def packed(members: dict[str, bytes], key: str = "k") -> tuple[bytes, int]:
    """Deflated as in a shard, and the size before."""
    tar = b""
    for name, data in members.items():
        member = tarfile.TarInfo(f"{key}.{name}")
        member.size = len(data)
        tar += member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflate.compress(tar) + deflate.flush(zlib.Z_SYNC_FLUSH), len(tar)


def test_a_sample_comes_back() -> None:
    data, size = packed(MEMBERS)
    stored = unpack(data, sample(unpacked=size))
    assert (stored.names, stored.files) == (["a", "b"], [b"one", b""])
    assert np.array_equal(stored.keypoints, JOINTS)
    assert np.array_equal(stored.pairs, PAIRS)


@pytest.mark.parametrize("missing", MEMBERS)
def test_a_missing_member_is_noticed(missing: str) -> None:
    data, size = packed({name: content for name, content in MEMBERS.items() if name != missing})
    with pytest.raises((KeyError, ValueError)):
        unpack(data, sample(unpacked=size))


@pytest.mark.parametrize("change", [{"identity": 8}, {"split": "val"}, {"key": "j"}, {"images": 3}, {"pairs": 1}])
def test_another_sample_than_the_index_says_is_noticed(change: dict[str, object]) -> None:
    data, size = packed(MEMBERS)
    with pytest.raises(ValueError, match="member|identity|expected"):
        unpack(data, sample(unpacked=size, **change))


def test_a_bomb_is_not_inflated() -> None:
    data, _ = packed({"json": bytes(50_000_000)})
    with pytest.raises(ValueError, match="inflates to 1,001 bytes, expected 1,000"):
        unpack(data, sample(unpacked=1000))
    with pytest.raises(ValueError, match="would inflate to 2,000,000,000 bytes"):
        unpack(data, sample(unpacked=2 * 10**9))


@pytest.mark.parametrize(("dtype", "shape"), [("<f4", (5, 18, 3)), ("<i4", (0, 2)), ("<i4", (7, 2))])
def test_arrays_come_back_from_their_bytes(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    buffer = io.BytesIO()
    np.save(buffer, array)
    np.testing.assert_array_equal(read_npy(buffer.getvalue(), dtype, shape[1:]), array)
    other = "<f8" if dtype == "<f4" else "<i8"
    with pytest.raises(ValueError, match="expected an array"):
        read_npy(buffer.getvalue(), other, shape[1:])
    with pytest.raises(ValueError, match="expected an array"):
        read_npy(b"not an array", dtype, shape[1:])
