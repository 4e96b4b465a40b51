"""Training examples -> engine -> parse -> reward -> RolloutGroups.

A completion that breaks the format gets the penalty without its reward being computed; a reward that raises or is not
a finite number stops the run with the example's id: an error of ours is never a reward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from srl.engines import Engine
from srl.errors import RewardError
from srl.types import (
    Completion,
    Parser,
    ParseStatus,
    Reward,
    Rollout,
    RolloutGroup,
    SamplingParams,
    TrainingExample,
)


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How completions become rewards; with the examples, all that SRL and RLVR differ in."""

    parse: Parser
    """Completion text -> monologue, action, status."""
    reward: Reward
    """(action, target) -> reward; called for completions that follow the format."""
    format_penalty: float
    """Reward of every other completion."""


def roll_out(
    examples: Sequence[TrainingExample],
    engine: Engine,
    scoring: Scoring,
    *,
    group_size: int,
    sampling: SamplingParams,
    seed: int,
) -> list[RolloutGroup]:
    """Sample and score ``group_size`` completions for each example, in the order of the examples."""
    prompts = [example.prompt for example in examples]
    generations = engine.generate(prompts, num_samples=group_size, sampling=sampling, seed=seed)
    return [
        RolloutGroup(
            example=example,
            prompt_token_ids=generation.prompt_token_ids,
            rollouts=tuple(score(completion, example, scoring) for completion in generation.completions),
        )
        for example, generation in zip(examples, generations, strict=True)
    ]


def score(completion: Completion, example: TrainingExample, scoring: Scoring) -> Rollout:
    """Parse and reward one completion. Raises RewardError when the reward raises or is not a finite number."""
    parsed = scoring.parse(completion.text, completion.finish_reason)
    if parsed.status is not ParseStatus.OK:
        return Rollout(completion=completion, parsed=parsed, reward=scoring.format_penalty)
    try:
        reward = scoring.reward(parsed.action, example.target)
    except Exception as error:
        raise RewardError(
            f"the reward raised {type(error).__name__} on example {example.example_id}: {error}"
        ) from error
    if not math.isfinite(reward):
        raise RewardError(f"the reward of example {example.example_id} is {reward}; it must be a finite number")
    return Rollout(completion=completion, parsed=parsed, reward=float(reward))
