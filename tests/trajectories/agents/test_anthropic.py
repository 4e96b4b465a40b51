from __future__ import annotations

import json
from typing import Any

import pytest

from srl.trajectories.agents import anthropic
from srl.trajectories.agents.actions import render_call
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Trajectory


def read(value: dict[str, Any]) -> Trajectory:
    assert anthropic.matches(value)
    row = Row(value=value, source=Source(file="claude.jsonl", row=0), line=1)
    (trajectory,) = anthropic.parse(row, ReadSettings())
    assert isinstance(trajectory, Trajectory)
    return trajectory


def actions(trajectory: Trajectory) -> list[tuple[str, str, str]]:
    return [(step.text, step.thought, step.observation) for step in trajectory.steps]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(call_id: str, command: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "bash", "input": {"command": command}}


def result(call_id: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def agent(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


LOG = [
    {"role": "user", "content": "Fix it."},
    agent({"type": "thinking", "thinking": "Hm.", "signature": "x"}, text("I look."), use("1", "a"), use("2", "b")),
    user(result("2", [text("B")]), result("1", "A", is_error=True), text("Hurry.")),
    agent({"type": "redacted_thinking", "data": "x"}, use("3", "c")),
    user(result("3", None)),
    agent(text("Fixed.")),
]


def test_blocks() -> None:
    trajectory = read({"system": "You are an agent.", "messages": LOG, "id": 12, "success": True})
    assert actions(trajectory) == [("a\n\nb", "Hm.\n\nI look.", "A\n\nB\n\nHurry."), ("c", "", "")]
    assert (trajectory.problem, trajectory.trajectory_id) == ("Fix it.", "claude-12")
    assert (trajectory.notes, trajectory.is_right) == ({"parallel_calls": 1, "empty_actions": 1}, True)


def test_blocks_as_the_text_of_json() -> None:
    log = [{**message, "content": json.dumps(message["content"])} for message in LOG]
    log[0]["content"] = "Fix it."
    assert actions(read({"messages": log})) == actions(read({"messages": LOG}))
    assert actions(read({"messages": json.dumps(LOG)})) == actions(read({"messages": LOG}))


def test_the_response_beside_the_messages_is_the_last_turn() -> None:
    last = {"id": "msg_1", "type": "message", "role": "assistant", "content": [text("Then."), use("4", "d")]}
    trajectory = read({"messages": LOG[:3], "response": last})
    assert [step.text for step in trajectory.steps] == ["a\n\nb", "d"]
    assert trajectory.notes["truncated_logs"] == 1


def test_a_tool_of_the_provider_is_answered_inside_the_message() -> None:
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    found = {"type": "web_search_result", "title": "X", "url": "http://x", "encrypted_content": "?"}
    answer = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [found]}
    log = [LOG[0], agent(text("I search."), search, answer, text("I see."), use("1", "a")), user(result("1", "A"))]
    assert actions(read({"messages": log})) == [
        (render_call("web_search", {"query": "x"}), "I search.", "X http://x"),
        ("a", "I see.", "A"),
    ]


@pytest.mark.parametrize(
    "block",
    [
        3,
        {"type": None},
        {"type": "text", "text": 3},
        {"type": "tool_use", "id": "1", "name": None, "input": {}},
        {"type": "tool_use", "id": "1", "name": "bash", "input": [3]},
        {"type": "tool_result", "tool_use_id": "1", "content": 3},
    ],
)
def test_a_block_that_cannot_be_read_drops_the_row(block: Any) -> None:
    row = Row(value={"messages": [*LOG, agent(block)]}, source=Source(file="a", row=0), line=1)
    with pytest.raises(RowError, match="wrong_type"):
        list(anthropic.parse(row, ReadSettings()))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"messages": [LOG[0], agent(text("Hello."))]},
        {"messages": [{"role": "assistant", "content": "tool_use", "tool_calls": [{"type": "tool_use"}]}]},
        {"messages": ["tool_use"]},
        {"response": {"role": "assistant", "content": [text("Hello.")]}},
    ],
)
def test_what_is_of_another_format(value: dict[str, Any]) -> None:
    assert not anthropic.matches(value)
