from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.trajectories.agents import swe_agent
from srl.trajectories.agents.swe_agent import observation_text, split_at_fence
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Trajectory

MANUAL = "Please fix this.\nISSUE:\nThe clock is slow.\n\nINSTRUCTIONS:\nOne command at a time."
SILENT = "Your command ran successfully and did not produce any output."
STATE = "\n(Open file: n/a)\n(Current directory: /clock)\nbash-$"


def parse(value: dict[str, Any]) -> Trajectory:
    assert swe_agent.matches(value)
    [found] = swe_agent.parse(Row(value=value, source=Source(file="runs/clock.traj", row=0), line=0), ReadSettings())
    assert isinstance(found, Trajectory)
    return found


def entry(action: str, observation: str | None = "", **more: Any) -> dict[str, Any]:
    return {"action": action, "observation": observation, "response": "Hm.", "thought": "Hm.", "state": {}, **more}


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, "agent": "main", **more}


def agent(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "agent": "main", **more}


def log(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"trajectory": list(entries), "history": [user(MANUAL)], "info": {"exit_status": "submitted"}, **more}


def actions(trajectory: Trajectory) -> list[str]:
    return [step.text for step in trajectory.steps]


def test_a_log_of_entries() -> None:
    edit = "edit 1:1\n    tick()\nend_of_edit\n"
    trajectory = parse(
        log(
            entry(
                edit, "[File: clock.py]\r\n1:    tick()\r\n", response=f"Faster.\n```\n{edit}```", thought="Faster.\n"
            ),
            entry("submit\n", "\ndiff --git a/clock.py", response="```\nsubmit\n```", thought=""),
        )
    )
    assert [(step.text, step.thought, step.observation) for step in trajectory.steps] == [
        ("edit 1:1\n    tick()\nend_of_edit", "Faster.", "[File: clock.py]\r\n1:    tick()"),
        ("submit", "", "diff --git a/clock.py"),
    ]
    assert (trajectory.problem, trajectory.trajectory_id) == ("The clock is slow.", "clock-0")
    assert (trajectory.format, trajectory.kind, trajectory.is_right, trajectory.notes) == (
        "swe-agent",
        "agent",
        None,
        {},
    )


@pytest.mark.parametrize(
    ("thought", "expected"),
    [
        ("See what is there.\n```\nls -a\n```", "See what is there."),
        ("See what is there.\n<command>\nls -a\n</command>", "See what is there."),
        ("ls -a", ""),
        ("As in\n```\nls\n```\nbut all.", "As in\n```\nls\n```\nbut all."),
    ],
)
def test_a_thought_that_repeats_the_whole_message_keeps_the_prose_only(thought: str, expected: str) -> None:
    trajectory = parse(log(entry("ls -a\n", response=thought, thought=thought), entry("submit")))
    assert trajectory.steps[0].thought == expected


def test_what_the_harness_did_not_run_is_left_out() -> None:
    complaint = [{"role": "assistant", "message_type": "assistant"}, {"role": "user", "message_type": "user"}]
    trajectory = parse(
        log(
            entry("ls", "clock.py", query=[{"role": "user", "message_type": "observation"}]),
            entry("", response="I think.", thought="I think."),  # no command in the message
            entry("vim clock.py", query=complaint),  # a blocked command: what follows was asked with a complaint
            entry("cat clock.py", "tick()", query=complaint),
            entry("nano clock.py", "Operation 'nano clock.py' is not supported by this environment."),
            entry("touch done", "", query=[{"role": "user", "message_type": "observation"}]),  # ran, and said nothing
            entry("edit 1:1", "Wrong line."),  # ran, and its answer was the complaint
            entry("submit", "diff", query=complaint),
        )
    )
    assert actions(trajectory) == ["ls", "cat clock.py", "touch done", "edit 1:1", "submit"]
    assert trajectory.notes == {"format_errors": 3}


@pytest.mark.parametrize(
    "last",
    [
        entry("exit_cost", "Exited (autosubmitted)", response="", thought="Exit due to cost limit"),
        entry("exit_format", "Exited", response="no command", thought="Exit due to format error"),
        entry("", "diff --git", response="Exit due to context window", thought="Exit due to context window"),
    ],
)
def test_a_run_that_a_limit_ended_keeps_the_expert_s_actions_only(last: dict[str, Any]) -> None:
    trajectory = parse(log(entry("ls", "clock.py"), entry("cat clock.py", "tick()"), last))
    assert actions(trajectory) == ["ls", "cat clock.py"]
    assert trajectory.notes == {"harness_turns": 1}


def test_giving_up_is_the_expert_s_action() -> None:
    assert actions(parse(log(entry("ls", "a"), entry("exit_forfeit", "Exited"))))[-1] == "exit_forfeit"


def test_a_log_of_messages_gives_what_a_log_of_entries_gives() -> None:
    demonstration = user(f"Here is a demonstration of how to correctly accomplish this task.\n{MANUAL}", is_demo=True)
    history = [
        {"role": "system", "content": "You are a clockmaker.", "agent": "main"},
        demonstration,
        agent("```\nls demo\n```", action="ls demo", is_demo=True),
        user(MANUAL),
        agent("Look.\n```\nls\n```", thought="Look.\n", action="ls\n"),
        user(f"OBSERVATION:\nclock.py{STATE}"),
        agent("Done.", thought="Done.", action="submit"),
    ]
    trajectory = parse({"history": history})
    assert [(step.text, step.thought, step.observation) for step in trajectory.steps] == [
        ("ls", "Look.", "clock.py"),
        ("submit", "Done.", ""),
    ]
    assert (trajectory.problem, trajectory.notes) == ("The clock is slow.", {})
    assert parse({"history": [m for m in history if m is not demonstration]}) == trajectory


def test_messages_without_an_action_are_parsed_as_the_harness_does() -> None:
    calls = [{"type": "function", "function": {"name": "open", "arguments": '{"path": "clock.py"}'}}]
    fenced = [
        user(MANUAL),
        agent("Not\n```\nls\n```\nbut\n```sh\nls -a\n```\nnow."),
        user("a"),
        agent("Stop."),
        user("b"),
    ]
    tagged = [agent("See <command>.\n<command>\ncat a.md <<< '```\nx\n```'\n</command>"), user("c")]
    called = [
        agent("Open it.", tool_calls=calls),
        {"role": "tool", "content": [{"type": "text", "text": "OBSERVATION:\nd"}]},
    ]
    ending = [agent("```\nsubmit\n```")]
    trajectory = parse({"history": fenced + called + ending})
    opened = "<function=open>\n<parameter=path>\nclock.py\n</parameter>\n</function>"
    assert [(step.text, step.thought, step.observation) for step in trajectory.steps] == [
        ("ls -a", "Not\n```\nls\n```\nbut\nnow.", "a"),
        (opened, "Open it.", "d"),
        ("submit", "", ""),
    ]
    assert trajectory.notes == {"empty_actions": 1}
    trajectory = parse({"history": [user(MANUAL), *tagged, agent("<command>submit</command>")]})
    assert actions(trajectory) == ["cat a.md <<< '```\nx\n```'", "submit"]
    assert trajectory.steps[0].thought == "See <command>."


def test_a_table_s_messages_have_their_own_names_and_one_instance_many_runs() -> None:
    messages = [
        {"role": "system", "text": None, "system_prompt": "You are a clockmaker.", "mask": False},
        {"role": "user", "text": MANUAL, "system_prompt": None, "mask": False},
        {"role": "ai", "text": "Look.\n```\nls\n```", "system_prompt": None, "mask": False},
        {"role": "user", "text": f"clock.py{STATE}", "system_prompt": None, "mask": False},
        {"role": "ai", "text": "What?", "system_prompt": None, "mask": False},
        {"role": "user", "text": "Your output was not formatted correctly.", "system_prompt": None, "mask": False},
        {"role": "ai", "text": "```\nsubmit\n```", "system_prompt": None, "mask": True},
    ]
    value = {"instance_id": "clock-1", "target": False, "trajectory": messages, "exit_status": "submitted"}
    trajectory = parse(value)
    assert actions(trajectory) == ["ls", "submit"]
    assert (trajectory.trajectory_id, trajectory.problem) == ("clock-1-0", "The clock is slow.")
    assert (trajectory.is_right, trajectory.notes) == (False, {"format_errors": 1})


def test_the_task_is_looked_for_in_the_row_the_replay_settings_and_the_first_message() -> None:
    entries = [entry("ls", "a"), entry("submit", "")]
    replayed = json.dumps({"problem_statement": {"type": "text", "text": "Replayed."}})
    linked = json.dumps({"problem_statement": {"type": "github", "github_url": "https://example.org/1"}})
    asked = [user([{"type": "text", "text": "<pr_description>\nAsked.\n</pr_description>\nSteps: ..."}])]
    contest = [user("We're currently solving the following CTF challenge. Find it.\n\nINSTRUCTIONS:\nGo.")]
    for more, expected in [
        ({"problem_statement": "Told.", "replay_config": replayed}, "Told."),
        ({"replay_config": replayed}, "Replayed."),
        ({"replay_config": linked}, "The clock is slow."),
        ({"replay_config": None, "history": asked}, "Asked."),
        ({"history": contest}, "Find it."),
        ({"history": [], "trajectory": [{**entries[0], "query": asked}, entries[1]]}, "Asked."),
    ]:
        assert parse(log(*entries, **more)).problem == expected
    with pytest.raises(RowError) as caught:
        parse(log(*entries, history=[]))
    assert caught.value.reason == DropReason.EMPTY_FIELD


@pytest.mark.parametrize(
    "message", [{"content": "who?"}, {"role": "alien"}, {"role": 3}, {"role": "user", "content": 3}]
)
def test_messages_of_nobody_drop_the_log(message: dict[str, Any]) -> None:
    with pytest.raises(RowError) as caught:
        parse({"history": [user(MANUAL), agent("a", action="ls"), message, agent("b", action="submit")]})
    assert caught.value.reason == DropReason.WRONG_TYPE


def test_several_attempts_are_one_run() -> None:
    first, second = (log(entry("ls", "a"), entry(f"submit {n}", "")) for n in (1, 2))
    assert actions(parse({"attempts": [first, second]}))[-1] == "submit 2"
    assert actions(parse({"attempts": [first, second], **first}))[-1] == "submit 1"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"info": {"exit_status": "submitted"}}, None),
        ({"info": {"resolved": True}}, True),
        ({"resolved": False, "info": {"resolved": True}}, False),
        ({"info": "submitted"}, None),
    ],
)
def test_whether_it_is_right(more: dict[str, Any], expected: bool | None) -> None:
    assert parse(log(entry("ls", "a"), entry("submit", ""), **more)).is_right is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```\nls\n```", ("", "ls\n")),
        ("a\n```bash\nls\n```\nb", ("a\nb", "ls\n")),
        ("```\ncat <<E\n```py\nx\n```\nE\n```\n", ("", "cat <<E\n```py\nx\n```\nE\n")),
        ("```\ncat <<E\n```py\nx\n```\nE\n", None),
        ("```\nls\r\n```\r\n", ("", "ls\r\n")),
        ("use ```ls```", None),
        ("```ls```\n", None),
        ("```\nnever closed", None),
        ("", None),
    ],
)
def test_the_last_fenced_block(text: str, expected: tuple[str, str] | None) -> None:
    assert split_at_fence(text) == expected


def test_the_frame_of_an_observation_is_taken_off_at_its_ends_only() -> None:
    inside = "one\n(Open file: n/a)\nbash-$ \ntwo\nOBSERVATION:\n"
    assert observation_text(inside) == inside
    assert observation_text(f"OBSERVATION:\n{inside}(Open file: a)\n(Interactive session: n/a)\nbash-$ ") == inside


@pytest.mark.parametrize(
    "value",
    [
        {"history": [{"source": "agent", "action": "run", "args": {}}]},
        {"trajectory": [{"role": "assistant", "content": "Hi"}]},
        {"history": [{"role": "user", "content": "Hi"}]},
        {"trajectory": []},
        {"trajectory": "text", "attempts": [3]},
        {"messages": []},
    ],
)
def test_other_rows_do_not_match(value: dict[str, Any]) -> None:
    assert not swe_agent.matches(value)


def test_real_logs(shared_data: Callable[[str], Path]) -> None:
    paths = sorted(shared_data("swe/sweagent").glob("*.traj"))
    logs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    logs = {name: value for name, value in logs.items() if "trajectory" in value}
    found = {name: parse(value) for name, value in logs.items()}
    # Counted by eye.
    assert [len(item.steps) for item in found.values()] == [5, 16, 9, 14, 18, 4, 12, 21, 5, 14, 12, 11, 11, 13, 12, 12]
    assert not any(item.notes for item in found.values())
    for name, value in logs.items():
        trajectory, from_messages = found[name], parse({"history": value["history"]})
        assert actions(trajectory) == [item["action"].strip() for item in value["trajectory"]]
        assert trajectory.steps[-1].text.startswith("submit")
        assert not re.search("INSTRUCTIONS|DEMONSTRATION", trajectory.problem)
        assert from_messages.problem == trajectory.problem
        if name in ("6e44b9__sweagenttestrepo-1c2844", "ctf_crypto_BabyEncryption"):
            # Their messages lack an action: the submission, and an edit that was tried again.
            assert len(from_messages.steps) == len(trajectory.steps) - 1
            continue
        assert actions(from_messages) == actions(trajectory), name
        for told, seen in zip(trajectory.steps[:-1], from_messages.steps, strict=False):
            assert seen.observation.replace(SILENT, "").strip() == told.observation.strip(), name
        if not any("tool_calls" in message for message in value["history"]):
            # The messages alone must give the actions that the harness read out of them.
            bare = [{k: v for k, v in m.items() if k not in ("action", "thought")} for m in value["history"]]
            assert actions(parse({"history": bare})) == actions(trajectory), name


def test_a_real_log_of_messages_only(shared_data: Callable[[str], Path]) -> None:
    value = json.loads(shared_data("swe/sweagent/function_calling_simple.traj").read_text(encoding="utf-8"))
    trajectory = parse(value)
    assert [step.text.split()[0] for step in trajectory.steps] == ["find_file", "open", "edit", "python", "submit"]
    assert trajectory.steps[3].observation == "8.2"


def test_real_logs_made_with_swe_smith(shared_data: Callable[[str], Path]) -> None:
    for name, steps in (("pandas-dev__pandas.95280573.pr_53856", 17), ("pydantic__pydantic.acb0f10f.pr_8316", 22)):
        trajectory = parse(json.loads(shared_data(f"swe/swesmith/{name}.traj").read_text(encoding="utf-8")))
        assert len(trajectory.steps) == steps
        assert not trajectory.problem.startswith("<")
        assert any(text.startswith("str_replace_editor view /testbed/") for text in actions(trajectory))
