r"""Actions and targets -> do they come to the same result? The measure that a similarity is held against.

The result of a text is the answer it marks, else what stands behind the last ``=`` of its last equation, else its last
number. Two results are compared like final answers: as text, as numbers, and what that leaves open by math-verify, in
processes that are killed when it hangs.

The decision a reader would question: one result decides, not the whole text. It is what the next step builds on, and
unlike the words around it, it is either equal or not. A step without any (a plan, a definition) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from srl.rewards.comparison import Pair, compare
from srl.rewards.final_answer import final_answer
from srl.rewards.grading import shared_grader
from srl.types import Ungraded

MAX_CHARACTERS = 20_000
"""A result is looked for in so many last characters."""
MAX_RESULT = 200
"""Longer results are none: they would be compared in vain."""
GRADING_SECONDS = 5.0
"""A comparison that takes longer is left open."""

_MARK = re.compile(r"\\\\|\\\$|\$\$|\$|\\[\[\]()]")
_CLOSES = {"$$": "$$", "$": "$", r"\[": r"\]", r"\(": r"\)"}
_PLAIN_EQUATION = re.compile(r"=[ \t]*([^=\n]{1,80})")
_SENTENCE_END = re.compile(r"[,;!?](?=\s|$)|\.(?!\d)|\s(?=[A-Za-z]{2,}\b)")
_NUMBER = re.compile(r"(?<![\w.])[-\N{MINUS SIGN}]?\d[\d,]*(?:\.\d+)?%?")
_TRIM = re.compile(r"^(?:\\(?:,|;|!|:|quad|qquad)|[\s&~])+|(?:\\(?:,|;|!|:|quad|qquad|\\)|[\s.,;:~*])+$")
_ASIDE = re.compile(r"\\q?quad(?![a-zA-Z])")
_ALIGNMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}(?:\{[a-z|]*\})?|\\label\{[^{}]*\}|\\tag\{[^{}]*\}|&")


def find_result(text: str) -> str | None:
    r"""What a step comes to, None where it holds no equation and no number.

    >>> find_result(r"so $x + y = 3 + 4 = 7$ with odd $n$"), find_result("82-21=61. Done"), find_result("by symmetry")
    ('7', '61', None)
    """
    text = text[-MAX_CHARACTERS:]
    result = final_answer(text)
    if result is None:
        formulas, prose = _split_formulas(text)
        equations = [formula for formula in formulas if "=" in formula]
        if equations or formulas:
            result = _right_side(equations[-1] if equations else formulas[-1])
        if plain := _PLAIN_EQUATION.findall(prose) if not equations else []:
            result = _trim(_SENTENCE_END.split(plain[-1], maxsplit=1)[0])
        if not result:
            numbers = _NUMBER.findall(prose)
            result = numbers[-1].rstrip(",") if numbers else ""
    return result if 0 < len(result) <= MAX_RESULT else None


def compare_results(pairs: Sequence[Pair]) -> list[bool | None]:
    """For each (result of an action, result of its target) whether they mean the same; None where that stays open.

    The rules are those of final answers, docs/grading.md; equal pairs are compared once.
    """
    compared = {pair: compare(*pair) for pair in dict.fromkeys(pairs)}
    open_pairs = [part for parts in compared.values() if isinstance(parts, list) for part in parts]
    matched: dict[Pair, bool | Ungraded] = {}
    if open_pairs:
        grader = shared_grader(deadline_seconds=GRADING_SECONDS)
        matched = dict(zip(open_pairs, grader.match_many(open_pairs), strict=True))
    return [
        parts if isinstance(parts := compared[pair], bool) else _all_match([matched[part] for part in parts])
        for pair in pairs
    ]


def _all_match(parts: Sequence[bool | Ungraded]) -> bool | None:
    """One part that differs decides; one that could not be graded leaves the rest open."""
    if False in parts:
        return False
    return None if any(isinstance(part, Ungraded) for part in parts) else True


def _split_formulas(text: str) -> tuple[list[str], str]:
    """The formulas between dollars, brackets and parentheses of LaTeX, and the text without them; in linear time."""
    formulas: list[str] = []
    prose: list[str] = []
    opened, start, end = "", 0, 0
    for mark in _MARK.finditer(text):
        if mark[0] == "$" and opened == "$" and text[mark.end() : mark.end() + 1].isdigit():
            continue  # "$5 and then $6" is money
        if opened and mark[0] == _CLOSES[opened]:
            formulas.append(text[start : mark.start()])
            opened, end = "", mark.end()
        elif not opened and mark[0] in _CLOSES:
            prose.append(text[end : mark.start()])
            opened, start, end = mark[0], mark.end(), mark.start()
    return [formula for formula in formulas if formula.strip()], " ".join([*prose, text[end:]])


def _right_side(formula: str) -> str:
    """What stands behind the last equals sign, without alignment, asides and closing marks."""
    return _trim(_ASIDE.split(_ALIGNMENT.sub("", formula.rpartition("=")[2]).strip(), maxsplit=1)[0])


def _trim(formula: str) -> str:
    previous = ""
    while previous != formula:
        previous, formula = formula, _TRIM.sub("", formula)
    return formula
