"""Which examples a stage draws from, and when: measured examples and starts in, pools of a stream out.

* ``choose`` leaves out what teaches nothing (PivotRL, arXiv 2603.21383, chooses turns of agents by the variance of
  their rewards, offline, with the policy that training starts from).
* ``easy_first`` begins with the examples that this policy does best, and lets the others in evenly.
* ``sliding_starts`` is R3's curriculum (arXiv 2402.05808): the policy first continues nearly finished solutions, at the
  end it solves from the problem alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from srl.advantage import reward_std
from srl.data_config import SelectionConfig
from srl.errors import DataError
from srl.example_stream import Pool
from srl.types import RolloutGroup

NUM_POOLS = 8
"""In so many leaps the share of examples grows from the easiest to all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredExample:
    """What the policy made of one example before the stage."""

    example_id: str
    """Which example."""
    mean_reward: float | None
    """Mean over its graded rollouts, None without any."""
    reward_std: float
    """Their population standard deviation, 0 without any."""
    num_tokens: int
    """Tokens of all its rollouts, those that finished solutions for an outcome included."""


def measure(groups: Sequence[RolloutGroup]) -> list[MeasuredExample]:
    """One record for each group, in their order."""
    return [
        MeasuredExample(
            example_id=group.example.example_id,
            mean_reward=math.fsum(group.rewards) / len(group.rewards) if group.rewards else None,
            reward_std=reward_std(group.rewards),
            num_tokens=sum(
                len(rollout.completion.token_ids) + rollout.num_finishing_tokens for rollout in group.sampled
            ),
        )
        for group in groups
    ]


def choose(measured: Sequence[MeasuredExample], settings: SelectionConfig) -> list[str]:
    """The ids of the examples to train on, in order. Raises DataError with the counts if none is left.

    An example that could not be graded is left out: nothing is known of it.
    """
    informative = [
        item for item in measured if item.reward_std > settings.min_reward_std or not settings.min_reward_std
    ]
    chosen = [
        item.example_id
        for item in informative
        if item.mean_reward is not None and item.mean_reward <= settings.max_mean_reward
    ]
    if not chosen:
        raise DataError(
            f"selection leaves nothing to train on: of {len(measured)} examples {len(informative)} have a reward std "
            f"above {settings.min_reward_std}, and none of these has a mean reward of at most "
            f"{settings.max_mean_reward}; the means go up to "
            f"{max((item.mean_reward for item in measured if item.mean_reward is not None), default=math.nan):.3f}. "
            "Lower selection.min_reward_std, or raise max_mean_reward"
        )
    return chosen


def easy_first(measured: Sequence[MeasuredExample], chosen: Sequence[str], settings: SelectionConfig) -> list[Pool]:
    """Pools that grow from the easiest ``easy_share`` of ``chosen`` to all of them; [] without a curriculum."""
    if settings.easy_share == 1:
        return []
    means = {item.example_id: item.mean_reward or 0.0 for item in measured}
    order = sorted(chosen, key=lambda example_id: (-means[example_id], example_id))
    pools: list[Pool] = []
    for place in range(NUM_POOLS):
        share = settings.easy_share + (1 - settings.easy_share) * place / NUM_POOLS
        size = max(1, math.ceil(share * len(order)))
        pools.append(Pool(until=settings.full_at * (place + 1) / NUM_POOLS, ids=order[:size]))
    return [*pools, Pool(until=1.0, ids=order)]


def sliding_starts(ids: Sequence[str], positions: Sequence[tuple[str, int]], num_stages: int) -> list[Pool]:
    """Pools of starts, the latest first: ``num_stages`` equal ranges of the share of the solution that is given.

    Args:
        ids: the examples.
        positions: trajectory id and number of given steps of each.
        num_stages: ranges; one in which no example lies gives its time to the next.

    A trajectory of N steps has starts with 0 to N-1 of them given.
    """
    num_steps: dict[str, int] = {}
    for trajectory_id, step_index in positions:
        num_steps[trajectory_id] = max(num_steps.get(trajectory_id, 0), step_index + 1)
    pools: list[list[str]] = [[] for _ in range(num_stages)]
    for example_id, (trajectory_id, step_index) in zip(ids, positions, strict=True):
        part = max(min(1, step_index), step_index * num_stages // num_steps[trajectory_id])  # the problem is alone
        pools[num_stages - 1 - part].append(example_id)
    return [Pool(until=(place + 1) / num_stages, ids=pool) for place, pool in enumerate(pools) if pool]
