"""Several processes give what one gives, and say so when they cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from srl.decomposition import parallel
from srl.decomposition.parallel import read_units
from srl.decomposition.records import TrajectoryRecord, WorkerOptions
from srl.decomposition.run import decompose
from srl.decomposition.worker import shorten_observation
from srl.errors import DataError
from srl.trajectories.reader import DEFAULT_SETTINGS
from srl.trajectories.repetition import drop_repetitions
from srl.trajectories.rows import list_units
from srl.types import DroppedRow, Source, Step

OPTIONS = WorkerOptions(reading=DEFAULT_SETTINGS, context_turns=2, max_observation_chars=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine files of different sizes; every third row is bad."""
    place = tmp_path / "in"
    place.mkdir()
    for number in range(9):
        rows = [
            {
                "id": f"{row}",
                "problem": f"What is {number} + {row}?",
                "solution": "1. **Add** x\n\n2. **Say** y" * (row % 3),
            }
            for row in range(1, 2 + 7 * number)
        ]
        (place / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.mark.parametrize("num_workers", [2, 3, 20])
def test_any_number_of_workers_gives_the_same_files(folder: Path, tmp_path: Path, num_workers: int) -> None:
    one = decompose(str(folder), tmp_path / "one", shard_bytes=2000)
    many = decompose(str(folder), tmp_path / "many", shard_bytes=2000, num_workers=num_workers)
    names = sorted(path.name for path in (tmp_path / "one").glob("*.jsonl"))
    assert len(names) > 3
    assert names == sorted(path.name for path in (tmp_path / "many").glob("*.jsonl"))
    for name in [*names, ".srl/drops.jsonl"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()
    assert json.loads(one.to_json()) | {"output": "", "report": ""} == json.loads(many.to_json()) | {
        "output": "", "report": "",
    }  # fmt: skip


def test_small_batches_change_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = list(list_units(str(folder)))
    whole = list(read_units(units, OPTIONS, num_workers=1))
    monkeypatch.setattr(parallel, "BATCH_ITEMS", 1)
    assert list(read_units(units, OPTIONS, num_workers=2)) == whole


def test_an_error_in_a_worker_is_the_callers(folder: Path) -> None:
    units = [*list_units(str(folder)), *list_units(str(folder / "1.jsonl"))]
    (folder / "1.jsonl").unlink()
    with pytest.raises(DataError, match=r"1\.jsonl"):
        list(read_units(units[-2:], OPTIONS, num_workers=2))


def reading_processes() -> list[int]:
    """The pids of this process's spawned children."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                is_spawned = b"spawn_main" in (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == os.getpid() and is_spawned:
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the processes through /proc")
def test_a_worker_that_is_stopped_is_noticed(folder: Path) -> None:
    units = list(list_units(str(folder))) * 500

    def stop_them() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (children := reading_processes()):
            time.sleep(0.01)
        for child in children:
            os.kill(child, signal.SIGKILL)

    stopper = threading.Thread(target=stop_them)
    stopper.start()
    with pytest.raises(DataError, match="exit code -9"):
        list(read_units(units, OPTIONS, num_workers=2))
    stopper.join()
    assert reading_processes() == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the processes through /proc")
@pytest.mark.timeout(60)
def test_a_worker_that_is_stopped_in_the_middle_of_a_batch_is_noticed(tmp_path: Path) -> None:
    """A batch is larger than what a pipe holds, so that a worker whose caller pauses has sent a part of it."""
    long = "so it goes on. " * 2000
    for name in "ab":
        rows = [{"id": f"{k}", "problem": "P", "solution": f"1. **A** {long}\n\n2. **B** y"} for k in range(400)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = read_units(list(list_units(str(tmp_path))), OPTIONS, num_workers=2)
    next(items)
    time.sleep(1)
    for child in reading_processes():
        os.kill(child, signal.SIGKILL)
    with pytest.raises(DataError, match="exit code -9"):
        list(items)


SCRIPT = """
import signal, sys, time
from srl.decomposition.parallel import read_units
from srl.decomposition.records import WorkerOptions
from srl.trajectories.reader import DEFAULT_SETTINGS
from srl.trajectories.repetition import drop_repetitions
from srl.trajectories.rows import list_units

if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: None)
    options = WorkerOptions(reading=DEFAULT_SETTINGS, context_turns=2, max_observation_chars=0)
    for number, item in enumerate(read_units(list(list_units(sys.argv[1])), options, num_workers=2)):
        if number == 2000:  # both workers have handed something over, and have another file to read
            print("reading", flush=True)
            time.sleep(float(sys.argv[2]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "pause", "code"), [(signal.SIGKILL, 60, -signal.SIGKILL), (signal.SIGINT, 0, 0)])
def test_workers_end_with_their_caller_and_not_before(tmp_path: Path, number: int, pause: int, code: int) -> None:
    """The caller is killed, or goes on after a Ctrl-C. Output is at its end when all processes that hold it are."""
    (tmp_path / "in").mkdir()
    for name in "abcd":
        rows = [{"id": str(row), "problem": "P", "solution": "1. **Add** x\n\n2. **Say** y"} for row in range(2000)]
        (tmp_path / "in" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "in"), str(pause)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "reading\n"
        (os.kill if pause else os.killpg)(process.pid, number)
        _, errors = process.communicate(timeout=40)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert (process.returncode, "Traceback" in errors) == (code, False)


def record(name: str, *chain: bytes) -> TrajectoryRecord:
    return TrajectoryRecord(
        trajectory_id=name,
        problem="p",
        chain=chain,
        source=Source(file=name, row=0),
        format="x",
        splitter="turns",
        num_steps=2,
        has_answer=False,
        is_right=None,
        notes={},
        examples=(),
    )


def test_of_logs_that_repeat_each_other_the_longest_stays() -> None:
    drop = DroppedRow(source=Source(file="d", row=0), line=0, reason="bad_json", detail="")
    items = [
        record("a1", b"p", b"1"), drop, record("a2", b"p", b"1", b"2"), record("a3", b"p", b"1", b"2"),
        record("b1", b"p", b"1", b"3"), record("plain"), record("c", b"q"),
    ]  # fmt: skip

    def names(results: Iterator[TrajectoryRecord | DroppedRow]) -> list[str]:
        return [item.source.file + ("!" if isinstance(item, DroppedRow) else "") for item in results]

    assert names(drop_repetitions(items, lambda item: item.chain)) == ["d!", "a1!", "a2!", "a3", "b1", "plain", "c"]


def test_long_observations_are_cut_in_the_middle() -> None:
    step = Step(title="", text="cat x", body="cat x", observation="a" * 40 + "b" * 60)
    assert shorten_observation(step, 100) == step == shorten_observation(step, 0)
    shortened = shorten_observation(step, 60).observation
    assert len(shortened) <= 60
    head, marker, tail = shortened.split("\n")
    assert (set(head), set(tail)) == ({"a"}, {"b"})
    assert marker == f"[... {100 - len(head) - len(tail)} characters left out ...]"
