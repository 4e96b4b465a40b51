"""Numbers by category -> horizontal bars, in the manner of ``charts``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from srl.report.svg import drawing, tag

_WIDTH, _LEFT, _RIGHT = 360.0, 136.0, 74.0
_TOP, _ROW, _BAR, _BOTTOM = 24.0, 25.0, 13.0, 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BarRow:
    """One bar."""

    label: str
    """What it is of."""
    parts: tuple[float, ...]
    """Lengths of its parts, at least 0, from the left: the first in the main colour, the second in that of failures."""
    note: str
    """What stands at its right end."""
    interval: tuple[float, float] | None = None
    """Ends of the whisker, None for none."""


def bar_rows(rows: Sequence[BarRow], *, top: float, axis_label: str, description: str) -> Markup:
    """Bars from 0 to ``top`` (above 0), which are the two numbers written under them; at least one row."""
    height = _TOP + _ROW * len(rows) + _BOTTOM

    def at(value: float) -> float:
        return round(_LEFT + min(max(value / top, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT), 1)

    parts = [tag("text", axis_label, x=4, y=12, class_="axis-label")]
    for value in (0.0, top / 2, top):
        x = at(value)
        parts.append(tag("line", x1=x, x2=x, y1=_TOP, y2=height - _BOTTOM, class_="grid"))
        parts.append(tag("text", f"{value:g}", x=x, y=height - 6, class_="tick middle"))
    for index, row in enumerate(rows):
        y = _TOP + index * _ROW + (_ROW - _BAR) / 2
        middle, text_y = y + _BAR / 2, y + _BAR - 2.5
        parts.append(tag("text", row.label, x=_LEFT - 6, y=text_y, class_="tick end"))
        start = 0.0
        for size, kind in zip(row.parts, ("bar", "bar failed"), strict=False):
            x, end = at(start), at(start + size)
            if end > x:
                parts.append(tag("rect", x=x, y=y, width=round(end - x, 1), height=_BAR, class_=kind))
            start += size
        if row.interval is not None:
            low, high = map(at, row.interval)
            parts.append(tag("line", x1=low, x2=high, y1=middle, y2=middle, class_="error"))
            parts += [tag("line", x1=x, x2=x, y1=middle - 3, y2=middle + 3, class_="error") for x in (low, high)]
        parts.append(tag("text", row.note, x=_WIDTH - _RIGHT + 8, y=text_y, class_="tick"))
    return drawing(_WIDTH, height, parts, "bars", description)
