"""The card of a shipped generator: what it learned from, on what terms, and how good it is; and the page of all cards."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.generators.plans import PLANS
from posegan.files import sha256_of, write_atomically
from posegan.inference.shipped import CARD, GENERATOR
from posegan.model.generator_file import DISCRIMINATOR, load_generator, read_generator_card, save_generator
from posegan.model.networks import Discriminator, Generator
from posegan.training.initial import DISCRIMINATOR_SHA256, read_discriminator, save_discriminator

# What a card has of metrics.json, for each kind of test pairs: columns, and the rows that they are measured for.
COLUMNS = ("ssim", "mask_ssim", "mask_l1", "pck", "ds", "sharpness")
ROWS = {"generated": "", "warped": "warp_", "copied": "copy_", "real": "real_"}
_PERFECT = {"ssim": 1.0, "mask_ssim": 1.0, "mask_l1": 0.0, "sharpness": 1.0}  # of the real image against itself


def pack(name: str, ends: Sequence[Path], folder: Path, stretches: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    """Write a training's generator and discriminator in half precision into `folder`, with a card that has no figures yet.

    Args:
        name: of the plan.
        ends: the folders that the train stage wrote, of each stretch whose generator counts: the mean of their weights is taken
            (Izmailov et al., "Averaging Weights Leads to Wider Optima", 2018), and the last one's discriminator.
        folder: that of the shipped generator.
        stretches: the sections `train` and `loss` that it was trained with, one pair after the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    models = ends[-1]
    made = read_generator_card(models / GENERATOR)
    judge = Discriminator(made.model)
    judge.load_state_dict(read_discriminator(models / DISCRIMINATOR, made.model))
    judged = save_discriminator(folder / DISCRIMINATOR, judge, made.model, torch.float16)
    provenance = made.provenance | {"shipped_as": name, DISCRIMINATOR_SHA256: judged}
    save_generator(folder / GENERATOR, mean_generator([end / GENERATOR for end in ends]), made.model, made.image, provenance, torch.float16)
    pairs = sum(stretch["train"]["iterations"] * stretch["train"]["batch_size"] for stretch in stretches)
    plan = PLANS[name]
    write_card(
        folder,
        {
            "name": name,
            "sha256": sha256_of(folder / GENERATOR),
            "bytes": (folder / GENERATOR).stat().st_size,
            "size": [made.image.height, made.image.width],
            "trained_on": f"{pairs:,} pairs of {plan.people}",
            "terms": plan.terms,
            "remark": plan.remark,
            "command": f"python -m pipeline.generators train {name}",
            "recipe": provenance["recipe"],
            "model": made.model.model_dump(),
            "train": [{key: value for key, value in sorted(stretch["train"].items()) if key != "initial"} for stretch in stretches],
            "loss": [dict(stretch["loss"]) for stretch in stretches],
            "averaged": list(plan.averaged),
            "torch": provenance["torch"],
            "measured": {},
        },
    )


def mean_generator(paths: Sequence[Path]) -> Generator:
    """The generator of the last file with the mean of the weights of all, which are of one architecture."""
    generators = [load_generator(path) for path in paths]
    with torch.no_grad():
        for weights in zip(*(generator.parameters() for generator in generators), strict=True):
            weights[-1].copy_(torch.stack(weights).mean(dim=0))
    return generators[-1]


def save_mean(path: Path, paths: Sequence[Path]) -> None:
    """Write `mean_generator` of `paths` to `path`, which may be the last of them, with the card of that."""
    made = read_generator_card(paths[-1])
    save_generator(path, mean_generator(paths), made.model, made.image, made.provenance)


def figures(metrics: Mapping[str, Any], detector: str) -> dict[str, Any]:
    """The card's part of one kind of test pairs, from their metrics.json; `detector` found the joints behind DS and PCK."""
    rows = {
        row: {column: _PERFECT[column] if row == "real" and column in _PERFECT else metrics.get(f"{prefix}{column}") for column in COLUMNS}
        for row, prefix in ROWS.items()
    }
    return {"pairs": metrics["pairs"], "detector": detector, "rows": rows}


def write_card(folder: Path, changes: Mapping[str, Any]) -> None:
    """Write the card in `folder`, or change these parts of the one that is there; and the page of all cards beside the folders."""
    path = folder / CARD
    card = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_atomically(path, json.dumps({**card, **changes}, indent=1) + "\n")
    cards = [json.loads(each.read_text(encoding="utf-8")) for each in sorted(folder.parent.glob(f"*/{CARD}"))]
    write_atomically(folder.parent / "README.md", page(cards))


def page(cards: Sequence[Mapping[str, Any]]) -> str:
    """All cards as a page to read."""
    head = "# Generators that come with the program\n\nWritten from their cards by `python -m pipeline.generators`.\n"
    return "\n".join([head, *(_section(card) for card in cards)])


def _section(card: Mapping[str, Any]) -> str:
    height, width = card["size"]
    facts = [
        f"## {card['name']}\n",
        f"- {height} x {width} pixels, recipe {card['recipe']}, {card['model']['generator_channels']} channels at the first level, "
        f"half precision, {card['bytes'] / 1e6:.1f} MB, SHA-256 {card['sha256']}",
        f"- trained on {card['trained_on']}",
        f"- terms: {card['terms']}",
        *_means(card["averaged"]),
        *([f"- {card['remark']}"] if card["remark"] else []),
        f"- made by `{card['command']}`",
    ]
    return "\n".join([*facts, *(_table(kind, each) for kind, each in card["measured"].items()), ""])


def _means(averaged: Sequence[int]) -> list[str]:
    """Where weights were averaged, told in a line."""
    means = [f"after stretch {number}, the mean of what {count} came to" for number, count in enumerate(averaged, 1) if count > 1]
    return [f"- weights averaged: {'; '.join(means)}"] if means else []


def _table(kind: str, each: Mapping[str, Any]) -> str:
    lines = [
        f"\n{each['pairs']:,} test pairs of {kind} people, whom no training saw; joints found by {each['detector']}:\n",
        "| | " + " | ".join(COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for row, values in each["rows"].items():
        lines.append(f"| {row} | " + " | ".join("" if values[column] is None else f"{values[column]:.3f}" for column in COLUMNS) + " |")
    return "\n".join(lines)
