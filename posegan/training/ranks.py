"""Several processes that train one network: who is who, and what they tell each other.

`torchrun --nproc-per-node N -m pipeline train` starts N of them; without it there is one, and nothing here does anything.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from posegan.device import choose_device
from posegan.errors import PoseGANError

_FAILED = "posegan/failed"  # key in the store that torchrun keeps: how many processes have failed


class Ranks(NamedTuple):
    """This process among all; the first one, rank 0, alone writes, logs and validates."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0  # among those of this computer

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def choose_device(self, name: str) -> torch.device:
        """`device.choose_device`, where `auto` and `cuda` mean a CUDA device of this process's own.

        Raises:
            PoseGANError: the device is not there, or all processes would share one.
        """
        device = choose_device(name)
        if self.world_size == 1 or device.type == "cpu":
            return device
        if name not in ("auto", "cuda"):
            raise PoseGANError(f"device {name}: {self.world_size} processes would share it; set device to auto, cuda or cpu")
        device = choose_device(f"cuda:{self.local_rank}")
        torch.cuda.set_device(device)
        return device

    def averaging(self, network: nn.Module) -> nn.Module:
        """The network, whose backward passes give every process the mean of all processes' gradients."""
        if self.world_size == 1:
            return network
        # Its buffers are constants: nothing has to be sent before each forward pass.
        return DistributedDataParallel(network, broadcast_buffers=False)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean of each value over all processes, in all of them; the names are the same in all."""
        if self.world_size == 1:
            return dict(values)
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(sums)
        return dict(zip(values, (sums / self.world_size).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process; the same answer in all, as signals do not reach all within one step."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(int(flag))
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def from_first(self, value: Any) -> Any:
        """What the first process has, in all of them; tensors on the CPU."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """This process among those that torchrun started; alone without torchrun.

    When one fails, its error leaves the block, and each of the others ends with `SystemExit(1)`: one error is told, once.

    Raises:
        PoseGANError: another process was killed.
    """
    if not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield Ranks()
        return
    store, rank, world_size = next(rendezvous("env://"))
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", store=PrefixStore("posegan", store), rank=rank, world_size=world_size)
    try:
        yield Ranks(rank, world_size, int(os.environ["LOCAL_RANK"]))
    except SystemExit:
        raise
    except BaseException as error:
        if store.add(_FAILED, 1) > 1:
            raise SystemExit(1) from None
        if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo/transport" in str(error)):
            raise PoseGANError(
                "one of the processes has ended without a word, killed perhaps for its memory; the same command goes on from the last state"
            ) from error
        raise
    finally:
        dist.destroy_process_group()
