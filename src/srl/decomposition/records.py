"""What a worker hands over for each trajectory: its examples, written already, and what is counted and compared."""

from __future__ import annotations

from dataclasses import dataclass, field

from srl.overlap.index import ProblemIndex
from srl.trajectories.settings import ReadSettings
from srl.types import Source

Outcomes = dict[str, bool]
"""Whether the trajectory with this id is right, from a file beside the logs."""


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Everything that decides what becomes of a row; the same for every worker."""

    reading: ReadSettings
    """How rows are read."""
    context_turns: int
    """Rounds of action and observation in an agent's example."""
    max_observation_chars: int
    """Longer observations are cut in the middle; 0: never."""
    outcomes: Outcomes = field(default_factory=Outcomes)
    """Overrides what the logs say about themselves."""
    benchmarks: ProblemIndex | None = None
    """Problems that are left out."""
    root: str = ""
    """Ids get the file's path below this folder in front, so that files do not share ids; "": ids stay as they are."""
    as_arrow: bool = False
    """Whether examples are handed over as Arrow batches, for Parquet, or as lines of JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrajectoryRecord:
    """A trajectory whose examples are ready to be written."""

    trajectory_id: str
    """Unique within the run once the filters have passed it."""
    problem: str
    """The problem statement."""
    chain: tuple[bytes, ...]
    """A digest of the problem and of each action, for logs that later ones may supersede; else ()."""
    source: Source
    """File and row."""
    format: str
    """The format it was read as."""
    splitter: str
    """What cut it into steps."""
    num_steps: int
    """Its steps, and examples."""
    has_answer: bool
    """Whether its final answer is known."""
    is_right: bool | None
    """What the source says of it."""
    notes: dict[str, int]
    """What the reader decided on the way."""
    examples: tuple[bytes, ...]
    """One line of JSON per example, or one Arrow IPC stream with all of them."""
    lacks_outcome: bool = False
    """A file of outcomes was given and does not mention it."""
