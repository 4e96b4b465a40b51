"""What fine-tuning learns, from the expert's file to the text of the completion."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from srl.config import StageConfig
from srl.data_config import DataConfig, PromptConfig
from srl.errors import DataError
from srl.example_store import load_examples
from srl.examples import ExampleSettings, from_json, make_step_examples, to_json
from srl.parsing import parse_solution, parse_step
from srl.prompts import DEFAULT_TEXTS, solve_prompt, step_prompt
from srl.stage_data import build_stage
from srl.taught_examples import trace_of
from srl.training_config import SFTConfig
from srl.trajectories.reader import read_trajectories
from srl.types import ParseStatus, Source, StepExample, Trajectory

STEPS = ("1. **Add** 2+3=5\n\n", "2. **Double** 5*2=10\n\n", "3. **Conclude** The answer is \\boxed{10}.")
THOUGHTS = ("two and three", "twice", "so ten")
SOLUTION = "".join(STEPS)
INTERLEAVED = "".join(f"<think>{thought}</think>{step}" for thought, step in zip(THOUGHTS, STEPS, strict=True))


def rows(solution, num=4, **columns):
    return [{"id": f"t{n}", "problem": f"What is (2+3)*2? ({n})", "solution": solution, **columns} for n in range(num)]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def stage_of(path, *, teach, **sections):
    data = DataConfig(train=str(path), num_validation_trajectories=sections.pop("num_validation", 0))
    return build_stage("sft", StageConfig(kind="sft", data=data, sft=SFTConfig(teach=teach), **sections), seed=0)


def decomposed(path, source):
    items = read_trajectories(str(source))
    return write(path, [to_json(example) for item in items for example in make_step_examples(item)])


@pytest.mark.parametrize("as_examples", [False, True])
@pytest.mark.parametrize("solution", [SOLUTION, INTERLEAVED], ids=["plain", "interleaved"])
def test_a_solution_is_learned_whole_from_the_prompt_of_rlvr(tmp_path, solution, as_examples):
    path = write(tmp_path / "a.jsonl", rows(solution))
    data = stage_of(decomposed(tmp_path / "steps.jsonl", path) if as_examples else path, teach="solution")
    assert len(data.stage.training) == 4
    first = data.stage.training[0]
    assert (first.target, first.prompt) == (SOLUTION, solve_prompt("What is (2+3)*2? (0)"))


@pytest.mark.parametrize("as_examples", [False, True])
def test_an_interleaved_trace_is_learned_word_for_word(tmp_path, as_examples):
    path = write(tmp_path / "a.jsonl", rows(INTERLEAVED))
    data = stage_of(decomposed(tmp_path / "steps.jsonl", path) if as_examples else path, teach="trace")
    assert [example.target for example in data.stage.training] == [INTERLEAVED] * 4
    parsed = parse_solution(INTERLEAVED, "stop")
    assert (parsed.status, parsed.action) == (ParseStatus.OK, SOLUTION)


@pytest.mark.parametrize("as_examples", [False, True])
def test_thinking_before_the_solution_stands_in_its_tags(tmp_path, as_examples):
    path = write(tmp_path / "a.jsonl", rows(f"<think>\nHm. Twice five.\n</think>\n\n{SOLUTION}"))
    data = stage_of(decomposed(tmp_path / "steps.jsonl", path) if as_examples else path, teach="trace")
    assert data.stage.training[1].target == f"<think>Hm. Twice five.</think>\n{SOLUTION}"


def test_thinking_in_a_column_of_its_own(tmp_path):
    path = write(tmp_path / "a.jsonl", rows(SOLUTION, reasoning_content="Hm. Twice five."))
    assert stage_of(path, teach="trace").stage.training[0].target == f"<think>Hm. Twice five.</think>\n{SOLUTION}"


def test_rows_without_thinking_are_left_out_and_counted(tmp_path):
    thinking, plain = rows(INTERLEAVED, num=3), rows(SOLUTION, num=5)
    for place, row in enumerate(plain):
        row |= {"id": f"p{place}", "problem": f"Another: {place}"}
    data = stage_of(write(tmp_path / "a.jsonl", [*thinking, *plain]), teach="trace")
    assert (len(data.stage.training), data.dropped) == (3, {"no_reasoning": 5})
    with pytest.raises(DataError, match=r"nothing to train on.*no_reasoning"):
        stage_of(write(tmp_path / "b.jsonl", plain), teach="trace")


def example(**fields):
    base = StepExample(
        trajectory_id="t", step_index=1, num_steps=2, problem="p", context=("1. a\n",), title="", target_action="2. b",
        target_body="b", answer=None, source=Source(file="f", row=0),
    )  # fmt: skip
    return replace(base, **fields)


@pytest.mark.parametrize(
    ("reasoning", "trace"),
    [
        ("", None),
        ("Hm.", "<think>Hm.</think>\n1. a\n2. b"),
        ("<think>Hm.</think>", "<think>Hm.</think>\n1. a\n2. b"),  # a column that has its tags
        ("I write <think> here.", None),  # would not be read as what it is
        ("<think></think>", None),
        ("<think>x</think>1. a\n<think>y</think>2. b", "<think>x</think>1. a\n<think>y</think>2. b"),
    ],
)
def test_traces(reasoning, trace):
    assert trace_of(example(reasoning=reasoning)) == trace


def test_steps_are_learned_from_the_prompts_of_srl(tmp_path):
    prompt = PromptConfig(title_in_prompt=True, context_in="assistant")
    path = write(tmp_path / "a.jsonl", rows(INTERLEAVED))
    data = stage_of(path, teach="steps", prompt=prompt)
    assert len(data.stage.training) == 4 * 2  # without the last step, as in srl
    second = data.stage.training[1]
    assert second.target == "<think>twice</think>5*2=10"
    assert parse_step(second.target, "stop").status is ParseStatus.OK
    assert second.step is not None
    assert second.prompt == step_prompt(second.step, context_in="assistant", title_in_prompt=True, texts=DEFAULT_TEXTS)
    srl = build_stage("srl", StageConfig(kind="srl", data=DataConfig(train=str(path), num_validation_trajectories=0),
                                         prompt=prompt), seed=0)  # fmt: skip
    assert [item.prompt for item in data.stage.training] == [item.prompt for item in srl.stage.training]
    plain = stage_of(write(tmp_path / "b.jsonl", rows(SOLUTION)), teach="steps")
    assert plain.stage.training[0].target == STEPS[0].strip()


def test_an_agents_action_is_learned_after_its_thought(tmp_path):
    actions = ["ls", "cat a.py", "submit"]
    lines = [
        to_json(
            example(
                trajectory_id=f"log{log}", problem=f"Fix {log}", step_index=place, num_steps=3, kind="agent",
                context=tuple(actions[:place][-2:]), observations=("ok",) * min(2, place), target_action=action,
                target_body=action, target_thought="" if place else "look first",
            )
        )
        for log in range(3)
        for place, action in enumerate(actions)
    ]  # fmt: skip
    path = write(tmp_path / "logs.jsonl", lines)
    data = stage_of(path, teach="steps", num_validation=1)
    assert [item.target for item in data.stage.training[:2]] == ["<think>look first</think>ls", "cat a.py"]
    assert "look first" not in str(data.stage.training[1].prompt)
    for teach in ("solution", "trace"):
        with pytest.raises(DataError, match=r'set sft\.teach = "steps"'):
            stage_of(path, teach=teach)


def test_the_thinking_stands_once_in_a_file_of_step_examples(tmp_path):
    path = write(tmp_path / "a.jsonl", rows(f"<think>Hm.</think>{SOLUTION}", num=1))
    (trajectory,) = read_trajectories(str(path))
    made = make_step_examples(trajectory)
    assert [item.reasoning for item in made] == ["", "", "Hm."]
    assert ["reasoning" in to_json(item) for item in made] == [False, False, True]
    assert [from_json(to_json(item)) for item in made] == made
    assert Counter(key for item in made for key in to_json(item))["target_thought"] == 0
    store = load_examples(str(path), ExampleSettings(include_last_step=True)).store
    assert [item.reasoning for item in store] == ["", "", "Hm."]


@pytest.mark.parametrize(
    "text",
    [
        f"<think>a</think>{STEPS[0]}and <think>b</think> then{STEPS[1]}",  # a thought in the middle of a step
        f"<think>a</think>{STEPS[0]}<think>b</think>2. **Double** 5*2 <think>c</think>is 10.",  # the same, late
        f"Well. <think>a</think>{STEPS[0]}<think>b</think>{STEPS[1]}",  # text before the first
        f"<think>a</think><think>b</think>{SOLUTION}",  # thinking in two blocks
        f"<think>I open <think> twice</think>{SOLUTION}",
        f"<think>a</think>{SOLUTION}",
    ],
)
def test_other_texts_are_read_as_ever(tmp_path, text):
    """Only thoughts that stand before steps stay with them; elsewhere the last closing mark ends the thinking."""
    found = list(read_trajectories(str(write(tmp_path / "a.jsonl", rows(text, num=1)))))
    for item in found:
        assert not isinstance(item, Trajectory) or ("<think>" not in item.reasoning and not item.steps[0].thought)
    assert any(isinstance(item, Trajectory) for item in found) == text.endswith(SOLUTION)


def test_a_line_break_after_a_thought_is_kept(tmp_path):
    text = INTERLEAVED.replace("</think>", "</think>\n")
    (item,) = read_trajectories(str(write(tmp_path / "a.jsonl", rows(text, num=1))))
    assert isinstance(item, Trajectory)
    assert item.reasoning == text
    assert [step.thought for step in item.steps] == list(THOUGHTS)
    assert [step.title for step in item.steps] == ["Add", "Double", "Conclude"]
    assert item.answer == "10"
