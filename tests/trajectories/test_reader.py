from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srl.errors import DataError
from srl.trajectories.reader import describe_drop, read_trajectories
from srl.trajectories.rows import Row, read_hub_rows, read_rows
from srl.types import DroppedRow, Trajectory

SOLUTION = "1. **Add** 2 + 3\n\n2. **Double** so \\boxed{10}"
ROW = {"id": "a", "problem": "What is 2(2 + 3)?", "solution": SOLUTION}


def write(path: Path, content: str | bytes) -> str:
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
    (trajectory,) = read_trajectories(source, problem_field="task", solution_field="attempt")
    assert isinstance(trajectory, Trajectory)
    assert (trajectory.problem, trajectory.solution) == ("P", SOLUTION)


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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[]", []),
        (json.dumps([ROW, 5, ROW | {"id": "b"}], indent=1), ["ok", "not_an_object", "ok"]),
        ("\ufeff\n [" + json.dumps(ROW) + "\n]", ["ok"]),
        ("[" + json.dumps(ROW) + ",", ["ok", "bad_json"]),
        ("[" + json.dumps(ROW) + " " + json.dumps(ROW) + "]", ["ok", "bad_json"]),
        ("[" + json.dumps(ROW), ["ok", "bad_json"]),
        ("[{", ["bad_json"]),
        ("[", ["bad_json"]),
        (json.dumps(ROW) + "\n" + json.dumps(ROW | {"id": "b"}), ["ok", "ok"]),
        ("", []),
    ],
)
def test_json_files(tmp_path: Path, content: str, expected: list[str]) -> None:
    assert reasons(write(tmp_path / "x.json", content)) == expected


def test_lines_of_array_elements(tmp_path: Path) -> None:
    source = write(tmp_path / "x.json", "[\n1,\n\n2, 3\n]")
    assert [(row.source.row, row.line) for row in read_rows(source)] == [(0, 2), (1, 4), (2, 4)]


def test_a_bad_byte_costs_one_row_of_an_array(tmp_path: Path) -> None:
    good = json.dumps(ROW).encode()
    assert reasons(write(tmp_path / "x.json", b'[{"problem": "\xff"}, ' + good + b"]"))[1:] == ["ok"]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist([ROW, ROW | {"id": "b", "solution": None}, ROW | {"id": "c"}]), path)
    items = list(read_trajectories(str(path)))
    assert [item.source.row for item in items] == [0, 1, 2]
    assert [type(item) for item in items] == [Trajectory, DroppedRow, Trajectory]
    assert describe_drop(items[1]) == (  # type: ignore[arg-type]
        f"{path}, row 1: missing_field: none of solution, response, output, completion, reference_solution "
        "among 'id', 'problem', 'solution'"
    )


def test_parquet_with_text_that_is_not_utf8(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 2, [*pa.array(["ab", "cd"]).buffers()[:2], pa.py_buffer(b"\xff\xffcd")])
    table = pa.table({"id": ["a", "b"], "problem": broken, "solution": [SOLUTION, SOLUTION]})
    pq.write_table(table, tmp_path / "x.parquet")
    assert reasons(str(tmp_path / "x.parquet")) == ["not_utf8", "ok"]


def test_dataset_folder(tmp_path: Path) -> None:
    """The Hub's reader on a folder in the Hub's layout: no network in tests."""
    folder = tmp_path / "experts"
    folder.mkdir()
    for split, trajectory_id in (("train", "a"), ("test", "b")):
        pq.write_table(pa.Table.from_pylist([ROW | {"id": trajectory_id}] * 2), folder / f"{split}.parquet")
    rows = list(read_hub_rows(str(folder), split="test", source="owner/experts:test"))
    assert all(isinstance(row, Row) and row.value == ROW | {"id": "b"} for row in rows)
    assert [(row.source.file, row.source.row, row.line) for row in rows] == [
        ("owner/experts:test", 0, 0),
        ("owner/experts:test", 1, 0),
    ]
    with pytest.raises(DataError, match="split 'dev' of the dataset"):
        list(read_hub_rows(str(folder), split="dev", source="owner/experts:dev"))


@pytest.mark.parametrize("name", ["missing.jsonl", "missing/file.jsonl", "missing", "a/b/c", "owner/name:", ""])
def test_missing_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no such file|is a folder"):
        list(read_trajectories(name))


def test_sources_of_the_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        list(read_trajectories(str(tmp_path)))
    with pytest.raises(DataError, match=r"cannot read \.txt"):
        list(read_trajectories(write(tmp_path / "x.txt", "x")))
    with pytest.raises(DataError, match="as Parquet"):
        list(read_trajectories(write(tmp_path / "x.parquet", b"PAR1 but no more")))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "answer", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".jsonl", ".json", ".parquet"]))
def test_any_bytes_can_be_read(tmp_path: Path, content: bytes, suffix: str) -> None:
    source = write(tmp_path / f"any{suffix}", content)
    try:
        assert all(isinstance(item, (Trajectory, DroppedRow)) for item in read_trajectories(source))
    except DataError:
        assert suffix == ".parquet"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(JSON_VALUES, max_size=4), as_array=st.booleans(), cut=st.integers(0, 40))
def test_any_json_can_be_read(tmp_path: Path, values: list[Any], as_array: bool, cut: int) -> None:
    lines = json.dumps(values) if as_array else "\n".join(json.dumps(value) for value in values)
    source = write(
        tmp_path / f"any.json{'' if as_array else 'l'}", lines[: len(lines) - cut] if cut < len(lines) else lines
    )
    items = list(read_trajectories(source))
    assert len(items) <= len(values) + 1


def test_real_file(shared_data: Callable[[str], Path]) -> None:
    """The figures of docs/data.md."""
    items = list(read_trajectories(str(shared_data("math/amc_aime_solutions.jsonl"))))
    trajectories = [item for item in items if isinstance(item, Trajectory)]
    assert Counter(item.reason for item in items if isinstance(item, DroppedRow)) == {"too_few_steps": 118}
    assert (len(items), len(trajectories)) == (2035, 1917)
    assert sum(len(trajectory.steps) for trajectory in trajectories) == 10134
    assert sum(trajectory.answer is not None for trajectory in trajectories) == 1847


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("gsm8k_test.jsonl", {"too_few_steps": 1000}),
        ("minerva_math.jsonl", {"too_few_steps": 272}),
        ("openthoughts_math_solutions.jsonl", {"ok": 65, "too_few_steps": 5}),
        ("amc23.jsonl", {"missing_field": 40}),
        ("zeroeval_mathl5_grok2.jsonl", {"wrong_type": 400}),
    ],
)
def test_other_real_files_are_counted(shared_data: Callable[[str], Path], file: str, counts: dict[str, int]) -> None:
    found = Counter(reasons(str(shared_data(f"math/{file}"))))
    assert {reason: found[reason] for reason in counts} == counts
