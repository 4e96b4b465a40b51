r"""A text -> the formulas in it, and the prose between them.

A formula is what stands in ``$...$``, ``$$...$$``, ``\(...\)``, ``\[...\]``, ``\boxed{...}`` or an environment such as
``align``, and what is written without such marks but reads as mathematics: a number by itself (``12``), or operands
with operators between them (``3 + 4 = 7``, ``x = \frac{1}{2}``).

A dollar sign opens a formula only if no white space follows it, and closes one only if no white space stands before it
and no digit after it, so that ``$18 and $20`` are two prices; a price is a number. A number that counts the items of a
list, or steps, is prose.

The decision a reader would question: a single letter without a mark (the word ``a``) is prose, and letters that stand
together are a word, so ``xy = 2`` without marks gives ``2`` and no equation. Words taken for mathematics would be
compared as mathematics, which is worse.

Whatever a text holds, reading it takes time proportional to its length.
"""

from __future__ import annotations

import re

MAX_FORMULA_CHARS = 1_000
"""What is marked as a formula and longer than this is prose: most likely a mark that was never closed."""

_ENVIRONMENTS = r"align|aligned|equation|gather|gathered|eqnarray|multline|split|displaymath|math"
_OPENING = re.compile(
    rf"\\\\|\\\$|\$\$|\$(?![\s$])|\\\[|\\\(|\\boxed\s*\{{|\\fbox\s*\{{|\\begin\{{(?:{_ENVIRONMENTS})\*?\}}"
)
_CLOSING = {
    "$$": re.compile(r"\$\$"),
    "$": re.compile(r"(?<=[^\s\\])\$(?!\d)"),
    r"\[": re.compile(r"\\\]"),
    r"\(": re.compile(r"\\\)"),
}
_COUNT = re.compile(r"(?m)^[ \t>#*-]*(?:(?:[Ss]tep|[Cc]ase|[Pp]art)[ \t]+)?(\d{1,3})[.):](?=[\s*])")
_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
# Possessive repetition throughout: what a text can make this try again must stay linear.
_OPERAND = (
    rf"(?:{_NUMBER}%?|(?:(?<![^\W\d_])[A-Za-z]|(?<=}})[A-Za-z]{{2,3}})(?![^\W\d_])|[\u03b1-\u03c9\u221a\u221e]"
    r"|\\(?!(?:cdot|times|div|leq?|geq?|neq?|approx)(?![A-Za-z]))[A-Za-z]+|[()\[\]{}|^_\u00b2\u00b3\u00b0])++"
)
_OPERATOR = (
    r"(?:\*\*|[<>!=]=|[-+*/\u00d7\u00b7\u00f7=\u2248\u2260<>\u2264\u2265\u2212]"
    r"|\\(?:cdot|times|div|leq?|geq?|neq?|approx)\b)"
)
_SIGN = r"(?:[-+\u2212](?=[\w(\\]))?"
_BARE = re.compile(rf"(?<![\w.]){_SIGN}{_OPERAND}(?:[ \t]*+{_OPERATOR}[ \t]*+{_SIGN}{_OPERAND})*+")
_RELATION = re.compile(r"[=<>\u2248\u2260\u2264\u2265]|\\(?:leq?|geq?|neq?|approx)(?![A-Za-z])")
_IS_NUMBER = re.compile(rf"[-+\u2212]?(?:{_NUMBER}%?|\.\d+)")
_PRICE = re.compile(r"\\?\$(?=\d)")
_PAIRS = {")": "(", "]": "[", "}": "{"}


def split_formulas(text: str) -> tuple[list[str], str]:
    r"""The formulas as they stand, without their marks, in order; and the text with a space in place of each.

    >>> split_formulas(r"1. Add: 3 + 4 = 7, so $x$ is \boxed{7}. It costs $5.")
    (['3 + 4 = 7', 'x', '7', '5'], '1. Add:  , so   is  . It costs  .')
    """
    formulas: list[str] = []
    prose: list[str] = []
    for is_formula, part in _marked_parts(text):
        if is_formula:
            formulas.append(part)
            prose.append(" ")
        else:
            prose.append(_take_bare(part, formulas))
    return formulas, "".join(prose)


def _marked_parts(text: str) -> list[tuple[bool, str]]:
    """The text cut at the marks of formulas: (whether it is one, text)."""
    parts: list[tuple[bool, str]] = []
    next_closing: dict[str, int] = {}
    braces: dict[int, int] | None = None
    begin = position = 0
    while opening := _OPENING.search(text, position):
        mark = opening.group()
        position = opening.end()
        if mark in ("\\\\", "\\$"):
            continue
        if mark.endswith("{"):
            braces = _match_braces(text) if braces is None else braces
            closing, end = braces.get(position - 1, -1), braces.get(position - 1, -1) + 1
        else:
            closing, end = _find_closing(text, mark, position, next_closing)
        if closing < 0 or closing - position > MAX_FORMULA_CHARS:
            continue
        parts += [(False, text[begin : opening.start()]), (True, text[position:closing])]
        begin = position = end
    return [*parts, (False, text[begin:])]


def _find_closing(text: str, mark: str, position: int, known: dict[str, int]) -> tuple[int, int]:
    """Where the formula that ``mark`` opened before ``position`` ends, and the mark after it; -1 where it does not.

    ``known`` has the next closing mark of each kind, so that a text is searched once for each.
    """
    if mark.startswith(r"\begin"):
        name = mark.removeprefix(r"\begin")
        pattern, length = re.compile(re.escape(r"\end" + name)), len(name) + 4
    else:
        pattern, length = _CLOSING[mark], len(mark)
    if mark not in known or known[mark] < position:
        found = pattern.search(text, position)
        known[mark] = found.start() if found else len(text)
    closing = known[mark]
    return (closing, closing + length) if closing < len(text) else (-1, -1)


def _match_braces(text: str) -> dict[int, int]:
    """Position of each opening brace -> position of the brace that closes it."""
    opened: list[int] = []
    matched: dict[int, int] = {}
    for brace in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if brace.group() == "{":
            opened.append(brace.start())
        elif brace.group() == "}" and opened:
            matched[opened.pop()] = brace.start()
    return matched


def _take_bare(prose: str, formulas: list[str]) -> str:
    """Append what reads as mathematics to ``formulas``; returns the rest."""
    prose = _PRICE.sub("", prose)
    kept: list[str] = []
    begin = 0
    counts = {count.start(1) for count in _COUNT.finditer(prose)}
    for run in _BARE.finditer(prose):
        start, end = _trim(prose, run.start(), run.end())
        if start in counts or not _reads_as_formula(prose, start, end):
            continue
        kept += [prose[begin:start], " "]
        formulas.append(prose[start:end])
        begin = end
    return "".join([*kept, prose[begin:]])


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out brackets at the ends that have no partner inside, and white space."""
    opened: list[int] = []
    single: list[int] = []
    for place in range(start, end):
        character = text[place]
        if character in "([{":
            opened.append(place)
        elif character in _PAIRS:
            if opened and text[opened[-1]] == _PAIRS[character]:
                opened.pop()
            else:
                single.append(place)
    unmatched = {*opened, *single}
    while start < end and (start in unmatched or text[start] in " \t|"):
        start += 1
    while end > start and (end - 1 in unmatched or text[end - 1] in " \t|^_"):
        end -= 1
    return start, end


def _reads_as_formula(text: str, start: int, end: int) -> bool:
    run = text[start:end]
    if _IS_NUMBER.fullmatch(run):
        return not text[end : end + 1].isalnum() and text[end : end + 1] != "_"
    has_digit = any(character.isdigit() for character in run)
    if _RELATION.search(run):
        return True
    return has_digit and re.search(r"[-+*/^\u00d7\u00b7\u00f7\u2212]|\\[A-Za-z]", run.lstrip("-+\u2212")) is not None
