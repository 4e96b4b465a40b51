from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.trajectories.agents import openai_chat
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import Row, read_rows
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Trajectory


def read(value: dict[str, Any]) -> Trajectory:
    assert openai_chat.matches(value)
    row = Row(value=value, source=Source(file="air/line.jsonl", row=2), line=3)
    (trajectory,) = openai_chat.parse(row, ReadSettings())
    assert isinstance(trajectory, Trajectory)
    return trajectory


def actions(trajectory: Trajectory) -> list[tuple[str, str, str]]:
    return [(step.text, step.thought, step.observation) for step in trajectory.steps]


def calls(*items: tuple[str, str, Any], content: str | None = None) -> dict[str, Any]:
    listed = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": given}}
        for call_id, name, given in items
    ]
    return {"role": "assistant", "content": content, "tool_calls": listed}


def tool(call_id: str | None, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


TASK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Book seat 4."}]
BOOK = "<function=book>\n<parameter=seat>\n4\n</parameter>\n</function>"


def test_calls_and_their_answers() -> None:
    log = [
        *TASK,
        {**calls(("1", "bash", '{"command": "ls"}'), content="I look."), "reasoning_content": "Hm."},
        tool("1", "a.py"),
        calls(("2", "book", {"seat": 4}), ("3", "bash", {"command": "pwd"})),
        tool("3", "/src"),
        tool("2", "Booked."),
        {"role": "assistant", "content": "It is booked."},
    ]
    trajectory = read({"messages": log, "id": "row-9", "resolved": True})
    assert actions(trajectory) == [("ls", "Hm.\n\nI look.", "a.py"), (f"{BOOK}\n\npwd", "", "Booked.\n\n/src")]
    assert (trajectory.problem, trajectory.trajectory_id, trajectory.is_right) == ("Book seat 4.", "row-9", True)
    assert trajectory.notes == {"parallel_calls": 1, "empty_actions": 1}


def test_ids_that_repeat_or_are_missing() -> None:
    log = [
        *TASK,
        calls(("1", "bash", '{"command": "a"}')),
        tool("1", "A"),
        calls(("1", "bash", '{"command": "b"}')),
        tool(None, "B"),
    ]
    assert actions(read({"messages": log})) == [("a", "", "A"), ("b", "", "B")]


def test_the_old_form_of_a_call() -> None:
    log = [
        *TASK,
        {"role": "assistant", "content": None, "function_call": {"name": "book", "arguments": '{"seat": 4}'}},
        {"role": "function", "name": "book", "content": "Booked."},
        {
            "role": "assistant",
            "content": "Now this.",
            "function_call": {"name": "bash", "arguments": '{"command": "ls"}'},
        },
    ]
    assert actions(read({"messages": log})) == [(BOOK, "", "Booked."), ("ls", "Now this.", "")]


def test_the_form_of_sharegpt() -> None:
    log = [
        {"from": "human", "value": "Book seat 4."},
        {"from": "function_call", "value": '{"name": "book", "arguments": {"seat": 4}}'},
        {"from": "observation", "value": "Booked."},
        {"from": "gpt", "value": "It is booked. And the meal?"},
        {"from": "human", "value": "No meal."},
        {"from": "gpt", "value": "No meal then."},
    ]
    trajectory = read({"conversations": log, "tools": "[]"})
    assert [step.text for step in trajectory.steps] == [BOOK, "It is booked. And the meal?", "No meal then."]


def test_calls_between_marks_in_the_text() -> None:
    log = [
        *TASK,
        {
            "role": "assistant",
            "content": 'I book.\n<tool_call>\n{"name": "book", "arguments": {"seat": 4}}\n</tool_call>',
        },
        {"role": "tool", "content": "Booked."},
        {"role": "assistant", "content": '<tool_call>{"name": "bash", "arguments": {"command": "ls"}}</tool_call>'},
    ]
    assert actions(read({"messages": log})) == [(BOOK, "I book.", "Booked."), ("ls", "", "")]


def test_messages_as_the_text_of_json() -> None:
    log = [*TASK, calls(("1", "book", '{"seat": 4}')), tool("1", "Booked."), calls(("2", "submit", ""))]
    trajectory = read({"messages": json.dumps(log), "instance_id": "a__b-1"})
    assert [step.text for step in trajectory.steps] == [BOOK, "<function=submit>\n</function>"]
    assert (trajectory.trajectory_id, trajectory.notes) == ("a__b-1", {})


def test_a_row_of_tau_bench() -> None:
    log = [
        *TASK,
        {"role": "assistant", "content": "Which flight?"},
        {"role": "user", "content": "HAT1."},
        calls(("1", "book", '{"seat": 4}')),
        tool("1", "Booked."),
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "###STOP###"},
    ]
    trajectory = read({"task_id": 5, "trial": 1, "reward": 0.0, "traj": log})
    assert actions(trajectory) == [("Which flight?", "", "HAT1."), (BOOK, "", "Booked."), ("Done.", "", "###STOP###")]
    # A number alone would name the fifth task of every benchmark.
    assert (trajectory.trajectory_id, trajectory.is_right) == ("line-5-1", False)


def test_a_simulation_of_tau2_bench() -> None:
    def by(who: str, **message: Any) -> dict[str, Any]:
        return {"turn_idx": 0, "requestor": who, **message}

    log = [
        {"role": "assistant", "content": "Hi! How can I help you?", "tool_calls": None},
        {"role": "user", "content": "My phone is offline.", "tool_calls": None},
        {"role": "assistant", "content": "Please restart it.", "tool_calls": None},
        {"role": "user", "content": None, "tool_calls": [{"id": "u1", "name": "restart", "requestor": "user"}]},
        by("user", role="tool", id="u1", content="Restarted."),
        {"role": "user", "content": "It is on again.", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a1", "name": "ping", "arguments": {"n": 1}}]},
        by("assistant", role="tool", id="a1", content="ok"),
    ]
    trajectory = read({"id": "s", "task_id": "4", "trial": 1, "messages": log, "reward_info": {"reward": 1.0}})
    assert actions(trajectory) == [
        ("Please restart it.", "", "It is on again."),
        ("<function=ping>\n<parameter=n>\n1\n</parameter>\n</function>", "", "ok"),
    ]
    assert (trajectory.problem, trajectory.is_right) == ("My phone is offline.", True)
    assert trajectory.trajectory_id == "line-4-1"


def test_the_statement_of_the_row_is_the_task() -> None:
    log = [*TASK, calls(("1", "bash", '{"command": "a"}')), tool("1", "A"), calls(("2", "submit", "{}"))]
    assert read({"messages": log, "problem_statement": "It fails."}).problem == "It fails."


@pytest.mark.parametrize(
    "message",
    [
        "assistant",
        {"role": "assistant", "content": 4},
        {"role": "judge", "content": ""},
        {"role": ["assistant"], "content": ""},
        {"content": ""},
        {"role": "assistant", "content": "", "tool_calls": 7},
        {"role": "assistant", "content": "", "tool_calls": ["ls"]},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": None}}]},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "a", "arguments": 3}}]},
        {"from": "function_call", "value": "ls"},
        {"from": "function_call", "value": "[3]"},
    ],
)
def test_a_message_that_cannot_be_read_drops_the_row(message: object) -> None:
    row = Row(value={"messages": [*TASK, message]}, source=Source(file="a", row=0), line=1)
    with pytest.raises(RowError, match="wrong_type"):
        list(openai_chat.parse(row, ReadSettings()))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"messages": []},
        {"messages": "not a list"},
        {"messages": TASK},
        {"messages": [*TASK, {"role": "assistant", "content": "Hello.", "tool_calls": []}]},
        {"messages": [*TASK, {"role": "exit", "content": ""}, calls(("1", "a", "{}"))]},
    ],
)
def test_what_is_of_another_format(value: dict[str, Any]) -> None:
    assert not openai_chat.matches(value)


def test_real_conversations_of_tau_bench(shared_data: Callable[[str], Path]) -> None:
    rows = [
        row
        for row in read_rows(str(shared_data("swe/chat_toolcalls/taubench_gpt4o_airline.jsonl")))
        if isinstance(row, Row)
    ]
    assert len(rows) == 40
    num_right = 0
    for row in rows:
        assert openai_chat.matches(row.value)
        (trajectory,) = openai_chat.parse(row, ReadSettings())
        assert isinstance(trajectory, Trajectory)
        said: Any = row.value["traj"]
        spoken = [message for message in said if message["role"] == "assistant"]
        thinking = [message for message in spoken if '"name": "think"' in json.dumps(message.get("tool_calls"))]
        # In these logs every message of the agent has one call or none, and the customer answers each of the latter.
        assert len(trajectory.steps) == len(spoken) - len(thinking)
        assert trajectory.notes == ({"empty_actions": len(thinking)} if thinking else {})
        assert trajectory.problem == said[1]["content"].strip()
        assert trajectory.steps[-1].observation == said[-1]["content"].strip()
        num_right += trajectory.is_right is True
    assert num_right == 14
