"""Study, method and seed -> the resolved run, and what decides its result.

A recipe says how a method learns. Here is filled in what must be the same for all of them: folder, seed, base, data
and budget. The number of updates and epochs of the recipe gives way to the budget.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from srl.config import RunConfig, StageConfig
from srl.errors import ConfigError
from srl.recipe import config_from_dict, config_to_json, load_recipe
from srl.study.config import BudgetConfig, MethodConfig, StudyConfig
from srl.study.task_data import TaskFiles, fingerprint_base
from srl.tasks import TASKS

UNLIMITED_EPOCHS = 10**6
"""The budget ends a stage, not the number of epochs."""
BASE = "base"
"""Name of the base among the methods."""
_CAPS = ("num_updates", "num_epochs", "max_rollouts", "max_sampled_tokens", "max_seconds")


@dataclass(frozen=True, kw_only=True, order=True)
class RunKey:
    """One run of the grid."""

    method: str
    """Name of the method, or "base"."""
    seed: int = 0
    """Seed of the training; 0 for the base, which is not trained."""

    @property
    def name(self) -> str:
        """As its files are called."""
        return BASE if self.method == BASE else f"{self.method}-{self.seed}"


def run_keys(study: StudyConfig) -> list[RunKey]:
    """Every run of the grid, the base first, then seed by seed so that the first table comes early."""
    return [RunKey(method=BASE)] + [RunKey(method=name, seed=seed) for seed in study.seeds for name in study.methods]


def resolve(study: StudyConfig, study_file: Path, key: RunKey, files: TaskFiles) -> RunConfig:
    """The run that a method and a seed stand for. Raises ConfigError that names the method and the setting."""
    method = study.methods[key.method]
    where = f"{study_file}, methods.{key.method}"
    recipe = study_file.parent / method.recipe
    try:
        raw = json.loads(config_to_json(load_recipe(recipe)))
        for path, value in method.set.items():
            _override(raw, path, value, f"{where}.set")
        raw |= {"run_dir": str(run_folder(study, key)), "seed": key.seed}
        raw["model"]["path"] = files.base
        shares = _shares(method, list(raw["stages"]), where)
        for name, stage in raw["stages"].items():
            _fill_data(stage, _reads_traces(method, name, raw["stages"], where), files, where)
            _fill_budget(stage, study.budget, shares[name])
            if study.task.num_validation_problems:
                stage["schedule"]["num_validation_problems"] = study.task.num_validation_problems
                longest = _max_solution_tokens(study)
                if longest != stage["sampling"]["max_completion_tokens"]:
                    stage["schedule"]["max_solution_tokens"] = longest
        return config_from_dict(raw, name=str(recipe))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}" if where not in str(error) else str(error)) from error


def run_folder(study: StudyConfig, key: RunKey) -> Path:
    """The run's own folder."""
    return Path(study.folder) / "runs" / key.name


def describe_run(study: StudyConfig, study_file: Path, key: RunKey, files: TaskFiles) -> dict[str, Any]:
    """What decides the result of a run, as JSON values: a row is valid as long as this stays the same."""
    config = None if key.method == BASE else resolve(study, study_file, key, files)
    asked = evaluation_stage(study, study_file, key, files)
    task = study.task
    settings: dict[str, Any] = {
        "recipe": None if config is None else _plain_recipe(config),
        "traces": None if config is None else study.methods[key.method].traces,
        "budget": None,
        "base": fingerprint_base(files.base),
        "data": files.fingerprints(),
        "evaluation": {
            "task": task.name,
            "num_samples": task.num_samples,
            "batch_size": task.evaluation_batch_size,
            "limits": [task.max_solution_tokens, task.max_step_tokens, task.max_steps] if task.name == "own" else None,
            "context_in": asked.prompt.context_in,
            "context_turns": asked.prompt.context_turns if task.name == "shell" else None,
            "title_in_prompt": asked.prompt.title_in_prompt,
            "texts": asdict(asked.prompt.texts),
        },
    }
    if config is not None:
        shares = _shares(study.methods[key.method], list(config.stages), key.method)
        settings["budget"] = {"unit": study.budget.unit, "amount": study.budget.amount, "shares": shares}
    return json.loads(json.dumps(settings))


def evaluation_stage(study: StudyConfig, study_file: Path, key: RunKey, files: TaskFiles) -> StageConfig:
    """The stage whose prompts a run is measured with: its own SRL stage, else that of the study's first method.

    A base, and methods that never see a step prompt, must be asked in one way, and it is that of the first method that
    has an SRL stage.
    """
    names = [key.method] if key.method != BASE else []
    stages: list[StageConfig] = []
    for name in [*names, *study.methods]:
        stages = list(resolve(study, study_file, RunKey(method=name), files).stages.values())
        found = next((stage for stage in stages if stage.kind == "srl" and not stage.data.one_step), None)
        if found is not None:
            return found
    return stages[0]


def _plain_recipe(config: RunConfig) -> dict[str, Any]:
    """The resolved recipe without paths, seed and caps, which are described by content or stand elsewhere."""
    raw = json.loads(config_to_json(config))
    raw |= {"run_dir": "", "seed": 0}
    raw["model"]["path"] = ""
    for stage in raw["stages"].values():
        stage["data"] |= {"train": "", "validation": ""}
        if stage["kind"] == "sft":
            stage["sft"] |= {"num_examples": 0, "num_tokens": 0, "num_epochs": 1}
        else:
            stage["schedule"] |= dict.fromkeys(_CAPS, 0)
        if stage["schedule"]["best_by"] == "reward":  # then it decides curves and no weight
            stage["schedule"]["max_solution_tokens"] = 0
    return raw


def _override(raw: dict[str, Any], path: str, value: object, where: str) -> None:
    """Set one value by its dotted path. Raises ConfigError where there is no such setting."""
    table: Any = raw
    *parents, last = path.split(".")
    for name in parents:
        table = cast("dict[str, Any]", table).get(name) if isinstance(table, dict) else None
    if not isinstance(table, dict) or last not in table:
        known = f"; there is {', '.join(cast('dict[str, Any]', table))}" if isinstance(table, dict) else ""
        raise ConfigError(f"{where}: the recipe has no setting {path!r}{known}")
    table[last] = value


def _shares(method: MethodConfig, stages: list[str], where: str) -> dict[str, float]:
    shares = method.shares or ({stages[0]: 1.0} if len(stages) == 1 else {})
    if set(shares) != set(stages):
        raise ConfigError(
            f"{where}: the recipe has the stages {', '.join(stages)}; give each its share of the budget, for instance "
            f"shares = {{ {', '.join(f'{name} = {1 / len(stages):.2g}' for name in stages)} }}"
        )
    return shares


def _reads_traces(method: MethodConfig, stage: str, stages: dict[str, Any], where: str) -> bool:
    if isinstance(method.traces, bool):
        return method.traces
    unknown = [name for name in method.traces if name not in stages]
    if unknown:
        raise ConfigError(f"{where}: traces names {', '.join(unknown)}; the recipe has {', '.join(stages)}")
    return stage in method.traces


def _fill_data(stage: dict[str, Any], with_traces: bool, files: TaskFiles, where: str) -> None:
    train, validation = files.train, files.validation
    if with_traces:
        train, validation = files.train_traces, files.validation_traces
        if not train or not validation:
            raise ConfigError(f"{where}: traces = true, but the task has no text of an expert who thinks aloud")
    stage["data"] |= {"train": train, "validation": validation}
    stage["data"].pop("num_validation_trajectories", None)  # nothing is held out of the training data


def _max_solution_tokens(study: StudyConfig) -> int:
    """The length of the whole solutions that validations ask for: that of the evaluation."""
    task = study.task
    return TASKS[task.name].max_solution_tokens if task.name in TASKS else task.max_solution_tokens


def _fill_budget(stage: dict[str, Any], budget: BudgetConfig, share: float) -> None:
    amount = budget.amount * share
    if stage["kind"] == "sft":
        if budget.unit != "seconds":
            cap = "num_examples" if budget.unit == "rollouts" else "num_tokens"
            stage["sft"] |= {"num_epochs": UNLIMITED_EPOCHS, cap: max(1, round(amount))}
        return
    caps: dict[str, float] = dict.fromkeys(_CAPS, 0)
    caps["num_epochs"] = UNLIMITED_EPOCHS
    cap = {"rollouts": "max_rollouts", "tokens": "max_sampled_tokens", "seconds": "max_seconds"}[budget.unit]
    caps[cap] = amount if budget.unit == "seconds" else max(1, round(amount))
    stage["schedule"] |= caps
