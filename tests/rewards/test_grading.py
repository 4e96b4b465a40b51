"""The grading processes: they hang, run out of memory or stack, and are killed; the pool goes on and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from srl.errors import RewardError
from srl.rewards import grading
from srl.rewards.grading import Grader, default_num_workers, shared_grader
from srl.types import Ungraded

EQUAL = (r"\sqrt{8}", r"2\sqrt{2}")
DIFFERENT = (r"\sqrt{8}", r"2\sqrt{3}")
HANGS = [  # each ran for 15 seconds in one process without an end
    ("9^{9^{9^9}}", r"\sqrt{3}"),
    ("((10!)!)!", r"\sqrt{3}"),
    (r"\binom{10^9}{5000000}", r"\sqrt{3}"),
    (r"\lfloor 1.5^{10^{10}} \rfloor", r"\sqrt{3}"),
    (r"\sum_{i=1}^{100000} \sum_{j=1}^{100000} \frac{1}{i+j}", r"\sum_{i=1}^{3} i"),
    (r"\frac{" * 40 + "1" + "}{2}" * 40, r"\sqrt{3}"),
]
TOO_LARGE = (r"1.5^{10^{12}} \mod 7", "5")
"""sympy wants 70 GB at once for it."""
TOO_DEEP = ("-" * 1_000 + "1", "5")
"""More nested calls of the parser than are allowed."""


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    grader = Grader(deadline_seconds=1.0, num_workers=4)
    grader.match_many([EQUAL])
    yield grader
    grader.close()


@pytest.fixture(scope="module")
def patient_grader() -> Iterator[Grader]:
    grader = Grader(deadline_seconds=60, num_workers=2)
    yield grader
    grader.close()


@pytest.fixture
def patient(patient_grader: Grader) -> Grader:
    """One whose deadline is not reached; without results of earlier tests."""
    patient_grader.forget_results()
    return patient_grader


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def in_thread(function: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    return thread, results


def test_pairs_come_back_in_order_and_equal_ones_are_graded_once(grader: Grader) -> None:
    pairs = [EQUAL, DIFFERENT, EQUAL, ("4a-2", "-2+4a"), DIFFERENT]
    assert grader.match_many(pairs) == [True, False, True, True, False]
    assert grader.match_many([]) == []
    num_pairs = sum(worker.num_pairs for worker in grader._idle)
    assert grader.match_many(pairs) == [True, False, True, True, False]
    assert sum(worker.num_pairs for worker in grader._idle) == num_pairs


@pytest.mark.timeout(60)
def test_what_hangs_is_ungraded_by_the_deadline_and_what_comes_after_is_graded(grader: Grader) -> None:
    before = set(grader.process_ids())
    assert grader.match_many([EQUAL, *HANGS, DIFFERENT]) == [True, *[Ungraded(reason="deadline")] * len(HANGS), False]
    (template,) = before & set(grader.process_ids())  # the workers that hung are gone
    assert template == grader.process_ids()[0]
    assert grader.match_many([("x+1+1", "x+2")]) == [True]
    started = time.monotonic()
    assert grader.match_many(HANGS * 100) == [Ungraded(reason="deadline")] * 100 * len(HANGS)  # not tried again
    assert time.monotonic() - started < grader.deadline_seconds


def test_out_of_memory_is_told_from_different(grader: Grader) -> None:
    assert grader.match_many([TOO_LARGE, EQUAL]) == [Ungraded(reason="memory"), True]


@pytest.mark.timeout(60)
def test_out_of_stack_is_told_from_different(patient: Grader) -> None:
    assert patient.match_many([TOO_DEEP, EQUAL]) == [Ungraded(reason="crash"), True]


@pytest.mark.timeout(60)
def test_a_worker_that_is_killed_is_replaced_and_its_pair_tried_again_next_time(patient: Grader) -> None:
    thread, results = in_thread(lambda: patient.match_many([HANGS[0], EQUAL]))
    assert wait_until(lambda: len(patient._busy) == 1 and len(patient._idle) == 1)
    (busy,) = patient._busy
    os.kill(busy.pid, signal.SIGKILL)
    thread.join(30)
    assert results == [[Ungraded(reason="crash"), True]]
    assert patient._results.keys() == {grading._digest(EQUAL)}


@pytest.mark.timeout(60)
def test_without_its_template_the_pool_starts_anew_and_blames_no_pair(patient: Grader) -> None:
    assert patient.match_many([EQUAL]) == [True]
    template, *workers = patient.process_ids()
    os.kill(template, signal.SIGKILL)
    assert wait_until(lambda: not any(map(is_running, workers)))  # they are not left behind
    assert patient.match_many([DIFFERENT, ("x+1+1", "x+2")]) == [False, True]
    assert template not in patient.process_ids()


@pytest.mark.timeout(60)
def test_two_threads_grade_at_once_and_the_callers_alarm_is_left_alone(grader: Grader) -> None:
    grader.forget_results()
    handler = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 600)
    try:
        calls = [in_thread(lambda k=k: grader.match_many([(f"x+{k}+1", f"x+{k + 1}"), HANGS[k]])) for k in range(2)]
        for thread, _ in calls:
            thread.join()
        assert [results for _, results in calls] == [[[True, Ungraded(reason="deadline")]]] * 2
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
        assert 500 < signal.getitimer(signal.ITIMER_REAL)[0] <= 600
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


@pytest.mark.timeout(60)
def test_close_ends_every_process_even_at_work_and_a_later_call_starts_others(patient: Grader) -> None:
    patient.match_many([EQUAL])

    def grade() -> None:
        with contextlib.suppress(RewardError):
            patient.match_many([HANGS[0], HANGS[1]])

    thread, _ = in_thread(grade)
    assert wait_until(lambda: len(patient._busy) == 2)
    started = patient.process_ids()
    assert len(started) == 3
    patient.close()
    thread.join(30)
    assert not thread.is_alive()
    assert not any(map(is_running, started))
    assert patient.process_ids() == []
    assert patient.match_many([DIFFERENT]) == [False]


SCRIPT = """
import sys, threading
from srl.rewards.grading import shared_grader
print("started", flush=True)
grader = shared_grader(deadline_seconds=600)
grader.match_many([(r"\\sqrt{8}", r"2\\sqrt{2}")])
threading.Thread(target=grader.match_many, args=([("9^{9^{9^9}}", "5")],)).start()
while not grader._busy: pass
print(*grader.process_ids(), flush=True)
"""


@pytest.mark.timeout(60)
def test_a_killed_parent_leaves_no_process_behind_and_its_main_module_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # without the guard of multiprocessing
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_running, pids))
        parent.kill()
    assert wait_until(lambda: not any(map(is_running, pids)))


@pytest.mark.timeout(60)
def test_a_forked_child_has_processes_of_its_own(grader: Grader) -> None:
    grader.match_many([EQUAL])
    before = grader.process_ids()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            result = grader.match_many([("x+7+1", "x+8")])
            os.write(writing, repr((result, not set(before) & set(grader.process_ids()))).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert answer.read() == "([True], True)"
    os.waitpid(child, 0)
    assert all(map(is_running, before))
    assert grader.match_many([("x+9+1", "x+10")]) == [True]
    assert grader.process_ids() == before


def test_a_worker_is_replaced_after_so_many_pairs(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "MAX_PAIRS_PER_WORKER", 1)
    seen: set[int] = set()
    for k in range(4):
        assert grader.match_many([(f"y+{k}+1", f"y+{k + 1}")]) == [True]
        seen |= set(grader.process_ids())
    assert len(seen) <= 3  # none of those that graded one pair is kept


@pytest.mark.parametrize(
    ("module", "message"),
    [("raise ImportError('no ANTLR here')", "cannot be imported"), ("def parse(*_, **__): return []\n"
      "def verify(*_, **__): return False", "reinstall math-verify")],
)  # fmt: skip
def test_a_grader_that_cannot_read_formulas_is_an_error_and_never_a_grade(
    module: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """math-verify swallows a broken ANTLR runtime and then reads nothing at all."""
    (tmp_path / "math_verify.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = Grader()
    with pytest.raises(RewardError, match=message):
        broken.match_many([EQUAL, DIFFERENT])
    assert broken.process_ids() == []
    broken.close()


def test_an_interpreter_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    with pytest.raises(RewardError, match=r"(?s)did not start: .*encodings"):
        Grader().match_many([EQUAL])


def test_any_text_is_compared_and_nothing_is_printed(grader: Grader, capfd: pytest.CaptureFixture[str]) -> None:
    strange = ["\ud800", "\x00", "\n{\n", '"', "$", "5\n\n5", "{{", "\u2028", "é", "print(1)", r"\input{x}", ""]
    assert grader.match_many([(text, r"\sqrt{3}") for text in strange]) == [False] * len(strange)
    assert capfd.readouterr() == ("", "")


def test_one_grader_is_shared_by_a_process() -> None:
    assert shared_grader(deadline_seconds=3.0) is shared_grader(deadline_seconds=3.0)
    assert shared_grader(deadline_seconds=3.0) is not shared_grader(deadline_seconds=4.0)
    assert 2 <= default_num_workers() <= grading.MAX_WORKERS


def test_the_oldest_results_are_forgotten(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "MAX_CACHED_PAIRS", 2)
    grader.forget_results()
    grader.match_many([EQUAL, DIFFERENT])
    grader.match_many([EQUAL])
    grader.match_many([("x", "x+0")])
    assert grader._results.keys() == {grading._digest(EQUAL), grading._digest(("x", "x+0"))}
