"""Which groups are trained on (4.2): those whose reward std is above a threshold; refill, but never for ever.

    draw prompts -> roll out -> keep std > min_reward_std -> until the batch is full or the cap is reached

Kept groups beyond a full batch are not trained on, because by the next update their rollouts would be the older
policy's: their examples go back to the front of the queue and are rolled out afresh.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from srl.advantage import reward_std
from srl.errors import SamplingError
from srl.types import ParseStatus, RolloutGroup, TrainingExample


@dataclass(frozen=True, kw_only=True)
class CollectedGroups:
    """What one update's sampling brought."""

    kept: list[RolloutGroup]
    """Groups to train on, at most ``groups_per_update``."""
    rejected: list[RolloutGroup]
    """Groups at or under the threshold; only counted and shown, never trained on."""
    surplus: list[RolloutGroup]
    """Kept groups beyond a full batch; not trained on, their examples are drawn again first."""
    num_kept_by_format_only: int
    """Of ``kept``: those whose well-formed rollouts alone would have been rejected."""
    num_draws: int
    """Engine calls it took."""
    reached_cap: bool
    """The batch is not full because the cap was reached."""

    @property
    def groups(self) -> list[RolloutGroup]:
        """All groups that were rolled out for this update, but for the surplus."""
        return self.kept + self.rejected


MIN_GRADED_SHARE = 0.5
"""A group in which fewer rollouts than this share could be graded is dropped: its mean would say little."""


def is_graded(group: RolloutGroup) -> bool:
    """Whether enough of the group's rollouts have a reward: two, and half of them."""
    return len(group.rollouts) >= max(2, MIN_GRADED_SHARE * len(group.sampled))


def is_kept(group: RolloutGroup, min_reward_std: float) -> bool:
    """Whether the population std of the group's rewards is above the threshold, and enough of them are graded."""
    return is_graded(group) and reward_std(group.rewards) > min_reward_std


def is_kept_by_format_only(group: RolloutGroup, min_reward_std: float) -> bool:
    """Whether a kept group would be rejected if its rollouts with a broken format were left out.

    Such a group teaches the format and nothing about the step.
    """
    well_formed = [rollout.reward for rollout in group.rollouts if rollout.parsed.status is ParseStatus.OK]
    return len(well_formed) < len(group.rollouts) and (
        len(well_formed) < 2 or reward_std(well_formed) <= min_reward_std
    )


def collect_groups(
    draw: Callable[[int], Sequence[TrainingExample]],
    roll_out: Callable[[Sequence[TrainingExample], int], Sequence[RolloutGroup]],
    *,
    groups_per_update: int,
    min_reward_std: float,
    max_draws: int,
) -> CollectedGroups:
    """Draw and roll out until ``groups_per_update`` groups are kept.

    Args:
        draw: ``draw(n)`` gives the next n examples, fewer at the end of the data.
        roll_out: ``roll_out(examples, draw_index)`` gives their groups.
        groups_per_update: size of a full batch.
        min_reward_std: the threshold; a group must be strictly above it.
        max_draws: at most ``max_draws * groups_per_update`` examples are drawn.

    Raises:
        SamplingError: the cap was reached and not one group was kept; the message holds the reward histogram.
    """
    kept: list[RolloutGroup] = []
    rejected: list[RolloutGroup] = []
    budget = max_draws * groups_per_update
    num_draws = 0
    while len(kept) < groups_per_update and budget > 0:
        examples = draw(min(_draw_size(groups_per_update, kept, rejected), budget))
        if not examples:
            break
        budget -= len(examples)
        for group in roll_out(examples, num_draws):
            (kept if is_kept(group, min_reward_std) else rejected).append(group)
        num_draws += 1
    if budget <= 0 and not kept:
        raise SamplingError(nothing_kept_message(rejected, min_reward_std))
    # Paper: 4.2 does not say what becomes of kept groups beyond a full batch.
    kept, surplus = kept[:groups_per_update], kept[groups_per_update:]
    return CollectedGroups(
        kept=kept,
        rejected=rejected,
        surplus=surplus,
        num_kept_by_format_only=sum(is_kept_by_format_only(group, max(0.0, min_reward_std)) for group in kept),
        num_draws=num_draws,
        reached_cap=min_reward_std >= 0 and budget <= 0 and len(kept) < groups_per_update,
    )


def _draw_size(groups_per_update: int, kept: Sequence[RolloutGroup], rejected: Sequence[RolloutGroup]) -> int:
    """A whole batch at first, then what is missing divided by the share kept so far."""
    if not kept:
        return groups_per_update
    missing = groups_per_update - len(kept)
    return min(groups_per_update, math.ceil(missing * (len(kept) + len(rejected)) / len(kept)))


def reward_histogram(groups: Sequence[RolloutGroup]) -> dict[str, int]:
    """Counts of rewards in bins of a tenth, format penalties included; for error messages."""
    counts = Counter(math.floor(reward * 10) / 10 for group in groups for reward in group.rewards)
    return {f"{low:+.1f}": counts[low] for low in sorted(counts)}


def nothing_kept_message(rejected: Sequence[RolloutGroup], min_reward_std: float) -> str:
    """Why there is nothing to train on, with the histogram of the rewards and what to do about it."""
    statuses = Counter(str(rollout.parsed.status) for group in rejected for rollout in group.sampled)
    ungraded = Counter(rollout.reason for group in rejected for rollout in group.ungraded)
    left_out = f" Left out, because they could not be graded: {dict(ungraded)} (docs/grading.md)." if ungraded else ""
    if rejected and not any(map(is_graded, rejected)):
        return f"none of {len(rejected)} groups has enough graded rollouts to learn from.{left_out}"
    return (
        f"dynamic sampling found nothing: {len(rejected)} groups were rolled out and none has a reward std above "
        f"min_reward_std = {min_reward_std}, so there is nothing to learn from. Rewards (lower edge of bin: count): "
        f"{reward_histogram(rejected)}; formats: {dict(statuses)}.{left_out} If nearly all rewards are the format "
        "penalty, the policy does not write the format: check its chat template, the prompts and "
        "max_completion_tokens, or start from a model that follows instructions. If the rewards are all alike but "
        "well-formed, raise the temperature or lower min_reward_std. If the problems are all too hard or "
        "all solved, change the data."
    )
