r"""Text that is one list -> its items.

Numbers, letters and bullets at the beginning of top-level lines. A list is taken for the solution if it holds at least
half of the text; any other is a list inside it (a restated system of equations, cases of a count) and stays whole.
Numbers and letters have to count up from the first; bullets have to follow each other without paragraphs between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from srl.trajectories.segmentation.cuts import Cut
from srl.trajectories.segmentation.headers import Header, find_headers
from srl.trajectories.segmentation.lines import Line, read_lines, top_indent, top_lines
from srl.trajectories.segmentation.numbers import outline_of
from srl.trajectories.segmentation.prose import cut_prose, preamble_cuts
from srl.trajectories.settings import ReadSettings

# The part of the text that a list must hold to be the solution.
_LEAST_SHARE = 0.5
_BULLET = re.compile(r"[ \t]*(?:[-*+•–][ \t]+(?=\S)|\\item\b[ \t]*)")
_LETTER = re.compile(r"[ \t]*[*_]{0,2}\(?(?P<letter>[a-zA-Z]|[ivx]{1,5}|[IVX]{1,5})[.)][*_]{0,2}[ \t]+(?=\S)")
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv")
_ALPHABET = tuple("abcdefghijklmnopqrstuvwxyz")
# After a blank line these go on with the item before: a formula, or a sentence that began before it.
_BELONGS = re.compile(r"[ \t]*(?:[a-z]{2,}\b|\\\[|\$\$|\\begin\{|[,.;:)])")


def number_cuts(text: str) -> list[Cut]:
    """Cuts at the items of a numbered list without titles, [] unless the list is the solution."""
    outline = _numbers(text, hanging=False)
    if len(outline) < 2:
        outline = _numbers(text, hanging=True)
    cuts = [
        Cut(start=header.start, head=header.start, body_start=header.body_start, title=header.title)
        for header in outline
    ]
    return cuts if is_the_solution(cuts, text) else []


def _numbers(text: str, *, hanging: bool) -> list[Header]:
    return outline_of([header for header in find_headers(text, hanging=hanging) if header.kind == "number"])


def letter_cuts(text: str) -> list[Cut]:
    """Cuts at (a), (b), ... or (i), (ii), ..., [] unless they are the solution."""
    marked = [(line, mark) for line in top_lines(text) if (mark := _LETTER.match(line.text))]
    runs = [_run(marked, alphabet) for alphabet in (_ROMAN, _ALPHABET)]
    runs += [_run(marked, tuple(sign.upper() for sign in alphabet)) for alphabet in (_ROMAN, _ALPHABET)]
    cuts = max(runs, key=len)
    return cuts if is_the_solution(cuts, text) else []


def bullet_cuts(text: str) -> list[Cut]:
    """Cuts at the bullets of the longest list, [] unless it is the solution."""
    lines = read_lines(text)
    top_level = top_indent(lines)
    best: list[Cut] = []
    run: list[Cut] = []
    end = 0
    for index, line in enumerate(lines):
        mark = _BULLET.match(line.text)
        # What begins with \item is protected by the environment that makes it a list.
        if mark is None or line.indent > top_level or (line.protected and "\\item" not in mark.group()):
            continue
        if line.start >= end:
            run = []
            end = _list_end(lines, index, top_level, marker=_BULLET)
        run.append(_cut(line, mark))
        best = max(best, run, key=len)
    return best if is_the_solution(best, text) else []


def is_the_solution(cuts: Sequence[Cut], text: str) -> bool:
    """Whether a list that has these items holds at least half of ``text``."""
    if len(cuts) < 2:
        return False
    return _end_of(cuts, text) - cuts[0].head >= _LEAST_SHARE * len(text.strip())


def with_surroundings(cuts: list[Cut], text: str, settings: ReadSettings) -> list[Cut]:
    """``cuts`` of a list, with those of the text before and after it; [] if there are none.

    Text after the list is cut off from the last item unless it is shorter than ``min_step_chars``.
    """
    if not cuts:
        return []
    result = [*preamble_cuts(text, cuts[0], settings), *cuts[1:]]
    end = _end_of(cuts, text)
    if len(text[end:].strip()) >= max(1, settings.min_step_chars):
        result.extend(cut.moved(end) for cut in cut_prose(text[end:], settings, whole=len(text)).cuts)
    return result


def _end_of(cuts: Sequence[Cut], text: str) -> int:
    """Where a list that has these items ends."""
    lines = read_lines(text)
    last = next(index for index, line in enumerate(lines) if line.start == cuts[-1].head)
    return _list_end(lines, last, top_indent(lines), marker=None)


def _list_end(lines: Sequence[Line], index: int, top_level: int, *, marker: re.Pattern[str] | None) -> int:
    """Where the list that item ``index`` belongs to ends: at a paragraph that is neither indented nor its formula."""
    blank = False
    for position in range(index + 1, len(lines)):
        line = lines[position]
        if line.is_blank:
            blank = True
            continue
        belongs = line.protected or line.indent > top_level or _BELONGS.match(line.text)
        if blank and not belongs and not (marker and marker.match(line.text)):
            return line.start
        blank = False
    return lines[-1].start + len(lines[-1].text)


def _run(marked: Sequence[tuple[Line, re.Match[str]]], alphabet: Sequence[str]) -> list[Cut]:
    """The first, second, ... sign of ``alphabet`` in this order."""
    run: list[Cut] = []
    for line, mark in marked:
        if len(run) < len(alphabet) and mark["letter"] == alphabet[len(run)]:
            run.append(_cut(line, mark))
    return run


def _cut(line: Line, mark: re.Match[str]) -> Cut:
    return Cut(start=line.start, head=line.start, body_start=line.start + mark.end())
