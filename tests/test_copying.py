"""Laws of the image skip: source pixels moved part by part, mixed with what is drawn; finite whatever the poses are."""

import pytest
import torch
from torch import Tensor

from posegan.model.copying import Copies, blend, compose, move_parts, repaired, warp_image
from posegan.model.geometry import body_masks, copy_affines, part_affines, part_masks, part_shapes, person_masks
from posegan.model.networks import Generator
from posegan.skeleton import HEAD, JOINT_COUNT, LEFT_SHOULDER, LIMBS, NOSE, PARTS, RIGHT_ANKLE, RIGHT_SHOULDER, TORSO
from tests.test_geometry import HEIGHT, MARKET, WIDTH, hide, poses, published
from tests.test_networks import COPYING, model
from tests.test_networks import MARKET as SIZE


def picture(batch: int, seed: int = 0) -> Tensor:
    """A smooth picture, so that a place a little beside another has nearly its colour."""
    coarse = torch.rand(batch, 3, 8, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic").clamp(-1, 1)


def copies_of(image: Tensor, source: Tensor, target: Tensor, offsets: Tensor | None = None) -> Copies:
    limbs = (part_shapes(source, HEIGHT, WIDTH)[:, 1:] > 0.5).any(dim=1, keepdim=True)
    hidden = torch.cat((limbs, person_masks(source, HEIGHT, WIDTH)), dim=1)
    affines, valid = copy_affines(source, target, *part_affines(source, target))
    return move_parts(image, affines, valid, part_shapes(target, HEIGHT, WIDTH), hidden, offsets)


def test_the_warp_is_each_part_s_affine_and_later_parts_lie_above() -> None:
    image, source, target = picture(2), poses(2, 1), poses(2, 2)
    warped = warp_image(image, source, target)
    affines, _ = part_affines(source, target)
    masks = part_masks(target, HEIGHT, WIDTH)
    for sample, y, x in [(0, 5, 8), (0, 60, 30), (1, 45, 20), (1, 100, 25), (1, 14, 32)]:
        part = masks[sample, :, y, x].nonzero().max()
        u, v = affines[sample, part] @ torch.tensor([x, y, 1.0])
        u, v = u.clamp(0, WIDTH - 1), v.clamp(0, HEIGHT - 1)
        left, top = int(u), int(v)
        square = image[sample, :, top : top + 2, left : left + 2]
        across, down = (u - left) if square.shape[2] > 1 else 0, (v - top) if square.shape[1] > 1 else 0
        upper = square[:, 0, 0] + (square[:, 0, -1] - square[:, 0, 0]) * across
        lower = square[:, -1, 0] + (square[:, -1, -1] - square[:, -1, 0]) * across
        torch.testing.assert_close(warped[sample, :, y, x], upper + (lower - upper) * down, rtol=0, atol=1e-3)


def test_a_pose_warped_onto_itself_is_the_source() -> None:
    image = picture(3)
    torch.testing.assert_close(warp_image(image, poses(3), poses(3)), image, rtol=0, atol=1e-3)


def test_a_shift_of_the_pose_shifts_the_person() -> None:
    image, source = picture(2), poses(2)
    target = source.clone()
    target[..., 0] += 6
    copies = copies_of(image, source, target)
    composed = compose(copies)
    on = (copies.usable[:, 0] > 0.99)[:, None].expand(-1, 3, -1, -1)  # the torso's own pixels
    torch.testing.assert_close(composed[:, :3][on], image.roll(6, 3)[on], rtol=0, atol=0.02)


def test_offsets_move_what_is_copied() -> None:
    image, pose = picture(1), poses(1)
    offsets = torch.zeros(1, 2, HEIGHT, WIDTH)
    offsets[:, 0] = 3
    moved, still = copies_of(image, pose, pose, offsets), copies_of(image, pose, pose)
    torch.testing.assert_close(moved.images[:, :3, ..., 4:-8], still.images[:, :3, ..., 7:-5], rtol=0, atol=0.02)
    assert torch.equal(moved.images[:, 3], still.images[:, 3])  # the ground stays


def test_offsets_that_are_no_numbers_read_nothing() -> None:
    offsets = torch.full((1, 2, HEIGHT, WIDTH), float("nan"), requires_grad=True)
    copies = copies_of(picture(1), poses(1), poses(1), offsets)
    assert not copies.usable[:, :3].any()
    copies.images.sum().backward()


def test_a_head_keeps_its_shape_whatever_the_shoulders_do() -> None:
    source, target = poses(1, noise=0), poses(1, noise=0)
    target[:, [RIGHT_SHOULDER, LEFT_SHOULDER], 0] = torch.tensor([31.0, 33.0])  # seen from the side
    fitted, valid = part_affines(source, target)
    head = PARTS.index("head")
    affines, usable = copy_affines(source, target, fitted, valid)
    assert usable[0, head]
    linear = affines[0, head, :, :2]
    assert linear[0, 1] == linear[1, 0] == 0
    assert linear[0, 0] == pytest.approx(linear[1, 1].item(), rel=1e-4) and 0.8 < linear[0, 0] < 1.25
    centre = target[0, list(HEAD), :2].mean(0)
    torch.testing.assert_close(linear @ centre + affines[0, head, :, 2], source[0, list(HEAD), :2].mean(0), rtol=0, atol=1e-3)
    others = [part for part in range(len(PARTS)) if part != head]
    assert torch.equal(affines[:, others], fitted[:, others])


def test_a_head_is_mirrored_where_its_nose_points_to_the_other_side() -> None:
    source = poses(1, noise=0)
    source[:, NOSE, 0] += 9
    other = source.clone()
    other[..., 0] = WIDTH - 1 - other[..., 0]
    for target, sign in ((source, 1), (other, -1)):
        affines, _ = copy_affines(source, target, *part_affines(source, target))
        assert affines[0, PARTS.index("head"), 0, 0].sign() == sign


def test_a_part_that_would_read_far_apart_pixels_is_not_copied() -> None:
    source, narrow = poses(1, noise=0), poses(1, noise=0)
    narrow[:, list(TORSO), 0] = 32 + 0.1 * (narrow[:, list(TORSO), 0] - 32)
    fitted, valid = part_affines(source, narrow)
    _, usable = copy_affines(source, narrow, fitted, valid)
    assert valid[0, PARTS.index("torso")] and not usable[0, PARTS.index("torso")]


def test_what_a_limb_hides_the_torso_does_not_show() -> None:
    """A forearm in front of the torso in the source must not become a ghost of one in the target's."""
    source, target = poses(1, noise=0), poses(1, noise=0)
    source[:, 4, :2] = torch.tensor([36.0, 46.0])  # the right wrist, before the belly
    torso = copies_of(picture(1), source, target).usable[0, 0]
    assert torso[45, 32] < 0.01
    assert torso[58, 32] > 0.99


def test_the_ground_is_copied_from_where_the_source_has_no_body_and_holes_have_its_colours() -> None:
    source, target = poses(1, noise=0), poses(1, noise=0)
    target[..., 0] += 14
    image = torch.zeros(1, 3, HEIGHT, WIDTH) + 0.5
    image = torch.where(person_masks(source, HEIGHT, WIDTH), -0.8, image)
    copies = copies_of(image, source, target)
    person = person_masks(source, HEIGHT, WIDTH)
    assert torch.equal(copies.usable[:, 3:] > 0, ~person | ~body_masks(target, HEIGHT, WIDTH))
    composed = compose(copies)[:, :3]
    bare = copies.usable[:, :3].amax(dim=1, keepdim=True) == 0  # no part's soft edge
    off = (bare & ~body_masks(target, HEIGHT, WIDTH)).expand_as(composed)
    assert (off & person).sum() > 1000
    torch.testing.assert_close(composed[off], torch.full_like(composed[off], 0.5), rtol=0, atol=0.01)


def test_a_hole_in_the_ground_goes_on_in_the_grain_of_what_is_beside_it() -> None:
    """Where the person stood there is a wall like that beside it: as rough as it, rows in their place."""
    source, target = poses(1, noise=0), poses(1, noise=0)
    target[..., 0] += 14
    wall = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 0.4
    wall[:, :, 60:] -= 1  # a pavement
    person = person_masks(source, HEIGHT, WIDTH)
    copies = copies_of(torch.where(person, 0.9, wall), source, target)
    composed = compose(copies)[:, :3]
    hole = person & ~body_masks(target, HEIGHT, WIDTH) & (copies.usable[:, :3].amax(dim=1, keepdim=True) == 0)
    assert hole.sum() > 300
    on_wall, on_pavement = (rows & hole[0, 0] for rows in (torch.arange(HEIGHT)[:, None] < 60, torch.arange(HEIGHT)[:, None] >= 60))
    for place, low in ((on_wall, 0.0), (on_pavement, -1.0)):
        values = composed[0][:, place]
        assert values.min() > low - 0.01
        assert values.max() < low + 0.41
        assert 0.7 < values.std() / wall[0][:, place].std() < 1.1


def test_a_mixture_lies_between_what_is_mixed_and_logits_decide() -> None:
    image, source, target = picture(2), poses(2, 1), poses(2, 2)
    copies, drawn = copies_of(image, source, target), torch.full((2, 3, HEIGHT, WIDTH), -1.0)
    logits = torch.zeros(2, 4, HEIGHT, WIDTH)
    assert blend(copies, logits, drawn).abs().max() <= 1
    torch.testing.assert_close(blend(copies, logits - 50, drawn), drawn, rtol=0, atol=1e-3)
    logits[:, 3] = 50
    ground = ~person_masks(source, HEIGHT, WIDTH).expand(-1, 3, -1, -1)
    torch.testing.assert_close(blend(copies, logits, drawn)[ground], image[ground], rtol=0, atol=0.02)


def test_an_untrained_generator_draws_what_was_laid_together() -> None:
    """It begins with the best that is known without learning, and not with a wash of random colour."""
    generator = Generator(model(**COPYING), SIZE).eval()
    image, source, target = picture(2), poses(2, 1), poses(2, 2)
    with torch.no_grad():
        drawn = generator(image, source, target).image
    assert (drawn - compose(copies_of(image, source, target))[:, :3]).abs().mean() < 0.03


def test_a_repair_begins_at_the_colour_and_reaches_any_other() -> None:
    colours = torch.tensor([-1.0, -0.95, 0.0, 0.6, 1.0])
    assert torch.equal(repaired(colours, torch.zeros(5)), colours)
    for change, limit in ((9.0, 1.0), (-9.0, -1.0)):
        torch.testing.assert_close(repaired(colours, torch.full((5,), change)), torch.full((5,), limit), rtol=0, atol=1e-3)
    change = torch.full((5,), 0.1, requires_grad=True)
    repaired(colours, change).sum().backward()
    assert change.grad is not None
    torch.testing.assert_close(change.grad, (1 - colours) * (1 - torch.tanh(torch.tensor(0.1)) ** 2))


def seen(joints: tuple[int, ...]) -> Tensor:
    return hide(poses(1, 3), *(joint for joint in range(JOINT_COUNT) if joint not in joints))


FLAT = poses(1, noise=0)
FLAT[..., 0] = 30
STEEP = poses(1, noise=0)
STEEP[:, [RIGHT_SHOULDER, LEFT_SHOULDER], 0] = torch.tensor([31.9, 32.1])
FAR = poses(1, noise=0)
FAR[..., :2] = FAR[..., :2] * 40 - 900
HARD = {
    "onto itself": (poses(1), poses(1)),
    "flat": (poses(1), FLAT),
    "from flat": (FLAT, poses(1)),
    "steep torso": (poses(1), STEEP),
    "head of two points": (hide(poses(1), *HEAD[1:]), hide(poses(1, 4), *HEAD[1:])),
    "nobody": (seen(()), seen(())),
    "no source": (seen(()), poses(1)),
    "no target": (poses(1), seen(())),
    "one limb": (seen((LIMBS[0].start, LIMBS[0].end)), seen((LIMBS[0].start, LIMBS[0].end))),
    "torso alone": (seen(TORSO), seen(TORSO)),
    "no ankle": (hide(poses(1), RIGHT_ANKLE), poses(1, 2)),
    "outside the image": (poses(1), FAR),
    "from outside": (FAR, poses(1)),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("black", [False, True])
def test_hard_poses_give_finite_pictures_and_gradients(name: str, black: bool) -> None:
    source, target = HARD[name]
    image = torch.full((1, 3, HEIGHT, WIDTH), -1.0) if black else picture(1)
    assert warp_image(image, source, target).isfinite().all()
    torch.manual_seed(0)
    generator = Generator(model(**COPYING), SIZE)
    for head in generator.offset_heads.parameters():
        torch.nn.init.normal_(head, std=0.02)
    output = generator(image, source, target)
    assert output.image.isfinite().all()
    assert output.image.abs().max() <= 1
    output.image.square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in generator.parameters() if weight.grad is not None)


@pytest.mark.parametrize("name", HARD)
def test_hard_poses_leave_no_seam_of_noise(name: str) -> None:
    """Laid together, a smooth picture stays as smooth as a cut is, at most: nothing is read from far apart pixel by pixel."""
    source, target = HARD[name]
    composed = compose(copies_of(picture(1), source, target))[:, :3]
    rough = (
        composed[..., 1:-1, 1:-1] * 4
        - composed[..., :-2, 1:-1]
        - composed[..., 2:, 1:-1]
        - composed[..., 1:-1, :-2]
        - composed[..., 1:-1, 2:]
    )
    assert (rough.abs().amax(dim=1) > 0.5).float().mean() < 0.12


@pytest.mark.skipif(not MARKET.is_file(), reason=f"the published Market-1501 annotations are not at {MARKET}")
def test_steep_parts_of_the_published_poses_stay_finite() -> None:
    _, pose = published()
    source, target = pose[:4000], pose[4000:8000]
    affines, valid = part_affines(source, target)
    stretch = torch.linalg.matrix_norm(affines[..., :2].double(), ord=2)
    steepest = torch.where(valid, stretch, 0).amax(dim=1).argsort(descending=True)[:64]
    assert stretch[steepest].amax() > 20
    copies = copies_of(picture(64), source[steepest], target[steepest])
    for values in (copies.images, copies.usable, compose(copies)):
        assert values.isfinite().all()
        assert values.abs().max() <= 1.0001
