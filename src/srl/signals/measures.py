"""All rollouts of one update -> the numbers under ``signals/`` in ``metrics.jsonl``.

What the numbers mean is defined in ``srl.metrics``; a number that has nothing to be measured on is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import Literal

from srl.config import StageConfig
from srl.signals.actions import (
    GroupActions,
    actions_of,
    find_copies,
    find_duplicates,
    find_several_steps,
    length_correlation,
)
from srl.types import RolloutGroup

JUNK_LENGTH = 200
"""From this length of its second argument on difflib's autojunk drops frequent characters."""

Target = Literal["step", "solution", "answer"]
"""What a stage's target is: the expert's next step, the expert's whole solution, or the reference answer (RLVR)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalSettings:
    """What of a stage decides which signals there are."""

    target: Target
    """Only a step has earlier and later ones, and only a text has a length to compare with."""
    junk_text: Literal["action", "target", ""]
    """SequenceMatcher's second argument in a stage with autojunk, "" without."""


def settings_of_stage(config: StageConfig) -> SignalSettings:
    """The settings that a recipe implies."""
    target: Target = "answer" if config.kind == "rlvr" else "solution" if config.data.one_step else "step"
    second = "target" if config.reward.first_argument == "action" else "action"
    return SignalSettings(target=target, junk_text=second if config.reward.autojunk else "")


def signal_metrics(groups: Sequence[RolloutGroup], settings: SignalSettings) -> dict[str, float]:
    """The signals of one update's kept and rejected groups; keys as in ``srl.metrics.DEFINITIONS``."""
    measured = [actions_of(group, asks_for_step=settings.target == "step") for group in groups]
    metrics: dict[str, float | None] = {
        "signals/duplicate_rate": _rate(chain.from_iterable(find_duplicates(group.actions) for group in measured)),
        "signals/reward_length_correlation": length_correlation(measured),
    }
    if settings.target == "step":
        with_context = [group for group in measured if group.context]
        with_next = [group for group in measured if group.next_action]
        copies = chain.from_iterable(find_copies(with_context))
        metrics |= {
            "signals/context_copy_rate": _rate(place is not None for place in copies),
            "signals/several_steps_rate": _rate(chain.from_iterable(find_several_steps(with_next))),
        }
    if settings.target != "answer":
        ratios = [ratio for group in measured if group.target for ratio in length_ratios(group)]
        metrics["signals/length_ratio"] = median(ratios) if ratios else None
    if settings.junk_text:
        metrics["signals/autojunk_rate"] = _rate(
            len(action if settings.junk_text == "action" else group.target) >= JUNK_LENGTH
            for group in measured
            for action in group.actions
        )
    return {key: value for key, value in metrics.items() if value is not None}


def length_ratios(group: GroupActions) -> list[float]:
    """Length of each action over the length of the target, which must not be empty."""
    return [len(action) / len(group.target) for action in group.actions]


def _rate(outcomes: Iterable[bool]) -> float | None:
    counted = [*outcomes]
    return math.fsum(counted) / len(counted) if counted else None
