from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.trajectories.formats import format_of
from srl.trajectories.reader import parse_rows, read_trajectories
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Source, Trajectory

FIRST = "1. **Add** 2 + 3\n\n2. **Double** so \\boxed{10}"
SECOND = "1. **Double** 4 and 6\n\n2. **Add** so \\boxed{9}"
Q = {"id": "a", "problem": "What is 2(2 + 3)?", "answer": "10", "solution": "1. **A** x\n\n2. **B** y"}


def read(value: dict[str, Any], **options: Any) -> list[Trajectory | DroppedRow]:
    row = Row(value=value, source=Source(file="experts.jsonl", row=4), line=5)
    return list(parse_rows([row], ReadSettings(**options)))


def test_each_sample_is_a_trajectory() -> None:
    items = read(Q | {"generations": [FIRST, SECOND], "correctness_math_verify": [True, False]})
    assert [
        (item.trajectory_id, item.solution, item.answer, item.is_right, item.format)
        for item in items
        if isinstance(item, Trajectory)
    ] == [("a/0", FIRST, "10", True, "samples"), ("a/1", SECOND, "10", False, "samples")]
    assert {item.source for item in items} == {Source(file="experts.jsonl", row=4)}


@pytest.mark.parametrize(
    "name", ["generations", "responses", "completions", "samples", "code", "outputs", "response", "output"]
)
def test_names_of_samples(name: str) -> None:
    value = {"id": "a", "question": "Q", name: [FIRST, SECOND], "score": [True, False]}
    assert format_of(value) == "samples"
    assert [item.is_right for item in read(value) if isinstance(item, Trajectory)] == [True, False]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"score": [True, False]}, [True, False]),
        ({"scores": [1, 0]}, [True, False]),
        ({"rewards": [0.75, 0.5]}, [True, False]),
        ({"rewards": [1.0, -1.0]}, [True, False]),
        ({"is_correct": ["yes", "False"]}, [True, False]),
        ({"labels": [None, "A"]}, [None, None]),
        ({"score": [3, float("nan")]}, [None, None]),
        ({"score": [10**400, -(10**400)]}, [None, None]),
        ({"score": [True]}, [None, None]),
        ({"score": True}, [None, None]),
        ({"score": [None, False], "rewards": [0.1, 0.9]}, [False, False]),
        ({"correctness_math_verify": [False, False], "correctness_llama": [True, None]}, [True, False]),
        ({"pred_score": [[3.5], [1.2]]}, [None, None]),
    ],
)
def test_flags(flags: dict[str, Any], expected: list[bool | None]) -> None:
    items = read(Q | {"generations": [FIRST, SECOND]} | flags)
    assert [item.is_right for item in items if isinstance(item, Trajectory)] == expected
    right_only = read(Q | {"generations": [FIRST, SECOND]} | flags, only_right=True)
    assert [isinstance(item, DroppedRow) for item in right_only] == [flag is False for flag in expected]


def test_objects_with_their_own_flags() -> None:
    items = read(Q | {"samples": [{"text": FIRST, "correct": True}, {"content": SECOND, "correct": False}]})
    assert [(item.solution, item.is_right) for item in items if isinstance(item, Trajectory)] == [
        (FIRST, True),
        (SECOND, False),
    ]


def test_a_sample_that_cannot_be_used_is_dropped_for_itself() -> None:
    samples = [
        FIRST,
        "",
        None,
        "It is 10.",
        "<think>Hm",
        FIRST + "\x00",
        FIRST + "\ud800",
        f"<think>Hm.</think>{SECOND}",
    ]
    items = read(Q | {"generations": samples, "score": [False] + [True] * 7}, only_right=True)
    found = [(item.reason, item.detail) if isinstance(item, DroppedRow) else item.trajectory_id for item in items]
    assert found[0] == ("marked_wrong", "sample 0: the source marks it as wrong")
    assert found[1] == ("empty_field", "sample 1: generations[1] is empty")
    assert found[2] == ("wrong_type", "sample 2: generations[2] is NoneType, not text")
    assert [item[0] for item in found[3:7]] == ["too_few_steps", "unfinished", "nul_character", "lone_surrogate"]
    assert found[7] == "a/7"
    last = items[7]
    assert isinstance(last, Trajectory)
    assert (last.reasoning, last.solution) == ("Hm.", SECOND)
    assert {(item.source.row, item.line) for item in items if isinstance(item, DroppedRow)} == {(4, 5)}


def test_a_bad_row_is_dropped_once() -> None:
    (dropped,) = read(Q | {"problem": "a\x00", "generations": [FIRST, SECOND]})
    assert isinstance(dropped, DroppedRow)
    assert dropped.reason == "nul_character"


@pytest.mark.parametrize(
    "value",
    [
        Q | {"generations": []},
        Q | {"generations": [None, 3]},
        Q | {"response": [{"role": "assistant", "content": FIRST}]},
        {"generations": [FIRST]},
    ],
)
def test_what_holds_no_samples(value: dict[str, Any]) -> None:
    assert format_of(value) != "samples"


def test_a_named_column_goes_first() -> None:
    value = Q | {"generations": [FIRST, SECOND], "others": [SECOND]}
    (item,) = read(value, solution_field="solution")
    assert isinstance(item, Trajectory)
    assert (item.trajectory_id, item.solution) == ("a", Q["solution"])
    (item,) = read(value, solution_field="others")
    assert isinstance(item, Trajectory)
    assert (item.trajectory_id, item.solution) == ("a/0", SECOND)


def test_real_samples(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("math/qwen25math_cot_8samples.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    items = list(read_trajectories(str(path)))
    assert len(items) == 8 * len(rows) == 560
    for item in items:
        assert isinstance(item, Trajectory)
        place = int(item.trajectory_id.rpartition("/")[2])
        row = rows[item.source.row]
        assert (item.problem, item.answer) == (row["question"], row["answer"])
        assert (item.solution, item.is_right) == (row["code"][place], row["score"][place])
    assert Counter(item.is_right for item in items if isinstance(item, Trajectory)) == {True: 524, False: 36}


def test_real_traces_in_samples(shared_data: Callable[[str], Path]) -> None:
    """Of 350 rows 135 have a solution block; 12 of these are not closed, and 5 of the 12 end before an answer."""
    items = list(read_trajectories(str(shared_data("math/skyt1_27b_math500.jsonl"))))
    with_block = [item for item in items if isinstance(item, Trajectory) and item.reasoning]
    assert len(with_block) == 130
    assert not any("<|" in item.solution + item.reasoning for item in with_block)
    dropped = Counter(item.detail.rpartition(": ")[2] for item in items if isinstance(item, DroppedRow))
    assert dropped == {
        "the trace has no <|begin_of_solution|>": 64,
        "the solution after <|begin_of_solution|> is cut off before a final answer": 5,
        "it is marked wrong and comes to no final answer": 65,
    }
    assert len(items) == 350


def test_a_wrong_sample_without_an_answer_is_cut_off_and_a_right_one_is_not() -> None:
    unboxed = FIRST.replace("\\boxed", "")
    assert unboxed != FIRST
    items = read(Q | {"generations": [unboxed, unboxed, FIRST, unboxed], "score": [False, True, False, None]})
    assert [item.reason if isinstance(item, DroppedRow) else "" for item in items] == ["unfinished", "", "", ""]
