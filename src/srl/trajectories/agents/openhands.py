"""OpenHands' event histories: what the agent did is the action, the observation that it caused the observation.

In: ``history`` (``trajectory``, ``events``, or a bare list of events), in four forms: events with ``action`` and
``args`` (``extras`` in the logs that users sent in); the older ones with the arguments beside ``action``; the oldest, a
list of pairs of an action and an observation; and those of the agent SDK, with a ``kind``. Where the event holds the
model's own call (``tool_call_metadata``, ``tool_call``), that is the action, because it is what the agent wrote;
otherwise the event's arguments, without what OpenHands adds.

What the events are:

- run, run_ipython, read, write, edit, browse, browse_interactive, delegate, call_tool_mcp, task_tracking, finish,
  reject, and all names that are not listed here: actions.
- message: the task where the user sends it first. Later ones are what the user says, or what the agent says to the
  user: an action only where a person answers it (see messages.py).
- think: a tool without an effect. Its text is thought and goes before the thought of the next action. This is the
  decision a reader would question.
- system, initialize, recall, null, condensation, condensation_request, agent_state_changed, change_agent_state, start,
  stop, pause, resume, summarize, loop_recovery, and their observations: bookkeeping, left out.
- error, without the action that caused it: the model's call could not be read, and no event holds it. Counted as a
  format error where the agent goes on after it; otherwise it is what ended the run.

Events of one response of the model are one turn, though each is answered before the next one runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

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
from srl.trajectories.agents.messages import Message, find_task, make_call, task_of, text_of, turns_of
from srl.trajectories.agents.turns import agent_trajectory
from srl.trajectories.fields import read_label
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Trajectory

_HISTORY_FIELDS = ("history", "trajectory", "events", "messages")
_BOOKKEEPING = frozenset(
    {
        "agent_state_changed",
        "change_agent_state",
        "condensation",
        "condensation_request",
        "condense",
        "initialize",
        "loop_detection",
        "loop_recovery",
        "null",
        "pause",
        "recall",
        "resume",
        "start",
        "stop",
        "summarize",
        "system",
    }
)
# What an event holds beside the arguments of the action.
_NOT_ARGUMENTS = frozenset(
    {
        "action",
        "action_risk",
        "blocking",
        "cause",
        "confirmation_state",
        "hidden",
        "id",
        "images_urls",
        "image_urls",
        "impl_source",
        "is_confirmed",
        "is_static",
        "keep_prompt",
        "kernel_init_code",
        "kind",
        "llm_metrics",
        "message",
        "security_risk",
        "source",
        "thought",
        "timestamp",
        "tool_call_metadata",
    }
)
_TOOL_OF = {"run": "execute_bash", "run_ipython": "execute_ipython_cell"}
_WHOLE_FILE = ((0, -1), (1, -1))  # start and end of what is read or edited, where nothing was asked
_EVENT_NAME = re.compile("[a-z_]+")
_SDK_KIND = re.compile(r"[A-Z]\w*(?:Event|Observation|Condensation|CondensationRequest)")


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format: the first of its events look like it."""
    return bool(_history_in(value))


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a history. Raises RowError where an event cannot be read, or there are under two actions."""
    messages: list[Message] = []
    left_out: set[str] = set()
    for item in _events_of(_history_in(row.value)):
        event = read_object(item, "an event")
        message = (
            _read_sdk_event(event) if isinstance(event.get("kind"), str) else _read_event(event, messages, left_out)
        )
        if message is not None:
            messages.append(message)
    while messages and messages[-1].role == "refusal":  # nothing came after it: it is what ended the run
        messages.pop()
    yield agent_trajectory(
        row,
        turns_of(messages),
        settings=settings,
        format="openhands",
        trajectory_id=_issue_id(row.value) or read_log_id(row, row.value, object_of(row.value.get("instance"))),
        problem=_task_in(row.value) or task_of(messages),
        is_right=find_verdict(row.value),
    )


def _history_in(value: Object) -> Sequence[object]:
    for name in _HISTORY_FIELDS:
        items = items_of(value.get(name))
        if items and all(_is_event(event) for event in list(_events_of(items[:3]))):
            return items
    return []


def _events_of(items: Sequence[object]) -> Iterator[object]:
    """The events in order, pairs of an action and an observation taken apart."""
    for item in items:
        if isinstance(item, (list, tuple)):
            yield from cast("Sequence[object]", item)
        else:
            yield item


def _is_event(item: object) -> bool:
    event = object_of(item)
    kind = event.get("kind")
    if isinstance(kind, str):
        return _SDK_KIND.fullmatch(kind) is not None
    names = [name for name in (event.get("action"), event.get("observation")) if isinstance(name, str)]
    if not names and {"action", "observation", "source"} <= event.keys():  # "ok" to what the server was told
        return event["action"] is None and event["observation"] is None
    return "role" not in event and len(names) == 1 and _EVENT_NAME.fullmatch(names[0]) is not None


def _issue_id(value: Object) -> str | None:
    """The resolver's rows name the issue by its repository and number."""
    issue = object_of(value.get("issue"))
    parts = [read_label(issue, (name,)) for name in ("owner", "repo", "number")]
    return "{}__{}-{}".format(*parts) if all(parts) else None


def _task_in(value: Object) -> str:
    statement = find_statement(object_of(value.get("instance")), value)
    if statement:
        return statement
    issue = value.get("issue")
    texts = [issue] if isinstance(issue, str) else [object_of(issue).get(name) for name in ("title", "body")]
    found = "\n\n".join(text for text in texts if isinstance(text, str) and text.strip())
    instruction = value.get("instruction")
    return found or (find_task(instruction) if isinstance(instruction, str) else "")


def _read_event(event: Object, before: Sequence[Message], left_out: set[str]) -> Message | None:
    """An event of the app as a message, None where it is bookkeeping; then its id goes to ``left_out``."""
    action, observation = event.get("action"), event.get("observation")
    event_id = label_of(event.get("id"))
    if isinstance(action, str):
        message = None if action in _BOOKKEEPING else _read_action(action, event, before)
        if message is None and event_id:
            left_out.add(event_id)
        return message
    if not isinstance(observation, str) or observation in _BOOKKEEPING:
        return None
    cause = label_of(event.get("cause"))
    if cause in left_out:
        return None
    text = text_of(event.get("content"))
    if observation == "chat":
        return Message(role="user", text=text)
    if observation == "error" and before and not any(cause == call.call_id for call in before[-1].calls):
        return Message(role="refusal", text=text)
    return Message(role="tool", text=text, call_id=cause)


def _read_action(name: str, event: Object, before: Sequence[Message]) -> Message | None:
    place = next((name for name in ("args", "extras") if name in event), None)
    arguments = event if place is None else object_of(event[place])
    source = event.get("source")
    if name == "message":
        # Without a source, it is the user's where the log begins, and where it answers the agent's.
        is_first = not before or (before[-1].role == "assistant" and not before[-1].calls)
        is_user = source == "user" if isinstance(source, str) else is_first
        return Message(role="user" if is_user else "assistant", text=text_of(arguments.get("content")))
    if source == "user":  # a command that the user ran
        return None
    metadata = object_of(event.get("tool_call_metadata"))
    response = object_of(metadata.get("model_response"))
    is_parallel = metadata.get("total_calls_in_response") != 1
    response_id = response.get("id") if is_parallel else None
    written = _written_call(metadata)
    if written is None:
        written = {"name": _TOOL_OF.get(name, name), "arguments": _own_arguments(name, arguments)}
    call = make_call(written.get("name"), written.get("arguments"), label_of(event.get("id")))
    # What think was given is its call's own; the prose beside it stands in the model's message only.
    thought = _model_message(metadata).get("content") if name == "think" else arguments.get("thought")
    return Message(
        role="assistant",
        text=thought if isinstance(thought, str) else "",
        calls=(call,),
        response_id=response_id if isinstance(response_id, str) else "",
    )


def _model_message(metadata: Object) -> Object:
    choices = items_of(object_of(metadata.get("model_response")).get("choices"))
    return object_of(object_of(choices[0]).get("message")) if choices else {}


def _written_call(metadata: Object) -> Object | None:
    """The call as the model wrote it, None where the event does not hold it."""
    for call in items_of(_model_message(metadata).get("tool_calls")):
        if object_of(call).get("id") == metadata.get("tool_call_id"):
            function = object_of(object_of(call).get("function"))
            return function if isinstance(function.get("name"), str) else None
    return None


def _own_arguments(name: str, arguments: Object) -> dict[str, object]:
    kept = {
        key: value for key, value in arguments.items() if key not in _NOT_ARGUMENTS and value not in (None, "", [], {})
    }
    if name == "think":
        kept = {"thought": arguments.get("thought")}
    if (kept.get("start"), kept.get("end")) in _WHOLE_FILE:
        del kept["start"], kept["end"]
    return kept


def _read_sdk_event(event: Object) -> Message | None:
    """An event of the agent SDK as a message, None where it is bookkeeping."""
    call_id = label_of(event.get("tool_call_id"))
    match event.get("kind"):
        case "MessageEvent":
            content = object_of(event.get("llm_message")).get("content")
            return Message(role="assistant" if event.get("source") == "agent" else "user", text=text_of(content))
        case "ActionEvent":
            written = object_of(event.get("tool_call"))
            written = object_of(written.get("function")) or written
            if not isinstance(written.get("name"), str):
                action = object_of(event.get("action"))
                arguments = {key: value for key, value in action.items() if key != "kind" and value is not None}
                written = {"name": event.get("tool_name"), "arguments": arguments}
            reasoning = event.get("reasoning_content")
            return Message(
                role="assistant",
                text=text_of(event.get("thought")),
                thought=reasoning if isinstance(reasoning, str) else "",
                calls=(make_call(written.get("name"), written.get("arguments"), call_id),),
                response_id=label_of(event.get("llm_response_id")),
            )
        case "ObservationEvent":
            observation = object_of(event.get("observation"))
            texts = [text_of(observation[name]) for name in ("content", "output") if observation.get(name) is not None]
            return Message(role="tool", text=texts[0] if texts else "", call_id=call_id)
        case "AgentErrorEvent":
            return Message(role="tool", text=text_of(event.get("error")), call_id=call_id)
        case "UserRejectObservation":
            return Message(role="tool", text=text_of(event.get("rejection_reason")), call_id=call_id)
        case _:
            return None
