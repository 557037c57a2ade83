"""Where a command may write: at a place that has a name, and not at one that it reads.

Looked at before a command does anything, for every option at once: a new command gets it with the types of its options.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from posegan.errors import PoseGANError

FILE = click.Path(path_type=Path)  # that is read
MEANT = click.types.StringParamType()  # words that are a file's name at times; the command compares what they mean with its outputs
_WRITTEN = "posegan.written"  # key in click's context
_PARAMS = Path("params.yaml")  # which commands read where it is there


class Output(click.Path):
    """The path of something that the command writes.

    Args:
        what: `file`, `folder`, or `either`, which the command decides; `working folder`: it keeps files of its own names among others.
    """

    def __init__(self, what: str) -> None:
        super().__init__(path_type=Path)
        self.what = what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path.

        Raises:
            PoseGANError: it has no name of its own, or there is a folder in place of a file, or a file in place of a folder, its own or one
            above it.
        """
        path = Path(str(super().convert(value, param, ctx)))
        if not _is_first():
            return path
        option = _shown(param)
        if self.what != "working folder" and path.name in ("", ".."):
            raise PoseGANError(f"{option} {str(value)!r}: expected the name of a {self.what.replace('either', 'file or folder')} to write")
        if is_special(path):
            raise PoseGANError(f"{option} {path}: a device or pipe, which would be replaced; name a file")
        if self.what == "file" and path.is_dir():
            raise PoseGANError(f"{option} {path}: a folder; name a file in it, or another file")
        if self.what in ("folder", "working folder") and path.exists() and not path.is_dir():
            raise PoseGANError(f"{option} {path}: a file; name a folder")
        if (above := next(folder for folder in path.absolute().parents if os.path.lexists(folder))) and not above.is_dir():
            raise PoseGANError(f"{option} {path}: could not be written, because {above} is no folder; name a place in a folder")
        return path


OUTPUT, OUTPUT_FOLDER, OUTPUT_FILE_OR_FOLDER = Output("file"), Output("folder"), Output("either")
WORKING_FOLDER = Output("working folder")


class PlacedCommand(click.Command):
    """A click command that compares its places before it runs."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it.

        Raises:
            PoseGANError: as `check_places`.
        """
        if not _is_first():
            return super().invoke(ctx)
        outputs, inputs = dict[str, Path](), list[Path]()
        for param in self.params:
            value = ctx.params.get(param.name or "")
            if isinstance(param.type, Output):
                if value is not None and param.type.what != "working folder":
                    outputs[_shown(param)] = value
            elif param.type is not MEANT:
                inputs += _paths(value)
        params = ctx.params.get("params_path") or ctx.params.get("params") or _PARAMS
        inputs += [params, *_named_in(params)]
        check_places(outputs, inputs)
        ctx.meta[_WRITTEN] = [
            value for param in self.params if isinstance(param.type, Output) and (value := ctx.params.get(param.name or ""))
        ]
        return super().invoke(ctx)


def fullest_disk(ctx: click.Context) -> Path | None:
    """Of the places that a command writes to, the folder whose disk has the least room; None where it writes nothing."""
    folders = [next(folder for folder in path.absolute().parents if folder.is_dir()) for path in ctx.meta.get(_WRITTEN, [])]
    return min(folders, key=lambda folder: shutil.disk_usage(folder).free, default=None)


def check_places(outputs: Mapping[str, Path], inputs: Iterable[Path]) -> None:
    """Refuse an output that is another one, an input, or a file directly in a folder that is read.

    Args:
        outputs: by what the error calls them.
        inputs: what is read; names that mean nothing on the disk are passed over.

    Raises:
        PoseGANError: one of these.
    """
    places: dict[Path, tuple[str, Path]] = {}
    for option, output in outputs.items():
        first, _ = places.setdefault(_place(output), (option, output))
        if first != option:
            raise PoseGANError(f"{option} {output}: the same place as {first}; choose two")
    for path in inputs:
        if not is_there(path):
            continue
        # What is written replaces a name. So a link that is an output harms nothing behind it; one that is an input hides what it reads.
        for place in (_place(path), path.resolve()):
            if place in places:
                option, output = places[place]
                raise PoseGANError(f"{option} {output}: is read as well, so nothing was written; choose another place for it")
        if path.is_dir():
            for place, (option, output) in places.items():
                if place.parent == path.resolve() and place.is_file():
                    raise PoseGANError(f"{option} {output}: a file of {path}, which is read; choose another place for it")


def is_there(path: Path) -> bool:
    """Whether a file or folder of that name exists; no name that is too long does."""
    try:
        return path.exists()
    except OSError:
        return False


def is_special(path: Path) -> bool:
    """Whether something stands there that is neither file nor folder; a link is one, and what is written takes its place alone."""
    return is_there(path) and not (path.is_symlink() or path.is_file() or path.is_dir())


def _is_first() -> bool:
    """Whether this process writes: of those that torchrun starts, the first alone does, and tells what is wrong once."""
    return os.environ.get("RANK", "0") == "0"


def _place(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _paths(value: object) -> Iterator[Path]:
    """What a value may mean on the disk: FILE#ROW means FILE."""
    if isinstance(value, tuple):
        for each in value:
            yield from _paths(each)
    elif isinstance(value, Path):
        yield value
    elif isinstance(value, str) and value and len(value) < 1000 and "\0" not in value:
        yield Path(value)
        yield Path(value.partition("#")[0])


def _named_in(params: Path) -> Iterator[Path]:
    """The files that the parameters name: whatever text in them is a file's path. Folders may hold outputs, as `data` does."""
    import yaml

    try:
        waiting = [yaml.safe_load(params.read_text(encoding="utf-8"))]
    except (OSError, ValueError, yaml.YAMLError):  # said by whoever needs them
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str):
            yield from (path for path in _paths(value) if path.is_file())


def _shown(param: click.Parameter | None) -> str:
    if param is None:
        return "output"
    return param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name
