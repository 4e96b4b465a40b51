"""Reading problems: the public benchmark files, and every kind of bad row with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.errors import DataError
from srl.evaluation.problems import load_problems
from srl.types import Problem


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "count", "answers"),
    [
        ("aime24", 30, ["204", "113", "371"]),
        ("aime25", 30, ["70", "588", "16"]),
        ("amc23", 40, ["27", "36", "45"]),
        ("minerva_math", 272, ["1.6", "4.5e33", "41.8"]),
        ("gsm8k_test", 1000, ["18", "3", "70000"]),
        ("aime25_with_solutions", 30, ["70", "588", "16"]),
    ],
)
def test_benchmark_files(name: str, count: int, answers: list[str], shared_data: Callable[[str], Path]) -> None:
    problems = load_problems(shared_data(f"math/{name}.jsonl"))
    assert len(problems) == count
    assert [problem.answer for problem in problems[:3]] == answers
    assert len({problem.problem_id for problem in problems}) == count
    assert all(problem.problem.strip() and problem.answer.strip() for problem in problems)


def test_fields_and_their_order(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "p.jsonl",
        [
            {"id": "a", "problem": "P", "question": "Q", "answer": 27.0},
            {"question": "Q", "expected_answer": 5, "answer": None},
            {"prompt": "R", "gt": "x^2", "idx": 9},
            {"problem": "S", "final_answer": 0.5},
            {"problem": "T", "answer": "", "solution": r"so \boxed{\frac{1}{2}}."},
            {"problem": "U", "answer": "48 + 24 = 72\n#### 72"},
        ],
    )
    assert load_problems(path) == [
        Problem(problem_id="a", problem="P", answer="27"),
        Problem(problem_id="1", problem="Q", answer="5"),
        Problem(problem_id="9", problem="R", answer="x^2"),
        Problem(problem_id="3", problem="S", answer="0.5"),
        Problem(problem_id="4", problem="T", answer=r"\frac{1}{2}"),
        Problem(problem_id="5", problem="U", answer="72"),
    ]


def test_ids_that_occur_again_are_told_apart(tmp_path: Path) -> None:
    ids = ["a", "a", "a~2", "a", "1"]
    path = write_lines(tmp_path / "p.jsonl", [{"id": i, "problem": "P", "answer": "1"} for i in ids])
    assert [problem.problem_id for problem in load_problems(path)] == ["a", "a~2", "a~2~2", "a~3", "1"]


def test_json_list_and_parquet_read_like_lines(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"problem": "P", "answer": 27.0}, {"problem": "Q\u2028Q", "answer": 1.5}]
    expected = load_problems(write_lines(tmp_path / "p.jsonl", rows))
    (tmp_path / "p.json").write_text(json.dumps(rows), encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    assert load_problems(tmp_path / "p.json") == expected
    assert load_problems(str(tmp_path / "p.parquet")) == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"problem": "P"}', "no answer"),
        ('{"problem": "P", "solution": "it is 5"}', "marks no answer"),
        ('{"answer": "1"}', "none of problem, question, prompt"),
        ('{"problem": "  ", "answer": "1"}', "problem is empty"),
        ('{"problem": ["P"], "answer": "1"}', "problem is list, not text"),
        ('{"problem": "P", "answer": ["1"]}', "answer is list"),
        ('{"problem": "P", "answer": true}', "answer is bool"),
        ('{"problem": "P", "answer": NaN}', "NaN is not JSON"),
        ('{"problem": "P", "answer": "\\ud800"}', "surrogate"),
        ("[1]", "found list"),
        ('{"problem": "P", "answer"', "bad_json"),
        ("[" * 100_000, "bad_json"),
    ],
)
def test_a_bad_row_refuses_the_file_and_names_its_line(row: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"problem": "P", "answer": "1"}\n\n' + row + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        load_problems(path)
    assert f"{path}, line 3: " in str(caught.value)


def test_files_that_are_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_problems(tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match=r"empty\.jsonl: holds no row"):
        load_problems(tmp_path / "empty.jsonl")
