"""The field's list of pairs: a CSV with the header `from,to` and two image names a row."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from posegan.errors import PoseGANError
from posegan.formats.names import is_image_name

HEADER = ["from", "to"]
_PARQUET = b"PAR1"  # how such a file begins


class ListedPair(NamedTuple):
    """A row of the list: which image becomes which, and the file and line that say so."""

    where: str
    source: str
    target: str


def read_pair_csv(path: Path) -> list[ListedPair]:
    """Every row, in order, duplicates included.

    Raises:
        PoseGANError: no such file, another header, or a row that is not two names; file and line are named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _rows(path, file)
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise PoseGANError(f"{path}: could not be read ({error.strerror}); check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        with path.open("rb") as content:
            if content.read(len(_PARQUET)) == _PARQUET:
                raise PoseGANError(f"{path}: a Parquet table; make a list of it with python -m pipeline export-pairs") from None
        raise PoseGANError(f"{path}: not a CSV in UTF-8 ({error}); save it as one") from None


def write_pair_csv(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Write the (source, target) names, in order, to `path`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(pairs)


def _rows(path: Path, lines: Iterable[str]) -> list[ListedPair]:
    reader = csv.reader(lines)
    header = next(reader, [])
    if [name.strip().lower() for name in header] != HEADER:
        raise PoseGANError(f"{path}, line 1: {_fault(header)}")
    pairs = []
    for row in reader:
        names = [name.strip() for name in row]
        if any(names):
            if lines_in_it := next((name for name in names if "\n" in name or "\r" in name), ""):
                raise PoseGANError(
                    f"{path}, line {reader.line_num}: a name of several lines, {lines_in_it[:50]!r}; "
                    "a quotation mark is too much, remove it"
                )
            if len(names) != 2 or not all(names) or "\0" in "".join(names):
                raise PoseGANError(
                    f"{path}, line {reader.line_num}: expected two names, got {','.join(row)[:60]!r}; mend or remove that line"
                )
            pairs.append(ListedPair(f"{path}, line {reader.line_num}", *names))
    return pairs


def _fault(header: list[str]) -> str:
    """What is wrong with a first line that is not the header, and the way out."""
    got = f"got {','.join(header)[:60]!r}"
    names = [name.strip().lower() for name in header]
    if mark := next((mark for mark in (";", "\t", "|", " ") if len(header) == 1 and mark in header[0]), None):
        shown = {"\t": "tabs", " ": "spaces"}.get(mark, mark)
        return f"expected the header from,to, {got}: its columns are separated by {shown}; mend the file: save it with commas"
    if len(names) == 3 and names[1:] == HEADER:
        return f"expected the header from,to, {got}: row numbers stand first; mend the file: save it without them (pandas: index=False)"
    if len(names) == 2 and (all(map(is_image_name, names)) or any(map(str.isdigit, "".join(names)))):
        return f"expected the header from,to, {got}: a pair already; mend the file: put a line from,to above it"
    if names == HEADER[::-1]:  # who mended that line alone would have every pair the wrong way round
        wrong = "its columns stand the other way round; mend the file: exchange the columns, names and all"
        return f"expected the header from,to, {got}: {wrong}"
    if len(names) > 2 and names[:2] == HEADER:
        return f"expected the header from,to, {got}: more columns than two; mend the file: save it with these two alone"
    if names[:2] == ["source", "target"]:
        return f"expected the header from,to, {got}: the columns of pairs.parquet; python -m pipeline export-pairs makes a list of it"
    return f"expected the header from,to, {got}; mend that line"
