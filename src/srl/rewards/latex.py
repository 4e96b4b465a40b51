r"""A formula as it was written -> its statements in one spelling.

A statement is an expression (``2x``), an equation or inequality (``2x = 6``), or anything else as one text. Spelling
that carries no meaning goes: ``\dfrac``, ``\left``, spacing, ``\cdot`` against ``\times`` against ``*``, braces around
a single sign, ``\text`` around units, ``\le`` against ``\leq``, ``b > a`` against ``a < b``.

A chain of equations ``a = b = c`` is two statements, ``a = b`` and ``a = c``, and so is what is written over two lines
of ``align``: what is defined first is what the rest is about.

The decision a reader would question: a comma splits (``x = 1, y = 2``) only where a relation stands on both sides of
it, so that the point ``(1, 2)`` stays whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from srl.rewards.latex_values import Values, values_of
from srl.rewards.notation import plain, tidy
from srl.rewards.numbers import Number, read_number
from srl.rewards.words import split_words

SYMMETRIC = ("=", r"\neq", r"\approx")
"""Relations whose sides may change places."""
MAX_COMPARED_CHARS = 300
"""Longer statements are compared as text only. Of 57,733 in real solutions, 2 are longer."""
MAX_NESTING = 10
"""The same for brackets nested deeper."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """An expression, or sides with a relation between them."""

    relation: str
    """"=", "<", "\\leq", "\\neq", "\\approx", or "" where there is one side only."""
    sides: tuple[str, ...]
    """One or two, in one spelling but with the spaces that keep commands apart from letters."""

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The sides as text comparison sees them."""
        return tuple(plain(side) for side in self.sides)

    @cached_property
    def numbers(self) -> tuple[Number | None, ...]:
        """The sides that are numbers."""
        return tuple(read_number(side) for side in self.sides)

    @cached_property
    def values(self) -> tuple[Values | None, ...]:
        """What the sides are worth at the fixed points."""
        return tuple(values_of(side) for side in self.sides)

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Equal for statements that are the same text but for spelling, notation of numbers and order of sides."""
        sides = [
            text if number is None else f"{number.value}{'%' if number.is_percent else ''}"
            for text, number in zip(self.texts, self.numbers, strict=True)
        ]
        return (self.relation, *(sorted(sides) if self.relation in SYMMETRIC else sides))

    @cached_property
    def letters(self) -> frozenset[str]:
        """The single letters in it; a difference in them is a difference in what it is about."""
        return frozenset(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", " ".join(self.sides))))

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """The numbers in it, sorted."""
        return tuple(sorted(re.findall(r"\d+(?:\.\d+)?", " ".join(self.sides))))

    @cached_property
    def text(self) -> str:
        """The whole statement."""
        return f" {self.relation} ".join(self.sides)

    @cached_property
    def num_words(self) -> int:
        """Its size, in the words of ``srl.rewards.words``."""
        return max(1, len(split_words(self.text)))

    @cached_property
    def is_comparable(self) -> bool:
        """Whether math-verify is worth asking: it reads all of it, and it is no longer than formulas are.

        What math-verify does not know it leaves out, and then anything is equal.
        """
        depth = deepest = 0
        for character in self.text:
            depth += (character in "({[") - (character in ")}]")
            deepest = max(deepest, depth)
        is_formula = len(self.text) <= MAX_COMPARED_CHARS and deepest <= MAX_NESTING
        return is_formula and self.relation != r"\approx" and _UNKNOWN.search(" ".join(self.sides)) is None


_KNOWN = "frac|sqrt|pi|sin|cos|tan|cot|sec|csc|ln|log|exp|arcsin|arccos|arctan|binom|pm|infty|cup|cap|" + (
    "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|rho|sigma|tau|phi|omega|Delta|Omega"
)
# Besides other commands: primes, names of points (ABC, which math-verify multiplies) and words.
_UNKNOWN = re.compile(rf"\\(?!(?:{_KNOWN})(?![A-Za-z])|[{{}}])|['\u2032?@#&]|[A-Z]{{2}}|(?<![\\A-Za-z])[A-Za-z]{{3}}|:")

_SPELLING = (
    (re.compile(r"\\(?:tag|label)\s*\{[^{}]*\}|\\(?:nonumber|notag)(?![A-Za-z])|&"), " "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\\(?:leqslant|leq|le)(?![A-Za-z])|\u2264|<="), r"\\leq "),
    (re.compile(r"\\(?:geqslant|geq|ge)(?![A-Za-z])|\u2265|>="), r"\\geq "),
    (re.compile(r"\\(?:neq|ne)(?![A-Za-z])|\\not\s*=|\u2260|!="), r"\\neq "),
    (re.compile(r"\\(?:approx|simeq|thickapprox)(?![A-Za-z])|\u2248"), r"\\approx "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile("=="), "="),
    (re.compile(r"\\(?:cdot|times|ast)(?![A-Za-z])|[\u00d7\u00b7\u2217]"), " * "),
    (re.compile(r"\\div(?![A-Za-z])|\u00f7"), "/"),
)  # fmt: skip
_BRACES = (
    (re.compile(r"\\frac\s*([0-9A-Za-z])(?=\s*[{0-9A-Za-z\\])"), r"\\frac{\1}"),
    (re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9A-Za-z])"), r"\1{\2}"),
    (re.compile(r"\\sqrt\s*([0-9A-Za-z])"), r"\\sqrt{\1}"),
    (re.compile(r"([\^_])\s*\{\s*(\w)\s*\}"), r"\1\2"),
    (re.compile(r"(?<=[A-Za-z0-9)}])\s*\*\s*(?=[A-Za-z(\\])"), " "),
    (re.compile(r"(?<![\w}])\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}(?!\s*[\w\\({^])"), r"\1/\2"),
)
_SEPARATOR = re.compile(
    r"\\\\(?:\[[^\]]*\])?|\\(?:implies|iff|(?:[Ll]ong)?[Rr]ightarrow|Leftrightarrow|Longleftrightarrow|therefore|q?quad)"
    r"(?![A-Za-z])|[\u21d2\u27f9\u21d4\n]|(?<!\\);|\\text\s*\{\s*(?:and|or|so|where|if|then|,)?\s*\}"
)
_RELATION = re.compile(r"=|<|>|\\(?:leq|geq|neq|approx)(?![A-Za-z])")
_FLIPPED = {">": "<", r"\geq": r"\leq"}
_WRAPPED = re.compile(r"\\(?:boxed|fbox)\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")


def read_statements(formula: str) -> list[Statement]:
    r"""The statements of one formula, in order.

    >>> [statement.text for statement in read_statements(r"A &= \dfrac12 \cdot b h \\ &= 6")]
    ['A = \\frac{1}{2} b h', 'A = 6']
    >>> read_statements("b > a")[0].key == read_statements("a<b")[0].key
    True
    """
    statements: list[Statement] = []
    subject = ""
    for part in _split(formula):
        sides, relations = _take_apart(part)
        if relations and not sides[0]:  # "= 6" goes on with what came before
            sides[0] = subject
        statements += _state(sides, relations, part)
        subject = sides[0] or subject
    return statements


def _split(formula: str) -> list[str]:
    parts: list[str] = []
    for separated in _SEPARATOR.split(_WRAPPED.sub(r"\1", formula)):
        for pattern, replacement in _SPELLING:
            separated = pattern.sub(replacement, separated)
        pieces = separated.split(",")
        if len(pieces) > 1 and all(_RELATION.search(piece) for piece in pieces):
            parts += pieces
        else:
            parts.append(separated)
    return [part for part in parts if part.strip()]


def _take_apart(part: str) -> tuple[list[str], list[str]]:
    """The sides and the relations between them."""
    return [_spell(side) for side in _RELATION.split(part)], _RELATION.findall(part)


def _spell(side: str) -> str:
    side = tidy(side.strip().strip(",:;")).strip()
    for pattern, replacement in _BRACES:
        side = pattern.sub(replacement, side)
    return side


def _state(sides: list[str], relations: list[str], part: str) -> list[Statement]:
    if not relations:
        return [Statement(relation="", sides=(sides[0],))] if sides[0] else []
    kinds = set(relations)
    if len(relations) > 1 and kinds != {"="} and kinds != {"=", r"\approx"}:  # 1 < x < 3 is one statement
        return [Statement(relation="", sides=(_spell(part),))]
    statements: list[Statement] = []
    for relation, side in zip(relations, sides[1:], strict=True):
        if not sides[0] or not side:
            statements += [Statement(relation="", sides=(each,)) for each in (sides[0], side) if each]
            continue
        pair = (side, sides[0]) if relation in _FLIPPED else (sides[0], side)
        statements.append(Statement(relation=_FLIPPED.get(relation, relation), sides=pair))
    return statements
