"""Which groups are trained on (4.2): those whose reward std is above a threshold; refill, but never for ever.

    draw prompts -> roll out -> keep std > min_reward_std -> until the batch is full or the cap is reached

Groups arrive as they are finished, and the next prompts start while the slowest still run. Yet they count in the order
in which their examples were drawn: the batch is the first ``groups_per_update`` kept groups in that order, so it is
what drawing one example after the other brings. Whoever finishes first would otherwise be trained on first, and what
finishes first is short.

What is left when the batch is full is not trained on, because by the next update its rollouts are the older policy's:
the examples go back to the front of the queue (``sampling.max_staleness`` allows more).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from srl.advantage import reward_std
from srl.completion_rewards import refuse_a_dead_grader
from srl.errors import SamplingError
from srl.rollouts import RolledOut
from srl.types import ParseStatus, RolloutGroup, TrainingExample


@dataclass(frozen=True, kw_only=True)
class CollectedGroups:
    """What one update's sampling brought."""

    kept: list[RolloutGroup]
    """Groups to train on, at most ``groups_per_update``."""
    rejected: list[RolloutGroup]
    """Groups at or under the threshold; only counted and shown, never trained on. Those drawn after the last kept one
    are among them: they were sampled to their end, and are flat."""
    left_over: list[RolloutGroup | TrainingExample]
    """In the order in which they were drawn: kept groups beyond a full batch, and the examples of groups that were not
    known yet when it was full."""
    num_kept_by_format_only: int
    """Of ``kept``: those whose well-formed rollouts alone would have been rejected."""
    reached_cap: bool
    """The batch is not full because the cap was reached."""
    num_carried: int = 0
    """So many of the first of ``kept`` were sampled for an earlier update."""
    reward_seconds: float = 0.0
    """How long the sampling stood still until rewards were there."""

    @property
    def surplus(self) -> list[RolloutGroup]:
        """Kept groups beyond a full batch."""
        return [item for item in self.left_over if isinstance(item, RolloutGroup)]

    @property
    def unfinished(self) -> list[TrainingExample]:
        """Examples that were drawn and whose groups were not known when the batch was full."""
        return [item for item in self.left_over if isinstance(item, TrainingExample)]

    @property
    def fresh(self) -> list[RolloutGroup]:
        """All groups that were rolled out for this update, also the surplus."""
        return self.kept[self.num_carried :] + self.rejected + self.surplus

    @property
    def groups(self) -> list[RolloutGroup]:
        """Groups that are trained on or rejected: each group in one update, whenever it was sampled."""
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
    roll_out: Callable[[Iterator[TrainingExample | None]], Generator[RolledOut, None, None]],
    *,
    groups_per_update: int,
    min_reward_std: float,
    max_draws: int,
    carried: Sequence[RolloutGroup] = (),
) -> CollectedGroups:
    """Draw and roll out until ``groups_per_update`` groups are kept.

    Args:
        draw: ``draw(n)`` gives the next n examples, fewer at the end of the data.
        roll_out: feed of examples -> their groups, in parts; see ``stream_groups``. It is closed when the batch is
            full.
        groups_per_update: size of a full batch.
        min_reward_std: the threshold; a group must be strictly above it.
        max_draws: at most ``max_draws * groups_per_update`` examples are drawn.
        carried: groups of earlier updates that are part of the batch, at most ``groups_per_update``.

    Raises:
        RewardError: not one of many completions could be graded.
        SamplingError: the cap was reached and not one group was kept; the message holds the reward histogram.
    """
    batch = _Batch(draw, groups_per_update, groups_per_update - len(carried), min_reward_std, max_draws)
    if not batch.is_full:
        with closing(roll_out(batch.feed())) as parts:
            for part in parts:
                batch.add(part)
                if batch.is_full:
                    break
    kept, rejected, left_over = batch.sorted_out()
    refuse_a_dead_grader([*kept, *rejected])
    kept = [*carried, *kept]
    if batch.has_no_budget and not kept:
        raise SamplingError(nothing_kept_message(rejected, min_reward_std))
    return CollectedGroups(
        kept=kept,
        rejected=rejected,
        left_over=left_over,
        num_kept_by_format_only=sum(is_kept_by_format_only(group, max(0.0, min_reward_std)) for group in kept),
        reached_cap=min_reward_std >= 0 and batch.has_no_budget and not batch.is_full,
        num_carried=len(carried),
        reward_seconds=batch.reward_seconds,
    )


class _Batch:
    """The batch in the making: what was drawn, and which of its groups are known."""

    def __init__(
        self,
        draw: Callable[[int], Sequence[TrainingExample]],
        groups_per_update: int,
        num_wanted: int,
        min_reward_std: float,
        max_draws: int,
    ) -> None:
        self._draw, self._size, self._wanted, self._threshold = draw, groups_per_update, num_wanted, min_reward_std
        self._budget = max_draws * groups_per_update
        self._drawn: list[TrainingExample] = []
        self._known: dict[int, RolloutGroup] = {}
        self._kept: set[int] = set()
        self._num_settled = 0  # so many of the first drawn groups are known ...
        self._num_accepted = 0  # ... and so many of these are kept
        self.reward_seconds = 0.0

    @property
    def is_full(self) -> bool:
        """Whether the first kept groups in the order of drawing are all known, as many as are wanted."""
        return self._num_accepted == self._wanted

    @property
    def has_no_budget(self) -> bool:
        return len(self._drawn) >= self._budget

    def feed(self) -> Iterator[TrainingExample | None]:
        """Examples for as long as they are needed; None while those in flight are expected to be enough."""
        while not self.has_no_budget:
            if not self._needs_more():
                yield None
                continue
            examples = self._draw(1)
            if not examples:
                return
            self._drawn += examples
            yield examples[0]

    def add(self, part: RolledOut) -> None:
        """Take groups that have become known, and settle what can be settled."""
        self.reward_seconds += part.reward_seconds
        for place, group in part.groups.items():
            self._known[place] = group
            if is_kept(group, self._threshold):
                self._kept.add(place)
            if len(self._known) % self._size == 0:  # with a dead grader nothing is kept, and the cap is far
                refuse_a_dead_grader([*self._known.values()])
        while self._num_settled in self._known and not self.is_full:
            self._num_accepted += self._num_settled in self._kept
            self._num_settled += 1

    def sorted_out(self) -> tuple[list[RolloutGroup], list[RolloutGroup], list[RolloutGroup | TrainingExample]]:
        """Kept, rejected and left over, each in the order of drawing."""
        kept = [self._known[place] for place in range(self._num_settled) if place in self._kept]
        rejected = [self._known[place] for place in sorted(self._known.keys() - self._kept)]
        rest = range(self._num_settled, len(self._drawn))
        left_over = [
            self._known.get(place, self._drawn[place])
            for place in rest
            if place in self._kept or place not in self._known
        ]
        return kept, rejected, left_over

    def _needs_more(self) -> bool:
        """A whole batch at first, then what is missing divided by the share kept so far, at most a batch in flight."""
        in_flight = len(self._drawn) - len(self._known)
        if in_flight >= self._size:
            return False
        missing = self._wanted - len(self._kept)
        if not self._known:
            return in_flight < missing
        return in_flight * len(self._kept) < missing * len(self._known)


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
