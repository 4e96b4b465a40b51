"""Solution text -> Steps, by the first splitter whose output passes its own check.

The splitters, from the strongest sign to the weakest: numbers with titles (the paper's ``1. **Title** body``),
headings, plain numbers, bold titles, "Case N", letters, bullets, paragraphs, sentences. Whatever they decide, joining
the steps' texts gives the text back.

Two limits make actions of them. Pieces of unnumbered text with fewer than ``min_step_chars`` characters join a
neighbour; numbered steps stay as the expert wrote them. Steps of all kinds with more than ``max_step_chars`` are cut
once more, by the signs inside them: the first part keeps number and title, the others have the titles they find, or
none. So step k of a trajectory need not carry the number k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from srl.trajectories.segmentation.cuts import Cut, is_even, merge_short, plain_cut, spans
from srl.trajectories.segmentation.headers import Header
from srl.trajectories.segmentation.lists import (
    bullet_cuts,
    is_the_solution,
    letter_cuts,
    number_cuts,
    with_surroundings,
)
from srl.trajectories.segmentation.marks import bold_cuts, heading_cuts, label_cuts, with_preamble
from srl.trajectories.segmentation.numbers import header_cuts, numbered_headers
from srl.trajectories.segmentation.prose import cut_prose
from srl.trajectories.settings import ReadSettings
from srl.types import Step

# Titles and items that leave more than this share of the text in one piece are not how it is built.
_LARGEST_SHARE = 0.65
# How often a step that is too long is cut by the signs inside it; after that only paragraphs and sentences count.
_MAX_DEPTH = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Segmentation:
    """A text cut into steps, and by what."""

    steps: tuple[Step, ...]
    """Joining their texts gives the text back; one step where there was no place to cut, none in an empty text."""
    splitter: str
    """Name of the splitter that served, a key of ``SPLITTERS``; "" where none did."""


def segment(solution: str, settings: ReadSettings) -> Segmentation:
    r"""Cut ``solution`` with the first splitter whose output passes its own check. Total: any string is allowed.

    >>> text = "Adding the two equations gives $2x = 6.4$, so $x = 3.2$. Now $y = 5 - x = 1.8$ by the first of them."
    >>> found = segment(text, ReadSettings())
    >>> found.splitter, [step.body[:12] for step in found.steps]
    ('sentences', ['Adding the t', 'Now $y = 5 -'])
    """
    if not solution:
        return Segmentation(steps=(), splitter="")
    name, cuts = _cut(solution, settings, depth=0)
    return Segmentation(steps=_steps(cuts, solution), splitter=name)


def split_steps(solution: str) -> tuple[Step, ...]:
    r"""Cut ``solution`` at its step numbers and nowhere else, however long or short the steps are.

    Text before the first header belongs to the first step, text after the last step's to the last. A text without
    two headers in sequence is one untitled step, an empty text is no step. Total: any string is allowed.

    >>> [(step.title, step.body) for step in split_steps("1. **Add:** 2+3=5\n\n2. **Double**: 2*5=10\n")]
    [('Add', '2+3=5'), ('Double', '2*5=10')]
    """
    if not solution:
        return ()
    return _steps(header_cuts(numbered_headers(solution)) or [plain_cut(0)], solution)


def _steps(cuts: Sequence[Cut], text: str) -> tuple[Step, ...]:
    return tuple(
        Step(title=cut.title, text=text[cut.start : end], body=text[cut.body_start : end].strip())
        for cut, end in spans(cuts, text)
    )


def _titled_numbers(text: str, settings: ReadSettings) -> list[Cut]:
    headers = numbered_headers(text)
    is_marked = any(header.title or header.mark != "plain" or header.kind == "step" for header in headers)
    return header_cuts(headers) if is_marked and not _is_outline(headers, text) else []


def _is_outline(headers: list[Header], text: str) -> bool:
    """Whether most titles have nothing under them: a list of what will be done, and the solution comes after it."""
    ends = [header.start for header in headers[1:]]
    empty = sum(
        bool(header.title) and not text[header.body_start : end].strip()
        for header, end in zip(headers, ends, strict=False)
    )
    return 2 * empty > len(ends)


def _plain_numbers(text: str, settings: ReadSettings) -> list[Cut]:
    headers = numbered_headers(text)
    if _is_outline(headers, text):
        return []
    paragraphs = header_cuts(headers)
    if paragraphs and is_the_solution(paragraphs, text):
        return paragraphs
    return with_surroundings(number_cuts(text), text, settings)


def _headings(text: str, settings: ReadSettings) -> list[Cut]:
    return _even(with_preamble(heading_cuts(text), text, settings), text, settings)


def _bold_lines(text: str, settings: ReadSettings) -> list[Cut]:
    return _even(with_preamble(bold_cuts(text), text, settings), text, settings)


def _labels(text: str, settings: ReadSettings) -> list[Cut]:
    return _even(with_preamble(label_cuts(text), text, settings), text, settings)


def _letters(text: str, settings: ReadSettings) -> list[Cut]:
    return _even(with_surroundings(letter_cuts(text), text, settings), text, settings)


def _bullets(text: str, settings: ReadSettings) -> list[Cut]:
    return _even(with_surroundings(bullet_cuts(text), text, settings), text, settings)


def _paragraphs(text: str, settings: ReadSettings) -> list[Cut]:
    prose = cut_prose(text, settings)
    return prose.cuts if prose.num_paragraphs else []


def _sentences(text: str, settings: ReadSettings) -> list[Cut]:
    return cut_prose(text, settings).cuts


SPLITTERS: dict[str, Callable[[str, ReadSettings], list[Cut]]] = {
    "titled-numbers": _titled_numbers,
    "headings": _headings,
    "plain-numbers": _plain_numbers,
    "bold-lines": _bold_lines,
    "labels": _labels,
    "letters": _letters,
    "bullets": _bullets,
    "paragraphs": _paragraphs,
    "sentences": _sentences,
}
"""The splitters by name, in the order in which they are tried."""
_PROSE = ("paragraphs", "sentences")


def _even(cuts: list[Cut], text: str, settings: ReadSettings) -> list[Cut]:
    merged = merge_short(cuts, text, min_chars=settings.min_step_chars)
    return merged if is_even(merged, text, share=_LARGEST_SHARE) else []


def _cut(text: str, settings: ReadSettings, *, depth: int) -> tuple[str, list[Cut]]:
    """The splitter that serves and its cuts, none longer than the limit if that is possible."""
    for name in SPLITTERS if depth < _MAX_DEPTH else _PROSE:
        cuts = SPLITTERS[name](text, settings)
        if len(cuts) > 1:
            return name, _shortened(cuts, text, settings, depth=depth) if name not in _PROSE else cuts
    return "", [plain_cut(0)]


def _shortened(cuts: list[Cut], text: str, settings: ReadSettings, *, depth: int) -> list[Cut]:
    """``cuts`` with the pieces that are longer than the limit cut once more."""
    result: list[Cut] = []
    for cut, end in spans(cuts, text):
        if not settings.max_step_chars or end - cut.start <= settings.max_step_chars:
            result.append(cut)
            continue
        if len(text[cut.start : cut.head].strip()) >= max(1, settings.min_step_chars):
            _, before = _cut(text[cut.start : cut.head], settings, depth=depth + 1)
            result.extend(inner.moved(cut.start) for inner in before)
            cut = replace(cut, start=cut.head)
        _, inside = _cut(text[cut.body_start : end], settings, depth=depth + 1)
        result.append(cut)
        result.extend(inner.moved(cut.body_start) for inner in inside[1:])
    return result
