"""DVC's temporary copies of the project (`dvc exp run --temp`, `--queue`): what they lack of the workspace's inputs.

A copy has what git knows and what is in DVC's cache. Own photographs, other people's weights, and files that git was not told of yet
are in the workspace alone, unless the command line brings them along (`--copy-paths`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

_COPIES = (".dvc", "tmp", "exps")
_NAMED = 3


def workspace_of(copy: Path) -> Path | None:
    """The project that a folder is DVC's temporary copy of; None where it is none."""
    parts = copy.absolute().parts
    found = (number for number in range(len(parts) - len(_COPIES)) if parts[number : number + len(_COPIES)] == _COPIES)
    return next((Path(*parts[:number]) for number in found), None)


def left_behind(copy: Path, workspace: Path, named: Iterable[str]) -> list[str]:
    """What of the `named` paths the workspace has and its `copy` has not; of a folder, what lies directly in it."""
    missing = []
    for name in named:
        there, here = workspace / name, copy / name
        if Path(name).is_absolute() or not there.exists():
            continue
        if not here.exists():
            missing.append(name)
        elif there.is_dir() and here.is_dir():
            missing += sorted(str(Path(name, each.name)) for each in there.iterdir() if not (here / each.name).exists())
    return list(dict.fromkeys(missing))


def warning(missing: Sequence[str]) -> str:
    """What to say of that."""
    more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
    return (
        f"DVC's temporary copy lacks {', '.join(missing[:_NAMED])}{more} of the workspace, which git does not have: "
        "docs/experiments.md has the line that brings them along (--copy-paths)"
    )
