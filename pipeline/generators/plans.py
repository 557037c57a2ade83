"""What each shipped generator learns from, as changes to params.yaml, and on which pairs generators are measured."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from posegan.errors import PoseGANError
from posegan.files import sha256_of
from posegan.formats.pair_csv import read_pair_csv

Changes = Mapping[str, Mapping[str, Any]]
ANNOTATIONS = ("market-annotation-train.csv", "market-annotation-test.csv")
PAIRS = "market-pairs-test.csv"


class Plan(NamedTuple):
    """One shipped generator."""

    people: str  # whom it learns to draw
    terms: str
    stretches: tuple[Changes, ...]  # to the sections `train` and `loss`; each but the first goes on from the one before
    averaged: tuple[int, ...] = (1,)  # a stretch comes to the mean of so many weights: its end, and what those before it came to
    remark: str = ""  # what is not as this plan would make it today


_REAL = {
    "batch_size": 8, "ema_decay": 0.998, "precision": "bfloat16", "channels_last": True, "pool_identities": 200, "sample_every": 1000,
    "log_every": 50,
}  # fmt: skip
PLANS = {
    "real": Plan(
        "real people: Market-1501's train images with the published joints",
        "Trained on Market-1501, whose images may be used for research only: so may these weights and what they draw.",
        (
            {
                "train": _REAL | {"iterations": 10_000, "constant_rate": 0.6, "validate_every": 1000, "checkpoint_every": 250},
                "loss": {"l1": 30.0, "feature_matching": 3.0},
            },
            {  # longer at a high rate, the discriminator wins in the end: docs/log.md
                "train": _REAL
                | {"iterations": 7_000, "constant_rate": 0.4, "validate_every": 500, "checkpoint_every": 500, "keep_checkpoints": 20},
                "loss": {"l1": 30.0, "l1_block": 1, "l1_ground": 0.1},
            },
            {  # which the penalty prevents
                "train": _REAL
                | {"iterations": 12_000, "constant_rate": 0.5, "sample_every": 2000, "validate_every": 500, "checkpoint_every": 500,
                   "keep_checkpoints": 4},
                "loss": {"l1": 30.0, "l1_block": 1, "l1_ground": 0.1, "gradient_penalty": 0.02},
            },
            {  # a longer average is worth more than a low rate at the end
                "train": _REAL
                | {"iterations": 4_500, "constant_rate": 0.8, "ema_decay": 0.9995, "sample_every": 1500, "validate_every": 500,
                   "checkpoint_every": 500, "keep_checkpoints": 4},
                "loss": {"l1": 30.0, "l1_block": 1, "l1_ground": 0.1, "gradient_penalty": 0.02},
            },
            {  # VGG-19's relu2_1, whose channels had a mean of 1; for features of another scale the weight is another
                "train": _REAL
                | {"seed": 4, "iterations": 8_000, "constant_rate": 0.7, "ema_decay": 0.9995, "sample_every": 2000, "validate_every": 1000,
                   "checkpoint_every": 500, "keep_checkpoints": 6},
                "loss": {"l1": 20.0, "l1_block": 1, "l1_ground": 0.1, "gradient_penalty": 0.02, "perceptual": 0.5},
            },
        ),
        averaged=(1, 1, 1, 3, 2),
        remark="Its first 80,000 pairs were seen before pictures began with the copies laid together; its last stretch looked through "
        "Caffe's VGG-19, each channel divided by its mean (SHA-256 ffa1d587c1f3).",
    ),
    "drawn": Plan(
        "drawn people: the built-in sample's train images",
        "AGPL-3.0-or-later, as the program: nobody's picture was used.",
        ({},),
    ),
}  # fmt: skip


class Market(NamedTuple):
    """Where the files of Market-1501 are.

    Attributes:
        archive: its zip, whole or in part.
        annotations: a folder of the published joints, `ANNOTATIONS`.
        pairs: the list of test pairs; None: `PAIRS` in that folder.
        judge: weights of a detector that sees such images; "": the shipped one.
        vgg: weights of VGG-19 for the stretches that look at features; None: torchvision's official ones.
    """

    archive: Path
    annotations: Path
    pairs: Path | None = None
    judge: str = ""
    vgg: Path | None = None

    @property
    def pair_list(self) -> Path:
        """The list of test pairs."""
        return self.pairs or self.annotations / PAIRS

    def checked(self) -> "Market":
        """The same, once every file is there.

        Raises:
            PoseGANError: one is not.
        """
        for path in (self.archive, *(self.annotations / name for name in ANNOTATIONS), self.pair_list):
            if not path.is_file():
                raise PoseGANError(
                    f"{path}: no such file; docs/market1501.md tells where Market-1501 and its published joints and pairs are"
                )
        if self.vgg and not self.vgg.is_file():
            raise PoseGANError(f"{self.vgg}: no such file; without --vgg torchvision's official VGG-19 is taken")
        return self


def data_of(kind: str, market: Market | None) -> Changes:
    """The changes to params.yaml that give the images, joints and test pairs of a plan's kind, `drawn` or `real`.

    Raises:
        PoseGANError: real ones are wanted, and where they are was not said.
    """
    if kind == "drawn":
        return {"dataset": {"source": "sample"}}
    if market is None:
        raise PoseGANError("--real and --annotations are missing: the zip of Market-1501 and the folder of its published joints")
    market.checked()
    judge = {"weights": str(Path(market.judge).absolute()), "image_size": 256} if market.judge else {}
    features = {"weights": str(market.vgg.absolute()), "sha256": sha256_of(market.vgg)} if market.vgg else {"weights": "official"}
    return {
        "dataset": {"source": "archive", "path": str(market.archive.absolute())},
        "pose": {"source": "annotations", "annotations": [str((market.annotations / name).absolute()) for name in ANNOTATIONS],
                 "trust_unpinned": bool(market.judge)},
        "pair": {"test_pairs": str(market.pair_list.absolute())},
        "features": features,
        "evaluate": {"pairs": sum(1 for _ in read_pair_csv(market.pair_list)), "detector": judge},
    }  # fmt: skip


def changed(params: Mapping[str, Any], *changes: Changes) -> dict[str, Any]:
    """`params` with these values in place of its own; sections within sections too."""
    result = copy.deepcopy(dict(params))
    for change in changes:
        for section, values in change.items():
            for key, value in values.items():
                if isinstance(value, Mapping):
                    result[section][key].update(value)
                else:
                    result[section][key] = value
    return result
