"""Rows of a map's cells -> who wins where: a table, a heat map and one page.

A cell is won by the method with the highest rate. The win is clear where its paired difference to the second best is
significant, and it is shown paler where it is not, or where no method is better than the base.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten

from markupsafe import Markup
from rich.console import Console

from srl.run_dir import write_json, write_text
from srl.study.chart import Tile, heat_map
from srl.study.config import StudyConfig
from srl.study.map import Cell, cells, map_methods
from srl.study.markdown import NO_VALUE
from srl.study.plan import BASE, RunKey
from srl.study.results import study_facts
from srl.study.rows import Row
from srl.study.statistics import Difference, Estimate, estimate_rate
from srl.study.tables import SIGNIFICANT, compare, values_of

_MAX_LABEL = 26
"""Characters of a method's name that fit into a cell."""


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """One cell."""

    cell: Cell
    """Its place."""
    base: Estimate | None
    """The base's rate; None before it is measured."""
    rates: dict[str, Estimate]
    """The methods' rates, the best first."""
    lead: Difference | None
    """Of the best over the second best; None with fewer than two."""
    gain: Difference | None
    """Of the best over the base."""

    @property
    def winner(self) -> str:
        """The best method, "" before one is measured."""
        return next(iter(self.rates), "")

    @property
    def is_clear(self) -> bool:
        """Whether the best is significantly better than the second best."""
        return self.lead is not None and self.lead.p < SIGNIFICANT

    @property
    def is_gain(self) -> bool:
        """Whether the best is significantly better than the base."""
        return self.gain is not None and self.gain.p < SIGNIFICANT and self.gain.mean > 0


def judge_cell(study: StudyConfig, cell: Cell, rows: Mapping[RunKey, Row], metric: str) -> CellResult:
    """Who wins a cell."""
    values = {
        method: values_of([row for key, row in sorted(rows.items()) if key.method == method and row.outcomes], metric)
        for method in (BASE, *map_methods(study))
    }
    rates = {method: estimate_rate(_matrix(found)) for method, found in values.items() if found}
    base = rates.pop(BASE, None)
    ranked = dict(sorted(rates.items(), key=lambda item: -item[1].mean))
    best = list(ranked)[:2]
    return CellResult(
        cell=cell,
        base=base,
        rates=ranked,
        lead=compare(values[best[0]], values[best[1]]) if len(best) == 2 else None,
        gain=compare(values[best[0]], values[BASE]) if best and values[BASE] else None,
    )


def write_map(
    study: StudyConfig,
    parts: Mapping[str, StudyConfig],
    rows: Mapping[str, Mapping[RunKey, Row]],
    notes: Mapping[str, Sequence[str]],
    console: Console | None,
) -> list[Path]:
    """Write results.json, results.md and report.html of a map; returns their paths."""
    from srl.study.report import MapView, render_page, run_views

    if study.map is None:
        raise ValueError("the study has no map")
    metric = study.map.metric
    found = [judge_cell(study, cell, rows[cell.name], metric) for cell in cells(study)]
    everything = {RunKey(method=f"{name} {key.name}"): row for name, part in rows.items() for key, row in part.items()}
    facts = [
        f"map of the embedded task {study.task.name}, by {metric}",
        *study_facts(study, everything)[1:3],
        *study_facts(study, everything)[4:],
    ]
    said = [f"{name}: {note}" for name, lines in notes.items() for note in lines] + _run_notes(everything)
    table = map_table(study, found)
    if console is not None:
        console.print(table, highlight=False, markup=False, soft_wrap=True)
    folder = Path(study.folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("results.json", "results.md", "report.html")]
    value = {"title": study.title, "facts": facts, "metric": metric, "cells": [asdict(cell) for cell in found]}
    write_json(paths[0], json.loads(json.dumps(value | {"notes": said, "study": asdict(study)})))
    lead = _lead(metric)
    lines = [f"# {study.title}", "\n".join(f"- {fact}" for fact in facts), lead, table]
    write_text(paths[1], "\n\n".join([*lines, "\n".join(f"- {note}" for note in said)]) + "\n")
    view = MapView(lead=lead, drawing=draw_map(study, found), notes=tuple(said))
    page = render_page(
        title=study.title,
        facts=facts,
        explanation="",
        tables=[],
        figures=[],
        keys=[],
        runs=run_views([(key.method, row) for key, row in everything.items()]),
        map=view,
    )
    write_text(paths[2], page)
    return paths


def map_table(study: StudyConfig, found: Sequence[CellResult]) -> str:
    """Rows are bases by their pass rate, columns numbers of trajectories; a cell lists the methods, the best first."""
    if study.map is None:
        raise ValueError("the study has no map")
    columns = study.map.num_train
    lines = [
        "| base, pass rate | " + " | ".join(f"{number} trajectories" for number in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for line in _lines(found):
        lines.append("| " + " | ".join([_row_label(line), *(_cell_text(study, result) for result in line)]) + " |")
    return "\n".join(lines)


def draw_map(study: StudyConfig, found: Sequence[CellResult]) -> Markup:
    """The heat map."""
    from srl.study.report import method_colours

    if study.map is None:
        raise ValueError("the study has no map")
    colours = method_colours(list(study.methods))
    lines = _lines(found)
    return heat_map(
        [[_tile(study, item, colours) for item in line] for line in lines],
        rows=[_row_label(line) for line in lines],
        columns=[str(number) for number in study.map.num_train],
        row_title="pass rate of the base",
        column_title="expert trajectories",
        description="Who wins where: " + map_table(study, found),
    )


def _lines(found: Sequence[CellResult]) -> list[list[CellResult]]:
    """The cells base by base."""
    bases = dict.fromkeys(item.cell.careless for item in found)
    return [[item for item in found if item.cell.careless == careless] for careless in bases]


def _tile(study: StudyConfig, item: CellResult, colours: Mapping[str, int]) -> Tile:
    if not item.winner:
        return Tile(title=NO_VALUE, text="not run yet", colour=0, strength=0.0)
    best = next(iter(item.rates.values()))
    if not item.is_gain:
        base = "" if item.base is None else f", base {100 * item.base.mean:.0f} %"
        return Tile(title="none beats the base", text=f"best {100 * best.mean:.0f} %{base}", colour=0, strength=0.0)
    lead = "" if item.lead is None else f", {100 * item.lead.mean:+.0f} to the next"
    return Tile(
        title=shorten(study.label(item.winner), _MAX_LABEL, placeholder=" ..."),
        text=f"{100 * best.mean:.0f} %{lead}",
        colour=colours[item.winner],
        strength=0.7 if item.is_clear else 0.28,
    )


def _row_label(line: Sequence[CellResult]) -> str:
    measured = [item.base.mean for item in line if item.base is not None]
    if not measured:
        return f"careless {line[0].cell.careless:g}"
    return f"{100 * sum(measured) / len(measured):.0f} % (careless {line[0].cell.careless:g})"


def _cell_text(study: StudyConfig, item: CellResult) -> str:
    if not item.winner:
        return NO_VALUE
    ranked = [f"{study.label(method)} {100 * found.mean:.0f}" for method, found in item.rates.items()]
    mark = "**" if item.is_clear and item.is_gain else ""
    return f"{mark}{ranked[0]}{mark}" + "".join(f", {text}" for text in ranked[1:])


def _run_notes(rows: Mapping[RunKey, Row]) -> list[str]:
    failed = [key.method for key, row in rows.items() if row.status == "failed"]
    no_signal = [key.method for key, row in rows.items() if row.status == "no_signal"]
    notes = [f"failed, and not in the numbers: {', '.join(failed)}"] if failed else []
    return notes + ([f"ended early without a signal to learn from: {', '.join(no_signal)}"] if no_signal else [])


def _lead(metric: str) -> str:
    return (
        f"By {metric}, in per cent. A cell names the method with the highest rate; full colour (bold) where it is "
        "significantly better than the second best, pale where it is not, and none where it is not better than the "
        "base. P-values are not corrected for the number of cells."
    )


def _matrix(values: Mapping[str, list[float]]) -> list[list[float]]:
    return [list(row) for row in zip(*values.values(), strict=True)]
