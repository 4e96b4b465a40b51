r"""Two bare answers -> the same or not, or what only math-verify can tell.

The rules, in this order, are those of docs/grading.md: as text, as multiple choice, without ``x =``, as numbers, as
numbers in a base, lists member by member. All of it is regular expressions in the calling process, in time
proportional to the length; what is left open are pairs of formulas for ``srl.rewards.grading``.

The decision a reader would question: two kinds of answers are called wrong without being evaluated, because they are
no final answers. An integral, sum, product or limit restates the problem where the reference has none; and text of
more than ``MAX_ANSWER_CHARS`` characters is a solution, or noise.
"""

from __future__ import annotations

import re

from srl.rewards.notation import plain, tidy, without_first_font
from srl.rewards.numbers import Number, numbers_match, read_number

Pair = tuple[str, str]
"""(answer, reference)."""
MAX_ANSWER_CHARS = 1_000
"""A longer answer is wrong unless its text is the reference's or the reference is half as long. The longest reference
of the benchmarks has 210 characters."""
MIN_UNIT_LETTERS = 3
"""Words of one or two letters are variables; ``numbers`` knows the short units."""

_UNEVALUATED = re.compile(
    r"\\(?:i{0,3}int|oint|sum|prod|lim|gcd|lcm|max|min|det)(?![a-zA-Z])"
    r"|\\frac ?\{ ?(?:d|\\partial) ?\} ?\{ ?(?:d|\\partial)|\b(?:lcm|gcd)\b"
)
"""What restates a problem where the reference has none of it."""
_NO_UNIT = re.compile(
    r"(?<![a-zA-Z\\])(?:(?:hundred|thousand|million|billion|trillion|dozen)s?|or|and|but|not|plus|minus|times|over|"
    r"squared|cubed|factorial|halves|thirds|fourths|fifths|hundredths|root|sqrt|radians?)(?![a-zA-Z])"
)
"""Words that change a number, or say that it may be another."""
_ASSIGNMENT = re.compile(r"([A-Za-z](?:_\{?\w+\}?)?) ?= ?(?=[^=]+$)")
"""``x = `` before a value, left out where the other answer has no equation or the same one."""
_CHOICE = re.compile(r"(?:\(([A-Ea-e])\)|([A-E])\)|([A-E])(?:[.:]|$)) ?(.*)", re.DOTALL)
_ANOTHER_CHOICE = re.compile(r"(?:[,;/&]|or\b|and\b)? ?(?:\([A-Ea-e]\)|[A-E](?:[).:]|$))")
"""``(C), (D)`` chooses nothing."""
_RELATION_SIGNS = ("<", ">", r"\le", r"\ge")
_END = r"((?:[^<>=\\a-z]|\\(?!le|ge|ne)[a-z]+)+?)"
_BETWEEN = re.compile(rf"{_END} ?(<|\\le) ?[a-z] ?(<|\\le) ?{_END}")
_ABOVE_OR_BELOW = re.compile(rf"[a-z] ?(<|>|\\le|\\ge) ?{_END}")
_IN_BASE = re.compile(r"(\d[\da-zA-Z ]*)_ ?(?:\{ ?(\d+) ?\}|(\d+))")


def compare(answer: str, reference: str) -> bool | list[Pair]:
    r"""Whether two bare answers mean the same, or the pairs of formulas that must all be equal for that.

    Not symmetric: the reference decides how exact a decimal must be.

    >>> compare("27.0", "27"), compare("(A)", "B"), compare(r"(0.5, \sqrt{8})", r"(\frac12, 2\sqrt{2})")
    (True, False, [('\\sqrt{8}', '2\\sqrt{2}')])
    """
    answer, reference = tidy(answer), tidy(reference)
    answer_choice, reference_choice = _split_choice(answer), _split_choice(reference)
    if answer_choice and reference_choice:
        return answer_choice[0] == reference_choice[0] and not _ANOTHER_CHOICE.match(answer_choice[1])
    if plain(answer) != plain(reference):  # "(C) 12" against "12": the value decides; "(C)" against "12": nothing does
        answer = answer_choice[1] if answer_choice else answer
        reference = reference_choice[1] if reference_choice else reference
    return _compare(answer, reference, may_split=True)


def _compare(answer: str, reference: str, *, may_split: bool) -> bool | list[Pair]:
    """The same for one tidy value each. ``may_split``: tuples are compared member by member."""
    if not answer or not reference:
        return False
    if plain(answer) == plain(reference):
        return True
    if len(answer) > max(MAX_ANSWER_CHARS, 2 * len(reference)):
        return False
    counts_words = _NO_UNIT.search(answer) is not None and _NO_UNIT.search(reference) is None
    answer, reference = _without_assignment(_without_unit_words(answer), _without_unit_words(reference))
    if _is_word(answer) and _is_word(reference):
        return False
    answer_number, reference_number = read_number(answer), read_number(reference)
    if reference_number and counts_words:
        return False
    as_numbers = _compare_numbers(answer, answer_number, reference, reference_number)
    if as_numbers is not None:
        return as_numbers
    answer_in_base, reference_in_base = _IN_BASE.fullmatch(answer), _IN_BASE.fullmatch(reference)
    if answer_in_base or reference_in_base:
        return _compare_in_base(answer, answer_in_base, reference, reference_in_base)
    if not any(sign in reference for sign in _RELATION_SIGNS):
        answer = _as_interval(answer)
    if _UNEVALUATED.search(answer) and not _UNEVALUATED.search(reference):
        return False
    answer, reference = _spelled(answer, answer_number), _spelled(reference, reference_number)
    members = _compare_members(answer, reference) if may_split else None
    return [(answer, reference)] if members is None else members


def _compare_numbers(
    answer: str, answer_number: Number | None, reference: str, reference_number: Number | None
) -> bool | None:
    """Two numbers, or a number and what cannot be one; None for anything else."""
    if answer_number and reference_number:
        return numbers_match(answer_number, reference_number)
    if answer_number or reference_number:
        number, other = (answer, reference) if answer_number else (reference, answer)
        if "," not in number and _is_no_number(other):  # 1,234 may be a list
            return False
    return None


def _without_unit_words(answer: str) -> str:
    r"""``12\pi inches per second`` without the words, which math-verify would take for products of letters."""
    words = answer.split(" ")
    num_kept = len(words)
    while num_kept > 1 and len(words[num_kept - 1]) >= MIN_UNIT_LETTERS and words[num_kept - 1].isalpha():
        num_kept -= 1
    rest = " ".join(words[:num_kept])
    return rest if rest.endswith((*"0123456789)}", r"\pi")) else answer


def _without_assignment(answer: str, reference: str) -> Pair:
    """Both without ``x = `` where only one has an equation, or both have one of the same ``x``."""
    found, expected = _ASSIGNMENT.match(answer), _ASSIGNMENT.match(reference)
    if found and expected:
        is_same = found[1] == expected[1]
        return (answer[found.end() :], reference[expected.end() :]) if is_same else (answer, reference)
    if found and "=" not in reference:
        return answer[found.end() :], reference
    if expected and "=" not in answer:
        return answer, reference[expected.end() :]
    return answer, reference


def _split_choice(answer: str) -> tuple[str, str] | None:
    r"""A multiple-choice answer as (letter, value): ``\textbf{(C)} 12`` is ("C", "12"); None for any other answer."""
    match = _CHOICE.fullmatch(without_first_font(answer))
    return ((match[1] or match[2] or match[3]).upper(), tidy(match[4])) if match else None


def _as_interval(answer: str) -> str:
    r"""``1 < x \le 2`` and ``x \ge 3`` in interval notation; anything else, solved or not, as it is.

    math-verify would do so for any inequality, and accept the one that the problem asks to solve.
    """
    if match := _BETWEEN.fullmatch(answer):
        return f"{'(' if match[2] == '<' else '['}{match[1]},{match[4]}{')' if match[3] == '<' else ']'}"
    if match := _ABOVE_OR_BELOW.fullmatch(answer):
        if match[1] in (">", r"\ge"):
            return rf"{'(' if match[1] == '>' else '['}{match[2]},\infty)"
        return rf"(-\infty,{match[2]}{')' if match[1] == '<' else ']'}"
    return answer


def _compare_in_base(
    answer: str, in_base: re.Match[str] | None, reference: str, reference_in_base: re.Match[str] | None
) -> bool | list[Pair]:
    """``4343_6``: digits and base must be the same; where one side names no base, the digits."""
    if in_base and reference_in_base:
        digits, expected = (match[1].replace(" ", "").lower() for match in (in_base, reference_in_base))
        return (digits, in_base[2] or in_base[3]) == (expected, reference_in_base[2] or reference_in_base[3])
    return _compare(
        in_base[1] if in_base else answer, reference_in_base[1] if reference_in_base else reference, may_split=False
    )


def _compare_members(answer: str, reference: str) -> bool | list[Pair] | None:
    """Tuples and intervals with the same brackets and as many members, one by one; None for anything else."""
    found, expected = _split_list(answer), _split_list(reference)
    if found is None or expected is None or len(found) != len(expected):
        return None
    if (answer[0], answer[-1]) != (reference[0], reference[-1]):
        return None
    open_pairs: list[Pair] = []
    for member, wanted in zip(found, expected, strict=True):
        result = _compare(tidy(member), tidy(wanted), may_split=False)
        if result is False:
            return False
        open_pairs += result if isinstance(result, list) else []
    return open_pairs or True


def _is_word(text: str) -> bool:
    """math-verify would take it for a product of letters, in any order."""
    return len(text) > MIN_UNIT_LETTERS and text.isalpha()


def _spelled(text: str, number: Number | None) -> str:
    """A number as math-verify reads it: it takes 2 1/2 for 2 - 1/2 and 1 000 for 1 times 0."""
    if number is None or not 1e-300 < abs(number.value) < 1e300:
        return text
    value = number.value
    if number.is_rounded:
        spelled = str(float(value))
    elif value.denominator == 1:
        spelled = str(value.numerator)
    else:
        spelled = rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    return spelled + (r"\%" if number.is_percent else "")


def _is_no_number(answer: str) -> bool:
    """A tuple, interval, matrix or word. math-verify knows that too, ten milliseconds later."""
    is_word = len(answer) >= MIN_UNIT_LETTERS and answer.isalpha()
    return is_word or answer.startswith(r"\begin{") or _split_list(answer) is not None


def _split_list(answer: str) -> list[str] | None:
    """The members of ``(a, b, ...)`` or ``[a, b, ...]``, two or more; None for anything else."""
    if answer[0] not in "([" or answer[-1] not in ")]":
        return None
    members: list[str] = []
    depth, start = 0, 1
    for place, character in enumerate(answer):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and place < len(answer) - 1:
            return None  # the first bracket closes before the end: (1,2) \cup (3,4)
        if depth == 1 and character == ",":
            members.append(answer[start:place])
            start = place + 1
    members.append(answer[start:-1])
    return members if depth == 0 and len(members) > 1 else None
