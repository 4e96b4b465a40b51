"""One JSON file per run: what it was, what it cost, and every outcome; tables are made from these files alone.

A row is valid for a study as long as what decides its result is the same (``plan.describe_run``). What differs is
sorted into kinds, because a study may allow some: budget, data and base. Anything else makes it another run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import TypeAdapter, ValidationError

from srl.errors import ConfigError, RunDirError
from srl.recipe import config_from_dict, config_to_json
from srl.run_dir import write_json
from srl.study.budget import CurvePoint, Spent
from srl.study.plan import RunKey

Outcomes = dict[str, dict[str, list[bool]]]
"""Metric -> problem id -> its samples, right or wrong."""
Status = Literal["done", "no_signal", "failed"]
"""done: spent its budget. no_signal: it ended early, because nothing it sampled had a signal to learn from; what it had
learnt until then is measured. failed: it has no result."""
_MAX_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run."""

    method: str
    """Name of the method, or "base"."""
    seed: int
    """Seed of the training."""
    status: Status
    """How it ended."""
    message: str = ""
    """Why there is no signal, or what failed."""
    spent: Spent = field(default_factory=Spent)
    """What its training cost."""
    evaluation_seconds: float = 0
    """What measuring it took."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """What decides its result."""
    model: str = ""
    """Folder of the model that was measured."""
    environment: dict[str, Any] = field(default_factory=dict[str, Any])
    """Versions, commit, hardware and time."""
    outcomes: Outcomes = field(default_factory=dict[str, dict[str, list[bool]]])
    """What was measured."""
    curve: list[CurvePoint] = field(default_factory=list[CurvePoint])
    """Its learning curve."""

    @property
    def key(self) -> RunKey:
        """Its place in the grid."""
        return RunKey(method=self.method, seed=self.seed)


def row_path(folder: str | Path, key: RunKey) -> Path:
    """The file of a run."""
    return Path(folder) / "rows" / f"{key.name}.json"


def write_row(folder: str | Path, row: Row) -> None:
    """Write a row, whole or not at all."""
    path = row_path(folder, row.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(row))


def read_rows(folder: str | Path) -> dict[RunKey, Row]:
    """All rows of a study folder. Raises RunDirError that names a file which is no row."""
    adapter = TypeAdapter(Row)
    rows: dict[RunKey, Row] = {}
    for path in sorted((Path(folder) / "rows").glob("*.json")):
        try:
            row = adapter.validate_json(path.read_bytes())
        except ValidationError as error:
            raise RunDirError(f"{path} is no row of a study ({error.errors()[0]['msg']}); remove it") from error
        rows[row.key] = row
    return rows


def setting_differences(recorded: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, list[str]]:
    """Where a row's settings differ from those it would have now, by kind: "budget", "data", "base", and the rest."""
    old, new = dict(recorded), dict(expected)
    old["recipe"] = _with_new_defaults(old.get("recipe"))
    found: dict[str, list[str]] = {}
    for kind in dict.fromkeys([*new, *old]):
        lines = _differences(old.get(kind), new.get(kind), kind)
        if lines:
            found[kind] = lines
    return found


def show_differences(lines: list[str]) -> str:
    """The first few, in one line."""
    more = len(lines) - _MAX_SHOWN
    return "; ".join(lines[:_MAX_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _with_new_defaults(recipe: Any) -> Any:
    """A recorded recipe with the settings that did not exist yet, which are at their defaults and change nothing."""
    if not isinstance(recipe, dict):
        return recipe
    filled = json.loads(json.dumps(recipe))
    for stage in filled["stages"].values():  # a recipe needs its data, and a cap of 0 epochs is none
        stage["data"]["train"] = "-"
        stage["schedule"]["num_epochs"] = stage["schedule"]["num_epochs"] or 1
    try:
        full = json.loads(config_to_json(config_from_dict(filled, name="a recorded recipe")))
    except ConfigError:  # from before a setting was taken away: told by what differs
        return cast("Any", recipe)
    for name, stage in full["stages"].items():
        stage["data"]["train"] = ""
        stage["schedule"]["num_epochs"] = recipe["stages"][name]["schedule"]["num_epochs"]
    return full


def _differences(old: Any, new: Any, path: str) -> list[str]:
    """Where two JSON values differ, as "path: old -> new"."""
    if isinstance(old, dict) and isinstance(new, dict):
        first, second = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        keys = dict.fromkeys([*first, *second])
        return [line for key in keys for line in _differences(first.get(key), second.get(key), f"{path}.{key}")]
    return [] if old == new else [f"{path}: {old!r} -> {new!r}"]
