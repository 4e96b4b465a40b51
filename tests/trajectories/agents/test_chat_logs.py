from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srl.trajectories.agents import anthropic, chat, openai_chat, openai_responses, openhands, openhands_llm_log
from srl.trajectories.agents.logs import find_verdict, items_of, label_of, read_log_id
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Source, Trajectory

SOURCE = Source(file="talk/lines.jsonl", row=4)


def read(value: dict[str, Any]) -> Trajectory:
    assert chat.matches(value)
    (trajectory,) = chat.parse(Row(value=value, source=SOURCE, line=5), ReadSettings())
    assert isinstance(trajectory, Trajectory)
    return trajectory


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


TALK = [
    message("system", "Be brief."),
    message("user", "Who wrote it?"),
    message("assistant", "<think>A riddle.</think>\n\nAnn."),
    message("user", "When?"),
    message("assistant", [{"type": "text", "text": "In May."}]),
]


def test_each_answer_is_an_action() -> None:
    trajectory = read({"messages": TALK, "reward": 0})
    assert [(step.text, step.thought, step.observation) for step in trajectory.steps] == [
        ("Ann.", "A riddle.", "When?"),
        ("In May.", "", ""),
    ]
    assert (trajectory.problem, trajectory.trajectory_id) == ("Who wrote it?", "lines-4")
    assert (trajectory.is_right, trajectory.notes, trajectory.format) == (False, {}, "chat")


def test_an_answer_that_the_user_demands_a_call_for_is_an_action_too() -> None:
    log = [message("user", "How?"), message("assistant", "So."), message("user", "You did not use a tool."), *TALK[4:]]
    assert [step.text for step in read({"messages": log}).steps] == ["So.", "In May."]


def test_the_form_of_sharegpt() -> None:
    log = [
        {"from": "human", "value": "Who?"},
        {"from": "gpt", "value": "Ann."},
        {"from": "human", "value": "When?"},
        {"from": "gpt", "value": "In May."},
    ]
    trajectory = read({"id": "talk_7", "conversations": log})
    assert [step.text for step in trajectory.steps] == ["Ann.", "In May."]
    assert (trajectory.problem, trajectory.trajectory_id) == ("Who?", "talk_7")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"messages": TALK[:3]},  # one answer: a written solution
        {"messages": "who?"},
        {"messages": [*TALK, message("judge", "Good.")]},
        {"messages": [*TALK, "Good."]},
        {"messages": [{"action": "ls"}]},
    ],
)
def test_what_is_of_another_format(value: dict[str, Any]) -> None:
    assert not chat.matches(value)


def test_a_talk_without_a_question_has_no_task() -> None:
    row = Row(value={"messages": TALK[2:3] * 2}, source=SOURCE, line=5)
    with pytest.raises(RowError, match="empty_field"):
        list(chat.parse(row, ReadSettings()))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "lines-4"),
        ({"id": "a"}, "a"),
        ({"id": 3}, "lines-3"),
        ({"instance_id": "x__y-1", "id": "a"}, "x__y-1"),
        ({"instance_id": "x__y-1", "traj_id": "x__y-1.t3"}, "x__y-1.t3"),
        ({"task_id": 3, "trial": 2}, "lines-3-2"),
        ({"instance_id": "x__y-1", "_ng_rollout_index": 0}, "x__y-1-0"),
    ],
)
def test_the_id_of_a_log(value: dict[str, Any], expected: str) -> None:
    assert read_log_id(Row(value=value, source=SOURCE, line=5)) == expected


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        ({}, None),
        ({"resolved": False, "reward": 1}, False),
        ({"reward": 1}, True),
        ({"reward": -1.0}, False),
        ({"reward": 0.3}, None),
        ({"reward": float("nan")}, None),
        ({"reward": "1.0"}, None),
        ({"report": {"resolved": True}}, True),
        ({"test_result": {"report": {"resolved": False}}}, False),
        ({"test_result": {"resolved": True}}, True),
        ({"report": [1]}, None),
    ],
)
def test_the_verdict_of_a_row(value: dict[str, Any], verdict: bool | None) -> None:
    assert find_verdict(value) is verdict


def test_names_and_lists_of_any_value() -> None:
    assert [label_of(value) for value in ("a", 3, True, None, 2.5, 10**5000)] == ["a", "3", "", "", "", ""]
    assert [list(items_of(value)) for value in ([1], (1,), "[1]", "[1", "1", {"a": 1}, "[" * 100_000)] == [
        [1],
        [1],
        [1],
        [],
        [],
        [],
        [],
    ]


def function(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


CALL = {"role": "assistant", "content": "I look.", "tool_calls": [function("bash", '{"command": "ls"}')]}
SEEN = {"role": "tool", "tool_call_id": "1", "content": "a.py"}
EVENT = {
    "id": 3,
    "source": "agent",
    "action": "run",
    "args": {"command": "ls", "thought": "I look.", "timeout": 3},
    "tool_call_metadata": {
        "tool_call_id": "1",
        "model_response": {"id": "r", "choices": [{"message": {"content": "Hm.", "tool_calls": CALL["tool_calls"]}}]},
        "total_calls_in_response": 2,
    },
}
THOUGHT = {"id": 4, "source": "agent", "action": "think", "args": {"thought": "Why?"}}
FINISH = {"id": 5, "source": "agent", "action": "finish", "args": {"outputs": {"a": 1}}}
RAN = {"id": 6, "source": "environment", "cause": 3, "observation": "run", "content": "a.py", "extras": {"a": []}}
ERROR = {"observation": "error", "content": "Bad call.", "cause": None}
ASKED = {"id": 1, "source": "user", "action": "message", "args": {"content": "Fix it."}}
SDK_CALL = {
    "kind": "ActionEvent",
    "thought": [{"type": "text", "text": "I look."}],
    "reasoning_content": "Hm.",
    "action": {"kind": "TerminalAction", "command": "ls"},
    "tool_name": "terminal",
    "tool_call_id": "c",
    "tool_call": {"name": "terminal", "arguments": '{"command": "ls"}'},
    "llm_response_id": "r",
}
SDK_SEEN = {"kind": "ObservationEvent", "tool_call_id": "c", "observation": {"content": [{"text": "a.py"}]}}
SDK_ASKED = {
    "kind": "MessageEvent",
    "source": "user",
    "llm_message": {"role": "user", "content": [{"text": "Fix it."}]},
}
ITEMS = [
    {"type": "message", "role": "user", "content": "Fix it."},
    {"type": "reasoning", "summary": [{"text": "Hm."}], "content": None},
    {"type": "function_call", "name": "bash", "arguments": '{"command": "ls"}', "call_id": "1"},
    {"type": "function_call_output", "call_id": "1", "output": [{"text": "a.py"}]},
    {"type": "local_shell_call", "call_id": "2", "action": {"command": ["bash", "-lc", "ls"], "env": {}}},
    {"type": "mcp_call", "id": "3", "name": "find", "arguments": "{}", "output": {"a": 1}, "error": None},
]
BLOCKS = [
    message("user", "Fix it."),
    message(
        "assistant",
        [{"type": "thinking", "thinking": "Hm."}, {"type": "tool_use", "id": "1", "name": "a", "input": {"b": 1}}],
    ),
    message("user", [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "A"}]}]),
    message(
        "assistant",
        [{"type": "server_tool_use", "id": "2", "name": "s", "input": {}}, {"type": "s_tool_result", "content": [{}]}],
    ),
    message("assistant", '[{"type": "tool_use", "id": "3", "name": "bash", "input": {"command": "ls"}}]'),
]
TEXT_CALL = message("assistant", "I look. <function=execute_bash>\n<parameter=command>ls</parameter>\n</function>")
SDK_NEXT = {**SDK_CALL, "llm_response_id": "s", "tool_call": None}
OLD_CALL = {"role": "assistant", "content": None, "function_call": {"name": "a", "arguments": "{}"}}
OLD_SEEN = {"role": "function", "name": "a", "content": "A"}
OLD_EVENTS = [
    {"action": "message", "content": "Fix it."},
    {"action": "run", "command": "a", "thought": "I look."},
    {"observation": "run", "content": "A", "exit_code": 0},
    {"action": "finish", "outputs": {}, "thought": "Done."},
]
ISSUE = {"title": "It fails.", "body": None, "owner": "a", "repo": "b", "number": 1}
TEXT_SEEN = message("user", "EXECUTION RESULT of [execute_bash]:\na.py")
PARAMS = {"input": [], "instructions": "Fix it.", "metadata": {"problem_statement": "It fails."}}
SHAPES: list[tuple[Any, dict[str, Any]]] = [
    (chat, {"messages": TALK, "id": "a", "reward": 1.0, "problem_statement": None}),
    (openai_chat, {"messages": [*TALK[:2], CALL, SEEN, TALK[2], TALK[3], CALL, SEEN], "task_id": 3, "trial": 1}),
    (openai_chat, {"traj": [*TALK[:2], OLD_CALL, OLD_SEEN, TALK[2], TALK[3], TALK[4]], "reward": 0}),
    (openhands, {"history": [ASKED, EVENT, RAN, THOUGHT, ERROR, FINISH], "instance": {"problem_statement": "a"}}),
    (openhands, {"history": [[ASKED, RAN], [EVENT, RAN], [FINISH, ERROR]], "test_result": {"report": {}}}),
    (openhands, {"history": OLD_EVENTS, "issue": ISSUE, "success": True}),
    (openhands, {"history": [SDK_ASKED, SDK_CALL, SDK_SEEN, SDK_NEXT, {"kind": "AgentErrorEvent", "error": "x"}]}),
    (openhands_llm_log, {"messages": [*TALK[:2], CALL, SEEN], "response": {"choices": [{"message": CALL}]}}),
    (
        openhands_llm_log,
        {"messages": [TALK[1], TEXT_CALL, TEXT_SEEN], "response": {"choices": [{"message": TEXT_CALL}]}},
    ),
    (openai_responses, {"response": {"output": ITEMS}, "responses_create_params": PARAMS, "agent_ref": {"name": "a"}}),
    (openai_responses, {"input": ITEMS[:4], "output": ITEMS[2:], "instance_dict": '{"problem_statement": 3}'}),
    (anthropic, {"system": "a", "messages": BLOCKS, "response": BLOCKS[1]}),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "text", "content", "name", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def damage(value: Any, chance: random.Random, junk: Any) -> None:
    """Put ``junk`` in the place of some node of ``value``, anywhere below it."""
    while isinstance(value, (dict, list)) and value:
        key: Any = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if chance.random() < 0.25 or not isinstance(value[key], (dict, list)) or not value[key]:
            value[key] = junk
            return
        value = value[key]


@pytest.mark.parametrize(("module", "value"), SHAPES)
def test_a_whole_row_of_each_shape_is_read(module: Any, value: dict[str, Any]) -> None:
    assert module.matches(value)
    (trajectory,) = module.parse(Row(value=value, source=SOURCE, line=5), ReadSettings())
    assert isinstance(trajectory, Trajectory)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(SHAPES) - 1), st.randoms(use_true_random=False), st.lists(VALUES, min_size=1, max_size=3))
def test_a_damaged_row_is_read_or_refused(shape: int, chance: random.Random, junk: list[Any]) -> None:
    value = copy.deepcopy(SHAPES[shape][1])
    for item in junk:
        damage(value, chance, item)
    for module in (chat, openai_chat, openhands, openhands_llm_log, openai_responses, anthropic):
        assert isinstance(module.matches(value), bool)
        try:
            found = list(module.parse(Row(value=value, source=SOURCE, line=5), ReadSettings()))
        except RowError:
            continue
        assert all(isinstance(item, (Trajectory, DroppedRow)) for item in found)
