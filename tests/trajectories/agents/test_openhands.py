from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.trajectories.agents import openhands
from srl.trajectories.agents.actions import render_call
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import Row, read_rows
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Trajectory


def read(value: dict[str, Any], *, only_right: bool = False) -> Trajectory:
    row = Row(value=value, source=Source(file="runs/output.jsonl", row=3), line=4)
    assert openhands.matches(value)
    (trajectory,) = openhands.parse(row, ReadSettings(only_right=only_right))
    assert isinstance(trajectory, Trajectory)
    return trajectory


def actions(trajectory: Trajectory) -> list[tuple[str, str, str]]:
    return [(step.text, step.thought, step.observation) for step in trajectory.steps]


def user(text: str) -> dict[str, Any]:
    return {"id": 1, "source": "user", "action": "message", "args": {"content": text}}


def act(event_id: int, name: str, **args: Any) -> dict[str, Any]:
    return {"id": event_id, "source": "agent", "action": name, "args": args}


def saw(cause: int | None, name: str, content: str) -> dict[str, Any]:
    return {"id": 100, "source": "environment", "cause": cause, "observation": name, "content": content, "extras": {}}


def written(event: dict[str, Any], tool: str, arguments: str, response: str = "r", total: int = 1) -> dict[str, Any]:
    """The event with the model's own call."""
    call_id = f"call_{event['id']}"
    call = {"id": call_id, "type": "function", "function": {"name": tool, "arguments": arguments}}
    message = {"role": "assistant", "content": "Beside it.", "tool_calls": [call]}
    metadata = {
        "function_name": tool,
        "tool_call_id": call_id,
        "model_response": {"id": response, "choices": [{"message": message}]},
        "total_calls_in_response": total,
    }
    return {**event, "tool_call_metadata": metadata}


START = [act(0, "system", content="You are an agent."), user("Fix the parser.")]


def test_events_with_the_models_own_calls() -> None:
    history = [
        *START,
        {"id": 2, "source": "user", "action": "recall", "args": {"query": "Fix"}},
        saw(2, "recall", "Added workspace context"),
        written(act(3, "run", command="ls", thought="I look.", blocking=False), "execute_bash", '{"command": "ls"}'),
        saw(3, "run", "parser.py"),
        {"id": 5, "source": "environment", "observation": "agent_state_changed", "content": "", "extras": {}},
        written(act(6, "read", path="/p.py", start=0, end=-1, thought="I read."), "editor", '{"command": "view"}'),
        saw(6, "read", "1 def parse(): ..."),
        written(act(8, "finish", final_thought="Done.", thought="All good."), "finish", '{"message": "Done."}'),
    ]
    trajectory = read({"instance_id": "parser-1", "history": history, "report": {"resolved": True}})
    view = render_call("editor", {"command": "view"})
    assert actions(trajectory) == [
        ("ls", "I look.", "parser.py"),
        (view, "I read.", "1 def parse(): ..."),
        ("<function=finish>\n<parameter=message>\nDone.\n</parameter>\n</function>", "All good.", ""),
    ]
    assert (trajectory.trajectory_id, trajectory.problem) == ("parser-1", "Fix the parser.")
    assert (trajectory.is_right, trajectory.notes, trajectory.kind) == (True, {}, "agent")


def test_events_without_them_are_written_from_their_arguments() -> None:
    history = [
        *START,
        act(3, "run", command="ls", is_input=False, thought="", hidden=False, security_risk=-1, cwd=None),
        saw(3, "run", "parser.py"),
        act(4, "run_ipython", code="print(1)", thought="", kernel_init_code="import x"),
        saw(4, "run_ipython", "1"),
        act(5, "read", path="/parser.py", start=0, end=-1, thought="", impl_source="default"),
        saw(5, "read", "def"),
        act(
            6,
            "edit",
            path="/parser.py",
            command="insert",
            insert_line=0,
            new_str="import re",
            old_str=None,
            start=1,
            end=-1,
        ),
        saw(6, "edit", "edited"),
        act(7, "browse", url="http://localhost", thought=""),
    ]
    trajectory = read({"history": history})
    assert [step.text for step in trajectory.steps] == [
        "ls",
        "<function=execute_ipython_cell>\n<parameter=code>\nprint(1)\n</parameter>\n</function>",
        "<function=read>\n<parameter=path>\n/parser.py\n</parameter>\n</function>",
        "<function=edit>\n<parameter=path>\n/parser.py\n</parameter>\n<parameter=command>\ninsert\n</parameter>\n"
        "<parameter=insert_line>\n0\n</parameter>\n<parameter=new_str>\nimport re\n</parameter>\n</function>",
        "<function=browse>\n<parameter=url>\nhttp://localhost\n</parameter>\n</function>",
    ]
    assert trajectory.trajectory_id == "output-3"
    assert trajectory.notes == {"truncated_logs": 1}


def test_the_older_form_has_its_arguments_beside_the_action() -> None:
    history = [
        {"content": "# Problem Statement\nAdd it.", "action": "message", "wait_for_response": False},
        {"command": "touch a", "thought": "First.", "keep_prompt": True, "action": "run", "is_confirmed": "confirmed"},
        {"content": "$ ", "command_id": -1, "command": "touch a", "exit_code": 0, "observation": "run"},
        {"content": "Is that all?", "action": "message", "wait_for_response": True},
        {"content": "Yes.", "action": "message"},
        {"outputs": {}, "thought": "Then done.", "action": "finish"},
    ]
    value = {
        "issue": {"owner": "ann", "repo": "box", "number": 7, "title": "Add a", "body": "It is missing."},
        "history": history,
        "success": False,
    }
    trajectory = read(value)
    assert actions(trajectory) == [
        ("touch a", "First.", "$ "),
        ("Is that all?", "", "Yes."),
        ("<function=finish>\n</function>", "Then done.", ""),
    ]
    assert (trajectory.trajectory_id, trajectory.problem) == ("ann__box-7", "Add a\n\nIt is missing.")
    assert trajectory.is_right is False
    with pytest.raises(RowError, match="marked_wrong"):
        read(value, only_right=True)


def test_logs_that_users_sent_in_have_all_fields_and_their_arguments_in_extras() -> None:
    def event(source: str = "agent", **given: Any) -> dict[str, Any]:
        return {"action": None, "observation": None, "content": None, "extras": None, "source": source, **given}

    log = [
        event("environment", action="initialize", extras={"AGENT": "A"}),
        event("environment", content="ok"),
        event(observation="agent_state_changed", content="", extras={"agent_state": "init"}),
        event("user", action="message", content="Fix it.", extras={"content": "Fix it."}),
        event(id=8, action="run_ipython", extras={"code": "x", "thought": "Look.", "kernel_init_code": "import y"}),
        event(id=9, observation="run_ipython", content="1", extras={"code": "x"}),
        event(id=10, action="run", extras={"command": "ls", "thought": ""}, message="Running command: ls"),
        event(id=11, observation="run", content="a.py", extras={"command": "ls"}),
    ]
    trajectory = read({"version": "1.0", "feedback": "positive", "trajectory": log})
    cell = "<function=execute_ipython_cell>\n<parameter=code>\nx\n</parameter>\n</function>"
    assert actions(trajectory) == [(cell, "Look.", "1"), ("ls", "", "a.py")]
    assert trajectory.problem == "Fix it."


def test_the_oldest_form_is_a_list_of_pairs() -> None:
    nothing = {"observation": "null", "content": "", "extras": {}}
    pairs = [
        [user("Fix it."), nothing],
        [act(3, "run", command="ls", thought="I look."), saw(3, "run", "a.py")],
        [act(4, "finish", outputs={"content": "ok"}, thought=""), nothing],
    ]
    assert actions(read({"instance_id": "a", "history": pairs})) == [
        ("ls", "I look.", "a.py"),
        ('<function=finish>\n<parameter=outputs>\n{"content": "ok"}\n</parameter>\n</function>', "", ""),
    ]


def test_events_of_the_sdk() -> None:
    history = [
        {"kind": "SystemPromptEvent", "source": "agent", "system_prompt": {"text": "You are an agent."}},
        {
            "kind": "MessageEvent",
            "source": "user",
            "llm_message": {"role": "user", "content": [{"type": "text", "text": "Fix it."}]},
        },
        {
            "kind": "ActionEvent",
            "source": "agent",
            "thought": [{"type": "text", "text": "I look."}],
            "reasoning_content": "Hm.",
            "action": {"kind": "TerminalAction", "command": "ls", "is_input": False},
            "tool_name": "terminal",
            "tool_call_id": "c1",
            "tool_call": {"id": "c1", "name": "terminal", "arguments": '{"command": "ls", "security_risk": "LOW"}'},
            "llm_response_id": "r1",
        },
        {"kind": "TokenEvent", "source": "agent"},
        {
            "kind": "ObservationEvent",
            "source": "environment",
            "tool_call_id": "c1",
            "observation": {"content": [{"type": "text", "text": "a.py"}], "exit_code": 0},
        },
        {
            "kind": "ActionEvent",
            "source": "agent",
            "thought": [],
            "action": {"kind": "FileEditorAction", "command": "view", "path": "/a.py", "view_range": None},
            "tool_name": "file_editor",
            "tool_call_id": "c2",
            "llm_response_id": "r2",
        },
        {"kind": "AgentErrorEvent", "source": "agent", "tool_call_id": "c2", "error": "No such file"},
    ]
    trajectory = read({"instance_id": "a", "history": history})
    view = render_call("file_editor", {"command": "view", "path": "/a.py"})
    assert actions(trajectory) == [("ls", "Hm.\n\nI look.", "a.py"), (view, "", "No such file")]


def test_calls_of_one_response_are_one_turn_though_each_is_answered_before_the_next() -> None:
    history = [
        *START,
        written(act(3, "run", command="a", thought="Both."), "execute_bash", '{"command": "a"}', "r1", 2),
        saw(3, "run", "A"),
        written(act(4, "run", command="b", thought=""), "execute_bash", '{"command": "b"}', "r1", 2),
        saw(4, "run", "B"),
        # Another response that was given the same id, with one call.
        written(act(5, "run", command="c", thought=""), "execute_bash", '{"command": "c"}', "r1", 1),
        saw(5, "run", "C"),
    ]
    trajectory = read({"history": history})
    assert actions(trajectory) == [("a\n\nb", "Both.", "A\n\nB"), ("c", "", "C")]
    assert trajectory.notes == {"parallel_calls": 1}


def test_thinking_is_thought() -> None:
    history = [
        *START,
        act(3, "run", command="a", thought=""),
        saw(3, "run", "A"),
        act(4, "think", thought="Why A?"),
        saw(4, "think", "Your thought has been logged."),
        act(5, "run", command="b", thought="So."),
        saw(5, "run", "B"),
    ]
    trajectory = read({"history": history})
    assert actions(trajectory) == [("a", "", "A"), ("b", "Why A?\n\nSo.", "B")]
    assert trajectory.notes == {"empty_actions": 1}


def test_an_error_without_its_action_is_a_format_error_only_where_the_agent_goes_on() -> None:
    history = [
        *START,
        act(3, "run", command="a", thought=""),
        saw(3, "run", "A"),
        saw(None, "error", "Parameter 'command' is missing"),
        act(5, "run", command="b", thought=""),
        saw(5, "error", "No shell"),
        saw(None, "error", "The agent reached its maximum iteration"),
    ]
    trajectory = read({"history": history})
    assert actions(trajectory) == [("a", "", "A"), ("b", "", "No shell")]
    assert trajectory.notes == {"format_errors": 1}


def test_what_the_user_runs_is_not_the_agents() -> None:
    history = [
        *START,
        act(3, "run", command="a", thought=""),
        saw(3, "run", "A"),
        {"id": 5, "source": "user", "action": "run", "args": {"command": "git init"}},
        saw(5, "run", "Initialized"),
        act(4, "finish", thought=""),
    ]
    assert actions(read({"history": history})) == [("a", "", "A"), ("<function=finish>\n</function>", "", "")]


def test_a_bare_list_of_events() -> None:
    events = [*START, act(3, "run", command="a"), saw(3, "run", "A"), act(4, "run", command="b")]
    assert [step.text for step in read({"messages": events}).steps] == ["a", "b"]


@pytest.mark.parametrize(
    "value",
    [
        {"history": []},
        {"history": [{"role": "assistant", "content": "", "action": "ls"}]},
        {"trajectory": [{"action": "ls", "observation": "a.py", "response": ""}]},
        {"history": [{"action": "ls -la"}]},
        {"history": ["run"]},
        {"messages": [{"role": "user", "content": "Hello"}]},
    ],
)
def test_logs_of_others(value: dict[str, Any]) -> None:
    assert not openhands.matches(value)


def test_real_histories(shared_data: Callable[[str], Path]) -> None:
    rows = list(read_rows(str(shared_data("swe/openhands/multi_swe_bench_output.jsonl"))))
    first, second = [item for row in rows if isinstance(row, Row) for item in openhands.parse(row, ReadSettings())]
    assert isinstance(first, Trajectory)
    assert isinstance(second, Trajectory)
    # 23 calls, of which one thinks; 33 calls, and one that could not be read.
    assert (len(first.steps), first.notes) == (22, {"empty_actions": 1})
    assert (len(second.steps), second.notes) == (33, {"format_errors": 1})
    assert (first.trajectory_id, second.trajectory_id) == ("ponylang__ponyc-4595", "ponylang__ponyc-4593")
    assert first.problem.startswith("ponyc segfaults when trying to match")
    assert "<issue" not in first.problem
    assert first.steps[5].observation == "29:DECL(pattern);"
    assert all(step.text.startswith("<function=finish>") for step in (first.steps[-1], second.steps[-1]))


def test_a_real_history_of_the_older_form(shared_data: Callable[[str], Path]) -> None:
    (row,) = read_rows(str(shared_data("swe/openhands/resolver_output.jsonl")))
    assert isinstance(row, Row)
    assert openhands.matches(row.value)
    (trajectory,) = openhands.parse(row, ReadSettings())
    assert isinstance(trajectory, Trajectory)
    heads = [step.text.partition("\n")[0] for step in trajectory.steps]
    assert heads == ["touch LICENSE", "<function=execute_ipython_cell>", "cat LICENSE", "<function=finish>"]
    assert (trajectory.trajectory_id, trajectory.is_right) == ("neubig__pr-viewer-5", True)
