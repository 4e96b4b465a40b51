"""Rows of a study -> may they be compared, and what must be said with the comparison.

Runs are compared only if they had the same base, the same data and the same budget. ``allow_different`` in the study
file, or ``--allow-different``, lifts one of the three, and then every table says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srl.errors import ConfigError
from srl.study.config import Kind, StudyConfig
from srl.study.plan import BASE, RunKey
from srl.study.rows import Row, row_path, setting_differences, show_differences

LIFTED: tuple[Kind, ...] = ("budget", "data", "base")
"""What may be allowed to differ."""
_UNITS = {"rollouts": "rollouts", "tokens": "tokens", "seconds": "seconds of training"}


def check_settings(
    study: StudyConfig, rows: Mapping[RunKey, Row], expected: Mapping[RunKey, Mapping[str, Any]], allow: Sequence[Kind]
) -> list[str]:
    """What must be said about rows of other settings than the study's. Raises ConfigError for what is not allowed."""
    refused: list[str] = []
    notes: list[str] = []
    for key, row in rows.items():
        if row.status == "failed":  # has no result, and is run again
            continue
        for kind, lines in setting_differences(row.settings, expected[key]).items():
            text = f"{key.name} was made with another {kind}: {show_differences(lines)}"
            (notes if kind in allow else refused).append(text)
    if refused:
        paths = sorted(
            {str(row_path(study.folder, key)) for key in rows if any(t.startswith(f"{key.name} ") for t in refused)}
        )
        raise ConfigError(
            "the study file no longer fits rows that it has. "
            + "\n".join(refused)
            + "\nChange it back, choose another folder, or let these be done again with "
            + f"--again {' '.join(sorted({key.method for key in rows if str(row_path(study.folder, key)) in paths}))}"
            + (
                ". A different budget, data or base can be allowed: --allow-different"
                if _can_be_allowed(refused)
                else ""
            )
        )
    return notes


def check_budgets(study: StudyConfig, rows: Mapping[RunKey, Row], allow: Sequence[Kind]) -> list[str]:
    """What must be said about runs that spent more or less than the budget. Raises ConfigError if not allowed.

    A run without a signal to learn from ends early, and that is its result: it is left out here and marked in tables.
    """
    budget = study.budget
    unit = _UNITS[budget.unit]
    off: list[str] = []
    for key, row in rows.items():
        if key.method == BASE or row.status != "done":
            continue
        spent = row.spent.amount(budget.unit)
        if abs(spent - budget.amount) > budget.tolerance * budget.amount:
            off.append(f"{key.name} spent {spent:,.0f} {unit}")
    if off and "budget" not in allow:
        raise ConfigError(
            f"runs are not compared whose budgets differ. The budget is {budget.amount:,.0f} {unit}, give or take "
            f"{budget.tolerance:.0%}, but {show_differences(off)}. Choose another unit or a larger budget, raise "
            'budget.tolerance, or compare all the same: allow_different = ["budget"]'
        )
    return [f"budgets differ: {show_differences(off)}; the budget is {budget.amount:,.0f} {unit}"] if off else []


def _can_be_allowed(refused: Sequence[str]) -> bool:
    return all(any(f"another {kind}:" in text for kind in LIFTED) for text in refused)
