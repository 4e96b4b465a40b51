"""What became of the rows, what it cost, and both as a table of 80 columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(kw_only=True, slots=True)
class RewriteSummary:
    """Counts of one run, filled while it goes on. Every row read is counted in exactly one place."""

    num_read: int = 0
    """Rows read, blank lines not counted."""
    unreadable: Counter[str] = field(default_factory=Counter[str])
    """Rows without a usable problem and solution, by drop reason."""
    left_alone: Counter[str] = field(default_factory=Counter[str])
    """Rows that are not rewritten: agents' logs, and solutions that fall into steps by themselves."""
    num_accepted: int = 0
    """Rows rewritten and written to the output."""
    num_repaired: int = 0
    """Of these, accepted at the second try."""
    num_without_answer: int = 0
    """Of these, without a final answer to compare with."""
    rejected: Counter[str] = field(default_factory=Counter[str])
    """Rows whose second try failed as well, by reason of the last failure."""
    failed: Counter[str] = field(default_factory=Counter[str])
    """Rows for which no answer came, by reason. The next run asks again."""
    not_asked: Counter[str] = field(default_factory=Counter[str])
    """Rows that were left for the next run, by what stopped this one."""
    num_answers: int = 0
    """Answers received in this run."""
    num_estimated: int = 0
    """Of these, without token counts from the endpoint."""
    retries: Counter[str] = field(default_factory=Counter[str])
    """Attempts that were tried again, by reason."""
    prompt_tokens: int = 0
    """Of the answers of this run."""
    completion_tokens: int = 0
    """Of the answers of this run."""
    cost: float = 0.0
    """USD for the answers of this run."""
    total_cost: float = 0.0
    """USD for all answers in the journal, and for attempts of this run whose answer was lost."""

    @property
    def num_left_out(self) -> int:
        """Rows that were to be rewritten and were not; those that ``--limit`` keeps for later were not to be."""
        return self.rejected.total() + self.failed.total() + self.not_asked.total() - self.not_asked["limit"]


def print_summary(summary: RewriteSummary, console: Console, *, has_prices: bool) -> None:
    """The summary as a table that fits into 80 columns."""
    table = Table(title="Rewritten", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows read", str(summary.num_read))
    add_counts(table, "cannot be used", summary.unreadable)
    add_counts(table, "left as they are", summary.left_alone)
    table.add_row("rewritten", str(summary.num_accepted))
    table.add_row("  of these at the second try", str(summary.num_repaired))
    table.add_row("  of these without a final answer to check", str(summary.num_without_answer))
    add_counts(table, "rejected", summary.rejected)
    add_counts(table, "no answer from the server", summary.failed)
    add_counts(table, "not asked in this run", summary.not_asked)
    table.add_section()
    table.add_row("answers received", str(summary.num_answers))
    add_counts(table, "attempts tried again", summary.retries)
    table.add_row("prompt tokens", f"{summary.prompt_tokens:,}")
    table.add_row("completion tokens", f"{summary.completion_tokens:,}")
    if summary.num_estimated:
        table.add_row("  answers without token counts (estimated)", str(summary.num_estimated))
    if has_prices:
        table.add_row("cost of this run", f"${summary.cost:.4f}")
        table.add_row("cost of this output so far", f"${summary.total_cost:.4f}")
    console.print(table)


def add_counts(table: Table, what: str, counts: Counter[str]) -> None:
    """One row for each reason, the most frequent first."""
    for reason, count in counts.most_common():
        table.add_row(f"{what}: {reason}", str(count))
