"""The files of a study's task: made once into the study folder for an embedded task, or named by the study file.

A folder of made data is named by what decides its content, so a changed study file never meets the data of another.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from srl.errors import DataError
from srl.evaluation.command import fingerprint_model
from srl.study.config import StudyConfig, TaskConfig
from srl.tasks import TASKS, write_task_data


@dataclass(frozen=True, kw_only=True)
class TaskFiles:
    """Where everything is; "" is not there."""

    base: str
    """Folder or Hub id of the base."""
    train: str
    """Expert trajectories to train on."""
    validation: str
    """Expert trajectories to validate on."""
    problems: str
    """What is measured on."""
    train_traces: str = ""
    """``train`` by an expert who thinks aloud."""
    validation_traces: str = ""
    """``validation`` by an expert who thinks aloud."""
    test_steps: str = ""
    """Expert trajectories to measure single steps on."""

    def fingerprints(self) -> dict[str, str]:
        """A digest of every file's content, by name; the base is left out."""
        return {
            item.name: fingerprint_data(getattr(self, item.name))
            for item in fields(self)
            if item.name != "base" and getattr(self, item.name)
        }


def prepare_task(study: StudyConfig) -> TaskFiles:
    """Make what is missing and say where everything is. A base of another quality takes minutes the first time."""
    task = study.task
    if task.name == "own":
        return TaskFiles(**{item.name: getattr(task, item.name) for item in fields(TaskFiles)})
    folder = data_folder(study)
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _write(task, unfinished)
        try:
            unfinished.rename(folder)
        except OSError:  # another call was faster; its files are the same
            shutil.rmtree(unfinished)
    base = task.base or str(folder / "base")
    if task.base_careless is not None:
        base = str(adjusted_base(study, task.base_careless, base))
    traces = {name: str(folder / f"{name.replace('_', '-')}.jsonl") for name in ("train_traces", "validation_traces")}
    return TaskFiles(
        base=base,
        train=str(folder / "train.jsonl"),
        validation=str(folder / "validation.jsonl"),
        problems=str(folder / ("test.json" if task.name == "shell" else "test.jsonl")),
        test_steps="" if task.name == "shell" else str(folder / "test.jsonl"),
        **{name: path if Path(path).exists() else "" for name, path in traces.items()},
    )


def data_folder(study: StudyConfig) -> Path:
    """The folder of an embedded task's files."""
    task = study.task
    sizes = f"{task.num_train}-{task.num_validation}-{task.num_test}"
    return Path(study.folder) / "data" / f"{task.name}-{sizes}-seed-{task.data_seed}"


def adjusted_base(study: StudyConfig, careless: float, source: str = "") -> Path:
    """The base whose writers are careless so often, made from the task's own (or ``source``) where it is missing."""
    from srl.tasks.pretraining import adjust_base  # loads torch

    folder = adjusted_base_folder(study, careless)
    if not folder.exists():
        task = TASKS[study.task.name]
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        adjust_base(Path(source) if source else task.base_folder, unfinished, task=task, careless=careless)
        unfinished.rename(folder)
    return folder


def adjusted_base_folder(study: StudyConfig, careless: float) -> Path:
    """Where ``adjusted_base`` puts it."""
    return Path(study.folder) / "bases" / f"{study.task.name}-careless-{careless:g}"


def fingerprint_base(path: str) -> str:
    """A digest of the base's files without the name of its folder; a Hub id stands for itself."""
    return fingerprint_model(path).rpartition("@")[2]


def fingerprint_data(source: str) -> str:
    """A digest of a file, or of all files of a folder; a Hub id stands for itself."""
    path = Path(source)
    if not path.exists():
        if path.suffix or path.is_absolute():
            raise DataError(f"there is no {source}; the study needs it")
        return source
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(str(file.relative_to(path)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def describe_task(task: TaskConfig) -> str:
    """The task in one line of a table's notes."""
    if task.name == "own":
        return f"own data: {task.train}, measured on {task.problems}"
    sizes = f"{task.num_train} training, {task.num_validation} validation and {task.num_test} test problems"
    careless = "" if task.base_careless is None else f", base adjusted to careless = {task.base_careless:g}"
    return f"embedded task {task.name}: {sizes}, data seed {task.data_seed}{careless}"


def _write(task: TaskConfig, folder: Path) -> None:
    sizes = {name: asdict(task)[name] for name in ("num_train", "num_validation", "num_test")}
    if task.name == "shell":
        from srl.tasks.shell.expert import write_shell_data  # runs the expert in sandboxes

        write_shell_data(folder, **sizes, seed=task.data_seed)
    else:
        write_task_data(TASKS[task.name], folder, **sizes, seed=task.data_seed)
