"""The code that a stage rests on: what its module imports, itself and through others.

Read from the import statements, wherever in a file they stand, so nothing is imported here and no list is kept by hand: dvc.yaml names
the same files and folders (tests/test_dag.py holds the two together), and what outlives a stopped run is named after their content.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
# These decide nothing of what a stage makes; an edit of one runs no stage again.
NO_BEHAVIOUR = {
    "posegan/config.py": "checks the values of params.yaml, which dvc.yaml tracks key by key",
    "posegan/recipes.py": "gives values to `model` and `loss`, which training alone reads: only `train` names it",
    "posegan/errors.py": "words for people",
    "posegan/cli.py": "how a command line ends",
    "posegan/places.py": "where a command may write, not what",
    "pipeline/unchanged.py": "whether a stage ends well, not with what",
}


def stage_code(*modules: str) -> list[Path]:
    """The files below the project's root that `modules` (dotted) rest on, sorted, without those of NO_BEHAVIOUR."""
    files = frozenset[Path]().union(*map(imported_files, modules))
    return sorted(path for path in files if path.relative_to(ROOT).as_posix() not in NO_BEHAVIOUR)


@cache
def imported_files(module: str) -> frozenset[Path]:
    """Every module of the project that `module` needs, itself among them; `__init__` files, which hold names alone, are left out."""
    found: set[Path] = set()
    waiting = [_file(module)]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in found:
            found.add(path)
            imported = [file for name in imported_names(path) if (file := _file(name)) is not None]
            # What decides nothing makes nothing that it imports decide anything.
            waiting += [file for file in imported if _decides(file) <= _decides(path)]
    return frozenset(found)


def imported_names(path: Path) -> set[str]:
    """Dotted names that a module imports when it runs, as modules and as members of modules."""
    names: set[str] = set()
    for node in _executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def hash_of(files: Iterable[Path]) -> str:
    """SHA-256 of the files' contents and of their places below the project's root."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _decides(path: Path) -> bool:
    return path.relative_to(ROOT).as_posix() not in NO_BEHAVIOUR


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _executed(node)


def _file(name: str) -> Path | None:
    path = ROOT / f"{name.replace('.', '/')}.py"
    return path if path.is_file() else None
