"""The generators that come with the program: each a folder of `posegan/generators/` with weights in half precision and a card."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[1] / "generators"
GENERATOR, CARD = "generator.safetensors", "card.json"
DEFAULT = "real"  # what draws where nobody names a model and none was trained
FOR_DRAWN = "drawn"  # what draws the drawn people that come with the program


class Shipped(NamedTuple):
    """A generator that comes with the program, as its card describes it."""

    name: str
    path: Path
    trained_on: str  # in words
    terms: str


@cache
def shipped_generators() -> dict[str, Shipped]:
    """All of them by name."""
    return {path.parent.name: _shipped(path) for path in sorted(FOLDER.glob(f"*/{CARD}"))}


def _shipped(card_path: Path) -> Shipped:
    card: dict[str, Any] = json.loads(card_path.read_text(encoding="utf-8"))
    return Shipped(card_path.parent.name, card_path.with_name(GENERATOR), card["trained_on"], card["terms"])
