"""The deformable skip: each body part of a feature map is moved from the source pose to the target pose.

Legend: B batch, P parts, C channels, H x W pixels of the image, h x w of the feature map, Q = B h w target
pixels, N covered (target pixel, part) pairs.

The paper (Siarohin et al., CVPR 2018, equation 4) warps the whole map once a part, multiplies by the part's
mask and takes the maximum over the parts. On people about 1.4 of the ten masks cover a pixel, so here only
the covered pairs are computed: a gather of four source pixels each, then a maximum over the pairs of a pixel.
The results are the same.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_CACHED_ROWS = 4096  # of 64 channels: 1 MB


class _Cover(NamedTuple):
    """The covered pairs. Rank r holds the r-th part of every pixel that has more than r, pixels ascending."""

    pixel: Tensor  # (N,) in [0, Q)
    part: Tensor  # (N,) in [0, B P)
    counts: Tensor  # (Q,) parts that cover a pixel
    rank: Tensor  # (N,) uint8
    rank_sizes: list[int]  # sums to N


def warp_features(
    features: Tensor,
    affines: Tensor,
    valid: Tensor,
    masks: Tensor,
    offsets: Tensor | None = None,
    combine: Literal["max", "average"] = "max",
) -> Tensor:
    """Move each part of source `features` `(B, C, h, w)` to where the target pose has it; same shape and type.

    The value of part p at target pixel t is `features` at `affines[p] @ (t + offsets[t])`, bilinear, zero
    outside the map. Affines are in pixels of the image, whose pixel centres and those of the map agree as
    areas do: centre x of the map is `(x + 0.5) * W / w - 0.5` in the image.

    Args:
        features: source features.
        affines: `(B, P, 2, 3)` target pixels to source pixels of the image.
        valid: `(B, P)` bool; an invalid part covers nothing.
        masks: `(B, P, H, W)` bool in the target; a pixel of the map is covered if the first of its image pixels is, as in the paper's
            code, which resizes masks to their nearest neighbours.
        offsets: `(B, 2, h, w)` x and y, image pixels, or None for none.
        combine: `max`: as the paper's dense maximum, in which a part that does not cover counts as 0;
            `average`: mean over the covering parts, 0 where there is none.

    Raises:
        ValueError: the image's size is not a multiple of the map's.
    """
    batch, channels, height, width = features.shape
    cover = _cover(masks, valid, height, width)
    # Positions need float32: bfloat16 resolves half a pixel at x = 128.
    with torch.autocast(features.device.type, enabled=False):
        table = features.permute(0, 2, 3, 1).reshape(-1, channels)  # (Q, C)
        table = table if table.dtype == torch.float64 else table.float()
        position = _source_positions(cover, _at_level(affines, masks, height, width), offsets, masks, features.shape, table.dtype)
        corners, weights = _corners(position, cover.part // valid.shape[1], height, width)  # (N, 4) each
        values = F.embedding_bag(corners, table.detach(), per_sample_weights=weights, mode="sum")  # (N, C)
        if table.requires_grad:
            values = _TableGradient.apply(values, table, corners, weights.detach())  # type: ignore[no-untyped-call]
        if combine == "max":
            moved: Tensor = _MaxOverParts.apply(values, cover, valid.shape[1])  # type: ignore[no-untyped-call]
        else:
            total = values.new_zeros(len(cover.counts), channels).index_add(0, cover.pixel, values)
            moved = total / cover.counts.clamp(min=1)[:, None]
    return moved.view(batch, height, width, channels).permute(0, 3, 1, 2).to(features.dtype)


@torch.no_grad()
def _cover(masks: Tensor, valid: Tensor, height: int, width: int) -> _Cover:
    parts, image_height, image_width = masks.shape[1:]
    if image_height % height or image_width % width:
        raise ValueError(f"masks: expected a multiple of the map's {height} x {width} pixels, got {image_height} x {image_width}")
    masks = masks[:, :, :: image_height // height, :: image_width // width]
    covered = (masks & valid[:, :, None, None]).flatten(2).mT.reshape(-1, parts)  # (Q, P)
    pixel, part = covered.nonzero(as_tuple=True)  # pixels ascending; GPU sync
    counts = covered.sum(1)
    rank = torch.arange(len(pixel), device=pixel.device) - (counts.cumsum(0) - counts)[pixel]
    part = part + pixel // (height * width) * parts
    rank, order = rank.to(torch.uint8).sort(stable=True)  # as bytes four times as fast as its integers on a CPU
    ends = torch.searchsorted(rank, torch.arange(parts + 1, dtype=rank.dtype, device=rank.device))
    sizes = ends.diff().tolist()  # GPU sync
    return _Cover(pixel[order], part[order], counts, rank, [size for size in sizes if size > 0])


def _at_level(affines: Tensor, masks: Tensor, height: int, width: int) -> Tensor:
    """The affines `(B P, 2, 3)` between pixels of the map instead of the image."""
    scale = affines.new_tensor([masks.shape[3] / width, masks.shape[2] / height])  # x, y: image pixels per map pixel
    centre = (scale - 1) / 2  # where the map's first pixel centre lies in the image
    linear, shift = affines[..., :2], affines[..., 2]
    shift = (shift + linear @ centre - centre) / scale
    return torch.cat((linear * scale / scale[:, None], shift[..., None]), dim=-1).flatten(0, 1)


def _source_positions(
    cover: _Cover, affines: Tensor, offsets: Tensor | None, masks: Tensor, shape: torch.Size, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Where each covered pair reads the source map: x and y, `(N,)` pixels of the map."""
    height, width = shape[2:]
    x = (cover.pixel % width).to(dtype)
    y = (cover.pixel // width % height).to(dtype)
    if offsets is not None:
        flat = offsets.to(dtype).permute(1, 0, 2, 3).reshape(2, -1)  # (2, Q)
        x = x + flat[0].index_select(0, cover.pixel) * (width / masks.shape[3])
        y = y + flat[1].index_select(0, cover.pixel) * (height / masks.shape[2])
    a, b, c, d, e, f = affines.to(dtype).flatten(1).t().contiguous()[:, cover.part]
    return a * x + b * y + c, d * x + e * y + f


def _corners(position: tuple[Tensor, Tensor], image: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four pixels about each position as rows of the feature table, and their bilinear weights, `(N, 4)` each."""
    # Two pixels outside, all weights are zero; the clamp keeps far positions inside the integers' range.
    x, y = position[0].clamp(-2, width + 1), position[1].clamp(-2, height + 1)
    left, top = x.detach().floor(), y.detach().floor()
    right_share, low_share = x - left, y - top
    column, row = left.long(), top.long()
    columns, rows = torch.stack((column, column + 1)), torch.stack((row, row + 1))  # (2, N)
    across = torch.stack((1 - right_share, right_share)) * ((columns >= 0) & (columns < width))
    down = torch.stack((1 - low_share, low_share)) * ((rows >= 0) & (rows < height))
    starts = (image * height + rows.clamp(0, height - 1)) * width  # (2, N)
    corners = starts[:, None] + columns.clamp(0, width - 1)[None]  # (2, 2, N): rows, columns
    weights = down[:, None] * across[None]
    return corners.flatten(0, 1).t().to(torch.int32).contiguous(), weights.flatten(0, 1).t().contiguous()


class _TableGradient(torch.autograd.Function):
    """Hands `values` on, and adds the gradient of the gather to its table.

    That gradient is a gather too: row q sums over the pairs that read it. PyTorch's own backward of
    `embedding_bag` adds row by row, which was 3 to 6 times slower on two CPU cores; this one is also
    deterministic on every device.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, table: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(corners, weights)
        ctx.rows = len(table)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        corners, weights = ctx.saved_tensors
        reads, order = corners.flatten().sort(stable=True)
        bounds = torch.searchsorted(reads, torch.arange(ctx.rows, device=reads.device, dtype=reads.dtype), out_int32=True)
        pairs = (order // 4).to(bounds.dtype)
        table = F.embedding_bag(pairs, gradient.contiguous(), bounds, per_sample_weights=weights.flatten()[order], mode="sum")
        return gradient, table, None, None


class _MaxOverParts(torch.autograd.Function):
    """`(Q, C)`: the largest of each pixel's values `(N, C)`, and of 0 where fewer than `parts` parts cover it.

    The gradient goes to the winner alone; of equals, to the part that comes first.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, cover: _Cover, parts: int) -> Tensor:
        floor = torch.where(cover.counts < parts, 0.0, -torch.inf).to(values.dtype)
        best = floor[:, None].repeat(1, values.shape[1])
        winner = torch.full(best.shape, 255, dtype=torch.uint8, device=values.device)
        pixels, candidates = torch.split(cover.pixel, cover.rank_sizes), torch.split(values, cover.rank_sizes)
        for rank in range(len(pixels)):
            for pixel, candidate in _blocks(pixels[rank], candidates[rank]):
                current = best.index_select(0, pixel)
                better = candidate > current
                best.index_copy_(0, pixel, torch.maximum(candidate, current))
                winner.index_copy_(0, pixel, winner.index_select(0, pixel).masked_fill_(better, rank))
        ctx.save_for_backward(winner, cover.pixel, cover.rank)
        return best

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        winner, pixel, rank = ctx.saved_tensors
        values = gradient.contiguous().index_select(0, pixel)
        for value, at, own in _blocks(values, pixel, rank):
            value.mul_(winner.index_select(0, at) == own[:, None])
        return values, None, None


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The rows of all tensors, some at a time: what is made of them then stays in a CPU's cache, and small. On a GPU all at once."""
    rows = _CACHED_ROWS if tensors[0].device.type == "cpu" else max(1, len(tensors[0]))
    return zip(*(torch.split(tensor, rows) for tensor in tensors), strict=True)
