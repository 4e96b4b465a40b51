"""Rewards of one group -> advantages (Eq. 1): A_i = (r_i - mean(r)) / std(r), or without the division (Dr. GRPO).

Computed in float64 with exact summation: groups are small, and noise in the last digit of the mean of a flat group
would be divided by a std of about zero. The std is the population's, as in the dynamic-sampling gate, so that one
number decides and scales.  # Paper: Eq. 1 leaves the estimator open; veRL, which the paper used, divides by n - 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

ADVANTAGE_EPS = 1e-6  # Paper: Eq. 1 divides by the std alone.
"""Added to the std. Far below any sensible ``min_reward_std``, so it changes no kept group visibly."""


def reward_std(rewards: Sequence[float]) -> float:
    """Population standard deviation; exactly 0 when all rewards are equal or there are none.

    Comparing the rewards first is what makes the zero exact: the std of identical floats computed by formula is often
    about 1e-17, and a gate at 0 would let such a group through.

    >>> reward_std([0.1] * 7), reward_std([0.0, 1.0])
    (0.0, 0.5)
    """
    if not rewards or min(rewards) == max(rewards):
        return 0.0
    mean = math.fsum(rewards) / len(rewards)
    return math.sqrt(math.fsum((reward - mean) ** 2 for reward in rewards) / len(rewards))


def compute_advantages(rewards: Sequence[float], *, scale_by_std: bool = True) -> list[float]:
    """Group-relative advantages, in the order of the rewards; all 0 for a flat group.

    Without ``scale_by_std`` they keep the scale of the rewards, so that a group with a wide spread counts for more.

    >>> [round(value, 3) for value in compute_advantages([0.0, 0.0, 1.0, 1.0])]
    [-1.0, -1.0, 1.0, 1.0]
    >>> compute_advantages([0.0, 0.0, 1.0, 1.0], scale_by_std=False)
    [-0.5, -0.5, 0.5, 0.5]
    """
    std = reward_std(rewards)
    if std == 0.0:
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    scale = std + ADVANTAGE_EPS if scale_by_std else 1.0
    return [(reward - mean) / scale for reward in rewards]
