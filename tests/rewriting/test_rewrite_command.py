"""``srl rewrite`` as a process of its own: options, dry run, the key's secrecy, and a kill in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from llm_server import LLMServer, Reply, error, good, read_lines, steps_of, write_rows

from srl.chat_api.settings import read_key
from srl.errors import ConfigError, DataError, SRLError
from srl.rewriting.command import rewrite_command

KEY = "sk-test-7f3a9b21c4d5e6f7"
# What the command line does with a command: an error of ours is one line on stderr.
CODE = """
import sys
from rich.console import Console
from srl.errors import SRLError
from srl.rewriting.command import rewrite_command
try:
    rewrite_command(sys.argv[1:])
except SRLError as error:
    Console(stderr=True).print(f"error: {error}", markup=False, soft_wrap=True)
    sys.exit(2)
"""


def command(*arguments):
    return [sys.executable, "-c", CODE, *map(str, arguments)]


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return kept | {"COLUMNS": "80", "NO_PROXY": "127.0.0.1"} | variables


def srl_rewrite(*arguments, **variables):
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, timeout=120, env=environment(**variables)
    )


@pytest.fixture
def source(tmp_path):
    return write_rows(tmp_path / "in.jsonl", range(1, 6))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.jsonl"


def endpoint(server):
    return ("--base-url", server.url, "--model", "m", "--rows", "all", "--backoff-seconds", "0.01")


def in_this_process(capfd, *arguments):
    """(error or None, everything that was shown); much faster than a process of its own."""
    caught = None
    try:
        rewrite_command([str(argument) for argument in arguments])
    except SRLError as error:
        caught = str(error)
    shown = capfd.readouterr()
    return caught, shown.out + shown.err + (caught or "")


def cells(shown):
    """The rows of the tables that were printed."""
    rows = [line.strip("│ ").split(" │ ") for line in shown.splitlines() if line.startswith("│")]
    return {name.strip(): value.strip() for name, value in rows}


def test_a_whole_session(source, output):
    with LLMServer() as server:
        result = srl_rewrite(source, "-o", output, *endpoint(server), "--price-in", 1, "--price-out", 10)
        assert result.returncode == 0, result.stderr
        again = srl_rewrite(source, "-o", output, *endpoint(server))
    assert len(read_lines(output)) == 5
    assert result.stderr == ""
    assert max(len(line) for line in result.stdout.splitlines() if str(output) not in line) <= 80
    shown = cells(result.stdout)
    assert (shown["rows read"], shown["rewritten"], shown["answers received"]) == ("5", "5", "5")
    assert shown["cost of this run"] == "$0.0030"  # 500 prompt tokens for 1 $ and 250 others for 10 $ a million
    assert again.returncode == 2
    assert "pass --overwrite" in again.stderr
    assert len(server.calls) == 5


def test_only_solutions_without_steps_are_rewritten_unless_asked(tmp_path, output, capsys):
    source = tmp_path / "in.jsonl"
    agent = [
        {"role": "user", "content": "Fix it."},
        {"role": "assistant", "content": "Look.\n\n```mswea_bash_command\nls\n```"},
        {"role": "user", "content": "<returncode>0</returncode>\n<output>a.py</output>"},
        {"role": "assistant", "content": "Done.\n\n```mswea_bash_command\necho done\n```"},
        {"role": "user", "content": "<returncode>0</returncode>\n<output>done</output>"},
    ]
    rows = [
        {"id": "titled", "problem": "a", "solution": "1. **Add** 2 + 3 = 5\n\n2. **Double** \\boxed{10}"},
        {"id": "numbered", "problem": "b", "solution": "Step 1: 2 + 3 = 5\n\nStep 2: \\boxed{10}"},
        {"id": "uncut", "problem": "c", "solution": "It is \\boxed{10}"},
        {"problem": "d"},
        {"info": {"mini_version": "2.0"}, "trajectory_format": "mini-swe-agent-1.1", "messages": agent},
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    codes = []
    with LLMServer() as server:
        for rows_asked_for, expected in (("uncut", "c"), ("untitled", "bc"), ("all", "abc")):
            server.calls.clear()
            codes.append(0)
            try:
                rewrite_command([
                    str(source), "-o", str(output), "--base-url", server.url, "--model", "m", "--rows", rows_asked_for,
                    "--overwrite", "--max-length-ratio", "20", "--temperature", str(len(expected)),
                ])  # fmt: skip
            except SystemExit as end:
                codes[-1] = end.code
            assert set(server.problems()) == set(expected)
    assert codes == [0, 0, 3]  # the server puts the titled solution into a step of its own, whose numbers then repeat
    shown = capsys.readouterr().out
    assert "cannot be used: missing_field" in shown
    assert "left as they are: agent_log" in shown
    assert "left as they are: has_steps" in shown


def test_dry_run_sends_and_writes_nothing(source, output, tmp_path, capfd):
    options = (source, "-o", output, "--dry-run", "--rows", "all", "--limit", 3, "--price-out", 1000000)
    caught, shown = in_this_process(capfd, *options)
    assert caught is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]
    table = cells(shown)
    assert (table["would be asked about"], table["beyond the limit"]) == ("3", "2")
    assert table["completion tokens, estimated"] == str(3 * (len("Twice 1 is what we look for, so \\boxed{2}") // 4))
    assert table["cost, estimated"] == "$30.00"
    assert "Estimates: 4 characters per token" in shown
    assert "Problem:\np1\n\nSolution:\nTwice 1 is what we look for" in shown


def test_dry_run_knows_what_is_answered(source, output, capfd):
    with LLMServer() as server:
        in_this_process(capfd, source, "-o", output, *endpoint(server), "--limit", 2)
        _, shown = in_this_process(capfd, source, "-o", output, "--model", "m", "--rows", "all", "--dry-run")
    assert len(server.calls) == 2
    assert (cells(shown)["answered in the journal"], cells(shown)["would be asked about"]) == ("2", "3")


@pytest.mark.parametrize("kind", ["unauthorized", "server_error", "answer", "bad_reply"])
def test_the_key_stands_in_no_file_and_no_output(source, output, tmp_path, kind, monkeypatch, capfd, caplog):
    caplog.set_level("DEBUG")

    def script(call):
        if kind == "unauthorized":
            return error(401, f"{'x' * 250} incorrect key provided: {KEY}")  # where a message is cut
        if kind == "server_error":
            return error(500, f"Traceback: headers = {call.headers}")
        if kind == "bad_reply":
            return Reply(raw=f"your request was {call.headers}".encode())
        return Reply(steps_of(f"Authorization: Bearer {KEY}, " + call.solution))

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    report = tmp_path / "left-out.jsonl"
    with LLMServer(script) as server:
        caught, shown = in_this_process(
            capfd, source, "-o", output, *endpoint(server), "--max-attempts", 2, "--report", report
        )
    assert {call.headers["authorization"] for call in server.calls} == {f"Bearer {KEY}"}
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert ("out.jsonl" in written) == (caught is None) == (kind == "answer")
    assert "out.jsonl.journal" in written
    assert KEY[:12].encode() not in b"".join(written.values())
    assert KEY[:12] not in shown + caplog.text


def test_a_password_in_the_address_is_not_shown(source, output, tmp_path, capfd):
    with LLMServer(lambda call: error(401, f"go away, {call.headers}")) as server:
        url = server.url.replace("http://", "http://user:opensesame@")
        caught, shown = in_this_process(capfd, source, "-o", output, "--base-url", url, "--model", "m", "--rows", "all")
    assert caught.startswith("127.0.0.1")
    assert "opensesame" not in shown
    assert b"opensesame" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_key_from_another_variable(source, output, monkeypatch, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", "the-wrong-one")
    with LLMServer() as server:
        options = (source, "-o", output, *endpoint(server), "--key-variable", "MY_KEY", "--limit", 1)
        caught, _ = in_this_process(capfd, *options)
        assert "MY_KEY is not set" in caught
        assert not server.calls
        monkeypatch.setenv("MY_KEY", KEY + "\n")
        assert in_this_process(capfd, *options)[0] is None
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("value", ["two words", "schlüssel", "a\tb", "a\x7fb"])
def test_what_is_no_key_is_not_repeated(monkeypatch, value):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(ConfigError) as caught:
        read_key("OPENAI_API_KEY")
    assert value not in str(caught.value)


def test_killed_for_real_nothing_that_was_paid_for_is_asked_again(tmp_path, output):
    source = write_rows(tmp_path / "in.jsonl", range(30))
    answered = 12

    def script(call):
        return good(call) if len(server.calls) <= answered else Reply(end="hang")

    journal = output.with_name("out.jsonl.journal")
    with LLMServer(script) as server:
        process = subprocess.Popen(
            command(source, "-o", output, *endpoint(server), "--concurrency", 3),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                if journal.exists() and journal.read_bytes().count(b"\n") == answered and len(server.calls) > answered:
                    break
                time.sleep(0.01)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    assert not output.exists()
    paid = set(server.problems()[:answered])
    assert len(read_lines(journal)) == len(paid) == answered
    with journal.open("ab") as file:
        file.write(b'{"key": "half a li')  # as if it had been killed while writing
    with LLMServer() as server:
        result = srl_rewrite(source, "-o", output, *endpoint(server))
    assert result.returncode == 0, result.stderr
    assert len(server.calls) == 30 - answered
    assert paid.isdisjoint(server.problems())
    assert [row["id"] for row in read_lines(output)] == [f"r{n}" for n in range(30)]
    with LLMServer() as server:
        other = output.with_name("other.jsonl")
        assert srl_rewrite(source, "-o", other, *endpoint(server)).returncode == 0
    assert [row | {"rewritten_by": 0} for row in read_lines(other)] == [
        row | {"rewritten_by": 0} for row in read_lines(output)
    ]


def test_stopped_by_the_user_it_ends_at_once_and_keeps_its_answers(tmp_path, output):
    source = write_rows(tmp_path / "in.jsonl", range(9))
    with LLMServer(lambda call: good(call) if len(server.calls) <= 4 else Reply(end="hang")) as server:
        process = subprocess.Popen(
            command(source, "-o", output, *endpoint(server), "--concurrency", 2),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(server.calls) < 6 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert errors.decode().rstrip().endswith("KeyboardInterrupt")
    assert not output.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl.journal"]
    assert len(read_lines(tmp_path / "out.jsonl.journal")) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "m"], "--base-url"),
        (["--base-url", "http://127.0.0.1:1/v1"], "--model"),
        (
            ["--base-url", "http://127.0.0.1:1/v1", "--model", "m", "--concurrency", "0"],
            "concurrency must be at least 1",
        ),
        (["--dry-run", "--format", "nope"], "'nope' is unknown"),
        (["--recipe", "no-such.toml"], "cannot read the recipe"),
        (["--recipe"], "--recipe"),
    ],
)
def test_bad_options_are_errors_that_say_what_to_do(source, output, options, said, capsys):
    with pytest.raises((ConfigError, SystemExit)) as caught:
        rewrite_command([str(source), "-o", str(output), *options])
    assert said in str(caught.value) + capsys.readouterr().err
    assert not output.exists()


def test_files_that_must_not_be_written(source, output, tmp_path):
    options = ["--base-url", "http://127.0.0.1:1/v1", "--model", "m", "--rows", "all"]
    with pytest.raises(DataError, match="different files"):
        rewrite_command([str(source), "-o", str(source), *options])
    with pytest.raises(DataError, match="different files"):
        rewrite_command([str(source), "-o", str(output), "--report", str(output) + ".journal", *options])
    with pytest.raises(DataError, match="is not a file"):
        rewrite_command([str(source), "-o", str(tmp_path), *options])
    with pytest.raises(DataError, match=r"cannot (use|write)"):
        rewrite_command([str(source), "-o", str(tmp_path / "no" / "out.jsonl"), *options])


def test_without_the_openai_package_the_error_says_what_to_install(source, output):
    code = "import sys; sys.modules['openai'] = None\n" + CODE
    arguments = [source, "-o", output, "--base-url", "http://127.0.0.1:1/v1", "--model", "m", "--rows", "all"]
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "pip install 'supervised-rl[rewrite]'" in result.stderr
