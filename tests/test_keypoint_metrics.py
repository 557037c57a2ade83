"""PCK and PCKh by hand."""

import torch
from torch import Tensor

from posegan.metrics.keypoints import head_boxes, pck, pckh, pckh_paper
from posegan.skeleton import person_heights


def test_pck_counts_visible_target_joints_within_the_threshold() -> None:
    target = torch.zeros(1, 18, 3)
    target[0, :4] = torch.tensor([[0.0, 0.0, 1.0], [10.0, 0.0, 1.0], [20.0, 0.0, 1.0], [30.0, 40.0, 1.0]])
    detected = target.clone()
    detected[0, 1, 0] += 3  # exactly at the threshold
    detected[0, 2, 0] += 3.01  # just beyond it
    detected[0, 3, 2] = 0  # in its place, but not found
    detected[0, 5] = torch.tensor([1.0, 1.0, 1.0])  # found, but not in the target
    hits, counted = pck(detected, target, torch.tensor([3.0]))
    assert hits[0].nonzero().flatten().tolist() == [0, 1]
    assert counted[0].nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert person_heights(target).tolist() == [40]
    assert person_heights(torch.zeros(1, 18, 3)).tolist() == [0]


def person_with_head() -> Tensor:
    """Neck at (20, 30), eyes 8 px apart and 16 px above it, a wrist: a head box of 8 x 16, diagonal 17.9."""
    target = torch.zeros(1, 18, 3)
    for joint, place in {1: (20.0, 30.0), 14: (16.0, 14.0), 15: (24.0, 14.0), 4: (40.0, 60.0)}.items():
        target[0, joint] = torch.tensor([*place, 1.0])
    return target


def test_pckh_allows_half_the_head() -> None:
    target = person_with_head()
    assert head_boxes(target).tolist() == [[8.0, 16.0]]
    detected = target.clone()
    detected[0, 4, 0] += 8.9  # half the diagonal is 8.94
    hits, counted = pckh(detected, target)
    assert (hits.sum(), counted.sum()) == (4, 4)
    detected[0, 4, 0] += 0.1
    assert pckh(detected, target)[0].sum() == 3


def test_patn_s_pckh_has_a_limit_for_each_axis() -> None:
    target = person_with_head()
    for axis, limit in ((0, 4.0), (1, 8.0)):
        for off, found in ((limit - 0.1, 4), (limit, 3)):
            detected = target.clone()
            detected[0, 4, axis] += off
            hits, counted = pckh_paper(detected, target)
            assert (hits.sum(), counted.sum()) == (found, 4)


def test_a_pose_without_a_head_counts_in_neither() -> None:
    target = person_with_head()
    target[0, 14:, 2] = 0  # only the neck is left of the box
    for score in (pckh, pckh_paper):
        hits, counted = score(target, target)
        assert hits.sum() == counted.sum() == 0
