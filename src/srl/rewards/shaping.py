"""Rewards made of rewards: many pairs at once, weighted sums, thresholds; and the penalty for long completions.

A reward is a function ``(action, target) -> number in [0, 1]``. One that is cheaper in numbers (a batch on several
threads, one request for many) also has a method ``many(pairs) -> list``; what is made here passes that on. An
``Ungraded`` stays ungraded, whatever is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import cast

from srl.errors import RewardError
from srl.types import BatchReward, Reward, Ungraded


def checked(reward: object, what: str) -> float | Ungraded:
    """``reward`` as a float. Raises RewardError, naming ``what``, unless it is a number in [0, 1] or ungraded.

    >>> checked(1, "a reward")
    1.0
    """
    if isinstance(reward, Ungraded):
        return reward
    if isinstance(reward, Real) and 0.0 <= (value := float(reward)) <= 1.0:  # NaN is in no range
        return value
    raise RewardError(f"{what} is {reward!r}; it must be a number in [0, 1]")


def checked_all(many: BatchReward, pairs: Sequence[tuple[str, str]], what: str) -> list[float | Ungraded]:
    """The rewards of all pairs, checked before anything is made of them: a sum or a minimum would hide an error."""
    rewards = [checked(reward, what) for reward in many(pairs)]
    if len(rewards) != len(pairs):
        raise RewardError(f"{what}: {len(rewards)} rewards came for {len(pairs)} pairs")
    return rewards


def many_of(reward: Reward) -> BatchReward:
    """The reward's own ``many``, or one that calls it for each pair.

    >>> many_of(lambda action, target: float(action == target))([("a", "a"), ("a", "b")])
    [1.0, 0.0]
    """
    own = getattr(reward, "many", None)
    if own is not None:
        return cast(BatchReward, own)

    def one_by_one(pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        return [reward(action, target) for action, target in pairs]

    return one_by_one


class _Derived:
    """A reward that is computed from whole batches of other rewards."""

    def __call__(self, action: str, target: str) -> float | Ungraded:
        (reward,) = self.many([(action, target)])
        return reward

    def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
        raise NotImplementedError


def weighted_sum(parts: Mapping[str, tuple[float, Reward]]) -> Reward:
    """``sum(weight * reward) / sum(weight)`` of named parts; ungraded where one of them is.

    >>> half = weighted_sum({"a": (1.0, lambda action, target: 1.0), "b": (3.0, lambda action, target: 0.0)})
    >>> half("x", "y")
    0.25
    """
    rewards = {name: (weight, many_of(reward)) for name, (weight, reward) in parts.items()}

    class WeightedSum(_Derived):
        def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
            columns = [
                (weight, checked_all(many, pairs, f"{name}, a part of the reward,"))
                for name, (weight, many) in rewards.items()
            ]
            return [_weigh([(weight, column[row]) for weight, column in columns]) for row in range(len(pairs))]

    return cast(Reward, WeightedSum())


def _weigh(parts: Sequence[tuple[float, float | Ungraded]]) -> float | Ungraded:
    total = total_weight = 0.0
    for weight, reward in parts:
        if isinstance(reward, Ungraded):
            return reward
        total += weight * reward
        total_weight += weight
    return min(1.0, total / total_weight)  # both sums in one order, so that 1 from every part is exactly 1


def thresholded(reward: Reward, low: float, high: float) -> Reward:
    """0 up to ``low``, 1 from ``high`` on, linear between (the idea of PivotRL, arXiv 2603.21383).

    >>> [thresholded(lambda action, target: 0.5, *bounds)("", "") for bounds in ((0.5, 0.9), (0.4, 0.6), (0.1, 0.5))]
    [0.0, 0.5, 1.0]
    """
    many = many_of(reward)

    class Thresholded(_Derived):
        def many(self, pairs: Sequence[tuple[str, str]]) -> list[float | Ungraded]:
            return [
                value if isinstance(value, Ungraded) else min(1.0, max(0.0, (value - low) / (high - low)))
                for value in checked_all(many, pairs, "a similarity under thresholds")
            ]

    return cast(Reward, Thresholded())


def overlong_penalty(num_tokens: int, *, max_completion_tokens: int, overlong_tokens: int) -> float:
    """What DAPO's soft penalty adds to the reward of a completion of ``num_tokens``, in [-1, 0] (2503.14476, Eq. 13).

    0 up to ``max_completion_tokens - overlong_tokens``, from there evenly down to -1 at ``max_completion_tokens``, the
    length of every completion that was cut. ``overlong_tokens = 0`` turns it off.

    >>> [overlong_penalty(num, max_completion_tokens=100, overlong_tokens=20) for num in (80, 85, 90, 100)]
    [0.0, -0.25, -0.5, -1.0]
    """
    beyond = num_tokens - (max_completion_tokens - overlong_tokens)
    if overlong_tokens == 0 or beyond <= 0:
        return 0.0
    return max(-1.0, -beyond / overlong_tokens)
