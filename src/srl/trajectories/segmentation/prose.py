"""Running text -> steps of a sensible size: paragraphs, sentences, groups of sentences.

How many steps a text gives is its length's decision: about ``_STEPS`` of them, each between 100 and 600 characters,
which is what experts write where they number their steps themselves (a median of 257 characters in the AMC and AIME
solutions). So five sentences become about four steps, and eighty sentences about fifteen. Paragraphs are kept where
they are of such a size, cut at sentences where they are twice as long, joined where they are much shorter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

from srl.trajectories.segmentation.breaks import Break, Strength, find_breaks
from srl.trajectories.segmentation.cuts import Cut, plain_cut
from srl.trajectories.settings import ReadSettings

# Text that is long enough is cut into about so many pieces.
_STEPS = 8
_FEWEST_CHARS = 100
_MOST_CHARS = 600
# A short piece that begins so introduces what follows; any other ends what came before.
_OPENER = re.compile(
    r"[\s*_#-]*(?:Assume|Consider|Define|Denote|Finally|First|Given|Let|Next|Now|Recall|Second|Suppose|Third|To |We )"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prose:
    """Running text, cut."""

    cuts: list[Cut]
    """The pieces' beginnings."""
    num_paragraphs: int
    """How many of the cuts are ends of paragraphs."""


def cut_prose(text: str, settings: ReadSettings, *, whole: int = 0) -> Prose:
    """Cut ``text``; one piece where it holds one sentence. Total: any string is allowed.

    ``whole`` is the length of the text that this is a part of, 0 if it is no part: the pieces' size is the whole's.

    Pieces longer than ``max_step_chars`` are cut wherever that tears no formula; pieces shorter than
    ``min_step_chars`` are joined.
    """
    places = [Break(start=0, strength=Strength.PARAGRAPH), *find_breaks(text)]
    size = min(max((whole or len(text)) // _STEPS, _FEWEST_CHARS), _MOST_CHARS)
    chosen = _choose(places, len(text), size=size, max_chars=settings.max_step_chars)
    least = max(settings.min_step_chars, size // 3)
    joined = _join(chosen, text, least=least, most=2 * size)
    if len(joined) == 1 and not whole:
        sentences = [place for place in places if place.strength >= Strength.ITEM]
        joined = _join(sentences, text, least=settings.min_step_chars, most=2 * size)
    num_paragraphs = sum(place.strength == Strength.PARAGRAPH for place in joined[1:])
    return Prose(cuts=[plain_cut(place.start) for place in joined], num_paragraphs=num_paragraphs)


def preamble_cuts(text: str, first: Cut, settings: ReadSettings) -> list[Cut]:
    """``first`` and what is cut out of the text before it, for parts and lists that have a preamble.

    A sentence that ends in a colon introduces ``first`` and goes with it; so does what would be shorter than
    ``min_step_chars``.
    """
    before = text[: first.start]
    start = first.start
    if before.rstrip().endswith((":", "：")):
        start = max((place.start for place in find_breaks(before) if place.strength > Strength.ITEM), default=0)
    if len(text[:start].strip()) < max(1, settings.min_step_chars):
        return [replace(first, start=0)]
    return [*cut_prose(text[:start], settings, whole=len(text)).cuts, replace(first, start=start)]


def _choose(places: list[Break], length: int, *, size: int, max_chars: int) -> list[Break]:
    """Every end of a paragraph, and inside long paragraphs about one break per ``size`` characters."""
    limits = {Strength.SENTENCE: 2 * size, Strength.ITEM: 4 * size, Strength.EQUATION: max_chars or length}
    taken = [place.strength == Strength.PARAGRAPH for place in places]
    for strength, limit in limits.items():
        taken = _refine(places, taken, length, strength=strength, limit=limit, size=size)
    return [place for place, is_taken in zip(places, taken, strict=True) if is_taken]


def _refine(
    places: list[Break], taken: list[bool], length: int, *, strength: Strength, limit: int, size: int
) -> list[bool]:
    """``taken`` with breaks of at least ``strength`` added inside pieces longer than ``limit``."""
    refined = list(taken)
    borders = [index for index, is_taken in enumerate(taken) if is_taken] + [len(places)]
    for first, last in pairwise(borders):
        start, end = places[first].start, places[last].start if last < len(places) else length
        if end - start <= limit:
            continue
        aim = (end - start) / max(2, round((end - start) / size))
        inner = [index for index in range(first + 1, last) if places[index].strength >= strength]
        for index, after in zip_longest(inner, inner[1:]):
            here, following = places[index].start, end if after is None else places[after].start
            if abs(here - start - aim) <= abs(following - start - aim) and end - here >= aim / 3:
                refined[index] = True
                start = here
    return refined


def _join(places: list[Break], text: str, *, least: int, most: int) -> list[Break]:
    """``places`` without those that leave pieces of fewer than ``least`` characters.

    A short piece goes to the side where the text is less divided, and if both sides are equal to the one before, unless
    its first word announces something. No piece grows over ``most`` by what is appended to it.
    """
    kept: list[Break] = []
    waiting: Break | None = None
    for index, place in enumerate(places):
        following = places[index + 1] if index + 1 < len(places) else None
        begun = waiting or place
        waiting = None
        end = following.start if following else len(text)
        piece = text[begun.start : end]
        if len(piece.strip()) >= least or (not kept and following is None):
            kept.append(begun)
        elif following is not None and (
            not kept
            or following.strength < begun.strength
            or (following.strength == begun.strength and _OPENER.match(piece))
            or end - kept[-1].start > most
        ):
            waiting = begun
    return kept
