"""A study in the terminal, at 80 columns: the plan, the runs while they go, and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from srl.study.budget import Spent
from srl.study.config import StudyConfig
from srl.study.grid import Job
from srl.study.grid import Progress as GridProgress
from srl.study.markdown import NO_VALUE, budget_texts, explanation, marks_of
from srl.study.plan import BASE, RunKey
from srl.study.results import Results
from srl.study.rows import Status, read_rows
from srl.study.tables import MethodRow, Table
from srl.study.task_data import describe_task

_STYLES: dict[Status, str] = {"done": "green", "no_signal": "yellow", "failed": "red"}


class GridDisplay:
    """A bar for every run that is going, and a line for every run that has ended."""

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), console=console
        )
        self._total = self._bars.add_task(f"all {len(jobs)} runs", total=len(jobs))
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> GridDisplay:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    @property
    def progress(self) -> GridProgress:
        """What the grid calls."""
        return GridProgress(started=self._start, spent=self._show, ended=self._end)

    def _start(self, job: Job) -> None:
        total = None if job.key.method == BASE else job.study.budget.amount
        self._tasks[job.name] = self._bars.add_task(escape(job.name), total=total)

    def _show(self, job: Job, spent: Spent) -> None:
        budget = job.study.budget
        amount = spent.amount(budget.unit)
        is_trained = job.key.method != BASE and amount >= budget.amount
        name = f"{job.name}, measuring" if is_trained else job.name
        self._bars.update(self._tasks[job.name], completed=min(amount, budget.amount), description=escape(name))

    def _end(self, job: Job, status: Status, message: str, seconds: float) -> None:
        self._bars.remove_task(self._tasks.pop(job.name))
        self._bars.advance(self._total)
        style, text = _STYLES[status], status.replace("_", " ")
        self._console.print(f"{escape(job.name)}: [{style}]{text}[/{style}] after {seconds:.0f} s", highlight=False)
        if message:
            self._console.print(f"  {escape(message)}", highlight=False)


def print_plan(
    study: StudyConfig,
    parts: Sequence[tuple[str, StudyConfig]],
    wanted: Sequence[RunKey],
    jobs: Sequence[Job],
    console: Console,
) -> None:
    """The grid, the budgets, and what is done already."""
    budget = study.budget
    console.print(f"[bold]{escape(study.title)}[/bold]\n{escape(describe_task(study.task))}", highlight=False)
    unit = budget.unit.replace("_", " ")
    console.print(
        f"budget of each run: {budget.amount:,.0f} {unit}, give or take {budget.tolerance:.0%}", highlight=False
    )
    waiting = {(job.cell, job.key) for job in jobs}
    for name, part in parts:
        table = RichTable(title=name or None)
        table.add_column("method")
        table.add_column("stages and their budgets")
        for seed in study.seeds:
            table.add_column(f"seed {seed}", justify="right")
        rows = read_rows(part.folder)
        for method in (BASE, *part.methods):
            keys = [RunKey(method=BASE)] if method == BASE else [RunKey(method=method, seed=s) for s in study.seeds]
            states = [
                rows[key].status.replace("_", " ")
                if key in rows and (name, key) not in waiting
                else "to do"
                if key in wanted
                else NO_VALUE
                for key in keys
            ]
            table.add_row(escape(study.label(method)), _stages(part, method), *states)
        console.print(table)
    console.print(f"{len(jobs)} runs to do", highlight=False)


def print_tables(results: Results, console: Console) -> None:
    """Every table, narrow enough for a terminal."""
    for table in results.tables:
        console.print(_rich_table(table))
        for note in table.notes:
            console.print(f"- {note}", highlight=False, style="dim", markup=False)
    console.print(explanation(results.study), highlight=False, markup=False)


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(title=escape(table.title))
    shown.add_column("method")
    for metric in table.metrics:
        shown.add_column(metric.replace("/", "\n"), justify="right")
    shown.add_column("cost", justify="right")
    for row in table.rows:
        shown.add_row(escape(row.label), *(_cell(row, metric) for metric in table.metrics), _cost(row))
    return shown


def _cell(row: MethodRow, metric: str) -> str:
    cell = row.cells.get(metric)
    if cell is None:
        return "failed" if row.failed and not row.seeds else NO_VALUE
    found = cell.estimate
    return f"{100 * found.mean:.0f}{marks_of(cell)}\n{100 * found.low:.0f}-{100 * found.high:.0f}"


def _cost(row: MethodRow) -> str:
    rollouts, tokens, seconds = budget_texts(row)
    return NO_VALUE if row.spent is None else f"{rollouts}\n{tokens}, {seconds} s"


def _stages(study: StudyConfig, method: str) -> str:
    if method == BASE:
        return NO_VALUE
    shares = study.methods[method].shares or {"all": 1.0}
    return ", ".join(f"{name} {study.budget.amount * share:,.0f}" for name, share in shares.items())
