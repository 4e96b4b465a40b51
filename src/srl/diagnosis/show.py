"""A diagnosis -> the terminal, at 80 columns.

Texts of a model or a file go through ``escape_controls`` and rich's ``Text``, which reads no markup, so that nothing in
them can colour, move or hide what is printed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from srl.diagnosis.equality import HIGH_REWARD, LOW_REWARD, NUM_BINS
from srl.diagnosis.records import Equality, Estimate, Example, ExampleKind, Outcomes, Signal, StageDiagnosis
from srl.inspection.visible import escape_controls

WIDTH = 80
_MAX_TEXT = 480
_BARS = "▁▂▃▄▅▆▇█"
_NUM_BARS = 32
_BAR_WIDTH = 16
EXAMPLE_TITLES: dict[ExampleKind, str] = {
    "false_positive": "paid like the expert's step, with another result",
    "false_negative": "the expert's result, and hardly paid",
    "copy": "repeats an earlier step",
    "several_steps": "holds the next step, too",
}
"""What the examples of each kind show."""


def show_diagnosis(stages: Sequence[StageDiagnosis], notes: Sequence[str], console: Console) -> None:
    """Everything, stage by stage, and last what could not be read."""
    for stage in stages:
        _show_stage(stage, console)
    if not stages:
        _print(console, "No stage has logged an update or saved a rollout yet.")
    if notes:
        _rule(console, "what is missing")
        for note in notes:
            _print(console, note, indent="  ")


def _show_stage(stage: StageDiagnosis, console: Console) -> None:
    kind = f" ({stage.kind})" if stage.kind not in ("", stage.name) else ""
    updates = f"{stage.num_updates} update{'' if stage.num_updates == 1 else 's'}"
    _rule(console, f"stage {stage.name}{kind}, {updates}", style="bold")
    is_whole = stage.num_files == stage.num_files_saved
    read = f"all {stage.num_files}" if is_whole else f"{stage.num_files} of the {stage.num_files_saved}"
    _print(
        console,
        f"Saved rollouts: {stage.num_rollouts:,} in {stage.num_groups:,} groups of {read} updates that have some.",
    )
    for warning in stage.warnings:
        _print(console, f"warning, update {warning.update}: {warning.message}", indent="  ", style="yellow")
    if stage.signals:
        _show_signals(stage.signals, console)
    if stage.lengths:
        _show_lengths(stage, console)
    if stage.cliff:
        _show_cliff(stage, console)
    if stage.equality:
        _show_equality(stage.equality, console)
    if stage.outcomes:
        _show_outcomes(stage.outcomes, console)
    if stage.ungraded:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in stage.ungraded.items())
        _rule(console, "saved rollouts without a reward")
        _print(console, counts)
    for example in stage.examples:
        _show_example(example, console)


def _show_signals(signals: Sequence[Signal], console: Console) -> None:
    _rule(console, "all rollouts as logged: first and last tenth of the updates, all updates")
    table = _table("", "first", "last", "all", "saved rollouts [95 %]")
    for signal in signals:
        values = [signal.first, signal.last, signal.mean]
        table.add_row(signal.label, *(_show(value, signal.is_rate) for value in values), _interval(signal.saved))
    console.print(table)
    monologue = next((signal.points for signal in signals if signal.metric.endswith("monologue_characters")), ())
    if len(monologue) > 1:
        _print(console, f"monologue, update {monologue[0][0]:.0f} to {monologue[-1][0]:.0f}:  {_sparkline(monologue)}")


def _show_lengths(stage: StageDiagnosis, console: Console) -> None:
    _rule(console, "reward by the length of the action")
    table = _table("", "actions", "mean reward [95 %]", "")
    for row in stage.lengths:
        bar = "█" * round(_BAR_WIDTH * row.reward.value)
        table.add_row(row.label, f"{row.reward.num:,}", _mean_interval(row.reward), bar)
    table.columns[3].justify = "left"
    console.print(table)


def _show_cliff(stage: StageDiagnosis, console: Console) -> None:
    _rule(console, "autojunk: by characters of SequenceMatcher's second text")
    table = _table("", "actions", "reward", "with autojunk", "without")
    for row in stage.cliff:
        values = [row.reward, row.with_autojunk, row.without_autojunk]
        table.add_row(row.label, f"{row.num:,}", *(f"{value:.3f}" for value in values))
    console.print(table)


def _show_equality(equality: Equality, console: Console) -> None:
    _rule(console, "reward against the result that action and target come to")
    table = _table("reward", "same result", "another", "share with the same")
    for row in equality.bins:
        total = row.num_equal + row.num_different
        share = f"{row.num_equal / total:.0%}" if total else ""
        high = row.low + 1 / NUM_BINS
        table.add_row(f"{row.low:.1f} to {high:.1f}", f"{row.num_equal:,}", f"{row.num_different:,}", share)
    console.print(table)
    _print(
        console,
        f"{equality.num_judged:,} judged, {equality.num_exact:,} of them word for word the target; "
        f"{equality.num_without:,} without a result, {equality.num_open:,} undecided.",
    )
    for name, found in (
        (f"false positives (another result, of rewards from {HIGH_REWARD})", equality.false_positives),
        (f"false negatives (same result, of rewards up to {LOW_REWARD})", equality.false_negatives),
        ("the same result is paid more than another, of pairs in a group", equality.ranking),
    ):
        if found:
            _print(console, f"{name}: {_interval(found)}", indent="  ")


def _show_outcomes(outcomes: Outcomes, console: Console) -> None:
    _rule(console, "similarity against the final answer that the action led to")
    for name, count, similarity in (
        ("right", outcomes.num_right, outcomes.similarity_right),
        ("wrong", outcomes.num_wrong, outcomes.similarity_wrong),
    ):
        shown = "" if similarity is None else f", mean similarity {similarity:.3f}"
        _print(console, f"{name} answer: {count:,} actions{shown}", indent="  ")
    if outcomes.ranking:
        _print(
            console,
            "the right one is more similar, of pairs in a group (50 % is chance): " + _interval(outcomes.ranking),
            indent="  ",
        )


def _show_example(example: Example, console: Console) -> None:
    paid = "no reward" if example.reward is None else f"reward {example.reward:.2f}"
    _rule(console, f"{paid}: {EXAMPLE_TITLES[example.kind]}")
    results = f", comes to {example.result}; the target to {example.expected}" if example.result else ""
    _print(console, f"update {example.update}, {example.example_id}{results}", indent="  ", style="dim")
    parts = [("target", example.target), ("action", example.action)]
    if example.other:
        parts.append(("earlier step" if example.kind == "copy" else "next step", example.other))
    for name, text in parts:
        shown = text.strip() if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT].strip()} [...]"
        _print(console, f"{name}:", indent="  ", style="dim")
        for line in shown.splitlines():
            _print(console, line, indent="    ")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    return table


def _rule(console: Console, title: str, *, style: str = "cyan") -> None:
    console.print()
    _print(console, title, style=style)


def _print(console: Console, text: str, *, indent: str = "", style: str = "") -> None:
    """One paragraph, folded at 80 columns, or fewer where the terminal has fewer."""
    width = max(20, min(WIDTH, console.width) - len(indent))
    lines = textwrap.wrap(escape_controls(text), width, tabsize=4) or [""]
    for line in lines:
        console.print(Text(indent + line, style=style), soft_wrap=False)


def _show(value: float | None, is_rate: bool) -> str:
    if value is None:
        return ""
    if is_rate:
        return f"{value:.1%}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _interval(found: Estimate | None) -> str:
    return "" if found is None else f"{found.value:.1%} [{100 * found.low:.0f} to {100 * found.high:.0f}]"


def _mean_interval(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.2f} to {found.high:.2f}]"


def _sparkline(points: Sequence[tuple[float, float]]) -> str:
    """The values as bars from 0 to the highest one, at most _NUM_BARS of them, each the mean of its stretch."""
    size = -(-len(points) // _NUM_BARS)
    values = [value for _, value in points]
    means = [
        sum(values[start : start + size]) / len(values[start : start + size]) for start in range(0, len(values), size)
    ]
    top = max(max(means), 1e-9)
    return "".join(_BARS[min(len(_BARS) - 1, max(0, int(value / top * len(_BARS))))] for value in means)
