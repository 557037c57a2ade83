"""Latency of one drawing by batch: PyTorch as it trains, the portable form, torch.compile of it, and ONNX Runtime.

    python benchmarks/export.py [--model models/generator.safetensors] [--threads 1] [--compile]

Medians in milliseconds a batch; every program draws the same pictures, and the largest difference from PyTorch is shown beside them.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posegan.device import keep_freed_memory
from posegan.inference.onnx_export import INPUTS, PictureOnly, export_onnx, open_session, portable, trial_inputs
from posegan.model.generator_file import load_generator

Trial = tuple[Tensor, Tensor, Tensor]
Program = Callable[[Trial], np.ndarray]


def median(draw: Callable[[], np.ndarray], seconds: float) -> float:
    """Milliseconds a call, after two that do not count."""
    draw()
    draw()
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while len(taken) < 5 or time.perf_counter() < until:
        started = time.perf_counter()
        draw()
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken)


def of_torch(network: Callable[..., Tensor]) -> Program:
    return lambda trial: network(*trial).numpy()


def of_onnx(session: Any) -> Program:
    return lambda trial: session.run(None, {name: value.numpy() for name, value in zip(INPUTS, trial, strict=True)})[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/generator.safetensors"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each number")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which takes minutes and a C++ compiler")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    generator = load_generator(arguments.model)
    other = PictureOnly(portable(generator))
    programs: dict[str, Program] = {"pytorch": of_torch(PictureOnly(generator)), "portable": of_torch(other)}
    if arguments.compile:
        programs["compiled"] = of_torch(torch.compile(other, dynamic=True))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        export_onnx(arguments.model, Path(folder) / "g.onnx")
        print(f"export to ONNX: {time.perf_counter() - started:.0f} s, {arguments.threads} threads, torch {torch.__version__}")
        programs["onnxruntime"] = of_onnx(open_session(Path(folder) / "g.onnx", arguments.threads))
    print(f"{'batch':>6} {'program':>12} {'ms':>9} {'ms/image':>9} {'difference':>11}")
    for size in arguments.batches:
        trial = trial_inputs(generator, size)
        with torch.inference_mode():
            expected = generator(*trial).image.numpy()
            for name, program in programs.items():
                difference = float(np.abs(program(trial) - expected).max())
                taken = median(partial(program, trial), arguments.seconds)
                print(f"{size:>6} {name:>12} {taken:>9.2f} {taken / size:>9.2f} {difference:>11.1e}")


if __name__ == "__main__":
    main()
