"""Tables of a study -> results.md."""

from __future__ import annotations

from collections.abc import Sequence

from srl.study.config import StudyConfig
from srl.study.curves import MEASURES, SPENDINGS, Curve
from srl.study.tables import Cell, Comparison, MethodRow, Table

BETTER_THAN_BASE, WORSE_THAN_BASE = "▲", "▼"
BETTER_THAN_METHOD, WORSE_THAN_METHOD = "△", "▽"
NO_VALUE = "–"


def to_markdown(study: StudyConfig, tables: Sequence[Table], curves: Sequence[Curve], facts: Sequence[str]) -> str:
    """The whole file."""
    parts = [f"# {study.title}", "\n".join(f"- {fact}" for fact in facts), explanation(study)]
    for table in tables:
        parts += [f"## {table.title}", markdown_table(table), _notes(table.notes), _differences(study, table)]
    if curves:
        parts += ["## Learning curves", *_curve_tables(curves)]
    return "\n\n".join(part for part in parts if part) + "\n"


def explanation(study: StudyConfig) -> str:
    """What the numbers and marks mean."""
    other = study.label(study.compare_with) if study.compare_with in study.methods else ""
    marks = f"{BETTER_THAN_BASE} better, {WORSE_THAN_BASE} worse than the base"
    if other:
        marks += f"; {BETTER_THAN_METHOD} better, {WORSE_THAN_METHOD} worse than {other}"
    return (
        "In per cent, with 95 % intervals over seeds and problems. "
        f"{marks}: paired over the same problems, p < 0.05 after Holm's correction within the table."
    )


def markdown_table(table: Table) -> str:
    """Methods x metrics, and what training has cost."""
    heading = ["method", *table.metrics, "seeds", "rollouts", "tokens", "seconds"]
    lines = [_line(heading), _line(["---"] + ["---:"] * (len(heading) - 1))]
    for row in table.rows:
        cells = [cell_text(row, metric) for metric in table.metrics]
        lines.append(_line([row.label, *cells, seeds_text(row), *budget_texts(row)]))
    return "\n".join(lines)


def cell_text(row: MethodRow, metric: str) -> str:
    """Mean, interval and marks."""
    cell = row.cells.get(metric)
    if cell is None:
        return "failed" if row.failed and not row.seeds else NO_VALUE
    estimate = cell.estimate
    shown = f"{100 * estimate.mean:.1f} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
    return f"{shown} {marks_of(cell)}".strip()


def marks_of(cell: Cell) -> str:
    """Which differences are significant."""
    marks = {
        (True, 1): BETTER_THAN_BASE, (True, -1): WORSE_THAN_BASE,
        (False, 1): BETTER_THAN_METHOD, (False, -1): WORSE_THAN_METHOD,
    }  # fmt: skip
    found = [(True, cell.against_base), (False, cell.against_method)]
    return "".join(marks.get((is_base, item.sign), "") for is_base, item in found if item is not None)


def seeds_text(row: MethodRow) -> str:
    """How many runs are in the numbers, of how many, and how many of them had no signal."""
    if row.spent is None and not row.failed and row.num_wanted == 1:
        return NO_VALUE
    text = f"{len(row.seeds)}" if len(row.seeds) == row.num_wanted else f"{len(row.seeds)} of {row.num_wanted}"
    more = [f"{len(row.failed)} failed"] if row.failed else []
    more += [f"{len(row.no_signal)} without signal"] if row.no_signal else []
    return text + (f" ({', '.join(more)})" if more else "")


def budget_texts(row: MethodRow) -> list[str]:
    """Rollouts, tokens and seconds, means over the runs."""
    if row.spent is None:
        return [NO_VALUE] * 3
    spent = row.spent
    tokens = spent.tokens
    shown = f"{tokens / 1e6:.2f} M" if tokens >= 1e6 else f"{tokens / 1e3:,.0f} k"
    return [f"{spent.rollouts:,.0f}", shown, f"{spent.seconds:,.0f}"]


def comparison_text(comparison: Comparison | None) -> str:
    """Difference, interval and corrected p."""
    if comparison is None:
        return NO_VALUE
    found = comparison.difference
    p = "p < 0.001" if comparison.p_corrected < 0.001 else f"p = {comparison.p_corrected:.3f}"
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.0f}, {100 * found.high:+.0f}], {p}"


def _notes(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)


def _differences(study: StudyConfig, table: Table) -> str:
    """Every paired difference, in points, with Holm's p."""
    parts: list[str] = []
    for name, reference in (("against_base", "base"), ("against_method", study.compare_with)):
        rows = [row for row in table.rows if any(getattr(cell, name) is not None for cell in row.cells.values())]
        if not rows:
            continue
        lines = [_line(["method", *table.metrics]), _line(["---"] + ["---:"] * len(table.metrics))]
        for row in rows:
            texts = [
                comparison_text(getattr(row.cells[metric], name) if metric in row.cells else None)
                for metric in table.metrics
            ]
            lines.append(_line([row.label, *texts]))
        label = study.label(reference) if reference in (*study.methods, "base") else reference
        parts.append(f"Difference to {label}, in points:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _curve_tables(curves: Sequence[Curve]) -> list[str]:
    """A few points of every curve; results.json has all of them."""
    parts: list[str] = []
    for measure, measured in MEASURES.items():
        for spending, spent in SPENDINGS.items():
            chosen = [curve for curve in curves if (curve.measure, curve.spending) == (measure, spending)]
            if not chosen:
                continue
            lines = [_line(["method", "start", "25 %", "50 %", "75 %", "end", f"{spending} at the end"])]
            lines.append(_line(["---"] + ["---:"] * 6))
            for curve in chosen:
                places = [round(part * (len(curve.points) - 1) / 4) for part in range(5)]
                values = [
                    f"{100 * curve.points[place][1]:.0f} ± {100 * curve.points[place][2]:.0f}" for place in places
                ]
                lines.append(_line([curve.label, *values, f"{curve.points[-1][0]:,.0f}"]))
            parts.append(f"{measured.capitalize()}, in per cent, over {spent}:\n\n" + "\n".join(lines))
    return parts


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
