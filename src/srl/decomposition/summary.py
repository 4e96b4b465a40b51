"""What became of the rows of a run: counted while it goes, written as JSON, shown as tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from srl.decomposition.records import TrajectoryRecord
from srl.histogram import histogram_lines
from srl.types import DroppedRow


@dataclass(kw_only=True)
class FileCounts:
    """One input file."""

    parsed: int = 0
    """Trajectories."""
    examples: int = 0
    """Step examples."""
    formats: Counter[str] = field(default_factory=Counter[str])
    """Trajectories by the format they were read as."""
    splitters: Counter[str] = field(default_factory=Counter[str])
    """Trajectories by what cut them into steps."""
    dropped: Counter[str] = field(default_factory=Counter[str])
    """Drops by reason."""


@dataclass(kw_only=True)
class DecomposeSummary:
    """What became of the rows of all sources. A row with several sampled solutions counts once for each."""

    sources: tuple[str, ...]
    """What was read."""
    output: str
    """The file or folder the step examples were written to."""
    report: str | None = None
    """The file the dropped rows were written to, None where none was asked for."""
    num_unread_benchmark_rows: int = 0
    """Rows of the benchmarks to keep out that hold no problem, so that nothing was compared with them."""
    num_parsed: int = 0
    """Rows that became a trajectory."""
    num_with_answer: int = 0
    """Trajectories whose final answer is known; RLVR can use these."""
    num_marked_right: int = 0
    """Trajectories that the source marks as right, resolved or rewarded."""
    num_marked_wrong: int = 0
    """Trajectories that the source marks as wrong and that were kept all the same."""
    num_without_outcome: int = 0
    """Trajectories that the file of outcomes does not mention; what their own source says of them counts."""
    num_examples: int = 0
    """Step examples written, the last step of each trajectory included."""
    dropped: Counter[str] = field(default_factory=Counter[str])
    """Dropped rows by reason."""
    formats: Counter[str] = field(default_factory=Counter[str])
    """Trajectories by the format they were read as."""
    splitters: Counter[str] = field(default_factory=Counter[str])
    """Trajectories by what cut them into steps."""
    notes: Counter[str] = field(default_factory=Counter[str])
    """What the readers decided on the way, by code."""
    steps_per_trajectory: Counter[int] = field(default_factory=Counter[int])
    """Number of trajectories by number of steps."""
    files: dict[str, FileCounts] = field(default_factory=dict[str, FileCounts])
    """The same by input file."""

    @property
    def num_read(self) -> int:
        """Everything that was read: trajectories and drops."""
        return self.num_parsed + self.dropped.total()

    def add(self, item: TrajectoryRecord | DroppedRow) -> None:
        """Count one more record or drop."""
        file = self.files.setdefault(item.source.file, FileCounts())
        if isinstance(item, DroppedRow):
            self.dropped[item.reason] += 1
            file.dropped[item.reason] += 1
            return
        for counts in (self, file):
            counts.formats[item.format] += 1
            counts.splitters[item.splitter] += 1
        file.parsed, file.examples = file.parsed + 1, file.examples + item.num_steps
        self.num_parsed, self.num_examples = self.num_parsed + 1, self.num_examples + item.num_steps
        self.num_with_answer += item.has_answer
        self.num_marked_right += item.is_right is True
        self.num_marked_wrong += item.is_right is False
        self.num_without_outcome += item.lacks_outcome
        self.notes.update(item.notes)
        self.steps_per_trajectory[item.num_steps] += 1

    def to_json(self) -> str:
        """The summary as indented JSON."""
        value = vars(self) | {"num_read": self.num_read}
        value["steps_per_trajectory"] = dict(sorted(self.steps_per_trajectory.items()))
        return json.dumps(value, indent=2, default=vars) + "\n"


def print_summary(summary: DecomposeSummary, console: Console) -> None:
    """The summary as tables that fit into 80 columns."""
    counts = Table(title="Decomposed", title_justify="left", show_header=False)
    counts.add_column()
    counts.add_column(justify="right")
    counts.add_row("rows read", f"{summary.num_read:,}")
    counts.add_row("parsed into trajectories", _with_share(summary.num_parsed, summary.num_read))
    counts.add_row("  of these with a final answer", _with_share(summary.num_with_answer, summary.num_parsed))
    marks = Counter(
        {
            "marked right by the source": summary.num_marked_right,
            "marked wrong, and kept": summary.num_marked_wrong,
            "not among the outcomes": summary.num_without_outcome,
        }
    )
    for name, count in (+marks).items():  # those that are not 0
        counts.add_row(f"  {name}", _with_share(count, summary.num_parsed))
    for reason, count in summary.dropped.most_common():
        counts.add_row(f"dropped: {reason}", _with_share(count, summary.num_read))
    counts.add_row("step examples written", f"{summary.num_examples:,}")
    console.print(counts)
    for title, counter in _details(summary).items():
        listed = ", ".join(f"{name or 'none'} {count:,}" for name, count in counter.most_common())
        if listed:
            console.print(f"{title}: {listed}", highlight=False, markup=False)
    console.print("steps per trajectory:")
    for line in histogram_lines(summary.steps_per_trajectory):
        console.print(line, highlight=False, markup=False)
    # Paths as plain text: a "[draft]" in a file name is no markup, and a path must not be broken over lines.
    console.print(f"examples: {summary.output}", markup=False, highlight=False, soft_wrap=True)
    if summary.report is not None:
        console.print(f"dropped rows: {summary.report}", markup=False, highlight=False, soft_wrap=True)
    elif summary.dropped:
        console.print("Name a file with --report to see the dropped rows by file and line.", soft_wrap=True)
    if summary.num_unread_benchmark_rows:
        console.print(
            f"{summary.num_unread_benchmark_rows} rows of the benchmarks hold no problem and excluded nothing.",
            soft_wrap=True,
        )
    if summary.num_marked_wrong:
        console.print("Leave out what the source marks as wrong with --only-right.", soft_wrap=True)


def _details(summary: DecomposeSummary) -> Mapping[str, Counter[str]]:
    return {"formats": summary.formats, "cut into steps by": summary.splitters, "decided on the way": summary.notes}


def _with_share(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.1f} %)" if total else str(count)
