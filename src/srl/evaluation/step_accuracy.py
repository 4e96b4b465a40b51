"""Held-out step examples -> how often the policy's greedy next step is the expert's, word for word.

The context is the expert's, so one early mistake does not spoil the rest: this measures single steps, where the
stepwise mode of solve.py measures chains. Exact match is a lower bound on being right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from srl.engines import Engine
from srl.evaluation.statistics import accuracy_score
from srl.evaluation.step_text import read_step
from srl.prompts import DEFAULT_TEXTS, ContextPlace, PromptTexts, step_prompt
from srl.seeds import derive_seed
from srl.training_examples import step_target
from srl.types import ParseStatus, SamplingParams, Score, StepExample


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One greedy next step beside the expert's."""

    trajectory_id: str
    """The trajectory the example was cut from."""
    step_index: int
    """0-based index of the step asked for."""
    text: str
    """The completion as sampled."""
    status: ParseStatus
    """How it reads."""
    action: str
    """The policy's step, "" unless the status is OK."""
    target: str
    """The expert's step."""
    is_match: bool
    """Whether both are equal after white space is normalised."""
    num_completion_tokens: int
    """Tokens of the completion; 0 from engines without tokens."""


def step_accuracy(
    engine: Engine,
    examples: Sequence[StepExample],
    *,
    context_in: ContextPlace,
    title_in_prompt: bool,
    max_completion_tokens: int,
    texts: PromptTexts = DEFAULT_TEXTS,
    batch_size: int = 256,
    seed: int = 0,
    needs_think: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[list[StepRecord], Score]:
    """Records in the order of ``examples``, and the score "steps/greedy" with its interval over trajectories.

    As in training, the target is the expert's body when a title stands in the prompt, else the whole step.
    ``needs_think``: whether a step without thoughts breaks the format, as in training. ``on_progress`` gets the number
    of examples done and their total. Raises ValueError without examples.
    """
    sampling = SamplingParams(temperature=0.0, max_completion_tokens=max_completion_tokens)
    records: list[StepRecord] = []
    for start in range(0, len(examples), batch_size):
        batch = examples[start : start + batch_size]
        prompts = [
            step_prompt(example, context_in=context_in, title_in_prompt=title_in_prompt, texts=texts)
            for example in batch
        ]
        generations = engine.generate(prompts, num_samples=1, sampling=sampling, seed=derive_seed(seed, "steps", start))
        for example, generation in zip(batch, generations, strict=True):
            completion = generation.completions[0]
            target = step_target(example, title_in_prompt=title_in_prompt)
            parsed = read_step(completion.text, completion.finish_reason, needs_think=needs_think)
            records.append(
                StepRecord(
                    trajectory_id=example.trajectory_id,
                    step_index=example.step_index,
                    text=completion.text,
                    status=parsed.status,
                    action=parsed.action,
                    target=target,
                    is_match=parsed.status is ParseStatus.OK and parsed.action.split() == target.split(),
                    num_completion_tokens=len(completion.token_ids),
                )
            )
        if on_progress is not None:
            on_progress(len(records), len(examples))
    by_trajectory: dict[str, list[bool]] = {}
    for record in records:
        by_trajectory.setdefault(record.trajectory_id, []).append(record.is_match)
    return records, accuracy_score("steps/greedy", list(by_trajectory.values()))
