"""What a training run reads: an endless stream of batches, and two fixed lists."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from posegan.config import Params
from posegan.data.batches import PairBatch
from posegan.data.index import CACHE, ShardIndex
from posegan.data.packed_tar import Sample
from posegan.data.reader import Skipped, merged
from posegan.data.streams import ListedStream, TrainStream
from posegan.errors import PoseGANError

SAMPLE_PAIRS = 8  # rows of the sample grids


class BatchSource(Protocol):
    """A stream whose batch i does not depend on what was read before it."""

    def batches(self, start: int) -> Iterator[PairBatch]:
        """Batches start, start + 1, ..., without end."""


class TrainingData(NamedTuple):
    """What a run reads: an endless stream, and two fixed lists."""

    train: BatchSource
    validation: list[PairBatch]  # empty: nothing is validated
    samples: PairBatch  # the pairs of the sample grids
    skipped: Sequence[Skipped] = ()  # damaged samples, of each of its streams
    shards: ShardIndex | None = None  # None: made up by a test
    corrupt: str = "error"  # what is done about damaged samples

    def left_out(self, names: Iterable[str] = ()) -> Skipped:
        """The damaged samples that were met, and those of these names, as `Skipped.names` gives them."""
        whole, wanted = merged(self.skipped), set(names)
        for sample in self.shards.samples if self.shards is not None and wanted else ():
            if f"{sample.shard}/{sample.key}" in wanted:
                whole.add(sample)
        return whole

    def refusal(self, names: Sequence[str]) -> str:
        """Why a state that did without the samples of these names cannot be gone on with; empty where it can."""
        if not names:
            return ""
        if self.corrupt == "error":
            return f"it was trained without {len(names):,} damaged sample{'s' if len(names) > 1 else ''}, and train.corrupt is error"
        readable = [sample for sample in self.left_out(names) if self._can_read(sample)]
        if not readable:
            return ""
        return (
            f"it was trained without identity {readable[0].identity} in {readable[0].shard}"
            f"{f' and {len(readable) - 1:,} more' if len(readable) > 1 else ''}, which can be read again"
        )

    def _can_read(self, sample: Sample) -> bool:
        try:
            assert self.shards is not None
            self.shards.read(sample)
        except PoseGANError:
            return False
        return True


def open_training_data(
    place: Path | str, params: Params, cache: Path = CACHE, *, rank: int = 0, world_size: int = 1
) -> tuple[TrainingData, str]:
    """The shards of a folder or an address as training data, and the hash that stands for all of them.

    Where the split `val` is empty, nothing is validated and the samples show training pairs.

    Args:
        place: folder of the shard stage, or an address that fsspec knows.
        params: the parameters.
        cache: folder for what is fetched from an address.
        rank, world_size: which part of each training batch this process takes; validation is the same in all.
    """
    train, image, index = params.train, params.image, ShardIndex.load(place, cache)
    pool = (train.pool_identities, train.pairs_per_image)
    stream = TrainStream(
        index,
        "train",
        image,
        train.batch_size,
        train.seed,
        *pool,
        rank=rank,
        world_size=world_size,
        law=train.pair_law,
        corrupt=train.corrupt,
    )
    streams: list[TrainStream | ListedStream] = [stream]
    validation: list[PairBatch] = []
    if "val" in index.splits:
        streams.append(
            listed := ListedStream(index, "val", image, train.batch_size, train.validation_pairs, train.seed, corrupt=train.corrupt)
        )
        validation = [batch for batch in listed if batch.sources]
    streams.append(
        shown := ListedStream(index, "val" if validation else "train", image, SAMPLE_PAIRS, SAMPLE_PAIRS, train.seed, corrupt=train.corrupt)
    )
    samples = next((batch for batch in shown if batch.sources), None)
    if samples is None:
        lost = shown.skipped.summary()
        raise PoseGANError(f"{place}: {lost}: no pair is left to show; run `python -m pipeline shard --verify`")
    return TrainingData(stream, validation, samples, [each.skipped for each in streams], index, train.corrupt), index.sha256
