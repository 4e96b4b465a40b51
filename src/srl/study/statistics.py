"""Outcomes by seed and problem -> means and differences with 95 % intervals over seeds AND problems.

``values[s][p]`` is the share of right samples of the run with seed s on problem p. Seeds and problems are crossed, and
both are drawn from more: y_sp = mean + problem_p + seed_s + rest_sp. The variance of the grand mean is taken as

    (MS_problem + MS_seed) / (S P)

with the mean squares of a two-way analysis of variance, and the interval as Student's t with Satterthwaite's degrees
of freedom. Both mean squares hold the rest, so it is counted twice: the unbiased formula subtracts MS_rest, and with
three seeds its intervals come out too short where seeds differ much (by simulation). As in
``srl.evaluation.statistics``, z^2 / 2 problems that every seed solves and z^2 / 2 that none does are added, so that no
interval has width zero: at 0 of 64 some of all such problems may still be easy.

The decision a reader would question: seeds of two methods are not paired in a difference, though they may be equal
numbers. Nothing that matters is shared by two trainings with equal seeds, and pairing would halve the degrees of
freedom of the seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from srl.evaluation.statistics import clustered_interval, wilson_interval
from srl.study.student import two_sided_p, two_sided_quantile

Values = Sequence[Sequence[float]]
"""values[s][p] in [0, 1]: one row per seed, the same problems in each."""
CONFIDENCE = 0.95
_ADDED = 1.959963984540054**2 / 2
"""Problems added of either kind to a rate."""
_ADDED_DIFFERENCES = 0.5
"""Problems added with the differences +1 and -1, and as many twice with 0: half a problem for each cell of the table
of right and wrong (Agresti and Min 2005)."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A rate with its interval."""

    mean: float
    """Mean over seeds and problems."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""
    num_seeds: int
    """Runs; with 1 the interval is over problems alone."""
    num_problems: int
    """Problems."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much higher the rate of one method is than that of another, on the same problems."""

    mean: float
    """Difference of the means."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""
    p: float
    """Two-sided p-value of no difference, before any correction."""
    num_problems: int
    """Problems that both have."""


@dataclass(frozen=True)
class _Part:
    """One term of a variance, with its degrees of freedom."""

    variance: float
    df: float


def estimate_rate(values: Values) -> Estimate:
    """Mean and interval; with one seed over the problems alone. Raises ValueError without values.

    >>> estimate = estimate_rate([[1, 0, 1, 1], [1, 0, 0, 1], [1, 0, 1, 1]])
    >>> round(estimate.mean, 3), round(estimate.low, 3), round(estimate.high, 3)
    (0.667, 0.14, 1.0)
    """
    _check(values)
    num_seeds, num_problems = len(values), len(values[0])
    by_problem = _problem_means(values)
    mean = math.fsum(by_problem) / num_problems
    if num_seeds == 1:
        low, high = _one_seed_interval(by_problem)
    else:
        weight = num_problems + 2 * _ADDED
        centre = (math.fsum(by_problem) + _ADDED) / weight
        squares = math.fsum((value - centre) ** 2 for value in by_problem)
        squares += _ADDED * (centre**2 + (1 - centre) ** 2)
        problems = _Part(squares / ((weight - 1) * weight), weight - 1)
        half = _half_width(problems, [_seed_part(values)])
        low, high = max(0.0, min(centre - half, mean)), min(1.0, max(centre + half, mean))
    return Estimate(mean=mean, low=low, high=high, num_seeds=num_seeds, num_problems=num_problems)


def estimate_difference(first: Values, second: Values) -> Difference:
    """The rate of ``first`` less that of ``second``, on the same problems in the same order.

    The numbers of seeds may differ. With one seed on a side (a base is one model) that side has no variance between
    seeds. Raises ValueError for different numbers of problems.
    """
    _check(first)
    _check(second)
    if len(first[0]) != len(second[0]):
        raise ValueError(f"{len(first[0])} and {len(second[0])} problems; a difference needs the same ones")
    differences = [a - b for a, b in zip(_problem_means(first), _problem_means(second), strict=True)]
    num_problems = len(differences)
    mean = math.fsum(differences) / num_problems
    weight = num_problems + 4 * _ADDED_DIFFERENCES
    centre = math.fsum(differences) / weight
    squares = math.fsum((value - centre) ** 2 for value in differences)
    squares += _ADDED_DIFFERENCES * ((1 - centre) ** 2 + (1 + centre) ** 2 + 2 * centre**2)
    problems = _Part(squares / ((weight - 1) * weight), weight - 1)
    seeds = [_seed_part(values) for values in (first, second) if len(values) > 1]
    deviation, df = _combine(problems, seeds)
    half = two_sided_quantile(CONFIDENCE, df) * deviation
    return Difference(
        mean=mean,
        low=max(-1.0, min(centre - half, mean)),
        high=min(1.0, max(centre + half, mean)),
        p=two_sided_p(centre / deviation, df),
        num_problems=num_problems,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number by Holm's method, in their order.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def _problem_means(values: Values) -> list[float]:
    return [math.fsum(column) / len(values) for column in zip(*values, strict=True)]


def _seed_part(values: Values) -> _Part:
    """MS_seed / (S P)."""
    by_seed = [math.fsum(row) / len(row) for row in values]
    num_seeds, mean = len(values), math.fsum(by_seed) / len(values)
    return _Part(math.fsum((value - mean) ** 2 for value in by_seed) / (num_seeds - 1) / num_seeds, num_seeds - 1)


def _combine(problems: _Part, seeds: Sequence[_Part]) -> tuple[float, float]:
    """Standard deviation of a mean and Satterthwaite's degrees of freedom."""
    parts = [problems, *seeds]
    variance = math.fsum(part.variance for part in parts)
    return math.sqrt(variance), variance**2 / math.fsum(part.variance**2 / part.df for part in parts)


def _half_width(problems: _Part, seeds: Sequence[_Part]) -> float:
    deviation, df = _combine(problems, seeds)
    return two_sided_quantile(CONFIDENCE, df) * deviation


def _one_seed_interval(by_problem: Sequence[float]) -> tuple[float, float]:
    if all(value in (0, 1) for value in by_problem):
        return wilson_interval(sum(by_problem), len(by_problem))
    return clustered_interval(by_problem, [1] * len(by_problem))


def _check(values: Values) -> None:
    if not values or not values[0] or any(len(row) != len(values[0]) for row in values):
        raise ValueError("values need at least one seed and one problem, and the same problems for each seed")
