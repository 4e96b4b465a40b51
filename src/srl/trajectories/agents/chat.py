"""Plain chat of several rounds: each message of the assistant is an action, what the user answers its observation.

In: ``messages`` or another usual name, with ``role`` and ``content`` or with ``from`` and ``value``. The problem is
what the user says first. The decision a reader would question: a row with one answer is none of these; it is a
written solution, which is cut into steps (formats "rows" and "traces"). The system message is not part of the problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from srl.trajectories.agents.logs import (
    Object,
    find_messages,
    find_statement,
    find_verdict,
    object_of,
    read_log_id,
    read_object,
)
from srl.trajectories.agents.messages import Message, task_of, text_of, turns_of
from srl.trajectories.agents.turns import agent_trajectory
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
}
"""What the roles of chat logs are called, and what they are."""
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format."""
    num_answers = 0
    for item in find_messages(value):
        role = role_of(object_of(item))
        if role is None:
            return False
        num_answers += role == "assistant"
    return num_answers > 1


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a row. Raises RowError where a message cannot be read, or there are fewer than two answers."""
    messages: list[Message] = []
    for item in find_messages(row.value):
        message = read_object(item, "a message")
        messages.append(Message(role=read_role(message), text=read_content(message), thought=read_reasoning(message)))
    yield message_trajectory(row, messages, settings, format="chat", is_chat=True)


def message_trajectory(
    row: Row, messages: Sequence[Message], settings: ReadSettings, *, format: str, is_chat: bool = False
) -> Trajectory:
    """The trajectory of a log of messages, whatever form they were logged in. Raises RowError as agent_trajectory does.

    ``is_chat``: every message of the agent is an action.
    """
    return agent_trajectory(
        row,
        turns_of(messages, is_chat=is_chat),
        settings=settings,
        format=format,
        trajectory_id=read_log_id(row),
        problem=find_statement(row.value) or task_of(messages),
        is_right=find_verdict(row.value),
    )


def role_of(message: Object) -> Literal["system", "user", "assistant", "tool"] | None:
    """Who wrote ``message``, None where that is not known."""
    name = message.get("role", message.get("from"))
    return ROLES.get(name.lower()) if isinstance(name, str) else None


def read_role(message: Object) -> Literal["system", "user", "assistant", "tool"]:
    """Who wrote ``message``. Raises RowError where that is not known."""
    role = role_of(message)
    if role is None:
        name = message.get("role", message.get("from"))
        found = ascii(name)[:40] if isinstance(name, str) else type(name).__name__
        raise RowError(DropReason.WRONG_TYPE, f"a message's role is {found}; known are {', '.join(ROLES)}")
    return role


def read_content(message: Object) -> str:
    """What ``message`` says, in the form of OpenAI or of ShareGPT. Raises RowError where it is no text."""
    return text_of(message.get("content", message.get("value")))


def read_reasoning(message: Object) -> str:
    """The hidden reasoning beside the text, "" where there is none."""
    return next((text for name in _REASONING_FIELDS if isinstance(text := message.get(name), str) and text), "")
