"""The saved groups of a stage -> the sample that statistics are made of.

The decision a reader would question: what is saved is no fair draw from all rollouts. Training saves the first kept
groups of an update and one rejected group, so the rejected ones are seen too often or too seldom. Shares of all
rollouts are therefore logged while training, and stand beside those of the sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from srl.diagnosis.records import Estimate
from srl.evaluation.statistics import clustered_interval
from srl.saved_run.groups import read_groups
from srl.saved_run.records import SavedGroup, SavedRollout
from srl.signals.actions import GroupActions, find_copies, find_several_steps
from srl.types import ParseStatus

_T = TypeVar("_T")

MAX_FILES = 100
"""Updates of a stage whose groups are read at most, spread evenly over it."""
MAX_GROUPS = 400
"""Groups of a stage that are looked at, at most: seconds, of which the comparison of formulas takes the most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Saved groups and what is measured on them, in the same order."""

    groups: tuple[SavedGroup, ...]
    """As saved."""
    rollouts: tuple[tuple[SavedRollout, ...], ...]
    """Of each group the well-formed rollouts, ungraded ones included."""
    actions: tuple[GroupActions, ...]
    """Of each group what was asked for and what these rollouts answered."""
    copies: tuple[list[int | None], ...]
    """For each action the earlier step that it nearly repeats; see ``find_copies``."""
    several: tuple[list[bool], ...]
    """For each action whether it holds the next step; see ``find_several_steps``."""
    num_files: int
    """Files that were read."""


def draw_sample(stage: str, files: Sequence[Path], notes: list[str], *, asks_for_step: bool) -> Sample:
    """The groups of at most MAX_FILES updates, at most MAX_GROUPS in all. Total, as ``read_groups``."""
    chosen = spread_evenly(files, MAX_FILES)
    per_file = max(1, MAX_GROUPS // max(1, len(chosen)))
    groups = [group for path in chosen for group in spread_evenly(read_groups(path, stage, notes), per_file)]
    rollouts = [
        tuple(rollout for rollout in group.rollouts + group.ungraded if rollout.status == ParseStatus.OK)
        for group in groups
    ]
    actions = [
        GroupActions(
            target=group.target,
            actions=tuple(rollout.action for rollout in chosen),
            rewards=tuple(_in_range(rollout.reward) for rollout in chosen),
            context=group.context if asks_for_step else (),
            next_action=group.next_action if asks_for_step else "",
        )
        for group, chosen in zip(groups, rollouts, strict=True)
    ]
    return Sample(
        groups=tuple(groups),
        rollouts=tuple(rollouts),
        actions=tuple(actions),
        copies=tuple(find_copies(actions)),
        several=tuple(find_several_steps(actions)),
        num_files=len(chosen),
    )


def estimate(values: Sequence[Sequence[float]]) -> Estimate | None:
    """Mean of values in [0, 1], one list for each group, with the interval over groups; None without a value."""
    filled = [group for group in values if group]
    if not filled:
        return None
    sums, sizes = [math.fsum(group) for group in filled], [len(group) for group in filled]
    low, high = clustered_interval(sums, sizes)
    return Estimate(value=math.fsum(sums) / sum(sizes), low=low, high=high, num=sum(sizes))


def ranking(groups: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Estimate | None:
    """How often a value of the first kind is above one of the second of the same group; a tie is a half.

    The area under the ROC curve, over pairs within groups; 0.5 is chance. None where no group has both kinds.

    >>> ranking([([0.9, 0.5], [0.5]), ([0.1], [])]).value
    0.75
    """
    pairs = [
        [1.0 if better > worse else 0.5 if better == worse else 0.0 for better in first for worse in second]
        for first, second in groups
    ]
    return estimate(pairs)


def spread_evenly(items: Sequence[_T], limit: int) -> list[_T]:
    """At most ``limit`` of the items, first and last included, in order.

    >>> spread_evenly("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if len(items) <= limit:
        return list(items)
    if limit == 1:
        return [items[0]]
    return [items[round(place * (len(items) - 1) / (limit - 1))] for place in range(limit)]


def _in_range(reward: float | None) -> float | None:
    """A reward of a well-formed action is in [0, 1]; whatever else a file holds is none."""
    return reward if reward is not None and 0.0 <= reward <= 1.0 else None
