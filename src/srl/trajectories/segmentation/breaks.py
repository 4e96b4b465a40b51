r"""Text -> the places where running text may be cut, each with its strength.

A display formula belongs to the sentence that introduces it, a list to the line before it that ends in a colon, a
heading to what follows, "where ..." after a formula to the formula, a lone "∎" to the proof. Such places are no
breaks at all, so no splitter of prose can tear them.

Where the text does not say (is "A. Then" an initial, does this line break end a sentence?) there is no break: a step
that is a sentence too long is a smaller harm than one that begins in the middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from srl.trajectories.segmentation.lines import Line, read_lines
from srl.trajectories.segmentation.regions import PROSE_ENVIRONMENTS, Regions, find_regions


class Strength(IntEnum):
    """How clearly a thought ends at a break."""

    EQUATION = 1
    """Between two display formulas: taken only where a step would be too long otherwise."""
    ITEM = 2
    """Between two items of a list without blank lines: the list is one thought unless it is long."""
    SENTENCE = 3
    """A sentence or a line ends."""
    PARAGRAPH = 4
    """A paragraph ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Break:
    """A place where running text may be cut."""

    start: int
    """Offset of the first character after it."""
    strength: Strength
    """How clearly a thought ends there."""


# Sentences shorter than this ("Proof.", "Yes.", "(i).") are labels or answers to the next one, never steps.
_MIN_SENTENCE = 20
# Characters of a line that its patterns may search: enough for the longest sign, few enough to stay linear.
_SEEN = 200
# Lines of these lengths may be broken by an editor in the middle of a sentence, others are broken on purpose.
_WRAPPED = range(55, 111)
_END = re.compile(
    r"(?:(?<![.!?])(?P<western>[.!?]+)(?:[)\]\"'”’*_}$]|\\[)\]])*[ \t]+(?=[^\sa-z,;:.!?)\]}=+/<>^&|~_-])"
    r"|(?<![。！？])(?P<eastern>[。！？]+[”’」』）)]*)(?=[^\s。！？])"
    # "\] Then", and "\]Then" as the MATH dataset has it
    r"|(?P<display>(?:\\\]|\$\$|\\end\{[A-Za-z]{1,20}\*?\})[.,;]?)[ \t]*(?=[A-Z]))"
)
_ABBREVIATIONS = frozenset(
    {
        "al", "approx", "ca", "cf", "ch", "cor", "def", "dr", "e.g", "eq", "eqn", "eqns", "eqs", "ex", "fig", "figs",
        "i.e", "jr", "lem", "mr", "mrs", "ms", "no", "nos", "nr", "pp", "prof", "prop", "resp", "s.t", "sec", "sr",
        "st", "th", "thm", "viz", "vol", "vs", "w.l.o.g", "w.r.t", "wlog",
    }
)  # fmt: skip
_LAST_WORD = re.compile(r"[A-Za-z][A-Za-z.]*\Z")
# After a capital letter and a dot these words begin a sentence ("through A. Then"); any other may be a name.
_STARTERS = frozenset(
    {
        "A", "As", "Because", "But", "By", "Consider", "Finally", "First", "For", "From", "Given", "Hence", "However",
        "If", "In", "It", "Let", "Next", "Note", "Now", "On", "Otherwise", "Similarly", "Since", "So", "Substituting",
        "Suppose", "That", "The", "Then", "There", "Therefore", "This", "Thus", "To", "Using", "We", "When",
    }
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z]+")
_LABEL = re.compile(
    r"[\s#>*_(-]*(?:(?:[Aa]ssertion|[Cc]ase|[Cc]laim|[Cc]orollary|[Ee]xample|[Ff]act|[Ll]emma|[Mm]ethod|[Oo]bservation"
    r"|[Pp]art|[Pp]roposition|[Ss]olution|[Ss]tep|[Ss]ubcase|[Tt]heorem)\s+)?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})?[)*_]*\Z"
)
_HEADING = re.compile(r"\s*#{1,6}\s+\S")
_BOLD_LINE = re.compile(r"\s*(?:\*\*|__)[^*_].{0,150}(?:\*\*|__)\s*[:：]?\s*\Z")
_OPENS_PROSE = re.compile(rf"\s*\\begin\{{(?:{'|'.join(sorted(PROSE_ENVIRONMENTS))})\*?\}}[^.]*\Z")
_CLOSES_PROSE = re.compile(rf"\s*\\end\{{(?:{'|'.join(sorted(PROSE_ENVIRONMENTS))})\*?\}}")
_STARTS_DISPLAY = re.compile(rf"\s*(?:\\\[|\$\$|\\begin\{{(?!(?:{'|'.join(sorted(PROSE_ENVIRONMENTS))})\*?\}}))")
_ENDS_DISPLAY = re.compile(r"(?:\\\]|\$\$|\\end\{[A-Za-z]+\*?\})\s*[.,;]?\Z")
_ENDS_SENTENCE = re.compile(r"(?:[.!?。！？…]|\\\]|\$\$|\\end\{[A-Za-z]+\*?\})(?:[)\]\"'”’*_}$]|\\[)\]])*\Z")
_ENDS_OPEN = re.compile(r"[:,：，;；=+<>≤≥&~–—-][*_]*\Z")
_ENDS_COLON = re.compile(r"[:：][*_]*\Z")
_GOES_ON = re.compile(r"\s*(?:[a-z]{2,}\b|[a-z]\s+[a-z]|[,.;:)\]}=]|\\(?:end|tag|qquad|quad)\b)")
_CLOSING = re.compile(
    r"\s*(?:[-*_]{3,}|[∎■□◻◼]+|\$?\\?(?:blacksquare|square|Box|qed|hfill)\b.*|Q\.?\s?E\.?\s?D\.?|\W*\\boxed\{.*\}\W*)\s*\Z"
)
_LIST_ITEM = re.compile(r"\s*(?:[-*+•–]\s+|\d{1,3}[.)]\s|\(?[a-zA-Z][.)]\s|\(?[ivx]{1,5}[.)]\s|\(\d{1,3}\)\s|\\item\b)")
_TABLE = re.compile(r"\s*\|")


def find_breaks(text: str) -> list[Break]:
    r"""All places in ``text`` where running text may be cut, in order. Total; linear in the length of the text.

    >>> text = "By Eq. (3) we have $0.5$, i.e. half of it.\n\nHence\n\n\\[ x. \\]\n\nwhere $x > 0$ is fixed. So it is."
    >>> [text[place.start : place.start + 5] for place in find_breaks(text)]
    ['Hence', 'So it']
    """
    lines = read_lines(text)
    regions = find_regions(text, lines)
    found = [*_between_lines(lines, regions), *_inside_lines(text, lines, regions)]
    return sorted(found, key=lambda place: place.start)


def _between_lines(lines: Sequence[Line], regions: Regions) -> Iterator[Break]:
    before: Line | None = None
    blank = False
    for line in lines:
        if line.is_blank:
            blank = True
            continue
        if before is not None and regions.around(line.start) is None:
            strength = _between(before.text, line.text, blank=blank)
            if strength is not None:
                yield Break(start=line.start, strength=strength)
        before, blank = line, False


def _between(before: str, after: str, *, blank: bool) -> Strength | None:
    """The break between two lines, with a blank line between them or not."""
    end = before.rstrip()[-_SEEN:]  # the patterns of line ends search, so they see only so much
    if _introduces(before) or _closes(after):
        return None
    if _HEADING.match(after):
        return Strength.PARAGRAPH
    if _STARTS_DISPLAY.match(after):
        return Strength.EQUATION if _ENDS_DISPLAY.search(end) else None
    if _LIST_ITEM.match(after):
        return None if _ENDS_COLON.search(end) else Strength.PARAGRAPH if blank else Strength.ITEM
    if _closes(before):
        return Strength.PARAGRAPH if blank else Strength.SENTENCE
    if _ENDS_OPEN.search(end) or _CLOSES_PROSE.match(after):
        return None
    ends_sentence = bool(_ENDS_SENTENCE.search(end))
    if blank:
        goes_on = _GOES_ON.match(after) and (_ENDS_DISPLAY.search(end) or not ends_sentence)
        return None if goes_on else Strength.PARAGRAPH
    if _TABLE.match(after) or _GOES_ON.match(after):
        return None
    return Strength.SENTENCE if ends_sentence or len(before.rstrip()) not in _WRAPPED else None


def _introduces(line: str) -> bool:
    """Whether a line is nothing without the next: a heading, a title, the opening of a proof."""
    return bool(_HEADING.match(line) or _BOLD_LINE.match(line) or _OPENS_PROSE.match(line))


def _closes(line: str) -> bool:
    """Whether a line only ends what stands before it: a rule, the end of a proof, a boxed answer."""
    return len(line) <= _SEEN and bool(_CLOSING.match(line))


def _inside_lines(text: str, lines: Sequence[Line], regions: Regions) -> Iterator[Break]:
    """Ends of sentences that are followed by another one in the same line."""
    for line in lines:
        begin = line.start
        for end in _END.finditer(text, line.start, line.start + len(line.text)):
            if not _is_outside(end, regions):
                continue
            is_short = end["display"] is None and end.start() - begin < _MIN_SENTENCE
            if is_short or _is_title(text, begin, end):
                continue
            if end["western"] and not _ends_sentence(text, line.start, end):
                continue
            yield Break(start=end.end(), strength=Strength.SENTENCE)
            begin = end.end()


def _is_outside(end: re.Match[str], regions: Regions) -> bool:
    """Whether the end of a sentence stands outside formulas, or is the end of one."""
    if end["display"]:
        around = regions.around(end.start() + 1)
        return around is not None and around[1] <= end.end()
    around = regions.around(end.start())
    return around is None or around[1] <= end.end()


def _is_title(text: str, begin: int, end: re.Match[str]) -> bool:
    """Whether the sentence that begins at ``begin`` is bold as a whole, as in "**The points M and N.** Let ..."."""
    return "**" in end.group() and text[begin : begin + 20].lstrip().startswith("**")


def _ends_sentence(text: str, line_start: int, end: re.Match[str]) -> bool:
    """Whether a dot ends a sentence, and not an abbreviation, an initial, a label or an ellipsis."""
    marks = end["western"]
    if ".." in marks:
        return False
    head = text[max(line_start, end.start() - 40) : end.start()]
    if len(head) < 40 and _LABEL.match(head):
        return False
    word = _LAST_WORD.search(head)
    if word is None:
        return marks != "!"  # 5! is a factorial
    last = word.group()
    if marks == "!":
        return len(last) > 1
    if last.lower() in _ABBREVIATIONS:
        return False
    if len(last) == 1 and last.isupper() and head[: word.start()][-1:].isspace():
        following = _WORD.match(text, end.end())
        return following is None or following.group() in _STARTERS
    return True
