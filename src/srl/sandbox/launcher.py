"""Runs as a program of its own, one process per command: isolates itself, then becomes ``bash -c COMMAND``.

It is started by run.py with ``python -I -S``, imports the standard library only, and as little of it as it can: its
start is most of what a command costs. Three processes, where the kernel allows it: this one waits, its child is
process 1 of a process namespace, sets up the file system and waits too, and the grandchild takes the limits, gives up
its privileges and becomes the shell. When process 1 ends, the kernel ends whatever the command has left behind.

The system calls are made through ctypes, as the tools of util-linux that make them are missing in small images and
take a process each.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

WORK_FOLDER = "/tmp/work"
"""Where the command sees its folder when the file system is protected."""
SETUP_FAILED = 125
"""Exit status when the command has not been run."""

_NEW_MOUNTS, _NEW_NAMES, _NEW_IPC, _NEW_USER = 0x20000, 0x4000000, 0x8000000, 0x10000000
_NEW_PROCESSES, _NEW_NETWORK = 0x20000000, 0x40000000
_MOUNT_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_EXEC = 1, 2, 4, 8
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18
_MOUNT_SETATTR, _AT_RECURSIVE, _READ_ONLY = 442, 0x8000, 1
_DEATH_SIGNAL, _DROP_BOUNDING, _SUBREAPER, _NO_NEW_PRIVILEGES = 1, 24, 36, 38
_SIOCSIFFLAGS, _INTERFACE_UP = 0x8914, 1
_SIGKILL = 9
_LAST_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> int:
    """Run the command of ``arguments`` (see ``run.py``) and give its exit status, 128 + N where signal N ended it."""
    status_fd, parts, folder, user_id, hidden = arguments[0], arguments[1].split(","), *arguments[2:5]
    limits, command = [int(number) for number in arguments[5:10]], arguments[10]
    os.set_inheritable(int(status_fd), False)
    try:
        status = _run(parts, folder, int(user_id), [path for path in hidden.split(":") if path], limits, command)
    except OSError as error:
        os.write(int(status_fd), str(error).encode())
        return SETUP_FAILED
    return status


def _run(parts: list[str], folder: str, user_id: int, hidden: list[str], limits: list[int], command: str) -> int:
    is_whole = "filesystem" in parts
    bubblewrap = next((part.partition("=")[2] for part in parts if part.startswith("bubblewrap=")), "")
    _unshare(parts)
    _check(_libc.prctl(_SUBREAPER, 1, 0, 0, 0))
    _check(_libc.prctl(_DEATH_SIGNAL, _SIGKILL, 0, 0, 0))
    child = os.fork()
    if child:
        return _wait_for(child) if is_whole else _wait_for_all(child)
    _check(_libc.prctl(_DEATH_SIGNAL, _SIGKILL, 0, 0, 0))
    if is_whole:
        _protect_files(folder, hidden, limits[3])
        folder = WORK_FOLDER
        child = os.fork()
        if child:
            os._exit(_wait_for(child))
    os.chdir(folder)
    shell, home = ["/bin/bash", "--norc", "--noprofile", "-c", command], folder
    if bubblewrap:
        shell, home = [*_bubblewrap(bubblewrap, folder, hidden), *shell], WORK_FOLDER
    else:
        _give_up_privileges(user_id)
    _set_limits(limits, is_own_count=is_whole or user_id >= 0)
    os.execve(shell[0], shell, {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home})
    return SETUP_FAILED


def _bubblewrap(program: str, folder: str, hidden: list[str]) -> list[str]:
    """The same by bubblewrap, which may be allowed what this process is not."""
    line = [program, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for path in ("/tmp", *hidden):
        if os.path.isdir(path):  # noqa: PTH112
            line += ["--tmpfs", path]
    return [*line, "--bind", folder, WORK_FOLDER, "--chdir", WORK_FOLDER]


def _unshare(parts: list[str]) -> None:
    """Leave the namespaces that are to be the command's own."""
    flags = 0
    if "filesystem" in parts:
        flags |= _NEW_MOUNTS | _NEW_NAMES | _NEW_IPC | _NEW_PROCESSES
    if "network" in parts:
        flags |= _NEW_NETWORK
    if not flags:
        return
    user, group = os.geteuid(), os.getegid()
    is_root = user == 0
    _check(_libc.unshare(flags if is_root else flags | _NEW_USER))
    if not is_root:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123, pathlib takes too long to import
                file.write(text)
    if "network" in parts:  # the loopback, so that a test of a server can talk to its own
        control = _check(_libc.socket(2, 2, 0))
        request = b"lo".ljust(16, b"\0") + _INTERFACE_UP.to_bytes(2, sys.byteorder) + bytes(22)
        _check(_libc.ioctl(control, _SIOCSIFFLAGS, request))
        os.close(control)


def _protect_files(folder: str, hidden: list[str], tmp_bytes: int) -> None:
    """Everything read-only but ``folder`` and a /tmp that goes with the command; sockets and hidden folders away."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)
    _set_read_only("/", True, recursive=True)
    for path in hidden:
        if os.path.isdir(path):  # noqa: PTH112
            _mount("none", path, "tmpfs", _MOUNT_READ_ONLY | _NO_SETUID | _NO_DEVICES, "size=4k,mode=755")
    _mount("none", "/tmp", "tmpfs", _NO_SETUID | _NO_DEVICES, f"size={tmp_bytes},mode=1777")
    os.mkdir(WORK_FOLDER)  # noqa: PTH102
    _mount(f"/proc/self/fd/{descriptor}", WORK_FOLDER, "", _BIND | _RECURSIVE)
    _set_read_only(WORK_FOLDER, False, recursive=False)
    os.close(descriptor)
    flags = _NO_SETUID | _NO_DEVICES | _NO_EXEC
    try:
        _mount("proc", "/proc", "proc", flags)
    except OSError:  # in a container whose /proc is masked; the old one would show other processes
        _mount("none", "/proc", "tmpfs", _MOUNT_READ_ONLY | flags, "size=4k,mode=755")


def _give_up_privileges(user_id: int) -> None:
    """No way back to what this process could do; ``user_id`` is a user of the command's own, -1 keeps the user."""
    if os.geteuid() == 0:
        for capability in range(_LAST_CAPABILITY + 1):
            _libc.prctl(_DROP_BOUNDING, capability, 0, 0, 0)  # an error says that there is no such capability
        if user_id >= 0:
            os.setgroups([])
            os.setresgid(user_id, user_id, user_id)
            os.setresuid(user_id, user_id, user_id)
    _check(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _check(_libc.prctl(_DEATH_SIGNAL, _SIGKILL, 0, 0, 0))  # a change of the user has reset it


def _set_limits(limits: list[int], *, is_own_count: bool) -> None:
    cpu_seconds, memory, processes, file_bytes, open_files = limits
    if not is_own_count:  # the kernel counts all processes of the user
        processes += sum(entry.name.isdigit() and entry.stat().st_uid == os.getuid() for entry in os.scandir("/proc"))
    for kind, value in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        allowed = resource.getrlimit(kind)[1]
        value = value if allowed == resource.RLIM_INFINITY else min(value, allowed)
        resource.setrlimit(kind, (value, value))


def _wait_for(child: int) -> int:
    """The exit status of ``child``; others that end meanwhile are orphans of its."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            break
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _wait_for_all(child: int) -> int:
    """``_wait_for`` where no process namespace ends what the command leaves behind."""
    import signal  # here, because it takes as long as all the rest and is hardly ever needed

    def stop(_signal: int, _frame: object) -> None:
        _end_descendants()
        os._exit(128 + _SIGKILL)

    signal.signal(signal.SIGTERM, stop)
    status = _wait_for(child)
    _end_descendants()
    return status


def _end_descendants() -> None:
    """End the children of this process, orphans of theirs included, until there are none."""
    while True:
        with open("/proc/thread-self/children") as file:  # noqa: PTH123
            children = file.read().split()
        for process_id in children:
            os.kill(int(process_id), _SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()))


def _set_read_only(path: str, value: bool, *, recursive: bool) -> None:
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY if value else 0, 0 if value else _READ_ONLY, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    _check(_libc.syscall(_MOUNT_SETATTR, -100, path.encode(), flags, ctypes.byref(attributes), 32))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
