"""Run folder -> a ``Run``.

Reading is total: whatever the files hold, the result is a ``Run`` and a list of notes on what is missing or broken, so
that a run that is still writing, was killed, or comes from another version still gives a page. Only a folder that
holds no run at all is an error. The decision a reader would question: when a stage and update stand in
``metrics.jsonl`` more than once (a run resumed from an earlier checkpoint), the later line wins, key by key.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from srl.errors import RunDirError
from srl.run_dir import METRICS, WARNINGS
from srl.saved_run.groups import rollout_files
from srl.saved_run.json_files import (
    JsonObject,
    as_count,
    as_list,
    as_number,
    as_object,
    as_text,
    read_lines,
    read_object,
)
from srl.saved_run.records import Run, SavedScore, SavedWarning

_T = TypeVar("_T")


def load_run(run_dir: Path) -> Run:
    """Read a run folder. Raises RunDirError when it holds neither a config.json nor a metrics.jsonl."""
    if not run_dir.is_dir():
        raise RunDirError(f"{run_dir} is not a folder; give the run_dir of a recipe that was trained")
    if not any((run_dir / name).is_file() for name in ("config.json", METRICS)):
        raise RunDirError(f"{run_dir} holds neither config.json nor metrics.jsonl, so it is not a run folder")
    notes: list[str] = []
    config = read_object(run_dir / "config.json", notes)
    environment = read_object(run_dir / "environment.json", notes)
    updates = _read_metrics(run_dir / METRICS, notes)
    files = rollout_files(run_dir / "rollouts")
    kinds = {as_text(as_object(stage).get("kind")) for stage in as_object(config.get("stages")).values()}
    if not files and kinds != {"sft"}:  # which samples nothing
        notes.append("No rollouts were saved (rollouts/ is missing or empty).")
    scores_file = run_dir / "scores.json"
    raw_scores = read_object(scores_file, notes) if scores_file.exists() else {}
    stages = list(as_object(config.get("stages")))
    for stage in stages:
        if stage not in updates:
            notes.append(f"Stage {stage} has no updates yet.")
    return Run(
        path=run_dir,
        config=config,
        environment=environment,
        updates=_in_order(updates, stages),
        rollout_files=_in_order(files, stages),
        warnings=_read_warnings(run_dir / WARNINGS, notes),
        scores=_read_scores(raw_scores, notes),
        scores_info={key: value for key, value in raw_scores.items() if key != "models"},
        notes=notes,
    )


def _read_metrics(path: Path, notes: list[str]) -> dict[str, list[dict[str, float]]]:
    merged: dict[str, dict[int, dict[str, float]]] = {}
    num_skipped = 0
    for raw in read_lines(path, notes):
        stage, update = raw.get("stage"), as_count(raw.get("update"))
        if not isinstance(stage, str) or update is None:
            num_skipped += 1
            continue
        values = {key: number for key, value in raw.items() if (number := as_number(value)) is not None}
        merged.setdefault(stage, {}).setdefault(update, {}).update(values)
    if num_skipped:
        notes.append(f"{path.name}: {num_skipped} line(s) without a stage and an update number were skipped.")
    if not merged and path.exists():
        notes.append("No update has been logged yet (metrics.jsonl is empty).")
    return {stage: [records[update] for update in sorted(records)] for stage, records in merged.items()}


def _read_warnings(path: Path, notes: list[str]) -> dict[str, list[SavedWarning]]:
    """No file is no warning: training writes one with the first of them."""
    warnings: dict[str, list[SavedWarning]] = {}
    for raw in read_lines(path, notes) if path.exists() else ():
        message = as_text(raw.get("message"))
        if message:
            update, code = as_count(raw.get("update")) or 0, as_text(raw.get("code"))
            warning = SavedWarning(update=update, code=code, message=message)
            warnings.setdefault(as_text(raw.get("stage")), []).append(warning)
    return warnings


def _in_order(by_stage: dict[str, _T], stages: list[str]) -> dict[str, _T]:
    known = {stage: by_stage[stage] for stage in stages if stage in by_stage}
    return known | {stage: value for stage, value in by_stage.items() if stage not in known}


def _read_scores(raw: JsonObject, notes: list[str]) -> dict[str, list[SavedScore]]:
    scores: dict[str, list[SavedScore]] = {}
    num_skipped = 0
    for model, entries in as_object(raw.get("models")).items():
        scores[model] = []
        for entry in map(as_object, as_list(entries)):
            value, low, high = (as_number(entry.get(key)) for key in ("value", "low", "high"))
            if value is None or low is None or high is None:
                num_skipped += 1
                continue
            counts = [as_count(entry.get(key)) for key in ("num_problems", "num_samples")]
            name = as_text(entry.get("name"))
            score = SavedScore(
                name=name, value=value, low=low, high=high, num_problems=counts[0], num_samples=counts[1]
            )
            scores[model].append(score)
    if num_skipped:
        notes.append(f"scores.json: {num_skipped} score(s) without value, low and high were left out.")
    return scores
