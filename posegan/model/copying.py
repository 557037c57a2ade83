"""The deformable skip one level further, in the image itself: source pixels, moved part by part, from which the generator may copy.

What it draws anew is never as sharp as what it may copy, and needs far more training. So each pixel of the picture is a mixture of what
the parts bring there, of the ground at that place (the source without its person), and of a pixel drawn; the generator says how much of
each.

Legend: B batch, P parts, H x W pixels. Up to three parts are read at a pixel, and the ground: N = 4 copies, in the order below.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from posegan.model.geometry import part_affines, part_masks

_TORSO, _LOWER, _UPPER, _GROUND = range(4)  # the first part, the two last ones of the others that cover a pixel, and the ground
COPIES = 4
_FILLS = (4, 2), (8, 4), (16, 8)  # blocks down and across in which the ground's colours are averaged, to fill holes
_FAINT = 0.02  # a part's shape that is fainter than that is not there
_LIMIT = 12.0  # of logits: e^12 to 1 is all of a picture's grey levels, many times over


class Copies(NamedTuple):
    """What may be copied to each target pixel."""

    images: Tensor  # (B, N, 3, H, W) in [-1, 1]; the last is the ground, with what the person hid filled
    usable: Tensor  # (B, N, H, W) in [0, 1]: 0 where there is no such part, or what it brings is not of it
    body: Tensor  # (B, 1, H, W) bool: where the target has its body


def move_parts(source: Tensor, affines: Tensor, valid: Tensor, shapes: Tensor, hidden: Tensor, offsets: Tensor | None) -> Copies:
    """Move the source image by the parts that cover each pixel; beyond its border, the border goes on, but is not usable.

    Args:
        source: `(B, 3, H, W)` in [-1, 1].
        affines, valid: as of `posegan.model.warp.warp_features`.
        shapes: `(B, P, H, W)` in [0, 1]: how far each target pixel is each part's; the first part's is the whole body.
        hidden: `(B, 2, H, W)` bool: what neither the torso nor the ground should be copied from: the source's head and limbs,
            which may be before the torso, and all of its person.
        offsets: `(B, 2, H, W)` x and y in pixels, or None.
    """
    height, width = source.shape[2:]
    body, shapes = shapes[:, :1] > 0, shapes * valid[:, :, None, None]
    part = _layers(shapes > _FAINT)
    there = shapes.gather(1, part)
    there = torch.cat((there[:, :1], there[:, 1:] * (part[:, 1:] > 0)), dim=1)
    place = _places(affines, part, offsets)  # (B, 3, H, W, 2) pixels of the source
    inside = ((place > -0.5) & (place < place.new_tensor([width, height]) - 0.5)).all(dim=-1)
    table = torch.cat((source, hidden[:, :1].to(source.dtype)), dim=1)
    read = F.grid_sample(table, _grid(place, source).flatten(1, 2), padding_mode="border", align_corners=False)  # (B, 4, 3 H, W)
    read = read.view(-1, read.shape[1], *part.shape[1:]).transpose(1, 2)  # (B, 3, 4, H, W)
    colours, before = torch.split(read, [3, 1], dim=2)
    own = inside * there
    shown = ~hidden[:, 1:]
    own = torch.cat((own[:, :1] * (1 - before[:, 0].detach()), own[:, 1:], (shown | ~body).to(own.dtype)), dim=1)
    return Copies(torch.cat((colours, _ground(source, shown)[:, None]), dim=1), own, body)


@torch.no_grad()
def warp_image(source: Tensor, source_keypoints: Tensor, target_keypoints: Tensor) -> Tensor:
    """The source laid through the ten parts' affines and nothing else, same shape: what a picture is before any network touches it.

    Later parts lie above the torso, whose mask is everything; where even the torso has no affine, the source stays as it is. Beyond the
    source's border, its border goes on.

    Args:
        source: `(B, 3, H, W)` in any range.
        source_keypoints, target_keypoints: `(B, K, 3)`.
    """
    affines, valid = part_affines(source_keypoints, target_keypoints)
    part = _layers(part_masks(target_keypoints, *source.shape[2:]) & valid[:, :, None, None])
    place = _places(affines, part[:, _UPPER:], None)  # the part that lies uppermost; an unusable torso's affine is the identity
    return F.grid_sample(source, _grid(place, source)[:, 0], padding_mode="border", align_corners=False)


@torch.no_grad()
def compose(copies: Copies) -> Tensor:
    """The copies laid over one another without any learning, `(B, 4, H, W)`: colours, and how far a part of the body is there to be copied.

    Later parts lie above earlier ones; the ground lies below them where the target has its body, and above them elsewhere. Where
    nothing is usable the colours are means of the body's about there.
    """
    shares, little = copies.usable * _usual(copies, (0.0, 4.0, 8.0), (-4.0, 8.0)).exp(), 1e-3
    laid = copies.images * shares[:, :, None]
    of_body = _surroundings(laid[:, :_GROUND].sum(dim=1), shares[:, :_GROUND].sum(dim=1, keepdim=True))
    colours = (laid.sum(dim=1) + little * of_body) / (shares.sum(dim=1, keepdim=True) + little)
    return torch.cat((colours, copies.usable[:, :_GROUND].amax(dim=1, keepdim=True) * copies.body), dim=1)


def repaired(colours: Tensor, change: Tensor) -> Tensor:
    """Colours moved towards white where `change` is above 0, towards black where it is below, all in [-1, 1] and of one shape.

    0 changes nothing. Whatever the colour, there is a way back: a sum behind a tanh would hardly lift what is black.
    """
    return colours + torch.where(change > 0, 1 - colours, 1 + colours) * torch.tanh(change)


def blend(copies: Copies, logits: Tensor, drawn: Tensor) -> Tensor:
    """The picture `(B, 3, H, W)`: at each pixel a mixture of the copies, and of what was drawn.

    Args:
        copies: of `move_parts`.
        logits: `(B, N, H, W)`: how much of each copy there should be, beside what is usual of it, against a pixel drawn at 0.
        drawn: `(B, 3, H, W)` in [-1, 1].
    """
    shares = copies.usable * (logits + _usual(copies, (2.0, 2.0, 4.0), (-2.0, 2.0))).clamp(-_LIMIT, _LIMIT).exp()
    return ((copies.images * shares[:, :, None]).sum(dim=1) + drawn) / (shares.sum(dim=1, keepdim=True) + 1)


def _surroundings(weighted: Tensor, weight: Tensor) -> Tensor:
    """The mean colours `(B, 3, H, W)` about each pixel, of colours times their weight: near by if there are any, else farther off."""
    weighted = torch.cat((weighted, weight), dim=1)
    total = weighted.mean(dim=(2, 3), keepdim=True).expand_as(weighted)
    for blocks in _FILLS:  # the finer, the more they count
        means = F.adaptive_avg_pool2d(weighted, blocks)
        total = total * 0.01 + F.interpolate(means, weight.shape[2:], mode="bilinear", align_corners=False)
    return total[:, :3] / total[:, 3:].clamp(min=1e-9)


def _ground(source: Tensor, shown: Tensor) -> Tensor:
    """The source without its person, `(B, 3, H, W)`: what they hide is filled in the grain of what is beside them.

    Each row is mirrored at the hole's two edges, the nearer one more; what lies between a hole and the next one, or the border, to and
    fro where the hole is wider. A row of which nothing is shown has the colours about it. What fills has no gradient.
    """
    with torch.no_grad():
        left, weight = _bounced(shown)
        right, weight_right = (found.flip(3) for found in _bounced(shown.flip(3)))
        right = source.shape[3] - 1 - right
        total = sum(share * source.gather(3, place.expand_as(source)) for share, place in ((weight, left), (weight_right, right)))
        weight = weight + weight_right
        about = _surroundings(source * shown, shown.to(source.dtype))
        filled = torch.where(weight > 0, total / weight.clamp(min=1e-9), about)
    return torch.where(shown, source, filled)


def _bounced(known: Tensor) -> tuple[Tensor, Tensor]:
    """For each pixel the column, left of it, of its mirror image in what is known there, and how much that counts; both `(B, 1, H, W)`."""
    x = torch.arange(known.shape[3], device=known.device).expand(known.shape)
    edge = _running_maximum(torch.where(known, x, -1))
    start = _running_maximum(torch.where(known, -1, x)).gather(3, edge.clamp(min=0)) + 1
    length = edge - start + 1
    step = torch.remainder(x - edge - 1, 2 * length.clamp(min=1))
    place = torch.where(step < length, edge - step, start + step - length)
    return place.clamp(min=0), torch.where(edge >= 0, (x - edge + 1).float().pow(-2), 0)


def _running_maximum(values: Tensor) -> Tensor:
    """Of each row of `(B, 1, H, W)`, the largest of the values up to each: `cummax`, in operations that exporters know."""
    step = 1
    while step < values.shape[3]:
        values = torch.cat((values[..., :step], torch.maximum(values[..., step:], values[..., :-step])), dim=3)
        step *= 2
    return values


def _usual(copies: Copies, parts: tuple[float, float, float], ground: tuple[float, float]) -> Tensor:
    """Logits `(B, N, H, W)` of the copies: those of parts, and the ground's on the target's body and off it."""
    of_parts = copies.usable.new_tensor(parts)[None, :, None, None].expand_as(copies.usable[:, :_GROUND])
    of_ground = torch.where(copies.body, ground[0], ground[1]).to(of_parts.dtype)
    return torch.cat((of_parts, of_ground), dim=1)


def _grid(place: Tensor, source: Tensor) -> Tensor:
    """Pixels of the source, x and y, as `grid_sample` has them: -1 .. 1 from edge to edge."""
    return (2 * place + 1) / place.new_tensor([source.shape[3], source.shape[2]]) - 1


def _layers(covered: Tensor) -> Tensor:
    """The parts to read at each pixel, `(B, 3, H, W)`, of `covered` `(B, P, H, W)` bool; the first part where there is no other."""
    number = torch.arange(covered.shape[1], device=covered.device)[:, None, None]
    of_limbs = covered * number
    upper = of_limbs.amax(dim=1, keepdim=True)
    lower = (of_limbs * (number != upper)).amax(dim=1, keepdim=True)
    return torch.cat((torch.zeros_like(upper), lower, upper), dim=1)


def _places(affines: Tensor, part: Tensor, offsets: Tensor | None) -> Tensor:
    """Where each pixel reads, `(B, 3, H, W, 2)` x and y in pixels of the source; far outside no farther than matters."""
    height, width = part.shape[2:]
    x = torch.arange(width, device=affines.device, dtype=affines.dtype)
    y = torch.arange(height, device=affines.device, dtype=affines.dtype)[:, None]
    across = x if offsets is None else x + offsets[:, :1]  # (B, 1, H, W)
    down = y if offsets is None else y + offsets[:, 1:]
    table = affines.flatten(2).mT  # (B, 6, P)
    index = part.flatten(1)[:, None].expand(-1, 6, -1)
    a, b, c, d, e, f = table.gather(2, index).view(-1, 6, *part.shape[1:]).unbind(1)  # (B, 3, H, W) each
    column, row = a * across + b * down + c, d * across + e * down + f
    # A run that has diverged has offsets that are no numbers, with which `grid_sample` writes to memory that is not its own.
    return torch.stack((column.nan_to_num(-2).clamp(-2, width + 1), row.nan_to_num(-2).clamp(-2, height + 1)), dim=-1)
