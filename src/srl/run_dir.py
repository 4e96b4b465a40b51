"""The run folder: resolved config, environment, metrics and rollouts as JSON Lines.

    config.json  environment.json  data.json  metrics.jsonl  rollouts/<stage>-<update>.jsonl  checkpoints/<stage>/...
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
from srl.errors import RunDirError
from srl.metrics import check_keys
from srl.recipe import config_to_json
from srl.types import RolloutGroup

RECORDED_PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "tokenizers",
    "datasets",
    "cydifflib",
    "math-verify",
    "numpy",
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

    def log(self, metrics: Mapping[str, float | int | str]) -> None:
        """Append one line to metrics.jsonl. NaN values are left out: JSON has none."""
        check_keys(metrics)
        finite = {key: value for key, value in metrics.items() if not (isinstance(value, float) and math.isnan(value))}
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite) + "\n")

    def record_data(self, stage: str, *, num_training: int, num_validation: int, dropped: Mapping[str, int]) -> None:
        """Write to data.json what a stage trains on and what was left out, by reason."""
        path = self.path / "data.json"
        record: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        record[stage] = {"training": num_training, "validation": num_validation, "left_out": dict(dropped)}
        write_json(path, record)

    def forget_after(self, stage: str, update: int) -> None:
        """Cut metrics.jsonl after ``update`` of ``stage``: what follows is done again."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return
        kept: list[str] = []
        for line in path.read_text("utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:  # a line torn by the kill
                continue
            if record["stage"] != stage or record["update"] <= update:
                kept.append(line + "\n")
        write_text(path, "".join(kept))
        for rollouts in (self.path / "rollouts").glob(f"{stage}-*.jsonl"):
            if int(rollouts.stem.rpartition("-")[2]) > update:
                rollouts.unlink()

    def save_rollouts(
        self, stage: str, update: int, groups: Sequence[tuple[RolloutGroup, Sequence[float] | None]]
    ) -> None:
        """Write groups with their advantages (None: rejected) to rollouts/<stage>-<update>.jsonl."""
        if not groups:
            return
        lines = [
            json.dumps({"stage": stage, "update": update, **_group_record(group, advantages)}, ensure_ascii=True) + "\n"
            for group, advantages in groups
        ]
        folder = self.path / "rollouts"
        folder.mkdir(exist_ok=True)
        write_text(folder / f"{stage}-{update:05d}.jsonl", "".join(lines))

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


def _group_record(group: RolloutGroup, advantages: Sequence[float] | None) -> dict[str, Any]:
    return {
        "example_id": group.example.example_id,
        "prompt": asdict(group.example.prompt),
        "target": group.example.target,
        "kept": advantages is not None,
        "advantages": list(advantages) if advantages is not None else None,
        "rollouts": [
            {
                "text": rollout.completion.text,
                "finish_reason": rollout.completion.finish_reason,
                "status": str(rollout.parsed.status),
                "monologue": rollout.parsed.monologue,
                "action": rollout.parsed.action,
                "reward": rollout.reward,
            }
            for rollout in group.rollouts
        ],
    }


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
