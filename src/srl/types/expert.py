"""The expert's side: trajectories, their steps, and the examples and problems made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a record was read from."""

    file: str
    """Path or Hub id of the file it stands in."""
    row: int
    """0-based row; in a JSON Lines file row r stands on line r + 1."""
    line: int = field(default=0, compare=False)
    """1-based line where it is known, for messages; not stored with examples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step ("action") of an expert trajectory."""

    title: str
    """The bold title without its marks, "" where the source has none."""
    text: str
    """A solution's step exactly as written, white space included: joining the texts gives the solution back. An \
agent's action: what the environment consumed, and nothing else."""
    body: str
    """The text after number and title, stripped; what is asked for when the title stands in the prompt."""
    thought: str = ""
    """What the agent wrote beside its action; in a solution whose steps each follow a thought of their own, that \
thought, else "". Kept, never scored."""
    observation: str = ""
    """What the environment answered, "" in solutions."""


TrajectoryKind = Literal["solution", "agent"]
"""A solution's steps are pieces of one text; an agent's are actions, each followed by an observation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trajectory:
    """An expert's solution, cut into steps, or an expert agent's log, one step per turn."""

    trajectory_id: str
    """Unique within what is read together."""
    problem: str
    """The problem statement; for agents the task."""
    steps: tuple[Step, ...]
    """At least one; in the expert's order."""
    answer: str | None
    """The final answer, None where none was found."""
    source: Source
    """File and row."""
    kind: TrajectoryKind = "solution"
    """What its steps are."""
    format: str = "rows"
    """The format it was read as, a key of ``trajectories.formats.FORMATS``."""
    splitter: str = ""
    """What cut the text into steps, for instance "titled-numbers"; "turns" for agents."""
    reasoning: str = ""
    """The expert's long thinking before the solution, where the source has it. Where thoughts stand between the \
steps, the whole text as written, which begins with ``<think>``. Kept, never scored."""
    is_right: bool | None = None
    """Whether the source marks it as right, resolved or rewarded; None where it says nothing."""
    notes: dict[str, int] = field(default_factory=dict[str, int])
    """What the reader decided on the way, counted by code, for instance ``{"format_errors": 2}``."""

    @property
    def solution(self) -> str:
        """The expert's whole text."""
        return "".join(step.text for step in self.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class DroppedRow:
    """A row that did not become a trajectory, and why."""

    source: Source
    """File and row."""
    line: int
    """1-based line in the file, 0 where the format has no lines."""
    reason: str
    """A short code that drops are counted by, for instance "too_few_steps"."""
    detail: str
    """What was found, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepExample:
    """Predict step ``step_index`` from the problem and the steps before it (4.2 and 5.3 of the paper)."""

    trajectory_id: str
    """The trajectory it was cut from."""
    step_index: int
    """0-based index of the step to predict."""
    num_steps: int
    """Number of steps in the whole trajectory."""
    problem: str
    """The problem statement."""
    context: tuple[str, ...]
    """Texts of the earlier steps, as written: all ``step_index`` of them, for agents the last ones only."""
    title: str
    """Title of the step to predict, "" where it has none."""
    target_action: str
    """The expert's step with number and title, stripped."""
    target_body: str
    """The expert's step without number and title, stripped; the target when the title stands in the prompt."""
    answer: str | None
    """The trajectory's final answer."""
    source: Source
    """File and row of the trajectory."""
    kind: TrajectoryKind = "solution"
    """Whether a piece of a solution or an agent's action is asked for."""
    observations: tuple[str, ...] = ()
    """For agents what the environment answered to each action of ``context``, as many; () for solutions."""
    target_thought: str = ""
    """What the expert thought right before the target action. Kept, never scored."""
    reasoning: str = ""
    """The trajectory's ``reasoning``, on its last step only, "" on the others. Kept, never scored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A problem with its final answer: what RLVR trains on and what evaluation scores."""

    problem_id: str
    """Unique within its file."""
    problem: str
    """The problem statement."""
    answer: str
    """The reference answer, in whatever notation the source uses."""
