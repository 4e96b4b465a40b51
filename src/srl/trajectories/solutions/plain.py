r"""Rows with a problem and a solution under the usual names -> Trajectory; the last resort, it refuses no object.

The names are in ``fields``. Where a row has no solution of its own, its chat of one exchange is read, then an
``answer`` that holds a whole solution (GSM8K's closing "#### 72", or prose), then a column ``reasoning``. Alpaca's
``input`` is part of the problem. DeepSeek-Math-V2's rows keep the model's proof in ``model_prediction.proof``; their
``solution`` is a reference and not read.

The decision a reader would question: in a proof a box counts as the final answer only near the end, because proofs
box every formula that they refer to later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from srl.trajectories.answers import find_answer, last_boxed
from srl.trajectories.fields import (
    PROBLEM_FIELDS,
    RIGHT_FIELDS,
    SOLUTION_FIELDS,
    check_characters,
    field_value,
    is_blank,
    is_prose,
    present_field,
    read_answer,
    read_flag,
    read_id,
    read_text,
)
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.trajectories.solutions.conversation import Exchange, message_text, read_exchange
from srl.trajectories.solutions.solution import solution_trajectory
from srl.types import DroppedRow, Trajectory

PROOF_FIELD = "model_prediction.proof"
# What may follow the answer of a proof: a sentence, "QED" and a ruler.
_CLOSING_CHARS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a row holds of a written solution."""

    problem: str
    """The problem statement."""
    solution: str
    """The expert's text, with its thinking where that stands in the same text."""
    reasoning: str = ""
    """The expert's thinking where it stands apart."""


def matches(value: JsonObject) -> bool:
    """Whether a row is of this format: every object may be."""
    return True


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a row."""
    return [trajectory_of(row, settings, read_written(row.value, settings), format="rows")]


def trajectory_of(row: Row, settings: ReadSettings, written: Written, *, format: str) -> Trajectory:
    """The trajectory of what was read in a row, with the row's own id, answer and mark. Raises RowError."""
    is_proof = field_value(row.value, PROOF_FIELD) == written.solution
    return solution_trajectory(
        row,
        settings=settings,
        format=format,
        trajectory_id=read_id(row.value, row.source),
        problem=written.problem,
        solution=written.solution,
        answer=_answer(row.value, written.solution),
        reasoning=written.reasoning,
        is_right=next((flag for name in RIGHT_FIELDS if (flag := read_flag(row.value.get(name))) is not None), None),
        find=_find_answer_of_proof if is_proof else find_answer,
    )


def read_written(value: JsonObject, settings: ReadSettings) -> Written:
    """Problem and solution of a row, from the columns named in the settings or the usual ones. Raises RowError."""
    exchange = None
    if not settings.solution_field and present_field(value, (PROOF_FIELD, *SOLUTION_FIELDS)) is None:
        exchange = read_exchange(value)
    problem = read_problem(value, settings, exchange)
    if exchange is not None:
        return Written(
            problem=problem,
            solution=check_characters(exchange.solution, "the assistant's message"),
            reasoning=exchange.reasoning,
        )
    return Written(problem=problem, solution=_read_solution(value, settings))


def read_problem(value: JsonObject, settings: ReadSettings, exchange: Exchange | None = None) -> str:
    """The problem statement, from its column, else from the chat. Raises RowError where there is none."""
    if settings.problem_field:
        return read_text(value, (settings.problem_field,))
    name = present_field(value, PROBLEM_FIELDS)
    if name is None or is_blank(value[name]):
        exchange = exchange or read_exchange(value)
        if exchange is not None:
            return check_characters(exchange.problem, "the user's message")
    elif (message := message_text(value[name], name, "user")) is not None:
        return read_text({name: message}, (name,))
    problem = read_text(value, PROBLEM_FIELDS)
    if name is not None and name.casefold() == "instruction" and present_field(value, ("input",)) is not None:
        details = value[present_field(value, ("input",)) or ""]
        if isinstance(details, str) and details.strip():
            return f"{problem}\n\n{check_characters(details, 'input')}"
    return problem


def solution_field(value: JsonObject) -> str | None:
    """The column of a row's solution among the usual names; None where no column holds one."""
    name = present_field(value, (PROOF_FIELD, *SOLUTION_FIELDS))
    if name is not None:
        return name
    answer = present_field(value, ("answer",))
    if answer is not None and _is_solution(value[answer]):
        return answer
    return present_field(value, ("reasoning",))


def _read_solution(value: JsonObject, settings: ReadSettings) -> str:
    name = settings.solution_field or solution_field(value)
    if name is None:
        return read_text(value, SOLUTION_FIELDS)  # says what is missing
    message = message_text(field_value(value, name), name, "assistant")
    return read_text(value, (name,)) if message is None else read_text({name: message}, (name,))


def _is_solution(answer: object) -> bool:
    return isinstance(answer, str) and ("####" in answer or is_prose(answer))


def _answer(value: JsonObject, solution: str) -> str | None:
    """The row's final answer. A column ``answer`` that is the solution itself holds no other."""
    name = present_field(value, ("answer",))
    if name is not None and value[name] == solution:
        return read_answer({key: item for key, item in value.items() if key != name})
    return read_answer(value)


def _find_answer_of_proof(proof: str) -> str | None:
    return last_boxed(proof) if "\\boxed" in proof[-_CLOSING_CHARS:] else None
