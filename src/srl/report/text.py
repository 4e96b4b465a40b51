"""Values -> the text that stands on the page.

Model text may hold anything. ``visible`` makes every character that a browser would hide, act on or refuse readable;
escaping for HTML is not done here but by the template engine and by ``charts``, for every text without exception.
"""

from __future__ import annotations

import re

_MINUS = "\N{MINUS SIGN}"
# Controls but tab and line feed; marks that reorder or hide text (bidirectional overrides could make a page show
# something else than the policy wrote); lone surrogates, which UTF-8 cannot hold; noncharacters.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff0-\uffff]"
    "|[\ud800-\udfff]|[\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    r"""The text with every invisible or invalid character written as its code point.

    >>> visible("a\x00b\r\n")
    'a⟨U+0000⟩b\n'
    """
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", text.replace("\r\n", "\n"))


def percent(value: float, digits: int = 1) -> str:
    """A rate in [0, 1] as a percentage.

    >>> percent(0.8312)
    '83.1 %'
    """
    return f"{value * 100:.{digits}f} %".replace("-", _MINUS)


def number(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits, thousands grouped, small ones in powers of ten.

    >>> number(1234.5), number(0.71234), number(5e-7), number(-1)
    ('1,234', '0.712', '5e−07', '−1')
    """
    rounded = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.{digits}g}"
    return rounded.replace("-", _MINUS)


def clip_text(text: str, max_characters: int) -> tuple[str, int]:
    """The beginning of a long text, and how many characters were left out."""
    return text[:max_characters], max(0, len(text) - max_characters)
