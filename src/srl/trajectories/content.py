"""The first bytes of a file -> what the file holds.

Content decides: a log may be called .traj, .json, .txt or nothing. A name ending like JSON only settles what the
content leaves open, which is whether damaged text was meant as data.

The decision a reader would question: nothing is parsed where the shape of the first line suffices. Lines of JSON
begin and end with a bracket, and an indented document has an opening bracket alone on its first line; parsing the
beginning of every file once more would cost as much as reading it.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import PurePath
from typing import NamedTuple

from srl.trajectories.json_lines import BOM, DECODER, WHITE_SPACE, is_message, message_list, parse_line
from srl.trajectories.reasons import DropReason, RowError

HEAD_BYTES = 1 << 20
"""How much of a file is looked at."""
PARQUET_MAGIC = b"PAR1"
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json", ".traj")
COMPRESSED_SUFFIXES = (".gz", ".zst", ".zstd")
_LINES_SUFFIXES = (".jsonl", ".ndjson")
_OTHER_FILES = {
    b"BZh": "bzip2; decompress it first, or use gzip or zstd",
    b"\xfd7zXZ\x00": "xz; decompress it first, or use gzip or zstd",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\x1f\x8b": "gzip inside a compressed file; decompress it once",
    b"\x28\xb5\x2f\xfd": "zstd inside a compressed file; decompress it once",
    b"ARROW1\x00\x00": "an Arrow file; write it as Parquet",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"%PDF": "a PDF",
}
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"[\x00", b"\x00{", b"\x00[")
_MARGIN = 16  # an error this near the end of the head may come from the cut


class Kind(StrEnum):
    """How a file is read."""

    PARQUET = "parquet"
    LINES = "lines"
    DOCUMENTS = "documents"


class Content(NamedTuple):
    """What a file holds."""

    kind: Kind
    """How it is read."""
    newline: bytes = b"\n"
    """What ends its lines."""


def find_content(head: bytes, *, is_whole: bool, name: str) -> Content:
    r"""What a file holds that begins with ``head``; ``is_whole`` if nothing follows.

    Raises RowError (``empty_file``, ``not_data``, ``not_utf8``) where there is nothing to read.

    >>> find_content(b'{"a": 1}\n{"a": 2}\n', is_whole=True, name="log")
    Content(kind=<Kind.LINES: 'lines'>, newline=b'\n')
    >>> find_content(b'{\n  "a": 1\n}\n', is_whole=True, name="log").kind
    <Kind.DOCUMENTS: 'documents'>
    """
    if head.startswith(PARQUET_MAGIC):
        return Content(Kind.PARQUET)
    for magic, what in _OTHER_FILES.items():
        if head.startswith(magic):
            raise RowError(DropReason.NOT_DATA, f"is {what}")
    text = head.removeprefix(BOM).lstrip(WHITE_SPACE)
    if text.startswith(_UTF16_MARKS):
        raise RowError(DropReason.NOT_UTF8, "is UTF-16 or UTF-32; convert it with: iconv -f UTF-16 -t UTF-8")
    if not text and is_whole:
        raise RowError(DropReason.EMPTY_FILE, "holds no row")
    body = text if is_whole else text.rstrip(b"\r")  # half of a CRLF is no line end
    newline = b"\r" if b"\r" in body and b"\n" not in body else b"\n"
    suffix = _suffix(name)
    if text.startswith((b"{", b"[")) and _is_document(text, newline, is_whole=is_whole, suffix=suffix):
        if suffix in JSON_SUFFIXES or _is_prefix_of_json(text, is_whole=is_whole):
            return Content(Kind.DOCUMENTS)
    elif suffix in JSON_SUFFIXES or _has_row(text, newline, is_whole=is_whole):
        return Content(Kind.LINES, newline)
    raise RowError(DropReason.NOT_DATA, "holds neither JSON nor Parquet")


def _is_document(text: bytes, newline: bytes, *, is_whole: bool, suffix: str) -> bool:
    """Whether a text that begins with a bracket is one value over several lines, or one array on one line."""
    first, end, rest = text.partition(newline)
    first = first.rstrip(WHITE_SPACE)
    is_array = first.startswith(b"[")
    has_more = bool(rest.strip(WHITE_SPACE)) or not is_whole
    if first.endswith(b"]" if is_array else b"}") and (end or is_whole):
        return is_array and not has_more
    if not (end and has_more):  # one line, of which the end may not be seen: an array, a row, or a row that is a log
        return is_array and (is_whole or suffix not in _LINES_SUFFIXES or not _begins_with_message(text))
    if suffix in _LINES_SUFFIXES:
        return _is_prefix_of_json(text, is_whole=is_whole)
    return is_array or first == b"{" or _is_prefix_of_json(text, is_whole=is_whole, min_line=4)


def _is_prefix_of_json(text: bytes, *, is_whole: bool, min_line: int = 0) -> bool:
    """Whether ``text`` begins with a JSON value, or would with more of it.

    With ``min_line`` also if it is right up to that line: a line of JSON Lines that was cut spoils the next two at
    most, damage further down is a document's.
    """
    decoded = text.decode("utf-8", errors="replace").rstrip()
    try:
        DECODER.raw_decode(decoded)
    except json.JSONDecodeError as error:
        is_cut = error.msg.startswith("Unterminated string") or error.pos >= len(decoded) - (0 if is_whole else _MARGIN)
        return is_cut or 0 < min_line <= error.lineno
    except (ValueError, RecursionError):
        return True
    return True


def _begins_with_message(text: bytes) -> bool:
    inside = text[1:].lstrip(WHITE_SPACE).decode("utf-8", errors="replace")
    try:
        return is_message(DECODER.raw_decode(inside)[0])
    except (ValueError, RecursionError):
        return False


def _has_row(text: bytes, newline: bytes, *, is_whole: bool) -> bool:
    """Whether one of the lines is a row. A line that the head cuts counts if it could become one."""
    lines = text.split(newline)
    last = lines.pop() if not is_whole else b""
    if any(_is_row(parse_line(line)) for line in lines if line.lstrip(WHITE_SPACE).startswith((b"{", b"["))):
        return True
    return last.startswith((b"{", b"[")) and _is_prefix_of_json(last, is_whole=False)


def _is_row(value: object) -> bool:
    return bool(value) and (isinstance(value, dict) or message_list(value) is not None)


def _suffix(name: str) -> str:
    path = PurePath(name)
    while path.suffix.lower() in COMPRESSED_SUFFIXES:
        path = path.with_suffix("")
    return path.suffix.lower()
