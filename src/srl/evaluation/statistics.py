"""Outcomes of samples, grouped by problem -> rates with 95 % intervals (accuracy, avg@k, pass@k).

The samples of one problem hang together, so intervals are over problems (clusters), never over samples:

* one sample per problem: Wilson's interval.
* several: Agresti and Coull's idea for clusters. Add z^2 / 2 clusters of average size that are all right and z^2 / 2
  that are all wrong, then take the normal interval of the ratio estimator. With one sample per problem this is
  Agresti and Coull's interval, with Wilson's centre.

The decision a reader would question: no bootstrap over problems. It cannot see problems that the file does not hold:
at 0 of 40 its width is zero, and at one sample in 1,280 nearly so, although up to 9 % of all such problems may be
easy. The added clusters keep that possibility in, at every rate and without a jump, and need no random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from srl.types import Score

# Paper: 5.1 reports rates without intervals.
_Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def accuracy_score(name: str, outcomes: Sequence[Sequence[bool]]) -> Score:
    """The rate of right samples. ``outcomes[i]`` holds all samples of problem (or trajectory) i, at least one each.

    With one sample per problem it is greedy accuracy, with k it is avg@k; problems count by their samples.

    >>> score = accuracy_score("avg@2", [[True, False], [True, True]])
    >>> score.value, score.num_problems, score.num_samples
    (0.75, 2, 4)
    """
    _check(name, outcomes)
    return _score(name, [sum(samples) for samples in outcomes], [len(samples) for samples in outcomes], outcomes)


def pass_at_k_score(name: str, outcomes: Sequence[Sequence[bool]], k: int) -> Score:
    """The mean of the problems' pass@k. Raises ValueError when a problem has fewer than ``k`` samples."""
    _check(name, outcomes)
    values = [pass_at_k(sum(samples), len(samples), k) for samples in outcomes]
    return _score(name, values, [1] * len(values), outcomes)


def pass_at_k(num_correct: int, num_samples: int, k: int) -> float:
    """Unbiased chance that at least one of k samples is right (Chen et al. 2021, Eq. 1): 1 - C(n-c, k) / C(n, k).

    Raises ValueError for k > num_samples, where no unbiased estimate exists.

    >>> pass_at_k(1, 4, 2)
    0.5
    """
    if not 0 <= num_correct <= num_samples:
        raise ValueError(f"{num_correct} right of {num_samples} samples is impossible")
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} is undefined with {num_samples} samples per problem; draw at least k, and k >= 1")
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def wilson_interval(num_correct: float, num_problems: int) -> tuple[float, float]:
    """95 % interval of a rate from independent yes-or-no outcomes; never of width zero, never outside [0, 1].

    >>> tuple(round(end, 3) for end in wilson_interval(0, 40))
    (0.0, 0.088)
    """
    if num_problems < 1:
        raise ValueError("an interval needs at least one problem")
    rate, weight = num_correct / num_problems, _Z**2 / num_problems
    centre = (rate + weight / 2) / (1 + weight)
    half = math.sqrt(weight * (rate * (1 - rate) + weight / 4)) / (1 + weight)
    return _within(centre - half, centre + half, rate)


def clustered_interval(num_correct: Sequence[float], sizes: Sequence[int]) -> tuple[float, float]:
    """95 % interval of sum(num_correct) / sum(sizes) over clusters, 0 <= num_correct[i] <= sizes[i]; see above.

    With p the centre, m the clusters' mean size and a = z^2 / 2 added clusters of either kind:
    variance = (sum_i (c_i - p m_i)^2 + a m^2 (p^2 + (1 - p)^2)) / (sum_i m_i + 2 a m)^2.

    >>> tuple(round(end, 3) for end in clustered_interval([0] * 40, [32] * 40))
    (0.0, 0.104)
    """
    added, total = _Z**2 / 2, sum(sizes)
    mean_size = total / len(sizes)
    weight = total + 2 * added * mean_size
    centre = (sum(num_correct) + added * mean_size) / weight
    squares = sum((right - centre * size) ** 2 for right, size in zip(num_correct, sizes, strict=True))
    squares += added * mean_size**2 * (centre**2 + (1 - centre) ** 2)
    half = _Z * math.sqrt(squares) / weight
    return _within(centre - half, centre + half, sum(num_correct) / total)


def _score(name: str, num_correct: Sequence[float], sizes: Sequence[int], outcomes: Sequence[Sequence[bool]]) -> Score:
    is_binary = all(size == 1 and right in (0, 1) for right, size in zip(num_correct, sizes, strict=True))
    low, high = wilson_interval(sum(num_correct), len(sizes)) if is_binary else clustered_interval(num_correct, sizes)
    return Score(
        name=name,
        value=sum(num_correct) / sum(sizes),
        low=low,
        high=high,
        num_problems=len(outcomes),
        num_samples=sum(len(samples) for samples in outcomes),
    )


def _within(low: float, high: float, rate: float) -> tuple[float, float]:
    """Clip to [0, 1]; rounding must not push an end past the rate it surrounds."""
    return max(0.0, min(low, rate)), min(1.0, max(high, rate))


def _check(name: str, outcomes: Sequence[Sequence[bool]]) -> None:
    if not outcomes or not all(outcomes):
        raise ValueError(f"{name}: a rate needs at least one problem and at least one sample of each")
