"""Keypoints to heatmaps, body-part masks and part affines, batched on the keypoints' device.

Legend: B batch, K = 18 joints, P = 10 parts, L = 8 limbs, N points, H x W pixels.
Keypoints are `(B, K, 3)` as in `posegan.skeleton`. An affine `(2, 3)` maps a target pixel `(x, y, 1)`
to the source pixel `(x, y)` that lands on it, both at full resolution. Nothing here has a gradient.

Source: Siarohin et al., Deformable GANs for Pose-based Human Image Generation, CVPR 2018, section 3.2.
"""

import torch
from torch import Tensor

from posegan.skeleton import (
    HEAD,
    LEFT_ANKLE,
    LEFT_KNEE,
    LEFT_SHOULDER,
    LEFT_WRIST,
    LIMBS,
    MIRROR,
    MIRROR_LIMB,
    NECK,
    NOSE,
    RIGHT_ANKLE,
    RIGHT_KNEE,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    SHOULDER_HIP_SIDES,
    TORSO,
)

HEAD_HALF_SIDE = 0.4  # in shoulder-hip lengths
LIMB_HALF_WIDTH = 0.2  # in shoulder-hip lengths
LIMB_BACK_REACH = 0.1  # in lengths of the limb
# Of the soft shapes, in shoulder-hip lengths: they are about as wide as the people of Market-1501.
HEAD_RADII = 0.24, 0.34  # across and down
HEAD_EDGE = 0.1  # of its radius
LIMB_SHAPE_RADIUS = 0.14
LIMB_SHAPE_EDGE = 0.02
LIMB_SHAPE_REACH = 0.6  # of the masks' reach past a limb's end
ENDS = ((0.4, [RIGHT_ANKLE, LEFT_ANKLE]), (0.25, [RIGHT_WRIST, LEFT_WRIST]))  # radii of feet and hands, in shoulder-hip lengths
BODY_MARGIN = 0.2  # in shoulder-hip lengths: how far the body reaches past its torso's joints
TURNED = 0.12  # shoulder-hip lengths that a nose is to the side of the neck, where a head looks to that side
STEEPEST_COPY = 4.0  # source pixels from one target pixel to the next; beyond, a copy is noise
ON_AN_EDGE = 1e-3  # pixels: what is exactly on an upper or left edge is inside, on another one outside, as in the original's polygons
SHORTEST = 0.5  # pixels; a limb or torso side shorter than this has no direction, so it counts as missing


@torch.no_grad()
def heatmaps(keypoints: Tensor, height: int, width: int, sigma: float) -> Tensor:
    """One Gaussian a joint, `(B, K, H, W)` float32 in [0, 1]; all zero for a missing joint.

    `exp(-d^2 / 2 sigma^2)` with d and sigma in pixels, computed as the outer product of two 1-D Gaussians.
    """
    points, visible = _split(keypoints)
    column = torch.arange(width, device=keypoints.device, dtype=torch.float32)
    row = torch.arange(height, device=keypoints.device, dtype=torch.float32)
    horizontal = torch.exp((column - points[..., 0:1].float()).square() / (-2 * sigma**2))  # (B, K, W)
    vertical = torch.exp((row - points[..., 1:2].float()).square() / (-2 * sigma**2)) * visible[..., None]  # (B, K, H)
    return vertical[..., :, None] * horizontal[..., None, :]


@torch.no_grad()
def part_masks(target_keypoints: Tensor, height: int, width: int) -> Tensor:
    """Where each part may appear in the target image, `(B, P, H, W)` bool.

    The torso's mask is the whole image; the head's an axis-aligned square about the mean of the visible head joints, from half a
    side before it up to, but without, half a side after it, both whole pixels as in the paper's code; a limb's the inside of the
    rectangle along its two joints. A part that the target pose does not show has an empty mask.
    """
    points, visible = _split(target_keypoints)
    points = points.float()  # a mask needs no more, and takes half the time
    scale = _torso_scale(points, visible)  # (B,)
    x = torch.arange(width, device=points.device, dtype=points.dtype) + ON_AN_EDGE
    y = torch.arange(height, device=points.device, dtype=points.dtype)[:, None] + ON_AN_EDGE
    head = _head_mask(points, visible, scale, x, y)[:, None]
    return torch.cat((torch.ones_like(head), head, _limb_masks(points, visible, scale, x, y)), dim=1)


@torch.no_grad()
def body_masks(keypoints: Tensor, height: int, width: int) -> Tensor:
    """Where a pose has a body, `(B, 1, H, W)` bool: its head, its limbs, and a rectangle about its torso.

    That rectangle goes along the line from the middle of the shoulders to that of the hips, and reaches past them, and to
    either side past the wider pair, by a fifth of the shoulder-hip length. A pose that lacks a shoulder or a hip has none.
    """
    points, visible = _split(keypoints)
    points = points.float()
    scale = _torso_scale(points, visible)[:, None, None, None]  # (B, 1, 1, 1)
    (right_shoulder, right_hip), (left_shoulder, left_hip) = SHOULDER_HIP_SIDES
    start, end = (points[:, list(pair)].mean(1)[..., None, None, None] for pair in ((right_shoulder, left_shoulder), (right_hip, left_hip)))
    sides = [(points[:, right] - points[:, left]).norm(dim=1) for right, left in ((right_shoulder, left_shoulder), (right_hip, left_hip))]
    half = torch.maximum(*sides)[:, None, None, None] / 2 + BODY_MARGIN * scale
    line = end - start  # (B, 2, 1, 1, 1)
    length = line.norm(dim=1).clamp(min=SHORTEST)
    x = torch.arange(width, device=points.device, dtype=points.dtype)
    y = torch.arange(height, device=points.device, dtype=points.dtype)[:, None]
    dx, dy = x - start[:, 0], y - start[:, 1]  # (B, 1, 1, W), (B, 1, H, 1)
    ux, uy = line[:, 0] / length, line[:, 1] / length
    along, across = dx * ux + dy * uy, dy * ux - dx * uy
    whole = visible[:, TORSO].all(1)[:, None, None, None]
    torso = (along.sub(length / 2).abs() < length / 2 + BODY_MARGIN * scale) & (across.abs() < half) & whole
    body: Tensor = torso | part_masks(keypoints, height, width)[:, 1:].any(dim=1, keepdim=True)
    return body


@torch.no_grad()
def person_masks(keypoints: Tensor, height: int, width: int) -> Tensor:
    """Where a pose may show anything of the person, `(B, 1, H, W)` bool: `body_masks`, and what is about ankles and wrists.

    Joints end there and people do not: what is left of a shoe would be copied with the ground.
    """
    points, visible = _split(keypoints)
    points = points.float()
    scale = _torso_scale(points, visible)[:, None, None, None]
    masks = body_masks(keypoints, height, width)
    x = torch.arange(width, device=points.device, dtype=points.dtype)
    y = torch.arange(height, device=points.device, dtype=points.dtype)[:, None]
    for radius, joints in ENDS:
        centre = points[:, joints, :, None, None]  # (B, 2, 2, 1, 1)
        near = (x - centre[:, :, 0]).square() + (y - centre[:, :, 1]).square() < (radius * scale).square()
        masks |= (near & visible[:, joints, None, None]).any(dim=1, keepdim=True)
    return masks


@torch.no_grad()
def part_shapes(target_keypoints: Tensor, height: int, width: int) -> Tensor:
    """How far each pixel is each part's in the target image, `(B, P, H, W)` in [0, 1]: part masks as narrow as bodies, with soft edges.

    The torso's is the body, the head's an upright ellipse, a limb's what is near its bone, and near the bone as it goes on for a hand
    or a foot. A part that the target pose does not show is nowhere.
    """
    points, visible = _split(target_keypoints)
    points = points.float()
    scale = _torso_scale(points, visible)  # (B,)
    x = torch.arange(width, device=points.device, dtype=points.dtype)
    y = torch.arange(height, device=points.device, dtype=points.dtype)[:, None]
    per_scale = 1 / scale.clamp(min=SHORTEST)[:, None, None, None]
    centre, shown = _head_centre(points, visible)
    dx, dy = x - centre[:, 0, None, None], y - centre[:, 1, None, None]  # (B, 1, W), (B, H, 1)
    from_centre = per_scale[:, 0] * ((dx / HEAD_RADII[0]).square() + (dy / HEAD_RADII[1]).square()).sqrt()
    head = torch.sigmoid((1 - from_centre) / HEAD_EDGE) * (shown & (scale >= SHORTEST))[:, None, None]
    along, across, length, present = _along_limbs(points, visible, scale, x, y)
    reach = torch.tensor([limb.reach for limb in LIMBS], dtype=points.dtype, device=points.device)[:, None, None]
    beyond = (along - (1 + LIMB_SHAPE_REACH * reach) * length).clamp(min=0) + (-along).clamp(min=0)
    limbs = (
        torch.sigmoid((LIMB_SHAPE_RADIUS - per_scale * (across.square() + beyond.square()).sqrt()) / LIMB_SHAPE_EDGE)
        * present[..., None, None]
    )
    return torch.cat((body_masks(target_keypoints, height, width).to(limbs.dtype), head[:, None], limbs), dim=1)


@torch.no_grad()
def part_affines(source_keypoints: Tensor, target_keypoints: Tensor) -> tuple[Tensor, Tensor]:
    """Affines `(B, P, 2, 3)` float32, target pixels to source pixels, and which are usable, `(B, P)` bool.

    Torso: fitted to the torso joints that both poses show (three at least). Head: to the head joints that
    both show (one at least) and both shoulders. Limb: joint onto joint, torso scale across; a limb
    that the source lacks is taken from the other side of its body. The rest is not usable, and its
    affine is the identity. A usable affine is finite, though it may flatten the image to a line.
    """
    source, source_visible = _split(source_keypoints)
    target, target_visible = _split(target_keypoints)
    both = source_visible & target_visible  # (B, K)
    shoulders = [RIGHT_SHOULDER, LEFT_SHOULDER]
    head = [*HEAD, *shoulders]
    torso_affine, torso_valid = fit_affine(target[:, TORSO], source[:, TORSO], both[:, TORSO])
    head_affine, head_valid = fit_affine(target[:, head], source[:, head], both[:, head])
    head_valid = head_valid & both[:, HEAD].any(1) & both[:, shoulders].all(1)
    limb_affines, limb_valid = _limb_affines(source, source_visible, target, target_visible)
    affines = torch.cat((torso_affine[:, None], head_affine[:, None], limb_affines), dim=1)
    return _usable(affines, torch.cat((torso_valid[:, None], head_valid[:, None], limb_valid), dim=1))


@torch.no_grad()
def copy_affines(source_keypoints: Tensor, target_keypoints: Tensor, affines: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """`part_affines`, `(B, P, 2, 3)` and `(B, P)`, made fit for copying pixels instead of features.

    A head is no flat thing between two shoulders: fitted to these, it is sheared whenever a person turns. Here it keeps its shape, moved
    from centre to centre of the head joints, scaled as the torsos are, and mirrored where its nose points to the other side. Of a part
    that would read pixels far from each other nothing can be recognised: it is not valid.
    """
    (source, source_visible), (target, target_visible) = _split(source_keypoints), _split(target_keypoints)
    source_scale, target_scale = _torso_scale(source, source_visible), _torso_scale(target, target_visible)
    both = source_visible & target_visible & torch.zeros_like(source_visible).index_fill(1, torch.tensor(HEAD, device=source.device), True)
    (source_centre, shown), (target_centre, _) = _head_centre(source, both), _head_centre(target, both)
    scale = source_scale / target_scale.clamp(min=SHORTEST)
    facing = [
        torch.where(visible[:, NOSE] & visible[:, NECK], points[:, NOSE, 0] - points[:, NECK, 0], 0) / size.clamp(min=SHORTEST)
        for points, visible, size in ((source, source_visible, source_scale), (target, target_visible, target_scale))
    ]
    turned = (facing[0] * facing[1] < 0) & (torch.minimum(facing[0].abs(), facing[1].abs()) > TURNED)
    linear = torch.diag_embed(torch.stack((torch.where(turned, -scale, scale), scale), dim=1))  # (B, 2, 2)
    shift = source_centre - (linear @ target_centre[..., None])[..., 0]
    head = torch.cat((linear, shift[..., None]), dim=2).to(affines.dtype)
    usable = shown & (source_scale >= SHORTEST) & (target_scale >= SHORTEST)
    affines = torch.cat((affines[:, :1], head[:, None], affines[:, 2:]), dim=1)
    valid = torch.cat((valid[:, :1], usable[:, None], valid[:, 2:]), dim=1)
    a, b, c, d = affines[..., :2].flatten(2).unbind(2)
    squares, determinant = a * a + b * b + c * c + d * d, a * d - b * c
    stretch = ((squares + (squares.square() - 4 * determinant.square()).clamp(min=0).sqrt()) / 2).sqrt()  # the larger singular value
    return affines, valid & (stretch <= STEEPEST_COPY)


@torch.no_grad()
def body_affine(source_keypoints: Tensor, target_keypoints: Tensor) -> tuple[Tensor, Tensor]:
    """One affine for the whole body, `(B, 1, 2, 3)` and `(B, 1)` as `part_affines` gives them.

    Fitted to shoulders, hips and knees as far as both poses show them (three at least).
    """
    (source, source_visible), (target, target_visible) = _split(source_keypoints), _split(target_keypoints)
    joints = [*TORSO, RIGHT_KNEE, LEFT_KNEE]
    affine, valid = fit_affine(target[:, joints], source[:, joints], (source_visible & target_visible)[:, joints])
    return _usable(affine[:, None], valid[:, None])


@torch.no_grad()
def poses_between(source_keypoints: Tensor, target_keypoints: Tensor, steps: int) -> list[Tensor]:
    """`steps` + 1 poses `(B, K, 3)`: both ends as they are, and between them each joint on its straight line.

    A joint that one end does not show has no line: it is missing between them, and stands where it is at the end
    that shows it. The confidence between is the smaller of the two.
    """
    confidence = torch.minimum(source_keypoints[..., 2], target_keypoints[..., 2]).clamp(min=0)[..., None]
    between = []
    for step in range(1, steps):
        points = torch.lerp(source_keypoints[..., :2], target_keypoints[..., :2], step / steps)
        between.append(torch.cat((torch.where(confidence > 0, points, 0), confidence), dim=-1))
    return [source_keypoints, *between, target_keypoints]


def mirrored_keypoints(keypoints: Tensor, width: int) -> Tensor:
    """The pose `(B, K, 3)` of a mirrored image of that width: the right side of the body becomes its left one."""
    keypoints = keypoints[:, list(MIRROR)]
    x, visible = keypoints[..., :1], keypoints[..., 2:] > 0
    return torch.cat((torch.where(visible, width - 1 - x, x), keypoints[..., 1:]), dim=2)


def fit_affine(points: Tensor, images: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """The affine `(B, 2, 3)` that takes `points` to `images`, both `(B, N, 2)`, and where it exists, `(B,)`.

    Normalised total least squares over the `chosen` `(B, N)` points, as scikit-image's
    `estimate_transform("affine", points, images)` has it: both sets are centred and scaled to a mean square
    norm of 2, and the coefficients are the least singular vector of the homogeneous system. It does not
    exist for fewer than three points, nor where `points` lie on a line.
    """
    weight = chosen.to(points.dtype)[..., None]  # (B, N, 1)
    centre, spread, x = _normalise(points, weight)
    image_centre, image_spread, y = _normalise(images, weight)
    # With both sets centred the translation is zero, and the normal matrix of [m00 m01 m10 m11 1] is an arrow.
    gram = x.mT @ x  # (B, 2, 2), trace 2 N
    normal = x.new_zeros(len(x), 5, 5)
    normal[:, 0:2, 0:2] = normal[:, 2:4, 2:4] = gram
    normal[:, 0:4, 4] = normal[:, 4, 0:4] = (y.mT @ x).flatten(1)
    normal[:, 4, 4] = y.square().sum((1, 2))
    least = torch.linalg.eigh(normal)[1][:, :, 0]  # (B, 5), unit norm
    off_line = gram[:, 0, 0] * gram[:, 1, 1] - gram[:, 0, 1].square() > 1e-6
    valid = (chosen.sum(1) >= 3) & off_line & (least[:, 4].abs() > 1e-6)
    linear = (-least[:, :4] / torch.where(valid, least[:, 4], 1)[:, None]).unflatten(1, (2, 2))
    linear = linear * (image_spread / spread)
    shift = image_centre.mT - linear @ centre.mT  # (B, 2, 1)
    return torch.cat((linear, shift), dim=2), valid


def _usable(affines: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """As float32, the identity where not valid."""
    identity = torch.eye(2, 3, dtype=affines.dtype, device=affines.device)
    return torch.where(valid[..., None, None], affines, identity).float(), valid


def _normalise(points: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre `(B, 1, 2)`, spread `(B, 1, 1)` and the normalised points `(B, N, 2)`, zero where the weight is."""
    count = weight.sum(1, keepdim=True).clamp(min=1)
    centre = (points * weight).sum(1, keepdim=True) / count
    centred = (points - centre) * weight
    spread = (centred.square().sum((1, 2), keepdim=True) / count / 2).sqrt().clamp(min=1e-6)
    return centre, spread, centred / spread


def _split(keypoints: Tensor) -> tuple[Tensor, Tensor]:
    """Points `(B, K, 2)`, zero where missing, and visibility `(B, K)`.

    Double precision, since a person seen from the side is nearly a line; MPS has none.
    """
    visible = keypoints[..., 2] > 0
    precision = torch.float32 if keypoints.device.type == "mps" else torch.float64
    return torch.where(visible[..., None], keypoints[..., :2], 0).to(precision), visible


def _torso_scale(points: Tensor, visible: Tensor) -> Tensor:
    """Root mean square of the visible shoulder-hip lengths, `(B,)` pixels; 0 where neither side shows."""
    shoulders, hips = zip(*SHOULDER_HIP_SIDES, strict=True)
    squares = (points[:, shoulders] - points[:, hips]).square().sum(2)  # (B, 2)
    shown = (visible[:, shoulders] & visible[:, hips]).to(points.dtype)
    mean: Tensor = (squares * shown).sum(1) / shown.sum(1).clamp(min=1)
    return mean.sqrt()


def _head_mask(points: Tensor, visible: Tensor, scale: Tensor, x: Tensor, y: Tensor) -> Tensor:
    centre, shown = _head_centre(points, visible)
    centre, reach = centre.trunc()[..., None, None], (HEAD_HALF_SIDE * scale).trunc()[:, None, None]
    dx, dy = x - centre[:, 0], y - centre[:, 1]
    horizontal = (dx >= -reach) & (dx < reach)  # (B, 1, W)
    vertical = (dy >= -reach) & (dy < reach)  # (B, H, 1)
    return horizontal & vertical & (shown & (scale >= SHORTEST))[:, None, None]


def _head_centre(points: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the head joints that a pose shows, `(B, 2)`, and whether it shows any."""
    shown = visible[:, HEAD].to(points.dtype)[..., None]
    return (points[:, HEAD] * shown).sum(1) / shown.sum(1).clamp(min=1), visible[:, HEAD].any(1)


def _limbs(points: Tensor, visible: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Start `(B, L, 2)`, direction end - start `(B, L, 2)`, and which limbs a pose shows `(B, L)`."""
    starts, ends = [limb.start for limb in LIMBS], [limb.end for limb in LIMBS]
    direction = points[:, ends] - points[:, starts]
    long_enough = (direction.norm(dim=2) >= SHORTEST) & (scale >= SHORTEST)[:, None]
    return points[:, starts], direction, visible[:, starts] & visible[:, ends] & long_enough


def _limb_masks(points: Tensor, visible: Tensor, scale: Tensor, x: Tensor, y: Tensor) -> Tensor:
    along, across, length, shown = _along_limbs(points, visible, scale, x, y)
    reach = torch.tensor([limb.reach for limb in LIMBS], dtype=points.dtype, device=points.device)
    within = (along > -LIMB_BACK_REACH * length) & (along < (1 + reach[:, None, None]) * length)
    mask: Tensor = within & (across.abs() < (LIMB_HALF_WIDTH * scale)[:, None, None, None]) & shown[..., None, None]
    return mask


def _along_limbs(points: Tensor, visible: Tensor, scale: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where each pixel is by each limb: along it from its start, and across, `(B, L, H, W)` pixels; its length; whether it is shown."""
    start, direction, shown = _limbs(points, visible, scale)
    length = direction.norm(dim=2, keepdim=True)  # (B, L, 1)
    unit = direction / length.clamp(min=SHORTEST)
    dx, dy = x - start[..., 0, None, None], y - start[..., 1, None, None]  # (B, L, 1, W), (B, L, H, 1)
    ux, uy = unit[..., 0, None, None], unit[..., 1, None, None]
    return dx * ux + dy * uy, dy * ux - dx * uy, length[..., None], shown


def _limb_affines(source: Tensor, source_visible: Tensor, target: Tensor, target_visible: Tensor) -> tuple[Tensor, Tensor]:
    """Closed form of "the target limb's rectangle onto the source's": `(B, L, 2, 3)` and usable `(B, L)`.

    Both rectangles reach past their joints by the same shares of their lengths, so the reach cancels.
    """
    source_scale, target_scale = _torso_scale(source, source_visible), _torso_scale(target, target_visible)
    start, direction, shown = _limbs(source, source_visible, source_scale)
    mirrored = list(MIRROR_LIMB)
    own = shown[..., None]
    start = torch.where(own, start, start[:, mirrored])
    direction = torch.where(own, direction, direction[:, mirrored])
    target_start, target_direction, target_shown = _limbs(target, target_visible, target_scale)
    valid = (shown | shown[:, mirrored]) & target_shown
    square = target_direction.square().sum(2)[..., None, None].clamp(min=SHORTEST**2)
    lengths = direction.norm(dim=2).clamp(min=SHORTEST), target_direction.norm(dim=2).clamp(min=SHORTEST)
    width_ratio = (source_scale / target_scale.clamp(min=SHORTEST))[:, None] * lengths[1] / lengths[0]
    along = direction[..., :, None] * target_direction[..., None, :]
    across = _normal(direction)[..., :, None] * _normal(target_direction)[..., None, :] * width_ratio[..., None, None]
    linear = (along + across) / square  # (B, L, 2, 2)
    return torch.cat((linear, start[..., None] - linear @ target_start[..., None]), dim=3), valid


def _normal(direction: Tensor) -> Tensor:
    """The direction `(..., 2)` turned by a quarter."""
    return torch.stack((-direction[..., 1], direction[..., 0]), dim=-1)
