"""A problem and the text of its solution -> Trajectory: what all formats of written solutions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

from srl.parsing import THINK_CLOSE, THINK_OPEN
from srl.trajectories.answers import find_answer
from srl.trajectories.fields import check_characters
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row
from srl.trajectories.segment import Segmentation, segment
from srl.trajectories.settings import MIN_STEPS, ReadSettings
from srl.trajectories.solutions.marks import split_thoughts, split_trace
from srl.types import Trajectory

Splitter = Callable[[str, ReadSettings], Segmentation]
"""(solution, settings) -> steps whose texts joined are the solution."""


def solution_trajectory(
    row: Row,
    *,
    settings: ReadSettings,
    format: str,
    trajectory_id: str,
    problem: str,
    solution: str,
    answer: str | None = None,
    reasoning: str = "",
    is_right: bool | None = None,
    splitter: Splitter = segment,
    find: Callable[[str], str | None] = find_answer,
) -> Trajectory:
    """Take the thinking off ``solution``, cut the rest into steps, and look in it for ``answer`` where it is None.

    ``reasoning`` is thinking that stood in a field of its own; what ``solution`` still has of it comes after it. A
    solution in which every thought stands before a step keeps them with the steps.
    Raises RowError where it is marked wrong and only right ones were asked for, or has fewer than two steps.
    """
    if settings.only_right and is_right is False:
        raise RowError(DropReason.MARKED_WRONG, "the source marks it as wrong")
    between = None if reasoning.strip() else _thoughts_between(solution, splitter, settings)
    if between is not None:
        reasoning, solution, found = between
    else:
        thinking, solution = split_trace(solution)
        reasoning = "\n\n".join(text for text in (reasoning.strip(), thinking) if text)
        found = None
    for name, text in (("the problem", problem), ("the solution", solution), ("the reasoning", reasoning)):
        check_characters(text, name)
    found = found or splitter(solution, settings)
    if len(found.steps) < (1 if settings.allow_one_step else MIN_STEPS):
        raise RowError(DropReason.TOO_FEW_STEPS, f"{len(solution)} characters, and no place to cut them in two")
    return Trajectory(
        trajectory_id=trajectory_id,
        problem=problem,
        steps=found.steps,
        answer=answer or find(solution),
        source=row.source,
        format=format,
        splitter=found.splitter,
        reasoning=reasoning,
        is_right=is_right,
    )


def _thoughts_between(text: str, splitter: Splitter, settings: ReadSettings) -> tuple[str, str, Segmentation] | None:
    """(the whole text, its solution, the steps with their thoughts), None unless each thought stands before a step."""
    pairs = split_thoughts(text)
    if pairs is None:
        return None
    pieces = [piece for _, piece in pairs]
    solution = "".join(pieces)
    found = splitter(solution, settings)
    starts = accumulate((len(step.text) for step in found.steps), initial=0)
    places = {_next_text(solution, start): place for place, start in zip(range(len(found.steps)), starts, strict=False)}
    steps = list(found.steps)
    for (thought, _), start in zip(pairs, accumulate(map(len, pieces), initial=0), strict=False):
        place = places.get(_next_text(solution, start))
        if place is None:
            return None
        steps[place] = replace(steps[place], thought=thought.strip())
    whole = "".join(f"{THINK_OPEN}{thought}{THINK_CLOSE}{piece}" for thought, piece in pairs)
    return whole, solution.strip(), replace(found, steps=tuple(steps))


def _next_text(text: str, start: int) -> int:
    """Where the white space from ``start`` on ends: a line break before a step may belong to either side."""
    return len(text) - len(text[start:].lstrip())
