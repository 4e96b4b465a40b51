"""Anthropic message logs: ``tool_use`` blocks are the action, ``tool_result`` blocks the observation.

In: ``messages`` or another usual name, whose content is a list of blocks, or the JSON text of one; the system prompt
stands beside them and is not read. A ``response`` or ``output`` message beside them is the last turn.

The decision a reader would question: a tool that the provider itself runs (``server_tool_use``) counts as a call, and
the agent's message is cut at its result, because what the agent says after it belongs to the next turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from srl.trajectories.agents.chat import message_trajectory, read_role, role_of
from srl.trajectories.agents.logs import (
    Object,
    find_messages,
    items_of,
    label_of,
    object_of,
    read_object,
)
from srl.trajectories.agents.messages import Message, make_call, text_of
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_LAST_FIELDS = ("response", "output")


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format."""
    return any(_has_calls(object_of(item)) for item in [*find_messages(value), *_last_messages(value)])


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a row. Raises RowError where a message cannot be read, or there are fewer than two actions."""
    items = [*find_messages(row.value), *_last_messages(row.value)]
    messages = [part for item in items for part in _read_message(read_object(item, "a message"))]
    yield message_trajectory(row, messages, settings, format="anthropic")


def _last_messages(value: JsonObject) -> list[Object]:
    """The response to the messages, where the log holds it beside them."""
    found = [object_of(value.get(name)) for name in _LAST_FIELDS]
    return [message for message in found if message.get("role") == "assistant" and _blocks_of(message)][:1]


def _has_calls(message: Object) -> bool:
    kinds = [object_of(block).get("type") for block in _blocks_of(message)]
    role = role_of(message)
    return (role == "assistant" and any(kind in _CALLS for kind in kinds if isinstance(kind, str))) or (
        role == "user" and "tool_result" in kinds
    )


def _blocks_of(message: Object) -> Sequence[object]:
    return items_of(message.get("content"))


def _read_message(message: Object) -> list[Message]:
    """The blocks of one message, each as a message of its own; turns_of joins what belongs together."""
    role = read_role(message)
    blocks = _blocks_of(message)
    if not blocks:
        return [Message(role=role, text=text_of(message.get("content")))]
    parts: list[Message] = []
    for item in blocks:
        if isinstance(item, str):
            parts.append(Message(role=role, text=item))
            continue
        block = read_object(item, "a block")
        kind = block.get("type")
        if not isinstance(kind, str):
            raise RowError(DropReason.WRONG_TYPE, f"a block's type is {type(kind).__name__}, not text")
        if kind in _CALLS:
            call = make_call(block.get("name"), block.get("input"), label_of(block.get("id")))
            parts.append(Message(role="assistant", calls=(call,)))
        elif kind.endswith("tool_result"):
            parts.append(_read_result(block))
        elif kind == "thinking":
            parts.append(Message(role=role, thought=text_of(block.get("thinking"))))
        elif kind == "text":
            parts.append(Message(role=role, text=text_of(block.get("text"))))
    return parts


def _read_result(block: Object) -> Message:
    content = block.get("content")
    text = text_of(content)
    if not text and content and block.get("type") != "tool_result":
        # What the provider's own tools bring, search results for instance, has no text block: its titles and addresses.
        entries = [object_of(entry) for entry in (items_of(content) or [content])]
        text = "\n".join(" ".join(_texts(entry, ("title", "url", "stdout", "stderr"))) for entry in entries)
    return Message(role="tool", text=text, call_id=label_of(block.get("tool_use_id")))


def _texts(entry: Object, names: Sequence[str]) -> list[str]:
    return [cast("str", entry[name]) for name in names if isinstance(entry.get(name), str) and entry[name]]
