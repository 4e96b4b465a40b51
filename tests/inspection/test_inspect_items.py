"""What is chosen from a source, and that no more of it is read than needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from srl.errors import ConfigError, DataError
from srl.example_store import read_items
from srl.examples import make_step_examples, to_json
from srl.inspection.items import find_item
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Source, StepExample, Trajectory

ROWS = [
    {"id": "a", "problem": "P", "solution": "1. **A** one\n\n2. **B** two"},
    {"id": "b", "problem": "P"},
    {"id": "c", "problem": "Q", "solution": "1. **C** one\n\n2. **D** two\n\n3. **E** three"},
]


@pytest.fixture
def trajectories(tmp_path):
    path = tmp_path / "experts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


@pytest.fixture
def examples(trajectories, tmp_path):
    path = tmp_path / "examples.jsonl"
    whole = [item for item in read_items(trajectories, ReadSettings()) if isinstance(item, Trajectory)]
    lines = [json.dumps(to_json(example)) + "\n" for item in whole for example in make_step_examples(item)]
    path.write_text("".join(lines))
    return str(path)


def find(source, *, index=None, id=None, step=None):
    return find_item(read_items(source, ReadSettings()), source, index=index, trajectory_id=id, step=step)


def test_trajectories_by_position_and_by_id(trajectories):
    assert find(trajectories).trajectory_id == "a"
    assert find(trajectories, index=2).trajectory_id == "c"
    assert find(trajectories, id="c", step=1).trajectory_id == "c"


def test_step_examples_by_position_and_by_id(examples):
    assert isinstance(find(examples), StepExample)
    assert (find(examples, index=3).trajectory_id, find(examples, index=3).step_index) == ("c", 1)
    assert find(examples, id="c").step_index == 0
    assert find(examples, id="c", step=2).target_action == "3. **E** three"


def test_a_row_that_was_dropped_tells_why(trajectories):
    with pytest.raises(DataError, match=r"position 1 was dropped: .*experts\.jsonl, line 2: missing_field"):
        find(trajectories, index=1)


def test_what_is_not_there_is_an_error_that_says_what_is(trajectories, examples):
    with pytest.raises(DataError, match="has 3 rows"):
        find(trajectories, index=3)
    with pytest.raises(DataError, match="has no 'x'; its first ids: 'a', 'c'"):
        find(trajectories, id="x")
    with pytest.raises(DataError, match="has no step 9 of 'c'"):
        find(examples, id="c", step=9)


def test_a_source_without_anything_to_show_names_its_first_drop(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"a": 1}\n[2]\n')
    with pytest.raises(DataError, match=r"holds no trajectory and no step example.*line 1: missing_field"):
        find(str(path))


def test_choices_that_contradict_each_other_are_errors(trajectories, examples):
    with pytest.raises(ConfigError, match="give one of them"):
        find(trajectories, index=0, id="a")
    with pytest.raises(ConfigError, match="count from 0"):
        find(trajectories, index=-1)
    with pytest.raises(ConfigError, match="a step example of its own"):
        find(examples, index=0, step=1)


def test_no_more_is_read_than_needed():
    def items():
        yield DroppedRow(source=Source(file="f", row=0), line=1, reason="bad_json", detail="x")
        yield from read_trajectory("wanted")
        raise AssertionError("read too far")

    def read_trajectory(trajectory_id):
        yield Trajectory(
            trajectory_id=trajectory_id, problem="P", steps=(), answer=None, source=Source(file="f", row=1)
        )

    for choice in ({"index": 1}, {"trajectory_id": "wanted"}, {}):
        given = {"index": None, "trajectory_id": None, "step": None} | choice
        assert find_item(items(), "f", **given).trajectory_id == "wanted"


def test_bad_step_examples_are_dropped_with_their_reason(tmp_path, examples):
    path = tmp_path / "mixed.jsonl"
    good = json.loads(Path(examples).read_text().splitlines()[0])
    path.write_text("".join(json.dumps(row) + "\n" for row in (good, good | {"num_steps": 0}, good)))
    found = [item.reason if isinstance(item, DroppedRow) else "read" for item in read_items(str(path), ReadSettings())]
    assert found == ["read", "inconsistent", "duplicate_id"]
