from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srl.errors import ConfigError, DataError
from srl.trajectories.reader import describe_drop, read_trajectories
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

SOLUTION = "1. **Add** 2 + 3\n\n2. **Double** so \\boxed{10}"
ROW = {"id": "a", "problem": "What is 2(2 + 3)?", "solution": SOLUTION}


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(path)


def write_rows(path: Path, *rows: object) -> str:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_one(path: Path, row: object) -> Trajectory | DroppedRow:
    (result,) = read_trajectories(write_rows(path, row))
    return result


def reasons(source: str) -> list[str]:
    return [item.reason if isinstance(item, DroppedRow) else "ok" for item in read_trajectories(source)]


def test_a_row(tmp_path: Path) -> None:
    trajectory = read_one(tmp_path / "experts.jsonl", ROW)
    assert isinstance(trajectory, Trajectory)
    assert (trajectory.trajectory_id, trajectory.problem, trajectory.answer) == ("a", ROW["problem"], "10")
    assert trajectory.solution == SOLUTION
    assert [step.title for step in trajectory.steps] == ["Add", "Double"]
    assert (trajectory.source.file, trajectory.source.row) == (str(tmp_path / "experts.jsonl"), 0)


@pytest.mark.parametrize(
    ("change", "trajectory_id", "answer"),
    [
        ({"id": None}, "experts-0", "10"),
        ({"id": ""}, "experts-0", "10"),
        ({"id": 7}, "7", "10"),
        ({"trajectory_id": "t"}, "t", "10"),
        ({"answer": "11"}, "a", "11"),
        ({"answer": 27.0}, "a", "27"),
        ({"answer": 2.5}, "a", "2.5"),
        ({"answer": ""}, "a", "10"),
        ({"answer": None, "expected_answer": "12"}, "a", "12"),
        ({"problem": None, "question": "Q"}, "a", "10"),
        ({"problem": None, "prompt": "Q"}, "a", "10"),
        ({"solution": None, "response": SOLUTION}, "a", "10"),
        ({"solution": None, "output": SOLUTION}, "a", "10"),
        ({"solution": None, "answer": "1. x\n\n2. y\n#### 72"}, "a", "72"),
        ({"solution": "1. **A** x\n2. **B** y"}, "a", None),
    ],
)
def test_field_names(tmp_path: Path, change: dict[str, Any], trajectory_id: str, answer: str | None) -> None:
    trajectory = read_one(tmp_path / "experts.jsonl", ROW | change)
    assert isinstance(trajectory, Trajectory)
    assert (trajectory.trajectory_id, trajectory.answer) == (trajectory_id, answer)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([1], "not_an_object"),
        (None, "not_an_object"),
        ("text", "not_an_object"),
        ({}, "missing_field"),
        ({"problem": "x"}, "missing_field"),
        ({"problem": "x", "answer": "72"}, "missing_field"),
        (ROW | {"problem": None}, "missing_field"),
        (ROW | {"problem": ["x"]}, "wrong_type"),
        (ROW | {"solution": 3}, "wrong_type"),
        (ROW | {"id": ["x"]}, "wrong_type"),
        (ROW | {"id": True}, "wrong_type"),
        (ROW | {"answer": {"a": 1}}, "wrong_type"),
        (ROW | {"problem": " \n"}, "empty_field"),
        (ROW | {"solution": ""}, "empty_field"),
        (ROW | {"problem": "a\x00"}, "nul_character"),
        (ROW | {"id": "a\x00"}, "nul_character"),
        (ROW | {"solution": SOLUTION + "\ud800"}, "lone_surrogate"),
        (ROW | {"answer": "\udc80"}, "lone_surrogate"),
        (ROW | {"solution": "It is 10."}, "too_few_steps"),
        (ROW | {"solution": "1. **Only** 10"}, "too_few_steps"),
    ],
)
def test_rows_that_are_dropped(tmp_path: Path, row: object, reason: str) -> None:
    dropped = read_one(tmp_path / "x.jsonl", row)
    assert isinstance(dropped, DroppedRow)
    assert (dropped.reason, dropped.line, dropped.source.row) == (reason, 1, 0)
    with pytest.raises(DataError, match=f"x.jsonl, line 1: {reason}"):
        list(read_trajectories(str(tmp_path / "x.jsonl"), strict=True))


def test_named_columns(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "s1k.jsonl", {"question": "Q", "solution": "ten", "attempt": SOLUTION, "task": "P"})
    assert reasons(source) == ["too_few_steps"]
    (trajectory,) = read_trajectories(source, settings=ReadSettings(problem_field="task", solution_field="attempt"))
    assert isinstance(trajectory, Trajectory)
    assert (trajectory.problem, trajectory.solution) == ("P", SOLUTION)


def test_a_format_that_is_not_known(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "x.jsonl", ROW)
    with pytest.raises(ConfigError, match="'nope' is unknown; use auto, openhands, "):
        list(read_trajectories(source, settings=ReadSettings(format="nope")))


def test_a_second_row_with_the_same_id_is_dropped(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "x.jsonl", ROW, ROW | {"id": "b"}, ROW | {"problem": "other"})
    assert reasons(source) == ["ok", "ok", "duplicate_id"]


def test_damaged_lines(tmp_path: Path) -> None:
    good = json.dumps(ROW).encode()
    other = json.dumps(ROW | {"id": "b"}).encode()
    lines = [
        b"\xef\xbb\xbf" + good + b"\r",
        b"",
        b"{not json}",
        b'{"problem": "\xff"}',
        b"[" * 100_000,
        b"1" * 5_000,
        other,
        good[: len(good) // 2],
    ]
    items = list(read_trajectories(write(tmp_path / "x.jsonl", b"\n".join(lines))))
    found = [(item.line, item.reason) if isinstance(item, DroppedRow) else item.source.row + 1 for item in items]
    damaged = [(3, "bad_json"), (4, "not_utf8"), (5, "bad_json"), (6, "bad_json")]
    assert found == [1, *damaged, 7, (8, "bad_json")]


def test_a_bad_byte_costs_one_row_of_an_array(tmp_path: Path) -> None:
    good = json.dumps(ROW).encode()
    assert reasons(write(tmp_path / "x.json", b'[{"problem": "\xff"}, ' + good + b"]"))[1:] == ["ok"]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist([ROW, ROW | {"id": "b", "solution": None}, ROW | {"id": "c"}]), path)
    items = list(read_trajectories(str(path)))
    assert [item.source.row for item in items] == [0, 1, 2]
    assert [type(item) for item in items] == [Trajectory, DroppedRow, Trajectory]
    assert isinstance(items[1], DroppedRow)
    assert describe_drop(items[1]).startswith(f"{path}, row 1: missing_field: ")


def test_a_folder(tmp_path: Path) -> None:
    """Strictness is about rows: a file that is no data is one of them."""
    write_rows(tmp_path / "a.jsonl", ROW)
    write(tmp_path / "b" / "c.json", json.dumps([ROW | {"id": "b"}]))
    write(tmp_path / "README.md", "# Experts")
    assert reasons(str(tmp_path)) == ["not_data", "ok", "ok"]
    with pytest.raises(DataError, match=r"README.md, row 0: not_data: holds neither JSON nor Parquet"):
        list(read_trajectories(str(tmp_path), strict=True))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "answer", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=300), suffix=st.sampled_from(["", ".jsonl", ".json", ".parquet"]))
def test_any_bytes_can_be_read(tmp_path: Path, content: bytes, suffix: str) -> None:
    source = write(tmp_path / f"any{suffix}", content)
    try:
        items = list(read_trajectories(source))
    except DataError as error:  # nothing else may come out
        items = []
        message = str(error)
    else:
        message = source if items else ""
    assert message.startswith(source)
    assert all(isinstance(item, (Trajectory, DroppedRow)) for item in items)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(JSON_VALUES, max_size=4), as_array=st.booleans(), cut=st.integers(0, 40))
def test_any_json_can_be_read(tmp_path: Path, values: list[Any], as_array: bool, cut: int) -> None:
    values = [ROW, *values]
    text = json.dumps(values) if as_array else "\n".join(json.dumps(value) for value in values)
    source = write(tmp_path / f"any.json{'' if as_array else 'l'}", text[: max(len(text) - cut, 1)])
    items = list(read_trajectories(source))
    assert 1 <= len(items) <= len(values) + 1
    assert len(items) == len(values) or cut


def test_real_file(shared_data: Callable[[str], Path]) -> None:
    """2,035 rows, each of which is a trajectory or a drop; 118 of them have no numbered steps."""
    items = list(read_trajectories(str(shared_data("math/amc_aime_solutions.jsonl"))))
    assert [item.source.row for item in items] == list(range(2035))
    trajectories = [item for item in items if isinstance(item, Trajectory)]
    assert len(trajectories) >= 1974  # 97 %
    assert len({trajectory.trajectory_id for trajectory in trajectories}) == len(trajectories)
