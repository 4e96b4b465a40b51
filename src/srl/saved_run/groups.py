"""``rollouts/<stage>-<update>.jsonl`` -> the groups that were saved.

Total, as ``load``: a file of an older version lacks what that version did not save, and a line that cannot be read is
left out and named.
"""

from __future__ import annotations

from pathlib import Path

from srl.saved_run.json_files import JsonObject, as_list, as_number, as_object, as_text, read_lines
from srl.saved_run.records import SavedGroup, SavedRollout


def read_groups(path: Path, stage: str, notes: list[str]) -> list[SavedGroup]:
    """The groups of one rollouts file, those without a single rollout, graded or not, left out."""
    update = _update_of(path) or 0
    groups = (_to_group(raw, stage, update) for raw in read_lines(path, notes))
    return [group for group in groups if group.rollouts or group.ungraded]


def rollout_files(folder: Path) -> dict[str, list[Path]]:
    """Files per stage by ascending update, in the order in which the stages appear in the folder's sorted listing."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(folder.glob("*-*.jsonl")):
        update = _update_of(path)
        if update is not None:
            found.setdefault(path.stem.rpartition("-")[0], []).append((update, path))
    return {stage: [path for _, path in sorted(files)] for stage, files in found.items()}


def _update_of(path: Path) -> int | None:
    """The update in a file name <stage>-<update>.jsonl; a stage name may hold "-" itself."""
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else None


def _to_group(raw: JsonObject, stage: str, update: int) -> SavedGroup:
    prompt = as_object(raw.get("prompt"))
    advantages = [as_number(value) for value in as_list(raw.get("advantages"))]
    rollouts = [as_object(value) for value in as_list(raw.get("rollouts"))]
    advantages += [None] * (len(rollouts) - len(advantages))
    messages = [as_object(message) for message in as_list(prompt.get("messages"))]
    step, by_format = as_object(raw.get("step")), raw.get("kept_by_format_only")
    return SavedGroup(
        stage=stage,
        update=update,
        example_id=as_text(raw.get("example_id")),
        messages=tuple((as_text(message.get("role")), as_text(message.get("content"))) for message in messages),
        assistant_prefix=as_text(prompt.get("assistant_prefix")),
        target=as_text(raw.get("target")),
        is_kept=raw.get("kept") is True,
        rollouts=tuple(_to_rollout(raw, value) for raw, value in zip(rollouts, advantages, strict=False)),
        ungraded=tuple(_to_rollout(as_object(value), None) for value in as_list(raw.get("ungraded"))),
        is_kept_by_format_only=by_format if isinstance(by_format, bool) else None,
        kind=as_text(step.get("kind")),
        context=tuple(map(as_text, as_list(step.get("context")))),
        next_action=as_text(step.get("next_action")),
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
        outcome=as_number(raw.get("outcome")),
        reason=as_text(raw.get("reason")),
    )
