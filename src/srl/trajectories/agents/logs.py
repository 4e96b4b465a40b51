"""A row that holds an agent's log: where its messages, its id, its task and its verdict stand.

The decision a reader would question: an id that is only a number gets the file's name before it, because the fifth
task of two benchmarks is not the same task; and a rollout's number is put behind, because a task is often run twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

from srl.trajectories.fields import read_id, read_label
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row

Object = Mapping[str, object]

MESSAGE_FIELDS = ("messages", "traj", "trajectory", "conversations", "conversation", "history")
_OWN_ID_FIELDS = ("trajectory_id", "traj_id")
_TASK_ID_FIELDS = ("instance_id", "task_id")
_ROLLOUT_FIELDS = ("trial", "_ng_rollout_index", "rollout_index")
_VERDICT_FIELDS = ("resolved", "is_resolved", "success", "solved", "passed", "correct", "reward")
_REPORTS = (("report",), ("test_result",), ("test_result", "report"), ("reward_info",))


def object_of(value: object) -> Object:
    """``value`` where it is an object, else an empty one."""
    return cast("Object", value) if isinstance(value, Mapping) else {}


def label_of(value: object) -> str:
    """``value`` where it can name something: text or a number; else "". Total."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 64
    return str(value) if is_number else ""


def items_of(value: object) -> Sequence[object]:
    """``value`` where it is a list, or the list that it is the JSON text of, else an empty one. Total.

    >>> items_of('[1, 2]'), items_of("text"), items_of(None)
    ([1, 2], [], [])
    """
    if isinstance(value, str):
        return _list_in(value)
    return cast("Sequence[object]", value) if isinstance(value, (list, tuple)) else []


@lru_cache(maxsize=4)  # every format in turn looks into the same texts of a row; nobody changes what is in them
def _list_in(text: str) -> Sequence[object]:
    if not text.startswith("["):
        return []
    try:
        value = cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return []
    return cast("Sequence[object]", value) if isinstance(value, list) else []


def find_messages(value: Object) -> Sequence[object]:
    """The list under the first usual name that holds one with an object in front, else an empty one. Total."""
    for name in MESSAGE_FIELDS:
        items = items_of(value.get(name))
        if items and isinstance(items[0], Mapping):
            return items
    return []


def read_object(item: object, what: str) -> Object:
    """``item`` where it is an object. Raises RowError otherwise; ``what`` names it there."""
    if not isinstance(item, Mapping):
        raise RowError(DropReason.WRONG_TYPE, f"{what} is {type(item).__name__}, not an object")
    return cast("Object", item)


def read_log_id(row: Row, *places: Object) -> str:
    """The id of the log, looked for in ``places`` (the row itself where none is given), else file and row."""
    label = None
    for place in places or (row.value,):
        own = read_label(place, _OWN_ID_FIELDS)
        if own:
            return own
        label = label or read_label(place, _TASK_ID_FIELDS)
    if not label:
        label = read_id(row.value, row.source)
    if label.isdecimal():
        label = f"{read_id({}, row.source).rpartition('-')[0]}-{label}"
    rollout = read_label(row.value, _ROLLOUT_FIELDS)
    return f"{label}-{rollout}" if rollout else label


def find_statement(*places: Object) -> str:
    """The first ``problem_statement`` that is text, "" where there is none."""
    for place in places:
        statement = place.get("problem_statement")
        if isinstance(statement, str) and statement.strip():
            return statement
    return ""


def find_verdict(value: Object) -> bool | None:
    """Whether the row is marked as right (resolved, rewarded), None where it says nothing. Total.

    A reward of 1 or more is right, one of 0 or less wrong; one between says that it is neither.

    >>> find_verdict({"reward": 1.0}), find_verdict({"report": {"resolved": False}}), find_verdict({"reward": 0.5})
    (True, False, None)
    """
    places = [value]
    for path in _REPORTS:
        place = value
        for name in path:
            place = object_of(place.get(name))
        places.append(place)
    for place in places:
        for name in _VERDICT_FIELDS:
            mark = place.get(name)
            if isinstance(mark, bool):
                return mark
            if isinstance(mark, (int, float)) and (mark >= 1 or mark <= 0):
                return mark >= 1
    return None


def objects_in(value: object, name: str) -> list[JsonObject]:
    """The objects in a list, or in the JSON text of one, as some tables hold it. Raises RowError if it is neither.

    >>> objects_in('[{"role": "user"}]', "messages")
    [{'role': 'user'}]
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowError(DropReason.BAD_JSON, f"{name} is text, but not JSON: {error}") from error
    if not isinstance(value, list):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(value).__name__}, not a list")
    items = cast("list[object]", value)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise RowError(DropReason.WRONG_TYPE, f"{name}[{index}] is {type(item).__name__}, not an object")
    return cast("list[JsonObject]", items)


def object_in(value: object) -> JsonObject:
    """``value`` if it is an object, or the object in its JSON text; an empty one otherwise.

    For what a log may hold beside its turns and what can be missing, not for the turns themselves.
    """
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def string_in(entry: JsonObject, name: str) -> str:
    """The text in a field, "" where it is null or not there. Raises RowError if it is something else."""
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {type(value).__name__}, not text")
    return value or ""


def reasoning_in(message: JsonObject) -> str:
    """A message's ``reasoning_content``: the thought of turns in which the model wrote nothing else."""
    value = message.get("reasoning_content")
    return value if isinstance(value, str) else ""
