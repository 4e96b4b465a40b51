from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl.trajectories.agents import openai_responses
from srl.trajectories.agents.actions import render_call
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import Row, read_rows
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Trajectory


def read(value: dict[str, Any]) -> Trajectory:
    assert openai_responses.matches(value)
    row = Row(value=value, source=Source(file="gym/rollouts.jsonl", row=0), line=1)
    (trajectory,) = openai_responses.parse(row, ReadSettings())
    assert isinstance(trajectory, Trajectory)
    return trajectory


def actions(trajectory: Trajectory) -> list[tuple[str, str, str]]:
    return [(step.text, step.thought, step.observation) for step in trajectory.steps]


def say(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(call_id: str, command: str) -> dict[str, Any]:
    return {"type": "function_call", "name": "bash", "arguments": json.dumps({"command": command}), "call_id": call_id}


def output(call_id: str, text: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


ISSUE = {"type": "message", "role": "user", "content": "<pr_description>\nIt fails.\n</pr_description>\nManual."}


def test_items_of_a_response() -> None:
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "x"},
        say("I look."),
        call("1", "a"),
        call("2", "b"),
        output("2", "B"),
        output("1", [{"type": "input_text", "text": "A"}]),
        say("Again."),
        call("3", "c"),
        output("3", "C"),
        say("Fixed."),
    ]
    value = {"responses_create_params": {"input": [ISSUE]}, "response": {"output": items}, "reward": 1.0}
    trajectory = read({**value, "instance_id": "x__y-1", "_ng_rollout_index": 2, "agent_ref": {"name": "mini"}})
    assert actions(trajectory) == [("a\n\nb", "Hm.\n\nI look.", "A\n\nB"), ("c", "Again.", "C")]
    assert (trajectory.problem, trajectory.trajectory_id) == ("It fails.", "mini-x__y-1-2")
    assert trajectory.notes == {"parallel_calls": 1, "empty_actions": 1}
    assert trajectory.is_right is True


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"responses_create_params": {"input": [], "metadata": {"problem_statement": "It fails."}}}, "It fails."),
        ({"responses_create_params": {"input": "Fix it."}}, "Fix it."),
        ({"responses_create_params": {"input": [], "instructions": "Fix it."}}, "Fix it."),
        ({"instance_dict": '{"problem_statement": "It fails."}', "input": "Manual."}, "It fails."),
        ({"responses_create_params": {"metadata": {"instance_dict": {"problem_statement": "It fails."}}}}, "It fails."),
        ({"input": [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Fix it."}]}, "Fix it."),
    ],
)
def test_where_the_task_stands(value: dict[str, Any], problem: str) -> None:
    items = [call("1", "a"), output("1", "A"), call("2", "b"), output("2", "B")]
    assert read({**value, "response": {"output": items}}).problem == problem


def test_rounds_that_were_put_in_again_come_first() -> None:
    given = [ISSUE, call("1", "a"), output("1", "A")]
    trajectory = read({"input": given, "output": [call("2", "b")]})
    assert actions(trajectory) == [("a", "", "A"), ("b", "", "")]
    assert trajectory.notes == {"truncated_logs": 1}


def test_a_bare_list_of_items() -> None:
    items = [ISSUE, call("1", "a"), output("1", "A"), call("2", "submit")]
    assert [step.text for step in read({"messages": items}).steps] == ["a", "submit"]


def test_other_kinds_of_calls() -> None:
    shell = {"type": "exec", "command": ["bash", "-lc", "ls"], "env": {}, "timeout_ms": 9, "user": None}
    items = [
        ISSUE,
        {"type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin Patch", "call_id": "1"},
        {"type": "custom_tool_call_output", "call_id": "1", "output": "Done"},
        {"type": "local_shell_call", "call_id": "2", "action": shell, "status": "completed"},
        {"type": "local_shell_call_output", "id": "2", "output": '{"stdout": "a.py"}'},
        {"type": "computer_call", "call_id": "3", "action": {"type": "click", "x": 1, "y": 2}},
        {"type": "computer_call_output", "call_id": "3", "output": {"type": "computer_screenshot", "image_url": "u"}},
        {"type": "mcp_list_tools", "tools": []},
        {"type": "mcp_call", "id": "4", "name": "find", "arguments": '{"q": "x"}', "output": "found", "error": None},
        {"type": "web_search_call", "id": "5", "status": "completed", "action": {"type": "search", "query": "x"}},
        say("So."),
        {"type": "code_interpreter_call", "id": "6", "code": "1 + 1", "outputs": [{"type": "logs", "logs": "2"}]},
    ]
    assert actions(read({"output": items})) == [
        ("<function=apply_patch>\n*** Begin Patch\n</function>", "", "Done"),
        ("ls", "", '{"stdout": "a.py"}'),
        (
            render_call("computer", {"type": "click", "x": 1, "y": 2}),
            "",
            '{"type": "computer_screenshot", "image_url": "u"}',
        ),
        (render_call("find", {"q": "x"}), "", "found"),
        # The provider's search has no item for its output, so that what follows belongs to the same turn.
        (
            render_call("web_search", {"type": "search", "query": "x"})
            + "\n\n"
            + render_call("code_interpreter", {"code": "1 + 1"}),
            "So.",
            '[{"type": "logs", "logs": "2"}]',
        ),
    ]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "hologram"},
        {"type": 3},
        {"type": "message", "role": "judge", "content": ""},
        {"type": "message", "role": "assistant", "content": 3},
        {"type": "function_call", "name": None, "arguments": "{}"},
        {"type": "function_call", "name": "a", "arguments": 3},
    ],
)
def test_an_item_that_cannot_be_read_drops_the_row(item: dict[str, Any]) -> None:
    value = {"output": [ISSUE, call("1", "a"), output("1", "A"), call("2", "b"), item]}
    with pytest.raises(RowError, match="wrong_type"):
        read(value)


def test_a_response_without_calls_is_a_written_solution_or_a_chat() -> None:
    question = {"role": "user", "content": "What is 2(2 + 3)?"}
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    value = {"responses_create_params": {"input": [question]}, "reward": 0.0, "expected_answer": "10"}
    solution = "1. **Add** 2 + 3 = 5\n\n2. **Double** so 10"
    solved = read({**value, "response": {"output": [thought, say(solution)]}})
    assert [step.title for step in solved.steps] == ["Add", "Double"]
    assert (solved.kind, solved.problem, solved.solution) == ("solution", "What is 2(2 + 3)?", solution)
    assert (solved.answer, solved.reasoning, solved.is_right) == ("10", "Hm.", False)

    chat = read(
        {**value, "response": {"output": [say("Why?"), {"role": "user", "content": "Tell."}, say("It is 10.")]}}
    )
    assert actions(chat) == [("Why?", "", "Tell."), ("It is 10.", "", "")]
    with pytest.raises(RowError, match="no task"):
        read({"response": {"output": [say(solution)]}})


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"output": ["a", "b"]},
        {"output": "text"},
        {"response": {"choices": []}},
        {"messages": [say("It is 4.")]},
        {"messages": [{"type": "message", "role": "assistant", "content": "a"}] * 2},
    ],
)
def test_what_is_of_another_format(value: dict[str, Any]) -> None:
    assert not openai_responses.matches(value)


@pytest.mark.parametrize(
    ("file", "steps", "notes", "right"),
    [
        # Calls (7 2 2 2 3, 9 14 16 11 18) that were made one by one, and a report at the end of each log.
        ("anyswe_agent_claude_code", [7, 2, 2, 2, 3], {"empty_actions": 5}, 1),
        ("anyswe_agent_hermes", [9, 14, 16, 11, 18], {"empty_actions": 5}, 2),
        # Runs of calls between outputs, counted in the order of the items.
        ("mini_swe_agent_2", [5, 5, 10, 20, 22], {"parallel_calls": 40}, 1),
    ],
)
def test_real_rollouts(
    shared_data: Callable[[str], Path], file: str, steps: list[int], notes: dict[str, int], right: int
) -> None:
    trajectories: list[Trajectory] = []
    for row in read_rows(str(shared_data(f"swe/responses_api/{file}.jsonl"))):
        assert isinstance(row, Row)
        assert openai_responses.matches(row.value)
        trajectories += [item for item in openai_responses.parse(row, ReadSettings()) if isinstance(item, Trajectory)]
    assert [len(trajectory.steps) for trajectory in trajectories] == steps
    totals: dict[str, int] = {}
    for trajectory in trajectories:
        for name, count in trajectory.notes.items():
            totals[name] = totals.get(name, 0) + count
    assert totals == notes
    assert sum(trajectory.is_right is True for trajectory in trajectories) == right
    assert len({trajectory.trajectory_id for trajectory in trajectories}) == 5
    assert all("<pr_description>" not in trajectory.problem for trajectory in trajectories)
    assert not any("<think>" in step.thought for trajectory in trajectories for step in trajectory.steps)
