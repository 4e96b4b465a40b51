"""What turns become, and that no damage to a log of SWE-agent's family does more than drop it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl.trajectories.agents import mini_swe_agent, swe_agent, swe_smith
from srl.trajectories.agents.logs import object_in, objects_in, string_in
from srl.trajectories.agents.turns import Turn, agent_trajectory
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row
from srl.trajectories.settings import ReadSettings
from srl.types import Source, Trajectory

ROW = Row(value={}, source=Source(file="log.traj", row=0), line=0)


def trajectory_of(*turns: Turn, problem: str = "It crashes.", **more: Any) -> Trajectory:
    more = {"settings": ReadSettings(), **more}
    return agent_trajectory(ROW, turns, format="swe-agent", trajectory_id="a", problem=problem, **more)


def test_a_turn_is_a_step_with_its_thought_and_what_came_back() -> None:
    trajectory = trajectory_of(
        Turn(action="  ls\n", thought=" Look. ", observation="\r\n\na.py\n\n"),
        Turn(action="submit", is_end=True),
    )
    assert [(step.text, step.body, step.thought, step.observation) for step in trajectory.steps] == [
        ("ls", "ls", "Look.", "a.py"),
        ("submit", "submit", "", ""),
    ]
    assert (trajectory.kind, trajectory.splitter, trajectory.answer, trajectory.notes) == ("agent", "turns", None, {})


def test_what_is_left_out_is_counted_by_its_kind() -> None:
    trajectory = trajectory_of(
        Turn(action="ls", observation="a.py"),
        Turn(action="vim a.py", observation="not supported", is_refused=True),
        Turn(action="", observation="Say something."),
        Turn(action=" \n", observation=""),
        Turn(action="cat a.py\n\ncat b.py", observation="1\n\n2", num_calls=2),
        Turn(action="exit_cost", observation="Exited", is_harness=True),
    )
    assert [step.text for step in trajectory.steps] == ["ls", "cat a.py\n\ncat b.py"]
    assert trajectory.notes == {"format_errors": 1, "empty_actions": 2, "parallel_calls": 1, "harness_turns": 1}


@pytest.mark.parametrize(
    ("last", "notes"),
    [
        (Turn(action="cat a.py"), {"truncated_logs": 1}),
        (Turn(action="cat a.py", observation=""), {}),
        (Turn(action="submit", is_end=True), {}),
    ],
)
def test_a_log_is_truncated_where_its_last_action_was_not_answered(last: Turn, notes: dict[str, int]) -> None:
    trajectory = trajectory_of(Turn(action="ls", observation="a.py"), last, Turn(action="", is_refused=True))
    trajectory.notes.pop("format_errors")
    assert trajectory.notes == notes


def test_characters_that_cannot_be_stored_cost_the_log_only_where_they_would_be_learned() -> None:
    trajectory = trajectory_of(
        Turn(action="ls", thought="\ud800", observation="a\x00b"),
        Turn(action="\x00", is_refused=True),
        Turn(action="submit", observation=""),
    )
    assert (trajectory.steps[0].thought, trajectory.steps[0].observation) == ("\ufffd", "a\ufffdb")
    assert trajectory.notes == {"replaced_characters": 1, "format_errors": 1}
    for turns, problem, reason in [
        ([Turn(action="l\x00s"), Turn(action="ls")], "It crashes.", DropReason.NUL_CHARACTER),
        ([Turn(action="\udcff"), Turn(action="ls")], "It crashes.", DropReason.LONE_SURROGATE),
        ([Turn(action="ls"), Turn(action="ls")], "It \x00 crashes.", DropReason.NUL_CHARACTER),
    ]:
        with pytest.raises(RowError) as caught:
            trajectory_of(*turns, problem=problem)
        assert caught.value.reason == reason


def test_logs_without_task_or_two_actions_or_marked_wrong_are_dropped() -> None:
    two = [Turn(action="ls", observation=""), Turn(action="submit", observation="")]
    strict = ReadSettings(only_right=True)
    for turns, more, reason in [
        (two, {"problem": " \n"}, DropReason.EMPTY_FIELD),
        (two[:1], {}, DropReason.TOO_FEW_STEPS),
        ([], {}, DropReason.TOO_FEW_STEPS),
        (two, {"settings": strict, "is_right": False}, DropReason.MARKED_WRONG),
    ]:
        with pytest.raises(RowError) as caught:
            trajectory_of(*turns, **more)
        assert caught.value.reason == reason
    assert trajectory_of(*two, settings=strict, is_right=None).is_right is None


@pytest.mark.parametrize("value", [None, 3, {"a": 1}, "text", "{}", '[{"a": 1}, 2]', [None], "[" * 100_000])
def test_a_list_of_objects_is_nothing_else(value: object) -> None:
    with pytest.raises(RowError):
        objects_in(value, "messages")


def test_loose_reading_never_raises_and_strict_reading_names_the_field() -> None:
    assert object_in(' {"a": 1}') == {"a": 1}
    assert [object_in(value) for value in (None, 3, "[1]", "{", "{" * 100_000, [])] == [{}] * 6
    assert (string_in({}, "action"), string_in({"action": None}, "action")) == ("", "")
    with pytest.raises(RowError, match="action is int"):
        string_in({"action": 3}, "action")


CALL = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
LOGS: list[tuple[Any, dict[str, Any]]] = [
    (
        swe_agent,
        {
            "environment": "main",
            "trajectory": [
                {
                    "action": "ls\n",
                    "observation": "a.py",
                    "response": "Look.",
                    "thought": "Look.",
                    "state": {},
                    "query": [],
                },
                {"action": "", "observation": "", "response": "Hm.", "thought": "Hm.", "query": [{"role": "user"}]},
                {
                    "action": "submit",
                    "observation": "diff",
                    "response": "",
                    "thought": "",
                    "reasoning_content": "Done.",
                },
            ],
            "history": [{"role": "user", "content": "ISSUE:\nIt crashes.\nINSTRUCTIONS:\n", "agent": "main"}],
            "info": {"exit_status": "submitted", "resolved": True},
            "replay_config": '{"problem_statement": {"text": "It crashes."}}',
        },
    ),
    (
        swe_agent,
        {
            "history": [
                {"role": "system", "content": "Help.", "agent": "main", "message_type": "system_prompt"},
                {"role": "user", "content": [{"type": "text", "text": "Demo"}], "is_demo": True, "agent": "main"},
                {"role": "user", "content": "ISSUE:\nIt crashes.\nINSTRUCTIONS:\n", "agent": "main"},
                {"role": "assistant", "content": "Look.", "thought": "Look.", "action": "ls", "tool_calls": [CALL]},
                {"role": "tool", "content": [{"type": "text", "text": "OBSERVATION:\na.py"}], "tool_call_ids": ["c1"]},
                {"role": "assistant", "content": "Done.\n```\nsubmit\n```"},
            ]
        },
    ),
    (
        swe_smith,
        {
            "instance_id": "lib-1",
            "resolved": True,
            "messages": [
                {"role": "system", "content": "Help."},
                {"role": "user", "content": "<pr_description>\nIt crashes.\n</pr_description>"},
                {"role": "assistant", "content": "<function=bash>\n<parameter=command>ls</parameter>\n</function>"},
                {"role": "user", "content": "OBSERVATION:\na.py"},
                {"role": "assistant", "content": [{"type": "text", "text": "<function=submit>\n</function>"}]},
            ],
        },
    ),
    (
        mini_swe_agent,
        {
            "trajectory_format": "mini-swe-agent-1",
            "instance_id": "lib-1",
            "info": {"exit_status": "LimitsExceeded", "config": {"agent": {"instance_template": "Fix: {{task}}"}}},
            "messages": [
                {"role": "system", "content": "Help."},
                {"role": "user", "content": "Fix: it crashes."},
                {"role": "assistant", "content": "Look.\n```bash\nls\n```", "extra": {"response": {}}},
                {"role": "user", "content": "<returncode>0</returncode>"},
                {"role": "assistant", "content": None, "tool_calls": [CALL], "extra": {"actions": [{"command": "ls"}]}},
                {"role": "tool", "content": "a.py", "extra": {"returncode": 0}},
                {"object": "response", "output": [{"type": "message", "content": [{"text": "Next."}]}], "extra": {}},
                {"type": "function_call_output", "output": "b.py"},
                {"role": "exit", "content": "", "extra": {"exit_status": "LimitsExceeded"}},
            ],
        },
    ),
]

texts = st.text(st.characters(exclude_categories=()), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(["[]", "{}", "[{}]", "```\n```"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner),
    max_leaves=5,
)


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values inside ``value``."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in [(*path, key), *paths_in(value[key], (*path, key))]]


@pytest.mark.parametrize("number", range(len(LOGS)))
@given(data=st.data())
def test_a_damaged_log_is_read_or_dropped(number: int, data: st.DataObject) -> None:
    module, log = LOGS[number]
    log = copy.deepcopy(log)
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(paths_in(log)))
        place = log
        for key in way:
            place = place[key]
        place[last] = data.draw(values)
    assert module.matches(log) in (True, False)
    try:
        found = list(module.parse(Row(value=log, source=Source(file="a.json", row=3), line=4), ReadSettings()))
    except RowError:
        return
    assert [type(item) for item in found] == [Trajectory]
    steps = found[0].steps
    text = found[0].trajectory_id + found[0].problem + "".join(s.text + s.thought + s.observation for s in steps)
    assert "\x00" not in text.encode().decode()  # encode refuses half surrogate pairs
    assert all(step.text.strip() for step in steps)


@pytest.mark.parametrize("number", range(len(LOGS)))
def test_the_same_logs_undamaged_are_read(number: int) -> None:
    module, log = LOGS[number]
    assert module.matches(log)
    [trajectory] = module.parse(Row(value=log, source=Source(file="a.json", row=3), line=4), ReadSettings())
    assert len(trajectory.steps) >= 2
