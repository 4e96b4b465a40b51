"""The drawings of a study's page that a run's page does not have: the heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from srl.report.svg import drawing, tag

_LEFT, _TOP, _COLUMN, _ROW, _BOTTOM = 150.0, 40.0, 190.0, 62.0, 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One cell of a heat map."""

    title: str
    """In bold: who wins."""
    text: str
    """Under it: by how much."""
    colour: int
    """Number of the winner's colour, from 1; 0 for none."""
    strength: float
    """0 to 1: how full the colour is."""


def heat_map(
    tiles: Sequence[Sequence[Tile]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    row_title: str,
    column_title: str,
    description: str,
) -> Markup:
    """``tiles[row][column]`` as coloured rectangles with their texts."""
    width, height = _LEFT + _COLUMN * len(columns) + 4, _TOP + _ROW * len(rows) + _BOTTOM
    middle = _LEFT + _COLUMN * len(columns) / 2
    parts = [
        tag("text", row_title, x=4, y=14, class_="axis-label"),
        tag("text", column_title, x=middle, y=height - 6, class_="axis-label middle"),
    ]
    for index, label in enumerate(columns):
        x = _LEFT + _COLUMN * (index + 0.5)
        parts.append(tag("text", label, x=x, y=_TOP - 7, class_="tick middle"))
    for row, line in enumerate(tiles):
        y = _TOP + _ROW * row
        parts.append(tag("text", rows[row], x=_LEFT - 10, y=y + _ROW / 2 + 4, class_="tick end"))
        for column, tile in enumerate(line):
            x = _LEFT + _COLUMN * column
            box = {"x": x + 1.5, "y": y + 1.5, "width": _COLUMN - 3, "height": _ROW - 3, "rx": 5.0}
            parts.append(tag("rect", class_="tile empty", **box))
            if tile.colour:
                parts.append(tag("rect", class_=f"tile s{tile.colour}", fill_opacity=round(tile.strength, 2), **box))
            parts.append(tag("text", tile.title, x=x + _COLUMN / 2, y=y + _ROW / 2 - 3, class_="tile-title middle"))
            parts.append(tag("text", tile.text, x=x + _COLUMN / 2, y=y + _ROW / 2 + 14, class_="tile-text middle"))
    return drawing(width, height, parts, "heat", description)
