"""Rows with a model's thinking beside its solution -> Trajectory; the thinking is kept apart and never cut into steps.

It stands in one of three places: in the solution's text inside marks (see ``marks``), in a column of its own
("deepseek_thinking_trajectory" beside "deepseek_attempt" in s1K-1.1, "reasoning_content" beside "content"), or in a
chat message's field. camel-ai's STaR files keep the model's text in ``final_trace``.

The decision a reader would question: where a row has attempts of several models (s1K-1.1), the first that is there
counts, DeepSeek's before Gemini's, whatever its grade. The columns beside an attempt that are called ``solution`` or
``answer`` may be a reference by somebody else, so its final answer is what it boxes itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from srl.trajectories.answers import last_boxed
from srl.trajectories.fields import (
    SOLUTION_FIELDS,
    field_value,
    is_blank,
    present_field,
    read_flag,
    read_id,
    read_text,
)
from srl.trajectories.reasons import RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.trajectories.solutions import plain
from srl.trajectories.solutions.conversation import read_exchange
from srl.trajectories.solutions.marks import has_marks
from srl.trajectories.solutions.solution import solution_trajectory
from srl.types import DroppedRow, Trajectory


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """The columns of one model's attempt."""

    solution: str
    """Its solution."""
    thinking: str
    """Its thinking."""
    grade: str = ""
    """Whether it is right; "" where the source does not say."""


_ATTEMPTS = (
    Attempt(solution="deepseek_attempt", thinking="deepseek_thinking_trajectory", grade="deepseek_grade"),
    Attempt(solution="gemini_attempt", thinking="gemini_thinking_trajectory", grade="gemini_grade"),
    Attempt(solution="attempt", thinking="thinking_trajectories"),
    Attempt(solution="deepseek_solution", thinking="deepseek_reasoning"),
)
_THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking", "thinking_trajectory", "complex_cot", "Complex_CoT")
_TRACE_FIELD = "final_trace"


def matches(value: JsonObject) -> bool:
    """Whether a row holds thinking: in columns of attempts, in marks, or in a chat message's own field."""
    if _find_attempt(value) is not None or _thinking_beside(value) is not None:
        return True
    name = _text_field(value)
    if name is not None:
        text = field_value(value, name)
        return name == _TRACE_FIELD or (isinstance(text, str) and has_marks(text))
    try:
        exchange = read_exchange(value)
    except RowError:
        return False
    return exchange is not None and (bool(exchange.reasoning.strip()) or has_marks(exchange.solution))


def parse(row: Row, settings: ReadSettings) -> Iterable[Trajectory | DroppedRow]:
    """The trajectory in a row."""
    value = row.value
    attempt = _find_attempt(value)
    if settings.solution_field:
        return plain.parse(row, settings)
    if attempt is not None:
        return [_attempted(row, settings, attempt)]
    if present_field(value, (_TRACE_FIELD,)) is not None:
        return [_star(row, settings)]
    thinking = _thinking_beside(value)
    if thinking is None:
        return [plain.trajectory_of(row, settings, plain.read_written(value, settings), format="traces")]
    names = plain.solution_field({key: item for key, item in value.items() if key != thinking}) or "content"
    written = plain.Written(
        problem=plain.read_problem(value, settings),
        solution=read_text(value, (names,)),
        reasoning=_joined(value[thinking]),
    )
    return [plain.trajectory_of(row, settings, written, format="traces")]


def _attempted(row: Row, settings: ReadSettings, attempt: Attempt) -> Trajectory:
    return solution_trajectory(
        row,
        settings=settings,
        format="traces",
        trajectory_id=read_id(row.value, row.source),
        problem=plain.read_problem(row.value, settings),
        solution=read_text(row.value, (attempt.solution,)),
        reasoning=_joined(row.value[attempt.thinking]),
        is_right=read_flag(row.value.get(attempt.grade)),
    )


def _star(row: Row, settings: ReadSettings) -> Trajectory:
    return solution_trajectory(
        row,
        settings=settings,
        format="traces",
        trajectory_id=read_id(row.value, row.source),
        problem=plain.read_problem(row.value, settings),
        solution=read_text(row.value, (_TRACE_FIELD,)),
        is_right=_is_right_star(row.value),
    )


def _is_right_star(value: JsonObject) -> bool | None:
    """Whether camel-ai's pipeline found the trace right: by its boxed answer where the reference boxes one.

    Without a box in the reference that mark is always false; the judge's own (older files: without "agent_") counts.
    """
    by_answer = read_flag(value.get("boxed_answer_success"))
    judged = present_field(value, ("agent_evaluate_success", "evaluate_success"))
    reference = value.get("solution")
    if by_answer or (by_answer is False and isinstance(reference, str) and last_boxed(reference) is not None):
        return by_answer
    return read_flag(value[judged]) if judged is not None else None


def _find_attempt(value: JsonObject) -> Attempt | None:
    """The first attempt whose columns are both filled."""
    return next((attempt for attempt in _ATTEMPTS if _is_filled(value, attempt)), None)


def _is_filled(value: JsonObject, attempt: Attempt) -> bool:
    solution = value.get(attempt.solution)
    return isinstance(solution, str) and not is_blank(solution) and bool(_joined(value.get(attempt.thinking)))


def _thinking_beside(value: JsonObject) -> str | None:
    """The column of thinking that stands beside one of a solution; None where there is no such pair.

    More than one word: columns called "reasoning" also hold "on" and "off".
    """
    name = present_field(value, _THINKING_FIELDS)
    if name is None or len(_joined(value[name]).split(maxsplit=1)) < 2:
        return None
    beside = {key: item for key, item in value.items() if key != name}
    solution = plain.solution_field(beside) or present_field(beside, ("content",))
    text = field_value(beside, solution) if solution is not None else None
    return name if isinstance(text, str) and text.strip() else None


def _text_field(value: JsonObject) -> str | None:
    return present_field(value, (_TRACE_FIELD, plain.PROOF_FIELD, *SOLUTION_FIELDS))


def _joined(value: object) -> str:
    """Thinking as text; s1K has it in a list of one text."""
    if isinstance(value, list):
        return "\n\n".join(item for item in cast("list[object]", value) if isinstance(item, str)).strip()
    return value.strip() if isinstance(value, str) else ""
