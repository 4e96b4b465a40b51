"""An agent's turns -> Trajectory: the decisions that are the same for every kind of log (5.3 of the paper).

- A turn without an action (only talk, or an empty command) is no step; it and its answer are left out and counted as
  ``empty_actions``.
- A turn that the environment refused to run (a wrong format, a blocked or rejected command) is left out with its
  answer; the retry that follows stands in its place. Such turns are counted as ``format_errors``.
- A turn that the harness wrote in the agent's place, as when a limit ends the run, is left out and counted as
  ``harness_turns``.
- Calls made in parallel are one action, their results one observation; such turns are counted as
  ``parallel_calls``.
- Submitting or finishing is an action like any other: when to stop is the expert's decision too.
- A log that ends before the last action was answered keeps that action, with an empty observation, and is counted as
  ``truncated_logs``, unless the action ends the run.
- Characters that cannot be stored (U+0000, half surrogate pairs) drop the log when they stand in the task or an
  action. In an observation or a thought, which nobody is asked to write, they are replaced by U+FFFD; such turns are
  counted as ``replaced_characters``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from srl.trajectories.fields import check_characters
from srl.trajectories.reasons import DropReason, RowError
from srl.trajectories.rows import Row
from srl.trajectories.settings import MIN_STEPS, ReadSettings
from srl.types import Step, Trajectory

_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One round of agent and environment, as a log has it."""

    action: str
    """What the environment consumed (see actions.py); "" where the turn had none."""
    thought: str = ""
    """The agent's prose beside the action."""
    observation: str | None = None
    """What came back; None where the log ends before."""
    num_calls: int = 1
    """Tool calls in the turn."""
    is_refused: bool = False
    """Whether the environment ran nothing and asked for another format."""
    is_harness: bool = False
    """Whether the harness wrote it in the agent's place."""
    is_end: bool = False
    """Whether the action submits or finishes, so that no answer is expected."""


def agent_trajectory(
    row: Row,
    turns: Sequence[Turn],
    *,
    settings: ReadSettings,
    format: str,
    trajectory_id: str,
    problem: str,
    is_right: bool | None = None,
) -> Trajectory:
    """The trajectory of a log. Raises RowError where it is marked wrong, has no task or fewer than two actions."""
    if settings.only_right and is_right is False:
        raise RowError(DropReason.MARKED_WRONG, "the source marks it as unresolved or unrewarded")
    if not problem.strip():
        raise RowError(DropReason.EMPTY_FIELD, "the log has no task")
    notes = Counter[str]()
    steps: list[Step] = []
    for turn in turns:
        if code := _left_out(turn):
            notes[code] += 1
            continue
        action = check_characters(turn.action.strip(), "an action")
        thought, in_thought = _NOT_STORABLE.subn("\ufffd", turn.thought.strip())
        observation, in_observation = _NOT_STORABLE.subn("\ufffd", (turn.observation or "").strip("\r\n"))
        notes["parallel_calls"] += turn.num_calls > 1
        notes["replaced_characters"] += in_thought + in_observation > 0
        steps.append(Step(title="", text=action, body=action, thought=thought, observation=observation))
    if len(steps) < MIN_STEPS:
        raise RowError(DropReason.TOO_FEW_STEPS, f"{len(steps)} actions in {len(turns)} turns")
    last = next(turn for turn in reversed(turns) if not _left_out(turn))
    notes["truncated_logs"] += last.observation is None and not last.is_end
    return Trajectory(
        trajectory_id=trajectory_id,
        problem=check_characters(problem.strip(), "the task"),
        steps=tuple(steps),
        answer=None,
        source=row.source,
        kind="agent",
        format=format,
        splitter="turns",
        is_right=is_right,
        notes={name: count for name, count in notes.items() if count},
    )


def _left_out(turn: Turn) -> str:
    """The code that a turn is counted by if it is no step, "" if it is one."""
    if turn.is_harness:
        return "harness_turns"
    if turn.is_refused:
        return "format_errors"
    return "" if turn.action.strip() else "empty_actions"
