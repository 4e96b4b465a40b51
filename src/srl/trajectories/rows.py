"""A file or Hub dataset -> its rows as plain objects, each with file, row and line.

Total on content: whatever stands in a JSON Lines, JSON or Parquet file, reading goes on after a bad row, which comes
out as a DroppedRow. A source that is not there, is a folder, or is not of these kinds as a whole is a DataError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from srl.errors import DataError
from srl.trajectories.reasons import DropReason
from srl.types import DroppedRow, Source

JsonObject = dict[str, object]

LINES_SUFFIXES = (".jsonl", ".ndjson")
FILE_SUFFIXES = (*LINES_SUFFIXES, ".json", ".parquet")
_HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?::(?P<split>[\w.-]+))?", re.ASCII)
_BOM = b"\xef\xbb\xbf"
_JSON_GAP = re.compile(r"[ \t\r\n]*")


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


def read_rows(source: str) -> Iterator[Row | DroppedRow]:
    """The rows of a file (.jsonl, .ndjson, .json, .parquet) or of a Hub dataset "owner/name" or "owner/name:split".

    Blank lines are no rows; a byte order mark and CRLF line ends are accepted. A .json file may hold an array or, as
    often on the Hub, JSON Lines. The split of a Hub dataset is "train" unless named.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if path.is_dir():
        raise DataError(f"{source} is a folder; name one file in it ({', '.join(FILE_SUFFIXES)})")
    if path.is_file():
        if suffix not in FILE_SUFFIXES:
            raise DataError(
                f"{source}: cannot read {suffix or 'a file without suffix'}; use {', '.join(FILE_SUFFIXES)}"
            )
        try:
            yield from _read_parquet(path, source) if suffix == ".parquet" else _read_json(path, source)
        except OSError as error:
            raise DataError(f"cannot read {source}: {error.strerror or error}") from error
        return
    hub = _HUB_ID.fullmatch(source)
    if hub is None or suffix in FILE_SUFFIXES:
        raise DataError(
            f'{source}: no such file; give an existing file or a Hub dataset "owner/name" or "owner/name:split"'
        )
    yield from read_hub_rows(hub["name"], split=hub["split"] or "train", source=source)


def read_hub_rows(name: str, *, split: str, source: str) -> Iterator[Row | DroppedRow]:
    """The rows of a split of a dataset that ``datasets`` can load, streamed. No code is ever taken from the Hub.

    ``name`` may also be a local folder in the Hub's layout. Every failure of the library is a DataError: part of a
    dataset read over a broken connection must not pass for the whole.
    """
    datasets: Any = import_module("datasets")  # takes a second, and only Hub datasets need it
    failures = (OSError, ValueError, KeyError, TypeError, datasets.exceptions.DatasetsError)
    try:
        for index, value in enumerate(datasets.load_dataset(name, split=split, streaming=True)):
            yield Row(value=dict(value), source=Source(file=source, row=index), line=0)
    except failures as error:
        raise DataError(f"cannot read split {split!r} of the dataset {name}: {error}") from error


def _read_json(path: Path, source: str) -> Iterator[Row | DroppedRow]:
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(_BOM).lstrip()
    if path.suffix.lower() not in LINES_SUFFIXES and head.startswith(b"["):
        return _read_array(path, source)
    return _read_lines(path, source)


def _read_lines(path: Path, source: str) -> Iterator[Row | DroppedRow]:
    with path.open("rb") as file:
        for index, raw in enumerate(file):
            line = raw.removeprefix(_BOM) if index == 0 else raw
            if not line.strip():
                continue
            at = Row(value={}, source=Source(file=source, row=index), line=index + 1)
            try:
                value = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                yield at.dropped(DropReason.NOT_UTF8, f"byte {error.start} of the line: {error.reason}")
            except (ValueError, RecursionError) as error:  # also integers too long, lists nested too deep
                yield at.dropped(DropReason.BAD_JSON, str(error))
            else:
                yield _row(value, at)


def _read_array(path: Path, source: str) -> Iterator[Row | DroppedRow]:
    """Element by element, so that an array cut off in the middle still gives its whole elements."""
    # A bad byte becomes half a surrogate pair, so that it costs its own row and not the whole array.
    text = path.read_bytes().removeprefix(_BOM).decode("utf-8", errors="surrogateescape")
    decoder = json.JSONDecoder()
    position, line = _skip_gap(text, text.index("[") + 1), 1
    counted_to, index = 0, 0
    while not text.startswith("]", position):
        line += text.count("\n", counted_to, position)
        counted_to = position
        at = Row(value={}, source=Source(file=source, row=index), line=line)
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield at.dropped(DropReason.BAD_JSON, f"{error}; the rest of the array cannot be read")
            return
        yield _row(value, at)
        position = _skip_gap(text, position)
        index += 1
        if text.startswith(",", position):
            position = _skip_gap(text, position + 1)
        elif not text.startswith("]", position):
            at = Row(value={}, source=Source(file=source, row=index), line=line)
            yield at.dropped(DropReason.BAD_JSON, "no comma or closing bracket; the rest of the array cannot be read")
            return


def _skip_gap(text: str, position: int) -> int:
    gap = _JSON_GAP.match(text, position)
    return gap.end() if gap else position


def _row(value: object, at: Row) -> Row | DroppedRow:
    if not isinstance(value, dict):
        return at.dropped(DropReason.NOT_AN_OBJECT, f"found {type(value).__name__}")
    return Row(value=cast("JsonObject", value), source=at.source, line=at.line)


def _read_parquet(path: Path, source: str) -> Iterator[Row | DroppedRow]:
    arrow: Any = import_module("pyarrow")  # heavy, and only Parquet files need it
    parquet: Any = import_module("pyarrow.parquet")
    index = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=256):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            for offset in range(batch.num_rows):
                at = Row(value={}, source=Source(file=source, row=index), line=0)
                index += 1
                try:
                    value = {name: column[offset].as_py() for name, column in columns.items()}
                except UnicodeDecodeError as error:
                    yield at.dropped(DropReason.NOT_UTF8, f"byte {error.start} of a cell: {error.reason}")
                except (ValueError, OverflowError) as error:  # dates beyond Python's range
                    yield at.dropped(DropReason.WRONG_TYPE, str(error))
                else:
                    yield _row(value, at)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"cannot read {source} as Parquet: {error}") from error
