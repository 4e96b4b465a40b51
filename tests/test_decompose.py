from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tyro
from rich.console import Console

from srl.decompose import DecomposeSummary, decompose, decompose_command, print_summary
from srl.errors import DataError

SOLUTION = "1. **Add** 2 + 3\n\n2. **Double** so \\boxed{10}"
GOOD = {"id": "a", "problem": "What is 2(2 + 3)?", "solution": SOLUTION}
BAD = {"id": "b", "problem": "What is 2?", "solution": "2"}


@pytest.fixture
def experts(tmp_path: Path) -> str:
    return write(tmp_path / "experts.jsonl", GOOD, BAD, GOOD, GOOD | {"id": "c", "solution": "1. **A** x\n2. **B** y"})


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_counts_and_files(experts: str, tmp_path: Path) -> None:
    output, report = tmp_path / "examples.jsonl", tmp_path / "drops.jsonl"
    assert decompose(experts, output, report=report) == DecomposeSummary(
        source=experts,
        output=str(output),
        report=str(report),
        num_read=4,
        num_parsed=2,
        num_with_answer=1,
        num_examples=4,
        dropped={"too_few_steps": 1, "duplicate_id": 1},
        steps_per_trajectory={2: 2},
    )
    assert [(row["trajectory_id"], row["step_index"]) for row in read(output)] == [
        ("a", 0),
        ("a", 1),
        ("c", 0),
        ("c", 1),
    ]
    drops = [(row["source"]["file"], row["line"], row["reason"]) for row in read(report)]
    assert drops == [(experts, 2, "too_few_steps"), (experts, 3, "duplicate_id")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drops.jsonl", "examples.jsonl", "experts.jsonl"]


def test_strict_writes_nothing(experts: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: too_few_steps"):
        decompose(experts, tmp_path / "o.jsonl", report=tmp_path / "r.jsonl", strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["experts.jsonl"]


def test_nothing_parsed_is_an_error_with_a_report(tmp_path: Path) -> None:
    source = write(tmp_path / "x.jsonl", BAD, 5)
    with pytest.raises(DataError, match=r"no row became a trajectory \(1 too_few_steps, 1 not_an_object\)"):
        decompose(source, tmp_path / "o.jsonl", report=tmp_path / "r.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.jsonl", "x.jsonl"]
    with pytest.raises(DataError, match="it has no rows"):
        decompose(write(tmp_path / "empty.jsonl"), tmp_path / "o.jsonl")


@pytest.mark.parametrize("existing", ["o.jsonl", "r.jsonl"])
def test_existing_files_are_kept_unless_given_up(experts: str, tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(DataError, match="exists already; pass --overwrite"):
        decompose(experts, tmp_path / "o.jsonl", report=tmp_path / "r.jsonl")
    assert (tmp_path / existing).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2
    decompose(experts, tmp_path / "o.jsonl", report=tmp_path / "r.jsonl", overwrite=True)
    assert (tmp_path / existing).read_text() != "mine"


def test_a_failing_run_keeps_the_old_output(experts: str, tmp_path: Path) -> None:
    (tmp_path / "o.jsonl").write_text("mine")
    with pytest.raises(DataError):
        decompose(experts, tmp_path / "o.jsonl", overwrite=True, strict=True)
    assert (tmp_path / "o.jsonl").read_text() == "mine"


def test_places_that_cannot_be_written(experts: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be different files"):
        decompose(experts, Path(experts), overwrite=True)
    with pytest.raises(DataError, match="must be different files"):
        decompose(experts, tmp_path / "o.jsonl", report=tmp_path / "o.jsonl")
    with pytest.raises(DataError, match="is not a file"):
        decompose(experts, tmp_path, overwrite=True)
    with pytest.raises(DataError, match="does its folder exist"):
        decompose(experts, tmp_path / "no" / "o.jsonl")


def test_a_summary_fits_into_80_columns() -> None:
    summary = DecomposeSummary(
        source="x",
        output="runs/[draft]/" + "long/" * 30 + "examples.jsonl",
        report=None,
        num_read=2035,
        num_parsed=1917,
        num_with_answer=1847,
        num_examples=10134,
        dropped={"too_few_steps": 118},
        steps_per_trajectory={2: 31, 5: 513, 12: 1},
    )
    page = io.StringIO()
    print_summary(summary, Console(file=page, width=80))
    lines = page.getvalue().splitlines()
    assert "│ dropped: too_few_steps         │   118 (5.8 %) │" in lines
    assert f"examples: {summary.output}" in lines
    assert max(len(line) for line in lines if "long/" not in line) <= 80


def test_command_line(experts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The function as tyro reads it: INPUT in place, -o for the output."""
    tyro.cli(decompose_command, args=[experts, "-o", str(tmp_path / "o.jsonl"), "--report", str(tmp_path / "r.jsonl")])
    assert "rows read" in capsys.readouterr().out
    assert len(read(tmp_path / "o.jsonl")) == 4


def test_real_file(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    summary = decompose(str(shared_data("math/amc_aime_solutions.jsonl")), tmp_path / "o.jsonl")
    assert (summary.num_read, summary.num_parsed, summary.num_examples) == (2035, 1917, 10134)
    assert summary.dropped == {"too_few_steps": 118}
    wanted = {"trajectory_id", "step_index", "num_steps", "problem", "context", "title", "target_action", "answer"}
    with (tmp_path / "o.jsonl").open(encoding="utf-8") as file:
        assert all(wanted | {"source"} <= json.loads(line).keys() for line in file)
