"""A source -> one page: what it holds, how long its parts are, and how much of it fits into the limits.

Reads the source once and keeps numbers only: each length that occurs, with how often it does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from srl.examples import make_step_examples
from srl.histogram import histogram_lines, quantile
from srl.inspection.items import Item
from srl.inspection.view import ModelView
from srl.inspection.visible import escape_controls
from srl.types import DroppedRow, StepExample, Trajectory

MEASURES = ("steps", "problem", "target", "thought", "observation", "reasoning", "prompt")
"""What is measured: steps in each trajectory, and the length of each text that is there."""


@dataclass(kw_only=True)
class Summary:
    """What a source holds."""

    num_trajectories: int = 0
    num_examples: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    """Dropped rows by reason."""
    groups: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    """Trajectories by kind, format, splitter and mark; what readers noted, counted once for each trajectory."""
    num_chars: dict[str, Counter[int]] = field(default_factory=dict[str, Counter[int]])
    """For each measure how often each length in characters occurs; for "steps" the number of steps."""
    num_tokens: dict[str, Counter[int]] = field(default_factory=dict[str, Counter[int]])
    """The same in tokens; empty without a model."""
    fits: Counter[str] = field(default_factory=Counter[str])
    """Examples by what the limits in tokens do to them."""


class Summarizer:
    """Counts item by item."""

    def __init__(self, view: ModelView) -> None:
        self.summary = Summary()
        self._view = view
        self._last_id: str | None = None

    def add(self, item: Item) -> None:
        """Count a trajectory, a step example or a dropped row."""
        if isinstance(item, DroppedRow):
            self.summary.dropped[item.reason] += 1
        elif isinstance(item, Trajectory):
            self._add_trajectory(item)
        else:
            self._add_example(item)

    def _add_trajectory(self, trajectory: Trajectory) -> None:
        self._begin(trajectory.kind, len(trajectory.steps))
        self._group("format", trajectory.format)
        self._group("cut by", trajectory.splitter or "nothing")
        self._group("marked", {True: "right", False: "wrong", None: "neither"}[trajectory.is_right])
        for note in trajectory.notes:
            self._group("notes", note)
        steps = trajectory.steps
        texts = [("problem", trajectory.problem), ("reasoning", trajectory.reasoning)]
        texts += [("thought", step.thought) for step in steps]
        if trajectory.kind == "agent":
            texts += [("observation", step.observation) for step in steps]
        self._measure(texts)
        self._measure_examples(make_step_examples(trajectory, context_turns=self._view.choices.context_turns))

    def _add_example(self, example: StepExample) -> None:
        texts = [("thought", example.target_thought)]
        if example.trajectory_id != self._last_id:  # examples of one trajectory stand together
            self._last_id = example.trajectory_id
            self._begin(example.kind, example.num_steps)
            texts.append(("problem", example.problem))
        if example.observations:  # the earlier ones were the last ones of the examples before
            texts.append(("observation", example.observations[-1]))
        self._measure(texts)
        self._measure_examples([example])

    def _begin(self, kind: str, num_steps: int) -> None:
        self.summary.num_trajectories += 1
        self.summary.num_chars.setdefault("steps", Counter())[num_steps] += 1
        self._group("kind", kind)

    def _group(self, name: str, value: str) -> None:
        self.summary.groups.setdefault(name, Counter())[value] += 1

    def _measure_examples(self, examples: list[StepExample]) -> None:
        texts: list[tuple[str, str]] = []
        for example in examples:
            self.summary.num_examples += 1
            shown, fitted = self._view.shown(example), self._view.fitted(example)
            asked = self._view.training_example(fitted or shown)
            texts.append(("target", asked.target))
            self.summary.fits[_fit(shown, fitted)] += 1
            if fitted is not None:
                texts.append(("prompt", self._view.rendered(asked.prompt)))
        self._measure(texts)

    def _measure(self, texts: list[tuple[str, str]]) -> None:
        """Lengths of texts by measure; a thought, reasoning or problem that is not there is not counted."""
        there = [(name, text) for name, text in texts if text or name == "observation"]
        for name, text in there:
            self.summary.num_chars.setdefault(name, Counter())[len(text)] += 1
        counted = self._view.count([text for _, text in there])
        for (name, _), length in zip(there, counted, strict=False):
            self.summary.num_tokens.setdefault(name, Counter())[length] += 1


def _fit(shown: StepExample, fitted: StepExample | None) -> str:
    if fitted is None:
        return "too long to be used"
    if len(fitted.context) < len(shown.context):
        return "shown with fewer rounds"
    return "shown with cut observations" if fitted != shown else "shown whole"


def print_summary(source: str, items: Iterable[Item], view: ModelView, console: Console) -> None:
    """Read everything and print the page."""
    summarizer = Summarizer(view)
    with console.status("reading", spinner="line") if console.is_terminal else _Quiet():
        for item in items:
            summarizer.add(item)
    summary = summarizer.summary
    console.print(Text(escape_controls(source), style="bold"), soft_wrap=True)
    num_dropped = summary.dropped.total()
    dropped = f", {num_dropped:,} rows dropped" if num_dropped else ""
    _line(console, f"{summary.num_trajectories:,} trajectories, {summary.num_examples:,} step examples{dropped}")
    for name, counts in [*summary.groups.items(), ("dropped", summary.dropped)]:
        if counts:
            _line(console, f"  {name:<10}" + ", ".join(f"{value} {count:,}" for value, count in counts.most_common()))
    if not summary.num_examples:
        return
    _print_quantiles(summary, console)
    _print_limits(summary, view, console)
    for name in MEASURES:
        unit = "tokens" if name in summary.num_tokens else "characters"
        counts = summary.num_tokens.get(name) or summary.num_chars.get(name)
        if counts:
            title = "steps per trajectory" if name == "steps" else f"{name}, {unit}"
            console.print()
            _line(console, title)
            for line in histogram_lines(counts):
                _line(console, line)


def _print_quantiles(summary: Summary, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("lengths")
    for heading in ("number", "5 %", "median", "95 %", "longest"):
        table.add_column(heading, justify="right")
    for name in MEASURES:
        for unit, lengths in (("characters", summary.num_chars), ("tokens", summary.num_tokens)):
            counts = lengths.get(name)
            if counts:
                values = [quantile(counts, share) for share in (0.05, 0.5, 0.95, 1)]
                label = "steps per trajectory" if name == "steps" else f"{name}, {unit}"
                table.add_row(label, f"{counts.total():,}", *(f"{value:,}" for value in values))
    console.print()
    console.print(table)


def _print_limits(summary: Summary, view: ModelView, console: Console) -> None:
    """The share of examples that the limits concern; nothing without a model or without limits."""
    choices = view.choices
    if not view.has_model:
        return
    lines: list[tuple[str, int]] = []
    if choices.max_observation_tokens is not None or choices.max_prompt_tokens is not None:
        lines += summary.fits.most_common()
    if choices.max_completion_tokens is not None:
        long = sum(n for length, n in summary.num_tokens["target"].items() if length > choices.max_completion_tokens)
        lines.append((f"target longer than {choices.max_completion_tokens:,} tokens", long))
    if not lines:
        return
    named = (("observation", choices.max_observation_tokens), ("prompt", choices.max_prompt_tokens))
    limits = ", ".join(f"{name} {limit:,}" for name, limit in named if limit is not None)
    console.print()
    _line(console, f"examples within the limits in tokens ({limits})" if limits else "examples")
    for name, count in lines:
        _line(console, f"  {name:<40}{count:>10,}{100 * count / summary.num_examples:>8.1f} %")


def _line(console: Console, text: str) -> None:
    console.print(Text(escape_controls(text)), soft_wrap=True)


class _Quiet:
    """No status where there is no terminal."""

    def __enter__(self) -> None: ...

    def __exit__(self, *details: object) -> None: ...
