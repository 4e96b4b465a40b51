"""A problem and the text of its solution -> Trajectory: what all formats of written solutions share."""

from __future__ import annotations

from collections.abc import Callable

from srl.trajectories.answers import find_answer
from srl.trajectories.fields import check_characters
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row
from srl.trajectories.segment import Segmentation, segment
from srl.trajectories.settings import MIN_STEPS, ReadSettings
from srl.trajectories.solutions.marks import split_trace
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

    ``reasoning`` is thinking that stood in a field of its own; what ``solution`` still has of it comes after it.
    Raises RowError where it is marked wrong and only right ones were asked for, or has fewer than two steps.
    """
    if settings.only_right and is_right is False:
        raise RowError(DropReason.MARKED_WRONG, "the source marks it as wrong")
    thinking, solution = split_trace(solution)
    reasoning = "\n\n".join(text for text in (reasoning.strip(), thinking) if text)
    for name, text in (("the problem", problem), ("the solution", solution), ("the reasoning", reasoning)):
        check_characters(text, name)
    found = splitter(solution, settings)
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
