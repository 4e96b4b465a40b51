"""A source -> the problems in it, each with its place and id: all that is compared.

Rows with a problem need no solution, so a benchmark is a source like any other. Of an agent's log the task is taken,
as its reader finds it. The decision a reader would question: a row whose solution cannot be cut into steps is compared
too, because whether a problem stands in a benchmark does not depend on its solution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from srl.trajectories.agents.messages import find_task, text_of
from srl.trajectories.containers import unwrap
from srl.trajectories.fields import PROBLEM_FIELDS, check_characters, present_field, read_id, read_text
from srl.trajectories.formats import FORMATS, format_of
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import Row, read_rows
from srl.trajectories.settings import ReadSettings
from srl.types import DroppedRow, Source, Trajectory

NAMES = (*PROBLEM_FIELDS, "messages")
"""Columns of the problem: those of the readers, and a chat, which a row without a solution may have in its place."""
_SOLUTION_FORMATS = frozenset({"gsm8k", "zeroeval", "samples", "traces", "rows"})


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceProblem:
    """A problem and where it stands."""

    problem_id: str
    """The row's own id, else the file's name and the row's number."""
    problem: str
    """The problem statement; for agents the task."""
    source: Source
    """File and row."""


def read_problems(source: str, *, problem_field: str = "") -> Iterator[SourceProblem | DroppedRow]:
    """The problems of whatever ``read_rows`` reads, and the rows without one.

    ``problem_field`` names their column; "" takes the usual names. Raises DataError if there is nothing to read.
    """
    settings = ReadSettings(problem_field=problem_field)
    for row in read_rows(source):
        if isinstance(row, DroppedRow):
            yield row
            continue
        for place, inner in unwrap(row):
            try:
                yield _problem_of(inner, settings)
            except RowError as error:
                yield row.dropped(error.reason, place + error.detail)


def _problem_of(row: Row, settings: ReadSettings) -> SourceProblem:
    names = (settings.problem_field,) if settings.problem_field else NAMES
    name = "rows" if settings.problem_field else format_of(row.value)
    if name in _SOLUTION_FORMATS:
        return _problem_in_field(row, names)
    try:
        for item in FORMATS[name].parse(row, settings):
            if isinstance(item, Trajectory):
                return SourceProblem(problem_id=item.trajectory_id, problem=item.problem, source=item.source)
    except RowError:
        if present_field(row.value, names) is None:
            raise
    return _problem_in_field(row, names)


def _problem_in_field(row: Row, names: Sequence[str]) -> SourceProblem:
    name = present_field(row.value, names)
    found = row.value[name] if name is not None else None
    if name is not None and isinstance(found, Sequence) and not isinstance(found, str):
        # Before the last thing a user says in a prompt, other examples may stand; after the first in a conversation,
        # what the environment answered.
        said = [text for message in cast("Sequence[object]", found) if (text := _said_by_user(message)).strip()]
        task = "" if not said else find_task(said[0]) if name == "messages" else said[-1]
        problem = check_characters(task, name) if task else read_text(row.value, names)
    else:
        problem = read_text(row.value, names)
    return SourceProblem(problem_id=read_id(row.value, row.source), problem=problem, source=row.source)


def _said_by_user(message: object) -> str:
    if not isinstance(message, Mapping):
        return ""
    fields = cast("Mapping[str, object]", message)
    return text_of(fields.get("content")) if fields.get("role") == "user" else ""
