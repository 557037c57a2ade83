"""Laws of the joint tables, and of the way from COCO's 17 joints to the 18."""

import numpy as np
import numpy.typing as npt
import pytest

from posegan.skeleton import (
    BONES,
    COCO_JOINTS,
    HEAD,
    JOINT_COUNT,
    JOINTS,
    LIMBS,
    MASK_PAIRS,
    MIRROR,
    MIRROR_LIMB,
    NECK,
    PART_COUNT,
    PARTS,
    TORSO,
    from_coco,
)


def other_side(name: str) -> str:
    swap = {"left": "right", "right": "left"}
    side, _, rest = name.partition("_")
    return f"{swap[side]}_{rest}" if side in swap else name


def coco(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0.1, 100, (*shape, 17, 3)).astype(np.float32)


def test_mirror_swaps_left_and_right_and_is_its_own_inverse() -> None:
    assert [JOINTS[joint] for joint in MIRROR] == [other_side(name) for name in JOINTS]
    assert [MIRROR[joint] for joint in MIRROR] == list(range(JOINT_COUNT))


def test_mirrored_limbs_join_mirrored_joints() -> None:
    for limb, mirrored in zip(LIMBS, (LIMBS[index] for index in MIRROR_LIMB), strict=True):
        assert (mirrored.start, mirrored.end, mirrored.reach) == (MIRROR[limb.start], MIRROR[limb.end], limb.reach)
        assert mirrored.name == other_side(limb.name)


def test_the_ten_parts_stand_in_the_paper_s_order() -> None:
    assert PARTS[:3] == ("torso", "head", "right_thigh")
    assert len(PARTS) == PART_COUNT == 10
    assert {MIRROR[joint] for joint in TORSO} == set(TORSO)
    assert {MIRROR[joint] for joint in HEAD} == set(HEAD)


def test_bones_are_a_tree_and_look_the_same_in_the_mirror() -> None:
    assert len(BONES) == JOINT_COUNT - 1
    reached = {NECK}
    for _ in BONES:
        reached |= {joint for bone in BONES if reached & set(bone) for joint in bone}
    assert reached == set(range(JOINT_COUNT))
    assert {frozenset(bone) for bone in BONES} == {frozenset(MIRROR[joint] for joint in bone) for bone in BONES}


def test_mask_pairs_are_23_distinct_and_look_the_same_in_the_mirror() -> None:
    pairs = {frozenset(pair) for pair in MASK_PAIRS}
    assert len(pairs) == len(MASK_PAIRS) == 23
    assert pairs == {frozenset(MIRROR[joint] for joint in pair) for pair in pairs}


def test_named_joints_keep_their_place_and_confidence() -> None:
    given = coco(2, 3)
    joints = from_coco(given)
    assert joints.shape == (2, 3, JOINT_COUNT, 3)
    assert joints.dtype == np.float32
    for index, name in enumerate(JOINTS):
        if name != "neck":
            np.testing.assert_array_equal(joints[..., index, :], given[..., COCO_JOINTS.index(name), :])


def test_the_neck_is_the_midpoint_of_the_shoulders_with_the_smaller_confidence() -> None:
    given = coco(4)
    left, right = (given[:, COCO_JOINTS.index(f"{side}_shoulder")] for side in ("left", "right"))
    neck = from_coco(given)[:, NECK]
    np.testing.assert_allclose(neck[:, :2], (left[:, :2] + right[:, :2]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(neck[:, 2], np.minimum(left[:, 2], right[:, 2]))


def test_a_missing_shoulder_means_no_neck_and_missing_joints_are_zero() -> None:
    given = coco(1)
    given[0, COCO_JOINTS.index("left_shoulder"), 2] = 0
    joints = from_coco(given)[0]
    assert not joints[[NECK, JOINTS.index("left_shoulder")]].any()
    assert joints[JOINTS.index("right_shoulder"), 2] > 0


def test_the_input_is_not_changed() -> None:
    given = coco(1)
    given[..., 2] = 0
    before = given.copy()
    from_coco(given)
    np.testing.assert_array_equal(given, before)


def test_another_number_of_joints_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected shape \(\.\.\., 17, 3\), got \(1, 18, 3\)"):
        from_coco(np.zeros((1, 18, 3), dtype=np.float32))
