"""Reading is total: whatever stands in the files, the result is a Run with notes, or a RunDirError."""

import json
from pathlib import Path

import pytest

from srl.errors import RunDirError
from srl.saved_run.json_files import as_number, read_lines
from srl.saved_run.load import load_run


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
