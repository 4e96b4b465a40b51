r"""mini-swe-agent's logs (.traj.json) -> Trajectory: versions 1 and 2, whole logs and bare lists of messages.

The action is the command that ran: as the log names it (``extra.actions`` of version 2), else the tool calls, else the
text in the agent's block. Which block that is (```mswea_bash_command, ```bash, ```sh, ``<bash_code>``) is decided for
the whole log, by what most of its messages have exactly one of, because a message may show other code beside its
command. As in the harness, a block ends at the first line that begins with its closing mark, and a message without
exactly one block was refused. What it was told then is no observation, and neither is a person's refusal to run a
command. An observation is what the model saw, ``<returncode>`` and all; that of the submission is the submission.

Whether the run was submitted (``exit_status``) says nothing about whether the patch is right. A
``trajectory_format`` that is not known is dropped, not guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from srl.trajectories.agents.actions import END_COMMAND, ends_run
from srl.trajectories.agents.logs import find_statement, find_verdict, object_in, objects_in, reasoning_in, string_in
from srl.trajectories.agents.messages import find_task, text_of
from srl.trajectories.agents.swe_agent import calls_in
from srl.trajectories.agents.turns import Turn, agent_trajectory
from srl.trajectories.fields import read_id, read_label
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

VERSIONS = ("mini-swe-agent-1", "mini-swe-agent-1.1")
# The agent's own name first: where two kinds of block are equally frequent, it is the command.
_BLOCKS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"```mswea_bash_command\s*\n(.*?)\n```",
        r"<mswea_bash_command>(.*?)</mswea_bash_command>",
        r"<bash_code>(.*?)</bash_code>",
        r"```bash\s*\n(.*?)\n```",
        r"```(?:sh|shell)\s*\n(.*?)\n```",
        r"```\s*\n(.*?)\n```",
    )
)
_REFUSAL = re.compile(
    r"\s*(?:Please always provide EXACTLY ONE action|Format error:|Tool call error:|Commands? not executed)"
)
_REFUSAL_TYPES = ("FormatError", "UserRejection")
_TASKS = (
    re.compile(r"\A\s*Please solve this (?:issue|task): *(.*?)\n+You can execute bash commands\b", re.DOTALL),
    re.compile(r"\A\s*Your task: *(.*?)\. Please reply with a single shell command\b", re.DOTALL),
)
_TASK_VARIABLE = re.compile(r"\{\{-?\s*task\s*-?\}\}")


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format."""
    version = value.get("trajectory_format")
    if isinstance(version, str) and version.startswith("mini-swe-agent"):
        return True
    messages = value.get("messages")
    if not isinstance(messages, list):
        return False
    if "mini_version" in object_in(value.get("info")):
        return True
    contents = (object_in(item).get("content") for item in cast("list[object]", messages)[:2])
    return any(isinstance(content, str) and END_COMMAND.search(content) for content in contents)


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a log. Raises RowError where it is of an unknown version."""
    value, info = row.value, object_in(row.value.get("info"))
    version = value.get("trajectory_format")
    if version is not None and version not in VERSIONS:
        known = ", ".join(VERSIONS)
        raise RowError(DropReason.UNKNOWN_VERSION, f"trajectory_format is {version!r:.60}; known are {known}")
    if value.get("messages") is None:
        raise RowError(DropReason.MISSING_FIELD, "no messages")
    messages = objects_in(value["messages"], "messages")
    verdict = find_verdict(value)
    yield agent_trajectory(
        row,
        _turns(_without_epitaph(messages, info)),
        settings=settings,
        format="mini-swe-agent",
        trajectory_id=read_label(value, ("traj_id", "instance_id")) or read_id(value, row.source),
        problem=find_statement(value) or _find_task(messages, info),
        is_right=find_verdict(info) if verdict is None else verdict,
    )


def _turns(messages: Sequence[JsonObject]) -> list[Turn]:
    block = _find_block(messages)
    turns: list[Turn] = []
    for message in messages:
        role, extra = _role(message), object_in(message.get("extra"))
        if role == "assistant" or (role == "user" and extra.get("actions")):  # a person may issue commands, too
            turns.append(_turn(message, extra, block))
        elif extra.get("interrupt_type") == "FormatError" and (not turns or turns[-1].observation is not None):
            turns.append(Turn(action="", observation=_text(message), is_refused=True))  # version 2 logs no more of it
        elif not turns or role in ("system", "developer"):
            continue
        elif role != "exit":
            turns[-1] = _answered(turns[-1], message, extra)
        elif turns[-1].observation is None and extra.get("exit_status") == "Submitted":
            turns[-1] = replace(turns[-1], observation=_text(message))
    return turns


def _turn(message: JsonObject, extra: JsonObject, block: re.Pattern[str]) -> Turn:
    text = _text(message)
    num_calls, is_end, is_refused = 1, False, False
    if isinstance(extra.get("actions"), list):
        commands = [string_in(action, "command").strip() for action in objects_in(extra["actions"], "actions")]
        action, num_calls = "\n\n".join(command for command in commands if command), len(commands)
    elif message.get("tool_calls"):
        calls = calls_in(message)
        action, num_calls = "\n\n".join(call.action for call in calls if call.action), len(calls)
        is_end = any(call.is_end for call in calls)
    else:
        found = block.findall(text)
        action, is_refused = found[0] if found else "", len(found) != 1
    is_typed = message.get("role") == "user"
    return Turn(
        action=action,
        thought="" if is_typed else _without(text, action, block) or reasoning_in(message),
        num_calls=num_calls,
        is_refused=is_refused,
        is_end=is_end or ends_run("bash", action),
    )


def _answered(turn: Turn, message: JsonObject, extra: JsonObject) -> Turn:
    text, before = _text(message), turn.observation
    if before is not None:
        text = f"{before}\n\n{text}" if text.strip() else before
    # Version 2 says what a message is; there, the output of a command may begin with the same words.
    is_refusal = "returncode" not in extra and _REFUSAL.match(_text(message)) is not None
    is_refused = turn.is_refused or is_refusal or extra.get("interrupt_type") in _REFUSAL_TYPES
    return replace(turn, observation=text, is_refused=is_refused)


def _without_epitaph(messages: Sequence[JsonObject], info: JsonObject) -> Sequence[JsonObject]:
    """The messages without the error that ended the run, which version 1 logs as one more message of the user."""
    is_failed = info.get("exit_status") not in (None, "", "Submitted")
    is_unasked = len(messages) > 2 and messages[-1].get("role") == "user" == messages[-2].get("role")
    return messages[:-1] if is_failed and is_unasked else messages


def _find_block(messages: Sequence[JsonObject]) -> re.Pattern[str]:
    """The kind of block that most messages of the agent have exactly one of."""
    texts = [_text(message) for message in messages if _role(message) == "assistant"]
    return max(_BLOCKS, key=lambda block: sum(len(block.findall(text)) == 1 for text in texts))


def _without(text: str, action: str, block: re.Pattern[str]) -> str:
    """The prose beside the command."""
    found = block.search(text)
    return text[: found.start()] + text[found.end() :] if found and found[1].strip() == action.strip() else text


def _find_task(messages: Sequence[JsonObject], info: JsonObject) -> str:
    """The task in the first message of the user: where the log's own template has it, else where the usual ones do."""
    first = next((_text(message) for message in messages if _role(message) == "user"), "")
    agent = object_in(object_in(info.get("config")).get("agent"))
    templates = _task_in_template(string_in(agent, "instance_template"), first)
    marks = (found[1] for pattern in _TASKS if (found := pattern.match(first)))
    return templates or next(marks, "") or find_task(first)


def _task_in_template(template: str, message: str) -> str:
    r"""What stands in ``message`` for ``{{task}}``, judged by the plain text around it; "" where that cannot be told.

    >>> _task_in_template("Solve: {{task}}\n\nYou are on {{system}}.", "Solve: a bug\n\nYou are on Linux.")
    'a bug'
    """
    variable = _TASK_VARIABLE.search(template)
    if variable is None:
        return ""
    before = template[: variable.start()].rpartition("}")[2].strip()
    after = template[variable.end() :].partition("{")[0].strip()
    start = message.find(before)
    end = message.rfind(after, start + len(before)) if after else len(message)
    is_told = (before or not template[: variable.start()].strip()) and (after or not template[variable.end() :].strip())
    return message[start + len(before) : end].strip() if is_told and start >= 0 and end >= 0 else ""


def _role(message: JsonObject) -> str:
    """Who wrote a message; objects of the Responses API say it by their kind."""
    if message.get("role") is None and message.get("object") == "response":
        return "assistant"
    if message.get("role") is None and message.get("type") == "function_call_output":
        return "tool"
    role = string_in(message, "role")
    if role not in ("system", "developer", "user", "assistant", "tool", "function", "exit"):
        raise RowError(DropReason.WRONG_TYPE, f"a message has the role {role!r:.60}, which no version knows")
    return role


def _text(message: JsonObject) -> str:
    """What a message says, also one of the Responses API."""
    if message.get("object") == "response":
        texts = [text_of(item.get("content")) for item in objects_in(message.get("output") or [], "output")]
        return "\n\n".join(text for text in texts if text.strip())
    return text_of(message.get("output") if message.get("type") == "function_call_output" else message.get("content"))
