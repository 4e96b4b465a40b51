"""Parquet -> its rows, in batches of bounded size; a damaged row group costs its own rows.

The decision a reader would question: the size of a batch follows from what the file says of its row groups, because
256 agent logs may be a gigabyte, and two sums and their answers a kilobyte.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, BinaryIO, NamedTuple

from srl.trajectories.json_lines import Element
from srl.trajectories.reasons import DropReason, RowError

_BATCH_BYTES = 8 << 20
_MAX_BATCH_ROWS = 256


class RowGroup(NamedTuple):
    """A piece of a Parquet file."""

    first_row: int
    """0-based number of its first row."""
    num_rows: int
    """How many it has."""
    num_bytes: int
    """Uncompressed size."""


def find_starts(file: BinaryIO, every: int) -> tuple[int, list[tuple[int, int]]]:
    """The number of row groups, and (row group, its first row) at least ``every`` bytes apart, without the first.

    Raises RowError ``corrupt`` if the file cannot be read as Parquet.
    """
    groups = _row_groups(_open(file))
    starts: list[tuple[int, int]] = []
    num_bytes = 0
    for number, group in enumerate(groups):
        if num_bytes >= every:
            starts.append((number, group.first_row))
            num_bytes = 0
        num_bytes += group.num_bytes
    return len(groups), starts


def read_row_groups(file: BinaryIO, start: int, end: int) -> Iterator[Element]:
    """The rows of the row groups ``start`` to ``end`` (-1: to the last one), numbered as in the whole file.

    Raises RowError ``corrupt`` if the file as a whole cannot be read as Parquet.
    """
    table = _open(file)
    groups = _row_groups(table)
    for number in range(start, len(groups) if end < 0 else end):
        yield from _read_row_group(table, number, groups[number])


def _open(file: BinaryIO) -> Any:
    arrow: Any = import_module("pyarrow")  # heavy, and only Parquet files need it
    parquet: Any = import_module("pyarrow.parquet")
    try:
        table = parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        names = table.schema_arrow.names
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise RowError(DropReason.CORRUPT, f"cannot be read as Parquet: {error}") from error
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise RowError(DropReason.CORRUPT, f"has two columns with the name {min(twice)!a}; rename one of them")
    return table


def _row_groups(table: Any) -> list[RowGroup]:
    groups: list[RowGroup] = []
    first_row = 0
    for number in range(table.metadata.num_row_groups):
        group = table.metadata.row_group(number)
        groups.append(RowGroup(first_row, group.num_rows, group.total_byte_size))
        first_row += group.num_rows
    return groups


def _read_row_group(table: Any, number: int, group: RowGroup) -> Iterator[Element]:
    arrow: Any = import_module("pyarrow")
    row_bytes = max(group.num_bytes // max(group.num_rows, 1), 1)
    batch_rows = min(max(_BATCH_BYTES // row_bytes, 1), _MAX_BATCH_ROWS)
    index = group.first_row
    try:
        for batch in table.iter_batches(batch_size=batch_rows, row_groups=[number], use_threads=False):
            for value in _read_batch(batch):
                yield Element(index, 0, value)
                index += 1
    except (arrow.ArrowException, OSError, ValueError) as error:
        left = group.first_row + group.num_rows - index
        yield Element(index, 0, RowError(DropReason.CORRUPT, f"{left} rows from here on cannot be read: {error}"))


def _read_batch(batch: Any) -> Iterator[object]:
    arrow: Any = import_module("pyarrow")
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for offset in range(batch.num_rows):
        try:
            yield {name: column[offset].as_py() for name, column in columns.items()}
        except UnicodeDecodeError as error:
            yield RowError(DropReason.NOT_UTF8, f"byte {error.start} of a cell: {error.reason}")
        except (ValueError, OverflowError, LookupError, arrow.ArrowException) as error:  # dates beyond Python's range
            yield RowError(DropReason.WRONG_TYPE, str(error))
