r"""Two bare answers or equations -> whether math-verify (sympy) takes them for equal.

What comes in has been written by a model. sympy can take for ever on it, eat all memory or end the process, so this
module runs in the workers of ``srl.rewards.grading`` and nowhere else. Timeouts of math-verify are off, because they
work by signals, do nothing outside the main thread, and are not needed where the process itself is killed.

The decision a reader would question: some functions of math-verify and sympy are replaced by ones that keep a note of
two exceptions. math-verify swallows whatever is raised while it compares, and "out of memory" would read as "not
equal". Whatever else sympy raises does mean that two answers cannot be compared, so that they are not equal.
"""

from __future__ import annotations

import functools
import importlib
import logging
import re
import zlib
from collections.abc import Callable
from typing import Any

from srl.errors import RewardError
from srl.rewards.numbers import RELATIVE_TOLERANCE

FAR_APART = 1e-6
"""Numbers that differ by more, relative to their size, are different; evaluation is good to 15 digits."""

_lost: list[MemoryError | RecursionError] = []
"""What was raised and swallowed during the current comparison: the answer was not evaluated to its end."""


def math_verify_match(answer: str, reference: str) -> bool:
    """Whether both mean the same. Not symmetric: "x = 5" answers "5", and the reference decides how exact a decimal is.

    Raises MemoryError or RecursionError when the comparison failed for want of memory or stack, and RewardError when
    math-verify does not work here.
    """
    _lost.clear()
    for expected in _parse(reference):
        for found in _parse(answer):
            is_close = _are_close(found, expected)
            if _verify(expected, found) if is_close is None else is_close:
                return True
    if _lost:
        raise _lost[0]
    return False


def _verify(expected: Any, found: Any) -> bool:
    try:
        return bool(load_math_verify().verify(expected, found, timeout_seconds=None, raise_on_error=True))
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001 - sympy raises anything; then the two cannot be compared
        return False


def _are_close(answer: Any, reference: Any) -> bool | None:
    """Numeric comparison of two sympy expressions; None when it decides nothing.

    Numbers, with decimals on one side: whether they are close enough. Else False for what is far apart, with variables
    at one point where both can be evaluated.

    math-verify rounds decimals to six places, which makes 2e-10 equal 1.3e-27 and 1.5708 different from pi/2. And it
    simplifies before it says that 2 is not the root of 51, or x not x + 1, which takes several times as long.
    """
    sympy: Any = importlib.import_module("sympy")
    # A percentage is left unevaluated; verify takes 9 % for 9 too. A name may be a word, which it spells out.
    unclear = (sympy.UnevaluatedExpr, sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative)
    try:
        if any(
            not isinstance(side, sympy.Expr) or side.is_Symbol or side.has(*unclear) for side in (answer, reference)
        ):
            return None
        found, expected = answer.evalf(subs=_point(answer)), reference.evalf(subs=_point(reference))
        if not (found.is_finite and expected.is_finite):
            return None
        distance = abs(found - expected)
        if answer.is_number and reference.is_number and (answer.has(sympy.Float) or reference.has(sympy.Float)):
            return bool(distance <= (0 if reference.is_integer else float(RELATIVE_TOLERANCE)) * abs(expected))
        return False if distance > FAR_APART * (1 + abs(expected)) else None
    except (ArithmeticError, AttributeError, NotImplementedError, TypeError, ValueError):
        return None  # what sympy raises for expressions without a numeric value: sets, matrices, zoo


def _point(expression: Any) -> dict[Any, float]:
    """A positive number for each variable, the same for the same name."""
    return {symbol: 0.5 + zlib.crc32(symbol.name.encode()) / 2**32 for symbol in expression.free_symbols}


# --- reading -------------------------------------------------------------------------------------------------------

_E_NOTATION = re.compile(r"(?<=[\d.])[eE]([+-]?\d{1,3})(?!\d)")


@functools.lru_cache(maxsize=4096)  # a group's rollouts share their reference, and often their answers
def _parse(answer: str) -> tuple[Any, ...]:
    """Sympy expression and normalised text of an answer, as math-verify reads it; () when it reads nothing.

    Only as one formula: math-verify would also look for any number in a text it cannot read, so that "6, then {{ 5"
    would be a right answer where 5 is.
    """
    library = load_math_verify()
    text = _E_NOTATION.sub(r"\\times 10^{\1}", answer)  # which it takes for Euler's number
    try:
        parsed = library.parse(
            f"${text}$",
            extraction_config=[library.LatexExtractionConfig(boxed_match_priority=-1)],
            parsing_timeout=None,
            raise_on_error=True,
        )
        found = tuple(_with_imaginary_unit(item) for item in parsed)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001 - the parser raises anything; then there is no formula
        return ()
    if _lost:
        raise _lost[0]  # which is not cached, as an answer would be
    return found


def _with_imaginary_unit(item: Any) -> Any:
    """A sympy number with i for the variable "i" that math-verify reads; anything else as it is."""
    sympy: Any = importlib.import_module("sympy")
    names = [symbol for symbol in item.free_symbols if symbol.name == "i"] if isinstance(item, sympy.Expr) else []
    return item.subs(dict.fromkeys(names, sympy.I)) if names else item


@functools.cache
def load_math_verify() -> Any:
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
    _watch_what_is_swallowed()
    return library


def _watch_what_is_swallowed() -> None:
    grader: Any = importlib.import_module("math_verify.grader")
    parser: Any = importlib.import_module("math_verify.parser")
    evaluation: Any = importlib.import_module("sympy.core.evalf")
    sympy: Any = importlib.import_module("sympy")

    def evaluate(expression: Any) -> Any:
        return expression.doit()

    watched_doit = _watched(evaluate)

    def doit_or_leave(expression: Any) -> Any:
        try:
            return watched_doit(expression)
        except Exception:  # noqa: BLE001 - as the function it replaces
            return expression

    grader.safe_sympy_doit = doit_or_leave
    for owner, name in (
        (parser, "parse_latex_cached"),
        (grader, "simplify"),
        (grader, "solve"),
        (evaluation.EvalfMixin, "evalf"),
        (sympy.Expr, "round"),
    ):
        setattr(owner, name, _watched(getattr(owner, name)))


def _watched(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except (MemoryError, RecursionError) as error:
            _lost.append(error)
            raise

    return call
