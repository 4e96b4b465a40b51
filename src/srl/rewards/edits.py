r"""Two edits of a file -> how alike what they change is, in [0, 1].

Only changed lines count: what an edit quotes around them, so that the tool finds its place, is context, and an edit
that quotes more of it is the same edit.

    similarity = (S(removed) |removed| + S(added) |added|) / (|removed| + |added|)

S is the sequence similarity of the lines of both edits, |x| their characters, both edits together. The decision a
reader would question: where in the file a change stands is not compared; the path is an argument of its own, and line
numbers of a patch are often wrong in what models write.
"""

from __future__ import annotations

import re

from srl.rewards.similarity import MAX_SCORED_CHARACTERS, bounded_similarity, matching_blocks

Changes = tuple[str, str]
"""The lines that an edit removes, and those that it adds."""

_PATCH = re.compile(
    r"(?m)^(?:diff --git |@@ |@@$|\*\*\* (?:Begin Patch|(?:Add|Update|Delete) File: )|--- \S.*\n\+\+\+ )"
)
_HEADERS = ("diff --git ", "index ", "--- ", "+++ ", "@@", "*** ", "new file mode ", "deleted file mode ")
_FILE = re.compile(r"(?m)^(?:\+\+\+ (?:b/)?|\*\*\* (?:Add|Update|Delete) File: )(.*?)[ \t]*$")


def changes_of(old: str, new: str) -> Changes:
    r"""What the replacement of ``old`` by ``new`` changes.

    >>> changes_of("def f():\n    return 1\n", "def f():\n    return 2\n")
    ('    return 1', '    return 2')
    """
    before, after = old.split("\n"), new.split("\n")
    if len(before) > MAX_SCORED_CHARACTERS or len(after) > MAX_SCORED_CHARACTERS:
        return old, new
    kept_before: set[int] = set()
    kept_after: set[int] = set()
    for start, other_start, size in matching_blocks(before, after):
        kept_before.update(range(start, start + size))
        kept_after.update(range(other_start, other_start + size))
    removed = [line for number, line in enumerate(before) if number not in kept_before]
    added = [line for number, line in enumerate(after) if number not in kept_after]
    return "\n".join(removed), "\n".join(added)


def is_patch(text: str) -> bool:
    """Whether a text is a unified diff or a patch in the form of ``apply_patch``."""
    return _PATCH.search(text) is not None


def changes_of_patch(patch: str) -> Changes:
    r"""The lines that a patch removes and adds; the files that it names count among the added.

    >>> changes_of_patch("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x = 1\n+x = 2\n y = 3")
    ('x = 1', 'f\nx = 2')
    """
    removed: list[str] = []
    added: list[str] = [path for path in _FILE.findall(patch) if path != "/dev/null"]
    for line in patch.split("\n"):
        if line.startswith(_HEADERS):
            continue
        if line.startswith("-"):
            removed.append(line[1:])
        elif line.startswith("+"):
            added.append(line[1:])
    return "\n".join(removed), "\n".join(added)


def edit_similarity(action: Changes, target: Changes) -> float:
    """The formula above; 1.0 for two edits that change nothing."""
    sizes = [len(mine) + len(theirs) for mine, theirs in zip(action, target, strict=True)]
    if not sum(sizes):
        return 1.0
    matched = sum(
        size * bounded_similarity(mine, theirs) for size, mine, theirs in zip(sizes, action, target, strict=True)
    )
    return min(1.0, matched / sum(sizes))
