from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.errors import DataError
from srl.examples import ExampleSettings, from_json, make_step_examples, select_examples, to_json
from srl.trajectories.segment import split_steps
from srl.types import Source, Step, StepExample, Trajectory

SOLUTION = "Let us see.\n\n1. **Add**: 2 + 3\n\n2. **Double:** 10\n\n3. **Conclude** \\boxed{10}\n"


def trajectory(trajectory_id: str = "a", problem: str = "", answer: str | None = "10") -> Trajectory:
    return Trajectory(
        trajectory_id=trajectory_id,
        problem=problem or f"Problem {trajectory_id}",
        steps=split_steps(SOLUTION),
        answer=answer,
        source=Source(file="experts.jsonl", row=3),
    )


def agent(num_steps: int = 4) -> Trajectory:
    steps = tuple(
        Step(title="", text=f"do {k}", body=f"do {k}", thought=f"why {k}", observation=f"saw {k}")
        for k in range(num_steps)
    )
    return replace(trajectory(), steps=steps, kind="agent", answer=None)


def test_one_example_per_step() -> None:
    first, second, third = make_step_examples(trajectory())
    assert first.context == ()
    assert second.context == ("Let us see.\n\n1. **Add**: 2 + 3\n\n",)
    assert "".join(third.context) + third.target_action == SOLUTION.strip()
    assert (second.step_index, second.num_steps, second.title) == (1, 3, "Double")
    assert (second.target_action, second.target_body) == ("2. **Double:** 10", "10")
    assert (second.trajectory_id, second.answer, second.source) == ("a", "10", Source(file="experts.jsonl", row=3))


def test_json_of_an_example() -> None:
    assert to_json(make_step_examples(trajectory())[1]) == {
        "trajectory_id": "a",
        "step_index": 1,
        "num_steps": 3,
        "problem": "Problem a",
        "context": ["Let us see.\n\n1. **Add**: 2 + 3\n\n"],
        "title": "Double",
        "target_action": "2. **Double:** 10",
        "target_body": "10",
        "answer": "10",
        "source": {"file": "experts.jsonl", "row": 3},
    }


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1).filter(str.strip)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=4), TEXTS.map(str.strip) | st.none(), st.data())
def test_json_gives_the_example_back(problem: str, texts: list[str], answer: str | None, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(texts) - 1))
    example = StepExample(
        trajectory_id="a",
        step_index=index,
        num_steps=len(texts),
        problem=problem,
        context=tuple(texts[:index]),
        title="",
        target_action=texts[index],
        target_body="",
        answer=answer,
        source=Source(file="x", row=0),
    )
    assert from_json(json.loads(json.dumps(to_json(example)))) == example


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trajectory_id": None}, "missing_field"),
        ({"step_index": None}, "missing_field"),
        ({"step_index": "1"}, "wrong_type"),
        ({"step_index": True}, "wrong_type"),
        ({"step_index": 2}, "inconsistent"),
        ({"step_index": -1}, "inconsistent"),
        ({"num_steps": 1}, "inconsistent"),
        ({"context": None}, "missing_field"),
        ({"context": "x"}, "wrong_type"),
        ({"context": [3]}, "wrong_type"),
        ({"context": [" "]}, "empty_field"),
        ({"context": []}, "inconsistent"),
        ({"problem": ""}, "empty_field"),
        ({"target_action": "\x00"}, "nul_character"),
        ({"target_body": 3}, "wrong_type"),
        ({"title": "\ud800"}, "lone_surrogate"),
        ({"answer": [1]}, "wrong_type"),
        ({"source": None}, "missing_field"),
        ({"source": "x"}, "wrong_type"),
        ({"source": {"file": "x"}}, "missing_field"),
    ],
)
def test_objects_that_are_no_example(change: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=f"^{reason}: "):
        from_json(to_json(make_step_examples(trajectory())[1]) | change)


def test_fields_that_may_be_missing() -> None:
    value = to_json(make_step_examples(trajectory())[1])
    for name in ("title", "target_body", "answer", "source"):
        del value[name]
    example = from_json(value, found_in=Source(file="f", row=9))
    assert (example.title, example.target_body, example.answer) == ("", "2. **Double:** 10", None)
    assert example.source == Source(file="f", row=9)
    with pytest.raises(DataError, match="not_an_object"):
        from_json([])


def test_an_agents_example_shows_the_last_rounds_only() -> None:
    first, second, third, fourth = make_step_examples(agent(), context_turns=2)
    assert (first.context, first.observations) == ((), ())
    assert (second.context, second.observations) == (("do 0",), ("saw 0",))
    assert (third.context, third.observations) == (("do 0", "do 1"), ("saw 0", "saw 1"))
    assert (fourth.context, fourth.observations) == (("do 1", "do 2"), ("saw 1", "saw 2"))
    assert (fourth.target_action, fourth.target_thought, fourth.kind) == ("do 3", "why 3", "agent")
    assert make_step_examples(agent(), context_turns=0)[3].context == ()


@given(st.integers(1, 6), st.integers(0, 7), st.data())
def test_json_gives_an_agents_example_back(num_steps: int, context_turns: int, data: st.DataObject) -> None:
    examples = make_step_examples(agent(num_steps), context_turns=context_turns)
    example = data.draw(st.sampled_from(examples))
    assert from_json(json.loads(json.dumps(to_json(example)))) == example


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "robot"}, "wrong_type"),
        ({"observations": ["saw 0"]}, "inconsistent"),
        ({"observations": None}, "missing_field"),
        ({"observations": [1, 2]}, "wrong_type"),
        ({"context": ["a", "b", "c", "d"], "observations": ["", "", "", ""]}, "inconsistent"),
        ({"kind": "solution"}, "inconsistent"),
    ],
)
def test_objects_that_are_no_agents_example(change: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=f"^{reason}: "):
        from_json(to_json(make_step_examples(agent())[3]) | change)


def test_settings_leave_examples_out_and_count_them() -> None:
    lengths = (5, 50, 12, 30, 3)
    steps = tuple(Step(title="", text="x" * length, body="") for length in lengths)
    examples = make_step_examples(replace(trajectory(), steps=steps))

    def chosen(**settings: int | bool) -> tuple[list[int], dict[str, int]]:
        kept, left_out = select_examples(examples, ExampleSettings(**settings))  # type: ignore[arg-type]
        return [example.step_index for example in kept], dict(left_out)

    assert chosen() == ([0, 1, 2, 3], {"last_step": 1})
    assert chosen(include_last_step=True) == ([0, 1, 2, 3, 4], {})
    assert chosen(min_target_chars=12) == ([1, 2, 3], {"last_step": 1, "target_too_short": 1})
    assert chosen(max_target_chars=30) == ([0, 2, 3], {"last_step": 1, "target_too_long": 1})
    few, left_out = chosen(max_per_trajectory=2)
    assert (len(few), few == sorted(few), left_out) == (2, True, {"last_step": 1, "over_max_per_trajectory": 2})


def test_which_examples_a_cap_takes_depends_on_the_trajectory() -> None:
    """Always the first ones would never train on the ends of long logs."""
    settings = ExampleSettings(max_per_trajectory=1)
    taken = {
        select_examples(make_step_examples(replace(agent(6), trajectory_id=f"t{n}")), settings)[0][0].step_index
        for n in range(30)
    }
    assert taken == {0, 1, 2, 3, 4}
