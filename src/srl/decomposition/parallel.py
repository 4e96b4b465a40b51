"""Units of input -> their records, in the order of the units, on several processes.

Unit i is read by worker i mod W. Each worker sends what it read through a pipe of its own, and the caller takes it in
the order of the units. So the result is the same for any number of workers, a worker that is too far ahead waits, and
memory stays flat however long the input is.

The decision a reader would question: pipes, not multiprocessing's queues. A pipe ends with the process at its other
end, also in the middle of a batch. So a worker that is killed is noticed at once, and workers never outlive the caller.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

from srl.decomposition.records import TrajectoryRecord, WorkerOptions
from srl.decomposition.worker import Worker
from srl.errors import DataError, SRLError
from srl.trajectories.rows import Unit
from srl.types import DroppedRow

Item = TrajectoryRecord | DroppedRow
BATCHES_AHEAD = 4
"""Batches of each worker that the caller holds at most until their turn comes."""
BATCH_BYTES = 2**21
"""A batch is handed over when its examples reach this size."""
BATCH_ITEMS = 256
"""Or when it has this many records."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a worker hands over; the last one of a unit says so."""

    items: list[Item]
    is_last: bool


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error in a worker, in words: the exception itself may not survive pickling."""

    message: str
    kind: Literal["data", "bug"]


@dataclass(slots=True)
class _Running:
    """A worker process as the caller sees it."""

    process: Any
    connection: Any
    waiting: deque[_Batch | _Failure] = field(default_factory=deque["_Batch | _Failure"])
    """What it sent and whose turn has not come."""
    has_ended: bool = False
    """Nothing more will come from it."""


def read_units(
    units: Sequence[Unit],
    options: WorkerOptions,
    *,
    num_workers: int,
    on_unit: Callable[[int], None] = lambda num_read: None,
) -> Iterator[Item]:
    """The records and drops of all units, in order. Raises DataError as reading in one process would.

    With one worker, or one unit, everything happens in the calling process. ``on_unit`` hears how many units are read.
    """
    num_workers = min(num_workers, len(units))
    if num_workers <= 1:
        worker = Worker(options)
        for number, unit in enumerate(units, start=1):
            yield from worker.read(unit)
            on_unit(number)
        return
    with _running(units, options, num_workers) as workers:
        for number in range(len(units)):
            is_last = False
            while not is_last:
                batch = _next_batch(workers[number % num_workers], workers)
                if isinstance(batch, _Failure):
                    raise DataError(batch.message) if batch.kind == "data" else RuntimeError(batch.message)
                yield from batch.items
                is_last = batch.is_last
            on_unit(number + 1)


@contextmanager
def _running(units: Sequence[Unit], options: WorkerOptions, num_workers: int) -> Generator[list[_Running]]:
    """The started workers; they are ended whatever happens."""
    # Not fork: the caller may hold threads and locks of libraries that a forked child would wait for in vain.
    context = multiprocessing.get_context("spawn")
    workers: list[_Running] = []
    try:
        for index in range(num_workers):
            receiving, sending = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(units[index::num_workers], options, sending), daemon=True)
            process.start()
            sending.close()  # the worker's alone, so that the pipe ends with it
            workers.append(_Running(process, receiving))
        yield workers
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.connection.close()
        for worker in workers:
            worker.process.join()


def _next_batch(worker: _Running, workers: Sequence[_Running]) -> _Batch | _Failure:
    """What ``worker`` sent next. Until it is there, what the others send is taken in, so that they can go on."""
    while not worker.waiting:
        if worker.has_ended:
            worker.process.join()
            raise DataError(
                f"a reading process ended with exit code {worker.process.exitcode} (-9: stopped from outside, often "
                "for want of memory); try again with --num-workers 1"
            )
        senders: dict[Any, _Running] = {
            other.connection: other for other in workers if not other.has_ended and len(other.waiting) < BATCHES_AHEAD
        }
        for connection in wait(list(senders)):
            sender = senders[connection]
            try:
                sender.waiting.append(sender.connection.recv())
            except (EOFError, OSError):  # OSError: in the middle of a batch
                sender.has_ended = True
    return worker.waiting.popleft()


def _work(units: Sequence[Unit], options: WorkerOptions, connection: Connection) -> None:
    """A worker process: sends every unit in turn, in batches, and ends when nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the caller ends this one
    try:
        for message in _batches(units, options):
            connection.send(message)
    except BrokenPipeError:
        return


def _batches(units: Sequence[Unit], options: WorkerOptions) -> Iterator[_Batch | _Failure]:
    try:
        worker = Worker(options)
        for unit in units:
            items: list[Item] = []
            num_bytes = 0
            for item in worker.read(unit):
                items.append(item)
                num_bytes += sum(map(len, item.examples)) if isinstance(item, TrajectoryRecord) else len(item.detail)
                if num_bytes >= BATCH_BYTES or len(items) >= BATCH_ITEMS:
                    yield _Batch(items, is_last=False)
                    items, num_bytes = [], 0
            yield _Batch(items, is_last=True)
    except SRLError as error:
        yield _Failure(str(error), "data")
    except Exception:  # noqa: BLE001 - whatever it is, the caller must see it
        yield _Failure(traceback.format_exc(), "bug")
