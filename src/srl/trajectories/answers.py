r"""Solution text -> its final answer.

What the expert put last into ``\boxed{}``, else GSM8K's closing line ``#### 72``. Graders use ``last_boxed`` on the
policy's text too, so that both sides are read by the same rule.
"""

from __future__ import annotations

import re

# Escapes come after the boxes and before the braces, so that "\{" is no brace and "\\}" is one.
_TOKEN = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
# Only a number, and only at the end: "#### Step 2" is a Markdown heading.
_HASHES = re.compile(r"^####[ \t]*([-+]?\$?[-+]?\d[\d,./]*%?)\s*\Z", re.MULTILINE)


def last_boxed(text: str) -> str | None:
    r"""What stands in the last non-empty ``\boxed{}`` (or ``\fbox{}``) with balanced braces, stripped; else None.

    Of nested boxes it is the inner one. Total and linear in the length of the text.

    >>> last_boxed(r"first \boxed{1}, then \boxed{\frac{1}{2}} and \boxed{cut")
    '\\frac{1}{2}'
    """
    found, found_at = None, -1
    stack: list[int] = []  # one entry per open brace: where the box's content begins, -1 for other braces
    for token in _TOKEN.finditer(text):
        if token["box"]:
            stack.append(token.end())
        elif token["open"]:
            stack.append(-1)
        elif token["close"] and stack:
            start = stack.pop()
            if start > found_at and (content := text[start : token.start()].strip()):
                found, found_at = content, start
    return found


def find_answer(solution: str) -> str | None:
    r"""The final answer of an expert's solution, None where none is marked.

    >>> find_answer("48 + 24 = 72\n#### 72"), find_answer("so it is 72")
    ('72', None)
    """
    boxed = last_boxed(solution)
    if boxed is not None:
        return boxed
    hashes = _HASHES.search(solution)
    return hashes[1] if hashes else None
