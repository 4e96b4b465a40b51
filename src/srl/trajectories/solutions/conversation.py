"""A chat of one exchange -> problem, solution and thinking.

The user's message is the problem and the assistant's the solution; a system message is the chat's manual and left
out. Roles and keys are those of OpenAI's messages (role, content) and of ShareGPT's conversations (from, value).
Chats of several exchanges are no written solutions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from srl.trajectories.fields import present_field
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject

CHAT_FIELDS = ("messages", "conversations", "conversation", "chat")
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
}
_THINKING_KEYS = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One question and its answer."""

    problem: str
    """The user's message."""
    solution: str
    """The assistant's message."""
    reasoning: str
    """The assistant's thinking where it stands in a field or part of its own, else ""."""


def read_exchange(row: JsonObject) -> Exchange | None:
    """The exchange in a row's chat; None where it has no chat. Raises RowError where the chat is not one exchange."""
    name = present_field(row, CHAT_FIELDS)
    if name is None:
        return None
    turns = [turn for turn in _read_messages(row[name], name) if turn[0] != "system"]
    roles = [role for role, _, _ in turns]
    if roles != ["user", "assistant"]:
        shown = ", ".join(roles[:6]) + (", ..." if len(roles) > 6 else "")
        raise RowError(DropReason.WRONG_TYPE, f"{name} is not one user message and its answer, but: {shown or 'none'}")
    (_, problem, _), (_, solution, reasoning) = turns
    for role, text in (("user", problem), ("assistant", solution)):
        if not text.strip():
            raise RowError(DropReason.EMPTY_FIELD, f"the {role}'s message in {name} is empty")
    return Exchange(problem=problem, solution=solution, reasoning=reasoning)


def message_text(value: object, name: str, role: str) -> str | None:
    """The text of a column that holds a list with a single message of ``role``; None where it holds anything else."""
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(item, Mapping) for item in cast("list[object]", value))
    ):
        return None
    turns = [turn for turn in _read_messages(cast("object", value), name) if turn[0] != "system"]
    return turns[0][1] if [turn[0] for turn in turns] == [role] else None


def _read_messages(value: object, name: str) -> list[tuple[str, str, str]]:
    """(role, text, thinking) of each message."""
    if not isinstance(value, list):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(value).__name__}, not a list of messages")
    turns: list[tuple[str, str, str]] = []
    for place, item in enumerate(cast("list[object]", value)):
        where = f"{name}[{place}]"
        if not isinstance(item, Mapping):
            raise RowError(DropReason.WRONG_TYPE, f"{where} is {type(item).__name__}, not a message")
        message = cast("Mapping[str, object]", item)
        role = message.get("role") or message.get("from")
        known = _ROLES.get(role.casefold()) if isinstance(role, str) else None
        if known is None:
            raise RowError(DropReason.WRONG_TYPE, f"the role of {where} is {ascii(role)[:40]}")
        content = message.get("content") if message.get("content") is not None else message.get("value")
        text, thinking = _read_content(content, where)
        own = _first_text(message.get(key) for key in _THINKING_KEYS)
        turns.append((known, text, own or thinking))
    return turns


def _read_content(content: object, where: str) -> tuple[str, str]:
    """(text, thinking) of a message's content: text, or a list of parts of text and of thinking."""
    if isinstance(content, str) or content is None:
        return content or "", ""
    if not isinstance(content, list):
        raise RowError(DropReason.WRONG_TYPE, f"the content of {where} is {type(content).__name__}")
    texts: list[str] = []
    thinking: list[str] = []
    for item in cast("list[object]", content):
        part = cast("Mapping[str, object]", item) if isinstance(item, Mapping) else {"type": "text", "text": item}
        kind = part.get("type")
        is_thinking = kind in ("thinking", "reasoning")
        text = _first_text(part.get(key) for key in ("text", "thinking", "reasoning"))
        if text is None or not (is_thinking or kind == "text"):
            raise RowError(DropReason.WRONG_TYPE, f"the content of {where} has a part of type {ascii(kind)[:40]}")
        (thinking if is_thinking else texts).append(text)
    return "\n".join(texts), "\n".join(thinking)


def _first_text(values: Iterable[object]) -> str | None:
    """The first that is text and more than white space, else the first that is text."""
    texts = [value for value in values if isinstance(value, str)]
    return next((text for text in texts if text.strip()), texts[0] if texts else None)
