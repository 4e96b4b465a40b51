from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories.formats import format_of
from srl.trajectories.reader import parse_rows, read_trajectories
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.trajectories.solutions.gsm8k import split_lines, without_annotations
from srl.types import Source, Trajectory

PLAIN = "Two bags hold 2*6=<<2*6=12>>12 apples.\n\nHalf of them are 12/2=<<12/2=6>>6.\n#### 6"
SOCRATIC = "How many are there? ** There are 2*6=<<2*6=12>>12.\nHow many is half? ** Half is 12/2=<<12/2=6>>6.\n#### 6"


def read_one(value: dict[str, Any], **options: Any) -> Trajectory:
    row = Row(value=value, source=Source(file="experts.jsonl", row=4), line=5)
    (item,) = parse_rows([row], ReadSettings(**options))
    assert isinstance(item, Trajectory)
    return item


def test_lines() -> None:
    item = read_one({"question": "How many?", "answer": PLAIN})
    assert [step.text for step in item.steps] == [
        "Two bags hold 2*6=12 apples.\n\n",
        "Half of them are 12/2=6.\n",
        "#### 6",
    ]
    assert [step.body for step in item.steps] == ["Two bags hold 2*6=12 apples.", "Half of them are 12/2=6.", "#### 6"]
    assert [step.title for step in item.steps] == ["", "", ""]
    assert (item.trajectory_id, item.problem, item.answer) == ("experts-4", "How many?", "6")
    assert (item.format, item.splitter, item.is_right) == ("gsm8k", "lines", None)


def test_socratic() -> None:
    item = read_one({"question": "How many?", "answer": SOCRATIC})
    assert [(step.title, step.body) for step in item.steps] == [
        ("How many are there?", "There are 2*6=12."),
        ("How many is half?", "Half is 12/2=6."),
        ("", "#### 6"),
    ]
    assert item.solution == SOCRATIC.replace("<<2*6=12>>", "").replace("<<12/2=6>>", "")


def test_the_answer_in_a_box() -> None:
    item = read_one({"problem": "How many?", "solution": PLAIN.replace("#### 6", "\\boxed{6}")})
    assert [step.text for step in item.steps][1:] == ["Half of them are 12/2=6.\n", "\\boxed{6}"]
    assert (item.answer, item.format) == ("6", "gsm8k")
    plain = {"problem": "How many?", "solution": "Two bags hold 12 apples.\nHalf is 6.\n\\boxed{6}"}
    assert format_of(plain) == "rows"


def test_a_power_is_no_title() -> None:
    assert [step.title for step in split_lines("He has 2 ** 3 = 8 apples.\nHe eats 1.\n#### 7")] == ["", "", ""]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"question": "Q", "answer": "It is 6.\n#### 6"}, "gsm8k"),
        ({"question": "Q", "answer": "It is 6.\n#### -1,234.5\n"}, "gsm8k"),
        ({"question": "Q", "answer": "It is <<3*2=6>>6.\n#### six"}, "gsm8k"),
        ({"question": "Q", "solution": PLAIN}, "gsm8k"),
        ({"question": "Q", "solution": "It is 6.\n#### 6"}, "rows"),
        ({"question": "Q", "answer": "#### 6"}, "rows"),
        ({"question": "Q", "answer": "First.\n#### Conclusion"}, "rows"),
        ({"question": "Q", "answer": "\\[\n2 \\cdot 3\n\\]\n#### 6"}, "rows"),
        ({"answer": PLAIN}, "rows"),
        ({"question": "Q", "answer": 6}, "rows"),
    ],
)
def test_recognised_by_content(value: dict[str, Any], name: str) -> None:
    assert format_of(value) == name


def test_a_named_column_goes_first() -> None:
    text = "1. **Count** six\n\n2. **Say** six"
    item = read_one({"question": "Q", "answer": PLAIN, "text": text}, solution_field="text")
    assert (item.solution, item.format) == (text, "rows")


@given(
    st.lists(st.sampled_from(["a", " ** ", "\n", "<<1+1=2>>", "####", " 6", "\r", "\u2028", " "]), max_size=20).map(
        "".join
    )
)
def test_nothing_but_annotations_is_lost(text: str) -> None:
    shown = without_annotations(text)
    assert shown == text.replace("<<1+1=2>>", "")
    assert "".join(step.text for step in split_lines(shown)) == shown


@pytest.mark.parametrize(
    ("file", "num_rows", "num_titled"),
    [("gsm8k_train", 3000, 0), ("gsm8k_test", 1000, 0), ("gsm8k_test_socratic", 300, 300)],
)
def test_real_files(shared_data: Callable[[str], Path], file: str, num_rows: int, num_titled: int) -> None:
    path = shared_data(f"math/{file}.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    items = list(read_trajectories(str(path)))
    assert len(items) == num_rows
    trajectories = [item for item in items if isinstance(item, Trajectory)]
    assert len(trajectories) == num_rows
    assert sum(all(step.title for step in item.steps[:-1]) for item in trajectories) == num_titled
    for row, item in zip(rows, trajectories, strict=True):
        assert item.problem == row["question"]
        assert item.answer == row["answer"].rpartition("#### ")[2].strip()
        assert len(item.steps) == sum(1 for line in row["answer"].split("\n") if line.strip())
        assert "<<" not in item.solution
        assert item.steps[-1].body.startswith("#### ")
