"""Stored step examples -> the prompts of a stage, each made when it is drawn.

What a stage asks for is a function from a step example to a training example:

    step_example       the expert's next step (SRL)
    one_step_example   the expert's whole solution (the one-step ablation, Table 3)
    problem_example    a solution with the right final answer (RLVR)
    start_example      the same, continued from the expert's steps so far (R3's starts)

What fine-tuning learns stands in ``taught_examples``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import overload

from srl.context import ContextLimits, FastTokenizer, cut_middle, fit_example
from srl.errors import DataError
from srl.example_store import ExampleStore
from srl.prompts import DEFAULT_TEXTS, ContextPlace, PromptTexts, rest_prompt, solve_prompt, step_prompt
from srl.types import ChatPrompt, Problem, StepExample, TrainingExample

MakeExample = Callable[[StepExample], TrainingExample]


class ContextFitter:
    """``fit_example`` for many examples of the same logs; an observation that neighbours share is cut once."""

    def __init__(
        self,
        *,
        render: Callable[[StepExample], str],
        tokenizer: FastTokenizer,
        limits: ContextLimits,
        marker: str = DEFAULT_TEXTS.agent_cut_marker,
    ) -> None:
        self._render, self._tokenizer, self._limits, self._marker = render, tokenizer, limits, marker
        self._cut_text = lru_cache(maxsize=1024)(self._cut_one)

    def cut(self, example: StepExample) -> StepExample:
        """The example with every observation within its own limit; its prompt may still be too long."""
        if self._limits.max_observation_tokens is None:
            return example
        return replace(example, observations=tuple(map(self._cut_text, example.observations)))

    def fit(self, example: StepExample) -> StepExample | None:
        """See ``fit_example``; solutions are never cut, and come back as they are."""
        if example.kind == "solution":
            return example
        return fit_example(
            example, render=self._render, tokenizer=self._tokenizer, limits=self._limits, marker=self._marker
        )

    def _cut_one(self, text: str) -> str:
        budget = self._limits.max_observation_tokens or 0
        return cut_middle(text, budget, tokenizer=self._tokenizer, marker=self._marker)


class TrainingExamples(Sequence[TrainingExample]):
    """Some rows of a store as training examples, made anew each time one is asked for."""

    def __init__(
        self, store: ExampleStore, rows: Sequence[int], make: MakeExample, *, ids: Sequence[str], settings: str
    ) -> None:
        """``settings`` names everything that ``make`` depends on beside the example."""
        self._store, self._make, self._settings = store, make, settings
        self._rows = list(rows)
        self.ids = list(ids)
        """The example ids, in order."""
        self._fitter: ContextFitter | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> TrainingExample: ...
    @overload
    def __getitem__(self, index: slice) -> list[TrainingExample]: ...
    def __getitem__(self, index: int | slice) -> TrainingExample | list[TrainingExample]:
        """One example, or a list of some. Raises DataError for one that ``fitted`` should have left out."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        example = self.try_get(index)
        if example is None:
            raise DataError(f"the prompt of {self.ids[index]} does not fit into the token budget")
        return example

    def try_get(self, index: int) -> TrainingExample | None:
        """The example, None where its prompt cannot be made to fit."""
        example: StepExample | None = self._store[self._rows[index]]
        if self._fitter is not None:
            example = self._fitter.fit(example)
        if example is None:
            return None
        return replace(self._make(example), step=example, next_action=self._next_action(index))

    def _next_action(self, index: int) -> str:
        """The expert's step after the one asked for, "" where it is none of the stored ones."""
        row = self._rows[index]
        if row + 1 == len(self._store):
            return ""
        is_next = self._store.owner(row + 1) is self._store.owner(row)
        follows = is_next and self._store.step_index(row + 1) == self._store.step_index(row) + 1
        return self._store[row + 1].target_action if follows else ""

    def before_fitting(self, index: int) -> TrainingExample:
        """The example with its observations cut, its prompt as long as it is: that of ``try_get`` where it fits."""
        example = self._store[self._rows[index]]
        return self._make(example if self._fitter is None else self._fitter.cut(example))

    def fitted(self, fitter: ContextFitter, settings: str) -> TrainingExamples:
        """The same examples, each made to fit before its prompt is made."""
        copy = self.subset(range(len(self)))
        copy._fitter, copy._settings = fitter, f"{self._settings}\n{settings}"
        return copy

    def subset(self, places: Sequence[int]) -> TrainingExamples:
        """The examples at ``places``, in that order."""
        rows, ids = [self._rows[place] for place in places], [self.ids[place] for place in places]
        copy = TrainingExamples(self._store, rows, self._make, ids=ids, settings=self._settings)
        copy._fitter = self._fitter
        return copy

    def problems(self, limit: int) -> tuple[tuple[Problem, ...], int]:
        """The first ``limit`` problems of solutions with a final answer, and the most steps that one of these has."""
        found: dict[str, Problem] = {}
        longest = 1
        for row in self._rows:
            owner = self._store.owner(row)
            if len(found) == limit:
                break
            if owner.has_answer and owner.trajectory_id not in found and self._store[row].kind == "solution":
                example = self._store[row]
                longest = max(longest, example.num_steps)
                found[owner.trajectory_id] = Problem(
                    problem_id=owner.trajectory_id, problem=example.problem, answer=example.answer or ""
                )
        return tuple(found.values()), longest

    @property
    def positions(self) -> list[tuple[str, int]]:
        """Trajectory id and step index of each example, in order."""
        return [(self._store.owner(row).trajectory_id, self._store.step_index(row)) for row in self._rows]

    @property
    def fingerprint(self) -> str:
        """Changes with any word of any prompt or target, not with their order."""
        digests = sorted(self._store.digest(row) for row in self._rows)
        return hashlib.sha256(self._settings.encode() + b"".join(digests)).hexdigest()[:16]


def step_example(
    example: StepExample, *, context_in: ContextPlace, title_in_prompt: bool, texts: PromptTexts
) -> TrainingExample:
    """Predict the expert's next step; with its title given, only what stands under it."""
    return TrainingExample(
        example_id=step_id(example.trajectory_id, example.step_index),
        prompt=step_prompt(example, context_in=context_in, title_in_prompt=title_in_prompt, texts=texts),
        target=step_target(example, title_in_prompt=title_in_prompt),
    )


def step_target(example: StepExample, *, title_in_prompt: bool) -> str:
    """What ``step_prompt`` asks for: the step, or with its title in the prompt only what stands under it."""
    return example.target_body if _is_titled(example, title_in_prompt) else example.target_action


def _is_titled(example: StepExample, title_in_prompt: bool) -> bool:
    return title_in_prompt and example.title != "" and example.target_body != ""


def one_step_example(example: StepExample, *, texts: PromptTexts) -> TrainingExample:
    """From the last step's example: write the whole solution at once, compared with the expert's whole solution."""
    refuse_agent(example, "asked for in one step; set data.one_step = false")
    return TrainingExample(
        example_id=example.trajectory_id,
        prompt=solve_prompt(example.problem, texts=texts),
        target=whole_solution(example),
    )


def whole_solution(example: StepExample) -> str:
    """The expert's whole text, from the last step's example."""
    return ("".join(example.context) + example.target_action).strip()


def problem_example(example: StepExample, *, texts: PromptTexts) -> TrainingExample:
    """Solve the problem from its beginning, judged by the final answer."""
    refuse_agent(example, 'written without an environment; set kind = "srl"')
    return TrainingExample(
        example_id=example.trajectory_id, prompt=solve_prompt(example.problem, texts=texts), target=example.answer or ""
    )


def mixed_in_problem(example: StepExample, *, texts: PromptTexts) -> TrainingExample:
    """``problem_example`` for a stage of steps, or of whole solutions that are compared with the expert's."""
    made = problem_example(example, texts=texts)
    return replace(made, example_id=problem_id(example.trajectory_id), is_problem=True)


def start_example(example: StepExample, *, texts: PromptTexts) -> TrainingExample:
    """Continue the expert's first ``step_index`` steps, judged by the final answer (R3, arXiv 2402.05808)."""
    refuse_agent(example, 'written without an environment; set kind = "srl"')
    so_far = "".join(f"{step.strip()}\n\n" for step in example.context)
    return TrainingExample(
        example_id=step_id(example.trajectory_id, example.step_index),
        prompt=replace(solve_prompt(example.problem, texts=texts), assistant_prefix=so_far),
        target=example.answer or "",
    )


def rest_of_solution(
    example: StepExample, action: str, *, context_in: ContextPlace, title_in_prompt: bool, texts: PromptTexts
) -> ChatPrompt:
    """Ask for the rest of the solution that ``action``, in place of the expert's step, has begun."""
    is_titled = _is_titled(example, title_in_prompt)
    step = f"{example.step_index + 1}. **{example.title}**\n{action}" if is_titled else action
    return rest_prompt(example.problem, (*example.context, step), context_in=context_in, texts=texts)


def refuse_agent(example: StepExample, what: str) -> None:
    """Raises DataError for an agent's example, which cannot be ``what``."""
    if example.kind == "agent":
        raise DataError(
            f"{example.source.file} holds an agent's actions; they answer observations and cannot be {what}"
        )


def step_id(trajectory_id: str, step_index: int) -> str:
    """The id of a training example that belongs to one step."""
    return f"{trajectory_id}#{step_index}"


def problem_id(trajectory_id: str) -> str:
    """The id of a whole problem that stands among other examples of its trajectory."""
    return f"{trajectory_id}#problem"
