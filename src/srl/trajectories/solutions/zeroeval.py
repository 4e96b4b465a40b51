r"""ZeroEval's result files -> Trajectory: ``output`` holds a JSON object in text with "reasoning" and "answer".

The solution is the object's "reasoning", read leniently (see ``lenient_json``) because models do not escape LaTeX. Of
several objects the last one with reasoning counts; prose around it is left out. An output without any such object is
a solution in plain text.

The decision a reader would question: the trajectory's answer is the row's own ``answer``, the reference; the model's
counts only where the row has none. Whether the two agree is for the outcome reward to say, not for a reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from srl.trajectories.fields import (
    PROBLEM_FIELDS,
    check_characters,
    is_prose,
    present_field,
    read_answer,
    read_id,
    read_label,
)
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import JsonObject, Row
from srl.trajectories.settings import ReadSettings
from srl.trajectories.solutions import plain
from srl.trajectories.solutions.lenient_json import LenientObject, decode_objects
from srl.trajectories.solutions.marks import split_trace
from srl.trajectories.solutions.solution import solution_trajectory
from srl.types import DroppedRow, Trajectory

_KEYS = ("generator", "chat_history", "model_input", "session_id")
_QUESTION = re.compile(r"## Question:\s*(.*?)\s*^## Instruction", re.DOTALL | re.MULTILINE)


def matches(value: JsonObject) -> bool:
    """Whether a row has a list of outputs beside ZeroEval's own columns, or outputs with its object."""
    outputs = value.get("output")
    if not isinstance(outputs, list) or not outputs:
        return False
    texts = [text for text in cast("list[object]", outputs) if isinstance(text, str)]
    if sum(name in value for name in _KEYS) > 1 and len(texts) == len(cast("list[object]", outputs)):
        return True
    return any('"reasoning"' in text and '"answer"' in text for text in texts)


def parse(row: Row, settings: ReadSettings) -> Iterator[Trajectory | DroppedRow]:
    """The trajectories in a row, one per output; with several outputs as of sampled solutions, "<id>/<k>"."""
    outputs = row.value.get("output")
    if settings.solution_field or not isinstance(outputs, list):
        yield from plain.parse(row, settings)
        return
    texts = cast("list[object]", outputs)
    problem = _read_problem(row.value, settings)
    answer = read_answer(row.value)
    row_id = read_id(row.value, row.source)
    for place, text in enumerate(texts):
        try:
            reasoning, solution, own_answer = _read_output(text)
            yield solution_trajectory(
                row,
                settings=settings,
                format="zeroeval",
                trajectory_id=row_id if len(texts) == 1 else f"{row_id}/{place}",
                problem=problem,
                solution=solution,
                answer=answer or own_answer,
                reasoning=reasoning,
            )
        except RowError as error:
            detail = error.detail if len(texts) == 1 else f"sample {place}: {error.detail}"
            yield row.dropped(error.reason, detail)


def _read_problem(value: JsonObject, settings: ReadSettings) -> str:
    """The problem's column; from the prompt where there is none, or where it has choices that the column leaves out."""
    history = value.get("chat_history")
    last = cast("list[object]", history)[-1] if isinstance(history, list) and history else None
    found = _QUESTION.search(last) if isinstance(last, str) else None
    if found and not settings.problem_field:
        has_choices = present_field(value, ("choices",)) is not None
        if has_choices or present_field(value, PROBLEM_FIELDS) is None:
            return check_characters(found[1], "chat_history")
    return plain.read_problem(value, settings)


def _read_output(text: object) -> tuple[str, str, str | None]:
    """(thinking, solution, the model's answer) of an output. Raises RowError where it has no solution."""
    if not isinstance(text, str):
        raise RowError(DropReason.WRONG_TYPE, f"output is {type(text).__name__}, not text")
    if not text.strip():
        raise RowError(DropReason.EMPTY_FIELD, "output is empty")
    thinking, text = split_trace(text)
    objects = decode_objects(text)
    whole = next((item for item in reversed(objects) if _has_reasoning(item)), None)
    if whole is None:
        if any("reasoning" in item.fields or "answer" in item.fields for item in objects):
            raise RowError(DropReason.EMPTY_FIELD, "no solution: the object in output has no reasoning")
        return thinking, text, None
    if not whole.is_whole and "answer" not in whole.fields:
        raise RowError(DropReason.UNFINISHED, "no solution: output is cut off before its answer")
    return thinking, cast("str", whole.fields["reasoning"]), _own_answer(whole)


def _has_reasoning(item: LenientObject) -> bool:
    reasoning = item.fields.get("reasoning")
    return isinstance(reasoning, str) and reasoning.strip(" _\n") != ""


def _own_answer(item: LenientObject) -> str | None:
    answer = item.fields.get("answer")
    is_label = isinstance(answer, (str, int, float)) and not isinstance(answer, bool)
    label = read_label(item.fields, ("answer",)) if is_label else None
    return None if label is None or is_prose(label) else label
