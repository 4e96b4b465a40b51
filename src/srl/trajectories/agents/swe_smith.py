r"""SWE-smith's training rows -> Trajectory: chats in which the assistant writes its function calls as text.

    <function=bash>
    <parameter=command>ls -a</parameter>
    </function>

Also the rows with commands in fences ("ticks"), the published rows whose ``messages`` are JSON text, and rows of other
agents that speak in the same way. Rows with ``tool_calls`` are read as OpenAI chats.

A call is written as actions.py writes tool calls, because the row no longer has the shell line that SWE-agent made of
it; in the run's own .traj file the action is that line.
Answers are kept without
their fixed lead-ins, "OBSERVATION:" and "EXECUTION RESULT of [bash]:".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from srl.trajectories.agents.actions import split_calls
from srl.trajectories.agents.logs import find_statement, find_verdict, object_in, objects_in, string_in
from srl.trajectories.agents.messages import find_task, make_call, text_of
from srl.trajectories.agents.swe_agent import is_harness_text, is_refusal, observation_text, split_at_fence
from srl.trajectories.agents.turns import Turn, agent_trajectory
from srl.trajectories.fields import read_id, read_label
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

_OBSERVATION = re.compile(r"\s*(?:OBSERVATION|Observation):|EXECUTION RESULT of \[")
_ENDINGS = ("submit", "finish", "exit")


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format."""
    messages = value.get("messages")
    if isinstance(messages, str):
        has_calls = "<function=" in messages or ("OBSERVATION:" in messages and "```" in messages)
        return messages.lstrip().startswith("[") and has_calls and not re.search(r'"tool_calls": *\[ *\{', messages)
    if not isinstance(messages, list):
        return False
    entries = [object_in(item) for item in cast("list[object]", messages)]
    said = [_loose_text(entry) for entry in entries if entry.get("role") == "assistant"]
    if any(split_calls(text)[1] for text in said):
        return True
    answers = (_loose_text(entry) for entry in entries if entry.get("role") == "user")
    return any("```" in text for text in said) and any(_OBSERVATION.match(text) for text in answers)


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a row."""
    if row.value.get("messages") is None:
        raise RowError(DropReason.MISSING_FIELD, "no messages")
    messages = objects_in(row.value["messages"], "messages")
    yield agent_trajectory(
        row,
        _turns(messages),
        settings=settings,
        format="swe-smith",
        trajectory_id=read_label(row.value, ("traj_id", "instance_id")) or read_id(row.value, row.source),
        problem=_find_problem(row.value, messages),
        is_right=find_verdict(row.value),
    )


def _turns(messages: Sequence[JsonObject]) -> list[Turn]:
    said = [text_of(message.get("content")) for message in messages if message.get("role") == "assistant"]
    in_ticks = not any(split_calls(text)[1] for text in said)
    turns: list[Turn] = []
    for message in messages:
        role = string_in(message, "role")
        if role == "assistant":
            turns.append(_turn(text_of(message.get("content")), in_ticks=in_ticks))
        elif role in ("user", "tool", "function"):
            if turns:
                turns[-1] = _answered(turns[-1], message)
        elif role not in ("system", "developer"):
            raise RowError(DropReason.WRONG_TYPE, f"a message has the role {role!r:.60}, not one of a chat")
    return turns


def _turn(text: str, *, in_ticks: bool) -> Turn:
    is_harness = is_harness_text(text)
    if in_ticks:
        thought, action = split_at_fence(text) or (text, "")
        is_end = action.strip().startswith(_ENDINGS)
        return Turn(action=action, thought=thought, is_harness=is_harness and not action.strip(), is_end=is_end)
    prose, found = split_calls(text)
    calls = [make_call(name, arguments) for name, arguments in found]
    actions = [call.action for call in calls if call.action]
    return Turn(
        action="\n\n".join(actions),
        thought="\n\n".join(part.strip() for part in (prose, *(call.thought for call in calls)) if part.strip()),
        num_calls=len(actions),
        is_harness=is_harness and not actions,
        is_end=any(call.is_end for call in calls),
    )


def _answered(turn: Turn, message: JsonObject) -> Turn:
    text = observation_text(message.get("content"))
    observation = text if turn.observation is None else f"{turn.observation}\n\n{text}"
    return replace(turn, observation=observation, is_refused=turn.is_refused or is_refusal(text))


def _find_problem(value: JsonObject, messages: Sequence[JsonObject]) -> str:
    """The row's problem statement, else the task in the last message before the agent's first."""
    given = find_statement(value)
    if given:
        return given
    first = ""
    for message in messages:
        if message.get("role") == "assistant":
            break
        if message.get("role") == "user":
            first = text_of(message.get("content"))
    return find_task(first)


def _loose_text(message: JsonObject) -> str:
    """The text of a message of which nothing is known yet, "" if it is not a message at all."""
    try:
        return text_of(message.get("content"))
    except RowError:
        return ""
