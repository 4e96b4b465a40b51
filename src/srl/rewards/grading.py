"""Pairs of formulas -> equal, different or ungraded, whatever is in them, and never later than a deadline.

sympy hangs on some formulas, exhausts stack or memory on others, and can end the process that it runs in. So it runs
in workers: processes that are killed and replaced when they have not answered by the deadline. A pair that could not
be compared is ``Ungraded`` with the reason "deadline", "memory" (the worker's limit was reached) or "crash" (the
worker ended, or ran out of stack).

The decision a reader would question: an ``Ungraded`` is remembered like any other result. A policy that has found a
formula that hangs writes it again and again, and each new trial would cost a worker for the length of the deadline.
What timed out only because the machine was busy stays ungraded as well, until it falls out of the cache.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from srl.errors import RewardError
from srl.rewards.grading_processes import GradingProcessError, Template, Worker
from srl.types import Ungraded

DEADLINE_SECONDS = 5.0
"""For one pair, from the moment it is sent. A usual one takes milliseconds."""
MEMORY_BYTES = 2 * 2**30
"""Address space of a worker, its stack included."""
MAX_WORKERS = 16
"""Workers of one process at most: several training processes share a machine."""
MAX_CACHED_PAIRS = 1 << 18
"""Results that are remembered, the least recently used forgotten first: some 40 MB."""
MAX_PAIRS_PER_WORKER = 1_000
"""Then a worker is replaced: sympy's caches grow, and must not end as "memory"."""
_FORGOTTEN = frozenset({"crash"})
"""Reasons that are not remembered: a new trial costs little, and the process may have been killed from outside."""

Pair = tuple[str, str]
"""(answer, reference)."""


class Grader:
    """A pool of grading processes, started when first needed. Safe from several threads, and after a fork."""

    def __init__(
        self,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
        num_workers: int | None = None,
    ) -> None:
        """``num_workers``: processes that grade at the same time; None is ``default_num_workers()``."""
        self.deadline_seconds = deadline_seconds
        self.memory_bytes = memory_bytes
        self.num_workers = num_workers or default_num_workers()
        self._results: OrderedDict[bytes, bool | Ungraded] = OrderedDict()
        self._reset()
        _all_graders.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._is_closing = False
        self._template: Template | None = None
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._threads: ThreadPoolExecutor | None = None

    def match_many(self, pairs: Sequence[Pair]) -> list[bool | Ungraded]:
        """For each pair whether math-verify takes both for equal; equal pairs are graded once.

        Raises RewardError when grading itself does not work, for instance without math-verify.
        """
        digests = [_digest(pair) for pair in pairs]
        with self._lock:
            known = {digest: result for digest in digests if (result := self._recall(digest)) is not None}
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.num_workers, thread_name_prefix="srl-grading")
            threads = self._threads
        open_pairs = {digest: pair for digest, pair in zip(digests, pairs, strict=True) if digest not in known}
        futures = {digest: threads.submit(self._grade, pair) for digest, pair in open_pairs.items()}
        try:
            found = {digest: future.result() for digest, future in futures.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            raise
        with self._lock:
            for digest, result in found.items():
                if not (isinstance(result, Ungraded) and result.reason in _FORGOTTEN):
                    self._results[digest] = result
            while len(self._results) > MAX_CACHED_PAIRS:
                self._results.popitem(last=False)
        known |= found
        return [known[digest] for digest in digests]

    def forget_results(self) -> None:
        """Empty the cache."""
        with self._lock:
            self._results.clear()

    def process_ids(self) -> list[int]:
        """The processes that are running: the template, then the workers."""
        with self._lock:
            template = [self._template.process.pid] if self._template else []
            return template + [worker.pid for worker in (*self._idle, *self._busy)]

    def close(self) -> None:
        """End all processes and wait for them. A later ``match_many`` starts new ones."""
        with self._lock:
            self._is_closing = True
            threads, template = self._threads, self._template
        if template is not None:
            template.close()  # which kills the workers, and so ends what the threads wait for
        if threads is not None:
            threads.shutdown(cancel_futures=True)
        with self._lock:
            for worker in self._idle:
                worker.forget()
        self._reset()

    def leave_to_parent(self) -> None:
        """In a forked child: forget the processes, and start others when needed."""
        for process in (self._template, *self._idle, *self._busy):
            if process is not None:
                process.forget()
        self._reset()

    def _recall(self, digest: bytes) -> bool | Ungraded | None:
        if digest in self._results:
            self._results.move_to_end(digest)
        return self._results.get(digest)

    def _grade(self, pair: Pair) -> bool | Ungraded:
        """Runs in one of the threads."""
        try:
            return self._grade_once(pair)
        except GradingProcessError:  # killed from outside: the pair is not to blame
            try:
                return self._grade_once(pair)
            except GradingProcessError as error:
                raise RewardError(
                    "the grading processes ended while they graded; were they killed, or the grader closed?"
                ) from error

    def _grade_once(self, pair: Pair) -> bool | Ungraded:
        worker = self._take_worker()
        is_usable = False
        try:
            result = worker.compare(pair, self.deadline_seconds)
            is_usable = not isinstance(result, Ungraded) and worker.num_pairs < MAX_PAIRS_PER_WORKER
            return result
        finally:
            if not is_usable:
                worker.stop()
            with self._lock:
                self._busy.discard(worker)
                if is_usable:
                    self._idle.append(worker)

    def _take_worker(self) -> Worker:
        with self._lock:
            if self._is_closing:
                raise GradingProcessError("the grader is being closed")
            if self._template is not None and self._template.has_died:
                self._template.close()
                self._template = None
                for worker in self._idle:
                    worker.forget()
                self._idle.clear()
            if self._template is None:
                self._template = Template(deadline_seconds=self.deadline_seconds, memory_bytes=self.memory_bytes)
            worker = self._idle.pop() if self._idle else self._template.start_worker()
            self._busy.add(worker)
            return worker


def _digest(pair: Pair) -> bytes:
    """A name for a pair that takes little memory however long the pair is."""
    return hashlib.blake2b(json.dumps(pair).encode(), digest_size=16).digest()


def default_num_workers() -> int:
    """As many as there are processors for this process, within 2 (so that one hang does not stop all) and 16."""
    num_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_WORKERS, max(2, num_processors))


# --- one for everybody in a process --------------------------------------------------------------------------------

_all_graders: weakref.WeakSet[Grader] = weakref.WeakSet()
_shared: dict[float, Grader] = {}
_shared_lock = threading.Lock()


def shared_grader(*, deadline_seconds: float = DEADLINE_SECONDS) -> Grader:
    """The grader of this process with this deadline. It is closed at exit."""
    with _shared_lock:
        if deadline_seconds not in _shared:
            _shared[deadline_seconds] = Grader(deadline_seconds=deadline_seconds)
        return _shared[deadline_seconds]


def _close_all() -> None:
    for grader in list(_all_graders):
        grader.close()


def _after_fork() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for grader in list(_all_graders):
        grader.leave_to_parent()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
