"""OpenAI Responses logs: call items are the action, their output items the observation.

In: the items of ``response.output`` or ``output``, after those of ``input`` (or of ``responses_create_params.input``,
as NeMo-Gym has it), or a list of items as ``messages``. Consecutive items of the agent (reasoning, a message, calls)
are one turn, so that calls before any output are parallel. Tools that the provider itself runs hold their output in
the call.

The task is the issue that the row states on its own (``problem_statement`` of the row, of its metadata or of its
``instance_dict``); only where there is none, what the user says first.

The decision a reader would question: a response without a single call is read as well. One answer is a written
solution and is cut into steps; several are a chat, and each message an action.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from srl.trajectories.agents.chat import ROLES, read_role
from srl.trajectories.agents.logs import (
    Object,
    find_statement,
    find_verdict,
    items_of,
    label_of,
    object_of,
    read_log_id,
    read_object,
)
from srl.trajectories.agents.messages import Message, make_call, task_of, text_of, turns_of
from srl.trajectories.agents.turns import agent_trajectory
from srl.trajectories.fields import read_answer, read_label
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.trajectories.solutions.solution import solution_trajectory
from srl.types import DroppedRow, Trajectory

# Of the provider's own tools, what stands in the call beside its arguments.
_NOT_ARGUMENTS = frozenset({"type", "id", "call_id", "status", "output", "outputs", "result", "results", "error"})
_RESULTS = ("output", "outputs", "result", "results", "error")
_SILENT = frozenset({"mcp_list_tools", "item_reference", "compaction", "compaction_summary"})


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format: it holds items with a call among them, or a response with an answer."""
    return _has_call(items := _items_in(value)) or ("messages" not in value and any(map(_is_answer, items)))


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a row. Raises RowError where an item cannot be read, or there are fewer than two actions."""
    request = object_of(row.value.get("responses_create_params"))
    metadata = object_of(request.get("metadata"))
    messages = [message for item in _items_in(row.value) for message in _read_item(item)]
    instructions = request.get("instructions", row.value.get("instructions"))
    label = read_log_id(row, row.value, metadata)
    agent = read_label(object_of(row.value.get("agent_ref")), ("name",))
    trajectory_id = f"{agent}-{label}" if agent else label
    problem = (
        find_statement(row.value, metadata, _instance_in(row.value), _instance_in(metadata))
        or task_of(messages)
        or (instructions if isinstance(instructions, str) else "")
    )
    has_call = _has_call(_items_in(row.value))
    answers = [message.text for message in messages if message.role == "assistant" and message.text.strip()]
    if not has_call and len(answers) == 1:
        if not problem.strip():
            raise RowError(DropReason.EMPTY_FIELD, "the log has no task")
        yield solution_trajectory(
            row,
            settings=settings,
            format="openai-responses",
            trajectory_id=trajectory_id,
            problem=problem.strip(),
            solution=answers[0],
            answer=read_answer(row.value),
            reasoning="\n\n".join(message.thought for message in messages if message.thought),
            is_right=find_verdict(row.value),
        )
        return
    yield agent_trajectory(
        row,
        turns_of(messages, is_chat=not has_call),
        settings=settings,
        format="openai-responses",
        trajectory_id=trajectory_id,
        problem=problem,
        is_right=find_verdict(row.value),
    )


def _has_call(items: Sequence[object]) -> bool:
    return any(isinstance(kind := object_of(item).get("type"), str) and _is_call(kind) for item in items)


def _is_answer(item: object) -> bool:
    """Whether an item is a message of the model as the API returns it."""
    message = object_of(item)
    parts = [object_of(part).get("type") for part in items_of(message.get("content"))]
    return message.get("type") == "message" and message.get("role") == "assistant" and "output_text" in parts


def _is_call(kind: str) -> bool:
    return kind.endswith("_call") and kind != "tool_call"


def _items_in(value: Object) -> Sequence[object]:
    """What was put in and what came out, in order; only the latter has to be there."""
    response = object_of(value.get("response"))
    output = items_of(response.get("output")) or items_of(value.get("output"))
    request = value if "input" in value else object_of(value.get("responses_create_params"))
    given = request.get("input")
    if isinstance(given, str) and not items_of(given):
        given = [{"type": "message", "role": "user", "content": given}]
    items = [*items_of(given), *output]
    if not items:
        items = items_of(value.get("messages")) or items_of(value.get("items"))
    is_log = bool(items) and all(isinstance(item, Mapping) for item in items)
    return items if is_log and any("type" in cast("Object", item) for item in items) else []


def _instance_in(value: Object) -> Object:
    instance = value.get("instance_dict")
    if not isinstance(instance, str):
        return object_of(instance)
    try:
        return object_of(cast("object", json.loads(instance)))
    except (ValueError, RecursionError):
        return {}


def _read_item(item: object) -> list[Message]:
    value = read_object(item, "an item")
    kind = value.get("type", "message")
    if not isinstance(kind, str):
        raise RowError(DropReason.WRONG_TYPE, f"an item's type is {type(kind).__name__}, not text")
    if kind == "message" or (kind not in _SILENT and value.get("role") in ROLES):
        return [Message(role=read_role(value), text=text_of(value.get("content")))]
    if kind == "reasoning":
        thoughts = (text_of(value.get("content")), text_of(value.get("summary")))
        return [Message(role="assistant", thought=next((text for text in thoughts if text), ""))]
    if kind.endswith("_output"):
        return [Message(role="tool", text=_read_output(value.get("output")), call_id=_call_id_of(value))]
    if _is_call(kind):
        return _read_call(kind.removesuffix("_call"), value)
    if kind in _SILENT or kind.startswith("mcp_approval"):
        return []
    raise RowError(DropReason.WRONG_TYPE, f"an item of the type {ascii(kind)[:40]}, which is not known")


def _read_call(kind: str, value: Object) -> list[Message]:
    """A call, and its output where that stands in the same item."""
    call_id = _call_id_of(value)
    if kind in ("function", "custom_tool", "mcp"):
        arguments = value.get("input") if kind == "custom_tool" else value.get("arguments")
        call = make_call(value.get("name"), arguments, call_id)
    else:
        # The tools that the API names itself: local_shell, shell, computer, apply_patch, web_search, ...
        inner = object_of(value.get("action")) or object_of(value.get("operation"))
        arguments = {key: inner[key] for key in inner if not (kind.endswith("shell") and key in ("type", "env"))}
        if not inner:
            arguments = {key: value[key] for key in value if key not in _NOT_ARGUMENTS}
        call = make_call(kind, arguments, call_id)
    messages = [Message(role="assistant", calls=(call,))]
    name = next((name for name in _RESULTS if value.get(name) is not None), None)
    if name is not None:
        messages.append(Message(role="tool", text=_read_output(value[name]), call_id=call_id))
    return messages


def _call_id_of(value: Object) -> str:
    return label_of(value.get("call_id") or value.get("id"))


def _read_output(output: object) -> str:
    """The text of an output, which some tools give as an object or as a list of objects."""
    is_content = output is None or isinstance(output, (str, Mapping, list, tuple))
    text = text_of(cast("object", output)) if is_content else ""
    if text or not output:
        return text
    try:
        return json.dumps(output, ensure_ascii=False, default=str)
    except (RecursionError, TypeError, ValueError) as error:
        raise RowError(DropReason.WRONG_TYPE, f"an output cannot be written as JSON: {error}") from error
