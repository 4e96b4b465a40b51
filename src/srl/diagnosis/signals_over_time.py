"""``metrics.jsonl`` and the sample -> the shares of a stage, at its beginning, at its end and over all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from srl.completion_rewards import ERROR
from srl.diagnosis.records import Estimate, Signal
from srl.diagnosis.sample import Sample, estimate
from srl.saved_run.records import SavedGroup
from srl.signals.actions import find_duplicates
from srl.types import ParseStatus

LABELS = (
    ("kept by format alone", "sampling/kept_by_format_only_rate", True),
    ("format broken", "rollout/format_error_rate", True),
    ("cut at the token limit", "rollout/truncated_rate", True),
    ("no reward (ungraded)", "reward/ungraded_rate", True),
    ("no reward (error)", "reward/error_rate", True),
    ("near-copies of an earlier step", "signals/context_copy_rate", True),
    ("several steps at once", "signals/several_steps_rate", True),
    ("equal to another of its group", "signals/duplicate_rate", True),
    ("compared with 200+ characters", "signals/autojunk_rate", True),
    ("reward and length, correlation", "signals/reward_length_correlation", False),
    ("action length / target length", "signals/length_ratio", False),
    ("characters of the monologue", "rollout/monologue_characters", False),
)
"""(what it is in a few words, key in ``metrics.jsonl``, whether it is a share); docs/diagnosis.md explains them."""
_SHOWN_IF_EVER_ABOVE_ZERO = {"reward/error_rate"}


def read_signals(updates: Sequence[Mapping[str, float]], sample: Sample) -> tuple[Signal, ...]:
    """Those that were logged or can be measured on the sample, in a fixed order."""
    measured = _measure(sample)
    signals: list[Signal] = []
    for label, metric, is_rate in LABELS:
        points = tuple((record["update"], record[metric]) for record in updates if metric in record)
        saved = measured.get(metric)
        is_silent = metric in _SHOWN_IF_EVER_ABOVE_ZERO and not any(value for _, value in points)
        if is_silent or (not points and saved is None):
            continue
        values = [value for _, value in points]
        tenth = max(1, len(values) // 10)
        signals.append(
            Signal(
                label=label,
                metric=metric,
                is_rate=is_rate,
                first=_mean(values[:tenth]),
                last=_mean(values[-tenth:]),
                mean=_mean(values),
                saved=saved,
                points=points,
            )
        )
    return tuple(signals)


def _measure(sample: Sample) -> dict[str, Estimate]:
    """The shares of the sample by metric."""
    kept = [[float(is_by_format)] for group in sample.groups if (is_by_format := _by_format_only(group)) is not None]
    sampled = [group.rollouts + group.ungraded for group in sample.groups]
    statuses = [[rollout.status for rollout in rollouts] for rollouts in sampled]
    fine = {ParseStatus.OK.value, ParseStatus.TRUNCATED.value}
    found = {
        "sampling/kept_by_format_only_rate": kept,
        "rollout/format_error_rate": [[float(status not in fine) for status in group] for group in statuses],
        "rollout/truncated_rate": [[float(status == ParseStatus.TRUNCATED) for status in group] for group in statuses],
        "reward/ungraded_rate": [
            [0.0] * len(group.rollouts) + [float(rollout.reason != ERROR) for rollout in group.ungraded]
            for group in sample.groups
        ],
        "signals/context_copy_rate": [
            [float(place is not None) for place in places]
            for actions, places in zip(sample.actions, sample.copies, strict=True)
            if actions.context
        ],
        "signals/several_steps_rate": [
            list(map(float, found))
            for actions, found in zip(sample.actions, sample.several, strict=True)
            if actions.next_action
        ],
        "signals/duplicate_rate": [list(map(float, find_duplicates(group.actions))) for group in sample.actions],
    }
    estimates = {metric: estimate(values) for metric, values in found.items()}
    return {metric: value for metric, value in estimates.items() if value is not None}


def _by_format_only(group: SavedGroup) -> bool | None:
    return group.is_kept_by_format_only if group.is_kept else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
