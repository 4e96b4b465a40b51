"""The expert at work: its scripts run in a real shell, and everything that a run of the task reads."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from srl.errors import DataError, SRLError
from srl.sandbox import Limits, Sandbox
from srl.tasks import copy_base
from srl.tasks.shell.folder import is_as_expected, write_folder
from srl.tasks.shell.logs import Episode, Turn, write_logs
from srl.tasks.shell.problems import ShellProblem, make_problems
from srl.tasks.shell.scripts import SUBMIT, Work, run_script
from srl.tasks.task import Split

LIMITS = Limits(wall_seconds=30, cpu_seconds=2, memory_mib=512, num_processes=16, file_mib=1, output_bytes=200)
"""What one command of an episode may use; what it prints has to fit into a small model's prompt.

The wall time is long, because on a busy machine a command must not fail for lack of it."""
REQUIRED = ("network", "filesystem")
"""The protection without which no command is run."""
BASE_FOLDER = Path(__file__).parents[1] / "models" / "shell"
"""The shipped base."""


def run_expert(problem: ShellProblem, *, required: tuple[str, ...] = REQUIRED) -> Episode:
    """Solve ``problem`` in a temporary folder. Raises SRLError where the folder is not as expected in the end."""
    with tempfile.TemporaryDirectory(prefix="srl-shell-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_folder(folder, problem.files)
        sandbox = Sandbox(folder, limits=LIMITS, required=required)
        script = run_script(problem, Work())
        turns: list[Turn] = []
        thought, action = next(script)
        while action != SUBMIT:
            observation = observe(sandbox, action)
            turns.append(Turn(thought=thought, action=action, observation=observation))
            thought, action = script.send(observation)
        turns.append(Turn(thought=thought, action=action, observation=""))
        if not is_as_expected(folder, problem.expected):
            raise SRLError(f"the expert has not solved {problem.problem_id}: {problem.problem} Is bash unusual here?")
    return Episode(episode_id=problem.problem_id, problem=problem.problem, turns=tuple(turns), is_solved=True)


def run_experts(problems: Sequence[ShellProblem], *, required: tuple[str, ...] = REQUIRED) -> list[Episode]:
    """``run_expert`` on each problem, as many at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(partial(run_expert, required=required), problems))


def observe(sandbox: Sandbox, action: str) -> str:
    """Run an action; what came back as prompts and logs have it: no NUL, no line break at either end."""
    return sandbox.run(action).output.replace("\0", "\ufffd").strip("\r\n")


def write_shell_data(
    folder: Path,
    *,
    num_train: int,
    num_validation: int,
    num_test: int,
    seed: int,
    required: tuple[str, ...] = REQUIRED,
) -> None:
    """Write what a run of the task reads to ``folder``, and the shipped base to ``folder/base``.

    ``train.jsonl`` and ``validation.jsonl`` are the expert's logs, actions and observations only; beside them
    ``train-traces.jsonl`` and ``validation-traces.jsonl`` hold the same with the expert's thoughts. ``test.json`` has
    the problems that policies are run on (``read_problems``). Files that are there already are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes: dict[Split, int] = {"train": num_train, "validation": num_validation}
    for split, number in sizes.items():
        episodes = run_experts(make_problems(split, number, seed), required=required)
        write_logs(folder / f"{split}.jsonl", episodes, with_thoughts=False)
        write_logs(folder / f"{split}-traces.jsonl", episodes, with_thoughts=True)
    write_problems(folder / "test.json", make_problems("test", num_test, seed))
    copy_base(BASE_FOLDER, folder / "base")


def write_problems(path: Path, problems: Sequence[ShellProblem]) -> None:
    """Write problems as one JSON array."""
    path.write_text(json.dumps([asdict(problem) for problem in problems], indent=1) + "\n", "utf-8")


def read_problems(path: Path) -> list[ShellProblem]:
    """The problems that ``write_problems`` wrote. Raises DataError where the file holds anything else."""
    try:
        return TypeAdapter(list[ShellProblem]).validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(f"{path} holds no problems of the shell task: {place}: {first['msg']}") from error
