"""The name of a run, under which its states lie: only runs share one that learn the same from the same and log the same."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from posegan.config import Params
from posegan.files import write_atomically
from posegan.training.checkpoints import saved_steps

_SECTIONS = ("image", "model", "loss", "features", "train")
# Of the section train: what changes neither weights nor DVC's logs, or is told and checked elsewhere.
FREE = {
    "checkpoint_every",
    "keep_checkpoints",
    "corrupt",  # a state says which samples it did without
    "device",  # a state may go on elsewhere; bit-equal are runs on one processor alone
    "tensorboard",  # the same numbers once more
    "initial",  # where a file lies; its SHA-256 counts
}
_NAME = re.compile(r"[0-9a-f]{16}")
_RECORD = "run.json"
_MOST_TOLD = 6


def run_content(params: Params, shards_sha256: str, code_sha256: str) -> dict[str, Any]:
    """All that decides a run's weights and logs.

    How many processes share it does not count, so that another number of them may go on with it. The code that trains
    counts, so that a run after an edited loss never continues, or passes off as its own, what the old loss had trained.
    """
    sections = {name: getattr(params, name).model_dump() for name in _SECTIONS}
    sections["train"] = {key: value for key, value in sections["train"].items() if key not in FREE}
    if sections["features"]["sha256"]:
        del sections["features"]["weights"]  # where the file lies
    return {"params": sections, "shards": shards_sha256, "code": code_sha256, "torch": torch.__version__}


def run_name(content: dict[str, Any]) -> str:
    """16 hex digits that stand for the content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def record_run(folder: Path, content: dict[str, Any]) -> None:
    """Note beside a run's states what its name stands for."""
    write_atomically(folder / _RECORD, json.dumps(content, indent=1, sort_keys=True) + "\n")


def passed_over(states: Path, content: dict[str, Any]) -> str:
    """Which states of other runs lie in `states` and how the newest one's run differs, in words; empty where there are none."""
    own = run_name(content)
    others = [folder for folder in states.glob("*") if _NAME.fullmatch(folder.name) and folder.name != own and saved_steps(folder)]
    if not others:
        return ""
    newest = max(others, key=lambda folder: (folder.stat().st_mtime_ns, folder.name))
    iterations, differences = "", ["what, is not recorded"]
    try:
        record = json.loads((newest / _RECORD).read_text(encoding="utf-8"))
        iterations, differences = f" of {record['params']['train']['iterations']}", list(_differences(record, content))
    except (OSError, ValueError, KeyError, TypeError):  # of an earlier version
        pass
    told = ", ".join(differences[:_MOST_TOLD]) + (", ..." if len(differences) > _MOST_TOLD else "")
    more = f"; {len(others) - 1} more beside it" if len(others) > 1 else ""
    step = saved_steps(newest)[-1]
    return f"passes over {newest}, step {step}{iterations}, whose run differs in {told}{more}; old states stay until they are deleted"


def _differences(theirs: dict[str, Any], ours: dict[str, Any], place: str = "") -> Iterator[str]:
    for key in sorted(theirs.keys() | ours.keys()):
        name, (old, new) = f"{place}{key}".removeprefix("params."), (theirs.get(key), ours.get(key))
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{place}{key}.")
        elif old != new:
            yield f"the {name}" if name in ("code", "shards") else f"{name} ({old}, now {new})"
