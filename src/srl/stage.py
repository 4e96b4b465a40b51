"""One stage of a run, ready to train: its examples, how they are scored, and what its validation solves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from srl.completion_rewards import Scoring
from srl.config import StageConfig
from srl.engines import Engine
from srl.errors import SRLError
from srl.own_steps import OwnSteps
from srl.training_examples import MakeExample
from srl.types import TrainingExample
from srl.validation import ProblemValidation


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage, ready to train."""

    name: str
    """Its name in the recipe."""
    config: StageConfig
    """Its settings."""
    training: Sequence[TrainingExample]
    """What is drawn from."""
    validation: Sequence[TrainingExample]
    """Held-out examples; [] without validation."""
    scoring: Scoring
    """How completions become rewards."""
    problems: Sequence[TrainingExample] = ()
    """Whole problems that are drawn among the steps; none without [interleave]."""
    make: MakeExample | None = None
    """How training examples are made of step examples; needed for contexts of the policy's own steps."""
    max_prompt_tokens: int = 2**31
    """Longest prompt that leaves room for a completion."""
    validation_problems: ProblemValidation | None = None
    """Held-out problems to solve at each validation, None for none."""


def own_steps_of(stage: Stage, engine: Engine) -> OwnSteps | None:
    """What puts the policy's own steps into contexts, None where the stage has none of it."""
    prompt = stage.config.prompt
    if prompt.own_steps == "off":
        return None
    if stage.make is None:
        raise SRLError("a stage with prompt.own_steps needs the function that makes its examples")
    return OwnSteps(
        stage.make,
        with_thoughts=prompt.own_steps == "thoughts",
        min_reward=prompt.own_steps_min_reward,
        after=prompt.own_steps_after,
        max_prompt_tokens=stage.max_prompt_tokens,
        count_tokens=engine.count_prompt_tokens,
    )
