"""Two texts -> sequence similarity in [0, 1]; the SRL reward (section 4.2 of the paper, section 4 of docs/method.md).

    similarity = 2 M / T,   T = |a| + |b|,   M = sum of the sizes of the matching blocks

Matching blocks are Ratcliff/Obershelp's, over Unicode code points: the longest contiguous match, then the same left and
right of it. The value equals ``difflib.SequenceMatcher(None, a, b, autojunk=autojunk).ratio()`` bit for bit.

The decision a reader would question: ``autojunk`` is off. difflib's default drops every character that makes up more
than 1 % of ``b`` once ``b`` has 200 characters, which is most letters; the formula above has no such rule.
"""

from __future__ import annotations

from typing import Literal, Protocol, cast

# cydifflib ships without types; _Matcher below says what is used of it.
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false, reportUnknownVariableType=false
from cydifflib import SequenceMatcher

from srl.types import Reward


class _Matcher(Protocol):
    """The part of ``difflib.SequenceMatcher`` that is used here."""

    def ratio(self) -> float: ...
    def get_matching_blocks(self) -> list[tuple[int, int, int]]: ...


def sequence_similarity(a: str, b: str, *, autojunk: bool = False) -> float:
    """Ratio of matching characters, in [0, 1]; 1.0 for two empty texts. Not symmetric: ties are broken by ``a`` first.

    >>> sequence_similarity("x = 42", "x = 43")
    0.8333333333333334
    """
    return _matcher(a, b, autojunk=autojunk).ratio()


def matching_blocks(a: str, b: str, *, autojunk: bool = False) -> list[tuple[int, int, int]]:
    """Blocks ``(i, j, size)`` with ``a[i:i + size] == b[j:j + size]``, ascending, the last one ``(len(a), len(b), 0)``.

    >>> matching_blocks("x = 42", "x = 43")
    [(0, 0, 5), (6, 6, 0)]
    """
    return [(block[0], block[1], block[2]) for block in _matcher(a, b, autojunk=autojunk).get_matching_blocks()]


def similarity_reward(*, autojunk: bool, first_argument: Literal["action", "target"]) -> Reward:
    """The reward ``(action, target) -> similarity``; ``first_argument`` says which text is SequenceMatcher's ``a``."""

    def action_first(action: str, target: str) -> float:
        return sequence_similarity(action, target, autojunk=autojunk)

    def target_first(action: str, target: str) -> float:
        return sequence_similarity(target, action, autojunk=autojunk)

    return action_first if first_argument == "action" else target_first


def _matcher(a: str, b: str, *, autojunk: bool) -> _Matcher:
    """The one place that names the implementation.

    cydifflib and not difflib: the same numbers, about 19 times as fast. It keeps difflib's dictionary of characters
    and counts in machine integers, so no string is special to it; lone surrogates, astral characters and the border of
    199/200/201 characters are tested all the same. A new matcher for each call, because it is not safe to share one
    between threads.
    """
    return cast(_Matcher, SequenceMatcher(None, a, b, autojunk=autojunk))
