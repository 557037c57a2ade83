"""The generator as an ONNX file, in operations of fixed shapes, which exporters know: no gather of covered pixels, no eigenvalues.

It draws what `posegan.model.networks.Generator` draws, to rounding. The warp is the paper's own formulation (CVPR 2018, equation 3): the
whole map once a part, times its mask, and the maximum over the parts.

Legend: B batch, P parts, C channels, N points, H x W pixels of the image, h x w of a level.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from posegan.data.batches import to_uint8
from posegan.errors import PoseGANError
from posegan.files import atomic_path
from posegan.model.generator_file import generator_file, load_generator, read_generator_card
from posegan.model.geometry import _limb_affines, _normalise, _split, _usable, part_masks
from posegan.model.networks import Generator
from posegan.model.warp import _at_level
from posegan.people.pose_library import library_pose, pose_names
from posegan.skeleton import HEAD, LEFT_KNEE, LEFT_SHOULDER, RIGHT_KNEE, RIGHT_SHOULDER, TORSO

MOST_GREY_LEVELS = 1  # of 255, that a pixel of a saved picture may differ from PyTorch's; where a value is on an edge, rounding decides
MOST_ON_AVERAGE = 0.01  # grey levels, of pixels before they are rounded
CHECKED_BATCHES = (1, 2, 5)
INPUTS = ("source_image", "source_keypoints", "target_keypoints")
_OPSET = 18


class Checked(NamedTuple):
    """How an exported file compares."""

    path: Path
    grey_levels: int  # the largest difference of saved pictures, over all pixels of all trial batches
    mean: float  # grey levels, before rounding


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
        found = [_difference(temporary, generator, size) for size in CHECKED_BATCHES]
        checked = Checked(path, max(levels for levels, _ in found), max(mean for _, mean in found))
        if checked.grey_levels > MOST_GREY_LEVELS or not checked.mean <= MOST_ON_AVERAGE:
            raise PoseGANError(
                f"{path}: not written, since its pictures differ from PyTorch's by up to {checked.grey_levels} grey levels, "
                f"{checked.mean:.2g} on average; {MOST_GREY_LEVELS} and {MOST_ON_AVERAGE} are allowed"
            )
    return checked


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
        with warnings.catch_warnings(), torch.no_grad():  # a change of mode midway would be a graph of its own
            warnings.simplefilter("ignore")  # the exporter's own dependencies warn about each other
            program = torch.onnx.export(
                PictureOnly(portable(generator)),
                trial_inputs(generator, 2),
                input_names=INPUTS,
                output_names=("image",),
                dynamic_shapes=({0: batch}, {0: batch}, {0: batch}),
                opset_version=_OPSET,
                dynamo=True,
                optimize=False,  # ONNX Runtime does it again, in a second; the exporter's own takes minutes
                verbose=False,
            )
    finally:
        noisy.setLevel(level)
    assert program is not None  # it is, with dynamo
    return program.model_proto


def _difference(path: Path, generator: Generator, size: int) -> tuple[int, float]:
    inputs = trial_inputs(generator, size, seed=size)
    with torch.no_grad():
        expected = generator(*inputs).image
    [image] = open_session(path).run(None, {name: value.numpy() for name, value in zip(INPUTS, inputs, strict=True)})
    return compare_pictures(torch.from_numpy(image), expected)


def compare_pictures(images: Tensor, expected: Tensor) -> tuple[int, float]:
    """How many grey levels two batches in [-1, 1] differ by at most as they are saved, and on average before that; NaN where one is NaN."""
    saved = (to_uint8(images).int() - to_uint8(expected).int()).abs().max()
    return int(saved), float((images - expected).abs().mean() * 127.5)


_STEPS = 10  # of Newton's method, which doubles the digits a step; random points took 8


class PortableGenerator(Generator):
    """A `Generator` whose forward pass can be exported; made from one by `portable`."""

    def _deform(
        self, appearance: list[Tensor], pose: list[Tensor], affines: Tensor, valid: Tensor, masks: Tensor
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        cover = (masks & valid[:, :, None, None]).float()
        combine, limit = self.model.combine, self.model.maximum_offset
        if not self.offset_heads:
            moved = [warp_densely(features, affines, cover, None, combine) for features in appearance[: self.warps]]
            return moved + appearance[self.warps :], ()
        moved, offsets = appearance[self.warps :], list[Tensor]()
        placed = warp_densely(appearance[self.warps - 1], affines, cover, None, combine)
        logits: Tensor | None = None
        for level in reversed(range(self.warps)):
            logits = self.offset_heads[level](placed, pose[level], logits)
            offsets.insert(0, limit * torch.tanh(logits))
            placed = warp_densely(appearance[level], affines, cover, offsets[0], combine)
            moved = [placed, *moved]
        return moved, tuple(offsets)

    def _parts(self, source_keypoints: Tensor, target_keypoints: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (source, source_visible), (target, target_visible) = _split(source_keypoints), _split(target_keypoints)
        # Shapes come from tensors: `len` of one would fix the size of the batch in the exported program.
        everywhere = torch.ones_like(target[:, :1, :1, None], dtype=torch.bool).expand(-1, 1, self.image.height, self.image.width)
        if self.model.deformation in ("parts", "parts+learned"):
            affines, valid = _part_affines(source, source_visible, target, target_visible)
            return affines, valid, part_masks(target_keypoints, *everywhere.shape[2:])
        if self.model.deformation == "global":
            joints = [*TORSO, RIGHT_KNEE, LEFT_KNEE]
            affine, fitted = fit_affine_by_newton(target[:, joints], source[:, joints], (source_visible & target_visible)[:, joints])
            affines, valid = _usable(affine[:, None], fitted[:, None])
            return affines, valid, everywhere
        identity = torch.eye(2, 3, device=target.device).expand_as(target[:, :1, :1, None].float().expand(-1, 1, 2, 3))
        return identity, everywhere[:, :, 0, 0], everywhere


class PictureOnly(nn.Module):
    """A generator's image alone, `(B, 3, H, W)` in [-1, 1]: what an exported program gives."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, source_image: Tensor, source_keypoints: Tensor, target_keypoints: Tensor) -> Tensor:
        """As `Generator.forward`."""
        image: Tensor = self.generator(source_image, source_keypoints, target_keypoints).image
        return image


def portable(generator: Generator) -> PortableGenerator:
    """The same generator, in eval mode, in a form that can be exported; it shares the weights."""
    with torch.device("meta"):
        copied = PortableGenerator(generator.model, generator.image)
    copied.load_state_dict(generator.state_dict(), assign=True)
    return copied.eval()


def warp_densely(features: Tensor, affines: Tensor, cover: Tensor, offsets: Tensor | None, combine: str) -> Tensor:
    """As `posegan.model.warp.warp_features`, with `cover` `(B, P, H, W)` 1 where a usable part's mask is."""
    height, width = features.shape[2:]
    blocks = cover.shape[2] // height, cover.shape[3] // width
    masks = cover[:, :, :: blocks[0], :: blocks[1]]
    x = torch.arange(width, device=features.device, dtype=torch.float32)
    y = torch.arange(height, device=features.device, dtype=torch.float32)[:, None]
    across = x if offsets is None else x + offsets[:, :1] / blocks[1]  # (B, 1, h, w) pixels of the map
    down = y if offsets is None else y + offsets[:, 1:] / blocks[0]
    # In the sparse warp's order of operations: where an affine is nearly flat, the last bits of a position are pixels.
    at_level = _at_level(affines, cover, height, width).view(-1, affines.shape[1], 6)
    a, b, c, d, e, f = at_level[..., None, None].unbind(2)  # (B, P, 1, 1) each
    # No farther outside than where nothing is read, and there where the part is not; then in grid_sample's -1 .. 1.
    column = torch.where(masks > 0, (a * across + b * down + c).clamp(-2, width + 1), -2)
    row = (d * across + e * down + f).clamp(-2, height + 1)
    grid = torch.stack(((2 * column + 1) / width - 1, (2 * row + 1) / height - 1), dim=-1)  # (B, P, h, w, 2)
    # One reading of all parts, their grids below one another, so that the graph is small. What is read is held once a part.
    layers: Tensor = F.grid_sample(features, grid.flatten(1, 2), align_corners=False)  # (B, C, P * h, w)
    layers = layers.view(*layers.shape[:2], -1, height, width)
    return layers.amax(2) if combine == "max" else layers.sum(2) / masks.sum(1, keepdim=True).clamp(min=1)


def fit_affine_by_newton(points: Tensor, images: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """As `posegan.model.geometry.fit_affine`, without an eigenvalue solver.

    The least eigenvalue s of the arrow matrix [[G, 0, u], [0, G, v], [u', v', t]] is the least root of a cubic, since G is 2 x 2;
    all of the cubic's roots are real, so Newton's method from 0, which is left of them, goes to the least one. The affine is then
    [u v]' (G - s I)^-1.
    """
    weight = chosen.to(points.dtype)[..., None]
    centre, spread, x = _normalise(points, weight)
    image_centre, image_spread, y = _normalise(images, weight)
    gram, cross = x.mT @ x, y.mT @ x  # (B, 2, 2)
    p, q, r = gram[:, 0, 0], gram[:, 0, 1], gram[:, 1, 1]
    trace, determinant, t = p + r, p * r - q.square(), y.square().sum((1, 2))
    adjugate = torch.stack((torch.stack((r, -q), 1), torch.stack((-q, p), 1)), 1)
    squares, products = cross.square().sum((1, 2)), (cross @ adjugate * cross).sum((1, 2))
    second, first, constant = t + trace, squares - t * trace - determinant, t * determinant - products  # of the cubic, -s^3 + ...
    root = torch.zeros_like(t)
    for _ in range(_STEPS):
        slope = (2 * second - 3 * root) * root + first
        value = ((second - root) * root + first) * root + constant
        root = root - torch.where(slope < 0, value / slope, 0)
    block = root * (root - trace) + determinant  # det(G - s I)
    valid = (chosen.sum(1) >= 3) & (determinant > 1e-6) & (block > 1e-9)
    identity = torch.eye(2, dtype=points.dtype, device=points.device)
    linear = cross @ (adjugate - root[:, None, None] * identity) / torch.where(valid, block, 1)[:, None, None]
    linear = linear * (image_spread / spread)
    return torch.cat((linear, image_centre.mT - linear @ centre.mT), dim=2), valid


def _part_affines(source: Tensor, source_visible: Tensor, target: Tensor, target_visible: Tensor) -> tuple[Tensor, Tensor]:
    """As `posegan.model.geometry.part_affines`, of split keypoints."""
    both = source_visible & target_visible
    shoulders = [RIGHT_SHOULDER, LEFT_SHOULDER]
    head = [*HEAD, *shoulders]
    # Both fits as one of twice the batch, the torso's four joints followed by three that do not count.
    joints = [*TORSO, *HEAD[:3]]
    of_torso = both[:, joints] & (torch.arange(len(joints), device=both.device) < len(TORSO))
    points, images = (torch.cat((pose[:, joints], pose[:, head])) for pose in (target, source))
    affine, valid = fit_affine_by_newton(points, images, torch.cat((of_torso, both[:, head])))
    (torso_affine, head_affine), (torso_valid, head_valid) = affine.reshape(2, -1, 2, 3), valid.reshape(2, -1)
    head_valid = head_valid & both[:, HEAD].any(1) & both[:, shoulders].all(1)
    limb_affines, limb_valid = _limb_affines(source, source_visible, target, target_visible)
    affines = torch.cat((torso_affine[:, None], head_affine[:, None], limb_affines), dim=1)
    return _usable(affines, torch.cat((torso_valid[:, None], head_valid[:, None], limb_valid), dim=1))
