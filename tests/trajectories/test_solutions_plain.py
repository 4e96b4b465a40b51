from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories import formats
from srl.trajectories.fields import ANSWER_FIELDS, PROBLEM_FIELDS, SOLUTION_FIELDS, read_answer
from srl.trajectories.formats import format_of
from srl.trajectories.reader import parse_rows, read_trajectories
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Source, Trajectory

SOLUTION = "1. **Add** 2 + 3\n\n2. **Double** so \\boxed{10}"
PROSE = (
    "We add the two numbers first and then we double the sum, because the factor stands in front of the bracket. " * 2
)
USER = {"role": "user", "content": "What is 2(2 + 3)?"}
ASSISTANT = {"role": "assistant", "content": SOLUTION}


def read(value: dict[str, Any], **options: Any) -> Trajectory | DroppedRow:
    row = Row(value=value, source=Source(file="folder/experts.jsonl.gz", row=4), line=5)
    (item,) = parse_rows([row], ReadSettings(**options))
    return item


def read_one(value: dict[str, Any], **options: Any) -> Trajectory:
    item = read(value, **options)
    assert isinstance(item, Trajectory), item
    assert format_of(value) == item.format == "rows"
    return item


@pytest.mark.parametrize("name", PROBLEM_FIELDS)
def test_names_of_the_problem(name: str) -> None:
    for spelled in (name, name.capitalize(), name.upper()):
        assert read_one({spelled: "Q", "solution": SOLUTION}).problem == "Q"


@pytest.mark.parametrize("name", SOLUTION_FIELDS)
def test_names_of_the_solution(name: str) -> None:
    for spelled in (name, name.capitalize(), name.upper()):
        assert read_one({"problem": "Q", spelled: SOLUTION}).solution == SOLUTION


@pytest.mark.parametrize("name", ANSWER_FIELDS)
def test_names_of_the_answer(name: str) -> None:
    assert read_one({"problem": "Q", "solution": SOLUTION, name: "11"}).answer == "11"


@pytest.mark.parametrize(
    ("value", "problem", "solution"),
    [
        ({"problem": "Q", "question": "R", "solution": SOLUTION, "response": "x"}, "Q", SOLUTION),
        ({"problem": "", "question": "R", "solution": " ", "response": SOLUTION}, "R", SOLUTION),
        ({"instruction": "Add.", "input": "2 and 3", "output": SOLUTION}, "Add.\n\n2 and 3", SOLUTION),
        ({"instruction": "Add.", "input": "", "output": SOLUTION}, "Add.", SOLUTION),
        ({"question": "Q", "input": "x", "output": SOLUTION}, "Q", SOLUTION),
        ({"problem": "Q", "reasoning": SOLUTION, "answer": "10"}, "Q", SOLUTION),
        ({"question": "Q", "answer": f"{PROSE}\n\n{PROSE}"}, "Q", f"{PROSE}\n\n{PROSE}"),
        ({"messages": [USER, ASSISTANT]}, USER["content"], SOLUTION),
        ({"messages": [{"role": "system", "content": "Be brief."}, USER, ASSISTANT]}, USER["content"], SOLUTION),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": SOLUTION}]}, "Q", SOLUTION),
        ({"problem": "Q", "messages": [USER, ASSISTANT]}, "Q", SOLUTION),
        ({"problem": "Q", "answer": "10", "messages": [USER, ASSISTANT]}, "Q", SOLUTION),
        ({"problem": "Q", "solution": SOLUTION, "messages": [USER, USER]}, "Q", SOLUTION),
        ({"prompt": [USER], "completion": [ASSISTANT]}, USER["content"], SOLUTION),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": SOLUTION}]}]},
         USER["content"], SOLUTION),
    ],
)  # fmt: skip
def test_where_problem_and_solution_stand(value: dict[str, Any], problem: str, solution: str) -> None:
    item = read_one(value)
    assert (item.problem, item.solution, item.reasoning) == (problem, solution, "")


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ({}, "10"),
        ({"answer": "11"}, "11"),
        ({"answer": "", "final_answer": 12}, "12"),
        ({"gt": "13"}, "13"),
        ({"answer": "proof"}, "10"),
        ({"answer": "notfound"}, "10"),
        ({"answer": PROSE}, "10"),
        ({"answer": PROSE + "\\boxed{14}"}, "14"),
        ({"answer": r"\text{none of } x = \frac{1}{2}, y = \sqrt{3} \text{ and } z = 4"},
         r"\text{none of } x = \frac{1}{2}, y = \sqrt{3} \text{ and } z = 4"),
    ],
)  # fmt: skip
def test_the_answer(value: dict[str, Any], answer: str) -> None:
    assert read_one({"problem": "Q", "solution": SOLUTION} | value).answer == answer


def test_an_answer_that_is_the_solution_is_no_answer() -> None:
    value = {"problem": "Q", "answer": f"{PROSE}\n\n{PROSE}", "final_answer": "7"}
    assert read_one(value).answer == "7"
    assert read_one(value | {"final_answer": None}).answer is None


def test_answers_of_any_kind() -> None:
    assert [read_answer({"answer": value}) for value in ("N/A", 27.0, None, "72")] == [None, "27", None, "72"]


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        ({}, "missing_field", f"none of {', '.join(PROBLEM_FIELDS)} among no fields"),
        ({"problem": "Q", "x": 1}, "missing_field", f"none of {', '.join(SOLUTION_FIELDS)} among 'problem', 'x'"),
        ({"problem": "Q", "answer": "72"}, "missing_field",
         f"none of {', '.join(SOLUTION_FIELDS)} among 'problem', 'answer'"),
        ({"problem": ["Q"], "solution": SOLUTION}, "wrong_type", "problem is list, not text"),
        ({"problem": "Q", "solution": {"a": 1}}, "wrong_type", "solution is dict, not text"),
        ({"problem": "Q", "solution": ""}, "empty_field", "solution is empty"),
        ({"problem": "Q", "solution": SOLUTION, "answer": ["1"]}, "wrong_type",
         "answer is list, neither text nor a number"),
        ({"messages": [USER, ASSISTANT, USER, ASSISTANT]}, "wrong_type",
         "messages is not one user message and its answer, but: user, assistant, user, assistant"),
        ({"messages": [USER]}, "wrong_type", "messages is not one user message and its answer, but: user"),
        ({"messages": []}, "wrong_type", "messages is not one user message and its answer, but: none"),
        ({"messages": "x"}, "wrong_type", "messages is str, not a list of messages"),
        ({"messages": [USER, "x"]}, "wrong_type", "messages[1] is str, not a message"),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, "wrong_type", "the role of messages[1] is 'tool'"),
        ({"messages": [USER, ASSISTANT | {"content": 3}]}, "wrong_type", "the content of messages[1] is int"),
        ({"messages": [USER, ASSISTANT | {"content": [{"type": "image_url"}]}]}, "wrong_type",
         "the content of messages[1] has a part of type 'image_url'"),
        ({"messages": [USER, ASSISTANT | {"content": None}]}, "empty_field",
         "the assistant's message in messages is empty"),
        ({"messages": [USER | {"content": "a\x00"}, ASSISTANT]}, "nul_character",
         "the user's message has U+0000 at character 1"),
    ],
)  # fmt: skip
def test_drops(value: dict[str, Any], reason: str, detail: str) -> None:
    item = read(value, format="rows")
    assert isinstance(item, DroppedRow)
    assert (item.reason, item.detail, item.line) == (reason, detail, 5)


def test_ids() -> None:
    assert read_one({"problem": "Q", "solution": SOLUTION}).trajectory_id == "experts-4"
    assert read_one({"ID": 7, "problem": "Q", "solution": SOLUTION}).trajectory_id == "7"


@pytest.mark.parametrize(("mark", "is_right"), [(True, True), (0, False), ("A", None), (None, None)])
def test_marks(mark: object, is_right: bool | None) -> None:
    value = {"problem": "Q", "solution": SOLUTION, "correct": mark}
    assert read_one(value).is_right is is_right
    assert isinstance(read(value, only_right=True), DroppedRow) == (is_right is False)


def test_named_columns() -> None:
    value = {"problem": "Q", "solution": SOLUTION, "a": {"task": "P", "tries": [{"text": SOLUTION + "!"}]}, "b.c": "R"}
    item = read_one(value, problem_field="a.task", solution_field="a.tries.0.text")
    assert (item.problem, item.solution) == ("P", SOLUTION + "!")
    assert read_one(value, problem_field="b.c").problem == "R"
    for missing in ("a.tries.1.text", "a.tries.x", "a.task.text", "z", "a."):
        item = read(value, solution_field=missing)
        assert isinstance(item, DroppedRow)
        assert item.detail == f"none of {missing} among 'problem', 'solution', 'a', 'b.c'"


def test_a_proof_beside_a_reference() -> None:
    proof = "1. **Bound** so \\boxed{x < 2}\n\n" + "2. **Sum** " + "and so on " * 60
    value = {"question": "Q", "solution": SOLUTION, "model_prediction": {"proof": proof}}
    item = read_one(value)
    assert (item.solution, item.answer) == (proof, None)
    closed = proof + "\n\nHence \\boxed{7}."
    assert read_one(value | {"model_prediction": {"proof": closed}}).answer == "7"
    assert read_one(value | {"model_prediction": {"proof": None}}).solution == SOLUTION


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)  # JSON may hold it, a float may not
    | st.floats()
    | st.sampled_from([SOLUTION, "<think>", "", "x\n#### 1", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "text", "proof"]), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = ["problem", "input", "solution", "answer", "output", "generations", "score", "messages", "reasoning", "attempt",
         "final_trace", "thinking_trajectories", "model_prediction", "chat_history", "generator", "id",
         "correct"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), JSON_VALUES, max_size=6), st.sampled_from(["", "output", "a.0.b"]))
def test_any_object_can_be_read_in_any_format(value: dict[str, Any], solution_field: str) -> None:
    row = Row(value=value, source=Source(file="x.jsonl", row=0), line=1)
    for name in ("auto", "gsm8k", "zeroeval", "samples", "traces", "rows"):
        for item in parse_rows([row], ReadSettings(format=name, solution_field=solution_field)):
            assert isinstance(item, (Trajectory, DroppedRow))
            if isinstance(item, Trajectory):
                assert item.format in formats.FORMATS
                assert len(item.steps) > 1


@pytest.mark.parametrize(
    ("file", "num_rows"), [("deepseekmathv2_imo_proofbench_basic", 30), ("deepseekmathv2_putnam2024", 12)]
)
def test_real_proofs(shared_data: Callable[[str], Path], file: str, num_rows: int) -> None:
    items = list(read_trajectories(str(shared_data(f"math/{file}.jsonl"))))
    assert [type(item) for item in items] == [Trajectory] * num_rows
    assert all(
        item.problem != item.solution and len(item.solution) > 1000 for item in items if isinstance(item, Trajectory)
    )
