from itertools import islice

import torch

from posegan import data
from tests.support.small_market import Prepared


def test_what_the_public_face_names_is_there() -> None:
    assert all(getattr(data, name).__module__.startswith("posegan.") for name in data.__all__)


def test_from_the_files_of_the_pipeline_to_the_device(prepared: Prepared) -> None:
    stream = data.TrainStream(data.ShardIndex.load(prepared.shards), "train", prepared.image, 4, 0, 400, 2)
    with data.DevicePrefetcher(stream.batches(0), torch.device("cpu")) as batches:
        for batch in islice(batches, 3):
            assert isinstance(batch, data.PairBatch)
            assert data.to_float(batch.source_images).shape == (4, 3, prepared.image.height, prepared.image.width)
            assert torch.equal(data.to_uint8(data.to_float(batch.target_images)), batch.target_images)
