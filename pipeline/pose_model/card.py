"""The card of detector weights, `NAME.json` beside `NAME.pt`: what they are, what made them, and what they are good at.

A program can look up in `measured` on which kinds of pictures they were measured, at which input size they were best, and how good.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.pose_model.measure import BINS, PERSON_CONFIDENCE, Bin, Score
from pipeline.pose_model.report import Measured, Report
from posegan.errors import PoseGANError
from posegan.files import sha256_of, write_atomically

TERMS = (
    "AGPL-3.0-or-later, as the weights that training started from. Trained on Market-1501 too, whose images may be used for research "
    "only: so may these weights, and what they find."
)

_FIFTHS = {
    "joints": "joints, by their confidence",
    "people_by_joints": "people, by the mean confidence of their joints found",
    "people": "people, by the confidence that somebody is there",
}
_PAGE, _HEAD = "README.md", "# Weights of the pose detector"  # of all cards of a folder


def provenance(weights: Path, start: Path, trained_on: Mapping[str, int], training: Mapping[str, Any]) -> dict[str, Any]:
    """The card's part that is known without measuring; `trained_on` counts pictures by kind, `training` tells how."""
    return {
        "name": weights.stem,
        "file": weights.name,
        "sha256": sha256_of(weights),
        "bytes": weights.stat().st_size,
        "architecture": "yolov8n-pose",
        "joints": "COCO-17",
        "started_from": {
            "name": start.stem,
            "sha256": sha256_of(start),
            "what": "Ultralytics' official YOLOv8n-pose, trained on COCO, its weights read back from an 8-bit export",
            "license": "AGPL-3.0",
        },
        "trained_on": dict(trained_on),
        "training": {"command": "python -m pipeline.pose_model train", **training},
        "terms": TERMS,
    }


def figures(report: Report) -> dict[str, Any]:
    """The card's part that was measured."""
    return {
        "person_confidence": PERSON_CONFIDENCE,
        "measured": {each.kind: _measured(each) for each in report.people},
        "without_people": {
            str(size): {kind: {"pictures": count, "somebody_found": hits} for kind, (hits, count) in found.items()}
            for size, found in report.invented.items()
        },
        "not_measured": report.skipped,
    }


def _measured(measured: Measured) -> dict[str, Any]:
    return {
        "what": measured.title,
        "within_pixels": measured.pixels,
        "best_image_size": measured.best,
        "image_sizes": {str(size): _score(each) for size, each in measured.scores.items()},
        "right_by_confidence": {
            "bins": BINS,
            "joints": [_bin(each) for each in measured.joints],
            "people": [_bin(each) for each in measured.people],
            "people_by_joints": [_bin(each) for each in measured.people_by_joints],
        },
    }


def _score(each: Score) -> dict[str, float]:
    return {name: round(value, 4) for name, value in each._asdict().items()}


def _bin(each: Bin) -> dict[str, float]:
    return {name: round(value, 4) for name, value in each._asdict().items()}


def card_of(weights: Path) -> Path:
    """Where the card of `weights` stands."""
    return weights.with_suffix(".json")


def check_cards(weights: Path) -> None:
    """Raise `PoseGANError` where the card of `weights`, or the page of all cards beside it, would replace a file of somebody else."""
    path, page = card_of(weights), weights.parent / _PAGE
    if path.exists() and not _is_card(path):
        raise PoseGANError(f"{path}: not a card of weights, and one of that name is written there; choose another name for the weights")
    if page.exists() and not page.read_text(encoding="utf-8", errors="replace").startswith(_HEAD):
        raise PoseGANError(f"{page}: not a page of weights, and one of that name is written there; choose a folder of their own for them")


def write_card(weights: Path, changes: Mapping[str, Any]) -> None:
    """Write the card of `weights`, or change these parts of the one that is there; and the folder's README.md anew.

    Raises:
        PoseGANError: as `check_cards`.
    """
    check_cards(weights)
    path = card_of(weights)
    card = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_atomically(path, json.dumps({**card, **changes}, indent=1) + "\n")
    cards = [json.loads(each.read_text(encoding="utf-8")) for each in sorted(path.parent.glob("*.json")) if _is_card(each)]
    write_atomically(path.parent / _PAGE, readme(cards))


def _is_card(path: Path) -> bool:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and bool({"sha256", "measured", "terms"} & card.keys())


def readme(cards: Sequence[Mapping[str, Any]]) -> str:
    """All cards of a folder as a page to read."""
    return "\n".join(
        [
            f"{_HEAD}\n\nWritten from the cards beside them (`.json`) by `python -m pipeline.pose_model`.\n",
            *(_section(card) for card in cards),
        ]
    )


def _section(card: Mapping[str, Any]) -> str:
    facts = [
        f"## {card.get('file', 'weights')}\n",
        f"- SHA-256 {card.get('sha256')}, {card.get('bytes', 0) / 1e6:.2f} MB, {card.get('architecture')}, joints of {card.get('joints')}",
        f"- started from: {_started(card.get('started_from'))}",
        "- trained on: " + "; ".join(f"{count:,} {kind}" for kind, count in card.get("trained_on", {}).items()),
        f"- terms: {card.get('terms')}",
        *(f"- {note}" for note in card.get("notes", [])),
    ]
    tables = [_table(each) for each in card.get("measured", {}).values()]
    return "\n".join([*facts, *tables, _nobody(card.get("without_people", {}))])


def _started(start: Mapping[str, str] | None) -> str:
    return f"{start['name']} ({start['what']}; {start['license']}), SHA-256 {start['sha256']}" if start else "random weights"


def _table(each: Mapping[str, Any]) -> str:
    pixels, best = each["within_pixels"], str(each["best_image_size"])
    lines = [f"\n| {each['what']}: input, px | people | found | joints within {pixels:g} px | sides exchanged |", "|---|---|---|---|---|"]
    for size, figure in each["image_sizes"].items():
        name = f"**{size}**" if size == best else size
        lines.append(f"| {name} | {figure['people']:,} | {figure['found']:.1%} | {figure['right']:.3f} | {figure['exchanged']:.1%} |")
    return "\n".join([*lines, *_fifths(each.get("right_by_confidence", {}), best)])


def _fifths(by_confidence: Mapping[str, Any], best: str) -> list[str]:
    rows = [(title, by_confidence[key]) for key, title in _FIFTHS.items() if key in by_confidence]
    if not rows:
        return []
    head = f"\n| at {best} px, fifths from the least sure: mean confidence -> joints right | 1 | 2 | 3 | 4 | 5 |"
    lines = [f"| {title} | " + " | ".join(f"{part['mean']:.2f} -> {part['right']:.3f}" for part in parts) + " |" for title, parts in rows]
    return [head, "|---|---|---|---|---|---|", *lines]


def _nobody(sizes: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    if not sizes:
        return ""
    counts = []
    for size, kinds in sizes.items():
        hits, pictures = (sum(kind[name] for kind in kinds.values()) for name in ("somebody_found", "pictures"))
        counts.append(f"{hits} of {pictures} at {size} px")
    return "\nSomebody found where nobody is, pictures of kinds and sources that no training saw: " + ", ".join(counts) + ".\n"
