r"""Answer text -> exact number, without sympy: what most final answers are (27.0, 1,234, \frac{1}{9}, 4.5e33, 25\%).

A number may carry a unit, which is ignored. The decision a reader would question: how exact a decimal must be. Equal
values always match; beside that, a decimal matches a reference that is no integer within ``RELATIVE_TOLERANCE``. The
Qwen2.5-Math package allows the same tolerance for integers too, which makes 12346 a right answer for 12345.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

RELATIVE_TOLERANCE = Fraction(1, 10_000)
"""For decimals compared with a reference that is no integer; the value of the Qwen2.5-Math package."""
MAX_NUMBER_CHARS = 100
"""Longer texts are not read as numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """A number as it was written."""

    value: Fraction
    """Its exact value; 25 for 25 %."""
    is_percent: bool
    """Written with a percent sign."""
    is_rounded: bool
    """Written with a decimal point or a power of ten, so it may be an approximation."""
    is_scientific: bool
    """Written with a power of ten."""


_DECIMAL = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d{1,3}(?: \d{3})+(?![\d.])|\d+\.?\d*|\.\d+)"
_EXPONENT = r"10\s*\^\s*(?:\{\s*(?P<%s>[+-]?\d{1,3})\s*\}|(?P<%s>[+-]?\d{1,3}))"
_POWER = rf"[eE](?P<e>[+-]?\d{{1,3}})|\s*(?:\\times|\\cdot|\*|x|\u00d7)\s*{_EXPONENT % ('p1', 'p2')}"
_BODY = "|".join(
    (
        r"(?P<whole>\d+)?\s*\\frac\s*\{\s*(?P<top>-?\d+)\s*\}\s*\{\s*(?P<bottom>\d+)\s*\}",
        r"(?P<whole_before>\d+)?\s*\\frac\s*(?P<top_digit>\d)\s*(?P<bottom_digit>\d)",
        r"(?P<mixed>\d+) (?P<mixed_top>\d+)/(?P<mixed_bottom>\d+)",
        rf"(?P<over>{_DECIMAL})\s*/\s*(?P<under>{_DECIMAL})",
        rf"(?P<decimal>{_DECIMAL})(?:{_POWER})?",
        _EXPONENT % ("p3", "p4"),
    )
)
# Words of one or two letters are variables and constants unless they are known units.
_WORD = r"(?<=[\s/])(?:cm|mm|km|nm|kg|mg|ft|hr|lb|oz|mL|eV|Hz|kJ|[A-Za-z]{3,})\b"
_NAME = rf"\\(?:text|textrm|mathrm|mbox|operatorname)\s*\{{[^{{}}\d]*\}}|{_WORD}|\\AA"
_UNIT = rf"(?:(?:{_NAME})(?:\s*\^\s*\{{?-?\d\}}?)?|/|\s)"
_NUMBER = re.compile(rf"(?P<sign>[+-]?)\s*(?:{_BODY})\s*(?P<percent>%)?{_UNIT}*")


def read_number(answer: str) -> Number | None:
    r"""The number that ``answer`` is, None when it is anything else.

    >>> read_number(r"1\frac{1}{10} \text{ hours}").value, read_number("2x")
    (Fraction(11, 10), None)
    """
    match = _NUMBER.fullmatch(answer.strip()) if len(answer) <= MAX_NUMBER_CHARS else None
    if match is None:
        return None
    power = match["e"] or match["p1"] or match["p2"] or match["p3"] or match["p4"]
    top = _fraction(
        match["top"] or match["top_digit"] or match["mixed_top"] or match["over"] or match["decimal"] or "1"
    )
    bottom = _fraction(match["bottom"] or match["bottom_digit"] or match["mixed_bottom"] or match["under"] or "1")
    if bottom == 0:
        return None
    whole = int(match["whole"] or match["whole_before"] or match["mixed"] or 0)
    value = top / bottom * Fraction(10) ** int(power or 0) + whole
    return Number(
        value=-value if match["sign"] == "-" else value,
        is_percent=match["percent"] is not None,
        is_rounded=power is not None or "." in f"{match['decimal']}{match['over']}{match['under']}",
        is_scientific=power is not None,
    )


def numbers_match(answer: Number, reference: Number) -> bool:
    """Equality of values, with a tolerance where a decimal meets a reference that is no integer.

    A percent sign that stands on one side only may have been left out or worked out: 25 % is 25 and 0.25.
    """
    values = [answer.value]
    if answer.is_percent != reference.is_percent:
        values.append(answer.value / 100 if answer.is_percent else answer.value * 100)
    if reference.value in values:
        return True
    # Paper: 5.1 grades with the Qwen2.5-Math package, which allows the tolerance for integers as well; ours does not.
    is_exact = reference.value.denominator == 1 and not reference.is_scientific
    is_integer = answer.value.denominator == 1 and not answer.is_rounded  # 12345 is no rounding of 12345.5
    if is_exact or is_integer or not (answer.is_rounded or reference.is_rounded):
        return False
    return any(abs(value - reference.value) <= abs(reference.value) * RELATIVE_TOLERANCE for value in values)


def _fraction(decimal: str) -> Fraction:
    return Fraction(decimal.replace(",", "").replace(" ", "").removesuffix("."))
