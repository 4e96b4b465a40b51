"""OpenHands' logs of LLM calls: one file per call, with the messages so far and the response to them.

In: ``messages`` and a chat completion as ``response``. The response is the last turn, without an observation. Where
the model has no tool calls of its own, OpenHands writes them as text (``<function=execute_bash>``) and reads the
answers back as text; it then logs the messages in both forms, and the one with calls is taken where it is there
(``raw_messages`` or ``fncall_messages``). Otherwise the text is taken apart.

The decision a reader would question: consecutive logs of one conversation repeat each other, and each is read on its
own; ``srl decompose`` leaves out those that a later log has superseded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from srl.trajectories.agents.actions import split_calls
from srl.trajectories.agents.chat import message_trajectory
from srl.trajectories.agents.logs import (
    items_of,
    object_of,
)
from srl.trajectories.agents.messages import Message, make_call
from srl.trajectories.agents.openai_chat import read_message
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

_CALL_FORM = (("fncall_messages", "fncall_response"), ("raw_messages", "response"))
_RESULT_HEAD = re.compile(r"\AEXECUTION RESULT of \[[^\]\n]*\]:\n?")


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format."""
    messages = items_of(value.get("messages"))
    return bool(messages) and bool(object_of(messages[0]).get("role")) and bool(_choices_in(value.get("response")))


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a log. Raises RowError where a message cannot be read, or there are fewer than two actions."""
    listed, response = items_of(row.value.get("messages")), row.value.get("response")
    for names in _CALL_FORM:
        others = items_of(row.value.get(names[0]))
        if others:
            listed, response = others, row.value.get(names[1])
            break
    answers = [object_of(choice).get("message") for choice in _choices_in(response)[:1]]
    messages = [_with_calls(read_message(item)) for item in [*listed, *answers]]
    yield message_trajectory(row, messages, settings, format="openhands-llm-log")


def _choices_in(response: object) -> Sequence[object]:
    choices = items_of(object_of(response).get("choices"))
    return choices if choices and object_of(object_of(choices[0]).get("message")) else []


def _with_calls(message: Message) -> Message:
    """``message`` with the calls that its text holds, and without the head that the harness puts on answers."""
    if message.role == "user":
        answer = _RESULT_HEAD.sub("", message.text, count=1)
        return message if answer == message.text else Message(role="tool", text=answer)
    if message.role != "assistant" or message.calls:
        return message
    prose, found = split_calls(message.text)
    if not found:
        return message
    calls = tuple(make_call(name, arguments) for name, arguments in found)
    return replace(message, text=prose, calls=calls)
