"""Run folder -> plain records for the page.

Reading is total: whatever the files hold, the result is a ``Run`` and a list of notes on what is missing or broken, so
that a run that is still writing, was killed, or comes from another version still gives a page. Only a folder that
holds no run at all is an error. The decision a reader would question: when a stage and update stand in
``metrics.jsonl`` more than once (a run resumed from an earlier checkpoint), the later line wins, key by key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from srl.errors import RunDirError
from srl.report.json_files import JsonObject, as_count, as_list, as_number, as_object, as_text, read_lines, read_object

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedRollout:
    """One rollout as it stands in the run folder."""

    text: str
    """The completion as sampled."""
    finish_reason: str
    """"stop" or "length"."""
    status: str
    """A ``ParseStatus`` value."""
    monologue: str
    """Text inside ``<think>``."""
    action: str
    """What was scored; "" unless the status is "ok"."""
    reward: float | None
    """None when the file does not hold a finite number."""
    advantage: float | None
    """None when the group was rejected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedGroup:
    """One group as it stands in the run folder; ``rollouts`` is never empty."""

    stage: str
    """Name of the stage."""
    update: int
    """Update it was drawn for, from 1."""
    example_id: str
    """The training example."""
    messages: tuple[tuple[str, str], ...]
    """(role, content) of the prompt."""
    assistant_prefix: str
    """How the policy's turn began, "" when it began with the completion."""
    target: str
    """The expert's action (srl) or the reference answer (rlvr)."""
    is_kept: bool
    """Whether it passed dynamic sampling."""
    rollouts: tuple[SavedRollout, ...]
    """In the order they were sampled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedScore:
    """One score of one model; percentages are made later."""

    name: str
    """For instance "steps/greedy"."""
    value: float
    """The estimate."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    num_problems: int | None
    """Problems it was measured on, None when not recorded."""
    num_samples: int | None
    """Completions it was measured on, None when not recorded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run folder, read."""

    path: Path
    """The folder."""
    config: JsonObject
    """config.json, {} when missing."""
    environment: JsonObject
    """environment.json, {} when missing."""
    updates: dict[str, list[dict[str, float]]]
    """Per stage, in the order of the config: one record per update, ascending; "update" and every finite metric."""
    rollout_files: dict[str, list[Path]]
    """Per stage, in the order of the config: files of saved groups, by ascending update."""
    scores: dict[str, list[SavedScore]]
    """Per model, in the order of scores.json."""
    scores_info: JsonObject
    """The rest of scores.json: "problems", "seconds"."""
    notes: list[str]
    """What is missing or could not be read, in words."""


def load_run(run_dir: Path) -> Run:
    """Read a run folder. Raises RunDirError when it holds neither a config.json nor a metrics.jsonl."""
    if not run_dir.is_dir():
        raise RunDirError(f"{run_dir} is not a folder; give the run_dir of a recipe that was trained")
    if not any((run_dir / name).is_file() for name in ("config.json", "metrics.jsonl")):
        raise RunDirError(f"{run_dir} holds neither config.json nor metrics.jsonl, so it is not a run folder")
    notes: list[str] = []
    config = read_object(run_dir / "config.json", notes)
    environment = read_object(run_dir / "environment.json", notes)
    updates = _read_metrics(run_dir / "metrics.jsonl", notes)
    rollout_files = _rollout_files(run_dir / "rollouts")
    if not rollout_files:
        notes.append("No rollouts were saved (rollouts/ is missing or empty).")
    scores_file = run_dir / "scores.json"
    raw_scores = read_object(scores_file, notes) if scores_file.exists() else {}
    if not scores_file.exists():
        notes.append("No scores yet: scores.json is written when the trained models are evaluated.")
    stages = list(as_object(config.get("stages")))
    for stage in stages:
        if stage not in updates:
            notes.append(f"Stage {stage} has no updates yet.")
    return Run(
        path=run_dir,
        config=config,
        environment=environment,
        updates=_in_order(updates, stages),
        rollout_files=_in_order(rollout_files, stages),
        scores=_read_scores(raw_scores, notes),
        scores_info={key: value for key, value in raw_scores.items() if key != "models"},
        notes=notes,
    )


def read_groups(path: Path, stage: str, notes: list[str]) -> list[SavedGroup]:
    """The groups of one rollouts file, those without a single rollout left out."""
    update = _update_of(path) or 0
    groups = (_to_group(raw, stage, update) for raw in read_lines(path, notes))
    return [group for group in groups if group.rollouts]


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


def _update_of(path: Path) -> int | None:
    """The update in a file name <stage>-<update>.jsonl; a stage name may hold "-" itself."""
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else None


def _rollout_files(folder: Path) -> dict[str, list[Path]]:
    """Files per stage, in the order in which the stages appear in the folder's sorted listing."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(folder.glob("*-*.jsonl")):
        update = _update_of(path)
        if update is not None:
            found.setdefault(path.stem.rpartition("-")[0], []).append((update, path))
    return {stage: [path for _, path in sorted(files)] for stage, files in found.items()}


def _in_order(by_stage: dict[str, _T], stages: list[str]) -> dict[str, _T]:
    known = {stage: by_stage[stage] for stage in stages if stage in by_stage}
    return known | {stage: value for stage, value in by_stage.items() if stage not in known}


def _to_group(raw: JsonObject, stage: str, update: int) -> SavedGroup:
    prompt = as_object(raw.get("prompt"))
    advantages = [as_number(value) for value in as_list(raw.get("advantages"))]
    rollouts = [as_object(value) for value in as_list(raw.get("rollouts"))]
    advantages += [None] * (len(rollouts) - len(advantages))
    messages = [as_object(message) for message in as_list(prompt.get("messages"))]
    return SavedGroup(
        stage=stage,
        update=update,
        example_id=as_text(raw.get("example_id")),
        messages=tuple((as_text(message.get("role")), as_text(message.get("content"))) for message in messages),
        assistant_prefix=as_text(prompt.get("assistant_prefix")),
        target=as_text(raw.get("target")),
        is_kept=raw.get("kept") is True,
        rollouts=tuple(_to_rollout(raw, value) for raw, value in zip(rollouts, advantages, strict=False)),
    )


def _to_rollout(raw: JsonObject, advantage: float | None) -> SavedRollout:
    return SavedRollout(
        text=as_text(raw.get("text")),
        finish_reason=as_text(raw.get("finish_reason")),
        status=as_text(raw.get("status")),
        monologue=as_text(raw.get("monologue")),
        action=as_text(raw.get("action")),
        reward=as_number(raw.get("reward")),
        advantage=advantage,
    )


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
