"""The places where steps begin: what every splitter gives.

Cuts tile a text: the first begins at 0, each reaches to the next, the last to the end. So whatever a splitter decides,
joining the pieces gives the text back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A place where a step begins."""

    start: int
    """Offset of the step's first character."""
    head: int
    """Offset of its header, from ``start`` on: text before the header may belong to the step."""
    body_start: int
    """Offset of the first character after the header; ``head`` where there is none."""
    title: str = ""
    """The header's title without its marks."""

    def moved(self, offset: int) -> Cut:
        """The same cut in a text that begins ``offset`` characters earlier."""
        return replace(self, start=self.start + offset, head=self.head + offset, body_start=self.body_start + offset)


def plain_cut(start: int) -> Cut:
    """A step without a header."""
    return Cut(start=start, head=start, body_start=start)


def spans(cuts: Sequence[Cut], text: str) -> list[tuple[Cut, int]]:
    """Each cut with the end of its piece."""
    return [(cut, end.start if end else len(text)) for cut, end in zip_longest(cuts, cuts[1:])]


def is_even(cuts: Sequence[Cut], text: str, *, share: float) -> bool:
    """Whether there are two pieces and none holds more than ``share`` of the text.

    Signs that leave nearly everything in one piece (a lone "### Answer" at the end) are not how a text is built.
    """
    return len(cuts) > 1 and max(end - cut.start for cut, end in spans(cuts, text)) <= share * len(text)


def merge_short(cuts: Sequence[Cut], text: str, *, min_chars: int) -> list[Cut]:
    """``cuts`` without pieces that have fewer than ``min_chars`` characters after their header.

    A short piece goes to the one before it, the first one to the one after it. A header with nothing under it ("##
    Proof" before "### Case 1") goes forward as well: it is an introduction, and the next header gives the title.
    """
    kept: list[Cut] = []
    waiting: int | None = None
    for cut, following in zip_longest(cuts, cuts[1:]):
        end = following.start if following else len(text)
        body = len(text[cut.body_start : end].strip())
        begun = cut if waiting is None else replace(cut, start=waiting)
        waiting = None
        is_short = body < min_chars
        if is_short and following is not None and (not kept or body == 0):
            waiting = begun.start
        elif not is_short or not kept:
            kept.append(begun)
    return kept
