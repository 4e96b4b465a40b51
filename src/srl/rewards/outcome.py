r"""Text with a final answer, reference answer -> right or wrong; RLVR's reward and the grader of every evaluation.

Three comparisons, cheapest first: as text, as multiple choice, as numbers; math-verify (sympy) sees only what they
leave open, and is imported only then. Units are ignored, as in the Qwen2.5-Math package that the paper grades with.

The decision a reader would question: which failures count as "wrong". math-verify swallows whatever sympy raises while
it reads or compares two answers, and so do we: an answer that cannot be compared with the reference is not equal to
it, and what a policy writes must not stop a run. A grader that does not work at all (a broken installation makes it
fail to read *every* formula, in silence) and a reference that cannot be graded against are RewardErrors. Its timeouts
are off, because they work by signals and raise off the main thread; ``MAX_ANSWER_CHARS`` and ``_is_costly`` keep away
the inputs that made it hang.
"""

from __future__ import annotations

import importlib
import logging
import math
import re
from functools import cache, lru_cache
from typing import Any

from srl.errors import RewardError
from srl.rewards.numbers import RELATIVE_TOLERANCE, numbers_match, read_number
from srl.trajectories.answers import find_answer

MAX_ANSWER_CHARS = 300
"""Longer answers are compared as text only. The longest reference of the benchmarks has 210 characters."""
MAX_NESTING = 10
"""Brackets nested deeper than this are compared as text only: the parser's time doubles with each level."""


def final_answer(text: str) -> str | None:
    r"""The last non-empty ``\boxed{...}`` with balanced braces, else a closing line ``#### 72``, else None.

    >>> final_answer(r"so \boxed{\frac{1}{2}}"), final_answer("it is 5")
    ('\\frac{1}{2}', None)
    """
    return find_answer(text)


def outcome_reward(action: str, target: str) -> float:
    r"""1.0 when the final answer in ``action`` is right, else 0.0 (RLVR); see ``is_correct``.

    >>> outcome_reward(r"It is \boxed{27}.", "27.0"), outcome_reward("It is 27.", "27.0")
    (1.0, 0.0)
    """
    return float(is_correct(action, target))


# Paper: 5.1 grades with the Qwen2.5-Math package; here it is text, choice and number, then math-verify.
def is_correct(text: str, reference: str) -> bool:
    r"""Whether the final answer that ``text`` marks equals ``reference``; False when it marks none.

    ``reference`` is an answer in any notation, or a text that marks its own final answer. Raises RewardError when it
    is empty or the grader does not work.

    >>> is_correct(r"\boxed{(C)}", "C"), is_correct(r"\boxed{50\%}", r"\frac{1}{2}")
    (True, True)
    """
    expected = (final_answer(reference) or reference).strip()
    if not expected:
        raise RewardError("the reference answer is empty; every problem needs one that can be graded against")
    answer = final_answer(text)
    return answer is not None and answers_match(answer, expected)


def answers_match(answer: str, reference: str) -> bool:
    """Whether two bare answers mean the same. Not symmetric: the reference decides how exact a decimal must be."""
    answer, reference = _tidy(answer), _tidy(reference)
    if not answer or not reference:
        return False
    if _plain(answer) == _plain(reference):
        return True
    answer_choice, reference_choice = _split_choice(answer), _split_choice(reference)
    if answer_choice and reference_choice:
        return answer_choice[0] == reference_choice[0]
    if answer_choice or reference_choice:  # "(C) 12" against "12": the value decides; "(C)" against "12": nothing does
        answer = answer_choice[1] if answer_choice else answer
        reference = reference_choice[1] if reference_choice else reference
        return answers_match(answer, reference)
    if ("=" in answer) != ("=" in reference):
        answer, reference = _ASSIGNMENT.sub("", answer), _ASSIGNMENT.sub("", reference)
    answer_number, reference_number = read_number(answer), read_number(reference)
    if answer_number and reference_number:
        return numbers_match(answer_number, reference_number)
    if _is_costly(answer) or _is_costly(reference):
        return False
    return _math_verify_match(answer, reference)


_ASSIGNMENT = re.compile(r"^[A-Za-z](?:_\{?\w+\}?)?\s*=\s*(?=[^=]+$)")
"""``x = `` before a value, left out where the other answer has no equation."""


# --- as text -------------------------------------------------------------------------------------------------------

_WRAPPER = r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|normal)|mbox|operatorname|boxed|fbox)\s*"
_UNWRAP = re.compile(_WRAPPER + r"\{([^{}]*)\}")
_REPLACEMENTS = (
    (re.compile(r"\\?\$|(?<!\\)\\[()\[\]!,]|\\(?:left|right|displaystyle|limits)(?![a-zA-Z])"), ""),
    (re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])|°"), ""),
    (re.compile(r"(?<!\\)\\[;: ]|~|\\q?quad(?![a-zA-Z])|\s+"), " "),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\%|\uff05"), "%"),
    (re.compile("[\u2212\u2013]"), "-"),
)  # fmt: skip
_SPACES = re.compile(r"(?<!\d)\s+|\s+(?!\d)")


def _tidy(answer: str) -> str:
    """The answer without dollar signs, spacing commands and other marks that carry no meaning."""
    for pattern, replacement in _REPLACEMENTS:
        answer = pattern.sub(replacement, answer)
    answer = answer.strip().rstrip(".").rstrip()
    while wrapped := _UNWRAP.fullmatch(answer):
        answer = wrapped[1].strip().rstrip(".").rstrip()
    return answer


def _plain(answer: str) -> str:
    """What text comparison sees: no font commands, no white space but between digits, words in lower case."""
    for _ in range(MAX_NESTING):
        unwrapped = _UNWRAP.sub(r"\1", answer)
        if unwrapped == answer:
            break
        answer = unwrapped
    answer = _SPACES.sub("", answer).rstrip(".")
    return answer.lower() if len(answer) > 1 and answer.isalpha() else answer


_CHOICE = re.compile(r"^(?:\(([A-Ea-e])\)|([A-E])\)|([A-E])(?:[.:]|$))\s*(.*)$", re.DOTALL)


def _split_choice(answer: str) -> tuple[str, str] | None:
    r"""A multiple-choice answer as (letter, value): ``\textbf{(C)} 12`` is ("C", "12"); None for any other answer."""
    match = _CHOICE.match(_UNWRAP.sub(r"\1", answer, count=1).strip() if answer.startswith("\\") else answer)
    return ((match[1] or match[2] or match[3]).upper(), match[4]) if match else None


# --- by math-verify ------------------------------------------------------------------------------------------------

_COSTLY = re.compile(
    r"\\(?:i*int|oint|sum|prod|lim)(?![a-zA-Z])"  # not evaluated, so no final answer
    r"|\d\s*\^\s*\{?\s*\(?\s*\d+\s*\^"  # towers of powers
    r"|\^\s*\{?\s*-?\d{5,}|\d{5,}\s*!|!\s*!|\\binom.*(?:\d{5,}|\^)"  # numbers of more digits than memory
)


_EXPONENT = re.compile(r"\^\s*\{?\s*\(?\s*-?(\d+)")
_FACTORIAL_OF_MUCH = re.compile(r"(?:\d{4,}|[)}\]])\s*!")
MAX_EXPONENT_PRODUCT = 10_000
"""Nested powers multiply their exponents: (9^99)^99 has 9,000 digits, one level more has a million."""


def _is_costly(answer: str) -> bool:
    """Whether sympy may take for ever: then only text and number comparison count."""
    is_nested = re.search(r"[)}\]]\s*\^", answer) is not None
    exponents = [int(exponent[:9]) for exponent in _EXPONENT.findall(answer)]
    if (is_nested and math.prod(exponents) > MAX_EXPONENT_PRODUCT) or _FACTORIAL_OF_MUCH.search(answer):
        return True
    depth = deepest = 0
    for character in answer:
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    return len(answer) > MAX_ANSWER_CHARS or deepest > MAX_NESTING or _COSTLY.search(answer) is not None


def _math_verify_match(answer: str, reference: str) -> bool:
    verify = _load_math_verify().verify
    for expected in _parse(reference):
        for found in _parse(answer):
            is_close = _are_close(found, expected)
            if verify(expected, found, timeout_seconds=None) if is_close is None else is_close:
                return True
    return False


def _are_close(answer: Any, reference: Any) -> bool | None:
    """Numeric comparison of two sympy expressions, one of them with decimals; None when it does not apply.

    math-verify rounds decimals to six places, which makes 2e-10 equal 1.3e-27 and 1.5708 different from pi/2.
    """
    if isinstance(answer, str) or isinstance(reference, str):
        return None
    try:
        decimals = importlib.import_module("sympy").Float
        if not (answer.is_number and reference.is_number and (answer.has(decimals) or reference.has(decimals))):
            return None
        tolerance = 0 if reference.is_integer else float(RELATIVE_TOLERANCE)
        found, expected = answer.evalf(), reference.evalf()
        return bool(abs(found - expected) <= tolerance * abs(expected))
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None  # what sympy raises for expressions without a numeric value: sets, matrices, zoo


_E_NOTATION = re.compile(r"(?<=[\d.])[eE]([+-]?\d{1,3})(?!\d)")


@lru_cache(maxsize=4096)  # a group's rollouts share their reference, and often their answers
def _parse(answer: str) -> tuple[Any, ...]:
    """Sympy expression and normalised text of an answer, as math-verify reads it; () when it reads nothing."""
    text = _E_NOTATION.sub(r"\\times 10^{\1}", answer)  # which it takes for Euler's number
    return tuple(_load_math_verify().parse(f"${text}$", parsing_timeout=None))


@cache
def _load_math_verify() -> Any:
    """Import math-verify and make sure that it works. Raises RewardError.

    Its parser swallows every exception, a mismatch of the ANTLR runtime included: all formulas would then be graded
    as wrong. Known pairs tell. They also use up the two warnings that switched-off timeouts give, once per process.
    """
    logger = logging.getLogger("math_verify")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        library: Any = importlib.import_module("math_verify")
        half, third, decimal = (library.parse(f"${text}$", parsing_timeout=None) for text in (
            r"\frac{1}{2}", r"\frac{1}{3}", r"\frac{\sqrt{4}}{4}"))  # fmt: skip
        works = library.verify(half, decimal, timeout_seconds=None) and not library.verify(
            half, third, timeout_seconds=None
        )
    except ImportError as error:
        raise RewardError(
            f"math-verify cannot be imported ({error}); install math-verify with its ANTLR runtime"
        ) from error
    finally:
        logger.setLevel(level)
    if not works:
        raise RewardError(
            "math-verify does not grade 1/2 and 1/3 correctly here; reinstall math-verify[antlr4_13_2] and sympy"
        )
    return library
