r"""A formula's text -> what it is worth at a few fixed points, to see cheaply that two formulas are *not* equal.

Letters get fixed values that depend on the name; arithmetic is on complex floating-point numbers. Two expressions with
different values somewhere are different, so only pairs that agree at every point are worth the time of sympy, which
has the last word.

The decision a reader would question: a second reader of formulas beside math-verify's. It reads less (arithmetic,
fractions, roots, powers, common functions; None for anything else), answers in microseconds, and is only ever used to
leave a question out.
"""

from __future__ import annotations

import cmath
import math
import re
import zlib
from collections.abc import Callable, Sequence

NUM_POINTS = 3
MAX_DEPTH = 25
"""Brackets nested deeper are not read."""
MAX_VALUE = 1e100
"""What is larger is not read: the size of a complex number would overflow."""
TOLERANCE = 1e-9
"""Relative difference up to which two values agree."""

Values = tuple[complex, ...]
"""One value for each point."""

_TOKEN = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+|\\[A-Za-z]+|\\.|[A-Za-z](?:_(?:\{\w+\}|\w))?|\S")
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    r"\sin": cmath.sin, r"\cos": cmath.cos, r"\tan": cmath.tan, r"\ln": cmath.log, r"\log": cmath.log10,
    r"\exp": cmath.exp, r"\arcsin": cmath.asin, r"\arccos": cmath.acos, r"\arctan": cmath.atan,
    r"\cot": lambda z: 1 / cmath.tan(z), r"\sec": lambda z: 1 / cmath.cos(z), r"\csc": lambda z: 1 / cmath.sin(z),
}  # fmt: skip
_CONSTANTS = {r"\pi": complex(math.pi), "e": complex(math.e), "i": 1j}
"""What holds for a variable of any value holds for these too, so nothing equal is left out if they are variables."""
_GREEK = re.compile(r"\\(?:alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|rho|sigma|tau|phi|omega|Delta|Omega)")


class _UnreadableError(Exception):
    """The formula holds something that is not read here."""


def values_of(formula: str) -> Values | None:
    r"""The values of an expression without relations, None where it cannot be read.

    >>> values_of(r"\frac{1}{2} + 0.5")
    ((1+0j), (1+0j), (1+0j))
    """
    tokens = _TOKEN.findall(formula)
    if not tokens:
        return None
    try:
        reader = _Reader(tokens)
        values = reader.sum(0)
        is_whole = reader.place == len(tokens)
    except (_UnreadableError, ArithmeticError, ValueError):
        return None
    return values if is_whole and all(max(abs(value.real), abs(value.imag)) < MAX_VALUE for value in values) else None


def agree(first: Values | None, second: Values | None) -> bool:
    """Whether two expressions may be equal: True unless both are known and differ."""
    return first is None or second is None or all(map(_is_close, first, second))


def are_proportional(first: Values | None, second: Values | None) -> bool:
    """Whether two equations may be equal, by the differences of their sides: True unless both are known and differ.

    a = b and c = d have the same solutions if a - b = k (c - d) for a number k other than 0.
    """
    if first is None or second is None:
        return True
    zeros = [abs(value) < TOLERANCE for value in first], [abs(value) < TOLERANCE for value in second]
    if zeros[0] != zeros[1]:
        return False
    ratios = [one / other for one, other, is_zero in zip(first, second, zeros[0], strict=True) if not is_zero]
    return all(_is_close(ratio, ratios[0]) for ratio in ratios)


def is_zero(values: Values | None) -> bool:
    """Whether an expression is known to be 0 at every point."""
    return values is not None and all(abs(value) < TOLERANCE for value in values)


def minus(first: Values | None, second: Values | None) -> Values | None:
    """The difference, None where one is not known."""
    if first is None or second is None:
        return None
    return tuple(one - other for one, other in zip(first, second, strict=True))


def _is_close(first: complex, second: complex) -> bool:
    return abs(first - second) <= TOLERANCE * max(1.0, abs(first), abs(second))


def _letter(name: str) -> Values:
    """Fixed values between 0.5 and 3.5 that depend on the name."""
    checksum = zlib.crc32(name.replace("{", "").replace("}", "").encode("utf-8", "replace"))
    return tuple(complex(0.5 + 3.0 * ((checksum * (2 * point + 1)) % 9973) / 9973) for point in range(NUM_POINTS))


class _Reader:
    """Recursive descent over the tokens of one expression; juxtaposition multiplies, as in 2x."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens, self.place = tokens, 0

    def next_is(self, *wanted: str) -> bool:
        return self.place < len(self.tokens) and self.tokens[self.place] in wanted

    def take(self) -> str:
        if self.place == len(self.tokens):
            raise _UnreadableError
        self.place += 1
        return self.tokens[self.place - 1]

    def sum(self, depth: int) -> Values:
        """Products with + and - between them and before the first."""
        total: Values = (0j,) * NUM_POINTS
        is_first = True
        while is_first or self.next_is("+", "-"):
            sign = 1
            while self.next_is("+", "-"):
                sign = -sign if self.take() == "-" else sign
            product = self.product(depth)
            total = tuple(value + sign * other for value, other in zip(total, product, strict=True))
            is_first = False
        return total

    def product(self, depth: int) -> Values:
        """Powers with *, / or nothing between them."""
        result = self.power(depth)
        while self.place < len(self.tokens) and not self.next_is("+", "-", ")", "]", "}", ",", "|"):
            operator = self.take() if self.next_is("*", "/") else "*"
            factor = self.power(depth)
            pairs = zip(result, factor, strict=True)
            result = tuple(value / other if operator == "/" else value * other for value, other in pairs)
        return result

    def power(self, depth: int) -> Values:
        """An operand with what stands behind it: a power, a factorial, a percent sign."""
        result = self.operand(depth)
        while self.next_is("^", "!", "%"):
            sign = self.take()
            if sign == "%":
                result = tuple(value / 100 for value in result)
            elif sign == "!":
                result = tuple(complex(math.gamma(value.real + 1)) for value in result)
            else:
                is_negative = self.next_is("-") and self.take() == "-"
                exponent = self.operand(depth + 1)
                signed = tuple(-value for value in exponent) if is_negative else exponent
                result = tuple(value**other for value, other in zip(result, signed, strict=True))
        return result

    def operand(self, depth: int) -> Values:
        """A number, a letter, a bracket, a fraction, a root or a function."""
        if depth > MAX_DEPTH:
            raise _UnreadableError
        token = self.take()
        if token[0].isdigit() or (token[0] == "." and len(token) > 1):
            return (complex(float(token.replace(",", ""))),) * NUM_POINTS
        if token in ("(", "{", "["):
            inner = self.sum(depth + 1)
            if self.take() != {"(": ")", "{": "}", "[": "]"}[token]:
                raise _UnreadableError
            return inner
        if token in _CONSTANTS:
            return (_CONSTANTS[token],) * NUM_POINTS
        if token == r"\frac":
            top, bottom = self.group(depth), self.group(depth)
            return tuple(value / other for value, other in zip(top, bottom, strict=True))
        if token == r"\sqrt":
            order = self.operand(depth + 1) if self.next_is("[") else (2 + 0j,) * NUM_POINTS
            radicand = self.group(depth)
            return tuple(value ** (1 / other) for value, other in zip(radicand, order, strict=True))
        if token in _FUNCTIONS:
            return self.call(token, depth)
        if token[0].isalpha() or _GREEK.fullmatch(token):
            return _letter(token)
        raise _UnreadableError

    def group(self, depth: int) -> Values:
        if not self.next_is("{"):
            raise _UnreadableError
        return self.operand(depth + 1)

    def call(self, name: str, depth: int) -> Values:
        r"""A function and its argument: \sin x, \sin^2 x, \sin(2x), \sin 2x."""
        if self.next_is("_"):  # a logarithm's base
            raise _UnreadableError
        exponent: Values | None = None
        if self.next_is("^"):
            self.take()
            exponent = self.operand(depth + 1)
        argument = self.operand(depth + 1) if self.next_is("(", "{") else self.product(depth + 1)
        result = tuple(_FUNCTIONS[name](value) for value in argument)
        return result if exponent is None else tuple(v**e for v, e in zip(result, exponent, strict=True))
