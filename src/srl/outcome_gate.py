"""An action -> did the solution that it leads to come out right? Ours; see docs/rewards.md, "Gates".

The similarity of a step pays for wording that leads nowhere. Here the solution is finished from the policy's action
on, by the policy itself or by an expert at an endpoint, and its final answer is graded; the grade weighs the reward:

    gate    reward = similarity                            if the answer is right
            reward = (1 - weight) * similarity             if it is wrong
    blend   reward = (1 - weight) * similarity + weight * outcome

The decision a reader would question: one greedy ending per action. More endings would be a better estimate and cost as
much sampling again each; an action that already holds a final answer is graded as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from srl.engines import Engine
from srl.errors import DataError
from srl.parsing import parse_solution
from srl.rewards.outcome import final_answer
from srl.types import (
    ChatPrompt,
    Completion,
    ParseStatus,
    Reward,
    SamplingParams,
    StepExample,
    TrainingExample,
    Ungraded,
)

Grade = Callable[[Sequence[tuple[str, str]], Sequence[str]], "list[float | Ungraded]"]
WRONG = 0.0
"""The outcome of a solution that is cut or breaks the format, as in RLVR."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a finished solution earned."""

    reward: float | Ungraded
    """1.0 for the right final answer, else 0.0."""
    num_tokens: int
    """Tokens that were sampled to finish it; 0 where the action held the answer, or another action's ending served."""


@dataclass(frozen=True, kw_only=True)
class OutcomeGate:
    """Finishes solutions and weighs rewards."""

    mode: Literal["gate", "blend"]
    """How outcome and similarity make the reward; see the module."""
    weight: float
    """In (0, 1]."""
    prompt: Callable[[StepExample, str], ChatPrompt]
    """(step, action) -> the prompt that asks for the rest of the solution."""
    reward: Reward
    """(solution, reference answer) -> 1.0 or 0.0; RLVR's."""
    max_completion_tokens: int
    """A longer ending is cut, and wrong."""
    max_prompt_tokens: int | None = None
    """A solution so long that no ending fits into the policy's window behind it is ungraded; None is off."""
    expert: Callable[[Sequence[ChatPrompt]], list[Completion | Ungraded]] | None = None
    """Finishes the solutions; None: the policy does, greedily."""

    def outcomes(
        self, actions: Sequence[tuple[TrainingExample, str]], engine: Engine, *, seed: int, grade: Grade
    ) -> list[Outcome]:
        """One outcome for each (example, action), in order; equal prompts are finished once.

        ``grade``: (pairs, example ids) -> what ``reward`` says of them, checked, and with the run's way with errors.
        """
        steps = [_step_of(example) for example, _ in actions]
        prompts = [
            None if final_answer(action) is not None else self.prompt(step, action)
            for step, (_, action) in zip(steps, actions, strict=True)
        ]
        asked = {repr(prompt): prompt for prompt in prompts if prompt is not None}
        endings = dict(zip(asked, self._finish(list(asked.values()), engine, seed), strict=True)) if asked else {}
        texts = [
            action if prompt is None else _read(endings[repr(prompt)])
            for (_, action), prompt in zip(actions, prompts, strict=True)
        ]
        wanted = [place for place, text in enumerate(texts) if isinstance(text, str)]
        pairs = [(str(texts[place]), steps[place].answer or "") for place in wanted]
        graded = iter(grade(pairs, [actions[place][0].example_id for place in wanted]))
        rewards = [next(graded) if isinstance(text, str) else text for text in texts]
        return [
            # What several actions share was sampled once, and is counted with the first of them.
            Outcome(reward=reward, num_tokens=_num_tokens(endings.pop(repr(prompt), None)))
            for reward, prompt in zip(rewards, prompts, strict=True)
        ]

    def weigh(self, similarity: float, outcome: float) -> float:
        """The reward of an action, in [0, 1]."""
        if self.mode == "gate":
            return similarity * (1.0 - self.weight * (1.0 - outcome))
        return (1.0 - self.weight) * similarity + self.weight * outcome

    def _finish(self, prompts: Sequence[ChatPrompt], engine: Engine, seed: int) -> list[Completion | Ungraded]:
        if self.expert is not None:
            return self.expert(prompts)
        greedy = SamplingParams(temperature=0.0, max_completion_tokens=self.max_completion_tokens)
        most = self.max_prompt_tokens
        fitting = [prompt for prompt in prompts if most is None or engine.count_prompt_tokens(prompt) <= most]
        generations = engine.generate(fitting, num_samples=1, sampling=greedy, seed=seed) if fitting else []
        endings = {id(prompt): item.completions[0] for prompt, item in zip(fitting, generations, strict=True)}
        return [endings.get(id(prompt), Ungraded(reason="too_long")) for prompt in prompts]


def _step_of(example: TrainingExample) -> StepExample:
    if example.step is None or not example.step.answer:
        raise DataError(f"example {example.example_id} has no final answer, so reward.outcome cannot be computed")
    return example.step


def _read(ending: Completion | Ungraded) -> str | float | Ungraded:
    """The text to grade, or at once what the solution earned."""
    if isinstance(ending, Ungraded):
        return ending
    parsed = parse_solution(ending.text, ending.finish_reason)
    return parsed.action if parsed.status is ParseStatus.OK else WRONG


def _num_tokens(ending: Completion | Ungraded | None) -> int:
    return len(ending.token_ids) if isinstance(ending, Completion) else 0
