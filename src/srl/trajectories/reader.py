"""Rows -> Trajectories (4.2 of the paper). Solutions that do not parse into steps are dropped, counted, never fixed.

The decision a reader would question: a second row with the same id is dropped, not renamed, because step examples,
held-out sets and RLVR problems are all told apart by the trajectory's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath

from srl.errors import DataError
from srl.trajectories.answers import find_answer
from srl.trajectories.fields import (
    ANSWER_FIELDS,
    ID_FIELDS,
    PROBLEM_FIELDS,
    SOLUTION_FIELDS,
    present_field,
    read_label,
    read_text,
)
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row, read_rows
from srl.trajectories.segment import split_steps
from srl.types import DroppedRow, Trajectory

MIN_STEPS = 2


def read_trajectories(
    source: str, *, strict: bool = False, problem_field: str = "", solution_field: str = ""
) -> Iterator[Trajectory | DroppedRow]:
    """The trajectories of a JSONL, JSON or Parquet file or a Hub dataset, and what had to be dropped, in file order.

    ``problem_field`` and ``solution_field`` name the columns where the usual names would pick the wrong ones.
    Raises DataError if there is nothing to read, and with ``strict`` at the first row that would be dropped.
    """
    rows = read_rows(source)
    yield from parse_trajectories(rows, strict=strict, problem_field=problem_field, solution_field=solution_field)


def parse_trajectories(
    rows: Iterable[Row | DroppedRow], *, strict: bool = False, problem_field: str = "", solution_field: str = ""
) -> Iterator[Trajectory | DroppedRow]:
    """``read_trajectories`` for rows that are read already."""
    seen: dict[str, int] = {}
    result: Trajectory | DroppedRow
    for row in rows:
        if isinstance(row, DroppedRow):
            result = row
        else:
            try:
                result = parse_trajectory(row, problem_field=problem_field, solution_field=solution_field)
                first = seen.setdefault(result.trajectory_id, row.source.row)
                if first != row.source.row:
                    raise RowError(DropReason.DUPLICATE_ID, f"{result.trajectory_id!r} is also the id of row {first}")
            except RowError as error:
                result = row.dropped(error.reason, error.detail)
        if strict and isinstance(result, DroppedRow):
            raise DataError(describe_drop(result))
        yield result


def parse_trajectory(row: Row, *, problem_field: str = "", solution_field: str = "") -> Trajectory:
    """One row as a trajectory. Raises RowError with the reason if it cannot be one."""
    problem = read_text(row.value, (problem_field,) if problem_field else PROBLEM_FIELDS)
    names = (solution_field,) if solution_field else SOLUTION_FIELDS
    answer = None
    if not solution_field and present_field(row.value, names) is None and "####" in str(row.value.get("answer")):
        names = ("answer",)  # GSM8K keeps the whole solution under "answer"
    else:
        answer = read_label(row.value, ANSWER_FIELDS)
    solution = read_text(row.value, names)
    steps = split_steps(solution)
    if len(steps) < MIN_STEPS:
        raise RowError(DropReason.TOO_FEW_STEPS, f"{len(solution)} characters without two numbered steps in sequence")
    return Trajectory(
        trajectory_id=read_label(row.value, ID_FIELDS) or f"{_stem(row.source.file)}-{row.source.row}",
        problem=problem,
        steps=steps,
        answer=answer or find_answer(solution),
        source=row.source,
    )


def describe_drop(dropped: DroppedRow) -> str:
    """One line for people: where, why, what."""
    place = f"line {dropped.line}" if dropped.line else f"row {dropped.source.row}"
    return f"{dropped.source.file}, {place}: {dropped.reason}: {dropped.detail}"


def _stem(file: str) -> str:
    """File name without suffix; for a Hub id the dataset's name, whole (the ".1" of s1K-1.1 is no suffix)."""
    path = PurePath(file)
    return path.stem if path.suffix in {".jsonl", ".ndjson", ".json", ".parquet"} else path.name
