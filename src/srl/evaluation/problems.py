r"""A file (or Hub dataset) of problems with answers -> Problems.

Field names are those of the public benchmark files; of several the first in the order below counts. An answer field
may hold a number, an answer, or a whole solution that marks its answer (GSM8K); a row without one must mark it in its
solution, with ``\boxed{}`` or a closing ``#### 72``.

The decision a reader would question: one bad row refuses the file. A benchmark that quietly lost a problem gives
numbers that compare with nobody's.
"""

from __future__ import annotations

import math
from pathlib import Path

from srl.errors import DataError
from srl.rewards.outcome import final_answer
from srl.trajectories import fields
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row, read_rows
from srl.types import DroppedRow, Problem

ID_FIELDS = ("problem_id", *fields.ID_FIELDS, "unique_id", "idx")
"""Where the id may stand; without one it is the 0-based row."""


def load_problems(source: str | Path) -> list[Problem]:
    """Read all problems, in the file's order. Raises DataError that names file and line.

    Ids that occur again get "~2", "~3" and so on, so that they are unique within the file.
    """
    problems: list[Problem] = []
    taken: set[str] = set()
    for row in read_rows(str(source)):
        if isinstance(row, DroppedRow):
            raise DataError(f"{_place(row)}: {row.reason}: {row.detail}")
        try:
            problem = _read_problem(row)
        except RowError as error:
            raise DataError(f"{_place(row)}: {error}") from error
        problem_id, copies = problem.problem_id, 1
        while problem_id in taken:
            copies += 1
            problem_id = f"{problem.problem_id}~{copies}"
        taken.add(problem_id)
        problems.append(Problem(problem_id=problem_id, problem=problem.problem, answer=problem.answer))
    if not problems:
        raise DataError(f"{source} holds no problems; it needs at least one row with a problem and an answer")
    return problems


def _read_problem(row: Row) -> Problem:
    problem_id = fields.read_label(row.value, ID_FIELDS)
    return Problem(
        problem_id=str(row.source.row) if problem_id is None else problem_id,
        problem=fields.read_text(row.value, fields.PROBLEM_FIELDS),
        answer=_read_answer(row),
    )


def _read_answer(row: Row) -> str:
    label = fields.read_label(row.value, fields.ANSWER_FIELDS)
    if label is None:
        if fields.present_field(row.value, fields.SOLUTION_FIELDS) is None:
            expected = ", ".join(fields.ANSWER_FIELDS)
            raise RowError(DropReason.MISSING_FIELD, f"no answer: none of {expected}, and no solution that marks one")
        label = final_answer(fields.read_text(row.value, fields.SOLUTION_FIELDS))
        if label is None:
            raise RowError(DropReason.EMPTY_FIELD, "no answer field, and the solution marks no answer with \\boxed{}")
        return label
    name = fields.present_field(row.value, fields.ANSWER_FIELDS)
    value = row.value[name] if name else None
    if isinstance(value, float) and not math.isfinite(value):
        raise RowError(DropReason.WRONG_TYPE, f"{name} is {value}, not a finite number")
    return final_answer(label) or label


def _place(row: Row | DroppedRow) -> str:
    return f"{row.source.file}, " + (f"line {row.line}" if row.line else f"row {row.source.row}")
