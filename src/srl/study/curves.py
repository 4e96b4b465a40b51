"""Learning curves of the runs of a method -> one curve with a band, on a common grid of what was spent."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from srl.study.config import StudyConfig
from srl.study.plan import BASE, RunKey
from srl.study.rows import Row

Measure = Literal["whole", "stepwise"]
Spending = Literal["rollouts", "tokens", "seconds"]
MEASURES: dict[Measure, str] = {
    "whole": "validation problems solved in one completion",
    "stepwise": "validation problems solved step by step",
}
SPENDINGS: dict[Spending, str] = {
    "rollouts": "rollouts, or examples of SFT",
    "tokens": "tokens sampled, or learnt by SFT",
    "seconds": "seconds of training",
}
_GRID = 24


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One method's curve."""

    method: str
    """Its key."""
    label: str
    """Its name."""
    measure: Measure
    """What is measured."""
    spending: Spending
    """What it is measured against."""
    num_seeds: int
    """Runs in it."""
    points: list[tuple[float, float, float]]
    """(spent, mean over the runs, half width of the band: their standard deviation)."""


def make_curves(study: StudyConfig, rows: Mapping[RunKey, Row]) -> list[Curve]:
    """Every curve that was measured."""
    found: list[Curve] = []
    for measure in MEASURES:
        for spending in SPENDINGS:
            for method in study.methods:
                runs = [_points(row, measure, spending) for key, row in sorted(rows.items()) if key.method == method]
                runs = [run for run in runs if len(run) > 1]
                if runs and method != BASE:
                    found.append(
                        Curve(
                            method=method,
                            label=study.label(method),
                            measure=measure,
                            spending=spending,
                            num_seeds=len(runs),
                            points=average(runs),
                        )
                    )
    return found


def average(runs: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float, float]]:
    """Mean and standard deviation of several curves, on a grid up to where the shortest of them ends.

    >>> average([[(0, 0.0), (10, 1.0)], [(0, 0.0), (20, 1.0)]])[-1][:2]
    (10.0, 0.75)
    """
    start, end = max(run[0][0] for run in runs), min(run[-1][0] for run in runs)
    points: list[tuple[float, float, float]] = []
    for index in range(_GRID + 1):
        x = start + (end - start) * index / _GRID
        values = [_value_at(run, x) for run in runs]
        points.append((round(x, 3), fmean(values), stdev(values) if len(values) > 1 else 0.0))
    return points


def _points(row: Row, measure: Measure, spending: Spending) -> list[tuple[float, float]]:
    """(spent, measured), each place once: a stage begins where the one before ended."""
    points: dict[float, float] = {}
    for point in row.curve:
        value: float | None = getattr(point, measure)
        if value is not None:
            points[float(getattr(point, spending))] = value
    return sorted(points.items())


def _value_at(run: Sequence[tuple[float, float]], x: float) -> float:
    """On the straight lines between the points."""
    place = bisect_right(run, x, key=lambda point: point[0])
    if place == 0 or place == len(run):
        return run[min(place, len(run) - 1)][1]
    (x0, y0), (x1, y1) = run[place - 1], run[place]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
