"""What each kind of stage asks about, and how prompts are made to fit."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_policy

from srl import token_lengths
from srl.config import StageConfig
from srl.data_config import DataConfig, InterleaveConfig, PromptConfig
from srl.decomposition.run import decompose
from srl.engines.transformers import render
from srl.errors import ConfigError, DataError
from srl.example_stream import ExampleStream
from srl.prompts import PromptTexts
from srl.reward_config import RewardConfig
from srl.stage_data import StageData, build_stage, fit_prompts
from srl.token_lengths import CACHE_FOLDER, UNUSABLE, prompt_lengths, tokenizer_hash
from srl.training_config import SamplingConfig, ScheduleConfig
from srl.training_examples import TrainingExamples
from srl.types import StepExample

SOLUTION = "1. **Add** 2+{n}={s}\n\n2. **Double** {s}*2={d}\n\n3. **Conclude** The answer is \\boxed{{{d}}}."
TEXTS = PromptTexts(step_system="next", solve_system="solve", agent_system="act")
OBSERVATION = "".join(f"line {number} of what came back\n" for number in range(40))


@pytest.fixture
def solutions(tmp_path: Path) -> str:
    rows = [
        {"id": f"t{n}", "problem": f"What is (2+{n})*2?", "solution": SOLUTION.format(n=n, s=2 + n, d=4 + 2 * n)}
        for n in range(6)
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def logs(tmp_path: Path) -> str:
    """Three logs of five actions, as chats."""
    rows = []
    for number in range(3):
        messages = [{"role": "system", "content": "tools"}, {"role": "user", "content": f"Fix bug {number}."}]
        for turn in range(5):
            messages.append({"role": "assistant", "content": f"try {number}.{turn}"})
            messages.append({"role": "user", "content": OBSERVATION})
        rows.append({"id": f"log{number}", "messages": messages})
    path = tmp_path / "logs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def stage_of(source: str, kind: str = "srl", *, prompt: PromptConfig | None = None, **data: Any) -> StageData:
    config = StageConfig(
        kind=kind,  # type: ignore[arg-type]
        data=DataConfig(train=source, **({"num_validation_trajectories": 0} | data)),
        prompt=prompt or PromptConfig(texts=TEXTS),
        sampling=SamplingConfig(max_completion_tokens=32),
    )
    return build_stage("s", config, seed=0)


def test_one_step_asks_for_the_whole_solution(solutions: str) -> None:
    stage = stage_of(solutions, one_step=True).stage
    assert [example.example_id for example in stage.training] == [f"t{n}" for n in range(6)]
    example = stage.training[2]
    assert example.target == SOLUTION.format(n=2, s=4, d=8)
    assert example.prompt.messages[0]["content"] == "solve"
    assert example.prompt.assistant_prefix == ""
    parsed = stage.scoring.parse("<think>a</think>x<think>b</think>y", "stop")
    assert stage.scoring.reward(parsed.action, "xy") > 0.5
    assert stage.scoring.format_penalty == -1.0


def test_reverse_starts_continue_the_experts_steps(solutions: str) -> None:
    stage = stage_of(solutions, "rlvr", starts="mixed").stage
    assert [example.example_id for example in stage.training] == [f"t{n}#{k}" for n in range(6) for k in range(3)]
    first, second, third = stage.training[:3]
    assert (first.prompt.assistant_prefix, first.target) == ("", "4")
    assert second.prompt.assistant_prefix == "1. **Add** 2+0=2\n\n"
    assert third.prompt.assistant_prefix == "1. **Add** 2+0=2\n\n2. **Double** 2*2=4\n\n"
    assert first.prompt.messages == second.prompt.messages == third.prompt.messages
    assert stage.scoring.reward("3. **Conclude** so \\boxed{4}", "4") == 1.0


def test_a_whole_solution_needs_its_last_step_wherever_it_stands(solutions: str) -> None:
    place = Path(solutions).with_name("steps.jsonl")
    decompose(solutions, place)
    lines = place.read_text().splitlines(keepends=True)
    del lines[-1]  # the last step of t5
    place.write_text("".join(lines[::-1]))
    data = stage_of(str(place), one_step=True)
    assert [example.example_id for example in data.stage.training] == ["t4", "t3", "t2", "t1", "t0"]
    assert all(example.target.endswith("}.") for example in data.stage.training)
    assert data.dropped == {"last_step_missing": 1}


def test_a_final_answer_is_not_asked_of_agents(logs: str) -> None:
    place = Path(logs).with_name("steps.jsonl")
    decompose(logs, place)
    place.write_text(place.read_text().replace('"answer": null', '"answer": "7"'))
    for starts in ("problem", "mixed"):
        with pytest.raises(DataError, match='kind = "srl"'):
            stage_of(str(place), "rlvr", starts=starts)


def test_limits_and_caps_are_counted(solutions: str) -> None:
    data = stage_of(solutions, max_target_chars=17, include_last_step=True)
    assert data.dropped == {"target_too_long (setting)": 6 + 6}  # "1. **Add** 2+0=2" has 16 characters, the others more
    data = stage_of(solutions, max_examples_per_trajectory=1)
    assert len(data.stage.training) == 6
    assert data.dropped == {"over_max_per_trajectory (setting)": 6}


def test_agents_actions_are_asked_for_with_their_last_rounds(logs: str) -> None:
    stage = stage_of(logs).stage
    assert [example.example_id for example in stage.training[:4]] == [f"log0#{k}" for k in range(4)]
    prompt = stage.training[3].prompt.messages[1]["content"]
    assert stage.training[3].target == "try 0.3"
    assert "try 0.1" in prompt
    assert "try 0.2" in prompt
    assert "try 0.0" not in prompt
    assert prompt.count("line 39 of") == 2
    longer = stage_of(logs, prompt=PromptConfig(texts=TEXTS, context_turns=3)).stage
    assert "try 0.0" in longer.training[3].prompt.messages[1]["content"]


def test_what_cannot_be_asked_of_agents_is_an_error_before_a_model_is_loaded(logs: str) -> None:
    with pytest.raises(DataError, match=r"one_step = false"):
        stage_of(logs, one_step=True)
    with pytest.raises(DataError, match=r'context_in = "user"'):
        stage_of(logs, prompt=PromptConfig(texts=TEXTS, context_in="assistant"))
    with pytest.raises(DataError, match="nothing to train on"):
        stage_of(logs, "rlvr")


@pytest.mark.parametrize("shape", ["logs", "examples.jsonl", "shards", "examples.parquet"])
def test_agents_prompts_are_cut_to_the_budget(logs: str, tmp_path: Path, shape: str) -> None:
    """The same prompts, whether training reads the logs or what decompose made of them."""
    source = logs
    if shape != "logs":
        source = str(tmp_path / shape)
        decompose(logs, Path(source))
    model, tokenizer = tiny_policy()
    limits = PromptConfig(texts=TEXTS, max_observation_tokens=100, max_prompt_tokens=300)
    data, lengths = fit_prompts(stage_of(source, prompt=limits), model.config, tokenizer)
    training = data.stage.training
    assert len(training) == len(lengths) == 12
    rendered = [render(example.prompt, tokenizer) for example in training]
    counted = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in rendered]
    assert counted == list(lengths)
    assert max(counted) <= 300
    assert "characters left out" in rendered[3]
    assert all(f"Fix bug {number // 4}." in text for number, text in enumerate(rendered))
    with pytest.raises(ConfigError, match="no prompt fits into 5 tokens"):
        fit_prompts(stage_of(source, prompt=PromptConfig(texts=TEXTS, max_prompt_tokens=5)), model.config, tokenizer)


def examples_of(source: str, texts: PromptTexts = TEXTS) -> TrainingExamples:
    training = stage_of(source, prompt=PromptConfig(texts=texts)).stage.training
    assert isinstance(training, TrainingExamples)
    return training


def test_lengths_are_measured_once_and_kept_beside_the_data(solutions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokenizer = tiny_policy()
    examples = examples_of(solutions)
    lengths = prompt_lengths(examples, tokenizer, solutions, limit=512)
    texts = [render(example.prompt, tokenizer) for example in examples]
    assert list(lengths) == [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    (kept,) = (Path(solutions).parent / CACHE_FOLDER).iterdir()
    assert kept.name.endswith(f"-{tokenizer_hash(tokenizer)}.npy")
    monkeypatch.setattr(token_lengths, "_measure", None)  # measuring again would fail
    assert np.array_equal(prompt_lengths(examples_of(solutions), tokenizer, solutions, limit=512), lengths)


def test_other_words_other_tokenizers_and_broken_files_are_measured_again(solutions: str) -> None:
    _, tokenizer = tiny_policy()
    examples = examples_of(solutions)
    lengths = prompt_lengths(examples, tokenizer, solutions, limit=512)
    folder = Path(solutions).parent / CACHE_FOLDER
    (kept,) = folder.iterdir()
    for damage in (b"", kept.read_bytes()[:-3], b"\x80\x04K\x01."):
        kept.write_bytes(damage)
        assert np.array_equal(prompt_lengths(examples, tokenizer, solutions, limit=512), lengths)
    prompt_lengths(examples_of(solutions, PromptTexts(step_system="longer text")), tokenizer, solutions, limit=512)
    assert len(list(folder.iterdir())) == 2
    template = tokenizer.chat_template
    tokenizer.chat_template = f"{template}x"
    assert len(prompt_lengths(examples, tokenizer, solutions, limit=512)) == 12
    assert len(list(folder.iterdir())) == 3
    before = tokenizer_hash(tokenizer)
    tokenizer.bos_token = tokenizer.pad_token  # which a chat template may write
    assert tokenizer_hash(tokenizer) != before


def test_lengths_follow_the_order_of_the_examples(solutions: str) -> None:
    """A file of step examples whose lines change places holds the same words."""
    place = Path(solutions).with_name("steps.jsonl")
    decompose(solutions, place)
    _, tokenizer = tiny_policy()
    lengths = list(prompt_lengths(examples_of(str(place)), tokenizer, str(place), limit=512))
    place.write_text("".join(place.read_text().splitlines(keepends=True)[::-1]))
    assert list(prompt_lengths(examples_of(str(place)), tokenizer, str(place), limit=512)) == lengths[::-1] != lengths


def test_a_user_without_a_home(solutions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user id without an account
    assert len(prompt_lengths(examples_of(solutions), tiny_policy()[1], solutions, limit=512)) == 12


def test_where_nothing_can_be_written_lengths_are_measured_each_time(
    solutions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tokenizer = tiny_policy()
    place = Path(solutions).parent
    (place / CACHE_FOLDER).write_text("a file where the folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / CACHE_FOLDER))
    assert len(prompt_lengths(examples_of(solutions), tokenizer, solutions, limit=512)) == 12


def test_a_prompt_that_cannot_fit_has_no_length(logs: str) -> None:
    _, tokenizer = tiny_policy()

    class Refusing:
        def cut(self, example: StepExample) -> StepExample:
            return example

        def fit(self, example: StepExample) -> StepExample | None:
            return None if example.step_index == 1 else example

    examples = examples_of(logs).fitted(Refusing(), "none")
    lengths = prompt_lengths(examples, tokenizer, logs, limit=1)
    assert [place for place, length in enumerate(lengths) if length == UNUSABLE] == [1, 5, 9]
    with pytest.raises(DataError, match="log0#1 does not fit"):
        examples[1]


def test_the_fingerprint_changes_with_words_and_not_with_order(solutions: str) -> None:
    examples = examples_of(solutions)
    assert examples.subset(list(range(len(examples)))[::-1]).fingerprint == examples.fingerprint
    assert examples.subset(range(3)).fingerprint != examples.fingerprint
    assert examples_of(solutions, PromptTexts(step_system="x")).fingerprint != examples.fingerprint
    text = Path(solutions).read_text().replace("What is (2+3)", "What was (2+3)")
    Path(solutions).write_text(text)
    assert examples_of(solutions).fingerprint != examples.fingerprint


def test_examples_know_their_step_and_the_experts_next_one(solutions: str) -> None:
    first, second, third, *_ = stage_of(solutions, include_last_step=True).stage.training
    assert first.step is not None
    assert (first.step.step_index, first.step.context, first.step.answer) == (0, (), "4")
    assert second.step is not None
    assert second.step.context == ("1. **Add** 2+0=2\n\n",)
    assert (first.next_action, second.next_action) == (second.target, third.target)
    assert third.next_action == ""  # the next row belongs to another trajectory


def gated(source: str, **reward: Any) -> StageData:
    config = StageConfig(
        kind="srl",
        data=DataConfig(train=source, num_validation_trajectories=0),
        prompt=PromptConfig(texts=TEXTS),
        sampling=SamplingConfig(max_completion_tokens=32),
        reward=RewardConfig(outcome="gate", **reward),
    )
    return build_stage("s", config, seed=0)


def test_an_outcome_needs_answers_and_room_for_the_rest_of_the_solution(solutions: str) -> None:
    rows = [json.loads(line) for line in Path(solutions).read_text().splitlines()]
    for row in rows[:2]:
        row["solution"] = row["solution"].partition("3. ")[0]
    Path(solutions).write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = gated(solutions, max_finishing_tokens=64)
    assert data.dropped == {"no_answer": 2}
    assert {example.example_id[:2] for example in data.stage.training} == {"t2", "t3", "t4", "t5"}
    model, tokenizer = tiny_policy()
    _, lengths = fit_prompts(data, model.config, tokenizer, save_lengths=False)
    model.config.max_position_embeddings = max(lengths) + 32 + 64
    fitted, _ = fit_prompts(data, model.config, tokenizer, save_lengths=False)
    assert len(fitted.stage.training) == len(data.stage.training)
    model.config.max_position_embeddings -= 1
    fitted, _ = fit_prompts(data, model.config, tokenizer, save_lengths=False)
    assert fitted.dropped["prompt_too_long"] >= 1


def test_an_agents_action_leads_to_no_answer(logs: str) -> None:
    with pytest.raises(DataError, match=r"nothing to train on; left out: \{'no_answer': "):
        gated(logs)


def test_stored_examples_are_drawn_by_trajectory(solutions: str) -> None:
    examples = examples_of(solutions)
    positions = {name: (step.trajectory_id, step.step_index) for name, step in
                 ((item.example_id, item.step) for item in examples) if step is not None}  # fmt: skip
    assert examples.positions == [positions[name] for name in examples.ids]
    stream = ExampleStream(examples, seed=0, num_epochs=1, draw_by="trajectory")
    drawn = [positions[item.example_id] for item in stream.draw(len(examples))]
    starts = [place for place, (_, step_index) in enumerate(drawn) if step_index == 0]
    assert len(starts) == len({trajectory_id for trajectory_id, _ in drawn}) > 1
    assert all(after[1] == 0 or after == (before[0], before[1] + 1) for before, after in pairwise(drawn))


def mixed(source: str, *, prompt: PromptConfig | None = None, **data: Any) -> StageData:
    config = StageConfig(
        kind="srl",
        data=DataConfig(train=source, **({"num_validation_trajectories": 2} | data)),
        interleave=InterleaveConfig(first_share=0.5, last_share=0.5),
        prompt=prompt or PromptConfig(texts=TEXTS),
        sampling=SamplingConfig(max_completion_tokens=32),
    )
    return build_stage("s", config, seed=0)


def without_answers(source: str, number: int) -> None:
    """Cut the last step, and with it the answer, off the first solutions."""
    rows = [json.loads(line) for line in Path(source).read_text().splitlines()]
    for row in rows[:number]:
        row["solution"] = row["solution"].partition("3. ")[0]
    Path(source).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_whole_problems_stand_beside_the_steps_and_are_scored_by_their_answers(solutions: str) -> None:
    without_answers(solutions, 1)
    data = mixed(solutions)
    stage = data.stage
    held_out = {example.step.trajectory_id for example in stage.validation if example.step is not None}
    assert len(held_out) == 2
    wanted = [f"t{n}" for n in range(6) if f"t{n}" not in held_out and n > 0]
    assert [example.example_id for example in stage.problems] == [f"{name}#problem" for name in wanted]
    assert data.dropped == ({"problem_without_answer": 1} if "t0" not in held_out else {})
    assert {example.example_id.partition("#")[0] for example in stage.training} >= set(wanted)
    for example in stage.problems:
        n = int(example.example_id[1])
        assert example.is_problem
        assert [message["content"] for message in example.prompt.messages] == ["solve", f"What is (2+{n})*2?"]
        assert (example.prompt.assistant_prefix, example.target) == ("", str(4 + 2 * n))
    assert not any(example.is_problem for example in [*stage.training, *stage.validation])
    by_answer = stage.scoring.problems
    assert by_answer is not None
    assert (stage.scoring.format_penalty, by_answer.format_penalty) == (-1.0, 0.0)
    assert by_answer.parse("<think>a</think>x<think>b</think>y", "stop").action == "xy"
    assert by_answer.reward("so \\boxed{8}", "8") == 1.0
    assert stage_of(solutions).stage.scoring.problems is None
    assert stage_of(solutions).stage.problems == ()


def test_whole_solutions_and_problems_of_a_trajectory_have_ids_of_their_own(solutions: str) -> None:
    """With one id for both, what is given back would come twice."""
    stage = mixed(solutions, one_step=True).stage
    assert len(stage.problems) == len(stage.training) == 4
    assert not {example.example_id for example in stage.problems} & {example.example_id for example in stage.training}


def test_problems_need_answers(solutions: str, logs: str) -> None:
    without_answers(solutions, 6)
    for source in (solutions, logs):
        with pytest.raises(DataError, match=r"has no final answer, and \[interleave\] asks for whole problems"):
            mixed(source, num_validation_trajectories=1)


def test_problems_that_do_not_fit_are_left_out_and_none_at_all_is_an_error(solutions: str) -> None:
    model, tokenizer = tiny_policy()
    data = mixed(solutions, prompt=PromptConfig(texts=PromptTexts(step_system="next", solve_system="s" * 40)))
    _, lengths = fit_prompts(data, model.config, tokenizer, save_lengths=False)
    rendered = [render(example.prompt, tokenizer) for example in data.stage.problems]
    counted = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in rendered]
    assert max(counted) < max(lengths) + 40
    model.config.max_position_embeddings = max(*lengths, *counted) + 32
    fitted, _ = fit_prompts(data, model.config, tokenizer, save_lengths=False)
    assert len(fitted.stage.problems) == 4
    model.config.max_position_embeddings = min(counted) + 31
    with pytest.raises(ConfigError, match=r"no whole problem of \[interleave\] fits into"):
        fit_prompts(data, model.config, tokenizer, save_lengths=False)


def solving(source: str, kind: str = "srl", number: int = 2, **data: Any) -> StageData:
    config = StageConfig(
        kind=kind,  # type: ignore[arg-type]
        data=DataConfig(train=source, **({"num_validation_trajectories": 3} | data)),
        prompt=PromptConfig(texts=TEXTS, context_in="assistant"),
        sampling=SamplingConfig(max_completion_tokens=32),
        schedule=ScheduleConfig(num_validation_problems=number, num_validation_examples=1),
    )
    return build_stage("s", config, seed=0)


@pytest.mark.parametrize("kind", ["srl", "rlvr"])
def test_validation_solves_held_out_problems_with_an_answer(solutions: str, kind: str) -> None:
    for number in (2, 3, 99):
        stage = solving(solutions, kind, number).stage
        solved = stage.validation_problems
        assert solved is not None
        assert len(solved.problems) == min(number, 3)  # whatever the number of validation examples
        trained = {example.step.trajectory_id for example in stage.training if example.step is not None}
        for problem in solved.problems:
            n = int(problem.problem_id[1])
            assert problem.problem_id not in trained
            assert (problem.problem, problem.answer) == (f"What is (2+{n})*2?", str(4 + 2 * n))
        assert (solved.context_in, solved.texts, solved.max_step_tokens) == ("assistant", TEXTS, 32)
        assert solved.max_steps == 2 * 3
    assert stage_of(solutions).stage.validation_problems is None


def test_validation_by_solving_needs_held_out_answers(solutions: str, logs: str) -> None:
    with pytest.raises(DataError, match="no held-out problem has a final answer"):
        solving(solutions, num_validation_trajectories=0)
    without_answers(solutions, 6)
    with pytest.raises(DataError, match="no held-out problem has a final answer"):
        solving(solutions)


def test_validation_problems_that_do_not_fit_are_left_out(solutions: str) -> None:
    """The engine would refuse them in the middle of the training."""
    rows = [json.loads(line) for line in Path(solutions).read_text().splitlines()]
    rows[1]["problem"] += " Think" * 40
    validation = Path(solutions).with_name("validation.jsonl")
    validation.write_text("".join(json.dumps(row | {"problem": "V: " + row["problem"]}) + "\n" for row in rows))
    model, tokenizer = tiny_policy()
    data = solving(solutions, number=6, validation=str(validation), num_validation_trajectories=60)
    model.config.max_position_embeddings = 160
    fitted, _ = fit_prompts(data, model.config, tokenizer, save_lengths=False)
    solved = fitted.stage.validation_problems
    assert solved is not None
    assert [problem.problem_id for problem in solved.problems] == ["t0", "t2", "t3", "t4", "t5"]
    assert solved.max_prompt_tokens == 160 - 32
    assert fitted.dropped["validation_problem_too_long"] == 1
    assert fitted.stage.max_prompt_tokens == 160 - 32
