"""Expert files -> the solutions to rewrite, and how many rows are left as they are.

Rows are read as every other command reads them, by the rules of their format, with one difference: a solution that
cannot be cut in two is kept, as a trajectory of one step (``ReadSettings.allow_one_step``). Joining a trajectory's
steps gives the expert's text back, so nothing has to be read a second way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from srl.rewriting.settings import RowChoice
from srl.trajectories.answers import find_answer
from srl.trajectories.reader import read_trajectories
from srl.trajectories.settings import MIN_STEPS, ReadSettings
from srl.types import DroppedRow, Source, Trajectory


@dataclass(frozen=True, kw_only=True, slots=True)
class Original:
    """A solution as the expert wrote it."""

    trajectory_id: str
    """Unique within the input; the rewritten row keeps it."""
    problem: str
    """The problem statement."""
    solution: str
    """The expert's whole text."""
    answer: str | None
    """The final answer that the row gives, else the one in the solution; None where there is none."""
    source: Source
    """File and row."""

    @property
    def stated_answer(self) -> str | None:
        """What a rewrite must arrive at: the solution's own answer, which may differ from the row's if it is wrong."""
        return find_answer(self.solution) or self.answer


class LeftAlone(StrEnum):
    """Why a readable row is not rewritten."""

    AGENT_LOG = "agent_log"
    """An agent's log: its steps are actions already."""
    HAS_STEPS = "has_steps"
    """It falls into steps by itself, and only others were asked for."""


def read_originals(
    source: str, *, settings: ReadSettings, rows: RowChoice
) -> Iterator[Original | LeftAlone | DroppedRow]:
    """One item per row of ``source``, in order. Raises DataError if there is nothing to read."""
    readable = replace(settings, allow_one_step=True)
    for item in read_trajectories(source, settings=readable):
        if isinstance(item, DroppedRow):
            yield item
        elif item.kind == "agent":
            yield LeftAlone.AGENT_LOG
        elif rows != "all" and _has_steps(item, with_titles=rows == "untitled"):
            yield LeftAlone.HAS_STEPS
        else:
            yield Original(
                trajectory_id=item.trajectory_id,
                problem=item.problem,
                solution=item.solution,
                answer=item.answer,
                source=item.source,
            )


def _has_steps(trajectory: Trajectory, *, with_titles: bool) -> bool:
    steps = trajectory.steps
    return len(steps) >= MIN_STEPS and (not with_titles or all(step.title for step in steps))
