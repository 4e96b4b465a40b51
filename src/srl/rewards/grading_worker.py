"""The processes that grade: a template that has loaded math-verify, and the workers that are forked from it.

Standard input of the template is a socket to the process that grades, where ``srl.rewards.grading_processes`` has
started it. It says ``{"ready": true}`` or ``{"error": why}`` once, then it answers requests, one JSON line each:

    {"start": true} with one end of a socket pair  -> {"pid": the new worker's}
    {"stop": pid}                                  -> {"status": exit status, negative for a signal}

A worker answers ``[answer, reference]`` on its own socket with ``{"equal": bool}``, with ``{"ungraded": reason}`` (and
then ends), or with ``{"error": traceback}``. When the socket of the template closes, because the process that grades
is gone in whatever way, the template kills its workers and ends.

The decision a reader would question: fork. Importing sympy takes a second of processor time; a fork takes
milliseconds, shares its memory, and starts with a parser that has seen common formulas. The template has one thread
and loads nothing but what is needed here, so that a fork of it is safe, where one of the training process is not.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from typing import Any

from srl.errors import RewardError
from srl.rewards.equality import load_math_verify, math_verify_match

STACK_BYTES = 64 * 2**20
"""Of the thread that grades: enough for ``RECURSION_LIMIT`` calls through C. Only what is used takes memory."""
RECURSION_LIMIT = 3_000
"""Python's own 1,000 is too little for the parser at a sum of 1,000 terms."""
CPU_SECONDS_BEYOND_DEADLINE = 2
"""A worker that nobody kills in time, because its parent is stopped, is killed by the kernel."""
_PR_SET_PDEATHSIG = 1
_WARM_UP = (
    (r"2\sqrt{2}", r"\sqrt{8}"), ("3-2i", "6-5i"), (r"(-\infty,3]", r"(-\infty,4)\cup(5,6]"), ("4a-2", "-2+4a"),
    (r"\{1,2\}", r"1, 2 \text{ and } 3"), (r"\frac{\pi}{2}", r"\frac{1+\sqrt{5}}{2}"), ("x^2+3x+2", "(x+1)(x-2)"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1\\\frac{1}{2}\end{pmatrix}"), ("x=5", r"x\ge 3"),
    (r"(\frac{3}{5},\frac{8}{3}]", "1+274i"), (r"(3,\frac{\pi}{2})", "(-1,6)"), ("-13x+3", "6r^2-4r-24"),
    ("x^5-x^4+x^3", "p-q"), (r"-\frac{35}{9}", r"-\sqrt{3}"), ("(6,31,-1)", r"\cot x"), ("11, 12", r"12\frac{3}{5}"),
    (r"3\pm 2\sqrt{7}", r"\log_2 8"), ("y=2x+1", r"\sin^2 x"), (r"5 \text{ cm}", r"\binom{5}{2}"), ("1.5", "5!"),
)  # fmt: skip


def main() -> None:
    """Load, warm up, and serve requests until the socket closes. Settings in ``sys.argv[1]``, as JSON."""
    settings = json.loads(sys.argv[1])
    control = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)  # standard output is there already
    try:
        load_math_verify()
    except RewardError as error:
        _send(control, {"error": str(error)})
        return
    sys.setrecursionlimit(RECURSION_LIMIT)
    for pair in _WARM_UP:
        math_verify_match(*pair)
    gc.collect()
    gc.freeze()  # keep the collector from touching, and so copying, what the workers share
    os.dup2(null, 2)
    _send(control, {"ready": True})
    workers: set[int] = set()
    try:
        _serve(control, settings, workers)
    finally:
        for pid in workers:  # before the kernel does, where it does
            _stop(pid)


def _serve(control: socket.socket, settings: dict[str, Any], workers: set[int]) -> None:
    while True:
        message, sockets, _, _ = socket.recv_fds(control, 4096, 1)
        if not message:
            return
        request = json.loads(message)
        if "stop" in request:
            workers.discard(request["stop"])
            _send(control, {"status": _stop(request["stop"])})
            continue
        pid = os.fork()
        if pid == 0:
            try:
                control.close()
                _work(socket.socket(fileno=sockets[0]), settings)
            finally:
                os._exit(0)
        os.close(sockets[0])
        workers.add(pid)
        _send(control, {"pid": pid})


def _stop(pid: int) -> int:
    """Kill a worker and wait for it; its exit status if it had ended before."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended == 0:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _work(connection: socket.socket, settings: dict[str, Any]) -> None:
    """Grade what comes in, in a thread with a large stack."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere a limit of the address space is refused or means nothing
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # when the template is killed
        _lower(resource.RLIMIT_AS, settings["memory_bytes"])
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=_grade_all, args=(connection, settings["deadline_seconds"]))
    thread.start()
    thread.join()


def _grade_all(connection: socket.socket, deadline_seconds: float) -> None:
    with connection.makefile("r", encoding="ascii", newline="\n") as requests:
        for line in requests:
            answer, reference = json.loads(line)
            _limit_processor_time(deadline_seconds)
            try:
                reply: dict[str, Any] = {"equal": math_verify_match(answer, reference)}
            except MemoryError:
                reply = {"ungraded": "memory"}
            except RecursionError:
                reply = {"ungraded": "crash"}
            except Exception:  # noqa: BLE001 - raised again where the pair came from, as an error of ours
                reply = {"error": traceback.format_exc()}
            _send(connection, reply)
            if "ungraded" in reply:
                return  # what is left of this process is not to be relied on


def _limit_processor_time(deadline_seconds: float) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime + deadline_seconds) + CPU_SECONDS_BEYOND_DEADLINE)


def _lower(kind: int, limit: int) -> None:
    """Set a soft limit, unless the user's own is lower already."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")
