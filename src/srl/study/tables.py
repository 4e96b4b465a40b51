"""Rows -> the tables of a study: methods x metrics with intervals, and paired differences to two references.

P-values are corrected by Holm's method within a table, for each reference: over all its methods and metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from srl.study.budget import Spent
from srl.study.config import StudyConfig, TableConfig
from srl.study.plan import BASE, RunKey
from srl.study.rows import Row
from srl.study.statistics import Difference, Estimate, estimate_difference, estimate_rate, holm

SIGNIFICANT = 0.05
"""A corrected p-value below this is marked."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method against a reference."""

    difference: Difference
    """How much higher the method's rate is."""
    p_corrected: float
    """After Holm's correction."""

    @property
    def sign(self) -> int:
        """1 for significantly better, -1 for worse, 0 for neither."""
        if self.p_corrected >= SIGNIFICANT:
            return 0
        return 1 if self.difference.mean > 0 else -1


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One metric of one method."""

    estimate: Estimate
    """Its rate."""
    against_base: Comparison | None = None
    """Against the base; None for the base itself, or without it."""
    against_method: Comparison | None = None
    """Against the study's ``compare_with``; None for itself, or without it."""


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """One method."""

    method: str
    """Its key."""
    label: str
    """Its name."""
    seeds: tuple[int, ...]
    """Seeds whose runs are measured."""
    num_wanted: int
    """Runs that the study asks for."""
    failed: tuple[int, ...]
    """Seeds whose runs have failed."""
    no_signal: tuple[int, ...]
    """Seeds whose runs ended early because nothing had a signal to learn from."""
    spent: Spent | None
    """Mean over the measured runs; None for the base and without one."""
    cells: dict[str, Cell]
    """By metric; {} without a measured run."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table."""

    name: str
    """Its key."""
    title: str
    """Heading."""
    metrics: tuple[str, ...]
    """Columns."""
    rows: tuple[MethodRow, ...]
    """The base first."""
    notes: tuple[str, ...]
    """What must be said with it."""


def make_tables(study: StudyConfig, rows: Mapping[RunKey, Row], notes: Sequence[str] = ()) -> list[Table]:
    """All tables of the study; ``notes`` are put under each of them."""
    known = metrics_of(rows)
    plain = TableConfig(title=study.title, methods=tuple(study.methods))
    return [
        _make_table(study, name, table, table.metrics or known, rows, notes)
        for name, table in (study.tables or {"main": plain}).items()
    ]


def metrics_of(rows: Mapping[RunKey, Row]) -> tuple[str, ...]:
    """Every metric that any row has, in the order of their first appearance."""
    return tuple(dict.fromkeys(metric for row in rows.values() for metric in row.outcomes))


def values_of(rows: Sequence[Row], metric: str) -> dict[str, list[float]]:
    """Problem -> the share of right samples by run, for the problems that all runs have."""
    by_run = [row.outcomes.get(metric, {}) for row in rows]
    shared = [problem for problem in by_run[0] if all(run.get(problem) for run in by_run)] if by_run else []
    return {problem: [fmean(run[problem]) for run in by_run] for problem in shared}


def compare(first: Mapping[str, list[float]], second: Mapping[str, list[float]]) -> Difference | None:
    """The difference on the problems that both have; None without one."""
    shared = [problem for problem in first if problem in second]
    if not shared:
        return None
    return estimate_difference(_matrix(first, shared), _matrix(second, shared))


def _make_table(
    study: StudyConfig,
    name: str,
    table: TableConfig,
    metrics: Sequence[str],
    rows: Mapping[RunKey, Row],
    notes: Sequence[str],
) -> Table:
    methods = [BASE, *table.methods]
    measured = {
        method: [row for key, row in sorted(rows.items()) if key.method == method and row.status != "failed"]
        for method in [*methods, study.compare_with]
    }
    values = {(method, metric): values_of(found, metric) for method, found in measured.items() for metric in metrics}
    against = {
        reference: _compare_all(values, table.methods, metrics, reference) for reference in (BASE, study.compare_with)
    }
    made = [
        replace(
            _describe_runs(study, method, rows, measured[method]),
            cells={
                metric: Cell(
                    estimate=estimate_rate(_matrix(found, list(found))),
                    against_base=against[BASE].get((method, metric)),
                    against_method=against[study.compare_with].get((method, metric)),
                )
                for metric in metrics
                if (found := values[method, metric])
            },
        )
        for method in methods
    ]
    return Table(
        name=name,
        title=table.title,
        metrics=tuple(metrics),
        rows=tuple(made),
        notes=(*notes, *_run_notes(study, made, table)),
    )


def _compare_all(
    values: Mapping[tuple[str, str], Mapping[str, list[float]]],
    methods: Sequence[str],
    metrics: Sequence[str],
    reference: str,
) -> dict[tuple[str, str], Comparison]:
    """Every method and metric against one reference, corrected for their number."""
    found = {
        (method, metric): difference
        for method in methods
        for metric in metrics
        if method != reference
        and (difference := compare(values[method, metric], values[reference, metric])) is not None
    }
    corrected = holm([difference.p for difference in found.values()])
    return {
        place: Comparison(difference=difference, p_corrected=p)
        for (place, difference), p in zip(found.items(), corrected, strict=True)
    }


def _describe_runs(study: StudyConfig, method: str, rows: Mapping[RunKey, Row], measured: Sequence[Row]) -> MethodRow:
    wanted = {0} if method == BASE else set(study.seeds)
    failed = tuple(key.seed for key, row in sorted(rows.items()) if key.method == method and row.status == "failed")
    return MethodRow(
        method=method,
        label=study.label(method),
        seeds=tuple(row.seed for row in measured),
        num_wanted=len(wanted),
        failed=failed,
        no_signal=tuple(row.seed for row in measured if row.status == "no_signal"),
        spent=None if method == BASE or not measured else _mean_spent([row.spent for row in measured]),
        cells={},
    )


def _mean_spent(spent: Sequence[Spent]) -> Spent:
    names = ("rollouts", "sampled_tokens", "learned_tokens", "seconds", "validation_seconds")
    return replace(spent[0], **{name: fmean(getattr(item, name) for item in spent) for name in names})


def _run_notes(study: StudyConfig, rows: Sequence[MethodRow], table: TableConfig) -> list[str]:
    """What stands under the table about its runs."""
    notes: list[str] = []
    trained = [row for row in rows if row.method != BASE]
    single = [row.label for row in trained if len(row.seeds) == 1]
    if single:
        notes.append(
            f"one seed: the interval is over problems alone, and says nothing of other seeds: {', '.join(single)}"
        )
    for row in trained:
        if row.failed:
            notes.append(f"{row.label}: the runs of seeds {_listed(row.failed)} failed and are not in the numbers")
        if row.no_signal:
            notes.append(
                f"{row.label}: the runs of seeds {_listed(row.no_signal)} ended early, because nothing they sampled "
                "had a signal to learn from; what they had learnt until then is measured"
            )
        if len(row.seeds) + len(row.failed) < row.num_wanted:
            notes.append(f"{row.label}: {len(row.seeds)} of {row.num_wanted} runs are done")
    traces = [study.label(method) for method in table.methods if study.methods[method].traces]
    if traces:
        notes.append(f"trained on the text of an expert who thinks aloud: {', '.join(traces)}")
    return notes


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _matrix(values: Mapping[str, list[float]], problems: Sequence[str]) -> list[list[float]]:
    """values[s][p] of these problems."""
    return [list(row) for row in zip(*(values[problem] for problem in problems), strict=True)]
