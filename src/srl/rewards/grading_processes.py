"""The parent's ends of the grading processes: one ``Template`` and the ``Worker``s that it forks.

The template is a command of its own, so that nothing depends on the user's ``__main__`` and no state of torch is
forked. What is said, in JSON lines over sockets, stands in ``grading_worker``. Processes are killed by the template,
their parent, which is the only one that can know that a process id is still theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from srl.errors import RewardError
from srl.types import Ungraded

START_SECONDS = 120.0
"""Within which the template must have loaded sympy; a second on an idle machine, more on a loaded disk."""
CONTROL_SECONDS = 60.0
"""Within which it must start or stop a worker, which takes milliseconds."""
CLOSE_SECONDS = 5.0
"""After which a template that does not end is killed."""
_BOOT = "import sys; sys.path.append(sys.argv.pop()); from srl.rewards.grading_worker import main; main()"


class GradingProcessError(Exception):
    """The template has died, and its workers with it."""


class Template:
    """The process that workers are forked from. Safe from several threads."""

    def __init__(self, *, deadline_seconds: float, memory_bytes: int) -> None:
        """Start it and wait until it is ready. Raises RewardError when it cannot grade."""
        self.has_died = False
        self._lock = threading.Lock()
        self._control, child = socket.socketpair()
        settings = json.dumps({"deadline_seconds": deadline_seconds, "memory_bytes": memory_bytes})
        with child, tempfile.TemporaryFile() as errors:
            self.process = subprocess.Popen(
                # -P: nothing of the working directory. The last argument is where this package is.
                [sys.executable, "-P", "-c", _BOOT, settings, str(Path(__file__).parents[2])],
                stdin=child.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C in a terminal is for the run, which then closes this
                env=os.environ | {"PYTHONHASHSEED": "0"},  # sympy orders terms by hash
            )
            child.close()
            try:
                problem = _receive(self._control, time.monotonic() + START_SECONDS).get("error", "")
            except (OSError, EOFError) as error:
                errors.seek(0)
                problem = errors.read()[-2000:].decode("utf-8", "replace").strip() or repr(error)
        if problem:
            self.process.kill()
            self.close()
            raise RewardError(f"the grading process did not start: {problem}")

    def start_worker(self) -> Worker:
        """Fork a worker. Raises GradingProcessError."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                return Worker(self, ours, self._ask({"start": True}, theirs)["pid"])
            except GradingProcessError:
                ours.close()
                raise

    def stop_worker(self, pid: int) -> int:
        """Kill a worker if it has not ended; its exit status, negative for a signal. Raises GradingProcessError."""
        return self._ask({"stop": pid})["status"]

    def close(self) -> None:
        """End it and its workers, and wait for it."""
        self.has_died = True
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for an answer
        self._control.close()
        try:
            self.process.wait(timeout=CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def forget(self) -> None:
        """In a forked child: leave the process to its parent."""
        self._control.close()
        self.process.returncode = 0  # for Popen, which would wait for it

    def _ask(self, request: dict[str, Any], handed_over: socket.socket | None = None) -> dict[str, Any]:
        message = json.dumps(request).encode()
        with self._lock:
            try:
                if handed_over is None:
                    self._control.sendall(message)
                else:
                    socket.send_fds(self._control, [message], [handed_over.fileno()])
                return _receive(self._control, time.monotonic() + CONTROL_SECONDS)
            except (OSError, EOFError) as error:
                self.has_died = True
                raise GradingProcessError(str(error)) from error


class Worker:
    """A process that compares one pair after the other."""

    def __init__(self, template: Template, connection: socket.socket, pid: int) -> None:
        self.template = template
        self.pid = pid
        self.num_pairs = 0
        self._connection = connection
        self._status: int | None = None

    def compare(self, pair: tuple[str, str], deadline_seconds: float) -> bool | Ungraded:
        """Whether the pair is equal. After an ``Ungraded`` or an error the worker must be stopped.

        Raises RewardError when the grading itself failed, and GradingProcessError.
        """
        self.num_pairs += 1
        deadline = time.monotonic() + deadline_seconds
        try:
            self._connection.settimeout(deadline_seconds)
            self._connection.sendall(json.dumps(pair).encode() + b"\n")
            reply = _receive(self._connection, deadline)
        except TimeoutError:
            return Ungraded(reason="deadline")
        except (OSError, EOFError):
            return Ungraded(reason="deadline" if self._end() == -signal.SIGXCPU else "crash")
        if "error" in reply:
            raise RewardError(f"comparing {pair[0]!r} with {pair[1]!r} failed:\n{reply['error']}")
        return reply["equal"] if "equal" in reply else Ungraded(reason=reply["ungraded"])

    def stop(self) -> None:
        """Kill the process if it has not ended."""
        self._connection.close()
        with contextlib.suppress(GradingProcessError):  # then the worker is gone as well
            self._end()

    def _end(self) -> int:
        """Exit status of the process, which is asked for once: then its id may be another one's."""
        if self._status is None:
            self._status = self.template.stop_worker(self.pid)
        return self._status

    def forget(self) -> None:
        """Close this end only."""
        self._connection.close()


def _receive(connection: socket.socket, deadline: float) -> dict[str, Any]:
    """One line. Raises TimeoutError, OSError, or EOFError when the other end has closed."""
    line = b""
    while not line.endswith(b"\n"):
        # Not below a moment: a thread that was kept from running must still see an answer that has come.
        connection.settimeout(max(0.05, deadline - time.monotonic()))
        part = connection.recv(65536)
        if not part:
            raise EOFError("the process has ended")
        line += part
    return json.loads(line)
