"""The detector's training labels, and what counts as a right joint."""

import numpy as np
import pytest

from pipeline.pose_model import _COCO_MIRROR, _COCO_TO_JOINT, _draw_block, _label, _visible_errors
from posegan.skeleton import COCO_JOINTS, JOINTS, MIRROR, from_coco


def test_labels_give_the_joints_back_through_the_17_to_18_map():
    drawing = _draw_block(0, 1, 0, 3)[0][-1]
    values = np.array(_label(drawing).split(), float)
    coco = values[5:].reshape(17, 3)
    pixels = np.concatenate([coco[:, :2] * [64, 128] - 0.5, coco[:, 2:]], axis=1).astype(np.float32)
    pixels[coco[:, 2] == 0] = 0
    known = [joint for joint in _COCO_TO_JOINT if drawing.joints[joint, 2] > 0]
    np.testing.assert_allclose(from_coco(pixels)[known], drawing.joints[known], atol=1e-3)
    assert (values[1:5] >= 0).all()
    assert (values[1:5] <= 1).all()


def test_the_mirror_of_cocos_order_swaps_left_and_right():
    for joint, other in enumerate(_COCO_MIRROR):
        assert JOINTS.index(COCO_JOINTS[other]) == MIRROR[JOINTS.index(COCO_JOINTS[joint])]


def test_a_person_not_found_and_a_joint_not_found_are_infinitely_far():
    truth = np.zeros((18, 3), np.float32)
    truth[[0, 2]] = [[10, 20, 2], [30, 40, 2]]
    assert np.isinf(_visible_errors(truth, None)).tolist() == [True, True]
    found = truth.copy()
    found[0, 0] += 3
    found[2, 2] = 0
    assert sorted(_visible_errors(truth, found).tolist()) == [pytest.approx(3.0), np.inf]


def test_no_drawing_of_one_seed_is_drawn_by_another_stream():
    first, second = (_draw_block(0, stream, 0, 2)[0][0].jpeg for stream in (1, 2))
    assert first != second
