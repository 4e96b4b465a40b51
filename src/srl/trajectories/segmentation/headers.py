r"""Solution text -> the lines that may begin a step.

Recognised, for a number N of one to three digits, alone at the start of a top-level line:

    N. **Title** body      N) **Title**: body     **N. Title** body      N. body
    Step N: **Title** body                        **Step N: Title** body  Step N: body
    ### Step N: Title      ### N. Title           **Step N:** body

*Top level* means: not indented, counted from the least indented line of the text (one stray space is forgiven), and
not protected (``lines``). Which candidates are the steps is decided in ``numbers``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from srl.trajectories.segmentation.lines import Line, read_lines, top_indent

Kind = Literal["step", "number"]
"""Whether the word "Step" stands before the number."""
Mark = Literal["heading", "bold", "plain"]
"""How strongly the header stands out: a ``###`` heading, bold, or not at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """A line that may begin a step."""

    number: int
    """The number it carries."""
    kind: Kind
    """Whether the word "Step" stands before the number."""
    mark: Mark
    """How it stands out."""
    title: str
    """The title without its marks and trailing colon, "" where there is none."""
    start: int
    """Offset of the beginning of its line."""
    body_start: int
    """Offset of the first character after number, title and colon."""
    starts_paragraph: bool
    """Whether a blank line, or nothing, stands before it."""


# The separator after the number is optional only where a mark makes clear that a header is meant ("### Step 2").
_MARKER = re.compile(
    r"[ \t]*(?P<heading>#{1,6}[ \t]+)?(?P<bold>\*{2,3}[ \t]*)?(?P<step>(?:[Ss]tep|STEP)[ \t]+)?"
    r"(?P<number>[0-9]{1,3})(?P<separator>[.)]|[ \t]*[:：]|[ \t]+[-–—](?=[ \t]))?"
)
BOLD_OPEN = re.compile(r"[ \t]*\*{2,3}(?=[^*\s])")
# Bold inside formulas ("$2^{**}$") closes nothing. The dollar rule is pandoc's: "$5 and $6" is money, not a formula.
_INLINE_TOKEN = re.compile(
    r"\$(?!\s)(?:[^$\\]|\\.)*?(?<!\s)\$(?!\d)|\\\((?:[^\\]|\\[^()])*\\\)|\\.|(?P<close>\*{2,3})", re.DOTALL
)
_COLON = re.compile(r"[ \t]*[:：]?")


def find_headers(text: str, *, hanging: bool = False) -> list[Header]:
    r"""All candidates in ``text``, in order. Total: any string is allowed; linear in the length of the text.

    If ``hanging``, the first line's indentation does not say where the top level is: in texts that were stripped as a
    whole it alone has lost its own.

    >>> [(header.number, header.title) for header in find_headers("1. **Add:** 2+3\n   1. **no**\n2. **Double**: 10")]
    [(1, 'Add'), (2, 'Double')]
    """
    lines = read_lines(text)
    top_level = top_indent(lines[1:] if hanging else lines)
    headers: list[Header] = []
    for index, line in enumerate(lines):
        if line.protected or line.indent > top_level:
            continue
        following = lines[index + 1].text if index + 1 < len(lines) else ""
        header = _read_header(line, following, starts_paragraph=index == 0 or lines[index - 1].is_blank)
        if header is not None:
            headers.append(header)
    return headers


def _read_header(line: Line, following: str, *, starts_paragraph: bool) -> Header | None:
    """The header on ``line``, None if there is none; ``following`` is the next line, where a title may end."""
    marker = _MARKER.match(line.text)
    if marker is None or not _is_header(marker):
        return None
    if marker["heading"]:
        mark, title, end = "heading", line.text[marker.end() :].replace("**", ""), len(line.text)
    else:
        window = line.text
        if following.strip() and _MARKER.match(following) is None:
            window += "\n" + following
        opening = marker if marker["bold"] else BOLD_OPEN.match(window, marker.end())
        closing = find_bold_close(window, opening.end()) if opening else None
        if opening is None or closing is None:
            if marker["bold"]:
                return None  # "**3. " that never closes: too broken to be sure
            mark, title, end = "plain", "", marker.end()
        else:
            mark, title, end = "bold", window[opening.end() : closing.start()], closing.end()
    colon = _COLON.match(line.text + "\n" + following, end)
    return Header(
        number=int(marker["number"]),
        kind="step" if marker["step"] else "number",
        mark=mark,
        title=" ".join(title.split()).lstrip(":：").rstrip(":：").strip("* "),
        start=line.start,
        body_start=line.start + (colon.end() if colon else end),
        starts_paragraph=starts_paragraph,
    )


def _is_header(marker: re.Match[str]) -> bool:
    """Whether number and separator begin a header, not "0.85x", "12 apples" or "2: 3"."""
    separator = (marker["separator"] or "").strip()
    following = marker.string[marker.end() : marker.end() + 1]
    if marker["step"]:
        if separator:
            return True
        return bool(marker["heading"] and not following.strip()) or bool(marker["bold"] and following == "*")
    if marker["heading"] and separator in {":", "："}:
        return True
    return separator in {".", ")"} and (not following.strip() or following == "*")


def find_bold_close(window: str, start: int) -> re.Match[str] | None:
    """The mark that closes the bold text which begins at ``start``, None where there is none."""
    return next((token for token in _INLINE_TOKEN.finditer(window, start) if token["close"]), None)
