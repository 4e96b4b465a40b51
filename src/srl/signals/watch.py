"""The metrics of a stage so far -> warnings in words that a user can act on.

A warning needs a mean over the last updates, not a single one, and enough rollouts in them; it is given once for each
stage and kind, and again only when it has become much worse. ``Watch`` is all that has to be remembered, and is made
again from ``metrics.jsonl`` and ``warnings.jsonl`` when a run is resumed.

The decision a reader would question: warnings never stop a run. Each of them can be what somebody wants, and a run
that has cost days is not ours to end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

WINDOW = 3
"""A warning looks at the mean of so many updates, the first three for what a run began with."""
MIN_ROLLOUTS = 256
"""So many rollouts in these updates, or there is no warning: fewer say too little about a rate."""
MUCH_WORSE = 0.2
"""A warning is repeated when its severity has risen by so much."""
LENGTH_ROOM = 1.25
"""Actions within this factor of their target's length are as long as the expert's."""
MIN_MONOLOGUE = 20
"""Shorter monologues than this, in characters, cannot collapse."""

_SIZE = "rollout/num_rollouts"
_MONOLOGUE = "rollout/monologue_characters"
_CORRELATION = "signals/reward_length_correlation"
_RATIO = "signals/length_ratio"
_KEPT = "sampling/kept_rate"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingWarning:
    """One warning, as it stands in ``warnings.jsonl``."""

    stage: str
    """Name of the stage."""
    update: int
    """Update after which it was given."""
    code: str
    """Its kind, a short code from ``RULES``."""
    severity: float
    """What was compared with the threshold, in [0, 1], larger is worse."""
    message: str
    """What was found and what can be done, in words."""


Severity = Callable[[Mapping[str, float], Mapping[str, float]], float | None]
"""(means over the last updates, means over the first ones) -> [0, 1], None where it does not apply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """When to warn, and what to say."""

    code: str
    """Short name."""
    threshold: float
    """There is a warning when the severity is above this."""
    severity: Severity
    """What is compared."""
    message: str
    """``{severity}``, ``{threshold}`` and, of the means, ``{last[key]}`` and ``{first[key]}`` are filled in."""


def _value(*keys: str) -> Severity:
    """The sum of these metrics, as far as they are logged."""

    def severity(last: Mapping[str, float], first: Mapping[str, float]) -> float | None:
        del first
        known = [last[key] for key in keys if key in last]
        return math.fsum(known) if known else None

    return severity


def _where_few_are_kept(key: str, most: float) -> Severity:
    """The metric where at most this share of the groups is kept; else there is enough to learn, whatever its value."""

    def severity(last: Mapping[str, float], first: Mapping[str, float]) -> float | None:
        del first
        return last.get(key) if last.get(_KEPT, 1.0) <= most else None

    return severity


def _away_from_target(sign: float) -> Severity:
    """The correlation of length and reward where it leads away from the length of the target.

    Towards it, it is the similarity at work: what the policy says too much or leaves out costs. Without a target that
    has a length it does not apply; wrong answers are long for other reasons.
    """

    def severity(last: Mapping[str, float], first: Mapping[str, float]) -> float | None:
        del first
        if not {_CORRELATION, _RATIO} <= last.keys():
            return None
        is_away = last[_RATIO] > LENGTH_ROOM if sign > 0 else last[_RATIO] < 1 / LENGTH_ROOM
        return sign * last[_CORRELATION] if is_away else None

    return severity


def _collapse(last: Mapping[str, float], first: Mapping[str, float]) -> float | None:
    """The share of the first monologues' length that is gone."""
    if _MONOLOGUE not in last or first.get(_MONOLOGUE, 0.0) < MIN_MONOLOGUE:
        return None
    return 1.0 - last[_MONOLOGUE] / first[_MONOLOGUE]


RULES = (
    Rule(
        code="format_only",
        threshold=0.5,  # more than half of what is learned is the format
        severity=_value("sampling/kept_by_format_only_rate"),
        message="{severity:.0%} of the groups trained on teach the format and nothing else: without the rollouts that "
        "break it their rewards are flat. Normal in the first updates. If it lasts, check chat template and prompts, "
        "raise sampling.max_completion_tokens if completions are cut, or start from a model that follows the format.",
    ),
    Rule(
        code="ungraded",
        threshold=0.05,  # what is left out is seldom left out by chance: hard answers take longest to grade
        severity=_value("reward/ungraded_rate", "reward/error_rate"),
        message="{severity:.0%} of the rollouts have no reward, because their grading was too slow, crashed or failed, "
        "and are left out. What is hard to grade is then never learned. `srl diagnose` counts the reasons: "
        '"deadline", "memory" and "crash" come from answers that overwhelm sympy, others from a reward or an endpoint '
        "that wants mending.",
    ),
    Rule(
        code="context_copies",
        threshold=0.3,  # an honest policy is near 0; at 0.3 groups begin in which most rollouts copy
        severity=_value("signals/context_copy_rate"),
        message="{severity:.0%} of the actions nearly repeat an earlier step of their prompt, and are closer to it "
        "than to the expert's step: the policy is paid for parroting. Use reward.thresholds to make a low "
        'similarity earn nothing, another similarity ("math", "words"), or reward.outcome = "gate".',
    ),
    Rule(
        code="several_steps",
        threshold=0.3,  # beyond this the reward mostly measures where the policy stops
        severity=_value("signals/several_steps_rate"),
        message="{severity:.0%} of the actions also hold the expert's next step: the policy solves several steps at "
        "once and is paid less for it than for stopping early. Say in prompt.texts that one step is asked for, or cut "
        "the expert's solutions into larger steps.",
    ),
    Rule(
        code="duplicates",
        threshold=0.75,  # of eight rollouts two or fewer then differ from all others
        severity=_where_few_are_kept("signals/duplicate_rate", 0.5),
        message="{severity:.0%} of the actions are equal to another one of their group, and only {last["
        + _KEPT
        + "]:.0%} of the groups are kept: most rollouts cost time and teach nothing. Raise sampling.temperature, lower "
        "sampling.group_size, or end the stage: it may be learned.",
    ),
    Rule(
        code="shorter_pays",
        threshold=0.5,  # length alone then tells a quarter of what the reward tells
        severity=_away_from_target(-1.0),
        message="the shorter action of a group is paid more (rank correlation {last["
        + _CORRELATION
        + "]:.2f}) though the actions are short already: the median has {last["
        + _RATIO
        + "]:.2f} times the length of its target. The policy is paid for saying less. Read some actions in "
        "`srl diagnose`; another similarity, or reward.outcome, asks for content.",
    ),
    Rule(
        code="longer_pays",
        threshold=0.5,
        severity=_away_from_target(1.0),
        message="the longer action of a group is paid more (rank correlation {last["
        + _CORRELATION
        + "]:.2f}) though the actions are long already: the median has {last["
        + _RATIO
        + "]:.2f} times the length of its target. The policy is paid for padding. Read some actions in "
        "`srl diagnose`; another similarity, or a first of reward.thresholds above 0, ends that.",
    ),
    Rule(
        code="autojunk",
        threshold=0.1,  # the cliff changes rewards by up to a half, and one in ten groups then carries it
        severity=_value("signals/autojunk_rate"),
        message="for {severity:.0%} of the actions autojunk drops frequent letters, because the compared text has 200 "
        "characters or more: their rewards fall off a cliff that has nothing to do with their content. Set "
        "reward.autojunk = false, the paper's formula, or limit data.max_target_chars to 199.",
    ),
    Rule(
        code="truncated",
        threshold=0.25,  # a quarter of the tokens, and more of the time, is then spent on what cannot be scored
        severity=_value("rollout/truncated_rate"),
        message="{severity:.0%} of the completions are cut by the token limit and get the format penalty, whatever "
        "they hold. Raise sampling.max_completion_tokens; if they would never end, check the chat template's end of "
        "turn.",
    ),
    Rule(
        code="monologue_collapse",
        threshold=0.5,  # the paper saw no significant change of its length
        severity=_collapse,
        message="the monologue has shrunk from {first[" + _MONOLOGUE + "]:.0f} to {last[" + _MONOLOGUE + "]:.0f} "
        "characters since the first updates: the policy gives up thinking, because only the action is paid for. Keep "
        "an earlier checkpoint, lower optimizer.learning_rate, or set loss.beta above 0.",
    ),
    Rule(
        code="all_solved",
        threshold=0.95,
        severity=_where_few_are_kept("reward/mean", 0.25),  # near 1 alone may be much likeness and little truth
        message="the mean reward is {severity:.2f}, and only {last["
        + _KEPT
        + "]:.0%} of the groups are kept: there is next to nothing left to learn here. End the stage, or take harder "
        "examples.",
    ),
)
"""Every warning by the order in which they are checked; docs/diagnosis.md tells what to do about each."""

_KEYS = {
    "sampling/kept_by_format_only_rate", "reward/ungraded_rate", "reward/error_rate", "reward/mean", _MONOLOGUE,
    "rollout/truncated_rate", "signals/context_copy_rate", "signals/several_steps_rate", "signals/duplicate_rate",
    "signals/autojunk_rate", _CORRELATION, _RATIO, _KEPT, _SIZE,
}  # fmt: skip


class Watch:
    """Looks at the metrics of one stage, update by update."""

    def __init__(
        self, stage: str, past: Iterable[Mapping[str, object]] = (), given: Iterable[TrainingWarning] = ()
    ) -> None:
        """``past`` holds the stage's lines of ``metrics.jsonl`` so far, ``given`` the warnings that came of them."""
        self._stage = stage
        self._first: list[dict[str, float]] = []
        self._recent = deque[dict[str, float]](maxlen=WINDOW)
        self._num_updates = 0
        self._given = {warning.code: warning.severity for warning in given}  # the last one of each kind
        for record in past:
            self._remember(record)

    def look(self, record: Mapping[str, object]) -> list[TrainingWarning]:
        """What has to be said after the next line of ``metrics.jsonl``; lines without rollouts say nothing."""
        if not self._remember(record):
            return []
        update = record.get("update")
        warnings = [
            TrainingWarning(
                stage=self._stage,
                update=update if isinstance(update, int) else 0,
                code=rule.code,
                severity=severity,
                message=message,
            )
            for rule, severity, message in self._found()
            if severity >= self._given.get(rule.code, -math.inf) + MUCH_WORSE
        ]
        self._given |= {warning.code: warning.severity for warning in warnings}
        return warnings

    def _found(self) -> Iterable[tuple[Rule, float, str]]:
        if len(self._recent) < WINDOW or math.fsum(update[_SIZE] for update in self._recent) < MIN_ROLLOUTS:
            return
        last = _means(self._recent)
        first = _means(self._first) if self._num_updates >= 2 * WINDOW else {}
        for rule in RULES:
            severity = rule.severity(last, first)
            if severity is not None and severity > rule.threshold:
                yield rule, severity, rule.message.format(severity=severity, last=last, first=first)

    def _remember(self, record: Mapping[str, object]) -> bool:
        values = {key: float(value) for key in _KEYS if isinstance(value := record.get(key), int | float)}
        known = {key: value for key, value in values.items() if math.isfinite(value)}
        if _SIZE not in known or record.get("update") == 0:  # what a pass before the stage sampled is no update
            return False
        if len(self._first) < WINDOW:
            self._first.append(known)
        self._recent.append(known)
        self._num_updates += 1
        return True


def _means(updates: Iterable[Mapping[str, float]]) -> dict[str, float]:
    columns: dict[str, list[float]] = {}
    for update in updates:
        for key, value in update.items():
            columns.setdefault(key, []).append(value)
    return {key: math.fsum(values) / len(values) for key, values in columns.items()}
