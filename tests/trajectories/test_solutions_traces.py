from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories.formats import format_of
from srl.trajectories.reader import parse_rows, read_trajectories
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.trajectories.solutions.marks import split_trace
from srl.types import DroppedRow, Source, Trajectory

SOLUTION = "1. **Add** 2 + 3\n\n2. **Double** so \\boxed{10}"
Q = {"id": "a", "problem": "What is 2(2 + 3)?"}


def read(value: dict[str, Any], **options: Any) -> Trajectory | DroppedRow:
    row = Row(value=value, source=Source(file="experts.jsonl", row=4), line=5)
    (item,) = parse_rows([row], ReadSettings(**options))
    return item


def read_one(value: dict[str, Any], **options: Any) -> Trajectory:
    item = read(value, **options)
    assert isinstance(item, Trajectory), item
    return item


@pytest.mark.parametrize(
    ("text", "thinking", "solution"),
    [
        ("<think>Hm.</think>Ten.", "Hm.", "Ten."),
        ("<think>\nHm.\n</think>\n\nTen.\n", "Hm.", "Ten."),
        ("Hm.\n</think>\n\nTen.", "Hm.", "Ten."),
        ("<think></think>Ten.", "", "Ten."),
        ("Sure. <think>Hm.</think> Ten.", "Sure. Hm.", "Ten."),
        ("<thinking>Hm.</thinking>Ten.", "Hm.", "Ten."),
        ("[THINK]Hm.[/THINK]Ten.", "Hm.", "Ten."),
        ("<think>End with </think>, they say.</think>Ten.", "End with , they say.", "Ten."),
        ("<think>Hm.</think><answer> Ten. </answer>", "Hm.", "Ten."),
        ("<think>Hm.</think>So: <answer>10</answer>", "Hm.", "So: <answer>10</answer>"),
        ("<think>Hm.</think>Ten.<|im_end|>\n", "Hm.", "Ten."),
        ("<|begin_of_thought|>Hm.<|end_of_thought|>\n<|begin_of_solution|>\nTen.\n<|end_of_solution|>", "Hm.", "Ten."),
        ("Hm.<|end_of_thought|><|begin_of_solution|>Ten.<|end_of_solution|><|im_end|>", "Hm.", "Ten."),
        ("<|begin_of_thought|>Hm.<|begin_of_solution|>\\boxed{10}", "Hm.", "\\boxed{10}"),
        ("<think>Hm.</think><answer>\\boxed{10}", "Hm.", "\\boxed{10}"),
        (" Ten.\n", "", " Ten.\n"),
        (" Ten.\n<|im_end|>", "", " Ten.\n"),
        ("", "", ""),
    ],
)
def test_marks(text: str, thinking: str, solution: str) -> None:
    assert split_trace(text) == (thinking, solution)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("<think>Hm", "cut off inside <think>"),
        ("<thinking>Hm", "cut off inside <thinking>"),
        ("<think>Hm.</think>Ten. <think>Wait", "cut off inside <think>"),
        ("<think>Hm.</think>\n", "nothing follows </think>"),
        ("<|begin_of_thought|>Hm", "the trace has no <|begin_of_solution|>"),
        ("<|begin_of_thought|>Hm.<|end_of_thought|>Ten.", "the trace has no <|begin_of_solution|>"),
        ("<|begin_of_solution|>\n<|end_of_solution|>", "nothing follows <|begin_of_solution|>"),
        ("<|begin_of_solution|>So <think> \\boxed{1}", "marks of thinking"),
        ("Hm.<|begin_of_solution|>It is t", "cut off before a final answer"),
        ("<think>Hm.</think><answer>It is t", "cut off before a final answer"),
    ],
)
def test_no_solution(text: str, detail: str) -> None:
    with pytest.raises(RowError, match=r"unfinished: no solution: ") as error:
        split_trace(text)
    assert detail in str(error.value)
    dropped = read(Q | {"response": text})
    assert isinstance(dropped, DroppedRow)
    assert (dropped.reason, dropped.line) == ("unfinished", 5)
    assert detail in dropped.detail


USER = {"role": "user", "content": "?"}
TRACE = f"<think>Hm.</think>\n{SOLUTION}"
ATTEMPT = {"deepseek_thinking_trajectory": "Hm.", "deepseek_attempt": SOLUTION, "solution": "10"}
GEMINI = {"gemini_thinking_trajectory": "Aha.", "gemini_attempt": SOLUTION.replace("10", "11")}


@pytest.mark.parametrize(
    "value",
    [
        Q | {"response": TRACE},
        Q | {"generated_solution": TRACE, "expected_answer": "10"},
        Q | {"solution": "It is 10.", "final_trace": TRACE},
        Q | {"reasoning_content": "Hm. Hm.\n", "content": SOLUTION},
        Q | {"messages": [USER, {"role": "assistant", "content": TRACE}]},
        {"id": "a", "conversations": [{"from": "human", "value": Q["problem"]}, {"from": "gpt", "value": TRACE}]},
        Q | {"messages": [USER, {"role": "assistant", "content": SOLUTION, "reasoning_content": "Hm."}]},
        Q | ATTEMPT,
        Q | ATTEMPT | GEMINI,
        Q | {"thinking_trajectories": ["Hm."], "attempt": SOLUTION},
        Q | {"deepseek_reasoning": "Hm.", "deepseek_solution": SOLUTION, "ground_truth_solution": "10"},
        Q | {"Complex_CoT": "Hm. Hm.", "Response": SOLUTION},
    ],
)  # fmt: skip
def test_places(value: dict[str, Any]) -> None:
    """Wherever the thinking stands, it comes out beside the same steps."""
    assert format_of(value) == "traces"
    item = read_one(value)
    assert (item.problem, item.solution, item.answer) == (Q["problem"], SOLUTION, "10")
    assert (item.trajectory_id, item.format) == ("a", "traces")
    assert item.reasoning in ("Hm.", "Hm. Hm.")
    assert [step.title for step in item.steps] == ["Add", "Double"]


def test_gemini_where_deepseek_is_missing() -> None:
    item = read_one(Q | ATTEMPT | GEMINI | {"deepseek_attempt": None})
    assert (item.reasoning, item.answer) == ("Aha.", "11")


@pytest.mark.parametrize(
    "value",
    [
        Q | {"output": SOLUTION, "reasoning": "on"},
        Q | {"reasoning": SOLUTION, "answer": "10"},
        Q | {"solution": SOLUTION},
        Q | {"messages": "<think>"},
        Q | {"thinking_trajectories": [], "attempt": SOLUTION},
    ],
)
def test_what_is_no_trace(value: dict[str, Any]) -> None:
    assert format_of(value) == "rows"


@pytest.mark.parametrize(
    ("marks", "is_right"),
    [
        ({"boxed_answer_success": True, "evaluate_success": False}, True),
        ({"boxed_answer_success": False, "evaluate_success": True}, False),
        ({"boxed_answer_success": False, "evaluate_success": True, "solution": "ten"}, True),
        ({"boxed_answer_success": False, "agent_evaluate_success": None, "solution": "ten"}, None),
        ({"agent_evaluate_success": False}, False),
        ({}, None),
    ],
)
def test_marks_of_star_files(marks: dict[str, Any], is_right: bool | None) -> None:
    value = Q | {"solution": "so \\boxed{10}", "final_trace": SOLUTION} | marks
    assert read_one(value).is_right is is_right
    dropped = read(value, only_right=True)
    assert isinstance(dropped, DroppedRow) == (is_right is False)
    assert not isinstance(dropped, DroppedRow) or dropped.reason == "marked_wrong"


@pytest.mark.parametrize(("grade", "is_right"), [("Yes", True), ("No", False), ("", None), (None, None)])
def test_grades_of_s1k(grade: str | None, is_right: bool | None) -> None:
    assert read_one(Q | ATTEMPT | {"deepseek_grade": grade, "gemini_grade": "No"}).is_right is is_right


def test_a_named_column_goes_first() -> None:
    item = read_one(Q | ATTEMPT | {"text": SOLUTION + "!"}, solution_field="text")
    assert (item.solution, item.reasoning) == (SOLUTION + "!", "")


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", " ", "<answer>", "</answer>", "\\boxed{1}",
                                 "<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_solution|>",
                                 "<|end_of_solution|>", "<|im_end|>"]), max_size=9))  # fmt: skip
def test_any_text_has_a_solution_or_none(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        thinking, solution = split_trace(text)
    except RowError:
        return
    assert solution in text
    assert "think>" not in thinking + solution
    assert "begin_of" not in thinking + solution


@pytest.mark.parametrize("piece", ["<think>", "</think>", "</s>", " </s>", "<|end_of_thought|>", "\n"])
def test_time_is_linear(piece: str) -> None:
    start = time.process_time()
    for text in (piece * (400_000 // len(piece)), "</think>" + piece * (400_000 // len(piece))):
        with suppress(RowError):
            split_trace(text)
    assert time.process_time() - start < 5


def test_real_traces(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("math/r1_traces.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    items = list(read_trajectories(str(path)))
    assert [item.answer for item in items if isinstance(item, Trajectory)] == ["D", "C", "2001"]
    for row, item in zip(rows, items, strict=True):
        assert isinstance(item, Trajectory)
        thinking, _, solution = row["final_trace"].partition("</think>")
        assert item.is_right is True
        assert item.solution == solution.strip()
        assert item.reasoning == thinking.removeprefix("<think>").strip()
