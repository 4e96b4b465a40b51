"""The sample -> rewards held against equal results, and similarities against right answers.

The decision a reader would question: compared is the reward as it was paid, not the similarity inside of it, because
the question is what was paid for. Only against the final answer, which a gated reward itself holds, the similarity is
worked out again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from srl.diagnosis.records import Equality, EqualityBin, Outcomes
from srl.diagnosis.results import compare_results, find_result
from srl.diagnosis.sample import Sample, estimate, ranking
from srl.saved_run.settings import StageSettings

HIGH_REWARD = 0.8
"""A reward from here on says "as the expert"; with another result it is a false positive."""
LOW_REWARD = 0.5
"""A reward up to here says "not as the expert"; with the same result it is a false negative."""
NUM_BINS = 5
"""Bins of rewards between 0 and 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """One action whose result was compared with its target's."""

    group: int
    """Place of the group in the sample."""
    rollout: int
    """Place among its well-formed rollouts."""
    reward: float
    """What it was paid."""
    result: str
    """What it comes to."""
    expected: str
    """What the target comes to."""
    is_equal: bool
    """Whether these are equal."""


def judge_results(sample: Sample) -> tuple[list[Judged], Equality | None]:
    """Every action that can be judged, and what they say of the reward; None where there is not one."""
    candidates: list[tuple[int, int, float, str, str]] = []
    num_without = 0
    for index, group in enumerate(sample.actions):
        if sample.groups[index].kind == "agent":  # a command comes to nothing that could be compared
            continue
        expected = find_result(group.target)
        for place, (action, reward) in enumerate(zip(group.actions, group.rewards, strict=True)):
            if reward is None:
                continue
            result = find_result(action) if expected else None
            if expected and result:
                candidates.append((index, place, reward, result, expected))
            else:
                num_without += 1
    equal = compare_results([(result, expected) for _, _, _, result, expected in candidates])
    judged = [
        Judged(group=group, rollout=place, reward=reward, result=result, expected=expected, is_equal=is_equal)
        for (group, place, reward, result, expected), is_equal in zip(candidates, equal, strict=True)
        if is_equal is not None
    ]
    return judged, _summarise(sample, judged, num_without=num_without, num_open=len(candidates) - len(judged))


def compare_with_outcomes(sample: Sample, settings: StageSettings) -> Outcomes | None:
    """Similarities of the actions by the final answer that they led to; None where no outcome is known."""
    groups: list[tuple[list[float], list[float]]] = []
    num_right = num_wrong = 0
    for rollouts in sample.rollouts:
        right: list[float] = []
        wrong: list[float] = []
        for rollout in rollouts:
            if rollout.outcome is None or rollout.reward is None:
                continue
            is_right = rollout.outcome > 0.5
            num_right, num_wrong = num_right + is_right, num_wrong + (not is_right)
            similarity = settings.similarity_of(rollout.reward, rollout.outcome)
            if similarity is not None:
                (right if is_right else wrong).append(similarity)
        groups.append((right, wrong))
    if not num_right + num_wrong:
        return None
    return Outcomes(
        num_right=num_right,
        num_wrong=num_wrong,
        similarity_right=_mean([value for right, _ in groups for value in right]),
        similarity_wrong=_mean([value for _, wrong in groups for value in wrong]),
        ranking=ranking(groups),
    )


def _summarise(sample: Sample, judged: Sequence[Judged], *, num_without: int, num_open: int) -> Equality | None:
    by_group: dict[int, list[Judged]] = {}
    for item in judged:
        by_group.setdefault(item.group, []).append(item)
    groups = list(by_group.values())
    equal = estimate([[float(item.is_equal) for item in group] for group in groups])
    if equal is None:
        return None
    return Equality(
        num_judged=len(judged),
        num_without=num_without,
        num_open=num_open,
        num_exact=sum(
            sample.actions[item.group].actions[item.rollout] == sample.actions[item.group].target for item in judged
        ),
        equal=equal,
        false_positives=estimate(
            [[float(not item.is_equal) for item in group if item.reward >= HIGH_REWARD] for group in groups]
        ),
        false_negatives=estimate(
            [[float(item.is_equal) for item in group if item.reward <= LOW_REWARD] for group in groups]
        ),
        ranking=ranking(
            [
                (
                    [item.reward for item in group if item.is_equal],
                    [item.reward for item in group if not item.is_equal],
                )
                for group in groups
            ]
        ),
        bins=tuple(_bins(judged)),
    )


def _bins(judged: Sequence[Judged]) -> Iterator[EqualityBin]:
    places = [min(NUM_BINS - 1, int(item.reward * NUM_BINS)) for item in judged]
    for place in range(NUM_BINS):
        equal = [item.is_equal for item, its_place in zip(judged, places, strict=True) if its_place == place]
        yield EqualityBin(low=place / NUM_BINS, num_equal=sum(equal), num_different=len(equal) - sum(equal))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
