"""A stage ends well only if what it read is all there, and at its end what it was at its beginning.

DVC takes the hashes of a stage's dependencies when the stage has ended. An edit while it ran would be recorded as what was used, and
the stage never run again for it. So an edit makes the stage end with an error, and nothing is recorded. What one of DVC's temporary
copies lacks of the workspace's inputs is told before the stage runs, and again with its error.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click
import yaml

from pipeline.stage_code import ROOT, stage_code
from pipeline.temporary_copy import left_behind, warning, workspace_of
from posegan.config import Params, load_params
from posegan.errors import PoseGANError
from posegan.places import Output, PlacedCommand

_HASHED = 1 << 20  # bytes; larger files are told by their size and the time of their last change
_MOST_TOLD = 5
_UNNAMED = {"evaluate": ["data/weights"]}  # what a stage looks into though no parameter names it
_LONGEST = 1000  # characters of a path


class StageCommand(PlacedCommand):
    """A stage as a command: it compares its inputs when it has run."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it.

        Raises:
            PoseGANError: as the stage; or its code, its sections of the parameters, or a file that it read was changed meanwhile, and is
                named.
        """
        assert self.name is not None
        assert self.callback is not None
        params: Path = ctx.params["params_path"]
        read = [value for param in self.params if not isinstance(param.type, Output) and (value := ctx.params.get(param.name or ""))]
        inputs = [Path(value) for value in read if isinstance(value, str | Path) and value != params]
        code = self.callback.__module__
        outputs = [Path(value) for param in self.params if isinstance(param.type, Output) and (value := ctx.params.get(param.name or ""))]
        before = taken(self.name, code, params, inputs, outputs)
        names = list(declared_stages())
        if soon := absent_in_copy(names[names.index(self.name) :], params):  # now, and not when the training has ended
            click.echo(f"{self.name}: {soon}", err=True)
        try:
            result = super().invoke(ctx)
        except PoseGANError as error:
            if absent := absent_in_copy([self.name], params):
                raise PoseGANError(f"{error}\n{absent}") from error
            raise
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
    values, state = dict[str, object](), dict[str, object]()
    try:
        values = _values(stage, params)
        state |= values
    except PoseGANError as error:
        state[str(params)] = str(error)
    for path in stage_code(module):
        state[path.relative_to(ROOT).as_posix()] = _mark(path)
    for place in {*inputs, *(Path(text) for text in _texts(values.values()))}:
        if place.is_file():
            state[str(place)] = _mark(place)
        elif place.is_dir():
            state |= _marks_in(place, {output.absolute() for output in outputs})
    return state


def absent_in_copy(stages: Sequence[str], params: Path) -> str:
    """What to say where one of DVC's temporary copies lacks something of the workspace that `stages` read; else, and elsewhere, nothing.

    Looked at are the paths that their parameters name, but for those that stages make.
    """
    here = Path.cwd()
    if (workspace := workspace_of(here)) is None:
        return ""
    try:
        named = [text for stage in stages for text in (*_texts(_values(stage, params).values()), *_UNNAMED.get(stage, []))]
    except PoseGANError:  # the stage says so itself
        return ""
    missing = left_behind(here, workspace, [name for name in named if not _is_made(name)])
    return warning(missing) if missing else ""


def _is_made(name: str) -> bool:
    """Whether a stage writes there, or somewhere in it: such outputs are DVC's, and may differ in a copy."""
    outs = (out for stage in declared_stages().values() for kind in ("outs", "metrics", "plots") for out in stage.get(kind, []))
    return any(Path(out).is_relative_to(name) or Path(name).is_relative_to(out) for out in outs)


def _values(stage: str, params: Path) -> dict[str, object]:
    """The stage's values of the parameters by their dotted keys."""
    values = load_params(params)
    return {key: value for section in sections_of(stage) for key, value in _leaves(getattr(values, section), section)}


def _texts(values: Iterable[object]) -> list[str]:
    """The texts among the values, and in lists of them, that may be paths."""
    texts = (text for value in values for text in (value if isinstance(value, list) else [value]) if isinstance(text, str))
    return [text for text in texts if 0 < len(text) < _LONGEST]


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
    declared = declared_stages()[stage]["params"]
    return [name for name in declared if name in Params.model_fields and name not in ("recipe", "recipes")]


@cache
def declared_stages() -> dict[str, Any]:
    """The stages of dvc.yaml by name."""
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return stages


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
