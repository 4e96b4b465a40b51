"""Validation by solving: what is counted, and that it leaves no trace in the training."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import stage, tiny_policy, trainer

from srl.engines.scripted import ScriptedEngine
from srl.engines.transformers import TransformersEngine
from srl.prompts import PromptTexts, next_step_prompt
from srl.rewards import outcome
from srl.training_config import ScheduleConfig
from srl.types import ChatPrompt, Generation, Problem, SamplingParams, Ungraded
from srl.validation import ProblemValidation, solve_problems

TEXTS = PromptTexts(step_system="next", solve_system="solve")


def validation(number: int = 4, **changes: Any) -> ProblemValidation:
    """Problem n has the answer n."""
    problems = tuple(Problem(problem_id=f"p{n}", problem=f"Number {n}?", answer=str(n)) for n in range(number))
    settings = {
        "context_in": "user",
        "max_step_tokens": 200,
        "max_solution_tokens": 200,
        "max_prompt_tokens": 10_000,
        "max_steps": 4,
    }
    return ProblemValidation(problems=problems, texts=TEXTS, **(settings | changes))


def number_of(prompt: ChatPrompt) -> int:
    return int(prompt.messages[1]["content"].split("Number ")[1].split("?")[0])


def is_whole(prompt: ChatPrompt) -> bool:
    return prompt.messages[0]["content"] == "solve"


def test_each_way_of_solving_has_its_own_accuracy() -> None:
    def reply(prompt: ChatPrompt, index: int) -> str:
        number = number_of(prompt)
        if is_whole(prompt):
            return f"so \\boxed{{{number if number < 3 else 99}}}"
        if "first" not in prompt.messages[1]["content"]:
            return "<think>add</think>1. first of it"  # a thought, as in training
        return f"2. so \\boxed{{{number if number < 1 else 99}}}"  # and none: an evaluation asks for answers

    found = solve_problems(ScriptedEngine(reply), validation())
    assert found == {"validation/whole_accuracy": 3 / 4, "validation/stepwise_accuracy": 1 / 4}


def test_it_is_greedy_with_one_sample_and_as_long_as_the_stage_says() -> None:
    calls: list[dict[str, Any]] = []

    class Spy(ScriptedEngine):
        def generate(self, prompts: Any, **options: Any) -> list[Generation]:
            calls.append(options)
            return super().generate(prompts, **options)

    solve_problems(
        Spy(lambda prompt, index: "1. on and on"), validation(max_steps=3, max_step_tokens=77, max_solution_tokens=99)
    )
    assert len(calls) == 1 + 3  # a whole solution, and chains that do not end
    assert {call["num_samples"] for call in calls} == {1}
    assert [call["sampling"] for call in calls] == [
        SamplingParams(temperature=0.0, max_completion_tokens=limit) for limit in (99, *[77] * (len(calls) - 1))
    ]


def test_chains_stop_at_prompts_that_leave_no_room() -> None:
    rounds: list[int] = []

    def reply(prompt: ChatPrompt, index: int) -> str:
        rounds.append(len(prompt.messages[1]["content"]))
        return "1. on and on"

    engine = ScriptedEngine(reply)
    first = engine.count_prompt_tokens(next_step_prompt("Number 0?", (), context_in="user", texts=TEXTS))
    found = solve_problems(engine, validation(1, max_steps=50, max_prompt_tokens=first + 40))
    assert found["validation/stepwise_accuracy"] == 0.0
    assert 2 <= len(rounds) < 10


def test_what_cannot_be_graded_is_left_out_and_nothing_graded_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def grade_many(pairs: Any, **options: Any) -> list[bool | Ungraded]:
        return [Ungraded(reason="deadline") if answer in ("0", "1") else answer == "2" for _, answer in pairs]

    monkeypatch.setattr("srl.evaluation.solve.grade_many", grade_many)
    assert outcome.grade_many is not grade_many
    engine = ScriptedEngine(lambda prompt, index: "so \\boxed{7}")
    assert solve_problems(engine, validation()) == {
        "validation/whole_accuracy": 1 / 2, "validation/stepwise_accuracy": 1 / 2,
    }  # fmt: skip
    nothing = solve_problems(engine, validation(2))
    assert all(math.isnan(float(value)) for value in nothing.values())


def test_a_problem_that_does_not_fit_in_either_way_of_asking_is_left_out() -> None:
    problems = validation()
    long = replace(problems.problems[2], problem="Number 2? " + "x" * 300)
    engine = ScriptedEngine(lambda prompt, index: "")
    longest = max(
        engine.count_prompt_tokens(next_step_prompt(f"Number {n}?", (), context_in="user", texts=TEXTS))
        for n in range(4)
    )
    everything = replace(problems, problems=(*problems.problems[:2], long, problems.problems[3]))
    fitted = everything.fitted(engine.count_prompt_tokens, longest)
    assert [problem.problem_id for problem in fitted.problems] == ["p0", "p1", "p3"]
    assert fitted.max_prompt_tokens == longest
    assert not everything.fitted(
        engine.count_prompt_tokens, longest - 1
    ).problems  # the step's prompt is the longer one


def test_a_process_without_a_problem_of_its_own_solves_none() -> None:
    found = solve_problems(TransformersEngine(*tiny_policy()), validation(0))
    assert all(math.isnan(float(value)) for value in found.values())


SCHEDULE = ScheduleConfig(num_updates=4, validate_every=1, save_every=2, num_epochs=50)
SOLVING = replace(SCHEDULE, num_validation_problems=3)


def with_problems(**changes: Any) -> ProblemValidation:
    return validation(3, **({"max_step_tokens": 6, "max_solution_tokens": 6, "max_prompt_tokens": 400} | changes))


def test_a_run_with_it_has_the_weights_and_the_random_state_of_the_run_without(tmp_path: Path) -> None:
    plain, solving = stage(schedule=SCHEDULE), stage(schedule=SOLVING)
    trainer(plain, tmp_path / "plain").train()
    trainer(replace(solving, validation_problems=with_problems()), tmp_path / "solving").train()
    for name in ("model", "optimizer"):  # the latter has the random state
        one, other = (
            load_file(tmp_path / kind / f"checkpoints/srl/update-00004/{name}.safetensors")
            for kind in ("plain", "solving")
        )
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    lines = [json.loads(line) for line in (tmp_path / "solving/metrics.jsonl").read_text().splitlines()]
    assert all({"validation/whole_accuracy", "validation/stepwise_accuracy"} <= line.keys() for line in lines)


class Improving:
    """Solves more wholes and fewer chains from validation to validation, with steps like the expert's at the third."""

    WHOLE, STEPWISE, REWARD = (9, 1, 2, 3, 3), (9, 1, 3, 2, 0), (9, 2, 4, 5, 3)  # the first is before the first update

    def __init__(self) -> None:
        self.num_validations = 0
        self._engine = TransformersEngine(*tiny_policy(), batch_size=16)
        self.count_prompt_tokens, self.stream = self._engine.count_prompt_tokens, self._stream

    def _stream(self, prompts: Any, *, num_samples: int, sampling: SamplingParams, seed: int) -> Any:
        if sampling.temperature > 0:
            yield from self._engine.stream(prompts, num_samples=num_samples, sampling=sampling, seed=seed)
            return
        asked = list(prompts)
        text = "seven times six"[: 3 * self.REWARD[self.num_validations]]
        script = ScriptedEngine(lambda prompt, index: text)
        long = replace(sampling, max_completion_tokens=99)
        yield dict(enumerate(script.generate(asked, num_samples=num_samples, sampling=long, seed=seed)))

    def generate(self, prompts: Any, *, num_samples: int, sampling: SamplingParams, seed: int) -> list[Generation]:
        def reply(prompt: ChatPrompt, index: int) -> str:
            number = number_of(prompt)
            solved = (self.WHOLE if is_whole(prompt) else self.STEPWISE)[self.num_validations]
            return f"\\boxed{{{number if number < solved else 99}}}"

        long = replace(sampling, max_completion_tokens=99)
        return ScriptedEngine(reply).generate(prompts, num_samples=num_samples, sampling=long, seed=seed)


@pytest.mark.parametrize(("best_by", "best"), [("reward", 3), ("whole", 3), ("stepwise", 2)])
def test_the_best_is_the_first_with_the_highest_value_of_what_was_asked_for(
    tmp_path: Path, best_by: Any, best: int
) -> None:
    """Never the state before the first update, however good it is."""
    engine = Improving()

    def count(metrics: Any) -> None:
        engine.num_validations += "validation/whole_accuracy" in metrics

    the_stage = stage(schedule=replace(SOLVING, best_by=best_by))
    the_stage = replace(the_stage, validation_problems=with_problems(max_step_tokens=99, max_solution_tokens=99))
    final = trainer(the_stage, tmp_path, engine=engine, on_metrics=count).train()
    assert engine.num_validations == 5
    assert final.name == f"best-{best:05d}"
    record = json.loads((tmp_path / "checkpoints/srl/final.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    key = {"reward": "reward"}.get(best_by, f"{best_by}_accuracy")
    assert record["best"] == {"update": best, "value": lines[best][f"validation/{key}"]}
    assert [line["validation/whole_accuracy"] for line in lines] == [1.0, 1 / 3, 2 / 3, 1.0, 1.0]


def test_without_a_value_nothing_is_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "srl.evaluation.solve.grade_many", lambda pairs, **options: [Ungraded(reason="deadline")] * len(pairs)
    )
    the_stage = stage(schedule=replace(SOLVING, best_by="whole", num_updates=2))
    the_stage = replace(the_stage, validation_problems=with_problems(max_step_tokens=99, max_solution_tokens=99))
    final = trainer(the_stage, tmp_path, engine=Improving()).train()
    assert final.name == "update-00002"
    assert "validation/whole_accuracy" not in (tmp_path / "metrics.jsonl").read_text()
