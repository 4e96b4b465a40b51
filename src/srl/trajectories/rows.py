"""A file, a folder or a Hub dataset -> its rows as plain objects, each with file, row and line.

Total on content: whatever stands in a file, reading goes on after a bad row, which comes out as a DroppedRow. What
concerns a file as a whole (it is not there, holds no row, is no data) is a DataError for a file that the user named,
and one DroppedRow, row 0 and line 0, for a file found in a folder.

The decision a reader would question: a source is cut into units before anything is read. Several processes can then
share it, one big file included, and reading it in one go is the same thing as reading all its units.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal, cast

from srl.errors import DataError
from srl.trajectories import files, hub, tables
from srl.trajectories.content import COMPRESSED_SUFFIXES, HEAD_BYTES, JSON_SUFFIXES, PARQUET_MAGIC, Kind, find_content
from srl.trajectories.json_lines import WHITE_SPACE, Element, find_line_starts, message_list, parse_lines
from srl.trajectories.json_stream import parse_documents
from srl.trajectories.reasons import DropReason, RowError
from srl.types import DroppedRow, Source

JsonObject = dict[str, object]

UNIT_BYTES = 2 << 20
"""Larger files of JSON Lines or Parquet are cut into units of about this size. Small: workers wait for each other where
a unit becomes more than ``decomposition.parallel`` holds back for its turn."""
_FILE_SUFFIXES = (*JSON_SUFFIXES, *COMPRESSED_SUFFIXES, ".parquet", ".txt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One object of a source."""

    value: JsonObject
    """Field names and values as they stand in the source."""
    source: Source
    """File and row."""
    line: int
    """1-based line in the file, 0 where the format has no lines."""

    def dropped(self, reason: DropReason, detail: str) -> DroppedRow:
        """This row as one that is left out."""
        return DroppedRow(source=self.source, line=self.line, reason=reason.value, detail=detail)


UnitKind = Literal["file", "lines", "row_groups", "hub"]
"""A whole file, a range of lines, a range of Parquet row groups, or a Hub dataset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A piece of a source that is read independently of the others; small, and can be sent to another process."""

    kind: UnitKind
    """What it is, and so what ``start`` and ``end`` count."""
    file: str
    """The name that its rows carry in ``Source.file``."""
    path: str
    """What is opened; for a Hub dataset its id and split."""
    is_named: bool
    """The user named this file: what is wrong with it as a whole is an error, and not the drop of one file of many."""
    start: int = 0
    """First byte or row group; 0 for files and Hub datasets."""
    end: int = -1
    """After the last byte or row group; -1 for files and Hub datasets."""
    first_row: int = 0
    """0-based number of its first row."""
    newline: bytes = b"\n"
    """What ends its lines."""
    stamp: tuple[int, int] | None = None
    """Size and time of change of the file that it is a part of, so that parts of two states are never mixed."""


def read_rows(source: str) -> Iterator[Row | DroppedRow]:
    """The rows of a file, of all files in a folder, or of a Hub dataset "owner/name" or "owner/name:split".

    Files hold JSON Lines, one or more JSON documents (an object is a row, an array holds rows, a list of chat messages
    is one row ``{"messages": [...]}``) or Parquet; all but Parquet may be compressed with gzip or zstd. Their content
    says what they are, not their names. Blank lines are no rows; a byte order mark and CRLF or CR line ends are
    accepted. The split of a Hub dataset is "train" unless named. Raises DataError if there is nothing to read.
    """
    for unit in list_units(source):
        yield from read_unit(unit)


def list_units(source: str, *, unit_bytes: int = UNIT_BYTES) -> Iterator[Unit]:
    """``source`` cut into pieces that can be read in any order and by several processes.

    The rows of all units, one unit after the other, are the same for every ``unit_bytes``. In a folder the files come
    in the order of their sorted names; names that begin with a dot are left out. Raises DataError if there is nothing
    to read.
    """
    if os.path.isdir(source):  # noqa: PTH112 (Path("") would be the current folder)
        found = False
        for path in files.walk_files(source):
            found = True
            yield from _divide(_file_unit(path, is_named=False), unit_bytes)
        if not found:
            raise DataError(f"{source} is a folder without files; name a file, or a folder with data")
    elif os.path.lexists(source):
        yield from _divide(_file_unit(source, is_named=True), unit_bytes)
    elif hub.find_hub_dataset(source) is None or Path(source).suffix.lower() in _FILE_SUFFIXES:
        raise DataError(
            f'{source}: no such file; give an existing file or folder, or a Hub dataset "owner/name" or '
            '"owner/name:split"'
        )
    else:
        yield Unit(kind="hub", file=source, path=source, is_named=True)


def read_unit(unit: Unit) -> Iterator[Row | DroppedRow]:
    """The rows of one unit, with the numbers that they have in their file. Raises DataError."""
    elements = _read_hub(unit.path) if unit.kind == "hub" else _read_file(unit)
    is_empty = unit.kind in ("file", "hub")
    try:
        for element in elements:
            is_empty = False
            yield _row(element, unit.file)
        if is_empty:
            raise RowError(DropReason.EMPTY_FILE, "holds no row")
    except (RowError, OSError) as error:
        if isinstance(error, OSError):
            error = RowError(DropReason.UNREADABLE, f"cannot be read: {error.strerror or error}")
        if unit.is_named:
            raise DataError(f"{unit.file}: {error.detail}") from error
        yield _row(Element(unit.first_row, 0, error), unit.file)


def _file_unit(path: str, *, is_named: bool) -> Unit:
    # A name that is not UTF-8 could neither be printed nor stored.
    name = os.fsencode(path).decode("utf-8", errors="backslashreplace")
    return Unit(kind="file", file=name, path=path, is_named=is_named)


def _divide(unit: Unit, unit_bytes: int) -> Iterator[Unit]:
    """A whole file in units, each given out as soon as its end is known.

    What cannot be opened, recognised or read on stays in one piece: reading that says why.
    """
    part = unit
    with suppress(RowError, OSError):
        if Path(unit.path).stat().st_size > unit_bytes:
            with files.open_file(unit.path) as file:
                part, starts = _plan(file, unit, unit_bytes)
                for start, first_row in starts:
                    yield replace(part, end=start)
                    part = replace(part, start=start, first_row=first_row)
    yield part


def _plan(file: BinaryIO, unit: Unit, unit_bytes: int) -> tuple[Unit, Iterable[tuple[int, int]]]:
    """The file as one unit of the right kind, and the starts and first rows of all units but the first."""
    stamp = files.stamp_of(file)
    head = file.read(HEAD_BYTES)
    content = find_content(head, is_whole=stamp[0] < HEAD_BYTES, name=unit.file)
    file.seek(0)
    if content.kind is Kind.PARQUET:
        num_groups, starts = tables.find_starts(file, unit_bytes)
        return replace(unit, kind="row_groups", end=num_groups, stamp=stamp) if starts else unit, starts
    if content.kind is Kind.LINES and head.strip(WHITE_SPACE):
        part = replace(unit, kind="lines", end=stamp[0], newline=content.newline, stamp=stamp)
        return part, find_line_starts(files.read_chunks(file, stamp[0]), content.newline, unit_bytes)
    return unit, ()


def _read_file(unit: Unit) -> Iterator[Element]:
    with files.open_file(unit.path) as file:
        if unit.stamp is not None and files.stamp_of(file) != unit.stamp:
            raise RowError(DropReason.UNREADABLE, "has changed since it was listed; read it when nothing writes to it")
        if unit.kind == "lines":
            file.seek(unit.start)
            yield from parse_lines(files.read_chunks(file, unit.end), unit.newline, unit.first_row)
        elif unit.kind == "row_groups":
            yield from tables.read_row_groups(file, unit.start, unit.end)
        else:
            yield from _read_whole(file, unit.file)


def _read_whole(file: BinaryIO, name: str) -> Iterator[Element]:
    peeked = files.peek(files.decompressed_chunks(file), HEAD_BYTES)
    content = find_content(peeked.head, is_whole=peeked.is_whole, name=name)
    if content.kind is Kind.LINES:
        return parse_lines(peeked.chunks, content.newline)
    if content.kind is Kind.DOCUMENTS:
        return parse_documents(peeked.chunks)
    file.seek(0)
    if file.read(len(PARQUET_MAGIC)) != PARQUET_MAGIC:
        raise RowError(DropReason.NOT_DATA, "is Parquet inside gzip or zstd; decompress it first")
    file.seek(0)
    return tables.read_row_groups(file, 0, -1)


def _read_hub(source: str) -> Iterator[Element]:
    dataset = hub.find_hub_dataset(source)
    return hub.read_hub_dataset(dataset) if dataset else iter(())


def _row(element: Element, file: str) -> Row | DroppedRow:
    source = Source(file=file, row=element.row)
    value = message_list(element.value) or element.value
    if isinstance(value, dict):
        return Row(value=cast("JsonObject", value), source=source, line=element.line)
    if not isinstance(value, RowError):
        value = RowError(DropReason.NOT_AN_OBJECT, f"found {type(value).__name__}")
    return DroppedRow(source=source, line=element.line, reason=value.reason.value, detail=value.detail)
