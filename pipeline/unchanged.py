"""A stage ends well only if what it read is at its end what it was at its beginning.

DVC takes the hashes of a stage's dependencies when the stage has ended. An edit while it ran would be recorded as what was used, and
the stage never run again for it. So an edit makes the stage end with an error, and nothing is recorded.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click
import yaml

from pipeline.stage_code import ROOT, stage_code
from posegan.config import Params, load_params
from posegan.errors import PoseGANError
from posegan.places import Output, PlacedCommand

_HASHED = 1 << 20  # bytes; larger files are told by their size and the time of their last change
_MOST_TOLD = 5


class StageCommand(PlacedCommand):
    """A stage as a command: it compares its inputs when it has run."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it.

        Raises:
            PoseGANError: its code, its sections of the parameters, or a file that it read was changed meanwhile; what, is named.
        """
        assert self.name is not None
        assert self.callback is not None
        params: Path = ctx.params["params_path"]
        read = [value for param in self.params if not isinstance(param.type, Output) and (value := ctx.params.get(param.name or ""))]
        inputs = [Path(value) for value in read if isinstance(value, str | Path) and value != params]
        code = self.callback.__module__
        outputs = [Path(value) for param in self.params if isinstance(param.type, Output) and (value := ctx.params.get(param.name or ""))]
        before = taken(self.name, code, params, inputs, outputs)
        result = super().invoke(ctx)
        changed = differences(before, taken(self.name, code, params, inputs, outputs))
        if str(params) in changed:  # it cannot be read, and all its values are missing
            changed = [str(params)]
        if changed:
            raise PoseGANError(
                f"{self.name}: changed while it ran: {', '.join(changed[:_MOST_TOLD])}{', ...' if len(changed) > _MOST_TOLD else ''}; "
                "what was written is of before the change; run the stage again"
            )
        return result


def taken(stage: str, module: str, params: Path, inputs: Sequence[Path], outputs: Sequence[Path] = ()) -> dict[str, object]:
    """What a stage depends on, by name: the parameters, its code, and the files of `inputs` and of the paths that parameters name.

    A folder may hold `outputs`, which are left out with what stands beside them; so may `data`, where it is read.
    """
    state: dict[str, object] = {}
    texts = list[str]()
    try:
        values = load_params(params)
        for section in sections_of(stage):
            for key, value in _leaves(getattr(values, section), section):
                state[key] = value
                texts += [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str) and text]
    except PoseGANError as error:
        state[str(params)] = str(error)
    for path in stage_code(module):
        state[path.relative_to(ROOT).as_posix()] = _mark(path)
    for place in {*inputs, *(Path(text) for text in texts if len(text) < 1000)}:
        if place.is_file():
            state[str(place)] = _mark(place)
        elif place.is_dir():
            state |= _marks_in(place, {output.absolute() for output in outputs})
    return state


def _marks_in(folder: Path, outputs: set[Path]) -> dict[str, object]:
    """Sizes and times of a folder's files; there may be many."""
    beside = {output.parent for output in outputs}
    marks: dict[str, object] = {}
    for path in folder.rglob("*"):
        place = path.absolute()
        if path.is_file() and place.parent not in beside and not outputs & set(place.parents):
            marks[str(path)] = _mark(path, hashed=0)
    return marks


def differences(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """The names whose values are not the same, or are there in one alone."""
    nothing = object()
    return sorted(name for name in before.keys() | after.keys() if before.get(name, nothing) != after.get(name, nothing))


@cache
def sections_of(stage: str) -> list[str]:
    """The sections of the parameters that a stage depends on, as dvc.yaml says. What a recipe decides is in them already."""
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["params"]
    return [name for name in declared if name in Params.model_fields and name not in ("recipe", "recipes")]


def _leaves(section: Any, place: str) -> Iterator[tuple[str, Any]]:
    values = section.model_dump() if hasattr(section, "model_dump") else section
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{place}.{key}")
        else:
            yield f"{place}.{key}", value


def _mark(path: Path, hashed: int = _HASHED) -> object:
    try:
        status = path.stat()
        return hashlib.sha256(path.read_bytes()).hexdigest() if status.st_size <= hashed else (status.st_size, status.st_mtime_ns)
    except OSError as error:
        return type(error).__name__
