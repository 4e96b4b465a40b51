"""The files of a task, as a run reads them: experts with and without thoughts, and the base."""

import json

import pytest

from srl.parsing import parse_solution
from srl.tasks import TASKS, copy_base, write_task_data
from srl.tasks.task import TextTask
from srl.trajectories.reader import read_trajectories
from srl.types import ParseStatus, Trajectory

TEXT_TASKS = [task for task in TASKS.values() if isinstance(task, TextTask)]


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module", params=TEXT_TASKS, ids=lambda task: task.name)
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "new"
    write_task_data(request.param, folder, num_train=6, num_validation=3, num_test=4, seed=7)
    return request.param, folder


def test_every_file_is_there_and_the_base_is_the_shipped_one(written):
    task, folder = written
    files = {path.name for path in folder.iterdir()}
    experts = {"train.jsonl", "validation.jsonl", "test.jsonl"}
    assert files == experts | {"train-traces.jsonl", "validation-traces.jsonl", "base"}
    assert [len(rows(folder / f"{name}.jsonl")) for name in ("train", "validation", "test")] == [6, 3, 4]
    for path in task.base_folder.iterdir():
        assert (folder / "base" / path.name).read_bytes() == path.read_bytes()


def test_an_expert_without_thoughts_becomes_a_trajectory_of_its_steps(written):
    task, folder = written
    read = list(read_trajectories(str(folder / "train.jsonl"), strict=True))
    for item, problem in zip(read, task.make_problems("train", 6, 7), strict=True):
        assert isinstance(item, Trajectory)
        assert (item.problem, item.answer) == (problem.problem, problem.answer)
        assert [step.text.strip() for step in item.steps] == list(problem.steps)


def test_a_trace_is_the_same_solution_with_a_thought_before_every_step(written):
    _, folder = written
    for split in ("train", "validation"):
        plain, traces = rows(folder / f"{split}.jsonl"), rows(folder / f"{split}-traces.jsonl")
        for short, long in zip(plain, traces, strict=True):
            assert {**long, "solution": ""} == {**short, "solution": ""}
            assert long["solution"].count("<think>") == len(short["solution"].split("\n\n"))
            assert all(part.startswith("<think>") for part in long["solution"].split("\n\n"))
            parsed = parse_solution(long["solution"], "stop")
            assert parsed.status is ParseStatus.OK
            assert parsed.action == short["solution"]
            assert len(parsed.monologue.splitlines()) == long["solution"].count("<think>")


def test_the_prompts_and_answers_of_the_tasks_are_told_apart():
    assert len({task.base_folder for task in TEXT_TASKS}) == len(TEXT_TASKS) == len({task.name for task in TEXT_TASKS})
    assert all(name == task.name for name, task in TASKS.items())


def test_a_base_is_replaced_as_a_whole(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("new")
    for leftover in ("base", "base.tmp"):
        (tmp_path / leftover).mkdir()
        (tmp_path / leftover / "old").write_text("old")
    copy_base(source, tmp_path / "base")
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["a"]
    assert not (tmp_path / "base.tmp").exists()
