r"""Bytes of JSON Lines -> their values, line by line; and what counts as JSON here.

Stricter than ``json.loads`` where that would alter data in silence: NaN and Infinity, which are no JSON, and a name
that occurs twice in one object, of which only the last would be kept, make a row bad.

The decision a reader would question: lines are cut out of large chunks by hand and not by iterating over the file,
because a line of any length must be skipped without being held in memory, and because some files end their lines
with CR alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple, cast

from srl.trajectories.reasons import DropReason, RowError

BOM = b"\xef\xbb\xbf"
WHITE_SPACE = b" \t\r\n"
MAX_ROW_BYTES = 128 << 20
"""Longer rows are skipped unread. A row is held as bytes, as text and as values at once, so this bounds memory."""


class Element(NamedTuple):
    """One value of a file, or what is wrong with it."""

    row: int
    """0-based row."""
    line: int
    """1-based line on which it begins, 0 where the format has no lines."""
    value: object
    """The value, or a RowError."""


class RefusedJsonError(ValueError):
    """Text that ``json`` accepts and that would not mean what it says."""


def _refuse_constant(name: str) -> object:
    raise RefusedJsonError(f"{name} is not JSON; write null or leave the field out")


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        raise RefusedJsonError(f"the name {ascii(name)[:80]} occurs twice in one object")
    return found


DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique_names)


def parse_line(line: bytes) -> object:
    r"""The value of one line, or a RowError that says why there is none.

    >>> parse_line(b'{"a": 1}\r')
    {'a': 1}
    >>> parse_line(b'{"a": NaN}')
    RowError('bad_json: NaN is not JSON; write null or leave the field out')
    """
    try:
        return DECODER.decode(line.removeprefix(BOM).decode("utf-8"))
    except UnicodeDecodeError as error:
        return RowError(DropReason.NOT_UTF8, f"byte {error.start} of the line: {error.reason}")
    except (ValueError, RecursionError) as error:
        return RowError(DropReason.BAD_JSON, describe_refusal(error))


def describe_refusal(error: ValueError | RecursionError) -> str:
    """Why ``json`` did not take a text, without its advice to programmers."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at character {error.pos} of the row"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return str(error) if isinstance(error, RefusedJsonError) else "a number of more than 4,300 digits"


def parse_lines(chunks: Iterator[bytes], newline: bytes, first_row: int = 0) -> Iterator[Element]:
    """The value of every line that is not blank; row r stands on line r + 1.

    A line longer than MAX_ROW_BYTES is ``too_long``. Where the chunks end with a RowError, that is the last element,
    in place of the line that it cut.
    """
    row = first_row - 1
    try:
        for line in split_lines(chunks, newline, MAX_ROW_BYTES):
            row += 1
            if line is None:
                detail = f"more than {MAX_ROW_BYTES:,} bytes"
                yield Element(row, row + 1, RowError(DropReason.TOO_LONG, detail))
            elif line.strip(WHITE_SPACE):
                yield Element(row, row + 1, parse_line(line))
    except RowError as error:
        yield Element(row + 1, row + 2, error)


def split_lines(chunks: Iterator[bytes], newline: bytes, max_bytes: int) -> Iterator[bytes | None]:
    r"""The lines without their ends, None for each that is longer than ``max_bytes``; linear in their length.

    >>> list(split_lines(iter([b"a\nbc", b"d\nefghi\n\nj"]), b"\n", 4))
    [b'a', b'bcd', None, b'', b'j']
    """
    pieces: list[bytes] = []  # the beginning of the line that the next chunk goes on with
    size = 0
    for chunk in chunks:
        *ended, rest = chunk.split(newline)
        if ended:
            pieces.append(ended[0])
            size += len(ended[0])
            first = b"".join(pieces) if size <= max_bytes else None
            pieces, size = [], 0
            yield first
            for line in ended[1:]:
                yield line if len(line) <= max_bytes else None
        size += len(rest)
        if size <= max_bytes:
            pieces.append(rest)
        else:
            pieces.clear()
    if size:
        yield b"".join(pieces) if size <= max_bytes else None


def find_line_starts(chunks: Iterator[bytes], newline: bytes, every: int) -> Iterator[tuple[int, int]]:
    r"""(byte, number of lines before it) of line starts that lie at least ``every`` bytes apart, counted from 0.

    The first line's start and one at the very end, where no line follows, are not among them.

    >>> list(find_line_starts(iter([b"a\nb\nc", b"c\ndd\n"]), b"\n", 3))
    [(4, 2), (7, 3)]
    """
    last = offset = lines = 0
    at_end: list[tuple[int, int]] = []  # a start at the end of the last chunk: only the next one makes it a line's
    for chunk in chunks:
        yield from at_end
        at_end = []
        counted = 0
        while (at := chunk.find(newline, max(last + every - offset - 1, counted))) >= 0:
            lines += chunk.count(newline, counted, at + 1)
            counted = at + 1
            last = offset + counted
            if counted == len(chunk):
                at_end = [(last, lines)]
            else:
                yield last, lines
        lines += chunk.count(newline, counted)
        offset += len(chunk)


def message_list(value: object) -> dict[str, object] | None:
    """``{"messages": value}`` if ``value`` is a list of chat messages, as some agents store a whole log; else None.

    >>> message_list([{"role": "user", "content": "Hi"}])
    {'messages': [{'role': 'user', 'content': 'Hi'}]}
    """
    if isinstance(value, list) and value and is_message(cast("list[object]", value)[0]):
        return {"messages": value}
    return None


def is_message(value: object) -> bool:
    """Whether ``value`` is an object with a role and content. The first of a list speaks for the others."""
    return (
        isinstance(value, dict) and isinstance(cast("dict[str, object]", value).get("role"), str) and "content" in value
    )
