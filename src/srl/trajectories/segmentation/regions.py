r"""Text -> the stretches in which nothing is cut: code, drawings, formulas, brackets and bold text.

A stretch begins at its opener and ends after its closer; an opener without a closer protects nothing. Formulas in a
line, brackets and bold text end with their paragraph, display math only if its opener shares the line with other text
(a blank line inside ``\[`` ... ``\]`` is an error in TeX and common in generated text). Environments that hold prose
(``proof``, ``enumerate``, ...) are no stretches: their content is cut like any other.

One pass over the tokens, each kind of opener on its own: kinds that overlap, as they do in broken LaTeX, protect more,
never less, and the time stays linear.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from srl.trajectories.segmentation.lines import Line, fenced_lines

PROSE_ENVIRONMENTS = frozenset(
    {
        "center", "claim", "corollary", "description", "document", "enumerate", "itemize", "lemma", "proof",
        "proposition", "quote", "remark", "solution", "theorem",
    }
)  # fmt: skip
# Brackets over more than this many characters are taken for an accident ("a)" closing "(1").
_MAX_BRACKET = 400

_MATH_TOKEN = re.compile(
    r"\\\\|\\\$|(?P<blank>\n[ \t\r]*(?=\n))|(?P<display>\$\$)|(?P<dollar>\$)|(?P<code>`+)"
    r"|(?P<open>\\[\[(])|(?P<close>\\[\])])|\\(?P<environment>begin|end)\{(?P<name>[A-Za-z]{1,20}\*?)\}"
)
_TEXT_TOKEN = re.compile(r"(?P<blank>\n[ \t\r]*(?=\n))|(?P<open>[(\[])|(?P<close>[)\]])|(?P<bold>\*\*)")
_CLOSERS = {"\\]": "\\[", "\\)": "\\("}

Interval = tuple[int, int]


class Regions:
    """Protected stretches of one text."""

    def __init__(self, intervals: Iterable[Interval]) -> None:
        merged: list[Interval] = []
        for start, end in sorted(intervals):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self.intervals = merged
        self._starts = [start for start, _ in merged]

    def around(self, position: int) -> Interval | None:
        """The stretch that ``position`` lies inside: after its first character, before its end."""
        index = bisect_right(self._starts, position - 1) - 1
        if index >= 0 and position < self.intervals[index][1]:
            return self.intervals[index]
        return None


def find_regions(text: str, lines: Sequence[Line]) -> Regions:
    r"""The protected stretches of ``text``, whose lines are ``lines``. Total: any string is allowed.

    >>> from srl.trajectories.segmentation.lines import read_lines
    >>> text = r"So \(x. Y\) and (see Fig. 3) cost $5."
    >>> [text[start:end] for start, end in find_regions(text, read_lines(text)).intervals]
    ['\\(x. Y\\)', '(see Fig. 3)']
    """
    intervals = list(_fences(lines))
    intervals.extend(_formulas(text))
    hard = Regions(intervals)
    return Regions([*hard.intervals, *_brackets(text, hard)])


def _fences(lines: Sequence[Line]) -> Iterator[Interval]:
    fenced = fenced_lines(lines)
    for index in sorted(fenced):
        yield lines[index].start, lines[index].start + len(lines[index].text)
        if index + 1 in fenced:  # the line break between two fenced lines
            yield lines[index].start, lines[index + 1].start + 1


def _formulas(text: str) -> Iterator[Interval]:
    opened: dict[str, int] = {}  # opener -> offset of the last one that is not closed
    environments: dict[str, list[int]] = {}
    for token in _MATH_TOKEN.finditer(text):
        found, at = token.group(), token.start()
        if token["blank"] is not None:
            opened = {opener: start for opener, start in opened.items() if _is_alone(text, opener, start)}
        elif token["environment"]:
            yield from _environment(token, environments)
        elif token["dollar"]:
            yield from _dollar(text, at, opened)
        elif token["open"]:
            opened[found] = at
        elif token.lastgroup is not None:  # not an escaped character
            start = opened.pop(_CLOSERS.get(found, found), None)
            if start is not None:
                yield start, token.end()
            elif not token["close"]:
                opened[found] = at


def _environment(token: re.Match[str], opened: dict[str, list[int]]) -> Iterator[Interval]:
    if token["environment"] == "begin":
        if token["name"].rstrip("*") not in PROSE_ENVIRONMENTS:
            opened.setdefault(token["name"], []).append(token.start())
    elif opened.get(token["name"]):
        yield opened[token["name"]].pop(), token.end()


def _is_alone(text: str, opener: str, start: int) -> bool:
    r"""Whether an opener of display math at ``start`` ends its line, so that a blank line may stand inside."""
    end = start + len(opener)
    return opener in {"\\[", "$$"} and text[end : end + 3].lstrip(" \t\r").startswith("\n")


def _dollar(text: str, at: int, opened: dict[str, int]) -> Iterator[Interval]:
    """Pandoc's rule: no space after the first dollar, none before the second and no digit after it."""
    following = text[at + 1 : at + 2]
    start = opened.get("$")
    if start is not None and not text[at - 1].isspace() and not following.isdigit():
        del opened["$"]
        yield start, at + 1
    elif following and not following.isspace():
        opened["$"] = at


def _brackets(text: str, hard: Regions) -> Iterator[Interval]:
    stack: list[int] = []
    bold: int | None = None
    for token in _TEXT_TOKEN.finditer(text):
        if token["blank"] is not None:
            stack, bold = [], None
        elif hard.around(token.start()) is not None or text[token.start() - 1 : token.start()] == "\\":
            continue
        elif token["open"]:
            stack.append(token.start())
        elif token["close"] and stack:
            start = stack.pop()
            if token.end() - start <= _MAX_BRACKET:
                yield start, token.end()
        elif token["bold"]:
            if bold is None:
                bold = token.start()
            else:
                yield bold, token.end()
                bold = None
