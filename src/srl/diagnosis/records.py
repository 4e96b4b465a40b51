"""What ``srl diagnose`` finds out about a stage, as plain values: printed, drawn by the report and written as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from srl.saved_run.records import SavedWarning
from srl.signals.measures import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean of values in [0, 1] over the saved rollouts, with its interval."""

    value: float
    """The mean."""
    low: float
    """Lower end of the 95 % interval over groups."""
    high: float
    """Upper end of the 95 % interval over groups."""
    num: int
    """Values it is the mean of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """One number over the course of a stage."""

    label: str
    """What it is, in a few words."""
    metric: str
    """The key in ``metrics.jsonl``; srl/metrics.py has its definition."""
    is_rate: bool
    """Whether it is a share."""
    first: float | None
    """Mean over the first tenth of the updates that logged it, at least one; None where none did."""
    last: float | None
    """The same over the last tenth."""
    mean: float | None
    """The same over all."""
    saved: Estimate | None
    """The same of the saved rollouts; None for what is no share or has nothing to be measured on."""
    points: tuple[tuple[float, float], ...]
    """(update, value) as logged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthBin:
    """Actions of about one length."""

    label: str
    """Which lengths."""
    reward: Estimate
    """What they were paid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CliffRow:
    """Pairs by the length of the text that autojunk looks at."""

    label: str
    """Which lengths."""
    num: int
    """Actions."""
    reward: float
    """What they were paid, on average."""
    with_autojunk: float
    """Their sequence similarity as SequenceMatcher's default gives it."""
    without_autojunk: float
    """Their sequence similarity by the paper's formula."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualityBin:
    """Actions of about one reward."""

    low: float
    """Rewards from here on, for the last bin 1 included."""
    num_equal: int
    """Those whose result equals the expert's."""
    num_different: int
    """Those whose result does not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Equality:
    """Rewards held against whether action and target come to the same result."""

    num_judged: int
    """Actions that could be compared."""
    num_without: int
    """Actions that could not, because they or their target hold no equation and no number."""
    num_open: int
    """Actions whose comparison had no end in time."""
    num_exact: int
    """Of the judged: those that are the target, word for word."""
    equal: Estimate
    """Share of the judged whose result is the expert's."""
    false_positives: Estimate | None
    """Share with another result among those with a high reward."""
    false_negatives: Estimate | None
    """Share with the same result among those with a low reward."""
    ranking: Estimate | None
    """Of two actions of one group, one with the expert's result and one without: how often the first is paid more."""
    bins: tuple[EqualityBin, ...]
    """By reward, ascending."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """Similarities held against the right or wrong final answer that the actions led to."""

    num_right: int
    """Actions that led to the right answer."""
    num_wrong: int
    """Actions that did not."""
    similarity_right: float | None
    """Mean similarity of the first, None without any."""
    similarity_wrong: float | None
    """Mean similarity of the others, None without any."""
    ranking: Estimate | None
    """Of two actions of one group, one of each kind: how often the first has the higher similarity."""


ExampleKind = Literal["false_positive", "false_negative", "copy", "several_steps"]
"""What an example is one of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One saved rollout that shows what a number means. Its texts are as the model and the data have them."""

    kind: ExampleKind
    """What it is an example of."""
    update: int
    """Update it was sampled for."""
    example_id: str
    """The training example."""
    reward: float | None
    """What it was paid."""
    target: str
    """The expert's action."""
    action: str
    """The policy's."""
    other: str
    """The step it repeats or the next step that it holds, "" for the others."""
    result: str
    """What the action comes to, "" where it does not matter."""
    expected: str
    """What the target comes to, "" where it does not matter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageDiagnosis:
    """All that was found out about one stage."""

    name: str
    """Its name in the recipe."""
    kind: str
    """"srl", "rlvr", or "" where that is not known."""
    target: Target
    """What was asked for."""
    num_updates: int
    """Its last update so far."""
    num_groups: int
    """Saved groups that were read."""
    num_rollouts: int
    """Their rollouts."""
    num_files: int
    """Updates whose saved groups were read."""
    num_files_saved: int
    """Updates with saved groups."""
    warnings: tuple[SavedWarning, ...]
    """What the training warned of."""
    signals: tuple[Signal, ...]
    """Shares and other numbers, those that apply."""
    lengths: tuple[LengthBin, ...]
    """Reward by the length of the action, ascending."""
    cliff: tuple[CliffRow, ...]
    """What autojunk does at 200 characters; () without autojunk."""
    equality: Equality | None
    """None where no result could be compared."""
    outcomes: Outcomes | None
    """None in a stage without ``reward.outcome``."""
    ungraded: dict[str, int]
    """Saved rollouts that could not be graded, by reason."""
    examples: tuple[Example, ...]
    """A few of each kind."""
