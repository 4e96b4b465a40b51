"""The run folder: resolved config, environment, metrics and rollouts as JSON Lines.

    config.json  environment.json  data.json  metrics.jsonl  warnings.jsonl  rollouts/<stage>-<update>.jsonl
    selection/<stage>.json         (where a pass before the stage measured its examples)
    checkpoints/<stage>/...
    scores.json  report.html       (written by whoever evaluates and reports)

Files are written so that a kill at any moment leaves a folder that can be resumed: whole files by rename, lines
flushed one by one, and on resume the lines after the checkpoint are cut off.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import srl
from srl.config import RunConfig
from srl.curriculum import MeasuredExample
from srl.dynamic_sampling import is_kept_by_format_only
from srl.errors import RunDirError
from srl.metrics import check_keys
from srl.recipe import config_to_json
from srl.signals.watch import TrainingWarning
from srl.types import Rollout, RolloutGroup, UngradedRollout

METRICS = "metrics.jsonl"
"""One line for each update of each stage."""
WARNINGS = "warnings.jsonl"
"""One line for each warning of the training."""

RECORDED_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "tokenizers",
    "datasets",
    "math-verify",
    "numba",
    "numpy",
    "rapidfuzz",
    "sacrebleu",
    "sentence-transformers",
    "tree-sitter-bash",
)


class RunDir:
    """Writes one run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, config: RunConfig, *, hardware: Mapping[str, Any]) -> RunDir:
        """Make the folder with config.json and environment.json. Raises RunDirError if it exists and is not empty."""
        path = Path(config.run_dir)
        refuse_existing(path)
        path.mkdir(parents=True, exist_ok=True)
        write_text(path / "config.json", config_to_json(config))
        write_json(path / "environment.json", environment(hardware))
        return cls(path)

    @classmethod
    def open(cls, config: RunConfig) -> RunDir:
        """Open a folder to resume it. Raises RunDirError unless it holds a run of the same recipe."""
        path = Path(config.run_dir)
        recorded = path / "config.json"
        if not recorded.is_file():
            raise RunDirError(f"{path} holds no run to resume (no config.json); start it without --resume")
        old, new = json.loads(recorded.read_text("utf-8")), json.loads(config_to_json(config))
        differences = _differences(old | {"run_dir": ""}, new | {"run_dir": ""})  # a folder may have been moved
        if list(old["stages"]) != list(new["stages"]):
            differences.append(f"order of stages: {list(old['stages'])} -> {list(new['stages'])}")
        if differences:
            raise RunDirError(
                f"{path} was started with another recipe; a resumed run must be the same run. Different: "
                + "; ".join(differences)
            )
        return cls(path)

    def log(self, metrics: Mapping[str, float | int | str], warnings: Sequence[TrainingWarning] = ()) -> None:
        """Append one line to metrics.jsonl, then those that came of it to warnings.jsonl.

        NaN values are left out: JSON has none.
        """
        check_keys(metrics)
        finite = {key: value for key, value in metrics.items() if not (isinstance(value, float) and math.isnan(value))}
        _append(self.path / METRICS, [finite])
        _append(self.path / WARNINGS, [asdict(warning) for warning in warnings])

    def history(self, stage: str) -> tuple[list[dict[str, Any]], list[TrainingWarning]]:
        """What was logged of a stage so far: its lines of metrics.jsonl and of warnings.jsonl."""
        lines, warnings = (
            [record for record in _read_lines(self.path / name) if record["stage"] == stage]
            for name in (METRICS, WARNINGS)
        )
        return lines, [TrainingWarning(**record) for record in warnings]

    def record_data(self, stage: str, *, num_training: int, num_validation: int, dropped: Mapping[str, int]) -> None:
        """Write to data.json what a stage trains on and what was left out, by reason."""
        path = self.path / "data.json"
        record: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        record[stage] = {"training": num_training, "validation": num_validation, "left_out": dict(dropped)}
        write_json(path, record)

    def forget_after(self, stage: str, update: int) -> None:
        """Cut metrics.jsonl and warnings.jsonl after ``update`` of ``stage``: what follows is done again."""
        for path in (self.path / METRICS, self.path / WARNINGS):
            if path.exists():
                kept = (
                    record for record in _read_lines(path) if record["stage"] != stage or record["update"] <= update
                )
                write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
        for rollouts in (self.path / "rollouts").glob(f"{stage}-*.jsonl"):
            if int(rollouts.stem.rpartition("-")[2]) > update:
                rollouts.unlink()

    def save_rollouts(
        self,
        stage: str,
        update: int,
        groups: Sequence[tuple[RolloutGroup, Sequence[float] | None]],
        *,
        min_reward_std: float = 0.0,
    ) -> None:
        """Write groups with their advantages (None: rejected) to rollouts/<stage>-<update>.jsonl.

        ``min_reward_std`` is the threshold that groups were kept by, and says which were kept by their format alone.
        """
        if not groups:
            return
        lines = [
            json.dumps({"stage": stage, "update": update, **_group_record(group, advantages, min_reward_std)}) + "\n"
            for group, advantages in groups
        ]
        folder = self.path / "rollouts"
        folder.mkdir(exist_ok=True)
        write_text(folder / f"{stage}-{update:05d}.jsonl", "".join(lines))

    def save_selection(self, stage: str, measured: Sequence[MeasuredExample]) -> None:
        """Keep what the pass before a stage found, for a run that is resumed and for the reader."""
        self._selection(stage).parent.mkdir(exist_ok=True)
        write_json(self._selection(stage), [asdict(item) for item in measured])

    def read_selection(self, stage: str) -> list[MeasuredExample] | None:
        """What ``save_selection`` kept, None without it."""
        path = self._selection(stage)
        if not path.is_file():
            return None
        return [MeasuredExample(**item) for item in json.loads(path.read_text("utf-8"))]

    def _selection(self, stage: str) -> Path:
        return self.path / "selection" / f"{stage}.json"

    def checkpoint_folder(self, stage: str) -> Path:
        """Folder of a stage's checkpoints."""
        return self.path / "checkpoints" / stage


def refuse_existing(path: Path) -> None:
    """Raises RunDirError if ``path`` exists and is not an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunDirError(f"{path} exists already; resume it (--resume), remove it, or choose another run_dir")


def environment(hardware: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, git commit, command and hardware of this process."""
    versions = {"srl": srl.__version__, "python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "git": _git_state(),
        "hardware": {"platform": platform.platform(), "cpu_count": os.cpu_count(), **hardware},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: to a neighbour first, then renamed."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _group_record(group: RolloutGroup, advantages: Sequence[float] | None, min_reward_std: float) -> dict[str, Any]:
    """What ``srl.saved_run`` reads back; what does not apply is left out."""
    is_kept = advantages is not None
    step = None if group.example.is_problem else group.example.step  # a problem's prompt has no earlier steps
    record: dict[str, Any] = {
        "example_id": group.example.example_id,
        "prompt": asdict(group.example.prompt),
        "target": group.example.target,
        "kept": is_kept,
        "kept_by_format_only": is_kept and is_kept_by_format_only(group, min_reward_std),
        "advantages": list(advantages) if advantages is not None else None,
        "rollouts": [
            _completion_record(rollout)
            | {"reward": rollout.reward}
            | ({} if rollout.outcome is None else {"outcome": rollout.outcome})
            for rollout in group.rollouts
        ],
    }
    if group.ungraded:
        record["ungraded"] = [_completion_record(rollout) | {"reason": rollout.reason} for rollout in group.ungraded]
    if step is not None:
        record["step"] = {
            "kind": step.kind,
            "step_index": step.step_index,
            "num_steps": step.num_steps,
            "context": list(step.context),
            "next_action": group.example.next_action,
        }
    return record


def _completion_record(rollout: Rollout | UngradedRollout) -> dict[str, Any]:
    return {
        "text": rollout.completion.text,
        "finish_reason": rollout.completion.finish_reason,
        "status": str(rollout.parsed.status),
        "monologue": rollout.parsed.monologue,
        "action": rollout.parsed.action,
    }


def _append(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    if records:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of ours, [] without the file; a last line that a kill has torn is left out."""
    records: list[dict[str, Any]] = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def _git_state() -> dict[str, Any] | None:
    """Commit of the source tree this package runs from, None when it is installed without one."""
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        tracked = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        return {"commit": commit, "dirty": _git(folder, "status", "--porcelain") != ""} if tracked else None
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, as "key: old -> new"."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]  # pyright: ignore
        return [line for key in keys for line in _differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]  # pyright: ignore
    return [] if old == new else [f"{path}: {old!r} -> {new!r}"]
