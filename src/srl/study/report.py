"""Results of a study -> report.html: tables, learning curves and, for a map, who wins where; one page, offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from markupsafe import Markup

from srl.report.charts import Axis, Series, interval_plot, line_chart
from srl.report.html import csp_hash, template_engine, template_file
from srl.report.svg import drawing, tag
from srl.report.text import percent
from srl.study.curves import MEASURES, SPENDINGS, Curve
from srl.study.markdown import NO_VALUE, budget_texts, cell_text, comparison_text, explanation, marks_of, seeds_text
from srl.study.plan import run_keys
from srl.study.results import Results
from srl.study.rows import Row
from srl.study.tables import MethodRow, Table

_NUM_COLOURS = 12
_THOUSAND = 1000.0


@dataclass(frozen=True, kw_only=True)
class MapView:
    """A map, ready to print."""

    lead: str
    """What it shows."""
    drawing: Markup
    """The heat map."""
    notes: tuple[str, ...]
    """What must be said with it."""


@dataclass(frozen=True, kw_only=True)
class _CellView:
    value: str
    interval: str = ""
    marks: str = ""
    plot: Markup | None = None


@dataclass(frozen=True, kw_only=True)
class _RowView:
    label: str
    seeds: str
    cells: list[_CellView]
    costs: list[str]


@dataclass(frozen=True, kw_only=True)
class _TableView:
    anchor: str
    table: Table
    rows: list[_RowView]
    comparisons: list[tuple[str, list[tuple[str, list[str]]]]]


@dataclass(frozen=True, kw_only=True)
class _Figure:
    title: str
    drawing: Markup


def render_study(results: Results) -> str:
    """The page of a study as text."""
    colours = method_colours(list(results.study.methods))
    drawn = list(dict.fromkeys(curve.method for curve in results.curves))
    return render_page(
        title=results.study.title,
        facts=results.facts,
        explanation=explanation(results.study),
        tables=[_table_view(results, table) for table in results.tables],
        figures=_figures(results.curves, list(results.study.methods)),
        keys=[(_colour_key(colours[method]), results.study.label(method)) for method in drawn],
        runs=[_run_view(results.rows[key]) for key in run_keys(results.study) if key in results.rows],
        map=None,
    )


def render_page(**values: Any) -> str:
    """The template with the page's own style and script."""
    style = template_file("page.css") + _own_file("study.css")
    script = template_file("page.js")
    return (
        template_engine(_own_file)
        .get_template("study.html.jinja")
        .render(
            **values,
            style=Markup(style),  # our own files, the only texts that are not escaped
            script=Markup(script),
            style_hash=csp_hash(style),
            script_hash=csp_hash(script),
        )
    )


def method_colours(methods: Sequence[str]) -> dict[str, int]:
    """The number of each method's colour, from 1."""
    return {method: index % _NUM_COLOURS + 1 for index, method in enumerate(methods)}


def run_views(rows: Sequence[tuple[str, Row]]) -> list[dict[str, str]]:
    """Named rows as the list of runs shows them."""
    return [_run_view(row, name) for name, row in rows]


def _table_view(results: Results, table: Table) -> _TableView:
    base = table.rows[0]
    comparisons: list[tuple[str, list[tuple[str, list[str]]]]] = []
    for name, reference in (("against_base", "the base"), ("against_method", results.study.compare_with)):
        rows = [row for row in table.rows if any(getattr(cell, name) is not None for cell in row.cells.values())]
        if rows:
            label = results.study.label(reference) if reference in results.study.methods else reference
            lines = [
                (
                    row.label,
                    [
                        comparison_text(getattr(row.cells[metric], name) if metric in row.cells else None)
                        for metric in table.metrics
                    ],
                )
                for row in rows
            ]
            comparisons.append((f"Differences to {label} in points, with 95 % intervals and Holm's p", lines))
    return _TableView(
        anchor=f"table-{table.name}",
        table=table,
        rows=[_row_view(row, base, table.metrics) for row in table.rows],
        comparisons=comparisons,
    )


def _row_view(row: MethodRow, base: MethodRow, metrics: Sequence[str]) -> _RowView:
    costs = budget_texts(row)
    labels = ("rollouts", "tokens", "s")
    seeds = seeds_text(row)
    return _RowView(
        label=row.label,
        seeds="" if seeds == NO_VALUE else seeds.replace(" (", " seeds (") if "(" in seeds else f"{seeds} seeds",
        cells=[_cell_view(row, base, metric) for metric in metrics],
        costs=[f"{cost} {label}" for cost, label in zip(costs, labels, strict=True)] if row.spent else [NO_VALUE],
    )


def _cell_view(row: MethodRow, base: MethodRow, metric: str) -> _CellView:
    cell = row.cells.get(metric)
    if cell is None:
        return _CellView(value=cell_text(row, metric))
    found, reference = cell.estimate, base.cells.get(metric)
    interval = f"{100 * found.low:.0f} to {100 * found.high:.0f}"
    plot = interval_plot(
        found.mean,
        found.low,
        found.high,
        reference=reference.estimate.mean if reference else None,
        description=f"{metric} of {row.label}: {percent(found.mean)}, 95 % interval {interval}",
    )
    return _CellView(value=percent(found.mean), interval=interval, marks=marks_of(cell), plot=plot)


def _figures(curves: Sequence[Curve], methods: Sequence[str]) -> list[_Figure]:
    figures: list[_Figure] = []
    for measure, measured in MEASURES.items():
        for spending, spent in SPENDINGS.items():
            chosen = {c.method: c for c in curves if (c.measure, c.spending) == (measure, spending)}
            if not chosen:
                continue
            unit = _THOUSAND if spending == "tokens" else 1.0
            lines = [_series(chosen.get(method), unit) for method in methods]  # without a curve, too: a colour each
            label = f"thousand {spent}" if spending == "tokens" else spent
            figures.append(
                _Figure(
                    title=f"{measured.capitalize()}, over {spending}",
                    drawing=line_chart(
                        lines,
                        axis=Axis(label="solved", is_rate=True, low=0.0),
                        x_label=label,
                        description=f"{measured} over {spent}: "
                        + "; ".join(f"{c.label} ends at {percent(c.points[-1][1])}" for c in chosen.values()),
                    ),
                )
            )
    return figures


def _series(curve: Curve | None, unit: float) -> Series:
    if curve is None:
        return Series(label="", points=())
    has_band = curve.num_seeds > 1
    return Series(
        label=curve.label,
        points=tuple((x / unit, y) for x, y, _ in curve.points),
        spread=tuple(half for _, _, half in curve.points) if has_band else (),
    )


def _colour_key(colour: int) -> Markup:
    line = tag("line", x1=0, x2=26, y1=5, y2=5, class_=f"line s{colour}")
    return drawing(26, 10, [line], "key", "")


def _run_view(row: Row, name: str = "") -> dict[str, str]:
    spent = row.spent
    return {
        "name": name or row.key.name,
        "status": row.status,
        "rollouts": f"{spent.rollouts:,.0f}",
        "tokens": f"{spent.tokens:,.0f}",
        "seconds": f"{spent.seconds:,.0f}",
        "evaluation": f"{row.evaluation_seconds:,.0f}",
        "message": row.message,
    }


def _own_file(name: str) -> str:
    return resources.files("srl.study").joinpath("templates", name).read_text(encoding="utf-8")
