from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.trajectories.agents import openai_chat, openhands_llm_log
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Trajectory


def read(value: dict[str, Any]) -> Trajectory:
    assert openhands_llm_log.matches(value)
    row = Row(value=value, source=Source(file="logs/call-1757.25.json", row=0), line=1)
    (trajectory,) = openhands_llm_log.parse(row, ReadSettings())
    assert isinstance(trajectory, Trajectory)
    return trajectory


def actions(trajectory: Trajectory) -> list[tuple[str, str, str]]:
    return [(step.text, step.thought, step.observation) for step in trajectory.steps]


def call(call_id: str, name: str, **arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def response(content: str | None, *calls: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "tool_calls": list(calls) or None}
    return {"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"index": 0, "message": message}]}


CALLS = [
    {"role": "system", "content": [{"type": "text", "text": "You are an agent."}]},
    {"role": "user", "content": [{"type": "text", "text": "Write hello.py."}]},
    {"role": "assistant", "content": "I look.", "tool_calls": [call("1", "execute_bash", command="ls")]},
    {"role": "tool", "tool_call_id": "1", "name": "execute_bash", "content": [{"type": "text", "text": "a.py"}]},
]
TEXT = [
    {"role": "system", "content": "You are an agent. Call functions like <function=example>."},
    {
        "role": "user",
        "content": "Here is an example: <function=execute_bash>...\n--- NEW TASK DESCRIPTION ---\nWrite hello.py.\n"
        "--- END OF NEW TASK DESCRIPTION ---\nPLEASE",
    },
    {
        "role": "assistant",
        "content": "I look.\n\n<function=execute_bash>\n<parameter=command>ls</parameter>\n</function>",
    },
    {"role": "user", "content": "EXECUTION RESULT of [execute_bash]:\na.py"},
]
STEPS = [("ls", "I look.", "a.py"), ("python hello.py", "I run it.", "")]


def test_a_log_with_calls() -> None:
    last = call("2", "execute_bash", command="python hello.py", security_risk="LOW")
    trajectory = read({"messages": CALLS, "response": response("I run it.", last), "cost": 0.1, "timestamp": 1757.25})
    assert actions(trajectory) == STEPS
    assert (trajectory.problem, trajectory.trajectory_id) == ("Write hello.py.", "call-1757.25-0")
    assert trajectory.notes == {"truncated_logs": 1}


def test_a_log_with_calls_in_text() -> None:
    # The closing mark was the stop sequence.
    text = "I run it.\n<function=execute_bash>\n<parameter=command>\npython hello.py\n</parameter>\n"
    trajectory = read({"messages": TEXT, "response": response(text)})
    assert actions(trajectory) == STEPS
    assert trajectory.problem == "Write hello.py."


def test_a_value_in_text_may_hold_the_mark_that_closes_it() -> None:
    value = "<parameter=x>1</parameter>\n# the end"
    text = f"<function=note>\n<parameter=text>\n{value}\n</parameter>\n</function>"
    assert actions(read({"messages": TEXT, "response": response(text)}))[1] == (text, "", "")


@pytest.mark.parametrize(("messages", "answer"), [("raw_messages", "response"), ("fncall_messages", "fncall_response")])
def test_of_both_forms_the_one_with_calls_is_read(messages: str, answer: str) -> None:
    last = response("I run it.", call("2", "execute_bash", command="python hello.py"))
    value = {"messages": TEXT, "response": response("<function=wrong></function>"), messages: CALLS, answer: last}
    assert actions(read(value)) == STEPS


def test_a_finish_as_the_last_call_is_no_truncated_log() -> None:
    trajectory = read({"messages": CALLS, "response": response(None, call("2", "finish", message="Done."))})
    assert trajectory.notes == {}


def test_a_first_call_alone_is_too_little() -> None:
    with pytest.raises(RowError, match="too_few_steps"):
        read({"messages": CALLS[:2], "response": response("I look.", call("1", "execute_bash", command="ls"))})


@pytest.mark.parametrize(
    "value",
    [
        {"messages": CALLS},
        {"messages": CALLS, "response": "I look."},
        {"messages": CALLS, "response": {"choices": []}},
        {"messages": CALLS, "response": {"output": []}},
        {"response": response("Hello")},
    ],
)
def test_logs_of_others(value: dict[str, Any]) -> None:
    assert not openhands_llm_log.matches(value)


def test_real_logs(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("swe/openhands_llm_logs")
    found: dict[str, int] = {}
    for path in sorted(folder.glob("*.json")):
        loaded = json.loads(path.read_text())
        value: dict[str, Any] = {"messages": loaded} if isinstance(loaded, list) else loaded
        row = Row(value=value, source=Source(file=str(path), row=0), line=1)
        module = openhands_llm_log if openhands_llm_log.matches(value) else openai_chat
        assert module.matches(value)
        name = f"{module.__name__.rpartition('.')[2]} {path.name[:9]}"
        if path.name.endswith(("5025.972.json", "5054.055.json")):  # the first logs of both series, of one call
            with pytest.raises(RowError, match="too_few_steps"):
                list(module.parse(row, ReadSettings()))
            continue
        (trajectory,) = module.parse(row, ReadSettings())
        assert isinstance(trajectory, Trajectory)
        assert trajectory.problem.startswith("Hello! Can you create")
        assert trajectory.problem.endswith("'Hello, World!'?")
        found[name] = found.get(name, 0) + len(trajectory.steps)
        if module is openhands_llm_log:
            assert trajectory.notes == {"truncated_logs": 1}
    # 2 + 3 + 4 + 5 calls, 2 + 3 calls; of each series the first log has one call and is dropped.
    assert found == {
        "openai_chat fncall-ll": 6,
        "openai_chat nonfncall": 4,
        "openhands_llm_log llm-logs_": 14,
        "openhands_llm_log nonfncall": 5,
    }
