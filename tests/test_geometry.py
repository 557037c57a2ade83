"""Laws of the poses' geometry, and agreement with scikit-image and with slow per-pixel references."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage.transform import AffineTransform
from torch import Tensor

from posegan.model.geometry import (
    body_affine,
    body_masks,
    fit_affine,
    heatmaps,
    mirrored_keypoints,
    part_affines,
    part_masks,
    part_shapes,
    person_masks,
    poses_between,
)
from posegan.skeleton import (
    HEAD,
    JOINT_COUNT,
    LEFT_ANKLE,
    LIMBS,
    MIRROR,
    MIRROR_LIMB,
    NECK,
    PARTS,
    RIGHT_ANKLE,
    RIGHT_KNEE,
    RIGHT_SHOULDER,
    TORSO,
)

HEIGHT, WIDTH = 128, 64
MARKET = Path(__file__).resolve().parents[1] / "../shared/market1501/market-annotation-train.csv"

# A person who faces us, x and y of the 18 joints.
STANDING = (
    (32, 14), (32, 26), (22, 28), (18, 42), (16, 56), (42, 28), (46, 42), (48, 56), (26, 62), (25, 88),
    (24, 114), (38, 62), (39, 88), (40, 114), (30, 12), (34, 12), (27, 13), (37, 13),
)  # fmt: skip


def poses(count: int, seed: int = 0, noise: float = 4.0) -> Tensor:
    """Variations of a standing person, all joints visible: `(count, 18, 3)`."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.tensor(STANDING, dtype=torch.float32) + noise * torch.randn(count, JOINT_COUNT, 2, generator=generator)
    return torch.cat((points, torch.ones(count, JOINT_COUNT, 1)), dim=2)


def hide(keypoints: Tensor, *joints: int) -> Tensor:
    """The same poses without some joints, whose coordinates become nonsense."""
    hidden = keypoints.clone()
    hidden[:, list(joints)] = torch.tensor([float("nan"), -1e9, 0.0])
    return hidden


def apply(affines: Tensor, points: Tensor) -> Tensor:
    """`(..., 2, 3)` on `(..., N, 2)`."""
    return points @ affines[..., :2].mT + affines[..., None, :, 2]


def reference_affine(points: npt.NDArray[np.float64], images: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    transform = AffineTransform()
    transform.estimate(points, images)
    return np.asarray(transform.params[:2])


def test_heatmaps_are_the_closed_form() -> None:
    keypoints = hide(poses(2), RIGHT_KNEE)
    maps = heatmaps(keypoints, HEIGHT, WIDTH, 6.0)
    x, y = keypoints[1, NECK, :2].double()
    expected = torch.exp(-((torch.arange(WIDTH) - x) ** 2 + (torch.arange(HEIGHT)[:, None] - y) ** 2) / 72).float()
    torch.testing.assert_close(maps[1, NECK], expected)
    assert maps.shape == (2, JOINT_COUNT, HEIGHT, WIDTH)
    assert maps[:, RIGHT_KNEE].eq(0).all()


def test_heatmaps_peak_at_one_on_a_pixel_centre() -> None:
    keypoints = torch.tensor([[[5.0, 9.0, 0.3]] * JOINT_COUNT])
    maps = heatmaps(keypoints, 16, 12, 2.0)
    assert maps[0, 0, 9, 5] == 1
    assert maps.amax() == 1


@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")
@pytest.mark.parametrize("noise", [1.0, 6.0, 20.0])
def test_torso_and_head_agree_with_scikit_image(noise: float) -> None:
    source, target = poses(24, 1, noise), poses(24, 2, noise)
    affines, valid = part_affines(source, target)
    assert valid.all()
    for part, joints in ((0, TORSO), (1, (*HEAD, 2, 5))):
        for sample in range(24):
            points, images = (pose[sample, list(joints), :2].double().numpy() for pose in (target, source))
            expected = reference_affine(points, images)
            np.testing.assert_allclose(affines[sample, part].numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")
def test_limbs_agree_with_scikit_image_on_the_corners_of_their_rectangles() -> None:
    source, target = poses(6, 3), poses(6, 4)
    affines, _ = part_affines(source, target)
    for sample in range(6):
        for index, limb in enumerate(LIMBS):
            points, images = (rectangle(pose[sample].double().numpy(), limb.start, limb.end, limb.reach) for pose in (target, source))
            np.testing.assert_allclose(affines[sample, 2 + index].numpy(), reference_affine(points, images), rtol=1e-4, atol=1e-3)


def rectangle(pose: npt.NDArray[np.float64], start: int, end: int, reach: float) -> npt.NDArray[np.float64]:
    sides = np.linalg.norm(pose[[2, 5], :2] - pose[[8, 11], :2], axis=1)
    half_width = 0.2 * np.sqrt((sides**2).mean())
    first, direction = pose[start, :2], pose[end, :2] - pose[start, :2]
    across = half_width * np.array([-direction[1], direction[0]]) / np.linalg.norm(direction)
    back, front = first - 0.1 * direction, first + (1 + reach) * direction
    return np.array([back + across, back - across, front - across, front + across])


def original_masks(pose: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.bool_]:
    """The paper's own masks, with its numbers: polygons, and a square of whole pixels; joints `(18, 3)`."""
    points, shown = pose[:, :2], pose[:, 2] > 0
    length = np.sqrt((((points[[8, 11]] - points[[2, 5]]) ** 2).sum(1)).mean())
    head = [joint for joint in (0, 14, 15, 16, 17) if shown[joint]]
    masks = np.zeros((10, height, width), bool)
    masks[0] = True
    if head:
        (x, y), half = points[head].mean(0).astype(int), int(0.4 * length)
        masks[1, max(y - half, 0) : max(y + half, 0), max(x - half, 0) : max(x + half, 0)] = True
    ends = ((8, 9, 0.1), (11, 12, 0.1), (9, 10, 0.5), (12, 13, 0.5), (2, 3, 0.1), (5, 6, 0.1), (3, 4, 0.5), (6, 7, 0.5))
    for part, (start, end, forwards) in enumerate(ends, start=2):
        if not shown[start] or not shown[end] or np.allclose(points[start], points[end]):
            continue
        back = points[start] + 0.1 * (points[start] - points[end])
        front = points[end] + forwards * (points[end] - back)
        across = 0.2 * length * np.array([back[1] - front[1], front[0] - back[0]]) / np.linalg.norm(front - back)
        corners = np.array([back + across, back - across, front - across, front + across])
        masks[part] = polygon(corners, height, width)
    return masks


def polygon(corners: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Pixels whose ray down crosses the sides of `corners` `(N, 2)` an odd number of times, as scikit-image had it in 2017."""
    y, x = np.mgrid[:height, :width]
    inside = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, 1, axis=0), strict=True):
        crosses = (x0 > x) != (x1 > x)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (y < (y1 - y0) * (x - x0) / (x1 - x0) + y0)
    return inside


def assert_masks_are_the_original_s(keypoints: Tensor, least: float) -> None:
    """All parts' pixels together: their intersection over their union is at least so much."""
    masks = part_masks(keypoints, HEIGHT, WIDTH).numpy()
    expected = np.stack([original_masks(pose, HEIGHT, WIDTH) for pose in keypoints.double().numpy()])
    assert masks[:, 0].all()
    for part in range(1, len(PARTS)):
        both, either = (masks & expected)[:, part].sum(), (masks | expected)[:, part].sum()
        assert both >= least * either, PARTS[part]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_masks_are_the_original_s() -> None:
    assert_masks_are_the_original_s(hide(poses(40, 5), RIGHT_ANKLE), least=0.999)
    assert_masks_are_the_original_s(poses(40, 6, noise=12.0), least=0.999)


@pytest.mark.skipif(not MARKET.is_file(), reason=f"the published Market-1501 annotations are not at {MARKET}")
def test_masks_are_the_original_s_on_the_published_annotations() -> None:
    """Whole-pixel joints put many pixels exactly on an edge."""
    _, pose = published()
    assert_masks_are_the_original_s(pose[:: len(pose) // 400], least=0.999)


def test_the_head_s_square_is_in_whole_pixels_and_ends_before_its_last() -> None:
    standing = poses(1, noise=0)
    mask = part_masks(standing, HEIGHT, WIDTH)[0, 1]
    # Mean of the head's joints (32, 12.8), shoulder-hip lengths of 34.2: from 32 - 13 up to 32 + 12, from 0 up to 12 + 12.
    rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
    assert (columns.min().item(), columns.max().item()) == (19, 44)
    assert (rows.min().item(), rows.max().item()) == (0, 24)


def test_a_limb_s_mask_reaches_0_11_or_0_55_of_its_bone_past_its_end() -> None:
    assert [limb.reach for limb in LIMBS] == [0.11, 0.11, 0.55, 0.55, 0.11, 0.11, 0.55, 0.55]


def test_soft_shapes_are_one_inside_and_fade_within_their_masks() -> None:
    keypoints = poses(8, 7)
    shapes, masks, body = part_shapes(keypoints, HEIGHT, WIDTH), part_masks(keypoints, HEIGHT, WIDTH), body_masks(keypoints, HEIGHT, WIDTH)
    assert shapes.shape == masks.shape
    assert shapes.min() >= 0 and shapes.max() <= 1
    assert torch.equal(shapes[:, :1] > 0, body)
    for index, limb in enumerate(LIMBS):
        middle = keypoints[:, [limb.start, limb.end], :2].mean(1).round().long()
        assert (shapes[range(8), 2 + index, middle[:, 1], middle[:, 0]] > 0.99).all()
    assert (masks[:, 2:] | (shapes[:, 2:] < 0.5)).float().mean() > 0.99  # they are narrower than the masks
    hidden = part_shapes(hide(keypoints, RIGHT_ANKLE), HEIGHT, WIDTH)
    assert not hidden[:, PARTS.index("right_shin")].any()
    assert torch.equal(hidden[:, PARTS.index("left_shin")], shapes[:, PARTS.index("left_shin")])


def test_a_body_is_its_torso_head_and_limbs_and_little_else() -> None:
    keypoints = poses(8, 7)
    body = body_masks(keypoints, HEIGHT, WIDTH)
    assert body.shape == (8, 1, HEIGHT, WIDTH)
    assert (body | ~part_masks(keypoints, HEIGHT, WIDTH)[:, 1:].any(dim=1, keepdim=True)).all()
    middle = keypoints[:, list(TORSO), :2].mean(1).round().long()
    assert body[range(8), 0, middle[:, 1], middle[:, 0]].all()
    assert 0.2 < body.float().mean() < 0.6
    assert body_masks(hide(keypoints, RIGHT_SHOULDER), HEIGHT, WIDTH).sum() < body.sum()
    assert not body_masks(hide(keypoints, *range(JOINT_COUNT)), HEIGHT, WIDTH).any()


def test_a_person_is_the_body_and_what_is_about_hands_and_feet() -> None:
    keypoints = poses(4, 2)
    person, body = person_masks(keypoints, HEIGHT, WIDTH), body_masks(keypoints, HEIGHT, WIDTH)
    assert (person | ~body).all()
    scale = 40.0  # shoulder-hip length of `poses`, about
    for ankle in (RIGHT_ANKLE, LEFT_ANKLE):
        x, y = keypoints[:, ankle, 0].long(), (keypoints[:, ankle, 1] + 0.25 * scale).long().clamp(max=HEIGHT - 1)
        assert person[torch.arange(4), 0, y, x.clamp(0, WIDTH - 1)].all()  # a shoe
    no_feet = hide(keypoints, RIGHT_ANKLE, LEFT_ANKLE)
    assert person_masks(no_feet, HEIGHT, WIDTH).sum() < person.sum()
    assert not person_masks(hide(keypoints, *range(JOINT_COUNT)), HEIGHT, WIDTH).any()


def test_a_mirrored_pose_is_that_of_the_mirrored_picture() -> None:
    keypoints = hide(poses(3, 8), RIGHT_KNEE)
    keypoints[:, RIGHT_KNEE, :2] = 0
    mirrored = mirrored_keypoints(keypoints, WIDTH)
    torch.testing.assert_close(mirrored_keypoints(mirrored, WIDTH), keypoints)
    left_knee, left_shoulder = 12, 5
    assert not mirrored[:, left_knee, 2].any() and mirrored[:, left_knee, :2].eq(0).all()
    assert torch.equal(mirrored[:, left_shoulder, 0], WIDTH - 1 - keypoints[:, RIGHT_SHOULDER, 0])
    assert torch.equal(mirrored[:, left_shoulder, 1:], keypoints[:, RIGHT_SHOULDER, 1:])
    maps, flipped = heatmaps(keypoints, HEIGHT, WIDTH, 6.0), heatmaps(mirrored, HEIGHT, WIDTH, 6.0)
    torch.testing.assert_close(flipped.flip(3)[:, list(MIRROR)], maps, rtol=0, atol=1e-4)


def test_a_pose_moves_onto_itself_by_the_identity() -> None:
    affines, valid = part_affines(poses(4), poses(4))
    assert valid.all()
    torch.testing.assert_close(affines, torch.eye(2, 3).expand(4, len(PARTS), 2, 3), rtol=0, atol=1e-4)


@pytest.mark.parametrize("mirror", [False, True])
def test_recovers_a_known_similarity_and_its_mirror_in_the_torso(mirror: bool) -> None:
    target = poses(4)
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]]) * 1.3
    if mirror:
        turn = turn @ torch.diag(torch.tensor([-1.0, 1.0]))
    known = torch.cat((turn, torch.tensor([[7.0], [-3.0]])), dim=1)
    source = target.clone()
    source[..., :2] = apply(known, target[..., :2])
    affines, valid = part_affines(source, target)
    parts = slice(0, 2) if mirror else slice(None)  # a limb has no handedness of its own
    assert valid.all()
    torch.testing.assert_close(affines[:, parts], known.expand_as(affines[:, parts]), rtol=1e-4, atol=1e-3)


def test_limbs_take_joints_to_joints() -> None:
    source, target = poses(4, 1), poses(4, 2)
    affines, _ = part_affines(source, target)
    for index, limb in enumerate(LIMBS):
        ends = [limb.start, limb.end]
        torch.testing.assert_close(apply(affines[:, 2 + index], target[:, ends, :2]), source[:, ends, :2], rtol=0, atol=1e-3)


def test_a_limb_that_the_source_lacks_is_taken_from_the_other_side() -> None:
    source, target = hide(poses(3, 1), RIGHT_ANKLE), poses(3, 2)
    affines, valid = part_affines(source, target)
    shin, other = PARTS.index("right_shin"), LIMBS[MIRROR_LIMB[PARTS.index("right_shin") - 2]]
    assert valid.all()
    moved = apply(affines[:, shin], target[:, [RIGHT_KNEE, RIGHT_ANKLE], :2])
    torch.testing.assert_close(moved, source[:, [other.start, other.end], :2], rtol=0, atol=1e-3)


def test_a_limb_missing_on_both_sides_or_in_the_target_is_dropped() -> None:
    shins = [PARTS.index("right_shin"), PARTS.index("left_shin")]
    _, valid = part_affines(hide(poses(2, 1), 10, 13), poses(2, 2))
    assert not valid[:, shins].any()
    assert valid.sum() == 2 * (len(PARTS) - 2)
    target = hide(poses(2, 2), RIGHT_ANKLE)
    _, valid = part_affines(poses(2, 1), target)
    assert valid[:, shins].tolist() == [[False, True]] * 2
    assert not part_masks(target, HEIGHT, WIDTH)[:, shins[0]].any()


@pytest.mark.parametrize("seed", range(4))
def test_any_joints_may_be_missing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    source, target = poses(64, 1), poses(64, 2)
    for pose in (source, target):
        pose[torch.rand(64, JOINT_COUNT, generator=generator) < 0.4] = torch.tensor([float("nan"), float("inf"), 0.0])
    affines, valid = part_affines(source, target)
    masks = part_masks(target, HEIGHT, WIDTH)
    assert affines.isfinite().all()
    assert heatmaps(target, HEIGHT, WIDTH, 6.0).isfinite().all()
    torch.testing.assert_close(affines[~valid], torch.eye(2, 3).expand_as(affines[~valid]))
    covering = masks[:, 2:].flatten(2).any(2)
    assert not (valid[:, 2:] & ~covering).any()


@pytest.mark.parametrize("flat", ["point", "line"])
def test_degenerate_poses_give_no_nan(flat: str) -> None:
    target, source = poses(2, 1), poses(2, 2)
    for pose in (target, source):
        pose[..., 0] = 20
        if flat == "point":
            pose[..., 1] = 30
    for one, other in ((source, target), (poses(2), target), (source, poses(2))):
        affines, valid = part_affines(one, other)
        assert affines.isfinite().all()
        assert not valid[:, :2].any() or other is not target
    _, valid = part_affines(poses(2), target)
    assert not valid[:, 0].any()


@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")
@pytest.mark.parametrize("hidden", [(), (9,), (9, 12)])
def test_the_body_s_affine_is_that_of_shoulders_hips_and_the_knees_both_show(hidden: tuple[int, ...]) -> None:
    source, target = poses(6, 1), hide(poses(6, 2), *hidden)
    affines, valid = body_affine(source, target)
    assert valid.all()
    assert affines.shape == (6, 1, 2, 3)
    joints = [joint for joint in (*TORSO, 9, 12) if joint not in hidden]
    for sample in range(6):
        points, images = (pose[sample, joints, :2].double().numpy() for pose in (target, source))
        np.testing.assert_allclose(affines[sample, 0].numpy(), reference_affine(points, images), rtol=1e-4, atol=1e-2)


def test_the_body_s_affine_needs_three_joints() -> None:
    affines, valid = body_affine(hide(poses(2, 1), *TORSO[:2], 9, 12), poses(2, 2))
    assert not valid.any()
    torch.testing.assert_close(affines, torch.eye(2, 3).expand(2, 1, 2, 3))


def test_a_turned_person_is_mirrored_in_the_torso_and_the_body() -> None:
    target, source = poses(3), poses(3)
    source[..., 0] = 63 - source[..., 0]  # every joint on the other side, as of somebody seen from behind
    for affine in (part_affines(source, target)[0][:, 0], body_affine(source, target)[0][:, 0]):
        torch.testing.assert_close(affine, torch.tensor([[-1.0, 0, 63], [0, 1, 0]]).expand(3, 2, 3), rtol=0, atol=1e-2)


def test_poses_between_lie_on_straight_lines_in_equal_steps() -> None:
    source, target = poses(2, 1), poses(2, 2)
    source[..., 2], target[..., 2] = 0.5, 0.8
    way = poses_between(source, target, 4)
    assert len(way) == 5
    assert way[0] is source and way[-1] is target
    for step, pose in enumerate(way):
        torch.testing.assert_close(pose[..., :2], source[..., :2] + (target - source)[..., :2] * step / 4)
    assert all(pose[..., 2].eq(0.5).all() for pose in way[:-1])
    back = poses_between(target, source, 4)
    for pose, other in zip(way, reversed(back), strict=True):
        torch.testing.assert_close(pose[..., :2], other[..., :2])
    assert poses_between(source, target, 1) == [source, target]


def test_between_poses_a_joint_of_one_end_is_missing() -> None:
    source, target = hide(poses(2, 1), RIGHT_ANKLE), hide(poses(2, 2), NECK)
    first, middle, last = poses_between(source, target, 2)
    assert middle[:, [RIGHT_ANKLE, NECK]].eq(0).all()
    assert middle.isfinite().all()
    assert middle[..., 2].sum() == 2 * (JOINT_COUNT - 2)
    assert first[:, NECK, 2].all() and last[:, RIGHT_ANKLE, 2].all()


def test_halfway_to_the_mirror_image_the_torso_is_a_line_and_moves_nothing() -> None:
    source, target = poses(2, noise=0), poses(2, noise=0)
    target[..., 0] = 64 - target[..., 0]
    middle = poses_between(source, target, 2)[1]
    middle[:, TORSO, 0] = 32  # exactly
    affines, valid = part_affines(source, middle)
    assert not valid[:, 0].any()
    assert affines.isfinite().all()


def test_three_torso_joints_give_their_exact_affine() -> None:
    source, target = poses(3, 1), hide(poses(3, 2), RIGHT_SHOULDER)
    affines, valid = part_affines(source, target)
    joints = [joint for joint in TORSO if joint != RIGHT_SHOULDER]
    assert valid[:, 0].all()
    torch.testing.assert_close(apply(affines[:, 0], target[:, joints, :2]), source[:, joints, :2], rtol=0, atol=1e-3)


def test_the_fit_forgets_the_points_not_chosen() -> None:
    generator = torch.Generator().manual_seed(0)
    points, images = torch.randn(2, 5, 6, 2, generator=generator, dtype=torch.float64)
    chosen = torch.tensor([True, True, False, True, True, False]).expand(5, 6)
    all_of_fewer = fit_affine(points[:, chosen[0]], images[:, chosen[0]], torch.ones(5, 4, dtype=torch.bool))
    torch.testing.assert_close(fit_affine(points, images, chosen), all_of_fewer)


def published() -> tuple[npt.NDArray[np.str_], Tensor]:
    """Identities `(N,)` and poses `(N, 18, 3)` of the published train images that have a torso."""
    lines = [line.split(":") for line in MARKET.read_text().splitlines()[1:]]
    identities = np.array([name.split("_")[0] for name, _, _ in lines])
    y, x = (np.array([json.loads(line[column]) for line in lines], dtype=np.float32) for column in (1, 2))
    pose = np.stack((x, y, (x >= 0) & (y >= 0)), axis=2)
    kept = (pose[:, list(TORSO), 2] > 0).all(1) & ~np.isin(identities, ["0000", "-1"])
    return identities[kept], torch.from_numpy(pose[kept])


@pytest.mark.skipif(not MARKET.is_file(), reason=f"the published Market-1501 annotations are not at {MARKET}")
def test_usable_parts_on_the_published_annotations() -> None:
    """The shares measured on random same-identity train pairs: torso 100 %, head 71 %, thighs 92 %, ..."""
    identities, pose = published()
    assert len(pose) == 12_116
    first, second = np.nonzero(identities[:, None] == identities[None, :])
    pairs = np.stack((first, second))[:, first != second]
    assert pairs.shape[1] == 263_632
    chosen = pairs[:, np.random.default_rng(0).choice(pairs.shape[1], 20_000, replace=False)]
    affines, valid = part_affines(pose[chosen[0]], pose[chosen[1]])
    share = valid.double().mean(0)
    expected = [1.0, 0.71, 0.92, 0.92, 0.72, 0.72, 0.78, 0.78, 0.52, 0.52]
    pooled = torch.cat((share[:2], share[2:].view(4, 2).mean(1).repeat_interleave(2)))
    np.testing.assert_allclose(pooled.numpy(), expected, atol=0.015)
    determinant = torch.linalg.det(affines[:, 0, :, :2].double())
    assert abs((determinant < 0).double().mean().item() - 0.487) < 0.015
    assert affines.isfinite().all()
