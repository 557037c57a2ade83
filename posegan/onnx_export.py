"""The generator as an ONNX file, checked against PyTorch before it gets its name.

Inputs `source_image` float32 (B, 3, H, W) RGB in [-1, 1], `source_keypoints` and `target_keypoints` float32 (B, 18, 3) in pixels of that
size; output `image` as the first input. B is any number from 1 on. Heatmaps, affines and warp are in the graph.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from posegan.checkpoint import load_generator, read_generator_card
from posegan.errors import PoseGANError
from posegan.files import atomic_path
from posegan.hub import generator_file
from posegan.networks import Generator
from posegan.portable import PictureOnly, portable
from posegan.pose_library import library_pose, pose_names

TOLERANCE = 1e-4  # largest difference from PyTorch, of images in [-1, 1]
CHECKED_BATCHES = (1, 2, 5)
INPUTS = ("source_image", "source_keypoints", "target_keypoints")
_OPSET = 18


class Checked(NamedTuple):
    """How an exported file compares."""

    path: Path
    difference: float  # largest, over all pixels of all trial batches


def export_onnx(model: Path, path: Path) -> Checked:
    """Write the generator at `model` as ONNX to `path`.

    Raises:
        PoseGANError: no generator at `model`; the extra `export` is not installed; ONNX Runtime's images differ from PyTorch's.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401  # asked for before the work
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise PoseGANError(f'{path}: ONNX needs {error.name}; install it with pip install "posegan[export]"') from None
    file = generator_file(model)
    generator, card = load_generator(file), read_generator_card(file)
    with atomic_path(path) as temporary:
        onnx_model = _traced(generator)
        entry = onnx_model.metadata_props.add()
        entry.key = "posegan"
        entry.value = json.dumps({"model": card.model.model_dump(), "image": card.image.model_dump(), "provenance": card.provenance})
        onnx.save_model(onnx_model, str(temporary))
        difference = max(_difference(temporary, generator, size) for size in CHECKED_BATCHES)
        if not difference <= TOLERANCE:
            raise PoseGANError(f"{path}: not written, since its images differ from PyTorch's by up to {difference:.2g}, above {TOLERANCE}")
    return Checked(path, difference)


def trial_inputs(generator: Generator, size: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """`size` random images, in built-in poses with a few joints missing, and target poses."""
    random = np.random.default_rng(seed)
    height, width = generator.image.height, generator.image.width
    names = random.choice(pose_names(), (2, size))
    poses = np.stack([[library_pose(str(name), height, width) for name in row] for row in names])
    poses[random.random(poses.shape[:3]) < 0.05] = 0
    images = torch.from_numpy(random.uniform(-1, 1, (size, 3, height, width)).astype(np.float32))
    return images, torch.from_numpy(poses[0]), torch.from_numpy(poses[1])


def open_session(path: Path, threads: int = 0) -> Any:
    """An ONNX Runtime session of the file on the CPU; `threads` 0: as many as it likes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _traced(generator: Generator) -> Any:
    batch = torch.export.Dim("batch", min=1)
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own dependencies warn about each other
            program = torch.onnx.export(
                PictureOnly(portable(generator)),
                trial_inputs(generator, 2),
                input_names=INPUTS,
                output_names=("image",),
                dynamic_shapes=({0: batch}, {0: batch}, {0: batch}),
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        noisy.setLevel(level)
    assert program is not None  # it is, with dynamo
    return program.model_proto


def _difference(path: Path, generator: Generator, size: int) -> float:
    inputs = trial_inputs(generator, size, seed=size)
    with torch.no_grad():
        expected = generator(*inputs).image.numpy()
    [image] = open_session(path).run(None, {name: value.numpy() for name, value in zip(INPUTS, inputs, strict=True)})
    return float(np.abs(image - expected).max())
