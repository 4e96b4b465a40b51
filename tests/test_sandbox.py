"""The sandbox for real: commands that take what they can get, and what they get."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srl.errors import ConfigError
from srl.sandbox import Limits, Protection, Sandbox, SandboxError, detect_protection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")
NOTHING = Protection(network=False, filesystem=False)
IS_ROOT = os.geteuid() == 0


def need(part):
    protection = detect_protection()
    if not getattr(protection, part):
        pytest.skip(f"commands cannot be kept from the {part} here: {protection.reason}")


def every_protection():
    """All that can be had here and all that is less."""
    if sys.platform != "linux":
        return []
    most = detect_protection()
    return [most, Protection(network=most.network, filesystem=False), NOTHING]


def marked_processes(mark):
    """Processes of the whole machine that have ``mark`` in their command line; launchers are not counted."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(mark.encode() in word for word in words) and not any(b"launcher.py" in word for word in words):
            found.append(words)
    return found


def wait_until_gone(mark, seconds=10.0):
    deadline = time.monotonic() + seconds
    while marked_processes(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not marked_processes(mark)


@pytest.fixture
def mark():
    """A number of seconds that no other process on the machine sleeps."""
    return f"{900 + random.random():.9f}"


def test_output_is_what_a_terminal_would_show(tmp_path):
    result = Sandbox(tmp_path).run("echo out; echo err >&2; echo 85 > sum.txt; exit 3")
    assert (result.output, result.exit_status) == ("out\nerr\n", 3)
    assert not result.is_timed_out
    assert not result.is_output_cut
    assert (tmp_path / "sum.txt").read_text() == "85\n"


def test_the_folder_is_the_state_and_nothing_else(tmp_path):
    sandbox = Sandbox(tmp_path)
    sandbox.run("mkdir sub; cd sub; NAME=value; echo 1 > here.txt; echo 2 > /tmp/there.txt; alias ls=false")
    shown = sandbox.run('pwd; echo "[$NAME]"; cat sub/here.txt; ls').output.splitlines()
    assert shown[1:] == ["[]", "1", "sub"]
    if detect_protection().filesystem:
        assert shown[0] == "/tmp/work"
        assert "No such file" in sandbox.run("cat /tmp/there.txt").output


def test_files_of_the_caller_can_be_changed_and_read_back(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("1\n")
    sandbox = Sandbox(tmp_path)
    assert sandbox.run("echo 2 >> folder/a.txt; mv folder/a.txt b.txt; rmdir folder").exit_status == 0
    assert (tmp_path / "b.txt").read_text() == "1\n2\n"
    (tmp_path / "later.txt").write_text("3\n")
    sandbox.hand_over()
    assert sandbox.run("echo 4 >> later.txt").exit_status == 0


@pytest.mark.parametrize("protection", every_protection(), ids=lambda item: "+".join(item.parts) or "nothing")
class TestWithEveryProtection:
    def test_an_endless_loop_ends_with_its_time(self, tmp_path, protection):
        before = time.monotonic()
        result = Sandbox(tmp_path, limits=Limits(wall_seconds=1), protection=protection).run("while :; do :; done")
        assert result.is_timed_out
        assert result.exit_status == 137
        assert time.monotonic() - before < 15

    def test_nothing_outlives_its_command(self, tmp_path, protection, mark):
        sandbox = Sandbox(tmp_path, limits=Limits(wall_seconds=60), protection=protection)
        before = time.monotonic()
        result = sandbox.run(
            f"sleep {mark} & setsid sleep {mark} & (nohup setsid sleep {mark} > /dev/null &) ; echo on"
        )
        assert result.output == "on\n"
        assert not result.is_timed_out
        assert time.monotonic() - before < 30, "a process in the background holds the output open"
        assert wait_until_gone(mark)

    def test_nothing_outlives_a_command_whose_time_is_up(self, tmp_path, protection, mark):
        sandbox = Sandbox(tmp_path, limits=Limits(wall_seconds=1.5), protection=protection)
        result = sandbox.run(f"setsid sleep {mark} & (setsid sleep {mark} &) ; sleep {mark}")
        assert result.is_timed_out
        assert wait_until_gone(mark)

    def test_a_fork_bomb_is_held_down_and_gone(self, tmp_path, protection, mark):
        limits = Limits(wall_seconds=3, num_processes=20)
        result = Sandbox(tmp_path, limits=limits, protection=protection).run(
            f": {mark}; bomb() {{ bomb | bomb & }}; bomb"
        )
        assert "Resource temporarily unavailable" in result.output or result.exit_status == 0
        assert wait_until_gone(mark)

    def test_variables_of_the_caller_are_not_visible(self, tmp_path, protection, monkeypatch):
        monkeypatch.setenv("SECRET_TOKEN", "swordfish")
        shown = Sandbox(tmp_path, protection=protection).run(
            "env; set; cat /proc/*/environ 2> /dev/null | tr '\\0' '\\n'"
        )
        assert "HOME=" in shown.output
        if protection.filesystem or IS_ROOT:
            assert "swordfish" not in shown.output
        names = {line.partition("=")[0] for line in Sandbox(tmp_path, protection=protection).run("env").output.split()}
        assert names == {"PATH", "LANG", "HOME", "PWD", "SHLVL", "_"}

    def test_there_are_no_privileges(self, tmp_path, protection):
        shown = Sandbox(tmp_path, protection=protection).run("grep -E 'CapEff|NoNewPrivs' /proc/self/status; id -u")
        assert shown.output.split()[:4] == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"]
        assert shown.output.split()[4] != "0"


def test_processor_time_is_limited(tmp_path):
    result = Sandbox(tmp_path, limits=Limits(wall_seconds=60, cpu_seconds=1)).run("while :; do :; done")
    assert (result.exit_status, result.is_timed_out) == (137, False)


def test_memory_is_limited(tmp_path):
    command = "text=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#text}"
    assert Sandbox(tmp_path, limits=Limits(wall_seconds=60)).run(command).output == "100000000\n"
    result = Sandbox(tmp_path, limits=Limits(wall_seconds=60, memory_mib=64)).run(command)
    assert "100000000" not in result.output
    assert "cannot allocate" in result.output


def test_processes_are_counted(tmp_path):
    protection = detect_protection()
    shown = int(Sandbox(tmp_path, limits=Limits(num_processes=20)).run("ulimit -u").output)
    assert shown == 20 or not (protection.filesystem or IS_ROOT)


def test_output_is_cut_and_the_command_goes_on(tmp_path):
    sandbox = Sandbox(tmp_path, limits=Limits(wall_seconds=60, output_bytes=1000))
    result = sandbox.run("head -c 5000000 /dev/zero | tr '\\0' x; echo done > end.txt")
    assert result.output == "x" * 1000
    assert result.is_output_cut
    assert (tmp_path / "end.txt").exists()
    assert not sandbox.run("head -c 1000 /dev/zero").is_output_cut


def test_endless_output_ends_with_its_time(tmp_path):
    result = Sandbox(tmp_path, limits=Limits(wall_seconds=1, output_bytes=10)).run("yes")
    assert (result.output, result.is_output_cut, result.is_timed_out) == ("y\n" * 5, True, True)


def test_files_are_limited(tmp_path):
    result = Sandbox(tmp_path, limits=Limits(wall_seconds=60, file_mib=1)).run("head -c 5000000 /dev/zero > big.bin")
    assert "File too large" in result.output
    assert (tmp_path / "big.bin").stat().st_size == 2**20


def test_bytes_that_are_no_text_are_replaced(tmp_path):
    assert Sandbox(tmp_path).run("printf 'a\\xff\\xfeb\\0c'").output == "a\ufffd\ufffdb\0c"


@pytest.mark.parametrize("command", ["echo a\0b", "echo \ud800", "echo " + "x" * 200_000])
def test_what_no_shell_can_be_given_is_a_result(tmp_path, command):
    result = Sandbox(tmp_path).run(command)
    assert result.exit_status == 126
    assert result.output.startswith("bash: the command h")


@pytest.mark.parametrize("command", ["", " ", "\n", "(", "'", "exit", "kill -9 $$", "echo $(("])
def test_odd_commands_are_results(tmp_path, command):
    assert not Sandbox(tmp_path).run(command).is_timed_out


def test_nothing_outside_can_be_written(tmp_path):
    need("filesystem")
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.mkdir()
    outside.chmod(0o777)
    (outside / "old.txt").write_text("old")
    (outside / "old.txt").chmod(0o666)
    (work / "link").symlink_to(outside)
    own = (outside / "old.txt").stat().st_uid
    sandbox = Sandbox(work)
    for place in (str(outside), "link", "/", "/var/tmp", "/dev/shm", "/run", str(Path.home())):
        result = sandbox.run(f"echo new > {place}/new.txt; echo new >> {place}/old.txt")
        assert not (Path("/") / place / "new.txt").exists()
        assert result.exit_status != 0
    assert (outside / "old.txt").read_text() == "old"
    assert (outside / "old.txt").stat().st_uid == own, "handing over must not follow links"
    assert [path.name for path in outside.iterdir()] == ["old.txt"]
    for undo in ("mount -o remount,rw /", "unshare -Urm mount -o remount,rw /", "umount -l /tmp/work"):
        assert sandbox.run(undo).exit_status != 0


def test_other_processes_are_out_of_reach(tmp_path):
    need("filesystem")
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        shown = Sandbox(tmp_path).run(f"kill -9 {sleeper.pid}; kill -9 -1; echo /proc/[0-9]*; ls -A /run")
        assert sleeper.poll() is None
        assert str(sleeper.pid) not in Sandbox(tmp_path).run("echo /proc/[0-9]*").output.split("/")
        assert "No such process" in shown.output
    finally:
        sleeper.kill()
        sleeper.wait()


def test_hidden_folders_are_empty(tmp_path):
    need("filesystem")
    work, secret = tmp_path / "work", tmp_path / "secret"
    work.mkdir()
    secret.mkdir()
    tmp_path.chmod(0o755)
    (secret / "key").write_text("swordfish")
    assert "swordfish" not in Sandbox(work, hidden=(str(secret),)).run(f"cat {secret}/*").output
    assert Sandbox(work).run("ls -A /run").output == ""


def test_no_server_can_be_reached(tmp_path):
    need("network")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        command = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]} && echo hello >&3"
        assert Sandbox(tmp_path, protection=NOTHING).run(command).exit_status == 0
        server.accept()[0].close()  # the command does reach it where it may
        result = Sandbox(tmp_path).run(command)
        assert "refused" in result.output
        assert result.exit_status != 0
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()


def test_its_own_loopback_is_there(tmp_path):
    need("network")
    assert "LOOPBACK,UP" in Sandbox(tmp_path).run("ip link show lo || echo LOOPBACK,UP").output


def test_what_is_required_and_missing_is_an_error():
    missing = Protection(network=True, filesystem=False, reason="[Errno 1] Operation not permitted")
    missing.require("network")
    with pytest.raises(ConfigError, match=r"filesystem here \(\[Errno 1\] Operation not permitted\).*docs/sandbox"):
        missing.require("network", "filesystem")
    with pytest.raises(ConfigError, match="no protection 'disk'; there are network, filesystem"):
        missing.require("disk")


def test_required_protection_is_asked_for_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match="cannot be kept from the network"):
        Sandbox(tmp_path, required=("network",), protection=NOTHING)


@pytest.mark.parametrize("name", list(vars(Limits())))
def test_limits_are_above_zero(name):
    with pytest.raises(ConfigError, match=f"limits.{name} is 0"):
        Limits(**{name: 0})


def test_a_sandbox_that_cannot_be_set_up_is_an_error_and_no_result(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    sandbox = Sandbox(folder)
    folder.rmdir()
    with pytest.raises(SandboxError, match="cannot be set up"):
        sandbox.run("true")


def test_a_command_ends_with_its_caller(tmp_path, mark):
    code = f"from pathlib import Path; from srl.sandbox import *; Sandbox(Path({str(tmp_path)!r})).run('sleep {mark}')"
    caller = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not any(words[0] == b"sleep" for words in marked_processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert any(words[0] == b"sleep" for words in marked_processes(mark))
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert wait_until_gone(mark)
