"""Reading is total: whatever stands in the files, the result is a Run with notes, or a RunDirError."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srl.errors import RunDirError
from srl.report.html import write_report
from srl.report.json_files import as_number, read_lines
from srl.report.load import load_run

JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FILES = ("config.json", "environment.json", "scores.json", "metrics.jsonl", "rollouts/srl-00001.jsonl")


def test_reads_a_whole_run(run_dir: Path) -> None:
    run = load_run(run_dir)
    assert run.notes == []
    assert list(run.updates) == ["srl", "rlvr"]
    assert [record["update"] for record in run.updates["rlvr"]] == list(range(21))
    assert [path.name for path in run.rollout_files["srl"]][:2] == ["srl-00001.jsonl", "srl-00002.jsonl"]
    assert list(run.scores) == ["base", "srl", "rlvr"]


@pytest.mark.parametrize("content", [None, "file", "unrelated"])
def test_folder_that_is_no_run_is_an_error(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "run"
    if content == "file":
        path.write_text("{}")
    elif content == "unrelated":
        path.mkdir()
        (path / "scores.json").write_text("{}")
    with pytest.raises(RunDirError, match="run"):
        load_run(path)


def test_torn_last_line_is_left_out_and_named(run_dir: Path) -> None:
    metrics = run_dir / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"stage": "rlvr", "update": 21, "rew')
    run = load_run(run_dir)
    assert run.updates["rlvr"][-1]["update"] == 20
    assert any("last line of metrics.jsonl is incomplete" in note for note in run.notes)


def test_broken_lines_are_counted_with_their_first_line_number(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\nnot json\n[1]\n{"b": "\u2028"}\n')
    notes: list[str] = []
    assert read_lines(path, notes) == [{"a": 1}, {"b": "\u2028"}]
    assert notes == ["x.jsonl: 2 line(s) could not be read and were skipped, first line 2."]


def test_later_line_of_the_same_update_wins_and_updates_are_sorted(tmp_path: Path) -> None:
    lines = [(2, 0.1), (1, 0.2), (2, 0.3)]
    text = "".join(json.dumps({"stage": "srl", "update": u, "reward/mean": r}) + "\n" for u, r in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    records = load_run(tmp_path).updates["srl"]
    assert [(record["update"], record["reward/mean"]) for record in records] == [(1, 0.2), (2, 0.3)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, None, "1", 10**400, [1]])
def test_what_is_not_a_finite_number_is_no_number(value: object) -> None:
    assert as_number(value) is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.lists(st.integers(0, 50), min_size=1, max_size=6), JSON_VALUE)
def test_any_value_in_any_place_gives_a_page(
    new_run: Callable[..., Path], tmp_path: Path, file: str, place: list[int], value: Any
) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        new_run("whole", num_updates={"srl": 1})
    path = tmp_path / "run" / file
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    shutil.copytree(whole, tmp_path / "run")
    text = path.read_text()
    records = [json.loads(line) for line in (text.splitlines() if path.suffix == ".jsonl" else [text])]
    replace(records, place, value)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert write_report(tmp_path / "run").read_text("utf-8").endswith("</html>")


def replace(container: Any, place: list[int], value: Any) -> None:
    """Put the value where the numbers lead: each one chooses a child, the last one or a leaf is replaced."""
    keys = list(container) if isinstance(container, dict) else list(range(len(container)))
    key = keys[place[0] % len(keys)]
    child = container[key]
    if len(place) > 1 and isinstance(child, dict | list) and child:
        replace(child, place[1:], value)
    else:
        container[key] = value


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_give_a_page(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rollouts").mkdir(exist_ok=True)
    for name in FILES:
        (tmp_path / name).write_bytes(content)
    assert write_report(tmp_path).read_text("utf-8").endswith("</html>")
