"""Numbered solution -> Steps (4.2 and Fig. 3 of the paper: ``1. **Title** body``).

``headers`` finds the lines that may begin a step; here it is decided which of them do. The candidates are grouped by
how they look ("### Step N", "N. **Title**", ...), each look is read as one outline, and the strongest look with at
least two headers in sequence wins. So a restatement of the problem as a small list before "### Step 1", and a list of
cases inside a step, stay text.

The decision a reader would question: when the numbering starts again at 1 on the top level (a second solution, cases
that are solved separately), the first run of numbers gives the steps and everything after it belongs to its last
step. That step is the one the paper does not train on; choosing a later run would put a whole solution into step 1.
"""

from __future__ import annotations

from itertools import pairwise

from srl.trajectories.segmentation.cuts import Cut
from srl.trajectories.segmentation.headers import Header, Kind, Mark, find_headers

# From the strongest look to the weakest; numbered lines without any mark come last, see _untitled.
# Paper: B.3 has one look, "1. **Title** body"; the others stand in files of the same kind.
_LOOKS: tuple[tuple[Kind, Mark], ...] = (
    ("step", "heading"),
    ("number", "heading"),
    ("step", "bold"),
    ("number", "bold"),
    ("step", "plain"),
)
# Numberings open at once. Real outlines have two or three; the cap keeps the search linear on hostile input.
_MAX_LEVELS = 8


def numbered_headers(text: str) -> list[Header]:
    """The headers that begin steps: 1, 2, 3, ...; [] if fewer than two are in sequence."""
    return _choose(find_headers(text))


def header_cuts(headers: list[Header]) -> list[Cut]:
    """Text before the first header belongs to the first step, text after the last step's to the last."""
    return [
        Cut(
            start=header.start if index else 0,
            head=header.start,
            body_start=header.body_start,
            title=header.title,
        )
        for index, header in enumerate(headers)
    ]


def _choose(candidates: list[Header]) -> list[Header]:
    """The headers that begin steps: 1, 2, 3, ...; [] if fewer than two are in sequence."""
    outlines = [
        outline
        for kind, mark in _LOOKS
        if len(outline := outline_of([header for header in candidates if (header.kind, header.mark) == (kind, mark)]))
        > 1
    ]
    for outline in outlines:
        if not any(_is_inside(outline, other) for other in outlines):
            return _with_unmarked(outline, candidates)
    return _untitled(candidates)


def outline_of(headers: list[Header]) -> list[Header]:
    """The first run 1, 2, 3, ... on the outermost level.

    A header continues the innermost open numbering that it fits, one with the same spacing before others; a 1 that
    fits none opens a new one inside; what fits nowhere (a number skipped or repeated) is text.
    """
    levels: list[list[Header]] = []
    for header in headers:
        fitting = [depth for depth, level in enumerate(levels) if level[-1].number + 1 == header.number]
        if fitting:
            depth = next((depth for depth in reversed(fitting) if _same_spacing(levels[depth], header)), fitting[-1])
            del levels[depth + 1 :]
            levels[-1].append(header)
        elif header.number == 1:
            del levels[_MAX_LEVELS - 1 :]
            levels.append([header])
    return levels[0] if levels else []


def _same_spacing(level: list[Header], header: Header) -> bool:
    """Whether ``header`` stands as the items before it: all in paragraphs of their own, or all line under line.

    The blank line before an outline's first item says nothing about the outline.
    """
    return len(level) == 1 or level[-1].starts_paragraph == header.starts_paragraph


def _is_inside(outline: list[Header], other: list[Header]) -> bool:
    """Whether ``outline`` lies between two neighbouring headers of ``other``."""
    first, last = outline[0].start, outline[-1].start
    return any(before.start < first and last < after.start for before, after in pairwise(other))


def _with_unmarked(outline: list[Header], candidates: list[Header]) -> list[Header]:
    """``outline`` with the headers of the same kind that carry its numbering on without their marks.

    Experts forget the bold now and then ("4. Therefore ..." after three titled steps). Nothing is taken in that
    would displace a marked header.
    """
    longer = outline_of([header for header in candidates if header.kind == outline[0].kind])
    marked = {header.start for header in outline}
    extra = [header for header in longer if header.start not in marked]
    if len(longer) == len(outline) + len(extra) and all(header.starts_paragraph for header in extra):
        return longer
    return outline


def _untitled(candidates: list[Header]) -> list[Header]:
    """Numbered paragraphs, at least the first without a title. Plain lines without blank ones between are a list."""
    outline = outline_of([header for header in candidates if header.kind == "number"])
    if len(outline) > 1 and all(header.starts_paragraph or header.mark != "plain" for header in outline[1:]):
        return outline
    return []
