from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from srl.trajectories.containers import unwrap
from srl.trajectories.reader import read_trajectories
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Source, Trajectory

SOLUTION = "1. **Add** 2 + 3\n\n2. **Double** so \\boxed{10}"
TRACE = {"problem": "What is 2(2 + 3)?", "final_trace": SOLUTION}


def row(value: dict[str, Any]) -> Row:
    return Row(value=value, source=Source(file="star.json", row=0), line=1)


@pytest.mark.parametrize("indent", [None, 2])
def test_the_rows_inside_one_object(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "star.json"
    path.write_text(json.dumps({"date": "today", "traces": [TRACE, {"id": "b", **TRACE}, {"id": 3}]}, indent=indent))
    *found, dropped = read_trajectories(str(path))
    assert [item.trajectory_id for item in found if isinstance(item, Trajectory)] == ["star-0/0", "b"]
    assert [item.solution for item in found if isinstance(item, Trajectory)] == [SOLUTION, SOLUTION]
    assert isinstance(dropped, DroppedRow)
    assert (dropped.reason, dropped.source.row, dropped.line) == ("missing_field", 0, 1)
    assert dropped.detail.startswith("traces[2]: ")


def test_a_named_format_is_that_of_the_rows_inside(tmp_path: Path) -> None:
    path = tmp_path / "star.json"
    path.write_text(json.dumps({"data": [{"q": "?", "s": SOLUTION}]}))
    settings = ReadSettings(format="rows", problem_field="q", solution_field="s")
    (item,) = read_trajectories(str(path), settings=settings)
    assert isinstance(item, Trajectory)
    assert item.problem == "?"


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"traces": []},
        {"traces": ["a"]},
        {"traces": [TRACE, 1]},
        {"traces": {"a": TRACE}},
        {"problem": "?", "solution": SOLUTION, "examples": [{"in": 1}]},
        {"messages": [{"role": "user", "content": "Hi"}] * 2, "results": [{"ok": True}]},
        {"trajectory": [{"action": "ls", "observation": "", "response": ""}], "data": [{"a": 1}]},
    ],
)
def test_a_row_is_no_container(value: dict[str, Any]) -> None:
    assert [(place, inner.value) for place, inner in unwrap(row(value))] == [("", value)]
