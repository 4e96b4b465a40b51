"""The actions of a group -> which of them repeat an earlier step, solve several steps at once, or repeat each other.

All measures are the sequence similarity with ``autojunk`` off, whatever the stage is rewarded by, so that two runs can
be compared. Training measures every rollout with them, ``srl diagnose`` those that were saved.

The decision a reader would question: number and title are left out before an action is compared with an earlier step.
A policy that repeats a step counts on in its number, and where the prompt holds the title it writes the body alone.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from srl.rewards.similarity import bounded_similarities
from srl.types import ParseStatus, Rollout, RolloutGroup

COPY_SIMILARITY = 0.9
"""From here on an action is a near-copy of a step. Of 8,913 pairs of neighbouring steps in the AMC and AIME solutions
0.8 % reach it: cases that are treated in the same words one after the other."""
SEVERAL_SIMILARITY = 0.8
"""From here on an action is, as a whole, the target and the next step."""
COVERAGE = 0.7
"""So much of the target must match, and so much of the next step what the target leaves unmatched. Of unrelated steps
of one length 0.24 of the characters match (median), 0.47 in one pair of a hundred."""

_HEADER = re.compile(
    r"\s*(?:#{1,6}[ \t]+)?(?:\*\*)?(?:[Ss]tep[ \t]+)?[0-9]{1,3}[.):](?!\d)(?:\*\*)?[ \t]*(?:\*\*[^*\n]*\*\*:?)?\s*"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupActions:
    """What one prompt asked for, and the actions that its well-formed rollouts came to."""

    target: str
    """What the reward compares with."""
    actions: tuple[str, ...]
    """Actions of the well-formed rollouts, those that could not be graded included."""
    rewards: tuple[float | None, ...]
    """Their rewards, None for one that could not be graded."""
    context: tuple[str, ...] = ()
    """The expert's earlier steps that the prompt holds; () where no single step is asked for."""
    next_action: str = ""
    """The expert's step after the target, "" where it is not known."""


def actions_of(group: RolloutGroup, *, asks_for_step: bool) -> GroupActions:
    """The part of a group that is measured here."""
    rollouts = [rollout for rollout in group.sampled if rollout.parsed.status is ParseStatus.OK]
    step = group.example.step if asks_for_step else None
    return GroupActions(
        target=group.example.target,
        actions=tuple(rollout.parsed.action for rollout in rollouts),
        rewards=tuple(rollout.reward if isinstance(rollout, Rollout) else None for rollout in rollouts),
        context=step.context if step else (),
        next_action=group.example.next_action if step else "",
    )


def find_copies(groups: Sequence[GroupActions]) -> list[list[int | None]]:
    """For each action of each group the place in ``context`` of the step that it nearly repeats, None for no step.

    It does when its similarity to that step is at least COPY_SIMILARITY and above its similarity to the target: where
    the expert repeats a step, too, repeating it is right.
    """
    pairs: list[tuple[str, str]] = []
    places: list[tuple[int, str, int]] = []
    bodies = [[step_body(action) for action in group.actions] for group in groups]
    for index, group in enumerate(groups):
        steps = [(step_body(step), place) for place, step in enumerate(group.context)]
        counted = [(step, Counter(step), place) for step, place in steps if step]
        for action in dict.fromkeys(bodies[index]) if counted else ():
            characters = Counter(action)
            for step, step_characters, place in counted:
                if similarity_bound(action, characters, step, step_characters) >= COPY_SIMILARITY:
                    pairs.append((action, step))
                    places.append((index, action, place))
    best: dict[tuple[int, str], tuple[float, int]] = {}
    for (index, action, place), similarity in zip(places, bounded_similarities(pairs), strict=True):
        if similarity >= COPY_SIMILARITY:
            best[index, action] = max(best.get((index, action), (0.0, 0)), (similarity, place))
    to_target = bounded_similarities([(action, step_body(groups[index].target)) for index, action in best])
    copies = {
        key: place
        for (key, (similarity, place)), other in zip(best.items(), to_target, strict=True)
        if similarity > other
    }
    return [[copies.get((index, action)) for action in actions] for index, actions in enumerate(bodies)]


def find_several_steps(groups: Sequence[GroupActions]) -> list[list[bool]]:
    """For each action of each group whether it holds the expert's next step behind the target.

    Compared is the beginning of the action, as long as both steps together, so that a whole solution counts as well:

        both = target + line break + next step,   head = action[:len(both)],   M as in srl.rewards.similarity
        similarity(head, both) >= SEVERAL_SIMILARITY
        M(head, target) >= COVERAGE * len(target)
        M(head, both) - M(head, target) >= COVERAGE * len(next step)
    """
    wanted: list[tuple[int, str, str, str]] = []
    for index, group in enumerate(groups):
        following = group.next_action.strip()
        if not following:
            continue
        both = f"{group.target}\n{following}"
        characters = Counter(both)
        for action in dict.fromkeys(group.actions):
            head = action[: len(both)]
            is_long = len(action) >= len(group.target) + len(following) / 2
            if is_long and similarity_bound(head, Counter(head), both, characters) >= SEVERAL_SIMILARITY:
                wanted.append((index, action, head, both))
    to_both = bounded_similarities([(head, both) for _, _, head, both in wanted])
    close = [(item, value) for item, value in zip(wanted, to_both, strict=True) if value >= SEVERAL_SIMILARITY]
    to_target = bounded_similarities([(head, groups[index].target) for (index, _, head, _), _ in close])
    found: set[tuple[int, str]] = set()
    for ((index, action, head, both), similarity), other in zip(close, to_target, strict=True):
        target, following = groups[index].target, groups[index].next_action.strip()
        matched = other * (len(head) + len(target)) / 2
        gained = similarity * (len(head) + len(both)) / 2 - matched
        if matched >= COVERAGE * len(target) and gained >= COVERAGE * len(following):
            found.add((index, action))
    return [[(index, action) in found for action in group.actions] for index, group in enumerate(groups)]


def find_duplicates(actions: Sequence[str]) -> list[bool]:
    """For each action whether another one of the group is equal to it.

    >>> find_duplicates(["a", "b", "a"])
    [True, False, True]
    """
    counts = Counter(actions)
    return [counts[action] > 1 for action in actions]


def length_correlation(groups: Sequence[GroupActions]) -> float | None:
    """Mean over groups of the rank correlation (Spearman) between the length of an action and its reward.

    Only groups in which both differ count, and only graded rollouts; None without such a group. Within groups, because
    advantages are: a correlation over all rollouts would mix in that longer steps are harder.
    """
    correlations: list[float] = []
    for group in groups:
        graded = [
            (float(len(action)), reward)
            for action, reward in zip(group.actions, group.rewards, strict=True)
            if reward is not None
        ]
        correlation = rank_correlation([length for length, _ in graded], [reward for _, reward in graded])
        if correlation is not None:
            correlations.append(correlation)
    return math.fsum(correlations) / len(correlations) if correlations else None


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation in [-1, 1], ties at their mean rank; None where either side does not vary.

    >>> rank_correlation([1, 2, 3], [10, 20, 15])
    0.5
    """
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    x, y = _ranks(first), _ranks(second)
    middle = (len(x) + 1) / 2
    products = math.fsum((a - middle) * (b - middle) for a, b in zip(x, y, strict=True))
    squares = math.fsum((a - middle) ** 2 for a in x) * math.fsum((b - middle) ** 2 for b in y)
    return max(-1.0, min(1.0, products / math.sqrt(squares)))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of theirs."""
    counts = Counter(values)
    rank_of: dict[float, float] = {}
    num_below = 0
    for value in sorted(counts):
        rank_of[value] = num_below + (counts[value] + 1) / 2
        num_below += counts[value]
    return [rank_of[value] for value in values]


def step_body(step: str) -> str:
    """A step without number and title, stripped; all of it where nothing else is left."""
    header = _HEADER.match(step)
    return (step[header.end() :] if header else step).strip() or step.strip()


def similarity_bound(a: str, a_characters: Counter[str], b: str, b_characters: Counter[str]) -> float:
    """No less than the similarity of ``a`` and ``b``: by their lengths first, then by the characters they share."""
    total = len(a) + len(b)
    by_length = 2.0 * min(len(a), len(b)) / total
    if by_length < min(COPY_SIMILARITY, SEVERAL_SIMILARITY):
        return by_length
    few, many = sorted((a_characters, b_characters), key=len)
    return 2.0 * sum(min(count, many[character]) for character, count in few.items()) / total
