"""Held-out problems -> how many the policy solves, during training.

The mean reward of validation steps says how alike they are to the expert's; only solving says whether answers get
right, and it is the one measure that stages of every kind share. The engine's random numbers are its own and the
weights are only read, so a run with this validation has the weights of the run without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from srl.engines import Engine
from srl.evaluation.solve import (
    ChainLimits,
    Mode,
    SolveOutcome,
    SolveRecord,
    first_prompt,
    solve_stepwise,
    solve_whole,
)
from srl.metrics import Metrics, mean
from srl.prompts import ContextPlace, PromptTexts
from srl.types import ChatPrompt, Problem, SamplingParams

if TYPE_CHECKING:
    from accelerate import Accelerator

BEST_BY = {
    "reward": "validation/reward",
    "whole": "validation/whole_accuracy",
    "stepwise": "validation/stepwise_accuracy",
}
"""schedule.best_by -> the metric of which the highest value makes the best checkpoint."""


@dataclass(frozen=True, kw_only=True)
class ProblemValidation:
    """The problems that are solved at each validation, and how they are asked."""

    problems: Sequence[Problem]
    """Held-out problems with their answers."""
    context_in: ContextPlace
    """Where the earlier steps stand when they are solved step by step."""
    texts: PromptTexts
    """Wording of the prompts."""
    max_step_tokens: int
    """Longest completion of one step."""
    max_solution_tokens: int
    """Longest completion of a whole solution."""
    max_prompt_tokens: int
    """A chain of steps whose prompt would be longer is stopped, and wrong."""
    max_steps: int
    """Longest chain of steps."""

    def fitted(self, count_tokens: Callable[[ChatPrompt], int], max_prompt_tokens: int) -> ProblemValidation:
        """The same without the problems whose first prompts, whole or stepwise, are longer than this."""
        modes: tuple[Mode, ...] = ("whole", "stepwise")
        fitting = [
            problem
            for problem in self.problems
            if max_prompt_tokens
            >= max(
                count_tokens(first_prompt(problem, mode, context_in=self.context_in, texts=self.texts))
                for mode in modes
            )
        ]
        return replace(self, problems=fitting, max_prompt_tokens=max_prompt_tokens)


def solve_problems(engine: Engine, validation: ProblemValidation, accelerator: Accelerator | None = None) -> Metrics:
    """Accuracy of greedy solutions, in one completion and step by step; ungraded ones are left out.

    Every process of ``accelerator`` solves its share, and all get the accuracy of all: they must agree on what is best.
    """
    problems = validation.problems
    if accelerator is not None:
        problems = problems[accelerator.process_index :: accelerator.num_processes]
    whole = solve_whole(
        engine,
        problems,
        num_samples=1,
        sampling=_greedy(validation.max_solution_tokens),
        seed=0,
        texts=validation.texts,
    )
    chains = solve_stepwise(
        engine,
        problems,
        num_samples=1,
        sampling=_greedy(validation.max_step_tokens),
        seed=0,  # greedy: nothing is drawn
        limits=ChainLimits(max_steps=validation.max_steps, max_prompt_tokens=validation.max_prompt_tokens),
        context_in=validation.context_in,
        texts=validation.texts,
        needs_think=False,  # a policy that has unlearned to think is judged by its answers
    )
    solved = [(_graded(whole), _graded(chains))]
    if accelerator is not None and accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        solved = gather_object(solved)  # one entry per process
    return {
        "validation/whole_accuracy": mean([is_correct for whole, _ in solved for is_correct in whole]),
        "validation/stepwise_accuracy": mean([is_correct for _, chains in solved for is_correct in chains]),
    }


def _greedy(max_tokens: int) -> SamplingParams:
    return SamplingParams(temperature=0.0, max_completion_tokens=max_tokens)


def _graded(records: Sequence[SolveRecord]) -> list[bool]:
    return [record.is_correct for record in records if record.outcome is not SolveOutcome.UNGRADED]
