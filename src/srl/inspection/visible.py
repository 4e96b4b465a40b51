r"""Text of data -> text that is safe and honest in a terminal.

An observation may hold the escape sequences of the terminal it was recorded in, and a bidirectional override makes
text read as something else. Both are shown as escapes; printed as they are, they would colour, move or hide what
follows. Everything goes through rich's ``Text``, which reads no markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.text import Text

# Control characters but for line break and tab, line separators, bidirectional controls, half surrogate pairs.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
ESCAPE_STYLE = "reverse"
SPECIAL_STYLE = "bold cyan"


def escape_controls(text: str) -> str:
    r"""``text`` with characters that a terminal would act on written as escapes.

    >>> escape_controls("\x1b[31mred\r\n")
    '\\x1b[31mred\\r\n'
    """
    return _UNSAFE.sub(_escaped, text)


def visible(text: str, special_tokens: Sequence[str] = ()) -> Text:
    """``text`` for the terminal, with escapes and a model's special tokens set apart by their style."""
    marks = "|".join(re.escape(token) for token in sorted(special_tokens, key=len, reverse=True) if token)
    pattern = re.compile(f"({_UNSAFE.pattern})|({marks})" if marks else f"({_UNSAFE.pattern})")
    shown = Text()
    position = 0
    for found in pattern.finditer(text):
        shown.append(text[position : found.start()])
        if found[1] is not None:
            shown.append(_escaped(found), style=ESCAPE_STYLE)
        else:
            shown.append(found[0], style=SPECIAL_STYLE)
        position = found.end()
    shown.append(text[position:])
    return shown


def in_one_line(text: str, width: int) -> Text:
    """The beginning of ``text`` with every white space as one blank, at most ``width`` columns."""
    line = Text(escape_controls(" ".join(text[: 4 * width].split())))
    line.truncate(width, overflow="ellipsis")
    return line


def _escaped(found: re.Match[str]) -> str:
    if found[0] == "\r":
        return r"\r"
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
