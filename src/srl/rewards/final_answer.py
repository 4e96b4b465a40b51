r"""Text with a solution -> its final answer, None where it marks none.

An answer is marked in one of three ways; the first that occurs counts:

1. the last non-empty ``\boxed{...}`` (or ``\fbox``) with balanced braces,
2. a closing line ``#### 72``,
3. a closing sentence ``[So,] [I think] the [final] answer is 72.``, ``Answer: 72`` or the like (``_STATED``).

The decision a reader would question: a number that merely stands last is no answer. A policy that is paid for it learns
to end with a likely number, and a step of a solution would end the solution. Published results often count it, so it
can be asked for: ``unmarked = "last_number"``.
"""

from __future__ import annotations

import re
from typing import Literal

from srl.trajectories.answers import find_answer

Unmarked = Literal["wrong", "last_number"]
"""What counts where a text marks no answer: nothing, or the last number in it."""
MAX_STATED_CHARS = 200
"""A closing sentence that goes on for longer is no answer."""

_STATED = re.compile(
    r"(?:(?:so|thus|hence|therefore|finally|in conclusion),? )?(?:I think (?:that )?)?(?:the |my )?(?:final |correct )?"
    rf"answer ?(?:is(?= |:) ?:?|:) ?(?:the (?:final )?answer is ?:? ?)?(\S.{{0,{MAX_STATED_CHARS}}})",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?]) ")
_HOPE = "I hope it is correct."
"""What the few-shot examples of Minerva put behind their answer."""
_NUMBER = re.compile(r"(?:(?<![\w.)\]}])-)?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)")


def final_answer(text: str, *, unmarked: Unmarked = "wrong") -> str | None:
    r"""The answer that ``text`` marks, stripped; total, and linear in its length.

    >>> final_answer(r"so \boxed{\frac{1}{2}}"), final_answer("it is 5"), final_answer("Add 2. So the answer is 5.")
    ('\\frac{1}{2}', None, '5')
    """
    answer = find_answer(text) or _stated_answer(text)
    if answer is None and unmarked == "last_number":
        numbers = _NUMBER.findall(text)
        return numbers[-1] if numbers else None
    return answer


def _stated_answer(text: str) -> str | None:
    line = text.rstrip().rpartition("\n")[2].replace("**", "")
    line = " ".join(line.split()).removesuffix(_HOPE).rstrip()
    stated = _STATED.fullmatch(_SENTENCE_END.split(line)[-1])
    return (stated[1].rstrip(" .!") or None) if stated else None
