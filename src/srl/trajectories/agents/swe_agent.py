r"""SWE-agent's logs (.traj) -> Trajectory: all versions, with a ``trajectory``, a ``history`` or both.

The action is the command as the environment ran it (``action``), also where the agent called functions: the harness
turns every call into one shell line (``str_replace_editor view /x``), so that logs with fences, with ``<command>`` and
with tool calls give the same kind of action. Only messages without ``action`` are parsed: tool calls are written as in
actions.py, text is read as the harness does, the last block counts.

``trajectory`` is preferred, because it has the answers as the environment gave them, the last one included. Out of a
``history`` they are taken without the frame that the prompt puts around them ("OBSERVATION:", the open file, the
directory, the shell prompt). Demonstrations (``is_demo``) are not the run. Line ends are kept, "\r\n" too.

Turns that the harness wrote when a limit was reached (``exit_cost``, "Exit due to ...") are no actions of the expert.
That the patch was submitted says nothing about whether it is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from srl.trajectories.agents.logs import find_statement, find_verdict, object_in, objects_in, reasoning_in, string_in
from srl.trajectories.agents.messages import Call, find_task, make_call, text_of
from srl.trajectories.agents.turns import Turn, agent_trajectory
from srl.trajectories.fields import read_id, read_label
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

# "ai", "text" and "system_prompt" are what tables of SWE-agent runs call the assistant, content and the system prompt.
_ASSISTANT = ("assistant", "ai")
_FRAME_START = re.compile(r"\A(?:OBSERVATION|Observation):[ \t]*\r?\n?|\AEXECUTION RESULT of \[[^\]\n]*\]:[ \t]*\r?\n?")
_STATE_LINE = re.compile(r"\((?:Open file|Current directory|Interactive session): [^\n]*\)\s*|bash-\$\s*")
_REFUSAL = re.compile(
    r"\s*(?:Your output was not formatted correctly|Your last output did not use any tool calls"
    r"|Your last output included multiple tool calls|Your action could not be parsed properly"
    r"|Your bash command contained syntax errors and was NOT executed"
    r"|Operation '.{0,2000}?' is not supported by this environment)",
    re.DOTALL,
)
_HARNESS_ACTION = re.compile(
    r"exit_(?:context|cost|format|api|error|early|environment_error|command_timeout|total_execution_time)"
)
_HARNESS_TEXT = re.compile(r"(?:Exit|Exiting) due to ")
_END = re.compile(r"(?:submit|exit|exit_forfeit|exit_command|finish)\b")
_DEMONSTRATION = "Here is a demonstration of how to correctly accomplish this task"
_CHALLENGE = re.compile(r"\AWe're currently solving the following CTF challenge\.\s*(.*?)\n+INSTRUCTIONS:\n", re.DOTALL)
_COMMAND = "<command>", "</command>"
_FENCE = re.compile(r"^```([^\n]*)\n?", re.MULTILINE)


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format."""
    return any(_is_log(value.get(name)) for name in ("trajectory", "history")) or _is_log_of_attempts(value)


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a log; of several attempts the one that the run chose, else the last one."""
    value = row.value
    if value.get("trajectory") is None and value.get("history") is None and value.get("attempts") is not None:
        attempts = objects_in(value["attempts"], "attempts")
        value = {**value, **attempts[-1]} if attempts else value
    entries = objects_in(value.get("trajectory") or [], "trajectory")
    history = objects_in(value.get("history") or [], "history")
    is_table = any("role" in entry for entry in entries)
    if is_table:
        history, entries = entries, []
    if not entries and not history:
        raise RowError(DropReason.MISSING_FIELD, "neither trajectory nor history holds anything")
    messages = [message for message in history if not _is_demonstration(message)]
    verdict = find_verdict({"resolved": value.get("target"), **value})
    yield agent_trajectory(
        row,
        _turns_of_entries(entries) if entries else _turns_of_messages(messages),
        settings=settings,
        format="swe-agent",
        trajectory_id=_trajectory_id(row, is_table=is_table),
        problem=_find_problem(value, messages or _first_query(entries)),
        is_right=find_verdict(object_in(value.get("info"))) if verdict is None else verdict,
    )


def observation_text(content: object) -> str:
    r"""What the environment answered, without the frame that SWE-agent's prompts put around it.

    >>> observation_text("OBSERVATION:\nmain.py\n(Open file: n/a)\n(Current directory: /repo)\nbash-$")
    'main.py\n'
    """
    text = _FRAME_START.sub("", text_of(content), count=1)
    lines = text.splitlines(keepends=True)
    while lines and _STATE_LINE.fullmatch(lines[-1]):
        lines.pop()
    return "".join(lines)


def is_refusal(observation: str) -> bool:
    """Whether an answer says that SWE-agent ran nothing and asks for another format or command."""
    return _REFUSAL.match(observation) is not None


def is_harness_text(text: str) -> bool:
    """Whether a message of the agent was written by SWE-agent because a limit ended the run."""
    return _HARNESS_TEXT.match(text.strip()) is not None


def calls_in(message: JsonObject) -> list[Call]:
    """The ``tool_calls`` of a chat message, [] where it has none. Raises RowError where they cannot be read."""
    entries = objects_in(message.get("tool_calls") or [], "tool_calls")
    functions = [object_in(entry.get("function")) or entry for entry in entries]
    return [make_call(function.get("name"), function.get("arguments")) for function in functions]


def split_at_fence(text: str) -> tuple[str, str] | None:
    r"""Prose and command of a message: the command is the last fenced block; None where there is none.

    A fence stands at the beginning of a line. A block inside another one belongs to it.

    >>> split_at_fence("Look around.\n\n```\nls -a\n```")
    ('Look around.\n\n', 'ls -a\n')
    """
    opened: list[re.Match[str]] = []
    block: tuple[re.Match[str], re.Match[str]] | None = None
    for mark in _FENCE.finditer(text):
        if opened and not mark[1].strip():
            start = opened.pop()
            block = block if opened else (start, mark)
        elif mark[0].endswith("\n") and not re.search(r"\S\s+\S|`", mark[1]):
            opened.append(mark)
    if block is None:
        return None
    start, end = block
    return text[: start.start()] + text[end.end() :], text[start.end() : end.start()]


def _turns_of_entries(entries: Sequence[JsonObject]) -> list[Turn]:
    turns: list[Turn] = []
    for index, entry in enumerate(entries):
        action, response = string_in(entry, "action"), string_in(entry, "response")
        thought = string_in(entry, "thought") or (response if not action.strip() else "")
        given = entry.get("observation")
        observation = None if given is None else text_of(given)
        is_harness = _is_harness(action, thought)
        following = entries[index + 1] if index + 1 < len(entries) else {}
        # The harness records what it did not run with the action, if one could be parsed, and without an answer.
        is_unanswered = not (observation or "").strip()
        is_refused = is_refusal(observation or "") or (
            is_unanswered and (_asks_again(following) or (not action and response.strip() != ""))
        )
        turns.append(
            Turn(
                action=action,
                thought=_without_action(thought, action) or reasoning_in(entry),
                observation=observation,
                is_refused=is_refused and not is_harness,
                is_harness=is_harness,
                is_end=_END.match(action.strip()) is not None,
            )
        )
    return turns


def _turns_of_messages(messages: Sequence[JsonObject]) -> list[Turn]:
    has_tags = _speaks_in_tags(messages)
    turns: list[Turn] = []
    for message in messages:
        role = string_in(message, "role")
        if role not in (*_ASSISTANT, "system", "user", "tool"):
            raise RowError(DropReason.WRONG_TYPE, f"a message has the role {role!r:.60}, not one of SWE-agent's")
        if role in _ASSISTANT:
            turns.append(_turn_of_message(message, has_tags=has_tags))
        elif role != "system" and turns:
            text, before = observation_text(_content(message)), turns[-1].observation
            turns[-1] = replace(
                turns[-1],
                observation=text if before is None else f"{before}\n\n{text}",
                is_refused=turns[-1].is_refused or is_refusal(text),
            )
    return turns


def _turn_of_message(message: JsonObject, *, has_tags: bool) -> Turn:
    content = text_of(_content(message))
    calls = calls_in(message)
    thought, action = string_in(message, "thought") or content, string_in(message, "action")
    if not action.strip() and calls:
        action = "\n\n".join(call.action for call in calls if call.action)
    elif not action.strip():
        found = _split_at_tags(content) if has_tags else split_at_fence(content)
        thought, action = found or (content, "")
    is_harness = _is_harness(action, thought)
    return Turn(
        action=action,
        thought=_without_action(thought, action) or reasoning_in(message),
        num_calls=max(len(calls), 1),
        is_harness=is_harness,
        is_end=_END.match(action.strip()) is not None or any(call.is_end for call in calls),
    )


def _split_at_tags(text: str) -> tuple[str, str] | None:
    """Prose and command, where the command stands between the last ``<command>`` and the last ``</command>``."""
    opening, closing = _COMMAND
    start, end = text.rfind(opening), text.rfind(closing)
    if start < 0 or end < start:
        return None
    return text[:start] + text[end + len(closing) :], text[start + len(opening) : end]


def _speaks_in_tags(messages: Sequence[JsonObject]) -> bool:
    """Whether the agent puts its commands between tags, and not in fences, in most of its messages."""
    texts = [text_of(_content(message)) for message in messages if message.get("role") in _ASSISTANT]
    tagged = sum(_split_at_tags(text) is not None for text in texts)
    return tagged > sum(split_at_fence(text) is not None and _split_at_tags(text) is None for text in texts)


def _without_action(thought: str, action: str) -> str:
    """The prose alone, where a log repeats the whole message as the thought."""
    if thought.strip() == action.strip():
        return ""
    for split in (split_at_fence, _split_at_tags):
        found = split(thought)
        if found and action.strip() and found[1].strip() == action.strip():
            return found[0]
    return thought


def _is_harness(action: str, thought: str) -> bool:
    return _HARNESS_ACTION.fullmatch(action.strip()) is not None or (not action.strip() and is_harness_text(thought))


def _asks_again(entry: JsonObject) -> bool:
    """Whether what the agent was asked for this entry ends with a complaint about the entry before."""
    query = entry.get("query")
    last = cast("list[object]", query)[-1] if isinstance(query, list) and query else None
    return object_in(last).get("message_type") == "user"


def _find_problem(value: JsonObject, messages: Sequence[JsonObject]) -> str:
    """The problem statement of the row, of its replay settings, or of the first message to the agent."""
    replayed = object_in(object_in(value.get("replay_config")).get("problem_statement"))
    given = find_statement(value, {"problem_statement": replayed.get("text")})
    if given:
        return given
    first = ""
    for message in messages:
        if message.get("role") in _ASSISTANT:
            break
        if message.get("role") != "system":
            first = text_of(_content(message))
    challenge = _CHALLENGE.match(first)
    return challenge[1] if challenge else find_task(first)


def _first_query(entries: Sequence[JsonObject]) -> list[JsonObject]:
    """What the agent was first asked, where the entries themselves tell it."""
    for name in ("query", "messages"):
        if entries and entries[0].get(name):
            return [m for m in objects_in(entries[0][name], name) if not _is_demonstration(m)]
    return []


def _is_demonstration(message: JsonObject) -> bool:
    if message.get("is_demo") is True or message.get("message_type") == "demonstration":
        return True
    content = _content(message)
    return isinstance(content, str) and content.startswith(_DEMONSTRATION)


def _trajectory_id(row: Row, *, is_table: bool) -> str:
    """The instance; with the row's number in tables, where one instance was run many times."""
    instance = read_label(row.value, ("instance_id",))
    if instance is None:
        return read_id(row.value, row.source)
    return f"{instance}-{row.source.row}" if is_table else instance


def _is_log(value: object) -> bool:
    if not isinstance(value, list) or not value:
        return False
    items = cast("list[object]", value)
    first = object_in(items[0])
    if "role" not in first:
        return "action" in first and any(name in first for name in ("response", "thought", "state"))
    if any(name in first for name in ("agent", "message_type", "is_demo")):
        return True
    return any(object_in(item).get("role") == "ai" for item in items[:4])  # messages in a table of runs


def _is_log_of_attempts(value: JsonObject) -> bool:
    attempts = value.get("attempts")
    last = object_in(cast("list[object]", attempts)[-1]) if isinstance(attempts, list) and attempts else {}
    return any(_is_log(last.get(name)) for name in ("trajectory", "history"))


def _content(message: JsonObject) -> object:
    return message.get("content") if message.get("content") is not None else message.get("text")
