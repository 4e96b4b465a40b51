"""Bytes of JSON documents -> their rows: one object, an array of rows, several documents in a row.

An array is read element by element through a window, so that a file of any size takes the memory of its largest row.
What stands wrong inside one element and leaves its end recognisable (NaN, a name twice, nesting too deep, a number
or an element too long, a byte that is not UTF-8) costs that row alone. A syntax error ends the reading, because what
follows it may be the inside of another row.

The decision a reader would question: no incremental parser, but ``json`` on a growing window. It is written in C, and
since the window doubles when an element does not fit, the work stays linear.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator

from srl.trajectories import json_lines
from srl.trajectories.json_lines import DECODER, Element, is_message
from srl.trajectories.reasons import DropReason, RowError

_GAP = re.compile(r"[ \t\r\n]*+")
_STRUCTURE = re.compile(r'["\[\]{},]')
_STRING_PART = re.compile(r'["\\]')
_BAD_BYTES = re.compile(r"[\udc80-\udcff]")
# The last characters of a window, where an error or the end of a number may come from the cut: no token but a string
# is longer.
_MARGIN = 16


def parse_documents(chunks: Iterator[bytes]) -> Iterator[Element]:
    """The rows of one or more JSON documents.

    An object is a row, the elements of an array are rows, and an array that begins with a chat message is one row
    ``{"messages": [...]}``. Where the chunks end with a RowError, or at a syntax error, that is the last element.
    """
    window = _Window(chunks)
    row = 0
    try:
        while first := window.peek():
            if first == "{":
                yield Element(row, window.line, window.read_value())
                row += 1
                continue
            if first != "[":
                raise _unreadable("no document begins here")
            line = window.line
            window.position += 1
            window.peek()
            messages = _Messages()
            for at, value in _elements(window):
                if messages.take(value):
                    continue
                yield Element(row, at, value)
                row += 1
            if messages.row is not None:
                yield Element(row, line, messages.row)
                row += 1
    except RowError as error:
        yield Element(row, window.line, error)


class _Messages:
    """Collects an array that is one log. The first element decides; the first damage is the row's."""

    def __init__(self) -> None:
        self.row: object = None
        self._messages: list[object] = []
        self._is_first = True

    def take(self, value: object) -> bool:
        if self._is_first:
            self._is_first = False
            if is_message(value):
                self.row = {"messages": self._messages}
        if self.row is None:
            return False
        if isinstance(self.row, RowError):
            return True
        if isinstance(value, RowError):
            self.row = value
        else:
            self._messages.append(value)
        return True


def _elements(window: _Window) -> Iterator[tuple[int, object]]:
    """(line, value) of the elements up to the closing bracket."""
    if window.starts_with("]"):
        window.position += 1
        return
    while True:
        window.peek()
        yield window.line, window.read_value()
        found = window.peek()
        window.position += 1
        if found == "]":
            return
        if found != ",":
            raise _unreadable("no comma or closing bracket")


def _unreadable(problem: str) -> RowError:
    return RowError(DropReason.BAD_JSON, f"{problem}; the rest of the file cannot be read")


class _Window:
    """A part of a text, the place where reading goes on, and that place's line."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.text = ""
        self.position = 0
        self._chunks = chunks
        # A bad byte becomes half a surrogate pair, so that it costs its own row and not the whole file.
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._is_start = True
        self._has_bad_bytes = False
        self._line = 1
        self._counted = 0
        self._is_at_end = False
        self._failure: RowError | None = None

    @property
    def line(self) -> int:
        """1-based line of the place."""
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def peek(self) -> str:
        """The next character that is no white space, "" at the end; the place moves there."""
        while True:
            gap = _GAP.match(self.text, self.position)
            self.position = gap.end() if gap else self.position
            if self.position < len(self.text):
                return self.text[self.position]
            if not self._grow():
                return ""

    def starts_with(self, character: str) -> bool:
        """Whether ``character`` stands at the place."""
        return self.text.startswith(character, self.position)

    def read_value(self) -> object:
        """The value at the place, which moves behind it; a RowError for one that is refused.

        Raises RowError for what is not JSON.
        """
        while True:
            start = self.position
            try:
                value, end = DECODER.raw_decode(self.text, start)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated string") or error.pos >= len(self.text) - _MARGIN
                if not is_cut or self._is_at_end:
                    raise _unreadable(self._describe(error)) from error
                if len(self.text) - start <= json_lines.MAX_ROW_BYTES:
                    self._grow()
                    continue
            except (ValueError, RecursionError) as error:
                self._skip_value()
                return RowError(DropReason.BAD_JSON, json_lines.describe_refusal(error))
            else:
                if end > len(self.text) - _MARGIN and not self._is_at_end and self.text[end - 1] not in '}]"':
                    # of 1.5 a window that ends with "1." gives 1
                    self._grow()
                    continue
                self.position = end
                if end - start <= json_lines.MAX_ROW_BYTES:
                    bad = _BAD_BYTES.search(self.text, start, end) if self._has_bad_bytes else None
                    return RowError(DropReason.NOT_UTF8, _describe_byte(bad, start)) if bad else value
                return _too_long()
            self._skip_value()
            return _too_long()

    def _describe(self, error: json.JSONDecodeError) -> str:
        line = self.line + self.text.count("\n", self.position, error.pos)
        return f"line {line}: {error.msg.removesuffix(' starting at').removesuffix(' at')}"

    def _skip_value(self) -> None:
        """Move behind a value without reading it and without holding it; only strings and brackets matter."""
        depth = 0
        for token in self._brackets_and_commas():
            if token in "[{":
                depth += 1
            elif depth == 0:  # what follows the value
                self.position -= 1
                return
            elif token in "]}":
                depth -= 1
                if depth == 0:
                    return

    def _brackets_and_commas(self) -> Iterator[str]:
        """Those outside strings, one by one; the place moves behind each."""
        in_string = False
        while True:
            found = (_STRING_PART if in_string else _STRUCTURE).search(self.text, self.position)
            if found is None:
                self.position = len(self.text)
                if not self._grow():
                    return
            elif found[0] == "\\":
                self.position = found.start()
                while len(self.text) < self.position + 2:
                    if not self._grow():
                        return
                self.position += 2
            else:
                self.position = found.end()
                if found[0] == '"':
                    in_string = not in_string
                else:
                    yield found[0]

    def _grow(self) -> bool:
        """Drop what is behind the place and at least double what is before it; False at the end.

        An error of the chunks is raised when all that came before it has been used.
        """
        if self._failure:
            raise self._failure
        if self._is_at_end:
            return False
        _ = self.line
        pieces = [self.text[self.position :]]
        missing = max(len(pieces[0]), 1)
        self.position = self._counted = 0
        while missing > 0:
            try:
                chunk = next(self._chunks, None)
            except RowError as error:
                self._failure = error
                break
            if chunk is None:
                self._is_at_end = True
            piece = self._decode(chunk or b"", chunk is None)
            if piece and self._is_start:
                piece = piece.removeprefix("\ufeff")
                self._is_start = False
            self._has_bad_bytes = self._has_bad_bytes or not (piece.isascii() or _BAD_BYTES.search(piece) is None)
            pieces.append(piece)
            missing -= len(piece)
            if self._is_at_end:
                break
        self.text = "".join(pieces)
        return True


def _describe_byte(bad: re.Match[str], start: int) -> str:
    return f"byte 0x{ord(bad[0]) - 0xDC00:02x} at character {bad.start() - start} of the row"


def _too_long() -> RowError:
    return RowError(DropReason.TOO_LONG, f"more than {json_lines.MAX_ROW_BYTES:,} characters")
