"""The policy's side: prompts, completions, rewards and the groups they come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from srl.types.expert import StepExample

Message = dict[Literal["role", "content"], str]
"""One chat message, as chat templates take it."""


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
    step: StepExample | None = None
    """The expert's step it was made from, context and final answer included."""
    next_action: str = ""
    """The expert's step after the target, where it is known: an action that holds it solves several steps at once."""
    is_problem: bool = False
    """In a stage of steps: a whole problem among them, rewarded by its final answer."""


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
    top_k: int = 0
    """Only the k most likely tokens; 0 is off."""
    stop: tuple[str, ...] = ()
    """A completion also ends with the token that completes one of these texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """One sampled continuation."""

    text: str
    """The assistant's text after ``assistant_prefix``, special tokens removed."""
    token_ids: tuple[int, ...]
    """The sampled tokens, the end-of-turn token included when one was sampled; () from engines without tokens."""
    finish_reason: FinishReason
    """Why it ended."""
    logprobs: tuple[float, ...] | None = None
    """Of the sampled tokens under softmax(logits / temperature), before ``top_p`` and ``top_k``; with temperature 0
    under softmax(logits). None from engines that do not say."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Ungraded:
    """In place of a reward: there is none, through no fault of the policy. Counted and left out, never a number."""

    reason: str
    """A short code that is counted by, for instance "deadline", "memory" or "judge_timeout"."""


Reward = Callable[[str, str], "float | Ungraded"]
"""(action, target) -> reward in [0, 1]; a pure function on texts. What a recipe names by import path."""
BatchReward = Callable[[Sequence[tuple[str, str]]], "list[float | Ungraded]"]
"""The same for many (action, target) pairs at once, in their order; what the loop calls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """One completion with its reward."""

    completion: Completion
    """What was sampled."""
    parsed: ParsedCompletion
    """How it reads."""
    reward: float
    """What the policy gets; never overwritten."""
    outcome: float | None = None
    """Of a gated or blended reward: what the solution earned that this action led to."""
    num_finishing_tokens: int = 0
    """Tokens sampled to finish the solution for ``outcome``; not trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UngradedRollout:
    """A completion that has no reward through no fault of the policy; not trained on."""

    completion: Completion
    parsed: ParsedCompletion
    reason: str
    """As in ``Ungraded``, or "error" where the reward raised and the recipe says to go on."""
    num_finishing_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutGroup:
    """The rollouts of one prompt: ``group_size`` of them, graded or not."""

    example: TrainingExample
    """The prompt and its target."""
    prompt_token_ids: tuple[int, ...]
    """The rendered prompt as tokens."""
    rollouts: tuple[Rollout, ...]
    """Those that have a reward."""
    ungraded: tuple[UngradedRollout, ...] = ()
    """Those that have none."""

    @property
    def rewards(self) -> tuple[float, ...]:
        """The rewards, in the order of the rollouts."""
        return tuple(rollout.reward for rollout in self.rollouts)

    @property
    def sampled(self) -> tuple[Rollout | UngradedRollout, ...]:
        """All that was sampled."""
        return self.rollouts + self.ungraded


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
