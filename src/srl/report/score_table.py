"""Scores -> the columns and rows of the score table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from srl.report.charts import interval_plot
from srl.report.text import percent
from srl.saved_run.records import SavedScore


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreColumn:
    """One score."""

    name: str
    """For instance "steps/greedy"."""
    counts: str
    """What it was measured on: one text, or one for each model where they differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreCell:
    """One score of one model."""

    value: str
    """The estimate."""
    interval: str
    """The 95 % interval."""
    plot: Markup
    """Both drawn."""


def score_columns(scores: Mapping[str, Sequence[SavedScore]]) -> list[ScoreColumn]:
    """Every score that any model has, in the order of their first appearance."""
    counts: dict[str, dict[str, str]] = {}
    for model, entries in scores.items():
        for entry in entries:
            counts.setdefault(entry.name, {})[model] = _counts(entry)
    columns: list[ScoreColumn] = []
    for name, by_model in counts.items():
        texts = list(dict.fromkeys(by_model.values()))
        shared = texts[0] if len(texts) == 1 else "; ".join(f"{model}: {text}" for model, text in by_model.items())
        columns.append(ScoreColumn(name=name, counts=shared))
    return columns


def score_rows(scores: Mapping[str, Sequence[SavedScore]]) -> list[tuple[str, list[ScoreCell | None]]]:
    """(model, one cell per column); the first model that has a score is what the others are compared with."""
    references: dict[str, float] = {}
    for entries in scores.values():
        for entry in entries:
            references.setdefault(entry.name, entry.value)
    rows: list[tuple[str, list[ScoreCell | None]]] = []
    for model, entries in scores.items():
        by_name = {entry.name: _cell(model, entry, references[entry.name]) for entry in entries}
        rows.append((model, [by_name.get(name) for name in references]))
    return rows


def _cell(model: str, score: SavedScore, reference: float) -> ScoreCell:
    interval = f"{percent(score.low).removesuffix(' %')} to {percent(score.high)}"
    description = f"{score.name} of {model}: {percent(score.value)}, 95 % interval {interval}"
    plot = interval_plot(score.value, score.low, score.high, reference=reference, description=description)
    return ScoreCell(value=percent(score.value), interval=interval, plot=plot)


def _counts(score: SavedScore) -> str:
    problems = f"{score.num_problems:,} problems" if score.num_problems is not None else ""
    samples = f"{score.num_samples:,} samples" if score.num_samples is not None else ""
    return ", ".join(filter(None, (problems, samples))) or "counts not recorded"
