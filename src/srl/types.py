"""Every record that crosses a module border, in the order of the data flow.

    expert files -> Trajectory -> StepExample -> TrainingExample -> RolloutGroup -> metrics, checkpoint, Score

All records are frozen, keyword-only and hold plain Python values (no tensors), so that each of them can be
written as one JSON object. Three words mean three things: a *step* is the expert's, an *update* the optimizer's, a
*turn* an agent's. A *trajectory* is the expert's, a *rollout* the policy's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Message = dict[Literal["role", "content"], str]
"""One chat message, as chat templates take it."""


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
    """What the agent wrote beside its action, "" in solutions. Kept, never scored."""
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
    """The expert's long thinking before the solution, where the source has it. Kept, never scored."""
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
    """What the agent wrote beside the target action. Kept, never scored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A problem with its final answer: what RLVR trains on and what evaluation scores."""

    problem_id: str
    """Unique within its file."""
    problem: str
    """The problem statement."""
    answer: str
    """The reference answer, in whatever notation the source uses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatPrompt:
    """What the policy is asked: chat messages and, optionally, how its own turn begins."""

    messages: tuple[Message, ...]
    """System and user messages."""
    assistant_prefix: str = ""
    """Text at the start of the assistant's turn that the policy continues; not part of the completion."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingExample:
    """One prompt of the loop. SRL and RLVR differ in how these are made and in the reward, nowhere else."""

    example_id: str
    """Unique within a stage, for instance "<trajectory_id>#<step_index>"."""
    prompt: ChatPrompt
    """What the policy is asked."""
    target: str
    """What the reward compares with: the expert's action (SRL) or the reference answer (RLVR)."""


FinishReason = Literal["stop", "length"]
"""Why a completion ended: the policy ended its turn, or the token limit did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingParams:
    """How an engine samples."""

    temperature: float
    """0 is greedy."""
    max_completion_tokens: int
    """Completions longer than this are cut and end with "length"."""
    top_p: float = 1.0
    """Nucleus mass in (0, 1]; 1 is off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """One sampled continuation."""

    text: str
    """The assistant's text after ``assistant_prefix``, special tokens removed."""
    token_ids: tuple[int, ...]
    """The sampled tokens, the end-of-turn token included when one was sampled; () from engines without tokens."""
    finish_reason: FinishReason
    """Why it ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """What an engine returns for one prompt."""

    prompt_token_ids: tuple[int, ...]
    """The rendered prompt as tokens; () from engines without tokens."""
    completions: tuple[Completion, ...]
    """``num_samples`` of them."""


class ParseStatus(StrEnum):
    """How a completion reads. Only ``OK`` is scored; every other status gets the format penalty."""

    OK = "ok"
    TRUNCATED = "truncated"
    MISSING_THINK = "missing_think"
    TEXT_BEFORE_THINK = "text_before_think"
    UNCLOSED_THINK = "unclosed_think"
    EMPTY_ACTION = "empty_action"
    STRAY_TAG = "stray_tag"


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedCompletion:
    """A completion taken apart."""

    status: ParseStatus
    """Whether it follows the format, and if not, the first thing that is wrong."""
    monologue: str
    """The text inside ``<think>``, stripped; "" where there is none. Never scored."""
    action: str
    """The text outside ``<think>``, stripped; "" unless the status is OK."""


Parser = Callable[[str, FinishReason], ParsedCompletion]
"""(text, finish_reason) -> ParsedCompletion; total, never raises."""
Reward = Callable[[str, str], float]
"""(action, target) -> reward, a finite number; a pure function on texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One completion with its reward."""

    completion: Completion
    """What was sampled."""
    parsed: ParsedCompletion
    """How it reads."""
    reward: float
    """What the policy gets; never overwritten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutGroup:
    """The ``group_size`` rollouts of one prompt."""

    example: TrainingExample
    """The prompt and its target."""
    prompt_token_ids: tuple[int, ...]
    """The rendered prompt as tokens."""
    rollouts: tuple[Rollout, ...]
    """``group_size`` of them."""

    @property
    def rewards(self) -> tuple[float, ...]:
        """The rewards, in the order of the rollouts."""
        return tuple(rollout.reward for rollout in self.rollouts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A rate measured on held-out problems, with its interval."""

    name: str
    """For instance "steps/greedy", "stepwise/greedy" or "whole/avg@8"."""
    value: float
    """The estimate, in [0, 1]."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    num_problems: int
    """Problems it was measured on."""
    num_samples: int
    """Completions (or chains) it was measured on, all problems together."""
