"""Starts the runs of a grid that are missing, each in a process of its own, and says how far they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from srl.study.budget import Spent, read_spent
from srl.study.config import StudyConfig
from srl.study.plan import RunKey, run_folder
from srl.study.rows import Row, Status, read_rows, row_path, write_row

_POLL_SECONDS = 1.0
_READ_EVERY = 3
"""Polls between two looks at what a run has spent."""
_LAST_CHARACTERS = 600


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to do."""

    study: StudyConfig
    """The study, or the cell of a map, that it belongs to."""
    key: RunKey
    """Its place in the grid."""
    cell: str = ""
    """Name of the cell, "" without a map."""

    @property
    def name(self) -> str:
        """For the eye."""
        return f"{self.cell} {self.key.name}".strip()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What is told while the grid runs."""

    started: Callable[[Job], None] = lambda job: None
    """A run begins."""
    spent: Callable[[Job, Spent], None] = lambda job, spent: None
    """How far a run is."""
    ended: Callable[[Job, Status, str, float], None] = lambda job, status, message, seconds: None
    """How a run ended, and after how long."""


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    log_path: Path
    started: float


def run_jobs(jobs: Sequence[Job], study_file: Path, *, lanes: int, progress: Progress) -> None:
    """Do all jobs, ``lanes`` at a time; returns when all have ended. A failed run leaves a row that says so.

    When this process is stopped, the runs are stopped too, and a later call goes on with them.
    """
    waiting, running = list(jobs), list[_Running]()
    num_polls = 0
    before = signal.signal(signal.SIGTERM, _stop)  # by default it would end this process and leave the runs behind
    try:
        while waiting or running:
            while waiting and len(running) < lanes:
                running.append(_start(waiting.pop(0), study_file, lanes))
                progress.started(running[-1].job)
            time.sleep(_POLL_SECONDS)
            num_polls += 1
            for item in list(running):
                if item.process.poll() is not None:
                    running.remove(item)
                    _end(item, progress)
                elif num_polls % _READ_EVERY == 0:
                    progress.spent(item.job, read_spent(run_folder(item.job.study, item.job.key))[0])
    finally:
        signal.signal(signal.SIGTERM, before)
        for item in running:
            item.process.terminate()
        for item in running:
            item.process.wait()
            item.log.close()


def missing_jobs(
    study: StudyConfig, keys: Sequence[RunKey], *, cell: str = "", forgotten: Sequence[str] = ()
) -> list[Job]:
    """The runs without a result, in the order of ``keys``; failed ones and ``forgotten`` methods are done again."""
    rows = read_rows(study.folder)
    missing = [key for key in keys if key not in rows or rows[key].status == "failed" or key.method in forgotten]
    return [Job(study=study, key=key, cell=cell) for key in missing]


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _start(job: Job, study_file: Path, lanes: int) -> _Running:
    row_path(job.study.folder, job.key).unlink(missing_ok=True)  # of a failed run
    folder = run_folder(job.study, job.key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log_path = folder.with_name(f"{job.key.name}.log")
    command = [sys.executable, "-m", "srl.study.one_run", str(study_file), job.key.method, str(job.key.seed)]
    command += ["--parent", str(os.getpid())] + (["--cell", job.cell] if job.cell else [])
    env = dict(os.environ)
    if lanes > 1:
        env["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // lanes))
    log = log_path.open("ab")
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
    return _Running(job=job, process=process, log=log, log_path=log_path, started=time.perf_counter())


def _end(item: _Running, progress: Progress) -> None:
    item.log.close()
    job, code = item.job, item.process.returncode
    row = read_rows(job.study.folder).get(job.key)
    if row is None:
        row = Row(method=job.key.method, seed=job.key.seed, status="failed", message=_why(item.log_path, code))
        write_row(job.study.folder, row)
    progress.ended(job, row.status, row.message, time.perf_counter() - item.started)


def _why(log_path: Path, code: int) -> str:
    """The last line of the log, which names the error, and where the rest is."""
    lines = [line for line in log_path.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    ended = f"ended by signal {-code}" if code < 0 else f"ended with status {code}"
    last = lines[-1].strip()[:_LAST_CHARACTERS] if lines else "it wrote nothing"
    return f"{ended}: {last} (see {log_path})"
