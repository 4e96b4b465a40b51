"""A shell command and a folder -> what the command printed, with limits and whatever isolation the kernel allows.

The state of a sandbox is its folder and nothing else: every command is a process of its own, without the variables, the
working directory or the background processes of the one before. A shell that lives as long as an episode would be
somewhat faster, and a command could then break the shell that the next one runs in.

A command's failure, whatever it is, is a result. Errors are raised for what is wrong with the sandbox itself.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from srl.errors import ConfigError, SRLError
from srl.sandbox.protection import LAUNCHER, Protection, detect_protection

_MAX_COMMAND_BYTES = 100_000  # the kernel takes 128 KiB as one argument
_CANNOT_RUN = 126  # what shells give for it
_GRACE_SECONDS = 1.0
_CHUNK_BYTES = 65536
_FIRST_USER_ID, _NUM_USER_IDS = 1_000_000_000, 1_000_000_000


class SandboxError(SRLError):
    """A sandbox that cannot be set up. What a command does wrong is never one."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one command may use."""

    wall_seconds: float = 10.0
    """Time until it is ended."""
    cpu_seconds: int = 10
    """Processor time of each of its processes."""
    memory_mib: int = 1024
    """Address space of each of its processes."""
    num_processes: int = 64
    """Processes and threads at a time."""
    file_mib: int = 64
    """Size of each file it writes, and of its /tmp."""
    num_open_files: int = 256
    """Files each of its processes has open at a time."""
    output_bytes: int = 100_000
    """What is kept of its output, from the beginning."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ConfigError(f"limits.{name} is {value}; it must be above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandResult:
    """What came of a command."""

    output: str
    """Standard output and errors as they came, mixed; bytes that are no UTF-8 are replaced."""
    exit_status: int
    """As a shell gives it: 128 + N where signal N ended the command."""
    is_timed_out: bool = False
    """Whether it was ended because its time was up."""
    is_output_cut: bool = False
    """Whether it wrote more than was kept."""


class Sandbox:
    """Runs commands in a folder. Where the caller is root, the folder is given to a user id of its own.

    ``required`` are the parts of ``Protection`` that must be there: a ConfigError says what is missing. ``hidden``
    are folders that commands see empty; the default is the caller's home and /run, where sockets are. ``protection``
    is what is used; the default is all that can be had.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: Limits = Limits(),
        required: tuple[str, ...] = (),
        hidden: tuple[str, ...] | None = None,
        protection: Protection | None = None,
    ) -> None:
        self.folder = folder.resolve(strict=True)
        self.limits = limits
        self.protection = detect_protection() if protection is None else protection
        self.protection.require(*required)
        self._hidden = _hidden_by_default() if hidden is None else hidden
        self._user_id = -1
        if os.geteuid() == 0:
            self._user_id = _own_user_id(self.folder)
            self.hand_over()

    def hand_over(self) -> None:
        """Let commands change what the caller has put into the folder; called when the sandbox is made."""
        if self._user_id < 0:
            return
        for parent, folders, files in os.walk(self.folder):
            for name in (".", *folders, *files):
                os.lchown(os.path.join(parent, name), self._user_id, self._user_id)  # noqa: PTH118

    def run(self, command: str) -> CommandResult:
        """Run ``command`` with bash and wait for its end; what it leaves running is ended, too.

        A command that cannot be given to a shell (a NUL, half a surrogate pair, more than 100,000 bytes) is answered
        as a shell answers what it cannot run. Raises SandboxError if the sandbox cannot be set up.
        """
        refusal = _refuse(command)
        if refusal:
            return CommandResult(output=f"bash: {refusal}\n", exit_status=_CANNOT_RUN)
        status_read, status_write = os.pipe()
        try:
            try:
                process = subprocess.Popen(
                    [*LAUNCHER, *self._arguments(status_write), command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env={},
                    pass_fds=(status_write,),
                    start_new_session=True,
                )
            finally:
                os.close(status_write)
            result = _collect(process, self.limits)
            failure = b"" if result.is_timed_out else os.read(status_read, _CHUNK_BYTES)
        finally:
            os.close(status_read)
        if failure:
            raise SandboxError(f"the sandbox of {self.folder} cannot be set up: {failure.decode(errors='replace')}")
        return result

    def _arguments(self, status_fd: int) -> list[str]:
        limits, mib = self.limits, 2**20
        numbers = (
            limits.cpu_seconds,
            limits.memory_mib * mib,
            limits.num_processes,
            limits.file_mib * mib,
            limits.num_open_files,
        )
        parts = ",".join(self.protection.parts)
        hidden = ":".join(self._hidden)
        return [str(status_fd), parts, str(self.folder), str(self._user_id), hidden, *map(str, numbers)]


def _hidden_by_default() -> tuple[str, ...]:
    home = os.path.expanduser("~")  # noqa: PTH111, Path.home() raises where a user has none
    return ("/run",) if home in ("/", "~") else (home, "/run")


def _collect(process: subprocess.Popen[bytes], limits: Limits) -> CommandResult:
    """Read the output until the command has ended or must end. More than is kept is read and thrown away."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    os.set_blocking(descriptor, False)
    kept, num_bytes = bytearray(), 0
    deadline = time.monotonic() + limits.wall_seconds
    with process.stdout, selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            chunk = os.read(descriptor, _CHUNK_BYTES)
            if not chunk:
                break
            num_bytes += len(chunk)
            kept += chunk[: max(0, limits.output_bytes - len(kept))]
        try:
            exit_status = process.wait(max(0.0, deadline - time.monotonic()))
            is_timed_out = False
        except subprocess.TimeoutExpired:
            exit_status, is_timed_out = _end(process), True
    return CommandResult(
        output=kept.decode("utf-8", errors="replace"),
        exit_status=exit_status,
        is_timed_out=is_timed_out,
        is_output_cut=num_bytes > limits.output_bytes,
    )


def _end(process: subprocess.Popen[bytes]) -> int:
    """End the launcher, which ends the rest; its whole group where it does not."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return 128 + signal.SIGKILL


def _refuse(command: str) -> str:
    """Why a command cannot be given to a shell, "" if it can."""
    if "\0" in command:
        return "the command holds a NUL character"
    try:
        size = len(command.encode())
    except UnicodeEncodeError:
        return "the command holds half of a surrogate pair"
    return f"the command has more than {_MAX_COMMAND_BYTES:,} bytes" if size > _MAX_COMMAND_BYTES else ""


def _own_user_id(folder: Path) -> int:
    """A user id for a folder, which nobody else has; -1 where this root, that of a container, may not choose."""
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text("ascii").splitlines()]
    first, count = max(((start, count) for start, _, count in ranges), key=lambda pair: pair[1])
    if count > _FIRST_USER_ID + _NUM_USER_IDS:
        first, count = _FIRST_USER_ID, _NUM_USER_IDS
    else:
        first, count = first + count // 2, count // 2
    return first + folder.stat().st_ino % count if count > 1000 else -1
