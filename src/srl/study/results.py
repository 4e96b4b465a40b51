"""A study folder's rows -> tables, curves and facts; written as results.json, results.md and report.html.

results.json holds everything that the other two show, so that a report can be made again from the folder alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from srl.run_dir import write_json, write_text
from srl.study.config import StudyConfig
from srl.study.curves import Curve, make_curves
from srl.study.markdown import to_markdown
from srl.study.plan import RunKey
from srl.study.rows import Row
from srl.study.tables import Table, make_tables
from srl.study.task_data import describe_task

STUDY = "study.json"
"""The study as it was read, beside its rows."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that a study has found."""

    study: StudyConfig
    """The study."""
    rows: dict[RunKey, Row]
    """Its runs."""
    tables: list[Table]
    """Methods x metrics."""
    curves: list[Curve]
    """Learning curves."""
    facts: list[str]
    """Task, budget, seeds, commits and hardware."""


def make_results(study: StudyConfig, rows: Mapping[RunKey, Row], notes: Sequence[str] = ()) -> Results:
    """Tables and curves of rows that may be compared; ``notes`` stand under every table."""
    return Results(
        study=study,
        rows=dict(rows),
        tables=make_tables(study, rows, notes),
        curves=make_curves(study, rows),
        facts=study_facts(study, rows),
    )


def write_results(results: Results) -> list[Path]:
    """Write the files and return their paths."""
    from srl.study.report import render_study  # the page's templates are loaded only when there is a page to write

    folder = Path(results.study.folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("results.json", "results.md", "report.html")]
    write_json(paths[0], _as_json(results))
    write_text(paths[1], to_markdown(results.study, results.tables, results.curves, results.facts))
    write_text(paths[2], render_study(results))
    return paths


def study_facts(study: StudyConfig, rows: Mapping[RunKey, Row]) -> list[str]:
    """What a reader must know to judge or repeat the study."""
    budget = study.budget
    unit = {
        "rollouts": "rollouts (SFT: examples)",
        "tokens": "tokens (sampled, or learned by SFT)",
        "seconds": "seconds of training",
    }
    measured = [row for row in rows.values() if row.status != "failed"]
    facts = [
        describe_task(study.task),
        f"budget of each run: {budget.amount:,.0f} {unit[budget.unit]}",
        f"seeds: {', '.join(map(str, study.seeds))}",
        f"runs: {len(measured)} of {len(study.methods) * len(study.seeds) + 1}, the base included",
    ]
    commits = list(dict.fromkeys(_commit(row.environment) for row in measured if row.environment))
    hardware = list(dict.fromkeys(_hardware(row.environment) for row in measured if row.environment))
    facts += [f"commit: {', '.join(commits)}"] if commits else []
    facts += [f"hardware: {'; '.join(hardware)}"] if hardware else []
    seconds = sum(row.spent.seconds + row.spent.validation_seconds + row.evaluation_seconds for row in measured)
    facts += [f"wall time of all runs: {seconds / 60:,.0f} minutes"] if measured else []
    return facts


def _commit(environment: Mapping[str, Any]) -> str:
    git = environment.get("git")
    if not git:
        return "not recorded"
    return git["commit"][:10] + (" with uncommitted changes" if git.get("dirty") else "")


def _hardware(environment: Mapping[str, Any]) -> str:
    hardware = environment.get("hardware", {})
    return (
        f"{hardware.get('device')}, {hardware.get('cpu_count')} CPU cores, {hardware.get('num_threads')} threads a run"
    )


def _as_json(results: Results) -> dict[str, Any]:
    runs = [
        {
            "method": row.method,
            "seed": row.seed,
            "status": row.status,
            "message": row.message,
            "spent": asdict(row.spent),
            "evaluation_seconds": row.evaluation_seconds,
        }
        for row in results.rows.values()
    ]
    value = {
        "title": results.study.title,
        "facts": results.facts,
        "tables": [asdict(table) for table in results.tables],
        "curves": [asdict(curve) for curve in results.curves],
        "runs": runs,
        "study": asdict(results.study),
    }
    return json.loads(json.dumps(value))
