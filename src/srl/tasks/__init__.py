"""Embedded tasks, each with its generator, its expert and a small base model: for studies that run on a CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

from srl.tasks import chains, chains_corpus, equations, equations_corpus
from srl.tasks.task import Split, TextTask, write_trajectories
from srl.tasks.texts import TASK_TEXTS

_MODELS = Path(__file__).parent / "models"

CHAINS = TextTask(
    name="chains",
    texts=TASK_TEXTS,
    base_folder=_MODELS / "chains",
    max_step_tokens=64,
    max_solution_tokens=288,
    max_steps=8,
    make_problems=chains.make_problems,
    write_documents=chains_corpus.write_documents,
    set_phrases=chains_corpus.SET_PHRASES,
    base_step_accuracy=(0.30, 0.55),
    base_solve_rate=(0.0, 0.12),
)
"""Chains of two-digit arithmetic."""

EQUATIONS = TextTask(
    name="equations",
    texts=TASK_TEXTS,
    base_folder=_MODELS / "equations",
    max_step_tokens=64,
    max_solution_tokens=288,
    max_steps=7,
    make_problems=equations.make_problems,
    write_documents=equations_corpus.write_documents,
    set_phrases=equations_corpus.SET_PHRASES,
    base_step_accuracy=(0.30, 0.60),
    base_solve_rate=(0.0, 0.12),
)
"""Nested linear equations in one unknown."""

TASKS: dict[str, TextTask] = {task.name: task for task in (CHAINS, EQUATIONS)}
"""Every embedded task by its name."""


def write_task_data(
    task: TextTask, folder: Path, *, num_train: int, num_validation: int, num_test: int, seed: int
) -> None:
    """Write what a run of ``task`` reads to ``folder``: expert trajectories of each split and the shipped base.

    Beside ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl`` there are ``train-traces.jsonl`` and
    ``validation-traces.jsonl``: the same problems by an expert who thinks aloud. The base goes to ``folder/base``.
    Files that are there already are replaced.
    """
    write_expert_files(task, folder, num_train=num_train, num_validation=num_validation, num_test=num_test, seed=seed)
    copy_base(task.base_folder, folder / "base")


def write_expert_files(
    task: TextTask, folder: Path, *, num_train: int, num_validation: int, num_test: int, seed: int
) -> None:
    """The files of ``write_task_data`` without the base."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes: dict[Split, int] = {"train": num_train, "validation": num_validation, "test": num_test}
    for split, number in sizes.items():
        problems = task.make_problems(split, number, seed)
        write_trajectories(folder / f"{split}.jsonl", problems)
        if split != "test":
            write_trajectories(folder / f"{split}-traces.jsonl", problems, with_thoughts=True)


def copy_base(source: Path, folder: Path) -> None:
    """Copy a base; ``folder`` appears only when it is whole, and replaces what was there."""
    unfinished = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)  # left over from a kill
    shutil.copytree(source, unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
