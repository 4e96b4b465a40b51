"""Step examples -> what fine-tuning learns, word for word: the target is the completion itself.

solution_example      the expert's whole solution
trace_example         the expert's thinking and the solution
taught_step_example   the expert's next step, after the expert's thought where there is one
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from srl.errors import DataError
from srl.example_store import ExampleStore
from srl.parsing import THINK_CLOSE, THINK_OPEN, parse_solution, parse_step
from srl.prompts import ContextPlace, PromptTexts
from srl.training_examples import one_step_example, refuse_agent, step_example, whole_solution
from srl.types import ParseStatus, StepExample, TrainingExample


def solution_example(example: StepExample, *, texts: PromptTexts) -> TrainingExample:
    """From the last step's example: the whole solution, to be learned as it is written."""
    refuse_agent(example, 'learned as one text; set sft.teach = "steps"')
    return one_step_example(example, texts=texts)


def trace_example(example: StepExample, *, texts: PromptTexts) -> TrainingExample:
    """From the last step's example: the expert's thinking, then the solution; see ``trace_of``.

    Raises DataError where there is no such text.
    """
    taught = solution_example(example, texts=texts)
    trace = trace_of(example)
    if trace is None:
        raise DataError(f"{example.trajectory_id!r} has no thinking that could be learned")
    return replace(taught, target=trace)


def trace_of(example: StepExample) -> str | None:
    """The expert's thinking in its tags and the solution, or both as written where they interleave.

    None where there is no thinking, or where tags within it would make the text unreadable.
    """
    whole = example.reasoning
    if parse_solution(whole, "stop").status is ParseStatus.OK and whole.startswith(THINK_OPEN):
        return whole
    thinking = whole.removeprefix(THINK_OPEN).removesuffix(THINK_CLOSE).strip()
    trace = f"{THINK_OPEN}{thinking}{THINK_CLOSE}\n{whole_solution(example)}"
    return trace if thinking and parse_step(trace, "stop").status is ParseStatus.OK else None


def taught_step_example(
    example: StepExample, *, context_in: ContextPlace, title_in_prompt: bool, texts: PromptTexts
) -> TrainingExample:
    """``step_example`` with what is to be written for it: the thought in its tags, where it is known, and the step."""
    asked = step_example(example, context_in=context_in, title_in_prompt=title_in_prompt, texts=texts)
    if not example.target_thought:
        return asked
    return replace(asked, target=f"{THINK_OPEN}{example.target_thought}{THINK_CLOSE}{asked.target}")


def with_traces(store: ExampleStore, rows: Sequence[int], dropped: Counter[str]) -> list[int]:
    """The rows whose expert has thought, in a way that can be learned."""
    kept: list[int] = []
    for row in rows:
        example = store[row]
        if trace_of(example) is not None or example.kind == "agent":  # which is an error of its own, not a drop
            kept.append(row)
        else:
            dropped["unreadable_reasoning" if example.reasoning else "no_reasoning"] += 1
    return kept
