r"""An answer as it was written -> the same answer in one notation.

Only what carries no meaning is changed: dollar signs, font and spacing commands, ``\dfrac`` for ``\frac``, signs of
Unicode that LaTeX has a command for, ``sqrt(2)`` and ``2**3`` of plain text. Every step takes time proportional to the
length, whatever it is.
"""

from __future__ import annotations

import re

_SIGNS = {
    "\u2212": "-", "\u2013": "-", "\uff05": "%", "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u00f7": "/",
    "\u00b2": "^2", "\u00b3": "^3", "\u00bd": r"\frac{1}{2}", "\u00bc": r"\frac{1}{4}", "\u00be": r"\frac{3}{4}",
    "\u2264": r"\le ", "\u2265": r"\ge ", "\u2260": r"\ne ", "\u221e": r"\infty ", "\u222a": r"\cup ",
    "\u2229": r"\cap ", "\u2208": r"\in ", "\u2205": r"\emptyset ", "\u03c0": r"\pi ", "\u2248": r"\approx ",
    "\u27e8": "(", "\u27e9": ")", "\u00b1": r"\pm ",
}  # fmt: skip
_TRANSLATION = str.maketrans(_SIGNS)
_WRAPPER = r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|normal)|mbox|operatorname|boxed|fbox)\s*"
_UNWRAP = re.compile(_WRAPPER + r"\{([^{}]*)\}")
_REPLACEMENTS = (
    (re.compile(r"\\?\$|(?<!\\)\\[()\[\]!,]|\\(?:left|right|displaystyle|limits)(?![a-zA-Z])"), ""),
    (re.compile(r"\^ *\{ *\\circ *\}|\^ *\\circ(?![a-zA-Z])|\u00b0"), ""),
    (re.compile(r"(?<!\\)\\[;: ]|~|\\q?quad(?![a-zA-Z])"), " "),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\(?:text|mathrm|mbox) ?\{ ?per ?cent ?\}|(?<![a-zA-Z\\])per ?cent(?![a-zA-Z])|\\%"), "%"),
    (re.compile(r"\\varnothing(?![a-zA-Z])|\\\{ ?\\\}"), r"\\emptyset"),
    (re.compile(r"\\(?:mathbf|boldsymbol|bm) ?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\langle(?![a-zA-Z])"), "("),
    (re.compile(r"\\rangle(?![a-zA-Z])"), ")"),
    (re.compile(r"(?:\\|(?<![a-zA-Z\\]))sqrt ?\(([^()]*)\)|\u221a ?\(([^()]*)\)"), r"\\sqrt{\1\2}"),
    (re.compile(r"\u221a ?(\d+|[a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"<=|\\(?:leq|leqslant)(?![a-zA-Z])"), r"\\le "),
    (re.compile(r">=|\\(?:geq|geqslant)(?![a-zA-Z])"), r"\\ge "),
    (re.compile(r"(?<![a-zA-Z\\])pi(?![a-zA-Z])"), r"\\pi "),
)  # fmt: skip
_LEADING = re.compile(r"(?:=|\\approx(?![a-zA-Z])) ?")
_END_MARKS = ".,; "
_SPACES = re.compile(r"(?<!\d) | (?!\d)")
_MAX_FONTS = 10
"""Font commands inside each other that are looked through."""


def tidy(answer: str) -> str:
    r"""The answer without marks that carry no meaning; single spaces only.

    >>> tidy(r"$\text{ 1{,}234 }$."), tidy("√(2) ≤ 50 percent")
    ('1,234', '\\sqrt{2} \\le 50 %')
    """
    answer = " ".join(answer.strip(" *\n\t").translate(_TRANSLATION).split())
    for pattern, replacement in _REPLACEMENTS:
        answer = pattern.sub(replacement, answer)
    answer = _strip(" ".join(answer.split()))
    for _ in range(_MAX_FONTS):
        wrapped = _UNWRAP.fullmatch(answer)
        if wrapped is None:
            break
        answer = _strip(wrapped[1])
    return answer


def plain(answer: str) -> str:
    """What text comparison sees of a tidy answer: no font commands, spaces only between digits, words in lower case."""
    for _ in range(_MAX_FONTS):
        unwrapped = _UNWRAP.sub(r"\1", answer)
        if unwrapped == answer:
            break
        answer = unwrapped
    answer = _SPACES.sub("", answer).rstrip(".")
    return answer.lower() if len(answer) > 1 and answer.isalpha() else answer


def without_first_font(answer: str) -> str:
    r"""``\textbf{(C)} 12`` as ``(C) 12``; anything that begins otherwise as it is."""
    return _UNWRAP.sub(r"\1", answer, count=1).strip() if answer.startswith("\\") else answer


def _strip(answer: str) -> str:
    answer = answer.strip().rstrip(_END_MARKS)
    leading = _LEADING.match(answer)
    return answer[leading.end() :] if leading else answer
