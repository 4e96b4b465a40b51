"""A diagnosis -> the section "What did the reward pay for?", ready for the template.

All numbers come from ``srl.diagnosis``, so that the page and ``srl diagnose`` cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from srl.diagnosis.equality import HIGH_REWARD, LOW_REWARD, NUM_BINS
from srl.diagnosis.records import Equality, Estimate, Example, LengthBin, Outcomes, Signal, StageDiagnosis
from srl.diagnosis.show import EXAMPLE_TITLES
from srl.report.bars import BarRow, bar_rows
from srl.report.charts import Axis
from srl.report.curves import Figure, Plot, draw_figure
from srl.report.samples import Piece, clip_pieces, match_texts
from srl.report.text import number, percent
from srl.saved_run.settings import StageSettings

NUM_EXAMPLES = 2
"""Examples of each kind on the page."""
PLOTS = (
    Plot(
        title="Shortcuts",
        metrics=(
            ("signals/context_copy_rate", "near-copies of an earlier step"),
            ("signals/several_steps_rate", "several steps at once"),
        ),
        axis=Axis(label="share of well-formed actions", is_rate=True, low=0.0),
        caption="Should stay near zero. A policy that is paid for repeating its prompt, or for writing on past the "
        "step, learns that and not the next step.",
    ),
    Plot(
        title="Equal actions in a group",
        metrics=(("signals/duplicate_rate", "equal to another"),),
        axis=Axis(label="share of well-formed actions", is_rate=True, low=0.0, high=1.0),
        caption="Rollouts that are equal have equal rewards. Near one while few groups are kept, most of the sampling "
        "is spent on nothing.",
    ),
    Plot(
        title="Monologue",
        metrics=(("rollout/monologue_characters", "mean"),),
        axis=Axis(label="characters inside <think>", low=0.0),
        caption="Never scored, so nothing holds it up. A collapse means that the policy stops thinking.",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalRow:
    """One line of the table of signals."""

    label: str
    """What it is."""
    course: str
    """First and last value, "" when not logged."""
    mean: str
    """Mean over all updates, "" when not logged."""
    saved: str
    """The same of the saved rollouts with its interval, "" when not measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleView:
    """One example, its texts in pieces."""

    example: Example
    """As found."""
    title: str
    """What it shows."""
    texts: tuple[tuple[str, list[Piece], int], ...]
    """(label, text in pieces, characters left out)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardView:
    """One stage of the section."""

    stage: StageDiagnosis
    """The numbers."""
    signals: list[SignalRow]
    """The table."""
    figures: list[Figure]
    """The drawings that there is data for."""
    statements: list[str]
    """What results and outcomes say of the reward, in words."""
    examples: list[ExampleView]
    """Rollouts that show it."""


def reward_view(stage: StageDiagnosis, records: Sequence[dict[str, float]], settings: StageSettings) -> RewardView:
    """The section's part of one stage; ``records`` are its updates."""
    figures = [figure for plot in PLOTS if (figure := draw_figure(plot, records)).drawing is not None]
    if stage.lengths:
        figures.insert(0, _length_figure(stage.lengths, has_target=stage.target != "answer"))
    if stage.equality:
        figures.insert(0, _equality_figure(stage.equality))
    statements = [*_equality_statements(stage.equality), *_outcome_statements(stage.outcomes)]
    return RewardView(
        stage=stage,
        signals=[_signal_row(signal) for signal in stage.signals],
        figures=figures,
        statements=statements,
        examples=[_example_view(example, settings) for example in stage.examples],
    )


def _signal_row(signal: Signal) -> SignalRow:
    def show(value: float | None) -> str:
        return "" if value is None else _percent(value) if signal.is_rate else number(value)

    course = f"{show(signal.first)} → {show(signal.last)}" if signal.first is not None else ""
    return SignalRow(label=signal.label, course=course, mean=show(signal.mean), saved=_interval(signal.saved))


def _length_figure(bins: Sequence[LengthBin], *, has_target: bool) -> Figure:
    rows = [
        BarRow(
            label=row.label,
            parts=(row.reward.value,),
            note=f"{number(row.reward.value, 2)} ({row.reward.num:,})",
            interval=(row.reward.low, row.reward.high),
        )
        for row in bins
    ]
    shown = "; ".join(f"{row.label}: {row.note}" for row in rows)
    return Figure(
        title="Reward by length",
        drawing=bar_rows(rows, top=1.0, axis_label="mean reward", description=f"Reward by length: {shown}"),
        legend=(),
        caption="Of well-formed actions, with 95 % intervals; their number in brackets."
        + (" A reward that asks for content is highest where actions are as long as their targets." * has_target),
        metrics="saved rollouts",
    )


def _equality_figure(equality: Equality) -> Figure:
    rows: list[BarRow] = []
    for row in equality.bins:
        total = max(1, row.num_equal + row.num_different)
        rows.append(
            BarRow(
                label=f"reward {row.low:.1f} to {row.low + 1 / NUM_BINS:.1f}",
                parts=(row.num_equal / total, row.num_different / total),
                note=f"{row.num_equal:,} / {row.num_different:,}",
            )
        )
    shown = "; ".join(f"{row.label}: {row.note}" for row in rows)
    return Figure(
        title="Reward and result",
        drawing=bar_rows(
            rows, top=1.0, axis_label="share of the actions: same result / another", description=f"Results: {shown}"
        ),
        legend=(),
        caption="Blue actions come to the expert's result, red ones to another; their numbers stand beside. Red at the "
        "bottom is likeness without truth; blue at the top is truth in other words.",
        metrics="saved rollouts",
    )


def _equality_statements(equality: Equality | None) -> list[str]:
    if equality is None:
        return []
    judged = (
        f"{equality.num_judged:,} actions have a result to compare, {equality.num_exact:,} of them are the target word "
        f"for word; {equality.num_without:,} have none"
    )
    statements = [judged + (f", {equality.num_open:,} are undecided." if equality.num_open else ".")]
    if equality.false_positives:
        statements.append(
            f"False positives: of the rewards from {HIGH_REWARD} on, {_interval(equality.false_positives)} went to "
            "another result than the expert's."
        )
    if equality.false_negatives:
        statements.append(
            f"False negatives: of the rewards up to {LOW_REWARD}, {_interval(equality.false_negatives)} went to the "
            "expert's result."
        )
    if equality.ranking:
        statements.append(
            "Of two actions of one group, one with the expert's result and one without, the first was paid more in "
            f"{_interval(equality.ranking)} of all pairs; 50 % is chance."
        )
    return statements


def _outcome_statements(outcomes: Outcomes | None) -> list[str]:
    if outcomes is None:
        return []
    means = [
        f"{name} {number(value)}"
        for name, value in (("right", outcomes.similarity_right), ("wrong", outcomes.similarity_wrong))
        if value is not None
    ]
    statements = [
        f"{outcomes.num_right:,} actions led to a right final answer and {outcomes.num_wrong:,} to a wrong one"
        + (f"; mean similarity: {', '.join(means)}." if means else ".")
    ]
    if outcomes.ranking:
        statements.append(
            "Of two actions of one group that led to a right and a wrong answer, the first was more similar to the "
            f"expert's in {_interval(outcomes.ranking)} of all pairs; 50 % is chance."
        )
    return statements


def _example_view(example: Example, settings: StageSettings) -> ExampleView:
    """Marked is what the reward counts, in a copy what it shares with the step that it repeats."""
    action, target = [Piece(text=example.action, size=0)], [Piece(text=example.target, size=0)]
    other = [Piece(text=example.other, size=0)]
    if example.kind == "copy":
        match = match_texts(example.action, example.other, autojunk=False, action_is_first=True)
        action, other = list(match.action), list(match.target)
    elif settings.has_sequence:
        match = match_texts(
            example.action, example.target, autojunk=settings.autojunk, action_is_first=settings.is_action_first
        )
        action, target = list(match.action), list(match.target)
    texts = [("Target", target), ("Action", action)]
    if example.other:
        texts.append(("The earlier step" if example.kind == "copy" else "The expert's next step", other))
    return ExampleView(
        example=example,
        title=EXAMPLE_TITLES[example.kind],
        texts=tuple((label, *clip_pieces(pieces)) for label, pieces in texts),
    )


def _interval(found: Estimate | None) -> str:
    if found is None:
        return ""
    return f"{_percent(found.value)} [{100 * found.low:.0f} to {100 * found.high:.0f}]"


def _percent(value: float) -> str:
    """As ``percent``, and never broken between two lines of a narrow table."""
    return percent(value).replace(" ", "\N{NO-BREAK SPACE}")
