r"""Text with titles but without numbers -> the places where its parts begin.

Three signs, each a splitter of its own: Markdown and LaTeX headings (``### Solution``, ``\section*{Proof}``), lines
that begin with a bold title (``**Case 1:** ...``, ``\textbf{Proof.}``), and lines that begin with a name and a number
("Case 2: ...", "Lemma 1 (Bezout). ..."). A bold word inside a sentence is no title: it ends its line, or a
colon or full stop ends it.
"""

from __future__ import annotations

import re

from srl.trajectories.segmentation.cuts import Cut
from srl.trajectories.segmentation.headers import BOLD_OPEN, find_bold_close
from srl.trajectories.segmentation.lines import Line, top_lines
from srl.trajectories.segmentation.prose import preamble_cuts
from srl.trajectories.settings import ReadSettings

# Longer bold text is a sentence with emphasis.
_MAX_TITLE = 150
# A "### Conclusion" after a long text without headings is not how the text is built.
_MOST_PREAMBLE = 0.5

_HEADING = re.compile(r"[ \t]*(?P<marks>#{1,6})[ \t]+(?P<title>\S.*)")
_SECTION = re.compile(r"[ \t]*\\(?P<level>(?:sub){0,2}section|paragraph)\*?\{(?P<title>(?:[^{}]|\{[^{}]*\})*)\}")
_LEVELS = {"section": 1, "subsection": 2, "subsubsection": 3, "paragraph": 4}
_TEXTBF = re.compile(r"[ \t]*\\textbf\{(?P<title>(?:[^{}]|\{[^{}]*\}){1,150})\}")
_OPTION = re.compile(r"\W*[A-Za-z0-9]\W*\Z")
_NAMES = (
    "Approach|Assertion|Case|Claim|Corollary|Fact|Lemma|Method|Observation|Option|Part|Phase|"
    "Problem|Proof|Proposition|Question|Scenario|Situation|Solution|Stage|Statement|Step|Subcase|Theorem"
)
_NUMBER = r"(?:\d{1,3}(?:\.\d{1,2})?|[IVX]{1,5}|[A-Z]|[ivx]{1,4}|[a-h]|One|Two|Three|Four|Five|Six)"
_LABEL = re.compile(
    rf"[ \t]*[*_]{{0,2}}(?P<title>(?:{_NAMES})[ \t]+\(?{_NUMBER}\)?(?![\w/^])"
    r"(?:[ \t]*(?:\([^()\n]{1,80}\)|\$[^$\n]{1,80}\$|\\\(.{1,80}?\\\)))?)"
    r"[*_]{0,2}[ \t]*(?:[.:：)]|[–—-](?=[ \t])|\r?\Z)"
)
_COLON = re.compile(r"[ \t]*[:：.]?")


def heading_cuts(text: str) -> list[Cut]:
    r"""Cuts at headings, the outermost level that has two of them and all levels above it.

    >>> [cut.title for cut in heading_cuts("# Both\n## Case $x = 1$\na\n### detail\nb\n## **Case 2:**\nc")]
    ['Both', 'Case $x = 1$', 'Case 2']
    """
    found = [(_level(line), line) for line in top_lines(text)]
    headings = [(level, line) for level, line in found if level]
    levels = sorted(level for level, _ in headings)
    outermost = next((level for level in levels if levels.count(level) > 1), max(levels, default=0))
    return [_heading_cut(line) for level, line in headings if level <= outermost]


def bold_cuts(text: str) -> list[Cut]:
    """Cuts at lines that begin with a bold title, and at the headings between them."""
    return [cut for line in top_lines(text) if (cut := _heading_cut(line) if _level(line) else _bold_cut(line))]


def label_cuts(text: str) -> list[Cut]:
    """Cuts at lines that begin with a name and a number, "Case 1: ..."; the most frequent name counts."""
    found = [(label["title"].split()[0], line, label) for line in top_lines(text) if (label := _LABEL.match(line.text))]
    names = [name for name, _, _ in found]
    name = max(dict.fromkeys(names), key=names.count, default="")
    return [_label_cut(line, label) for own, line, label in found if own == name]


def with_preamble(cuts: list[Cut], text: str, settings: ReadSettings) -> list[Cut]:
    """``cuts`` of titled parts, with those of the text before the first of them.

    [] if there are fewer than two parts, or the text before them is longer than they.
    """
    if len(cuts) < 2 or cuts[0].start > _MOST_PREAMBLE * len(text):
        return []
    return [*preamble_cuts(text, cuts[0], settings), *cuts[1:]]


def _level(line: Line) -> int:
    heading = _HEADING.match(line.text)
    if heading:
        return len(heading["marks"])
    section = _SECTION.match(line.text)
    return _LEVELS[section["level"]] if section else 0


def _heading_cut(line: Line) -> Cut:
    heading = _HEADING.match(line.text)
    section = _SECTION.match(line.text)
    if heading:
        title, end = heading["title"].rstrip("# \t\r"), len(line.text)
    else:
        title, end = (section["title"], section.end()) if section else ("", 0)
    return Cut(start=line.start, head=line.start, body_start=line.start + end, title=_clean(title))


def _bold_cut(line: Line) -> Cut | None:
    latex = _TEXTBF.match(line.text)
    if latex:
        title, end = latex["title"], latex.end()
    else:
        opening = BOLD_OPEN.match(line.text)
        closing = find_bold_close(line.text[: _MAX_TITLE + 20], opening.end()) if opening else None
        if opening is None or closing is None:
            return None
        title, end = line.text[opening.end() : closing.start()], closing.end()
    rest = line.text[end:].strip()
    is_title = not rest or title.rstrip().endswith((".", ":", "：")) or rest.startswith((".", ":", "：", "– ", "— "))
    if not is_title or len(title) > _MAX_TITLE or _OPTION.match(title):
        return None
    colon = _COLON.match(line.text, end)
    body_start = colon.end() if colon else end
    return Cut(start=line.start, head=line.start, body_start=line.start + body_start, title=_clean(title))


def _label_cut(line: Line, label: re.Match[str]) -> Cut:
    return Cut(start=line.start, head=line.start, body_start=line.start + label.end(), title=_clean(label["title"]))


def _clean(title: str) -> str:
    """A title on one line, without bold marks and the sign that ends it."""
    bare = " ".join(title.replace("**", "").split())
    return bare.rstrip(":： ").removesuffix(".").strip("* ")
