"""A row that only wraps other rows -> the rows inside.

Some tools write one object around all of their results: camel-ai's STaR ``{"traces": [...]}``, tau2-bench ``{"info":
..., "tasks": [...], "simulations": [...]}``, many others ``{"data": [...]}``. Read as a row it holds nothing.

The decision a reader would question: all rows inside have the number of the row around them, because their own lines
are not known. So that their ids differ all the same, one without an id is called after its place in the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from srl.trajectories.agents.logs import find_messages
from srl.trajectories.fields import ID_FIELDS, PROBLEM_FIELDS, is_blank, present_field, read_id
from srl.trajectories.formats import format_of
from srl.trajectories.rows import JsonObject, Row

LIST_FIELDS = (
    "traces",
    "simulations",
    "trajectories",
    "rollouts",
    "data",
    "rows",
    "examples",
    "instances",
    "records",
    "results",
)
"""What the list of rows is called."""


def unwrap(row: Row) -> Iterator[tuple[str, Row]]:
    """The rows inside with their place ("traces[0]: "), or the row itself, at no place. Total.

    >>> from srl.types import Source
    >>> row = Row(value={"traces": [{"problem": "?"}, {"id": "b"}]}, source=Source(file="star.json", row=0), line=1)
    >>> [(place, inner.value["id"]) for place, inner in unwrap(row)]
    [('traces[0]: ', 'star-0/0'), ('traces[1]: ', 'b')]
    """
    name = _list_field(row.value)
    if name is None:
        yield "", row
        return
    for place, value in enumerate(cast("list[JsonObject]", row.value[name])):
        if all(value.get(field) is None or is_blank(value[field]) for field in ID_FIELDS):
            value = {**value, "id": f"{read_id({}, row.source)}/{place}"}
        yield f"{name}[{place}]: ", replace(row, value=value)


def _list_field(value: JsonObject) -> str | None:
    """The field that holds the rows; None where the value is a row itself."""
    name = next((name for name in LIST_FIELDS if _is_list_of_objects(value.get(name))), None)
    if name is None or present_field(value, PROBLEM_FIELDS) is not None or find_messages(value):
        return None
    return name if format_of(value) == "rows" else None


def _is_list_of_objects(value: object) -> bool:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return bool(items) and all(isinstance(item, Mapping) for item in items)
