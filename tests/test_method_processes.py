"""Two processes choose, mix, validate and end as one process does, and agree with each other in everything.

This file is the program of the two as well (see ``_work``); how they meet is that of ``test_processes``.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from test_methods import CHOSEN, MIX, OWN, SAMPLING, SCHEDULE, WORDS, Clock, stage_of
from tiny import stage, trainer

import srl.trainer
from srl.engines.scripted import ScriptedEngine
from srl.types import ChatPrompt, Problem
from srl.validation import solve_problems

NUM_PROCESSES = 2
DEADLINE_SECONDS = 240


def reply(prompt: ChatPrompt, index: int) -> str:
    """More or less of the expert's text; of problems and in validations every third answer is right."""
    number = int(prompt.messages[1]["content"].split("Number ")[1].split("?")[0])
    if number >= 50:
        return f"\\boxed{{{number if number % 3 == 0 else 0}}}"
    text = WORDS[prompt.assistant_prefix.count("\n\n")]
    return text[: 2 + (index * (number + 1)) % 4 * 3]


def train(folder: Path) -> dict[str, Any]:
    """A stage with everything that decides what is drawn; seven problems are solved at each validation."""
    the_stage = stage_of("together")
    sampling = replace(SAMPLING, max_completion_tokens=40, min_reward_std=0.02)
    schedule = replace(SCHEDULE, num_updates=4, num_validation_problems=7, best_by="whole")
    config = replace(
        the_stage.config, sampling=sampling, schedule=schedule, selection=CHOSEN, interleave=MIX, prompt=OWN
    )
    assert the_stage.validation_problems is not None
    problems = [Problem(problem_id=f"p{n}", problem=f"Number {n}?", answer=str(n)) for n in range(50, 57)]
    solved = replace(the_stage.validation_problems, problems=problems, max_step_tokens=40, max_solution_tokens=40)
    the_stage = replace(
        the_stage,
        config=config,
        scoring=replace(the_stage.scoring, length_penalty=None),
        validation_problems=solved,
    )
    the_trainer = trainer(the_stage, folder, engine=ScriptedEngine(reply))
    final = the_trainer.train()
    alone = replace(solved, problems=problems[:1])  # fewer than there are processes
    return {
        "final": final.name,
        "state": the_trainer._state,
        "one_problem": solve_problems(ScriptedEngine(reply), alone, Accelerator(cpu=True)),
    }


def train_by_the_clock(folder: Path, rank: int) -> dict[str, Any]:
    """The clock of the second process runs a thousand times as fast; both must end with the same update."""
    real, srl.trainer.time = srl.trainer.time, Clock(1.0 if rank == 0 else 1000.0)  # type: ignore[assignment]
    try:
        the_stage = stage(schedule=replace(SCHEDULE, num_updates=0, max_seconds=12.0))
        the_trainer = trainer(replace(the_stage, validation=[]), folder)
        the_trainer.train()
    finally:
        srl.trainer.time = real
    return {"state": the_trainer._state}


def _work(folder: Path, rank: int) -> None:
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting-point'}",
        rank=rank,
        world_size=NUM_PROCESSES,
        timeout=datetime.timedelta(seconds=60),
    )
    assert Accelerator(cpu=True).num_processes == NUM_PROCESSES
    results = {"trained": train(folder / "run"), "by_the_clock": train_by_the_clock(folder / "clock", rank)}
    (folder / f"{rank}.json").write_text(json.dumps(results))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two have worked."""
    folder = tmp_path_factory.mktemp("processes")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        "WORLD_SIZE": str(NUM_PROCESSES),
        "LOCAL_WORLD_SIZE": str(NUM_PROCESSES),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    processes: list[subprocess.Popen[bytes]] = []
    for rank in range(NUM_PROCESSES):
        with (folder / f"{rank}.log").open("w") as log:
            command, ranks = (
                [sys.executable, __file__, str(folder), str(rank)],
                {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            processes.append(subprocess.Popen(command, env=environment | ranks, stdout=log, stderr=subprocess.STDOUT))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        if any(process.poll() not in (None, 0) for process in processes):
            break  # the other one would wait for it
        time.sleep(0.05)
    codes = [process.poll() for process in processes]
    for process in processes:
        process.kill()
        process.wait()
    assert codes == [0, 0], "\n".join((folder / f"{rank}.log").read_text() for rank in range(NUM_PROCESSES))
    return folder


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(NUM_PROCESSES)]


def without_times(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    cut = ("update/", "time/")
    return [{key: value for key, value in line.items() if not key.startswith(cut) and key != "stage"} for line in lines]


def test_both_have_chosen_drawn_and_kept_the_same(folder: Path) -> None:
    first, second = results(folder)
    assert first["trained"] == second["trained"]
    assert len(first["trained"]["state"]["collector"]["own_steps"]) > 3


def test_and_the_same_as_one_process(folder: Path, tmp_path: Path) -> None:
    alone, together = train(tmp_path), results(folder)[0]["trained"]
    assert together == json.loads(json.dumps(alone))
    assert (folder / "run/selection/srl.json").read_text() == (tmp_path / "selection/srl.json").read_text()
    ours, theirs = without_times(tmp_path), without_times(folder / "run")
    assert [line["update"] for line in ours] == [0, 1, 2, 3, 4]
    assert ours[0]["selection/num_chosen"] < 11
    assert max(line["sampling/own_steps_rate"] for line in ours[1:]) > 0
    for line, other in zip(ours, theirs, strict=True):
        assert other == pytest.approx(line, rel=1e-2, abs=1e-4)


def test_each_problem_is_solved_by_one_of_them_and_counts_once(folder: Path) -> None:
    for line in without_times(folder / "run"):
        if "validation/reward" in line:
            assert line["validation/whole_accuracy"] == pytest.approx(2 / 7)  # 51 and 54
            assert line["validation/stepwise_accuracy"] == pytest.approx(2 / 7)
    for result in results(folder):
        assert result["trained"]["one_problem"]["validation/whole_accuracy"] == 0.0


def test_one_clock_counts_for_both(folder: Path) -> None:
    first, second = (result["by_the_clock"]["state"] for result in results(folder))
    assert first == second
    assert first["update"] > 1
    assert 12 <= first["seconds"] < 100


if __name__ == "__main__":
    _work(Path(sys.argv[1]), int(sys.argv[2]))
