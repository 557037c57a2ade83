"""Parquet files of a known schema, whoever wrote them: opened, cast to it, and refused by row and column.

Another program's types are welcome as long as they hold the same values: pandas writes large strings, categories, and whole numbers with
gaps as doubles.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

from posegan.errors import PoseGANError

_BATCH_ROWS = 65_536
_HOLDS = {"pose": "keypoints", "pair": "pairs"}  # what a stage's table holds
_EXPECTED = ((pa.types.is_integer, "a whole number"), (pa.types.is_floating, "a number"), (pa.types.is_string, "text"))


def open_parquet(path: Path, stage: str, schema: pa.Schema) -> pq.ParquetFile:
    """A Parquet file, open, that has every column of `schema`; `stage` is the one whose table it is.

    Raises:
        PoseGANError: no such file, not Parquet, or a column is missing or stands twice.
    """
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
    except FileNotFoundError:
        raise PoseGANError(f"{path}: no such file; run the {stage} stage first") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise PoseGANError(f"{path}: not a table of {_HOLDS[stage]} ({_first_line(error)}); check the path, or save it again") from error
    missing = [name for name in schema.names if name not in names]
    twice = [name for name in schema.names if names.count(name) > 1]
    if missing or twice:
        file.close()
        raise PoseGANError(f"{path}: {_columns_fault(missing, twice, names)}; a table of {_HOLDS[stage]} has {len(schema)} columns by name")
    return file


def conformed(
    file: pq.ParquetFile, path: Path, schema: pa.Schema, row_groups: Sequence[int] | None = None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of an open file, or of some `row_groups`: the number of the first one, and some ten thousand as a batch of just `schema`.

    Raises:
        PoseGANError: the file is damaged, or holds a value that its column cannot have; row and column are named.
    """
    start = 0
    batches = file.iter_batches(_BATCH_ROWS, row_groups, schema.names)
    while (batch := _next(batches, path)) is not None:
        label = row_label(batch, start)
        columns = [_cast(batch.column(field.name), field, lambda row, label=label: f"{path}, {label(row)}") for field in schema]  # type: ignore[misc]
        yield start, pa.RecordBatch.from_arrays(columns, schema=schema)
        start += batch.num_rows


def row_label(batch: pa.RecordBatch, start: int) -> Callable[[int], str]:
    """How a row of the batch is called: its number in the file, from 0 as pandas counts, and its image where it has one."""

    def label(row: int) -> str:
        try:
            name = batch.column("image")[row].as_py()
        except (KeyError, UnicodeDecodeError):
            name = None
        return f"row {start + row}" + (f" ({name})" if name else "")

    return label


def _next(batches: Iterator[pa.RecordBatch], path: Path) -> pa.RecordBatch | None:
    try:
        return next(batches, None)
    except (pa.ArrowException, OSError) as error:
        raise PoseGANError(f"{path}: damaged ({_first_line(error)}); save it again, or take a whole copy") from error


def _cast(column: pa.Array, field: pa.Field, called: Callable[[int], str]) -> pa.Array:
    try:
        cast = _cast_array(column, field.type)
    except (pa.ArrowException, UnicodeDecodeError):
        row = next(row for row in range(len(column)) if not _casts(column.slice(row, 1), field.type))
        expected = next(words for is_kind, words in _EXPECTED if is_kind(field.type))
        raise PoseGANError(f"{called(row)}, {field.name}: {_shown(column, row)}; expected {expected}") from None
    if not field.nullable and cast.null_count:
        raise PoseGANError(f"{called(compute.index(cast.is_null(), True).as_py())}, {field.name}: empty; it is needed in every row")
    return cast


def _cast_array(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind and not pa.types.is_string(kind):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type) and pa.types.is_integer(kind):
        column = compute.if_else(compute.is_nan(column), pa.scalar(None, column.type), column)
    cast = column.cast(kind)
    cast.validate(full=True)  # text that is not UTF-8
    return cast


def _casts(column: pa.Array, kind: pa.DataType) -> bool:
    try:
        _cast_array(column, kind)
    except (pa.ArrowException, UnicodeDecodeError):
        return False
    return True


def _shown(column: pa.Array, row: int) -> str:
    try:
        return repr(column[row].as_py())[:60]
    except UnicodeDecodeError:
        return "text that is not UTF-8"


def _columns_fault(missing: Sequence[str], twice: Sequence[str], names: Sequence[str]) -> str:
    if twice:
        return f"the column {twice[0]} stands twice"
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    there = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"columns missing: {', '.join(missing[:5])}{more} (it has {there or 'none'})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
