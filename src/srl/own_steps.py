"""Contexts of the policy's own steps, against exposure bias (ours; the paper always conditions on the expert's).

In training the policy sees the expert's earlier steps, at test time its own. Here a step that the policy has written
well enough, measured by its reward, stands in later contexts in place of the expert's; with thoughts, the context is
what the policy's own whole solution looks like. Nothing is sampled for it: the steps are those of the rollouts that
training makes anyway, the newest first.

The decision a reader would question: well enough is a matter of the reward, so a reward that pays for near copies lets
near copies into the context. ``own_steps_min_reward`` = 1 with a similarity that knows what equals what ("math", or the
outcome gate) is the strict choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from srl.parsing import THINK_CLOSE, THINK_OPEN
from srl.training_examples import MakeExample
from srl.types import ChatPrompt, ParseStatus, Rollout, RolloutGroup, TrainingExample

OwnStepsState = list[tuple[str, int, str]]
"""(trajectory id, step index, text) of every step that is kept; what a checkpoint holds."""


class OwnSteps:
    """The newest good step of the policy at each place, and examples with them in their contexts."""

    def __init__(
        self,
        make: MakeExample,
        *,
        with_thoughts: bool,
        min_reward: float,
        after: float,
        max_prompt_tokens: int,
        count_tokens: Callable[[ChatPrompt], int],
    ) -> None:
        """A prompt that would have more than ``max_prompt_tokens`` keeps the expert's context."""
        self._make = make
        self._with_thoughts, self._min_reward, self._after = with_thoughts, min_reward, after
        self._max_prompt_tokens, self._count_tokens = max_prompt_tokens, count_tokens
        self._texts: dict[tuple[str, int], str] = {}
        self._is_on = False
        self._num_own = self._num_steps = 0

    def begin(self, progress: float) -> None:
        """Start an update at ``progress`` of the stage, in [0, 1]."""
        self._is_on = progress >= self._after
        self._num_own = self._num_steps = 0

    @property
    def own_rate(self) -> float:
        """The share of own steps among the steps of the contexts made in this update; 0 without any."""
        return self._num_own / self._num_steps if self._num_steps else 0.0

    def apply(self, examples: Iterable[TrainingExample]) -> list[TrainingExample]:
        """The examples with own steps in their contexts, where there are any."""
        return [self._apply(example) for example in examples]

    def record(self, groups: Sequence[RolloutGroup]) -> None:
        """Keep of each group its best rollout's step, if it is good enough; later groups replace earlier ones."""
        for group in groups:
            step = group.example.step
            well_formed = [rollout for rollout in group.rollouts if rollout.parsed.status is ParseStatus.OK]
            if group.example.is_problem or step is None or not well_formed:
                continue
            best = max(well_formed, key=lambda rollout: rollout.reward)  # the first of several
            if best.reward >= self._min_reward:
                title = step.title if group.example.target == step.target_body != step.target_action else ""
                self._texts[step.trajectory_id, step.step_index] = self._text(best, step.step_index, title)

    def state(self) -> OwnStepsState:
        """What ``restore`` needs."""
        return [(trajectory_id, index, text) for (trajectory_id, index), text in self._texts.items()]

    def restore(self, state: Iterable[Sequence[str | int]]) -> None:
        """Continue where ``state`` was taken."""
        self._texts = {(str(name), int(index)): str(text) for name, index, text in state}

    def _text(self, rollout: Rollout, step_index: int, title: str) -> str:
        action = rollout.parsed.action
        step = f"{step_index + 1}. **{title}**\n{action}" if title else action
        thought = f"{THINK_OPEN}{rollout.parsed.monologue}{THINK_CLOSE}"
        return thought + step if self._with_thoughts else step

    def _apply(self, example: TrainingExample) -> TrainingExample:
        step = example.step
        if example.is_problem or step is None or not step.context:
            return example
        first = step.step_index - len(step.context)  # of an agent's log the prompt shows the last rounds only
        own = [self._texts.get((step.trajectory_id, index)) for index in range(first, step.step_index)]
        self._num_steps += len(own)
        if not self._is_on or not any(own):
            return example
        context = tuple(mine or expert for mine, expert in zip(own, step.context, strict=True))
        own_step = replace(step, context=context)
        made = self._make(own_step)
        if self._count_tokens(made.prompt) > self._max_prompt_tokens:
            return example
        self._num_own += sum(text is not None for text in own)
        return replace(made, step=own_step, next_action=example.next_action)
