"""Gains of all pairs of two ordered lists -> the best that pairs in order can gain together."""

from __future__ import annotations

from collections.abc import Sequence


def align(gains: Sequence[Sequence[float]]) -> float:
    """The largest sum of ``gains[i][j]`` over pairs (i, j) that rise in both; gains are at least 0.

    >>> align([[1.0, 0.0], [5.0, 1.0]]), align([[1.0, 0.0], [5.0, 5.0]]), align([])
    (5.0, 6.0, 0.0)
    """
    best = [0.0] * (len(gains[0]) + 1 if gains else 1)
    for row in gains:
        above_left = 0.0
        for column, gain in enumerate(row):
            above = best[column + 1]
            best[column + 1] = max(above, best[column], above_left + gain)
            above_left = above
    return best[-1]
