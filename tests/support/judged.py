"""Evaluations made up by tests: pictures that say which pair they belong to, poses seen from known sides."""

import pandas as pd
import torch

from pipeline.evaluate.album import AlbumMaker
from pipeline.evaluate.report import Evaluation
from posegan.data import PairBatch
from posegan.model.generator_file import GeneratorCard
from posegan.skeleton import JOINT_COUNT, LEFT_HIP, LEFT_SHOULDER, NOSE, RIGHT_HIP, RIGHT_SHOULDER
from tests.support.tiny_run import tiny_params

SIZE = 32
METRICS = ("ssim", "mask_ssim", "l1", "psnr", "ds", "pck", "found")


def names(count: int) -> list[str]:
    return [f"bounding_box_test/{number // 2 + 1:04d}_c1s1_{number:06d}_01.jpg" for number in range(count)]


def flat(level: int) -> torch.Tensor:
    return torch.full((3, SIZE, SIZE), level, dtype=torch.uint8)


def pose(side: str) -> torch.Tensor:
    """A torso seen from the front, from behind, or facing right."""
    half = {"front": 6, "back": -6, "right": 0}[side]
    joints = torch.zeros(JOINT_COUNT, 3)
    for joint, place in {
        RIGHT_SHOULDER: (16 - half, 8),
        LEFT_SHOULDER: (16 + half, 8),
        RIGHT_HIP: (16 - half, 20),
        LEFT_HIP: (16 + half, 20),
    }.items():
        joints[joint] = torch.tensor([*place, 1.0])
    joints[NOSE] = torch.tensor([18.0, 4.0, 1.0])
    return joints


def batch(sources: list[str], targets: list[str], sides: tuple[str, str] = ("front", "back")) -> PairBatch:
    """Real images are flat: the level is the image's number times 10."""
    ends = (torch.stack([flat(10 * int(name.split("_")[-2])) for name in some]) for some in (sources, targets))
    poses = (torch.stack([pose(side)] * len(sources)) for side in sides)
    return PairBatch(*ends, *poses, tuple(sources), tuple(targets))


def evaluation(scores: list[float], level: int = 200, provenance: dict[str, str] | None = None, **columns: list[float]) -> Evaluation:
    """Pairs of image i with image i + 1 whose SSIM are `scores`; generated pictures are flat, `level` + i."""
    count = len(scores)
    images = names(count + 1)
    maker = AlbumMaker()
    maker.add(batch(images[:-1], images[1:]), torch.stack([flat(level + number) for number in range(count)]))
    table = pd.DataFrame(
        {
            "source": images[:-1],
            "target": images[1:],
            "generated_ssim": scores,
            "warped_ssim": [0.25] * count,
            "copy_source_ssim": [0.2] * count,
            **columns,
        }
    )
    summary = {
        method: dict.fromkeys(METRICS, value)
        for method, value in (("generated", 0.4321), ("warped", 0.25), ("copy_source", 0.2), ("real_target", 1.0))
    }
    summary["real_target"]["psnr"] = float("inf")
    params = tiny_params()
    card = GeneratorCard(params.model, params.image, provenance or {"features": "<b>random</b>", "seed": "7"})
    return Evaluation(table, summary, maker.finish(), card, params)
