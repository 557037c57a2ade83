"""Kill trainings at random moments; the same command must end with the right bytes. `python -m tests.support.kill_training 30`."""

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import torch

from pipeline.train.stage import train
from tests.support.tiny_run import train_options, train_outputs

_PATIENCE = 120.0  # seconds
_WRITES = 12  # of about 20 of a whole run
_CHANGES = {"iterations": 12, "log_every": 2, "validate_every": 4, "sample_every": 4, "checkpoint_every": 2}


@contextlib.contextmanager
def trainings() -> Iterator[Callable[[list[str], int | None], BaseProcess]]:
    """What starts a training in a process of its own: from the stage's options, and perhaps the number of the write that kills it.

    The processes are forked from one that has imported everything, if so asked, so that a kill hits the training and not its imports.
    """
    context = multiprocessing.get_context("forkserver")
    children: list[BaseProcess] = []

    def start(options: list[str], writes: int | None = None) -> BaseProcess:
        child = context.Process(target=_train, args=(options, writes))
        child.start()
        children.append(child)
        return child

    try:
        yield start
    finally:
        for child in children:
            child.kill()
            child.join()


def _train(options: list[str], writes: int | None) -> None:
    """Run the stage; SIGKILL it when the file number `writes` (1, 2, ...) is written and about to get its name."""
    torch.set_num_threads(1)
    replace, done = Path.replace, 0

    def replace_or_die(path: Path, target: Path) -> Path:
        nonlocal done
        done += 1
        if done == writes:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    Path.replace = replace_or_die  # type: ignore[method-assign,assignment]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    train.main(options, prog_name="train")


class Killed(NamedTuple):
    """What became of the kills."""

    runs: int  # that were begun anew and brought to their end
    in_a_write: int  # kills that left a temporary file
    resumed: int  # kills after which a state was there


def kill_trainings(kills: int, seed: int, folder: Path, shards: Path) -> Killed:
    """Start a training, kill it, start it again, until `kills` hit; a run that ends is begun anew.

    Every second one is killed when a random one of its next writes is about to get its name, the others at a random moment.

    Raises:
        AssertionError: a run that was killed ended with other files than one that was not.
    """
    moments, hits, in_a_write, resumed, runs, ended = random.Random(seed), 0, 0, 0, 0, True
    with trainings() as start:
        for name in ("first", "straight"):  # the first one waits for the imports
            began = time.monotonic()
            (folder / name).mkdir()
            assert _ended(start(train_options(folder / name, shards, **_CHANGES), None), _PATIENCE)
        whole = time.monotonic() - began
        expected = train_outputs(folder / "straight")
        while hits < kills or not ended:
            if ended:
                ended, killed = False, folder / f"killed-{runs}"
                killed.mkdir()
                options = train_options(killed, shards, **_CHANGES)
            if hits == kills:
                ended = _ended(start(options, None), _PATIENCE)
            elif hits % 2:
                ended = _ended(start(options, moments.randint(1, _WRITES)), _PATIENCE)
            else:
                ended = _ended(start(options, None), moments.uniform(0, whole))
            if ended:
                runs += 1
                assert train_outputs(killed) == expected, "a run that was killed ended with other files"
                assert not list(killed.rglob("*.tmp")), "something was left over"
            else:
                hits += 1
                in_a_write += bool(list(killed.rglob("*.tmp")))
                resumed += bool(list(killed.rglob("step-*.pt")))
    return Killed(runs, in_a_write, resumed)


def _ended(child: BaseProcess, seconds: float) -> bool:
    """Whether it ends well within that time; it is killed if not."""
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
        child.join()
        return False
    assert child.exitcode in (0, -signal.SIGKILL), f"the training ended with {child.exitcode}"
    return child.exitcode == 0


if __name__ == "__main__":
    from tests.support.small_market import prepare

    multiprocessing.set_forkserver_preload(["pipeline.train.stage"])
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        shards = prepare(Path(name)).shards
        result = kill_trainings(count, 1, Path(name), shards)
    print(f"{count} kills, {result.in_a_write} inside a write, {result.resumed} with a state to go on from: {result.runs} runs, all right")
