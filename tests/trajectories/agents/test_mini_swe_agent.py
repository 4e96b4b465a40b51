from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.trajectories.agents import mini_swe_agent
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Trajectory

FINAL = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
TASK = f"Please solve this issue: The clock is slow.\n\nYou can execute bash commands. Finish with `{FINAL}`."
REFUSAL = "Please always provide EXACTLY ONE action in triple backticks, found 2 actions."


def parse(value: dict[str, Any]) -> Trajectory:
    assert mini_swe_agent.matches(value)
    row = Row(value=value, source=Source(file="clock.traj.json", row=0), line=0)
    [found] = mini_swe_agent.parse(row, ReadSettings())
    assert isinstance(found, Trajectory)
    return found


def log(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": "Help."}, user(TASK), *messages], **more}


def user(content: Any, **extra: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **({"extra": extra} if extra else {})}


def agent(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def rounds(trajectory: Trajectory) -> list[tuple[str, str, str]]:
    return [(step.text, step.thought, step.observation) for step in trajectory.steps]


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        ("```bash\n", "\n```"),
        ("```mswea_bash_command\n", "\n```"),
        ("```sh\n", "\n```"),
        ("```\n", "\n```"),
        ("<bash_code>", "</bash_code>"),
        ("<mswea_bash_command>\n", "</mswea_bash_command>"),
    ],
)
def test_all_kinds_of_blocks(opening: str, closing: str) -> None:
    messages = [
        agent(f"THOUGHT: Look.\n\n{opening}ls -a{closing}\nNow."),
        user("<returncode>0</returncode>\n<output>\na.py\n</output>"),
        agent(f"{opening}{FINAL} && git diff{closing}"),
        user("diff --git\n"),
    ]
    assert rounds(parse(log(*messages))) == [
        ("ls -a", "THOUGHT: Look.\n\n\nNow.", "<returncode>0</returncode>\n<output>\na.py\n</output>"),
        (f"{FINAL} && git diff", "", "diff --git"),
    ]


def test_a_bare_list_of_messages_has_the_file_s_name_and_the_usual_task() -> None:
    trajectory = parse(log(agent("```bash\nls\n```"), user("a"), agent(f"```bash\n{FINAL}\n```")))
    assert (trajectory.trajectory_id, trajectory.problem) == ("clock-0", "The clock is slow.")
    assert (trajectory.format, trajectory.is_right, trajectory.notes) == ("mini-swe-agent", None, {})


def test_other_code_in_a_message_is_prose() -> None:
    shown = "Not\n```bash\nrm -r /\n```\nbut"
    messages = [agent(f"{shown}\n```mswea_bash_command\nls\n```"), user("a")]
    messages += [agent(f"Done.\n```bash\n{FINAL}\n```"), user(REFUSAL)]
    messages += [agent(f"```mswea_bash_command\n{FINAL}\n```"), user("diff")]
    trajectory = parse(log(*messages))
    assert rounds(trajectory) == [("ls", shown, "a"), (FINAL, "", "diff")]
    assert trajectory.notes == {"format_errors": 1}


def test_a_block_ends_where_the_harness_ends_it() -> None:
    written = "```bash\ncat > a.md <<'E'\nSay ```tick```:\n```py\ntick()\nE"
    messages = [agent(written), user("a"), agent(f"```bash\n{FINAL}\n```"), user("diff")]
    assert parse(log(*messages)).steps[0].text == "cat > a.md <<'E'\nSay ```tick```:"


def test_refused_messages_are_left_out_and_a_command_that_timed_out_is_not() -> None:
    timeout = "The last command <command>sleep 99</command> timed out and has been killed."
    messages = [
        agent("```bash\nls\n```\n```bash\nls -a\n```"),
        user(REFUSAL),
        agent("No command."),
        user("A harness may have words of its own for it."),
        agent("```bash\nsleep 99\n```"),
        user(timeout),
        agent("```bash\nrm -r .\n```"),
        user("Command not executed. The user rejected your command with the following message: no"),
        agent(f"```bash\n{FINAL}\n```"),
        user(""),
    ]
    trajectory = parse(log(*messages))
    assert rounds(trajectory) == [("sleep 99", "", timeout), (FINAL, "", "")]
    assert trajectory.notes == {"format_errors": 3}


def test_version_2_names_its_actions() -> None:
    call = {"type": "function", "id": "c", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
    messages = [
        user("Tool call error:\n\nno call", interrupt_type="FormatError", model_response="Hm."),
        agent("Both.", tool_calls=[call, call], extra={"actions": [{"command": "ls\n"}, {"command": "pwd"}]}),
        {"role": "tool", "content": "a.py", "extra": {"returncode": 0}},
        {"role": "tool", "content": "/clock", "extra": {"returncode": 0}},
        user("Tool call error:\n\nno call", interrupt_type="FormatError", model_response="Hm."),
        user("Tool call error:\n\nno call", interrupt_type="FormatError", model_response="Hm."),
        agent(None, reasoning_content="What is it?", tool_calls=[call]),
        {"role": "tool", "content": "Format error: a.py is no clock", "extra": {"returncode": 1}},
        agent("", extra={"actions": [{"command": "rm a.py"}]}),
        {"role": "tool", "content": "action was not executed", "extra": {"returncode": -1}},
        user("Leave it alone.", interrupt_type="UserRejection"),
        user("User command:\n```bash\ncat a.py\n```", actions=[{"command": "cat a.py"}]),
        user("tick()", returncode=0),
        agent("", extra={"actions": [{"command": f"{FINAL} && cat p"}]}),
        {"role": "exit", "content": "diff", "extra": {"exit_status": "Submitted", "submission": "diff"}},
    ]
    trajectory = parse(log(*messages, trajectory_format="mini-swe-agent-1.1", instance_id="clock-1"))
    assert rounds(trajectory) == [
        ("ls\n\npwd", "Both.", "a.py\n\n/clock"),
        ("ls", "What is it?", "Format error: a.py is no clock"),
        ("cat a.py", "", "tick()"),
        (f"{FINAL} && cat p", "", "diff"),
    ]
    assert trajectory.notes == {"format_errors": 4, "parallel_calls": 1}
    assert trajectory.trajectory_id == "clock-1"


def test_objects_of_the_responses_api() -> None:
    def response(text: str, command: str) -> dict[str, Any]:
        output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}, {"type": "function_call"}]
        return {"object": "response", "output": output, "extra": {"actions": [{"command": command}]}}

    answer = {"type": "function_call_output", "call_id": "c", "output": "a.py"}
    assert rounds(parse(log(response("Look.", "ls"), answer, response("", FINAL)))) == [
        ("ls", "Look.", "a.py"),
        (FINAL, "", ""),
    ]


@pytest.mark.parametrize(
    ("ending", "status", "notes"),
    [
        ([{"role": "exit", "content": "", "extra": {"exit_status": "LimitsExceeded"}}], "LimitsExceeded", {}),
        ([user("")], "LimitsExceeded", {}),
        ([user("litellm.Timeout: no answer")], "Timeout", {}),
        ([agent("```bash\npwd\n```")], "LimitsExceeded", {"truncated_logs": 1}),
        ([agent("```bash\npwd\n```"), {"role": "exit", "content": "Killed", "extra": {}}], "", {"truncated_logs": 1}),
    ],
)
def test_runs_that_end_otherwise(ending: list[dict[str, Any]], status: str, notes: dict[str, int]) -> None:
    messages = [agent("```bash\nls\n```"), user("a"), agent("```bash\nls -a\n```"), user("b"), *ending]
    trajectory = parse(log(*messages, info={"exit_status": status, "mini_version": "1.0"}))
    assert [text for text, _, _ in rounds(trajectory)][:2] == ["ls", "ls -a"]
    assert [seen for _, _, seen in rounds(trajectory)][:2] == ["a", "b"]
    assert trajectory.notes == notes


def test_the_task_is_what_the_log_s_own_template_was_filled_with() -> None:
    template = "{% if x %}Hello. {% endif %}Clock trouble: {{ task }}\n\nYou are on {{system}}."
    messages = [agent("```bash\nls\n```"), user("a"), agent(f"```bash\n{FINAL}\n```")]
    first = user("Hello. Clock trouble: It ticks.\n\nYou are on it.\n\nYou are on Linux.")
    for agent_config, expected in [
        ({"instance_template": template}, "It ticks.\n\nYou are on it."),
        ({"instance_template": "{{task}}"}, first["content"]),
        ({"instance_template": "Clock trouble: {{task}}{{farewell}}"}, first["content"]),
        ({"instance_template": "Another: {{task}}"}, first["content"]),
        ({}, first["content"]),
    ]:
        value = {"messages": [first, *messages], "info": {"mini_version": "2.0", "config": {"agent": agent_config}}}
        assert parse(value).problem == expected


@pytest.mark.parametrize("version", ["mini-swe-agent-2", "mini-swe-agent-1.10", "mini-swe-agent", 1, ["x"]])
def test_an_unknown_version_is_dropped_with_what_was_found_and_what_is_known(version: Any) -> None:
    messages = [agent("```bash\nls\n```"), user("a"), agent(f"```bash\n{FINAL}\n```")]
    with pytest.raises(RowError, match=r"known are mini-swe-agent-1, mini-swe-agent-1\.1") as caught:
        parse(log(*messages, trajectory_format=version))
    assert str(version) in caught.value.detail


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (None, DropReason.MISSING_FIELD),
        ({}, DropReason.WRONG_TYPE),
        ([user(TASK), {"content": "who?"}], DropReason.WRONG_TYPE),
        ([user(TASK), {"role": "alien", "content": ""}], DropReason.WRONG_TYPE),
        ([user(TASK), agent("", extra={"actions": [{"command": 3}]})], DropReason.WRONG_TYPE),
        ([user(TASK), agent(3)], DropReason.WRONG_TYPE),
        ([user(""), agent("```bash\nls\n```"), agent("```bash\nls\n```")], DropReason.EMPTY_FIELD),
        ([user(TASK), agent("```bash\nls\n```")], DropReason.TOO_FEW_STEPS),
    ],
)
def test_damaged_logs(messages: Any, reason: DropReason) -> None:
    with pytest.raises(RowError) as caught:
        parse({"trajectory_format": "mini-swe-agent-1", "messages": messages})
    assert caught.value.reason == reason


@pytest.mark.parametrize("where", ["row", "info"])
def test_whether_it_is_right(where: str) -> None:
    messages = [agent("```bash\nls\n```"), user("a"), agent(f"```bash\n{FINAL}\n```")]
    mark = {"resolved": True}
    assert parse(log(*messages, **(mark if where == "row" else {"info": mark}))).is_right is True


@pytest.mark.parametrize(
    "value", [{}, {"messages": []}, {"messages": [3, None]}, {"messages": [user(3), agent(FINAL)][:1]}, {"info": {}}]
)
def test_other_rows_do_not_match(value: dict[str, Any]) -> None:
    assert not mini_swe_agent.matches(value)


def blocks_by_line(text: str) -> list[str]:
    """The ```bash blocks of a message, found line by line."""
    found: list[list[str]] = []
    is_open = False
    for line in text.split("\n"):
        if is_open and line.startswith("```"):
            is_open = False
        elif is_open:
            found[-1].append(line)
        elif re.fullmatch(r".*```bash\s*", line):
            found.append([])
            is_open = True
    return ["\n".join(lines).strip() for lines in found]


def test_all_real_logs(shared_data: Callable[[str], Path]) -> None:
    paths = sorted(shared_data("swe/miniswe").glob("*.traj.json"))
    assert len(paths) == 78
    num_steps = num_refused = 0
    for path in paths:
        value = json.loads(path.read_text(encoding="utf-8"))
        trajectory = parse(value)
        messages = value["messages"]
        expected = []
        for message, answer in zip(messages, [*messages[1:], {}], strict=True):
            blocks = blocks_by_line(message["content"]) if message["role"] == "assistant" else []
            if len(blocks) == 1:
                expected.append((blocks[0], answer["content"].strip("\r\n")))
        assert [(step.text, step.observation) for step in trajectory.steps] == expected, path
        refused = trajectory.notes.get("format_errors", 0)
        assert sum(message["content"].startswith(REFUSAL[:40]) for message in messages) == refused
        assert value["info"]["model_stats"]["api_calls"] == len(trajectory.steps) + refused
        assert set(trajectory.notes) <= {"format_errors"}
        assert trajectory.trajectory_id == value["instance_id"]
        described = messages[1]["content"].partition("</pr_description>")[0].strip()
        assert described == f"<pr_description>\nConsider the following PR description:\n{trajectory.problem}"
        assert not any("```bash" in step.thought for step in trajectory.steps)
        num_steps, num_refused = num_steps + len(trajectory.steps), num_refused + refused
    assert (num_steps, num_refused) == (2052, 56)


@pytest.mark.parametrize("name", ["github_issue", "github_issue_v1"])
def test_real_bare_lists(shared_data: Callable[[str], Path], name: str) -> None:
    messages = json.loads(shared_data(f"swe/miniswe_tests/{name}.traj.json").read_text(encoding="utf-8"))
    trajectory = parse({"messages": messages})
    assert (len(trajectory.steps), trajectory.notes) == (10, {})
    assert [step.text for step in trajectory.steps][1:4] == ["ls -la", "ls -la tests/", "cat tests/missing_colon.py"]
    assert trajectory.problem.startswith("GitHub Issue: SyntaxError")
    assert trajectory.problem.endswith("SyntaxError: invalid syntax\r\n```")
