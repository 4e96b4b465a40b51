"""Numbers -> quantiles and a histogram of bars that fits into 80 columns."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

_FINE = [0, 1, 2, 3, 5, 7, *(factor * 10**power for power in range(12) for factor in (10, 15, 20, 30, 50, 70))]
_COARSE = [0, *(factor * 10**power for power in range(14) for factor in (1, 2, 5))]
_MOST_LINES = 12
_BAR_WIDTH = 40


def quantile(counts: Counter[int], share: float) -> int:
    """The smallest value that at least ``share`` of the numbers do not exceed; the numbers must not be empty.

    >>> quantile(Counter([1, 2, 3, 10]), 0.5)
    2
    """
    needed, seen = share * counts.total(), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= needed:
            return value
    raise ValueError("no numbers")


def histogram_lines(counts: Counter[int]) -> list[str]:
    r"""One line per value where all lie close together, else per bin 10, 15, 20, 30, 50, 70 or 10, 20, 50 and so on.

    >>> print(*histogram_lines(Counter([1, 3, 3])), sep="\n")
                           1          1  ████████████████████
                           2          0
                           3          2  ████████████████████████████████████████
    >>> print(*histogram_lines(Counter([20, 22, 40])), sep="\n")
                    20 to 29          2  ████████████████████████████████████████
                    30 to 49          1  ████████████████████
    """
    if not counts:
        return []
    for edges in (range(min(counts), max(counts) + 2), _FINE, _COARSE):
        bins = Counter[int]()
        for value, count in counts.items():
            bins[bisect_right(edges, value) - 1] += count
        if max(bins) - min(bins) < _MOST_LINES:
            break
    most = max(bins.values())
    lines: list[str] = []
    for place in range(min(bins), max(bins) + 1):
        low, high = edges[place], edges[place + 1] - 1
        name = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        bar = "█" * max(1, round(_BAR_WIDTH * bins[place] / most)) if bins[place] else ""
        lines.append(f"{name:>24} {bins[place]:>10,}  {bar}".rstrip())
    return lines
