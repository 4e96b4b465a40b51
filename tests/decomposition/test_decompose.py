from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tyro
from rich.console import Console

from srl.decomposition.command import decompose_command
from srl.decomposition.run import decompose, read_outcomes
from srl.decomposition.summary import DecomposeSummary, print_summary
from srl.errors import ConfigError, DataError
from srl.example_store import load_examples
from srl.examples import ExampleSettings
from srl.trajectories.reader import read_trajectories
from srl.trajectories.settings import ReadSettings

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
    summary = decompose(experts, output, report=report)
    assert (summary.num_read, summary.num_parsed, summary.num_with_answer, summary.num_examples) == (4, 2, 1, 4)
    assert (summary.dropped, summary.steps_per_trajectory) == ({"too_few_steps": 1, "duplicate_id": 1}, {2: 2})
    assert (summary.formats, list(summary.files)) == ({"rows": 2}, [experts])
    assert json.loads(summary.to_json())["num_read"] == 4
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
    with pytest.raises(DataError, match=r"no row of .* became a trajectory \(too_few_steps: 1, not_an_object: 1\)"):
        decompose(source, tmp_path / "o.jsonl", report=tmp_path / "r.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.jsonl", "x.jsonl"]
    with pytest.raises(DataError, match=r"empty\.jsonl"):
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
    with pytest.raises(DataError, match="must be different places"):
        decompose(experts, Path(experts), overwrite=True)
    with pytest.raises(DataError, match="must be different places"):
        decompose(experts, tmp_path / "o.jsonl", report=tmp_path / "o.jsonl")
    for source, output, report in (
        (str(tmp_path), "o.jsonl", None),
        (experts, ".", None),  # the input is inside the output, which would be replaced
        (experts, "steps", tmp_path / "steps" / "r.jsonl"),  # so would the report
    ):
        with pytest.raises(DataError, match="none inside another"):
            decompose(source, tmp_path / output, report=report, overwrite=True)
    with pytest.raises(DataError, match=r"\./experts\.jsonl is named twice"):
        decompose((f"{tmp_path}/./experts.jsonl", experts), tmp_path / "o.jsonl")
    for name in ("mine.txt", "examples-mine.jsonl"):
        (folder := tmp_path / f"holds {Path(name).stem}").mkdir()
        (folder / name).touch()
        with pytest.raises(DataError, match=rf"holds {name}, which srl decompose did not write"):
            decompose(experts, folder, overwrite=True)
    with pytest.raises(DataError, match="is not a file"):
        decompose(experts, tmp_path / "o.jsonl", report=folder, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file exists and is no folder"):
        decompose(experts, tmp_path / "file", overwrite=True)
    with pytest.raises(DataError, match="name at least one"):
        decompose((), tmp_path / "o.jsonl")
    with pytest.raises(DataError, match="does its folder exist"):
        decompose(experts, tmp_path / "no" / "o.jsonl")


@pytest.mark.skipif(os.name != "posix", reason="a limit on the size of files, and process ids that can be asked for")
@pytest.mark.parametrize("output", ["o.jsonl", "o.parquet", "steps"])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, output: str) -> None:
    import resource

    rows = [GOOD | {"id": f"{n}", "problem": hashlib.sha256(b"%d" % n).hexdigest() * 9} for n in range(4000)]
    source = write(tmp_path / "in.jsonl", *rows)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DataError, match="cannot write"):
            decompose(source, tmp_path / output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.skipif(os.name != "posix", reason="process ids that can be asked for")
def test_what_a_killed_run_left_is_removed(experts: str, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    for process in (os.getpid(), ended.pid, os.getppid()):  # an id may come again, in a container always
        (tmp_path / f".steps.{process}.partial").mkdir()
    (tmp_path / f".steps.{ended.pid}.partial" / "examples-00000.jsonl").write_text("half")
    decompose(experts, tmp_path / "steps")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f".steps.{os.getppid()}.partial", "experts.jsonl", "steps"]


def test_a_link_is_followed_and_stays(experts: str, tmp_path: Path) -> None:
    for name in ("steps", "o.jsonl"):
        (tmp_path / "real" / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(tmp_path / "real" / name)
        decompose(experts, tmp_path / name)
        decompose(experts, tmp_path / name, overwrite=True)
        assert (tmp_path / name).is_symlink()
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == ["o.jsonl", "steps"]


def test_a_summary_fits_into_80_columns() -> None:
    summary = DecomposeSummary(
        sources=("x",),
        output="runs/[draft]/" + "long/" * 30 + "examples.jsonl",
        num_parsed=1917,
        num_with_answer=1847,
        num_examples=10134,
        dropped=Counter({"too_few_steps": 118}),
        formats=Counter({f"format-{k}": 1000 - k for k in range(12)}),
        steps_per_trajectory=Counter({k: k for k in range(2, 150)}),
    )
    page = io.StringIO()
    print_summary(summary, Console(file=page, width=80))
    lines = page.getvalue().splitlines()
    assert "│ rows read                      │          2,035 │" in lines
    assert "│ dropped: too_few_steps         │    118 (5.8 %) │" in lines
    assert len(lines) < 50
    assert f"examples: {summary.output}" in lines
    assert max(len(line) for line in lines if "long/" not in line) <= 80


def run_command(*arguments: object) -> int:
    """The function as tyro reads it; its exit code."""
    try:
        tyro.cli(decompose_command, args=[str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def test_the_exit_code_says_whether_anything_was_dropped(
    experts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(experts, "-o", tmp_path / "o.jsonl", "--report", tmp_path / "r.jsonl") == 3
    assert "rows read" in capsys.readouterr().out
    assert len(read(tmp_path / "o.jsonl")) == 4
    assert run_command(write(tmp_path / "good.jsonl", GOOD), "-o", tmp_path / "p.jsonl") == 0
    with pytest.raises(ConfigError, match="unknown; use auto, openhands"):
        run_command(experts, "-o", tmp_path / "q.jsonl", "--format", "csv")
    with pytest.raises(ConfigError, match=r"q\.jsonl\.gz: give a file a name that ends in \.jsonl or \.parquet"):
        run_command(experts, "-o", tmp_path / "q.jsonl.gz")
    with pytest.raises(ConfigError, match="--shard-format parquet is for folders"):
        run_command(experts, "-o", tmp_path / "q.jsonl", "--shard-format", "parquet")
    with pytest.raises(ConfigError, match="at least 0"):
        run_command(experts, "-o", tmp_path / "q.jsonl", "--context-turns", "-1")


def test_several_files_do_not_share_ids(tmp_path: Path) -> None:
    for name in ("first", "b/c"):
        path = tmp_path / "in" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, GOOD, {k: v for k, v in GOOD.items() if k != "id"})
    summary = decompose(str(tmp_path / "in"), tmp_path / "out.jsonl")
    assert summary.dropped == {}
    assert sorted({row["trajectory_id"] for row in read(tmp_path / "out.jsonl")}) == [
        "b/c/1",
        "b/c/a",
        "first/1",
        "first/a",
    ]


def test_ids_are_those_that_every_other_command_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    one, two = (write(folder / f"{name}.jsonl", GOOD) for name in ("one", "two"))
    monkeypatch.chdir(folder)
    for number, (sources, expected) in enumerate(
        (
            ([str(tmp_path / "in")], ["deep/one/a", "deep/two/a"]),
            ([one, two], ["one/a", "two/a"]),
            (["one.jsonl", two], ["one/a", "/".join([*folder.parts[1:], "two", "a"])]),
            ([one], ["a"]),
        )
    ):
        decompose(sources, output := tmp_path / f"{number}.jsonl")
        assert list(dict.fromkeys(row["trajectory_id"] for row in read(output))) == expected
    assert [item.trajectory_id for item in read_trajectories(str(tmp_path / "in"))] == ["deep/one/a", "deep/two/a"]


def test_a_folder_of_shards(experts: str, tmp_path: Path) -> None:
    output = tmp_path / "steps"
    summary = decompose(experts, output, shard_bytes=1)
    assert sorted(path.name for path in output.iterdir()) == [
        ".srl", "examples-00000.jsonl", "examples-00001.jsonl",
    ]  # fmt: skip
    assert [row["trajectory_id"] for k in (0, 1) for row in read(output / f"examples-0000{k}.jsonl")] == [*"aacc"]
    assert [row["line"] for row in read(output / ".srl" / "drops.jsonl")] == [2, 3]
    again = load_examples(str(output), ExampleSettings(include_last_step=True))
    assert (len(again.store), again.dropped) == (4, {})
    assert summary.report == str(output / ".srl" / "drops.jsonl")
    (output / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt, which srl decompose did not write"):
        decompose(experts, output, overwrite=True)
    (output / "notes.txt").unlink()
    decompose(experts, output, overwrite=True)
    assert not (output / "examples-00001.jsonl").exists()


@pytest.mark.parametrize("output", ["steps.parquet", "steps"])
def test_parquet_holds_the_same_as_json_lines(tmp_path: Path, output: str) -> None:
    source = write(
        tmp_path / "in.jsonl", GOOD, GOOD | {"id": "z", "answer": None, "solution": "1. **A** x\n2. **B** y"}
    )
    decompose(source, tmp_path / "steps.jsonl")
    decompose(source, tmp_path / output, shard_format="parquet")
    parquet = [str(path) for path in sorted((tmp_path / output).glob("*.parquet"))] or str(tmp_path / output)
    loaded = load_examples(str(tmp_path / output), ExampleSettings(include_last_step=True)).store
    assert list(loaded) == list(
        load_examples(str(tmp_path / "steps.jsonl"), ExampleSettings(include_last_step=True)).store
    )
    dataset: Any = datasets.load_dataset("parquet", data_files=parquet, split="train", cache_dir=str(tmp_path / "hf"))
    assert [row["target_action"] for row in dataset] == [example.target_action for example in loaded]


def test_the_datasets_library_loads_the_shards(experts: str, tmp_path: Path) -> None:
    decompose(experts, tmp_path / "steps", shard_bytes=1)
    files = [str(path) for path in sorted((tmp_path / "steps").glob("examples-*.jsonl"))]
    dataset: Any = datasets.load_dataset("json", data_files=files, split="train", streaming=True)
    assert [(row["trajectory_id"], row["step_index"]) for row in dataset] == [("a", 0), ("a", 1), ("c", 0), ("c", 1)]


def test_outcomes_from_a_file_beside_the_logs(tmp_path: Path) -> None:
    rows = [GOOD | {"id": name} for name in "abc"]
    source = write(tmp_path / "in.jsonl", *rows)
    outcomes = write(tmp_path / "resolved.jsonl", {"id": "a", "resolved": False}, {"instance_id": "b", "reward": 1.0})
    summary = decompose(source, tmp_path / "all.jsonl", outcomes=outcomes)
    assert (summary.num_parsed, summary.num_marked_right, summary.num_marked_wrong) == (3, 1, 1)
    right = decompose(source, tmp_path / "right.jsonl", outcomes=outcomes, reading=ReadSettings(only_right=True))
    assert right.dropped == {"marked_wrong": 1}
    assert {row["trajectory_id"] for row in read(tmp_path / "right.jsonl")} == {"b", "c"}
    assert read_outcomes(outcomes) == {"a": False, "b": True}
    assert (summary.num_without_outcome, right.num_without_outcome) == (1, 1)
    rows = [GOOD | {"id": name} for name in "ab"]
    twice = [write(tmp_path / run / "in.jsonl", *rows) for run in ("run1", "run2") if not (tmp_path / run).mkdir()]
    one_run = write(tmp_path / "one_run.jsonl", {"id": "a", "resolved": False}, {"id": "run2/in/a", "resolved": True})
    for source, kept in ((outcomes, {"run1/in/b", "run2/in/b"}), (one_run, {"run1/in/b", "run2/in/a", "run2/in/b"})):
        reading = ReadSettings(only_right=True)
        decompose(twice, tmp_path / "runs.jsonl", outcomes=source, reading=reading, overwrite=True)
        assert {row["trajectory_id"] for row in read(tmp_path / "runs.jsonl")} == kept
    for bad in ({"id": "a"}, {"resolved": True}, {"id": "a", "resolved": "yes"}):
        with pytest.raises(DataError, match=r"bad\.jsonl, line 1: missing_field: an outcome needs an id"):
            read_outcomes(write(tmp_path / "bad.jsonl", bad))
    with pytest.raises(DataError, match=r"bad\.jsonl, line 1: wrong_type: id is list"):
        read_outcomes(write(tmp_path / "bad.jsonl", {"id": [1], "resolved": True}))
    with pytest.raises(DataError, match=r"bad\.jsonl, line 2: inconsistent: 'a' is both right and wrong"):
        read_outcomes(write(tmp_path / "bad.jsonl", {"id": "a", "score": 0.9}, {"id": "a", "score": 0.1}))
    pq.write_table(pa.table({"id": ["a"], "score": [float("nan")]}), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match=r"bad\.parquet, row 0: missing_field"):
        read_outcomes(str(tmp_path / "bad.parquet"))


def test_benchmark_problems_and_near_duplicates_can_be_left_out(tmp_path: Path) -> None:
    problems = [
        "Find the number of positive divisors of 2024 that are perfect squares of an integer greater than one.",
        "Find the number of  positive divisors of $2024$ that are perfect squares of an integer greater than one",
        "How many ways are there to seat seven people around a table with two seats that are never empty at once?",
    ]
    source = write(tmp_path / "in.jsonl", *(GOOD | {"id": str(n), "problem": text} for n, text in enumerate(problems)))
    benchmark = write(tmp_path / "bench.jsonl", {"problem": problems[2], "answer": "1"}, {"answer": "2"})
    summary = decompose(source, tmp_path / "o.jsonl", exclude=[benchmark], distinct_problems=True)
    assert summary.num_unread_benchmark_rows == 1
    assert summary.dropped == {"near_duplicate": 1, "in_benchmark": 1}
    assert {row["trajectory_id"] for row in read(tmp_path / "o.jsonl")} == {"0"}
    assert decompose(source, tmp_path / "p.jsonl").dropped == {}


def test_real_file(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    summary = decompose(str(shared_data("math/amc_aime_solutions.jsonl")), tmp_path / "o.jsonl")
    assert (summary.num_read, summary.num_parsed, summary.num_examples) == (2035, 2035, 10948)
    assert summary.dropped == {}
    wanted = {"trajectory_id", "step_index", "num_steps", "problem", "context", "title", "target_action", "answer"}
    with (tmp_path / "o.jsonl").open(encoding="utf-8") as file:
        assert all(wanted | {"source"} <= json.loads(line).keys() for line in file)


def test_real_logs_of_calls_leave_one_trajectory_per_conversation(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """Two conversations in eight logs of calls, and two lists of messages."""
    summary = decompose(str(shared_data("swe/openhands_llm_logs")), tmp_path / "o.jsonl", num_workers=2)
    assert summary.formats == {"openhands-llm-log": 2, "openai-chat": 2}
    assert summary.dropped == {"superseded": 4, "too_few_steps": 2}
    assert summary.steps_per_trajectory == {3: 1, 4: 1, 5: 1, 6: 1}


def test_a_file_of_outcomes_for_real_logs(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shared_data("swe/miniswe")
    logs = [str(path) for path in sorted(folder.glob("*.traj.json"))]
    outcomes = folder / "resolved.jsonl"
    resolved = {row["instance_id"] for row in read(outcomes) if row["resolved"]}
    wanted = sum(Path(log).name.removesuffix(".traj.json") in resolved for log in logs)
    summary = decompose(
        logs, tmp_path / "o.jsonl", outcomes=str(outcomes), reading=ReadSettings(only_right=True), num_workers=2
    )
    assert 0 < wanted < 78
    assert (summary.num_parsed, summary.num_marked_right) == (wanted, wanted)
    assert summary.dropped == {"marked_wrong": 78 - wanted}


def test_neither_outcomes_nor_benchmarks_are_overwritten(experts: str, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    write(other, {"id": "a", "resolved": True, "problem": "What is it?"})
    for options in ({"outcomes": str(other)}, {"exclude": [str(other)]}):
        with pytest.raises(DataError, match="must be different places"):
            decompose(experts, other, overwrite=True, **options)  # type: ignore[arg-type]
    assert read(other)[0]["id"] == "a"
