"""OpenAI chat logs: an assistant's ``tool_calls`` are the action, the tools' messages the observation.

In: ``messages`` or another usual name, with calls in the present form, in the old one (``function_call`` and the role
"function"), in ShareGPT's (messages from "function_call" and "observation"), or as JSON between ``<tool_call>`` marks
in the text. Answers find their calls as messages.py
says: by id within what is still open, so that ids that repeat in a log, or are missing, do no harm. In tau2-bench the
customer has tools as well (``requestor``); the agent sees neither these calls nor their answers.

The decision a reader would question: whether a message without a call is an action. Where a customer or a user's
simulator answers it, it is (tau-bench: half of what the agent does is asking); messages.py has the rule. Rows of
tau-bench (``traj``) in which the agent never called a tool are of this format too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import cast

from srl.trajectories.agents.chat import message_trajectory, read_content, read_reasoning, read_role, role_of
from srl.trajectories.agents.logs import (
    Object,
    find_messages,
    items_of,
    label_of,
    object_of,
    read_object,
)
from srl.trajectories.agents.messages import Call, Message, make_call
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

_TAGGED_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format."""
    items = find_messages(value)
    is_tau_bench = "reward" in value and items is value.get("traj")
    has_calls = is_tau_bench
    for item in items:
        message = object_of(item)
        role = role_of(message)
        if role is None:
            return False
        has_calls = has_calls or (role == "assistant" and _has_calls(message))
    return has_calls


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a row. Raises RowError where a message cannot be read, or there are fewer than two actions."""
    messages = [read_message(item) for item in find_messages(row.value) if not _is_customers_own(object_of(item))]
    yield message_trajectory(row, messages, settings, format="openai-chat")


def read_message(item: object) -> Message:
    """One message of a log. Raises RowError where it cannot be read."""
    message = read_object(item, "a message")
    role = read_role(message)
    if role == "tool":
        call_id = label_of(message.get("tool_call_id") or message.get("id"))
        return Message(role=role, text=read_content(message), call_id=call_id)
    if role != "assistant":
        return Message(role=role, text=read_content(message))
    if message.get("from", message.get("role")) == "function_call":
        return Message(role=role, calls=_read_call_text(read_content(message)))
    text = read_content(message)
    calls = _read_calls(message)
    tagged = [] if calls else _TAGGED_CALL.findall(text)
    if tagged:
        calls = tuple(call for inner in tagged for call in _read_call_text(inner))
        text = _TAGGED_CALL.sub("", text)
    return Message(role=role, text=text, thought=read_reasoning(message), calls=calls)


def _is_customers_own(message: Object) -> bool:
    """Whether a message is between the customer and the customer's own tools."""
    if message.get("requestor") == "user":
        return True
    return message.get("role") == "user" and bool(items_of(message.get("tool_calls"))) and not message.get("content")


def _has_calls(message: Object) -> bool:
    content = message.get("content", message.get("value"))
    return bool(
        (isinstance(content, str) and _TAGGED_CALL.search(content))
        or items_of(message.get("tool_calls"))
        or object_of(message.get("function_call"))
        or message.get("from") == "function_call"
        or message.get("role") == "function_call"
    )


def _read_calls(message: Object) -> tuple[Call, ...]:
    listed = message.get("tool_calls")
    calls: list[Call] = []
    for item in items_of(listed):
        call = read_object(item, "a tool call")
        # Nested as OpenAI has it, or flat as some data sets do; a custom tool takes any text.
        inner = object_of(call.get("function")) or object_of(call.get("custom")) or call
        arguments = inner.get("arguments", inner.get("input"))
        calls.append(make_call(inner.get("name"), arguments, label_of(call.get("id"))))
    if not calls and listed is not None and not isinstance(listed, (list, tuple)) and listed != "":
        raise RowError(DropReason.WRONG_TYPE, f"tool_calls is {type(listed).__name__}, not a list")
    old = message.get("function_call")
    if not calls and isinstance(old, Mapping):
        function = cast("Object", old)
        calls.append(make_call(function.get("name"), function.get("arguments")))
    return tuple(calls)


def _read_call_text(text: str) -> tuple[Call, ...]:
    """The calls in a message that is the JSON text of one, or of a list of them."""
    try:
        value = cast("object", json.loads(text))
    except (ValueError, RecursionError) as error:
        raise RowError(DropReason.WRONG_TYPE, f"a call written as text is no JSON: {error}") from error
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    found = [read_object(item, "a call written as text") for item in listed]
    return tuple(make_call(call.get("name"), call.get("arguments")) for call in found)
