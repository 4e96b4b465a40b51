"""One run of a study in a process of its own: train, measure, write the row.

``python -m srl.study.one_run STUDY.toml METHOD SEED``; ``srl study`` starts one for every run that is missing, so that
a crash or a full memory takes one run with it and not the study. A run that was stopped goes on where its newest
checkpoint stands.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch
import tyro

from srl.checkpoint import final_model, latest_checkpoint
from srl.compute_config import ModelConfig
from srl.config import RunConfig
from srl.errors import RunDirError, SamplingError
from srl.metrics import Metrics
from srl.run_dir import environment, write_json
from srl.stages import run_recipe
from srl.study.budget import read_spent
from srl.study.config import StudyConfig, load_study
from srl.study.map import cell_study
from srl.study.measure import measure
from srl.study.plan import BASE, RunKey, describe_run, evaluation_stage, resolve, run_folder
from srl.study.rows import Row, write_row
from srl.study.task_data import TaskFiles, prepare_task


def main(
    study_file: tyro.conf.Positional[Path],
    method: tyro.conf.Positional[str],
    seed: tyro.conf.Positional[int],
    *,
    cell: str = "",
    parent: int = 0,
) -> None:
    """Train and measure one run of a study.

    Args:
        study_file: The study.
        method: One of its methods, or base.
        seed: Seed of the training.
        cell: Cell of a map, as its folder is called.
        parent: Stop between two updates when this process is no longer the parent.
    """
    study = load_study(study_file)
    if cell:
        study = cell_study(study, cell)
    key = RunKey(method=method, seed=seed)
    with _lock(study, key):
        write_row(study.folder, run_one(study, study_file, key, parent=parent))


def run_one(study: StudyConfig, study_file: Path, key: RunKey, *, parent: int = 0) -> Row:
    """Train (or resume, or skip what is trained already) and measure; returns the row."""
    files = prepare_task(study)
    settings = describe_run(study, study_file, key, files)
    if key.method == BASE:
        model, message, precision = files.base, "", ModelConfig(path=files.base)
        # The base is run in the number format of the methods, and a study has one.
        precision = resolve(study, study_file, RunKey(method=next(iter(study.methods))), files).model
    else:
        config = resolve(study, study_file, key, files)
        model, message = _train(config, files, parent)
        precision = config.model
    spent, curve = read_spent(run_folder(study, key))
    started = time.perf_counter()
    outcomes = measure(
        study,
        files,
        model=model,
        precision=precision,
        stage=evaluation_stage(study, study_file, key, files),
        seed=key.seed,
        output=Path(study.folder) / "evaluation" / key.name,
    )
    return Row(
        method=key.method,
        seed=key.seed,
        status="no_signal" if message else "done",
        message=message,
        spent=spent,
        evaluation_seconds=round(time.perf_counter() - started, 1),
        settings=settings,
        model=model,
        environment=environment({"device": _device(), "num_threads": torch.get_num_threads()}),
        outcomes=outcomes,
        curve=curve,
    )


def _train(config: RunConfig, files: TaskFiles, parent: int) -> tuple[str, str]:
    """(folder of the model, why there is no signal); "" when the run has spent its budget."""
    run_dir = Path(config.run_dir)
    ended = run_dir / "no_signal.json"
    if ended.exists():  # stopped while it was measured
        recorded = json.loads(ended.read_text("utf-8"))
        return recorded["model"], recorded["message"]

    def stop_with_parent(metrics: Metrics) -> None:
        if parent and os.getppid() != parent:
            raise RunDirError("the study that started this run is gone; start it again to go on")

    try:
        folder = run_recipe(config, resume=(run_dir / "config.json").exists(), on_metrics=stop_with_parent)
    except SamplingError as error:
        model = _last_model(config, files)
        write_json(ended, {"model": model, "message": str(error)})
        return model, str(error)
    return str(folder), ""


def _last_model(config: RunConfig, files: TaskFiles) -> str:
    """What was trained before nothing had a signal: the newest stage's model or checkpoint, else the base."""
    for stage in reversed(config.stages):
        folder = Path(config.run_dir) / "checkpoints" / stage
        found = (final_model(folder) or latest_checkpoint(folder)) if folder.is_dir() else None
        if found is not None:
            return str(found)
    return files.base


@contextmanager
def _lock(study: StudyConfig, key: RunKey) -> Generator[None]:
    """Raises RunDirError when another process has this run in hand."""
    path = run_folder(study, key).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunDirError(f"{key.name} is in the hands of another process") from error
        yield


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    tyro.cli(main)
