"""Numbers -> inline SVG, coloured by the page's style sheet so that one drawing serves light and dark.

Every drawing carries its axes, their units and a text for screen readers. ``data-points`` holds the tooltip texts for
the page's script; without script nothing but the tooltips is lost.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from srl.report.svg import drawing, tag
from srl.report.text import number, percent, visible

MAX_POINTS = 240
_WIDTH, _HEIGHT = 360.0, 204.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 12.0, 26.0, 38.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One line of a chart."""

    label: str
    """Name in the legend and the tooltip."""
    points: tuple[tuple[float, float], ...]
    """(update, value), ascending."""
    spread: tuple[float, ...] = ()
    """Half width of the band around each point; () for no band."""
    has_markers: bool = False
    """Draw a dot on each point: for values measured at some updates only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """The vertical axis."""

    label: str
    """What is shown and its unit."""
    is_rate: bool = False
    """Values in [0, 1], shown in per cent."""
    low: float | None = None
    """Where the axis begins, None: at the data."""
    high: float | None = None
    """Where the axis ends, None: at the data."""

    def clip(self, value: float) -> float:
        """A rate within [0, 1], so that a band ends where rates do; any other value as it is."""
        return min(1.0, max(0.0, value)) if self.is_rate else value

    def show(self, value: float) -> str:
        """A value of this axis as text."""
        return percent(value) if self.is_rate else number(value)


def bucket(series: Series) -> tuple[Series, int]:
    """The series with at most MAX_POINTS points, each the mean of as many updates as the second value says."""
    size = math.ceil(len(series.points) / MAX_POINTS)
    if size <= 1:
        return series, 1
    starts = range(0, len(series.points), size)
    chunks = [series.points[start : start + size] for start in starts]
    points = tuple((_mean([x for x, _ in chunk]), _mean([y for _, y in chunk])) for chunk in chunks)
    spread = tuple(_mean(series.spread[start : start + size]) for start in starts) if series.spread else ()
    return Series(label=series.label, points=points, spread=spread, has_markers=series.has_markers), size


def nice_ticks(low: float, high: float, num_intervals: int, *, is_integer: bool = False) -> list[float]:
    """Round numbers, equally spaced, the first at or below ``low`` and the last at or above ``high``.

    >>> nice_ticks(0.0, 0.93, 4)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    width = max((high - low) / num_intervals, 1.0 if is_integer else 1e-12)
    power = 10.0 ** math.floor(math.log10(width))
    steps = (1, 2, 5, 10) if is_integer else (1, 2, 2.5, 5, 10)
    step = next((factor * power for factor in steps if factor * power >= width * 0.999), 10 * power)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def line_chart(series: Sequence[Series], *, axis: Axis, x_label: str, description: str) -> Markup:
    """Lines over updates; at least one series must have points, and those without keep their colours to themselves."""
    numbered = [(index, line) for index, line in enumerate(series, start=1) if line.points]
    series = [line for _, line in numbered]
    updates = [x for line in series for x, _ in line.points]
    x_low, x_high = min(updates), max(updates)
    if x_low == x_high:
        x_low, x_high = x_low - 1, x_high + 1
    ticks = _value_ticks(series, axis)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low)
        up = (y - ticks[0]) / (ticks[-1] - ticks[0])
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    parts = [tag("text", axis.label, x=4, y=12, class_="axis-label")]
    for tick in ticks:
        y = at(x_low, tick)[1]
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        label = f"{number(tick * 100)} %" if axis.is_rate else number(tick)
        parts.append(tag("text", label, x=_LEFT - 6, y=y + 3.5, class_="tick end"))
    for tick in nice_ticks(x_low, x_high, 5, is_integer=True):
        if x_low <= tick <= x_high:
            x = at(tick, ticks[0])[0]
            parts.append(tag("text", number(tick, 6), x=x, y=_HEIGHT - _BOTTOM + 15, class_="tick middle"))
    parts.append(tag("text", x_label, x=(_LEFT + _WIDTH - _RIGHT) / 2, y=_HEIGHT - 5, class_="axis-label middle"))
    for index, line in numbered:
        drawn = [at(x, y) for x, y in line.points]
        if line.spread:
            above = [at(x, axis.clip(y + half)) for (x, y), half in zip(line.points, line.spread, strict=True)]
            below = [at(x, axis.clip(y - half)) for (x, y), half in zip(line.points, line.spread, strict=True)]
            parts.append(tag("polygon", points=_path(above + below[::-1]), class_=f"band s{index}"))
        parts.append(tag("polyline", points=_path(drawn), class_=f"line s{index}"))
        if line.has_markers or len(drawn) == 1:
            parts += [tag("circle", cx=x, cy=y, r=2.6, class_=f"dot s{index}") for x, y in drawn]
    parts.append(tag("line", y1=_TOP, y2=_HEIGHT - _BOTTOM, x1=0, x2=0, class_="cursor", visibility="hidden"))
    points = [(at(x, ticks[0])[0], text) for x, text in _tooltips(series, axis, x_label)]
    return drawing(_WIDTH, _HEIGHT, parts, "chart", description, data_points=json.dumps(points, ensure_ascii=False))


def interval_plot(value: float, low: float, high: float, *, reference: float | None, description: str) -> Markup:
    """A point with its interval on an axis from 0 to 100 %; ``reference`` is a dashed line to compare with."""
    width, height, margin, y = 160.0, 29.0, 8.0, 9.0

    def at(rate: float) -> float:
        return round(margin + min(max(rate, 0.0), 1.0) * (width - 2 * margin), 1)

    parts = [tag("line", x1=margin, x2=width - margin, y1=18, y2=18, class_="grid")]
    for tick, label in ((0.0, "0"), (0.5, "50"), (1.0, "100 %")):
        parts.append(tag("line", x1=at(tick), x2=at(tick), y1=16, y2=20, class_="grid"))
        anchor = {0.0: "tiny", 0.5: "tiny middle", 1.0: "tiny end"}[tick]
        parts.append(tag("text", label, x=at(tick) + {0.0: -3, 0.5: 0, 1.0: 6}[tick], y=27, class_=anchor))
    if reference is not None:
        parts.append(tag("line", x1=at(reference), x2=at(reference), y1=1, y2=18, class_="reference"))
    parts.append(tag("line", x1=at(low), x2=at(high), y1=y, y2=y, class_="whisker"))
    parts += [tag("line", x1=at(end), x2=at(end), y1=y - 3, y2=y + 3, class_="whisker") for end in (low, high)]
    parts.append(tag("circle", cx=at(value), cy=y, r=3.4, class_="dot s1"))
    return drawing(width, height, parts, "interval", description)


def reward_strip(rewards: Sequence[float | None], *, failed: Sequence[bool], marked: Sequence[int]) -> Markup:
    """One bar per rollout, up from 0 or down below it; ``marked`` are the ones printed under the strip."""
    known = [reward for reward in rewards if reward is not None] or [0.0]
    top, bottom = max(1.0, *known), min(0.0, *known)
    column = 40.0 if len(rewards) <= 8 else max(320.0 / len(rewards), 5.0)
    width, height = column * len(rewards), 74.0 if bottom < 0 else 58.0
    scale = (height - 34.0) / (top - bottom)
    zero = 14.0 + top * scale
    parts: list[Markup] = []
    for index, reward in enumerate(rewards):
        x, size = index * column + column * 0.15, abs(reward or 0.0) * scale
        y = zero - size if (reward or 0.0) >= 0 else zero
        kind = "bar failed" if failed[index] else "bar"
        bar = tag("rect", x=round(x, 1), y=round(y, 1), width=column * 0.7, height=max(round(size, 1), 1), class_=kind)
        parts.append(bar)
        middle = round(index * column + column / 2, 1)
        if column >= 30:
            shown = "?" if reward is None else number(reward)
            label_y = y - 3 if (reward or 0.0) >= 0 else y + size + 10
            parts.append(tag("text", shown, x=middle, y=round(label_y, 1), class_="tiny middle"))
        if index in marked:
            parts.append(tag("circle", cx=middle, cy=height - 4, r=2.6, class_="dot s1"))
    parts.append(tag("line", x1=0, x2=width, y1=round(zero, 1), y2=round(zero, 1), class_="base-line"))
    shown = ", ".join("unknown" if reward is None else number(reward) for reward in rewards)
    return drawing(width, height, parts, "strip", f"Rewards of the {len(rewards)} rollouts: {shown}")


def _value_ticks(series: Sequence[Series], axis: Axis) -> list[float]:
    values: list[float] = []
    for line in series:
        halves = line.spread or (0.0,) * len(line.points)
        values += [
            axis.clip(y + sign * half) for (_, y), half in zip(line.points, halves, strict=True) for sign in (-1, 1)
        ]
    low = min(values) if axis.low is None else min(axis.low, *values)
    high = max(values) if axis.high is None else max(axis.high, *values)
    if high - low < 1e-9 * max(1.0, abs(high)):  # a flat line still needs an axis with a height
        room = 0.05 if axis.is_rate else max(abs(high) * 0.1, 1e-6)
        low, high = (low, high + room) if axis.low is not None else (low - room, high + room)
    return nice_ticks(low, high, 4)


def _tooltips(series: Sequence[Series], axis: Axis, x_label: str) -> list[tuple[float, str]]:
    texts: dict[float, list[str]] = {}
    for line in series:
        for index, (x, y) in enumerate(line.points):
            spread = f" ± {axis.show(line.spread[index])}" if line.spread else ""
            texts.setdefault(x, []).append(visible(f"{line.label} {axis.show(y)}{spread}"))
    return [(x, f"{x_label} {number(x, 6)}: " + ", ".join(texts[x])) for x in sorted(texts)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
