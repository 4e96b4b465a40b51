r"""Text -> its lines, each knowing whether a header may stand on it.

*Protected* are lines that begin inside display math (``\[..\]``, ``$$..$$``, ``\begin..\end``), a code fence or an
``[asy]`` drawing. An opener that is never closed protects nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of a text."""

    start: int
    """Offset of its first character."""
    text: str
    """Without its line break."""
    protected: bool = False
    """Whether it begins inside display math, code or a drawing."""

    @property
    def is_blank(self) -> bool:
        """Whether it holds nothing but white space."""
        return not self.text.strip()

    @property
    def indent(self) -> int:
        """Number of white space characters before its text."""
        return len(self.text) - len(self.text.lstrip())


_REGION_TOKEN = re.compile(r"\\\\|\\\$|(?P<dollars>\$\$)|(?P<open>\\\[|\\begin\{)|(?P<close>\\\]|\\end\{)")
_FENCES = {"```": "```", "~~~": "~~~", "[asy]": "[/asy]"}


@lru_cache(maxsize=4)  # every splitter asks for the lines of the same text
def read_lines(text: str) -> tuple[Line, ...]:
    """The lines of ``text`` with their protection. Total: any string is allowed; linear in the length of the text."""
    return tuple(_protect(_split(text)))


def top_indent(lines: Sequence[Line]) -> int:
    """The indentation up to which a line stands on the top level: the least of all, and one stray space."""
    return min((line.indent for line in lines if not line.is_blank), default=0) + 1


def top_lines(text: str) -> list[Line]:
    """The lines of ``text`` on which a header may stand: not protected, and on the top level."""
    lines = read_lines(text)
    top_level = top_indent(lines)
    return [line for line in lines if not line.protected and line.indent <= top_level]


def fenced_lines(lines: Sequence[Line]) -> set[int]:
    """Indices of the lines in closed code fences and drawings."""
    fenced: set[int] = set()
    closer, opened_at = "", 0
    for index, line in enumerate(lines):
        stripped = line.text.strip()
        if closer and closer in stripped:
            fenced.update(range(opened_at, index + 1))
            closer = ""
        elif not closer:
            opener = next((fence for fence in _FENCES if stripped.startswith(fence)), "")
            if opener and _FENCES[opener] not in stripped.removeprefix(opener):
                closer, opened_at = _FENCES[opener], index
    return fenced


def _split(text: str) -> list[Line]:
    lines: list[Line] = []
    start = 0
    for piece in text.split("\n"):  # not splitlines(): a form feed or U+2028 inside a formula ends no line
        lines.append(Line(start=start, text=piece))
        start += len(piece) + 1
    return lines


def _protect(lines: list[Line]) -> list[Line]:
    """Mark the lines that begin inside a region which cannot hold a header."""
    protected = fenced_lines(lines)
    depth, in_dollars, opened_at = 0, False, 0
    for index, line in enumerate(lines):
        if index in protected:
            continue
        if line.is_blank:  # TeX allows no blank line in display math, so what is open here was never meant as math
            depth, in_dollars = 0, False
            continue
        was_open = depth > 0 or in_dollars
        for token in _REGION_TOKEN.finditer(line.text):
            if token["dollars"]:
                in_dollars = not in_dollars
            elif token["open"]:
                depth += 1
            elif token["close"]:
                depth = max(0, depth - 1)
        is_open = depth > 0 or in_dollars
        if was_open and not is_open:
            protected.update(range(opened_at + 1, index + 1))
        if is_open and not was_open:
            opened_at = index
    return [
        Line(start=line.start, text=line.text, protected=True) if index in protected else line
        for index, line in enumerate(lines)
    ]
